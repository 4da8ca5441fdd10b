"""A retrieval problem of production size: checked arguments, read a few thousand memories at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.reference.dyadic import BoolArray
from hopspec.reference.slices import exponents

__all__ = ["LargeProblem", "largest_exponent"]

Array = NDArray[np.float64]

# Most memories taken at a time: so many products of weight digits, at most 2**19.1, and value slices, at most
# 2**21, add up to less than 2**53.
CHUNK = 4096
LEAST_CHUNK = 256
# Entries of one working array; the dozen in use at a time fit a processor's cache.
WORKING = 1 << 16


@dataclass(frozen=True)
class LargeProblem:
    """Checked arguments.

    Args:
        query: ``[L, d]`` in float64.
        memory: ``[N, d]``.
        values: ``[N, dv]``.
        beta: the inverse temperature.
        keep: ``[L, N]``.
        shared: whether the values are the memory.
    """

    query: Array
    memory: NDArray[Any]
    values: NDArray[Any]
    beta: float
    keep: BoolArray
    shared: bool

    @cached_property
    def blocks(self) -> list[slice]:
        """The memories taken at a time."""
        count = len(self.memory)
        size = WORKING // max(1, len(self.query))
        size = min(max(size // LEAST_CHUNK * LEAST_CHUNK, LEAST_CHUNK), CHUNK)
        return [slice(start, min(start + size, count)) for start in range(0, count, size)]

    @cached_property
    def empty(self) -> BoolArray:
        """Queries that see nothing, ``[L]``."""
        return np.asarray(~self.keep.any(axis=1))

    @cached_property
    def spoilt(self) -> BoolArray:
        """Other queries that are not finite or see a memory that is not, ``[L]``."""
        bad = np.zeros(len(self.memory), dtype=np.bool_)
        for rows in self.blocks:
            bad[rows] = ~np.isfinite(self.memory[rows]).all(axis=1)
        seen = self.keep[:, bad].any(axis=1) | ~np.isfinite(self.query).all(axis=1)
        return np.asarray(seen & ~self.empty)

    @cached_property
    def used(self) -> BoolArray:
        """Memories that count, ``[N]``: the others may hold anything."""
        return np.asarray(self.keep[~self.empty & ~self.spoilt].any(axis=0))

    def block(self, rows: slice) -> Array:
        """Some memories in float64; what does not count is 0."""
        return _used(self.memory[rows], self.used[rows])

    def value_block(self, rows: slice) -> Array:
        """Their values, likewise; entries that are not finite are 0."""
        block = _used(self.values[rows], self.used[rows])
        return block if self.shared else np.where(np.isfinite(block), block, 0.0)

    @cached_property
    def spoilt_columns(self) -> BoolArray:
        """For every query, in which columns it sees a value that is not finite, ``[L, dv]``."""
        spoilt = np.zeros((len(self.query), self.values.shape[1]), dtype=np.bool_)
        for rows in () if self.shared else self.blocks:
            bad = ~np.isfinite(self.values[rows])
            at = np.flatnonzero(bad.any(axis=1))
            for row in range(len(spoilt)):
                spoilt[row] |= bad[at[self.keep[row, rows][at]]].any(axis=0)
        return spoilt


def _used(array: NDArray[Any], used: BoolArray) -> Array:
    wide = np.asarray(array, dtype=np.float64)
    return wide if used.all() else np.where(used[:, None], wide, 0.0)


def largest_exponent(block: Callable[[slice], Array], blocks: list[slice]) -> int:
    """Least ``e`` with ``|x| < 2**e`` for all entries of all blocks."""
    return max((int(exponents(block(rows))) for rows in blocks), default=0)
