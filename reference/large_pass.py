"""One pass over a large memory: scores, weights and weighted sums, exactly or with known error."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hopspec.reference.dyadic import BoolArray
from hopspec.reference.extended_exp import (
    DIGIT_BITS,
    DIGIT_ERROR,
    DIGITS,
    digits_of,
    exp_pairs,
    rough_exp,
    two_product,
    two_sum,
)
from hopspec.reference.large_answer import RowSums
from hopspec.reference.large_problem import LargeProblem, largest_exponent
from hopspec.reference.large_sums import INEXACT, LargeSums
from hopspec.reference.slices import choose_grid, exponents, level_sums, split

__all__ = ["Pass"]

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]

# Largest error of a difference of logits with which a row is decided, and how far a logit may exceed the
# reference's.
LARGEST_ETA = 2.0**-27
AHEAD = 2.0**-25
# Queries whose logits may exceed two to this power are not decided.
LARGEST_SIZE = 128
# Below two to this power a unit of the logits makes no difference.
LEAST_UNIT = -700


class Pass:
    """The queries that can be decided, their weights, and the sums of their weighted values.

    Args:
        problem: the arguments.

    Attributes:
        rows: indices of these queries.
        logits: ``[rows, N]``, rounded to float64.
        weights: ``[rows, N]``, to a few units of ``2**-53``.
    """

    def __init__(self, problem: LargeProblem) -> None:
        self.problem = problem
        self.width = problem.query.shape[1]
        self.memory_exponent = largest_exponent(problem.block, problem.blocks)
        self.mantissa, beta_exponent = math.frexp(problem.beta)
        usable = np.flatnonzero(~problem.empty & ~problem.spoilt)
        query_exponent = exponents(problem.query[usable], axis=1)
        # No logit exceeds two to the power of its query's size.
        size = query_exponent + (self.memory_exponent + beta_exponent + self.width.bit_length())
        decided = size <= LARGEST_SIZE
        self.rows, self.size, self.exponent = usable[decided], size[decided], query_exponent[decided]
        self.query, self.keep = problem.query[self.rows], problem.keep[self.rows]
        self.grid = choose_grid(self.width, int(self.size.max(initial=-LARGEST_SIZE)))
        bits = self.grid.bits
        self.parts, self.query_whole = split(self.query, self.exponent[:, None], bits, self.grid.levels)
        self.most_parts, self.memory_whole = 0, True
        # What a unit of the first level stands for, beta's mantissa left out.
        unit = self.exponent + (self.memory_exponent + beta_exponent - 2 * (bits - 1))
        self.unit = np.ldexp(1.0, np.maximum(unit, LEAST_UNIT))[:, None]
        # Bounds on the sum of the errors of writing weights in digits.
        self.written = np.zeros(len(self.rows))
        # Largest sum of the sizes of a difference's levels, and queries whose reference was a bad choice.
        self.largest = np.zeros(len(self.rows))
        self.lost = np.zeros(len(self.rows), dtype=np.bool_)
        self.logits = np.full(self.keep.shape, -np.inf)
        self.weights = np.zeros(self.keep.shape)
        self.totals = np.zeros((DIGITS, len(self.rows)))
        self.sums = LargeSums(problem, bits, DIGITS * len(self.rows), self.memory_exponent)

    def run(self, progress: Progress) -> None:
        """Go through the memory once, or twice where plain float64 cannot tell which logit is the largest."""
        if not len(self.rows):
            return
        self._refer(self._guess())
        trust = int(self.size.max()) + (self.width + 2).bit_length() - 52 <= -27
        if not trust:
            self._refer(self._search())
        top = [float(t) for t in self.reference_logits]
        rest = [float(t - Fraction(hi)) for t, hi in zip(self.reference_logits, top, strict=True)]
        for rows in self.problem.blocks:
            parts, whole = self._slices(rows)
            keep = self.keep[:, rows]
            here = np.flatnonzero((self.reference >= rows.start) & (self.reference < rows.stop))
            there = self.reference[here] - rows.start
            high, low = self._differences(parts, keep)
            if high[here, there].any():
                raise ArithmeticError(INEXACT)
            high, low = np.where(keep, high, -np.inf), np.where(keep, low, 0.0)
            # Only where eta is too large anyway can a logit exceed the reference's.
            self.lost |= high.max(axis=1) > AHEAD
            high = np.where(self.lost[:, None], np.minimum(high, 0.0), high)
            pair = exp_pairs(high, low)
            digits = np.stack(digits_of(*pair))
            self.totals += digits.sum(axis=2)
            self.sums.add(rows, parts, whole, digits)
            weights = rough_exp(high)
            self.weights[:, rows] = weights * (1 + low)
            # A weight too small for its digits is lost as a whole; the reference's is exact.
            lost = np.minimum(float(DIGIT_ERROR), 2.0 * weights)
            lost[here, there] = 0.0
            self.written += lost.sum(axis=1)
            with np.errstate(invalid="ignore"):
                s, e = two_sum(np.array(top)[:, None], high)
                logits = s + (e + (low + np.array(rest)[:, None]))
            self.logits[:, rows] = np.where(keep, logits, -np.inf)
            progress(rows.stop, len(self.problem.memory))
        units = 2.0 ** (1 - DIGIT_BITS * np.arange(1, DIGITS + 1))
        self.weights /= (units @ self.totals)[:, None]

    def _slices(self, rows: slice) -> tuple[list[Array], bool]:
        parts, whole = split(self.problem.block(rows), self.memory_exponent, self.grid.bits, self.grid.levels)
        self.most_parts = max(self.most_parts, len(parts))
        self.memory_whole &= whole
        return parts, whole

    def _guess(self) -> NDArray[np.int64]:
        """The memory of each query's largest logit, as far as plain float64 can tell."""
        scaled = math.copysign(1.0, self.mantissa) * np.ldexp(self.query, -self.exponent[:, None])

        def scores(rows: slice) -> Array:
            block = np.ldexp(self.problem.block(rows), -self.memory_exponent)
            return np.asarray(scaled @ block.T)

        return self._best(scores)

    def _search(self) -> NDArray[np.int64]:
        """The same, up to the error of :meth:`_differences`."""
        return self._best(lambda rows: self._differences(self._slices(rows)[0], self.keep[:, rows])[0])

    def _best(self, of: Callable[[slice], Array]) -> NDArray[np.int64]:
        best = np.full(len(self.rows), -np.inf)
        found = np.zeros(len(self.rows), dtype=np.int64)
        for rows in self.problem.blocks:
            kept = np.where(self.keep[:, rows], of(rows), -np.inf)
            at = kept.argmax(axis=1)
            top = kept[np.arange(len(at)), at]
            found = np.where(top > best, at + rows.start, found)
            best = np.maximum(top, best)
        return found

    def _refer(self, reference: NDArray[np.int64]) -> None:
        """Compare all logits with those of ``reference`` from now on."""
        patterns = np.asarray(self.problem.memory[reference], dtype=np.float64)
        parts, _ = split(patterns, self.memory_exponent, self.grid.bits, self.grid.levels)
        self.reference = reference
        self.levels = [np.zeros((len(self.rows), 1)) for _ in range(self.grid.levels)]
        for a, part in enumerate(parts):
            for c, other in enumerate(self.parts[: self.grid.levels - a]):
                self.levels[a + c] += np.einsum("ij,ij->i", part, other)[:, None]
        self.reference_logits = []
        for k, (pattern, query) in enumerate(zip(patterns.tolist(), self.query.tolist(), strict=True)):
            score = sum((Fraction(x) * Fraction(y) for x, y in zip(pattern, query, strict=True)), Fraction(0))
            self.reference_logits.append(score * Fraction(self.problem.beta))
            self._compare(k, score)

    def _compare(self, k: int, score: Fraction) -> None:
        """Check the reference's score in slices against the exact one."""
        bits, levels = self.grid.bits, self.grid.levels
        unit = Fraction(2) ** int(self.exponent[k] + self.memory_exponent - 2 * (bits - 1))
        computed = sum(Fraction(2) ** (-bits * a) * int(c[k, 0]) for a, c in enumerate(self.levels)) * unit
        allowed = self.width * (levels + 3) * Fraction(2) ** (2 * (bits - 1) - bits * levels) * unit
        if abs(computed - score) > allowed:
            raise ArithmeticError(INEXACT)

    def _differences(self, parts: list[Array], keep: BoolArray) -> tuple[Array, Array]:
        """Logits of a block less those of the references, as pairs, ``[L, n]`` (clause MHN-BIG-3)."""
        sums = level_sums(self.parts, parts, self.grid.levels)
        high: Array = sums[0] - self.levels[0]
        low = np.zeros_like(high)
        sizes = np.abs(high)
        for k in range(1, self.grid.levels):
            difference = sums[k] - self.levels[k] if k < len(sums) else -self.levels[k]
            if difference.any():
                difference = difference * 2.0 ** (-self.grid.bits * k)
                sizes += np.abs(difference)
                high, error = two_sum(high, difference)
                low += error
        high, low = two_sum(high, low)
        product, error = two_product(high, self.mantissa)
        self.largest = np.maximum(self.largest, sizes.max(axis=1, initial=0.0, where=keep))
        return product * self.unit, (error + low * self.mantissa) * self.unit

    @property
    def eta(self) -> Array:
        """Bound on the error of every difference of logits, per query (clause MHN-BIG-3)."""
        bits, levels = self.grid.bits, self.grid.levels
        whole = self.memory_whole and self.query_whole and self.most_parts + len(self.parts) - 1 <= levels
        missing = 0.0 if whole else 2 * (levels + 3) * 2.0 ** (-bits * levels)
        rounding = (levels * levels + 5) * 2.0**-106 * self.largest * self.unit[:, 0]
        return np.asarray((np.ldexp(missing, self.size) + rounding) * (1 + 2.0**-40) + 2.0**-600)

    def sums_of(self, k: int) -> RowSums | None:
        """The sums of query ``rows[k]``; None if its logits are not known well enough."""
        eta = float(self.eta[k])
        if eta > LARGEST_ETA or self.lost[k]:
            return None
        total = sum(int(t[k]) << (DIGIT_BITS * (DIGITS - 1 - i)) for i, t in enumerate(self.totals))
        kept = int(self.keep[k].sum())
        # The factor is for rounding terms and sum, what is added for exponentials that underflow.
        written = Fraction(float(self.written[k])) * Fraction(9, 8) + Fraction(kept - 1, 1 << 1000)
        return RowSums(
            total=total,
            numerators=self.sums.numerators(k, len(self.rows)),
            exponent=self.sums.unit,
            kept=kept,
            eta=eta,
            written=written,
            logit=self.reference_logits[k],
        )
