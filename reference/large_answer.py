"""From exact sums over the memory to enclosures: the last step of the oracle for production sizes.

Everything here is rational arithmetic in Python's integers, a few operations per query; clause MHN-BIG-3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import implements
from hopspec.reference.exponential import log_fixed
from hopspec.reference.extended_exp import EXP_ERROR, WEIGHT_BITS

__all__ = [
    "FAR_AHEAD",
    "RowSums",
    "Triple",
    "enclose",
    "energy",
    "log_normalizer",
    "update",
    "update_far_ahead",
]

Array = NDArray[np.float64]
Triple = tuple[float, float, float]

LOG_BITS = 160
FAR_AHEAD = Fraction(1, 1 << 50)


@dataclass(frozen=True, slots=True)
class RowSums:
    """What one pass over the memory says of one query.

    Args:
        total: the sum of the weights, in units of ``2**-99`` of the reference's.
        numerators: the sums of weighted values, in the same units times ``2**exponent``.
        exponent: see above.
        kept: how many memories the query sees.
        eta: bound on the error of every logit minus the reference's.
        written: bound on the sum of the errors of writing weights in digits.
        logit: the exact logit of the reference.
    """

    total: int
    numerators: Sequence[int]
    exponent: int
    kept: int
    eta: float
    written: Fraction
    logit: Fraction

    @property
    def epsilon(self) -> Fraction:
        """Bound on the relative error of a weight before it is written in digits."""
        return Fraction(5, 4) * (Fraction(self.eta) + EXP_ERROR)

    @property
    def rest(self) -> Fraction:
        """Bound on the sum of all true weights but the reference's, which is 1."""
        return (Fraction(self.total, 1 << WEIGHT_BITS) - 1 + self.written) / (1 - self.epsilon)

    @property
    def error(self) -> Fraction:
        """Bound on the sum of the errors of all weights."""
        return self.epsilon * self.rest + self.written


@implements("MHN-BIG-3")
def update(row: RowSums, spans: Array, left_out: float) -> list[Triple]:
    """Every component of the update, enclosed.

    Args:
        row: the sums.
        spans: bounds on half the largest difference of two values of a column, ``[dv]``.
        left_out: bound on what the slices leave out of a value.
    """
    error = row.error
    relative = _up(error * (1 << WEIGHT_BITS) / row.total)
    triples = []
    for numerator, span in zip(row.numerators, spans.tolist(), strict=True):
        hi, lo, rounding = enclose(Fraction(numerator, row.total) * Fraction(2) ** row.exponent)
        spread = 2 * relative * span * (1 + 2.0**-50)
        radius = spread + (math.ulp(0.0) if span and relative else 0.0) + left_out + rounding
        triples.append((hi, lo, radius * (1 + 2.0**-50)))
    return triples


@implements("MHN-BIG-4")
def update_far_ahead(row: RowSums, leader: Array, shift: Array, size: Array, spans: Array) -> list[Triple]:
    """The same where all weights but the reference's are below :data:`FAR_AHEAD` together.

    Args:
        row: the sums.
        leader: the reference's value, ``[dv]``.
        shift: the sum of ``w_i (v_i - leader)`` in float64.
        size: the sum of ``w_i |v_i - leader|``.
        spans: as :func:`update` takes them.
    """
    relative = 1.0625 * (row.eta + 2.0**-46 + (row.kept + 4) * 2.0**-53)
    triples = []
    for value, moved, length, span in zip(*(a.tolist() for a in (leader, shift, size, spans)), strict=True):
        hi = value + moved
        lo = (value - (hi - (hi - value))) + (moved - (hi - value))
        underflow = row.kept * 2.0**-1074 if span else 0.0
        triples.append((hi, lo, relative * length + (row.kept - 1) * 2.0**-1000 * span + underflow))
    return triples


@implements("MHN-BIG-3")
def log_normalizer(row: RowSums) -> Triple:
    """The log-normalizer, enclosed."""
    logarithm, error = _log_total(row, 1)
    hi, lo, rounding = enclose(row.logit + logarithm)
    return hi, lo, (_up(error) + rounding) * (1 + 2.0**-50)


@implements("MHN-BIG-3")
def energy(row: RowSums, query: Array, beta: float, square: tuple[Fraction, Fraction]) -> Triple:
    """The energy, enclosed; ``square`` is the largest squared length of a kept memory and its error."""
    logarithm, error = _log_total(row, row.kept)
    own = sum((Fraction(x) ** 2 for x in query.tolist()), Fraction(0))
    exact_beta = Fraction(beta)
    hi, lo, rounding = enclose((own + square[0]) / 2 - (row.logit + logarithm) / exact_beta)
    return hi, lo, (_up(error / exact_beta + square[1] / 2) + rounding) * (1 + 2.0**-50)


def _log_total(row: RowSums, parts: int) -> tuple[Fraction, Fraction]:
    """The logarithm of the mean (or, with ``parts`` 1, the sum) of the weights, and its error."""
    error = row.error
    computed = Fraction(row.total, 1 << WEIGHT_BITS)
    logarithm = Fraction(log_fixed(row.total, parts << WEIGHT_BITS, LOG_BITS), 1 << LOG_BITS)
    exact = row.total == parts << WEIGHT_BITS
    return logarithm, error / (computed - error) + (0 if exact else Fraction(1, 1 << LOG_BITS))


def enclose(number: Fraction) -> Triple:
    """``(hi, lo, error)`` with ``|number - hi - lo| <= error``; ``hi`` is the nearest float64.

    >>> enclose(Fraction(1, 3))[:2]
    (0.3333333333333333, 1.850371707708594e-17)
    """
    try:
        hi = number.numerator / number.denominator
    except OverflowError:
        return math.inf if number > 0 else -math.inf, 0.0, 0.0
    rest = number - Fraction(hi)
    lo = rest.numerator / rest.denominator
    return hi, lo, _up(abs(rest - Fraction(lo)))


def _up(number: Fraction) -> float:
    """A float64 at least as large as a number that is not negative; 0 for 0."""
    if not number:
        return 0.0
    try:
        return math.nextafter(number.numerator / number.denominator, math.inf)
    except OverflowError:
        return math.inf
