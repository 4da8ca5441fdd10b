"""How large the tiles are that a program of the kernels works on.

The number of memories to a block is the same for all widths of a type, so that the order of summation, and
with it the accuracy claimed, depends on the type alone. The other numbers are free: they change no result.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["BLOCKS", "LEAST_WIDTH", "MOST_WIDTH", "Tile", "padded", "tile_of"]

# A product of Triton has at least 16 terms.
LEAST_WIDTH = 16
MOST_WIDTH = 256

BLOCKS = {"float32": 32, "bfloat16": 64, "float16": 64}
"""Memories to a block, by the name of the type."""


class Tile(NamedTuple):
    """One tile.

    Args:
        rows: queries.
        block: memories.
        warps: groups of 32 threads that share the work.
        stages: how many blocks of memories are under way at a time.
    """

    rows: int
    block: int
    warps: int = 4
    stages: int = 2


def padded(width: int) -> int:
    """The width a kernel computes with: the next power of two, at least 16.

    >>> [padded(width) for width in (0, 1, 16, 17, 200)]
    [16, 16, 16, 32, 256]
    """
    return max(LEAST_WIDTH, 1 << max(0, width - 1).bit_length())


# By type and padded width: (rows, warps, stages).
_ATTEND: dict[str, dict[int, tuple[int, int, int]]] = {
    "float32": {16: (32, 4, 2), 32: (32, 4, 2), 64: (32, 4, 2), 128: (16, 4, 1), 256: (16, 8, 1)},
    "half": {16: (64, 4, 3), 32: (64, 4, 3), 64: (64, 4, 3), 128: (64, 4, 2), 256: (64, 8, 1)},
}
_SETTLE: dict[str, dict[int, tuple[int, int, int]]] = {
    "float32": {16: (32, 4, 2), 32: (32, 4, 2), 64: (32, 4, 2), 128: (16, 4, 1), 256: (16, 8, 1)},
    "half": {16: (64, 4, 3), 32: (64, 4, 3), 64: (64, 4, 2), 128: (32, 4, 2), 256: (16, 4, 1)},
}


def tile_of(kernel: str, dtype: str, width: int) -> Tile:
    """The tile for a kernel (``"attend"`` or ``"settle"``), a type and a padded width.

    >>> tile_of("attend", "bfloat16", 64)
    Tile(rows=64, block=64, warps=4, stages=3)
    """
    table = {"attend": _ATTEND, "settle": _SETTLE}[kernel]
    rows, warps, stages = table["float32" if dtype == "float32" else "half"][width]
    return Tile(rows, BLOCKS[dtype], warps, stages)
