r"""Products of an integer matrix with vectors, by Kronecker substitution.

A row $x_1, \ldots, x_d$ of integers packed into one integer $\sum_j x_j 2^{B j}$ is multiplied as a whole,
and so is every column. A matrix-vector product then takes as many multiplications of long integers as the
vector has entries, and not one for every entry of the matrix. Entries $y_j$ of the result are read off
$\sum_j y_j 2^{B j}$, which is unambiguous where $|y_j| < 2^{B-1}$: adding $2^{B-1}$ to every entry makes the
slots of $B$ bits non-negative, so that none borrows from the next.

Packing costs about as much as a plain product, so it pays for a matrix used more than once: see
:func:`prepare`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from operator import mul
from typing import Any

import numpy as np

from hopspec.reference.dyadic import Matrix, exact_matrix, pick
from hopspec.reference.integers import long_integer

__all__ = ["Packed", "Prepared", "prepare"]

# Up to this many entries plain products are faster (measured).
_SMALL = 128

# Packings kept, each for one slot width: few working precisions are in use at a time.
_REMEMBERED = 4


class Packed:
    """An integer matrix ``[n, d]`` with its rows and columns packed, once for every slot width asked for.

    Args:
        rows: the matrix.
        width: its number d of columns, which an empty one does not tell.
    """

    def __init__(self, rows: list[list[int]], width: int) -> None:
        self.rows = rows
        self.width = width
        entries = list(chain.from_iterable(rows))
        self._small = len(entries) <= _SMALL
        self.bits = max(max(entries, default=0), -min(entries, default=0)).bit_length()
        self._packed_rows: dict[int, list[int]] = {}
        self._packed_columns: dict[int, list[int]] = {}

    @cached_property
    def columns(self) -> list[tuple[int, ...]]:
        """The columns, none where there are no rows."""
        return list(zip(*self.rows, strict=True))

    @cached_property
    def ranges(self) -> list[int]:
        """Largest minus least entry of each column."""
        return [max(column) - min(column) for column in self.columns]

    @cached_property
    def largest_square(self) -> int:
        """The largest sum of the squares of a row, 0 without rows."""
        return max((sum(map(mul, row, row)) for row in self.rows), default=0)

    def times(self, vector: Sequence[int]) -> list[int]:
        """``[n]``, the inner product of every row with ``vector`` (``[d]``).

        >>> Packed([[1, 2], [-3, 4]], 2).times([10, -1])
        [8, -34]
        """
        if self._small:
            return [sum(map(mul, row, vector)) for row in self.rows]
        size = max(map(abs, vector), default=0).bit_length()
        slot = _slot(self.bits + size + self.width.bit_length(), 4)
        columns = _remembered(self._packed_columns, slot, self.columns)
        return _unpack(sum(map(mul, vector, columns)), slot, len(self.rows))

    def combine(self, weights: Sequence[int], which: Sequence[int]) -> list[int]:
        """``[d]``, the sum of the rows ``which``, each times its weight; the weights are not negative.

        >>> Packed([[1, 2], [-3, 4], [50, 60]], 2).combine([10, 1], [0, 1])
        [7, 24]
        """
        if self._small and which:
            return [sum(map(mul, weights, column)) for column in zip(*pick(which, self.rows), strict=True)]
        slot = _slot(self.bits + sum(weights).bit_length(), 1)
        rows = _remembered(self._packed_rows, slot, self.rows)
        return _unpack(sum(map(mul, weights, pick(which, rows))), slot, self.width)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A matrix made ready by :func:`prepare`.

    Args:
        matrix: its entries as exact rationals.
        packed: their integers, packed.
    """

    matrix: Matrix
    packed: Packed

    @property
    def shape(self) -> tuple[int, int]:
        """``(rows, columns)``."""
        return len(self.matrix.rows), self.matrix.width


def prepare(matrix: Any) -> Prepared:
    """Make a memory, or values, ready for many calls.

    The functions of :mod:`hopspec.reference` take the result wherever they take memory or values, and return
    the same, sooner: entries are made exact once, and packed once per working precision.

    Args:
        matrix: ``[N, d]``: nested sequences, NumPy, or anything with ``tolist()``; copied.

    Raises:
        TypeError: if an entry is no real number.
        ValueError: if the shape is not ``[N, d]``.

    >>> from hopspec.reference import update
    >>> memory = prepare([[1.0, 0.0], [-1.0, 0.0]])
    >>> memory.shape, update([1.0, 0.0], memory, beta=1.0)
    ((2, 2), [0.7615941559557649, 0.0])
    """
    if isinstance(matrix, Prepared):
        return matrix
    exact, one_row = exact_matrix(matrix, "matrix")
    if one_row:
        raise ValueError(f"matrix must have shape [N, d], got [{exact.width}]")
    return Prepared(exact, Packed(exact.rows, exact.width))


def _slot(bits: int, multiple: int) -> int:
    """Bytes of a slot for magnitudes below ``2**bits``: a multiple, so that few widths are in use."""
    # One bit more for the sign, and more than the 8 bytes that _pack copies.
    needed = max(9, (bits + 8) // 8)
    return -(-needed // multiple) * multiple


def _remembered(cache: dict[int, list[int]], slot: int, vectors: Sequence[Sequence[int]]) -> list[int]:
    if slot not in cache:
        if len(cache) >= _REMEMBERED:
            cache.pop(next(iter(cache)))
        cache[slot] = _pack(vectors, slot)
    return cache[slot]


def _offset(slot: int, count: int) -> int:
    """``2**(8 slot - 1)`` in every one of ``count`` slots."""
    return int.from_bytes((bytes(slot - 1) + b"\x80") * count, "little")


def _pack(vectors: Sequence[Sequence[int]], slot: int) -> list[int]:
    """Every vector as one integer of slots of ``slot`` bytes."""
    if not vectors:
        return []
    count = len(vectors[0])
    offset = _offset(slot, count)
    try:
        small = np.array(vectors, dtype="<i8").reshape(len(vectors), count)
    except OverflowError:
        half = 1 << (8 * slot - 1)
        chunks = [b"".join([(x + half).to_bytes(slot, "little") for x in vector]) for vector in vectors]
    else:
        # Two's complement in the whole slot: the sign fills the upper bytes, and adding half the range flips
        # the top bit.
        slots = np.empty((*small.shape, slot), dtype=np.uint8)
        slots[..., :8] = small[..., None].view(np.uint8)
        slots[..., 8:] = ((small < 0) * np.uint8(255))[..., None]
        slots[..., -1] ^= 0x80
        chunks = [row.tobytes() for row in slots]
    return [long_integer(int.from_bytes(chunk, "little") - offset) for chunk in chunks]


def _unpack(packed: Any, slot: int, count: int) -> list[int]:
    """The ``count`` entries of a packed vector."""
    data = (int(packed) + _offset(slot, count)).to_bytes(slot * count, "little")
    half = 1 << (8 * slot - 1)
    return [int.from_bytes(data[i : i + slot], "little") - half for i in range(0, slot * count, slot)]
