"""Lengths, ranges and magnitudes of a large memory."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import implements
from hopspec.reference.extended_exp import two_product, two_sum
from hopspec.reference.large_problem import LargeProblem
from hopspec.reference.slices import exponents

__all__ = ["half_ranges", "largest_square", "magnitudes"]


Array = NDArray[np.float64]


def half_ranges(problem: LargeProblem) -> Array:
    """At least half the range of every column of the values that count, ``[dv]``."""
    high = np.full(problem.values.shape[1], -np.inf)
    low = -high
    for rows in problem.blocks:
        used = problem.used[rows]
        if used.any():
            block = problem.value_block(rows)[used]
            high, low = np.maximum(high, block.max(axis=0)), np.minimum(low, block.min(axis=0))
    # Halving may drop the last bit of a subnormal number.
    with np.errstate(invalid="ignore"):
        return np.where(high > low, (high / 2 - low / 2) * (1 + 2.0**-50) + 2.0**-1073, 0.0)


def magnitudes(problem: LargeProblem) -> Array:
    """``sum_j |x_ij xi_j|`` to relative accuracy ``(d + 2) 2**-53``; 0 where masked, ``[L, N]``."""
    query = np.where(problem.spoilt[:, None] | problem.empty[:, None], 0.0, np.abs(problem.query))
    exponent = exponents(query, axis=1)[:, None]
    result = np.zeros(problem.keep.shape)
    for rows in problem.blocks:
        block = np.abs(problem.block(rows))
        own = exponents(block, axis=1)
        scaled = np.ldexp(query, -exponent) @ np.ldexp(block, -own[:, None]).T
        with np.errstate(over="ignore"):
            result[:, rows] = np.where(problem.keep[:, rows], np.ldexp(scaled, exponent + own), 0.0)
    return result


@implements("MHN-BIG-3")
def largest_square(
    problem: LargeProblem, kept: NDArray[np.bool_], exponent: int
) -> tuple[Fraction, Fraction]:
    """``M**2`` of the kept memories and a bound on its error, 0 where one memory is clearly the longest.

    Plain float64 leaves few candidates; pairs of floats tell these apart up to ``10 d**2 2**-106`` of the
    square, and the square of the one that looks longest is formed exactly.

    Args:
        problem: whose memory is meant.
        kept: ``[N]``.
        exponent: no entry exceeds ``2**exponent``.
    """
    width = problem.memory.shape[1]
    squares = np.full(len(kept), -1.0)
    for rows in problem.blocks:
        block = np.ldexp(problem.block(rows), -exponent)
        squares[rows] = np.where(kept[rows], np.einsum("ij,ij->i", block, block), -1.0)
    # Two squares, each with width roundings, and underflow far below the largest.
    margin = 2 * (width + 2) * 2.0**-53
    candidates = np.flatnonzero(squares >= squares.max() * (1 - margin) - 2.0**-1000)
    best, error = int(candidates[0]), Fraction(0)
    if len(candidates) > 1:
        best = int(candidates[_longest(problem, candidates, exponent)])
        error = Fraction(10 * width * width, 1 << 106)
    square = sum((Fraction(x) ** 2 for x in problem.memory[best].tolist()), Fraction(0))
    return square, square * error


def _longest(problem: LargeProblem, candidates: NDArray[np.int64], exponent: int) -> int:
    """Which of the candidates has the largest sum of squares in pairs of floats."""
    best, top = 0, (-1.0, 0.0)
    for start in range(0, len(candidates), 4096):
        block = np.ldexp(problem.memory[candidates[start : start + 4096]].astype(np.float64), -exponent)
        high = np.zeros(len(block))
        low = np.zeros(len(block))
        for column in block.T:
            product, error = two_product(column, column)
            high, left = two_sum(high, product)
            low += left + error
        high, low = two_sum(high, low)
        order = np.lexsort((low, high))
        found = (float(high[order[-1]]), float(low[order[-1]]))
        if found > top:
            best, top = start + int(order[-1]), found
    return best
