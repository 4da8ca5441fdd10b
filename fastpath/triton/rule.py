"""Which of two routes serves a call on a GPU: these kernels, or PyTorch's operations.

What was found faster on a device is recorded in ``winners.json``, by kernel, type, number of queries and
width. Where nothing is recorded the kernels are taken: they hold no matrix of scores, and so need memory
for the inputs and the results alone. Only records of a device with the same name count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from hopspec.fastpath.triton.launch import Engine
from hopspec.fastpath.triton.source import available, compiled
from hopspec.fastpath.triton.tiles import BLOCKS, MOST_WIDTH, NARROW, Tile, narrow_for, padded, tile_of

__all__ = [
    "RECORD",
    "Kind",
    "decided",
    "engine_for",
    "engine_of_gpu",
    "forget",
    "kind_of",
    "tile_in",
    "winner_of",
]

RECORD = Path(__file__).with_name("winners.json")
# Blocks of memories for which one more program pays, and its share of the results has to be merged.
_LEAST_BLOCKS = 8

_decided: Literal["triton", "torch"] | None = None


class Kind(NamedTuple):
    """What calls have in common for which one record stands.

    Args:
        device: name of the device.
        kernel: ``"attend"`` or ``"settle"``.
        dtype: name of the type.
        queries: ``"few"``, at most 16, or ``"many"``.
        width: padded width of the patterns.
    """

    device: str
    kernel: str
    dtype: str
    queries: str
    width: int


def kind_of(device: str, kernel: str, dtype: str, queries: int, width: int) -> Kind:
    """The kind of a call with so many queries of so many entries.

    >>> kind_of("a GPU", "attend", "bfloat16", 5, 100)
    Kind(device='a GPU', kernel='attend', dtype='bfloat16', queries='few', width=128)
    """
    return Kind(device, kernel, dtype, "few" if queries <= NARROW else "many", padded(width))


@cache
def _winners(record: Path) -> dict[Kind, dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(record.read_text(encoding="utf-8"))["winners"]
    return {Kind(*(entry[field] for field in Kind._fields)): entry for entry in entries}


def winner_of(kind: Kind, record: Path = RECORD) -> str:
    """``"triton"`` or ``"torch"``: what was recorded as faster, and ``"triton"`` where nothing was.

    >>> winner_of(Kind("no such GPU", "attend", "float32", "many", 64))
    'triton'
    """
    if _decided is not None:
        return _decided
    found: str = _winners(record).get(kind, {}).get("winner", "triton")
    return found


def tile_in(kind: Kind, record: Path = RECORD) -> Tile | None:
    """The tile that was recorded as the fastest; None where none was.

    >>> tile_in(Kind("no such GPU", "attend", "float32", "many", 64))
    """
    numbers = _winners(record).get(kind, {}).get("tile")
    if numbers is None:
        return None
    rows, warps, stages = numbers
    return Tile(rows, BLOCKS[kind.dtype], warps, stages)


@contextmanager
def decided(winner: Literal["triton", "torch"]) -> Iterator[None]:
    """Take a route whatever was recorded, in this process; to time both."""
    global _decided  # noqa: PLW0603  (an argument would have to pass through every function in between)
    before, _decided = _decided, winner
    try:
        yield
    finally:
        _decided = before


def forget() -> None:
    """Read the record anew when it is next asked for."""
    _winners.cache_clear()
    _recorded.cache_clear()


def engine_for(query: Tensor, kernel: str) -> Engine | None:
    """What runs the kernels for these queries on their GPU, or None where PyTorch is to be used.

    Args:
        query: ``[..., L, d]``, on a GPU.
        kernel: ``"attend"`` or ``"settle"``.
    """
    if not available():
        return None
    kind = kind_of(
        torch.cuda.get_device_name(query.device),
        kernel,
        str(query.dtype).removeprefix("torch."),
        query.shape[-2],
        query.shape[-1],
    )
    if winner_of(kind) != "triton":
        return None
    queries = query.numel() // max(1, query.shape[-1])
    programs = _processors(query.device)
    return _recorded(kind, narrow_for(kernel, kind.dtype, min(kind.width, MOST_WIDTH), queries, programs))


@cache
def _recorded(kind: Kind, narrow: bool) -> Engine:
    engine, tile = engine_of_gpu(), tile_in(kind)
    if tile is not None:
        return replace(engine, tile=lambda kernel, dtype, width: tile)
    return replace(engine, tile=partial(tile_of, narrow=True)) if narrow else engine


@cache
def engine_of_gpu() -> Engine:
    """What runs the kernels on a GPU, with the tiles they are shipped with.

    Raises:
        RuntimeError: if ``TRITON_INTERPRET`` is set.
    """
    return Engine(
        compiled(), interpreted=False, tile=tile_of, processors=_processors, least_blocks=_LEAST_BLOCKS
    )


@cache
def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count
