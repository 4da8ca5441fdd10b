"""The softmax and the mean: maxima, beta, exponentials, weights, denominators, special cases of memories."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from hopspec.formats import FLOAT32, FLOAT64
from hopspec.properties.problem import Problem
from hopspec.properties.vectors.recipe import QUANTITIES, Draw, recipe
from hopspec.properties.vectors.recipes.common import FORWARD, LEVEL, ladder

ANY_BETA = ("MHN-UPD-8",)
CLOSE = np.array([0.0, -1.0, -2.0, 1.0, -0.5])


def _root(draw: Draw) -> float:
    """A number whose square is a logit that has no exponential in the format of the sums."""
    return 32.0 if draw.format.precision > FLOAT32.precision else 16.0


def _far(draw: Draw, sign: float) -> Problem:
    root = _root(draw)
    memory = np.stack([np.full(5, sign * root), CLOSE], axis=1)
    return draw.problem([[root, 1.0]], memory, 1.0)


recipe("large-logits", "max-subtraction", "logits about 256 (1024 in float64), whose exponentials overflow")(
    partial(_far, sign=1.0)
)
recipe(
    "large-negative-logits",
    "max-subtraction",
    "logits about -256 (-1024 in float64), whose exponentials vanish",
)(partial(_far, sign=-1.0))


@recipe(
    "rows-far-apart",
    "max-subtraction",
    "three queries with logits about 256, -256 and 0 (in float64 1024, -1024 and 0) in one call",
    FORWARD,
)
def rows_far_apart(draw: Draw) -> Problem:
    """A maximum shared by the rows leaves nothing of the second."""
    root = _root(draw)
    memory = np.stack([np.full(5, root), CLOSE], axis=1)
    return draw.problem([[root, 1.0], [-root, 1.0], [0.0, 1.0]], memory, 1.0)


@recipe(
    "negative-beta-wide",
    "max-subtraction",
    "beta = -1 and scores up to 256 (1024 in float64): the largest logit belongs to the least score",
    FORWARD,
    clauses=ANY_BETA,
)
def negative_beta_wide(draw: Draw) -> Problem:
    """The maximum of the scores is the minimum of the logits."""
    top = _root(draw) ** 2
    return ladder(draw, [-top, -1.0, 0.0, -top / 2, -0.5, -2.0], beta=-1.0)


def _mixed(draw: Draw, beta: float, d: int) -> Problem:
    return draw.problem(draw.normal(2, d), draw.normal(6, d), beta)


for _beta, _d in ((1.7, 4), (0.3, 5), (2.5, 3)):
    recipe(f"mixed-beta-{_beta:g}", "beta", f"beta = {_beta:g}, width {_d}, mixed weights")(
        partial(_mixed, beta=_beta, d=_d)
    )


@recipe(
    "beta-zero", "beta-range", "beta = 0: the mean of the memories", FORWARD, clauses=(*ANY_BETA, "MHN-LAW-8")
)
def beta_zero(draw: Draw) -> Problem:
    """The mean, whatever the query."""
    return draw.problem(3 * draw.normal(2, 3), draw.normal(5, 3), 0.0)


@recipe(
    "beta-negative", "beta-range", "beta = -0.75: dissimilar memories weigh more", FORWARD, clauses=ANY_BETA
)
def beta_negative(draw: Draw) -> Problem:
    """Folded to its absolute value it prefers the wrong memories."""
    return draw.problem(draw.normal(2, 3), 2 * draw.normal(6, 3), -0.75)


@recipe(
    "beta-small",
    "beta-range",
    "beta = 2**-8 and scores in the hundreds: mixed weights",
    QUANTITIES,
    clauses=ANY_BETA,
)
def beta_small(draw: Draw) -> Problem:
    """Small, and yet it decides."""
    return draw.problem(64 * draw.normal(2, 3), 4 * draw.normal(6, 3), 2.0**-8)


@recipe(
    "beta-huge",
    "beta-range",
    "a tiny query and a huge beta: mixed weights",
    QUANTITIES,
    clauses=ANY_BETA,
)
def beta_huge(draw: Draw) -> Problem:
    """Huge, and yet nothing is saturated."""
    size = max(draw.format.emin, -16)
    return draw.problem(2.0**size * draw.normal(2, 3), draw.normal(6, 3), 2.0 ** (1 - size))


@recipe(
    "beta-subnormal",
    "beta-range",
    "beta is three times the least positive number of the format the sums are kept in: almost the mean",
    FORWARD,
    clauses=ANY_BETA,
)
def beta_subnormal(draw: Draw) -> Problem:
    """The logits vanish beside any rounding."""
    wide = FLOAT64 if draw.format.precision > FLOAT32.precision else FLOAT32
    return draw.problem(draw.normal(1, 3), draw.normal(5, 3), 3 * 2.0**wide.least_exponent)


@recipe("logits-0-to-16", "exponential", "33 logits from 0 down to -16 in steps of a half", LEVEL)
def every_exponential(draw: Draw) -> Problem:
    """Exponentials over the range that matters."""
    base = ladder(draw, np.linspace(0.0, -16.0, 33))
    # Larger where the weight is smaller, so that each is seen.
    growth = np.ldexp(1.0, np.minimum(np.arange(33) // 2, 5))[:, None]
    return base.but(values=draw.round(growth * draw.normal(33, 2)))


@recipe("four-logits", "exponential", "logits 0, -1.5, -3 and -6")
def four_logits(draw: Draw) -> Problem:
    """Each exponential by itself is seen."""
    return ladder(draw, [0.0, -1.5, -3.0, -6.0], rows=2)


@recipe(
    "far-but-large",
    "exponential",
    "32 logits at -12 whose values are 16 times as large as that of the logit 0",
    ("update",),
)
def far_but_large(draw: Draw) -> Problem:
    """Arguments below -10 count."""
    base = ladder(draw, [0.0] + [-12.0] * 32, width=2)
    values = np.full((33, 1), 16.0)
    values[0] = 1.0
    return base.but(values=draw.round(values))


@recipe(
    "one-far-ahead",
    "exponential",
    "one logit is 64 above the others: that memory comes back bit for bit",
    QUANTITIES,
    clauses=("MHN-BND-6", "MHN-LAW-9"),
)
def one_far_ahead(draw: Draw) -> Problem:
    """The exponential of 0 is 1, and nothing else counts."""
    logits = np.full(6, -64.0)
    logits[2] = 0.0
    base = ladder(draw, logits)
    memory = base.memory.copy()
    memory[:, 1:] = draw.round(1.0 + draw.uniform(6, 2))
    memory[:, 0] += 1.0
    return base.but(memory=draw.round(memory))


@recipe("ten-alike", "weights-dropped", "ten memories with equal weights", QUANTITIES)
def ten_alike(draw: Draw) -> Problem:
    """All ten count."""
    return ladder(draw, [0.0] * 10)


@recipe("near-ties", "weights-dropped", "sixteen logits within a thousandth of each other", FORWARD)
def near_ties(draw: Draw) -> Problem:
    """Second best by a hair still counts."""
    memory = 2 * draw.normal(16, 3)
    memory[:, 0] = draw.whole(0, 15, 16)
    return draw.problem([[2.0**-6, 0.0, 0.0]], memory, 2.0**-8)


@recipe(
    "far-tile",
    "weights-dropped",
    "16 memories, then 16 whose logits are 7 lower and values 8 times larger",
    ("update",),
)
def far_tile(draw: Draw) -> Problem:
    """A whole tile is far below the maximum, and counts."""
    base = ladder(draw, [0.0] * 16 + [-7.0] * 16, width=2)
    scale = np.where(np.arange(32) < 16, 1.0, 8.0)[:, None]
    return base.but(values=draw.round(scale * (2.0 + draw.uniform(32, 1))))


@recipe(
    "many-small",
    "weights-dropped",
    "one logit 0 and 63 at -7.5: together their weights are 3 per cent",
    LEVEL,
)
def many_small(draw: Draw) -> Problem:
    """Each below a thousandth."""
    base = ladder(draw, [0.0] + [-7.5] * 63, width=2)
    memory = base.memory.copy()
    memory[1:, 1] = draw.round(np.full((63, 1), 3.0))[:, 0]
    return base.but(memory=memory)


@recipe("small-weights", "weights-dropped", "logits 0, -8.5, -9.5, -11", ("association",))
def small_weights(draw: Draw) -> Problem:
    """Weights below 2**-12 are not 0."""
    return ladder(draw, [0.0, -8.5, -9.5, -11.0])


@recipe(
    "guarded-denominator",
    "denominator",
    "one logit far ahead: the denominator is 1, the entries are large",
    LEVEL,
)
def guarded(draw: Draw) -> Problem:
    """A millionth added to 1 shows in float32."""
    memory = 32 * draw.normal(3, 3)
    memory[:, 0] = (64.0, -8.0, -16.0)
    return draw.problem([[1.0, 0.0, 0.0]], memory, 1.0)


def _shares(draw: Draw, n: int) -> Problem:
    return ladder(draw, [0.0] * n)


for _n in (3, 7, 11):
    recipe(f"{_n}-shares", "denominator", f"{_n} equal weights: the denominator is {_n}", FORWARD)(
        partial(_shares, n=_n)
    )


@recipe("uneven-shares", "denominator", "the denominator lies between two whole numbers", QUANTITIES)
def uneven_shares(draw: Draw) -> Problem:
    """Not to be rounded."""
    return ladder(draw, [0.0, -0.25, -0.75, -1.25, -0.5], rows=2)


def _duplicates(draw: Draw, counts: tuple[int, ...]) -> Problem:
    memory = np.repeat(draw.normal(len(counts), 3), counts, axis=0)
    return draw.problem(draw.normal(2, 3), memory, 0.75)


for _counts in ((3, 1), (1, 2, 4), (2, 2, 2), (5,)):
    recipe(
        "repeated-" + "-".join(map(str, _counts)),
        "duplicates",
        f"distinct memories occurring {', '.join(map(str, _counts))} times",
        clauses=("MHN-LAW-3",) if len(set(_counts)) == 1 else (),
    )(partial(_duplicates, counts=_counts))


@recipe("one", "one-memory", "one memory, unlike the query", clauses=("MHN-LAW-7",))
def one(draw: Draw) -> Problem:
    """The memory comes back, not the query."""
    return draw.problem(draw.normal(2, 3), draw.normal(1, 3), 1.5)


@recipe("one-number", "one-memory", "one memory of width 1", clauses=("MHN-LAW-7",))
def one_number(draw: Draw) -> Problem:
    """The smallest problem there is."""
    return draw.problem([[-2.0]], 1 + draw.uniform(1, 1), 0.5)


@recipe("far-query", "damping", "the query lies far from all memories", ("update",), clauses=("MHN-UPD-7",))
def far_query(draw: Draw) -> Problem:
    """What is left of the query shows."""
    return draw.problem(24.0 + 8.0 * draw.uniform(2, 3), draw.normal(4, 3), 0.125)


@recipe(
    "far-query-saturated", "damping", "the query lies far out and one memory takes all weight", ("update",)
)
def far_query_saturated(draw: Draw) -> Problem:
    """One memory, and nothing of the query."""
    memory = np.array([[3.0, 1.5], [-3.0, 1.25], [0.5, -2.5]])
    return draw.problem([[40.0, 4.0]], memory, 2.0)


def _coordinates(draw: Draw, d: int) -> Problem:
    query, memory = 0.25 * draw.normal(1, d), draw.normal(4, d)
    query[0, -1] = 2.0
    return draw.problem(query, memory, 1.0)


for _d in (7, 8, 9, 15, 17, 33):
    recipe(
        f"width-{_d}",
        "coordinates",
        f"width {_d}; the last coordinate decides",
        QUANTITIES if _d == 9 else FORWARD,
    )(partial(_coordinates, d=_d))


def _read_out(draw: Draw, d: int, dv: int) -> Problem:
    return draw.problem(draw.normal(2, d), draw.normal(5, d), 1.25, values=2 * draw.normal(5, dv))


for _dv in (1, 3, 6):
    recipe(f"values-of-width-{_dv}", "values", f"memory of width 3, values of width {_dv}", ("update",))(
        partial(_read_out, d=3, dv=_dv)
    )


@recipe(
    "base-and-scale",
    "log-normalizer-convention",
    "beta = 4 and logits about 20: base 2, division by beta and a forgotten maximum all show",
    ("log_normalizer", "energy"),
)
def base_and_scale(draw: Draw) -> Problem:
    """Every convention gives another number."""
    return ladder(draw, [20.0, 19.0, 21.0, 18.5, 20.5], beta=4.0, rows=2)


@recipe(
    "level-log",
    "log-normalizer-convention",
    "beta = 0.5, scores near 0: little but log N is left",
    ("log_normalizer",),
)
def level_log(draw: Draw) -> Problem:
    """The logarithm of the number of memories, nearly."""
    return draw.problem(math.ldexp(1.0, -4) * draw.normal(1, 3), draw.normal(7, 3), 0.5)


@recipe(
    "mates-of-another-size",
    "batch-mates",
    "three queries, one of them a thousand times as long as the others",
    FORWARD,
    clauses=("MHN-DOM-8",),
)
def mates_of_another_size(draw: Draw) -> Problem:
    """A scale shared by the rows leaves the short ones few bits."""
    query = draw.normal(3, 3)
    query[0] *= 16.0
    query[1] *= 2.0**-6
    return draw.problem(query, np.concatenate([draw.normal(2, 3), 8 * draw.normal(3, 3)]), 0.5)


@recipe("three-mates", "batch-mates", "three queries with mixed weights", QUANTITIES, clauses=("MHN-DOM-8",))
def three_mates(draw: Draw) -> Problem:
    """Nothing of one row belongs in another."""
    return draw.problem(draw.normal(3, 3), draw.normal(5, 3), 1.0)
