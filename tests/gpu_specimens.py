"""Small kernels for the tests of the compilation; the file is read by a process of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import triton
import triton.language as tl

TYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


class Cut(NamedTuple):
    """How the work is cut."""

    queries: int
    memories: int
    warps: int
    stages: int


@triton.jit  # type: ignore[untyped-decorator]
def scores(  # type: ignore[no-untyped-def]
    query,
    memory,
    result,
    QUERIES: tl.constexpr,
    MEMORIES: tl.constexpr,
    WIDTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Exponentials of the scores of one tile."""
    rows = tl.arange(0, QUERIES)
    columns = tl.arange(0, MEMORIES)
    numbers = tl.arange(0, WIDTH)
    left = tl.load(query + rows[:, None] * WIDTH + numbers[None, :])
    right = tl.load(memory + numbers[:, None] + columns[None, :] * WIDTH)
    weights = tl.exp2(tl.dot(left, right, input_precision=PRECISION))
    tl.store(result + rows[:, None] * MEMORIES + columns[None, :], weights)


@dataclass(frozen=True)
class Small:
    """A specimen of :func:`scores`."""

    dtype: str
    tile: Cut
    width: int = 64
    kernel: str = "scores"
    precision: str = "ieee"
    multiplies: bool = True
    function: Any = scores

    @property
    def signature(self) -> Mapping[str, str]:
        """Types of the arguments."""
        pointer = f"*{TYPES[self.dtype]}"
        constants = dict.fromkeys(self.constants, "constexpr")
        return {"query": pointer, "memory": pointer, "result": "*fp32", **constants}

    @property
    def constants(self) -> Mapping[str, object]:
        """Constants of the compilation."""
        return {
            "QUERIES": self.tile.queries,
            "MEMORIES": self.tile.memories,
            "WIDTH": self.width,
            "PRECISION": self.precision,
        }

    @property
    def aligned(self) -> Iterable[str]:
        """Arguments divisible by 16."""
        return ("query", "memory", "result")

    @property
    def options(self) -> Mapping[str, object]:
        """None."""
        return {}


SMALL = Cut(16, 16, 4, 1)


def good() -> list[Small]:
    """Kernels that meet every requirement."""
    return [Small("float16", SMALL, 16), Small("float32", SMALL, 16)]


def bad() -> list[Small]:
    """One with a tile far too large for its warps, and others each with a fault of its own."""
    return [
        Small("float16", Cut(64, 128, 1, 1)),
        Small("float32", SMALL, 16, precision="tf32"),
        Small("float32", Cut(16, 16, 4, 2), 16),
        Small("float32", SMALL, 16, precision="no such precision"),
    ]
