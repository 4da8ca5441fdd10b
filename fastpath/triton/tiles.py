"""How large the tiles are that a program of the kernels works on.

The number of memories to a block is the same for all widths of a type, so that the order of summation, and
with it the accuracy claimed, depends on the type alone. The other numbers are free: they change no result.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "BLOCKS",
    "LEAST_WIDTH",
    "MOST_WIDTH",
    "NARROW",
    "SMALL",
    "Tile",
    "narrow_for",
    "padded",
    "reading_values",
    "tile_of",
]

# A product of Triton has at least 16 terms.
LEAST_WIDTH = 16
# What is wider would not stay on the chip.
MOST_WIDTH = 256

# Queries that a narrow tile has room for: a product of Triton has at least 16 rows, too.
NARROW = 16

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


# Of the kernels that merge parts, and of those that look for rows that were flagged.
SMALL = Tile(NARROW, 16)

# By type and padded width: (rows, warps, stages), such that registers suffice wherever they can; what each
# kernel needs with its tile is listed in docs/gpu-resources.md.
_ATTEND: dict[str, dict[int, tuple[int, int, int]]] = {
    "float32": {16: (32, 4, 2), 32: (32, 4, 2), 64: (32, 4, 2), 128: (32, 8, 2), 256: (16, 8, 2)},
    "half": {16: (64, 4, 3), 32: (64, 4, 3), 64: (64, 4, 3), 128: (64, 4, 2), 256: (64, 8, 2)},
}
_SETTLE: dict[str, dict[int, tuple[int, int, int]]] = {
    "float32": {16: (64, 8, 2), 32: (64, 8, 2), 64: (64, 8, 2), 128: (32, 8, 2), 256: (16, 8, 2)},
    "half": {16: (64, 8, 2), 32: (64, 8, 2), 64: (64, 8, 2), 128: (64, 8, 2), 256: (32, 8, 2)},
}


def tile_of(kernel: str, dtype: str, width: int, narrow: bool = False) -> Tile:
    """The tile for a kernel (``"attend"`` or ``"settle"``), a type and a padded width.

    Args:
        kernel: the kernel.
        dtype: name of the type.
        width: padded width.
        narrow: whether for so few queries that tiles of 16 rows serve better.

    >>> tile_of("attend", "bfloat16", 64)
    Tile(rows=64, block=64, warps=4, stages=3)
    >>> tile_of("attend", "bfloat16", 64, narrow=True)
    Tile(rows=16, block=64, warps=4, stages=3)
    """
    table = {"attend": _ATTEND, "settle": _SETTLE}[kernel]
    rows, warps, stages = table["float32" if dtype == "float32" else "half"][width]
    if narrow:
        if kernel == "settle":
            rows, warps, stages = NARROW, 8, 2
        else:
            rows, warps = NARROW, 8 if dtype == "float32" and width > 64 else 4
    return Tile(rows, BLOCKS[dtype], warps, stages)


def reading_values(tile: Tile) -> Tile:
    """The tile where values are read beside the memory: each stage then holds two blocks, so two will do.

    >>> reading_values(tile_of("attend", "bfloat16", 64))
    Tile(rows=64, block=64, warps=4, stages=2)
    """
    return tile._replace(stages=min(2, tile.stages))


def narrow_for(kernel: str, dtype: str, width: int, queries: int, programs: int) -> bool:
    """Whether tiles of 16 rows serve better: one holds all queries, or larger ones leave processors idle.

    An update by few tiles has the memory divided among processors; settling cannot.

    Args:
        kernel: ``"attend"`` or ``"settle"``.
        dtype: name of the type.
        width: padded width.
        queries: how many there are.
        programs: how many programs the device runs at a time.

    >>> narrow_for("attend", "float16", 64, 16, 108), narrow_for("attend", "float16", 64, 17, 108)
    (True, False)
    >>> narrow_for("settle", "float16", 64, 2048, 108), narrow_for("settle", "float16", 64, 8192, 108)
    (True, False)
    """
    if queries <= NARROW:
        return True
    return kernel == "settle" and queries < programs * tile_of(kernel, dtype, width).rows
