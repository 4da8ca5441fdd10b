"""Weighted sums of a large memory's values in exact integers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hopspec.reference.extended_exp import DIGIT_BITS, DIGITS
from hopspec.reference.large_problem import LargeProblem, largest_exponent
from hopspec.reference.slices import split

__all__ = ["INEXACT", "LargeSums"]

Array = NDArray[np.float64]

INEXACT = "the library's float64 matrix product of small integers is not exact"
# So many sums of at most 2**53 fit an int64.
FLUSH = 1000
# Values are sliced this far below their largest entry.
VALUE_BITS = 110


class LargeSums:
    """Exact sums of the digits of weights times values.

    Args:
        problem: whose values are summed.
        bits: of a slice.
        rows: how many rows of digits there are.
        memory_exponent: no entry of the memory exceeds two to this power.

    Attributes:
        unit: the last slice counts units of two to this power.
    """

    def __init__(self, problem: LargeProblem, bits: int, rows: int, memory_exponent: int) -> None:
        self.problem = problem
        self.bits = bits
        self.exponent = memory_exponent
        if not problem.shared:
            self.exponent = largest_exponent(problem.value_block, problem.blocks)
        self.count = -(-VALUE_BITS // bits)
        # The last slice counts units of two to this power.
        self.unit = self.exponent - (bits - 1) - bits * (self.count - 1)
        shape = (self.count, rows, problem.values.shape[1])
        self.large = np.zeros(shape, dtype=object)
        self.pending = np.zeros(shape, dtype=np.int64)
        self.added = 0
        self.whole = True

    @property
    def left_out(self) -> float:
        """Bound on what the slices leave out of a value."""
        return 0.0 if self.whole else math.ldexp(1.0, max(self.exponent - self.bits * self.count, -1074))

    def add(self, rows: slice, parts: list[Array], whole: bool, digits: Array) -> None:
        """Add one block.

        Args:
            rows: which memories.
            parts: their slices.
            whole: whether these are all of them.
            digits: of their weights, ``[5, L, n]``.
        """
        if not digits.any():
            return
        if not self.problem.shared or (len(parts) < self.count and not whole):
            parts, whole = split(self.problem.value_block(rows), self.exponent, self.bits, self.count)
        self.whole &= whole and len(parts) <= self.count
        if self.added == FLUSH:
            self._flush()
        self.added += 1
        flat = digits.reshape(-1, digits.shape[2])
        # All slices at once: where the library shares a product among threads, few large ones wait less.
        joined = np.concatenate(parts[: self.count], axis=1)
        exact = np.matmul(flat, joined).astype(np.int64)
        if not np.array_equal(exact[:, 0], flat.astype(np.int64) @ joined[:, 0].astype(np.int64)):
            raise ArithmeticError(INEXACT)
        for a, product in enumerate(np.hsplit(exact, len(parts[: self.count]))):
            self.pending[a] += product

    def _flush(self) -> None:
        self.large += self.pending.astype(object)
        self.pending[:] = 0
        self.added = 0

    def numerators(self, k: int, rows: int) -> list[int]:
        """The sums of weighted values of query ``k`` of ``rows``, in units of the last digit and slice."""
        self._flush()
        total = np.zeros(self.large.shape[2], dtype=object)
        for a in range(self.count):
            for i in range(DIGITS):
                shift = DIGIT_BITS * (DIGITS - 1 - i) + self.bits * (self.count - 1 - a)
                total += self.large[a, i * rows + k] * (1 << shift)
        return [int(t) for t in total]
