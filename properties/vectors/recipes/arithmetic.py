"""Too few bits: in sums, scores, weights, results, and in the last rounding."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from hopspec.formats import FLOAT16
from hopspec.properties.problem import Problem
from hopspec.properties.vectors.recipe import QUANTITIES, Draw, recipe
from hopspec.properties.vectors.recipes.common import FORWARD, LEVEL, ladder

ROUNDING = ("MHN-PRC-1", "MHN-PRC-4")


@recipe(
    "growing-sum",
    "accumulator-precision",
    "equal weights: narrow sums stop growing (513 memories in 16 and 8 bits, 129 in others)",
    LEVEL,
    clauses=("MHN-LAW-8",),
)
def growing_sum(draw: Draw) -> Problem:
    """A narrow accumulator swallows what it should add."""
    n = 513 if draw.format.precision <= FLOAT16.precision else 129
    return draw.problem([[1.0]], np.linspace(1.0, 1.25, n)[:, None], 0.0)


@recipe(
    "growing-weights",
    "accumulator-precision",
    "one weight 1 first, then 100 that are 2 per cent each",
    ("update", "log_normalizer", "energy"),
)
def growing_weights(draw: Draw) -> Problem:
    """Small terms after a large one."""
    base = ladder(draw, [0.0] + [-4.0] * 100, width=2)
    memory = base.memory.copy()
    memory[:, 1:] = draw.round(1.0 + draw.uniform(101, 1))
    return base.but(memory=memory)


@recipe("shares-of-20", "accumulator-precision", "20 weights from 1 down to e**-2")
def shares_of_20(draw: Draw) -> Problem:
    """Every sum and every share of it."""
    return ladder(draw, np.linspace(0.0, -2.0, 20), width=2)


def _offset(draw: Draw, offset: float) -> Problem:
    memory = draw.normal(8, 2)
    memory[:, 0] = offset
    return draw.problem([[1.03, 0.97]], memory, 1.0)


for _level in (60.0, -100.0):
    recipe(
        f"scores-about-{_level:g}",
        "score-precision",
        f"mixed weights although every score is about {_level:g}",
        FORWARD,
    )(partial(_offset, offset=_level))


@recipe(
    "cancelling-scores", "score-precision", "two large products cancel in every score; beta = 1.7", QUANTITIES
)
def cancelling_scores(draw: Draw) -> Problem:
    """Rounding a factor is magnified by the products."""
    large = 24 * draw.normal(8, 1)
    memory = np.concatenate([large, large + draw.normal(8, 1)], axis=1)
    return draw.problem([[1.3, -1.3]], memory, 1.7)


@recipe("many-coordinates", "score-precision", "32 products in each score", LEVEL)
def many_coordinates(draw: Draw) -> Problem:
    """Ordinary scores of full precision."""
    return draw.problem(draw.normal(2, 32), draw.normal(6, 32), 0.5)


@recipe("offset-values", "weight-precision", "values about 100 with mixed weights", ("update",))
def offset_values(draw: Draw) -> Problem:
    """What weights lose is magnified by the offset."""
    base = ladder(draw, [0.0, -0.3, -1.1, -0.7, -2.3, -1.9])
    return base.but(values=draw.round(100.0 + draw.normal(6, 3)))


@recipe(
    "full-precision-values",
    "weight-precision",
    "values with all bits of the format, mixed weights",
    ("update",),
)
def full_precision_values(draw: Draw) -> Problem:
    """Products take all bits of their factors."""
    base = ladder(draw, [0.0, -0.2, -3.1, -0.9])
    return base.but(values=draw.round(1.0 + draw.uniform(4, 4)))


@recipe(
    "all-bits",
    "result-precision",
    "one memory whose entries use all bits: they come back",
    ("update",),
    clauses=("MHN-LAW-7",),
)
def all_bits(draw: Draw) -> Problem:
    """Odd last bits."""
    ulp = math.ldexp(1.0, 1 - draw.format.precision)
    odd = 2 * draw.whole(0, (1 << (draw.format.precision - 2)) - 1, 1, 4) + 1
    return draw.problem(draw.normal(1, 4), 1.0 + odd * ulp, 1.0)


@recipe("ordinary-results", "result-precision", "mixed weights, results of full precision")
def ordinary_results(draw: Draw) -> Problem:
    """Nothing special."""
    return draw.problem(draw.normal(2, 3), 2 * draw.normal(7, 3), 0.7)


def _mean(draw: Draw, columns: list[list[float]]) -> Problem:
    memory = np.array(columns, dtype=np.float64).T
    return draw.problem(np.ones((1, memory.shape[1])), memory, 0.0)


@recipe(
    "ties",
    "rounding",
    "beta = 0 and means halfway between two numbers, of both parities",
    ("update",),
    clauses=ROUNDING,
)
def ties(draw: Draw) -> Problem:
    """To the even neighbor."""
    ulp = math.ldexp(1.0, 1 - draw.format.precision)
    pairs = [[1 + k * ulp, 1 + (k + 1) * ulp] for k in (0, 1, 2, 3)]
    return _mean(draw, [*pairs, *([-x for x in pair] for pair in pairs)])


@recipe(
    "almost-ties",
    "rounding",
    "beta = 0 and means just off the halfway point, by less than any longer format would keep",
    ("update",),
    clauses=ROUNDING,
)
def almost_ties(draw: Draw) -> Problem:
    """Rounding twice, or in a longer format first, goes wrong."""
    fmt = draw.format
    far = math.ldexp(1.0, max(fmt.least_exponent, -3 * fmt.precision - 30))
    step = math.ldexp(1.0, 2 - fmt.precision)
    rows = [[2.0, 2.0, k * step, sign * far] for k in (1, 3) for sign in (1.0, -1.0)]
    return _mean(draw, rows)


@recipe(
    "first-normal-binade",
    "rounding",
    "one memory with odd last bits just above and just below the least normal number",
    ("update",),
    clauses=ROUNDING,
)
def first_normal_binade(draw: Draw) -> Problem:
    """Gradual underflow begins where it should."""
    fmt = draw.format
    first = 1 << (fmt.precision - 1)
    steps = np.array([[first + 1, first + 3, first - 1, 1]], dtype=np.float64)
    return draw.problem([[1.0, 1.0, 1.0, 1.0]], steps * math.ldexp(1.0, fmt.least_exponent), 1.0)


@recipe(
    "subnormal-ties",
    "rounding",
    "beta = 0 and means halfway between subnormal numbers",
    ("update",),
    clauses=ROUNDING,
)
def subnormal_ties(draw: Draw) -> Problem:
    """Ties to even below the normal range too."""
    least = math.ldexp(1.0, draw.format.least_exponent)
    return _mean(draw, [[k * least, (k + 1) * least] for k in (0, 1, 2)])


@recipe(
    "ordinary-rounding",
    "rounding",
    "mixed weights: every result is irrational",
    QUANTITIES,
    clauses=ROUNDING,
)
def ordinary_rounding(draw: Draw) -> Problem:
    """Half of all results must be rounded away from zero."""
    return draw.problem(draw.normal(3, 4), draw.normal(5, 4), 0.9)
