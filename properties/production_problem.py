"""Problems of production size, drawn from a seed so that a report need not hold them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hopspec.formats import FLOAT64, format_named
from hopspec.properties.problem import Array, Mask, round_to

__all__ = ["EDGES", "KINDS", "REGIMES", "ProblemAtSize", "Size", "draw", "parse_size", "sampled"]

# "plain" keeps every memory; "masked" hides a third of them, whole tiles among them, and reads out of values.
KINDS = ("plain", "masked")
# How the queries of one problem differ from each other.
REGIMES = ("mixed", "target", "tie", "duplicates")
EDGES = (0, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, 511, 512, 1023, 1024)
TILE = 512


@dataclass(frozen=True)
class Size:
    """How large a problem is: queries, memories, width."""

    queries: int
    memories: int
    width: int

    def __str__(self) -> str:
        return f"{self.queries}x{self.memories}x{self.width}"


def parse_size(text: str) -> Size:
    """A size as the command line takes it, ``LxNxd``; ``k`` stands for 1024.

    Raises:
        ValueError: if it is not three positive integers.

    >>> parse_size("4kx64kx128")
    Size(queries=4096, memories=65536, width=128)
    """
    match = re.fullmatch(r"(\d+)(k?)x(\d+)(k?)x(\d+)(k?)", text.strip().lower())
    if match is None:
        raise ValueError(f"size {text!r} is not of the form LxNxd, for example 4096x65536x128")
    numbers = [int(match[k]) * (1024 if match[k + 1] else 1) for k in (1, 3, 5)]
    if min(numbers) < 1:
        raise ValueError(f"size {text!r} must have at least one query, one memory and width 1")
    return Size(*numbers)


@dataclass(frozen=True)
class ProblemAtSize:
    """One problem; arrays are exact images of its dtype, in float64 or in float32 where that suffices.

    Args:
        query: ``[L, d]``.
        memory: ``[N, d]``.
        beta: inverse temperature.
        keep: ``[N]``, or None.
        values: ``[N, d]``, or None.
        regimes: of every query, an index into :data:`REGIMES`.
    """

    query: NDArray[np.floating]
    memory: NDArray[np.floating]
    beta: float
    keep: Mask | None
    values: NDArray[np.floating] | None
    regimes: NDArray[np.int64]

    @property
    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The array arguments of a call."""
        given = {"query": self.query, "memory": self.memory, "keep": self.keep, "values": self.values}
        return {name: array for name, array in given.items() if array is not None}


def draw(size: Size, dtype: str, *, seed: int = 0, keep: bool = False, values: bool = False) -> ProblemAtSize:
    """The problem that follows from its arguments.

    Scores of independent memories have a standard deviation of 1 to 8 in units of ``1 / beta``, so that the
    weights reach from spread over all memories to gathered on a few. Every query but the "mixed" ones leans
    towards one memory, or two far apart, mostly at the edges of tiles: what a kernel does to a single memory
    then decides a whole result. One memory in a hundred has an exact duplicate in the other half, another a
    neighbour one rounding away.

    Args:
        size: how large.
        dtype: name of the format all entries are elements of.
        seed: other seeds give other problems.
        keep: whether to mask memories.
        values: whether to draw values.
    """
    fmt = format_named(dtype)
    rng = np.random.default_rng((seed, *vars_of(size), *dtype.encode(), keep, values))
    count, n, d = vars_of(size)
    memory = _gaussian(rng, n, d)
    partner = _pair_up(rng, memory)
    regimes = rng.integers(len(REGIMES), size=count)
    targets = _targets(rng, n, count)
    strength = np.choose(rng.integers(4, size=count), [1.0, 2.0, 4.0, 8.0])[:, None]
    spread = 8.0 ** rng.random((count, 1))
    twins = np.array(sorted(partner)) if partner else targets
    aimed = np.where(
        regimes == REGIMES.index("duplicates"), twins[rng.integers(len(twins), size=count)], targets
    )
    second = np.where(regimes == REGIMES.index("tie"), (aimed + n // 2) % n, aimed)
    leaning = strength * (memory[aimed] + np.where((second != aimed)[:, None], memory[second], 0.0))
    mixed = (regimes == REGIMES.index("mixed"))[:, None]
    query = np.where(mixed, spread * rng.standard_normal((count, d)), leaning)
    mask: Mask | None = None
    if keep:
        mask = np.asarray(rng.random(n) < 0.7)
        mask[: min(TILE, n // 2)] = False
        mask[-1] = True
    read_out = round_to(_gaussian(rng, n, d), fmt) if values else None
    narrow = np.float64 if fmt is FLOAT64 else np.float32
    return ProblemAtSize(
        query=round_to(query, fmt).astype(narrow),
        memory=round_to(memory, fmt).astype(narrow),
        beta=float(np.float32(1 / math.sqrt(d))),
        keep=mask,
        values=None if read_out is None else read_out.astype(narrow),
        regimes=regimes,
    )


def vars_of(size: Size) -> tuple[int, int, int]:
    """The three numbers of a size."""
    return size.queries, size.memories, size.width


def _gaussian(rng: np.random.Generator, n: int, d: int) -> Array:
    return rng.standard_normal((n, d))


def _pair_up(rng: np.random.Generator, memory: Array) -> dict[int, int]:
    """Make some memories of the second half equal, or nearly, to memories of the first; which to which."""
    n = len(memory)
    count = min(max(1, n // 100), n // 2)
    first = rng.permutation(n // 2)[:count]
    second = n // 2 + rng.permutation(n - n // 2)[:count]
    memory[second] = memory[first]
    near = second[count // 2 :]
    memory[near] *= 1 + 2.0**-9
    return dict(zip(first.tolist(), second.tolist(), strict=True))


def edges(count: int) -> list[int]:
    """Indices below ``count`` next to the edges of tiles, and the last ones."""
    inner = [e for e in EDGES if e < count]
    powers = [2**k + s for k in range(11, count.bit_length()) for s in (-1, 0) if 2**k + s < count]
    return sorted({*inner, *powers, 1 % count, count // 2, count - 1, max(count - 2, 0)})


def _targets(rng: np.random.Generator, n: int, count: int) -> NDArray[np.int64]:
    """For every query a memory: an edge for every other one, the others anywhere."""
    at = np.array(edges(n))
    return np.where(
        rng.random(count) < 0.5, at[rng.integers(len(at), size=count)], rng.integers(n, size=count)
    )


def sampled(problem: ProblemAtSize, queries: int, seed: int = 0) -> NDArray[np.int64]:
    """Rows to judge: those at the edges of tiles, and ``queries`` others, as many of every regime."""
    count = len(problem.query)
    rng = np.random.default_rng((seed, 1))
    order = rng.permutation(count)
    rank = np.empty(count, dtype=np.int64)
    for regime in range(len(REGIMES)):
        members = order[problem.regimes[order] == regime]
        rank[members] = np.arange(len(members))
    chosen = order[np.argsort(rank[order], kind="stable")][:queries]
    return np.unique(np.concatenate([np.array(edges(count)), chosen]))
