"""Keep masks, empty rows, and what masked memories hold."""

from __future__ import annotations

from functools import partial

import numpy as np

from hopspec.formats import Format
from hopspec.properties.models import standard_models
from hopspec.properties.problem import Problem
from hopspec.properties.vectors.codec import has_infinity
from hopspec.properties.vectors.recipe import QUANTITIES, Draw, nothing_lacking, recipe
from hopspec.properties.vectors.recipes.common import FORWARD

REMOVED = ("MHN-MSK-1", "MHN-MSK-2")
EMPTY = ("MHN-MSK-1", "MHN-MSK-4")


@recipe("mask-per-query", "mask", "three queries that keep different memories", clauses=REMOVED)
def mask_per_query(draw: Draw) -> Problem:
    """No row may see what another keeps."""
    keep = [
        [True, False, True, True, False],
        [False, True, True, False, True],
        [True, True, False, False, False],
    ]
    return draw.problem(draw.normal(3, 3), 2 * draw.normal(5, 3), 0.75, keep=keep)


@recipe("mask-values", "mask", "masked memories with values of their own", ("update",), clauses=REMOVED)
def mask_values(draw: Draw) -> Problem:
    """The values of masked memories are masked too."""
    keep = [[True, False, True, False], [False, True, True, True]]
    return draw.problem(draw.normal(2, 3), draw.normal(4, 3), 1.0, keep=keep, values=4 * draw.normal(4, 2))


@recipe("mask-in-tail-20", "mask", "20 memories; of the last four only one is kept", FORWARD, clauses=REMOVED)
def mask_in_tail(draw: Draw) -> Problem:
    """A mask counts in the last tile too."""
    keep = np.ones((2, 20), dtype=np.bool_)
    keep[:, 16:] = False
    keep[0, 18] = keep[1, 19] = True
    memory = draw.normal(20, 2)
    memory[16:] *= 2.0
    return draw.problem(draw.normal(2, 2), memory, 0.5, keep=keep)


@recipe(
    "first-tile-masked-24",
    "mask",
    "24 memories; the first 16 are masked",
    ("update", "log_normalizer"),
    clauses=REMOVED,
)
def first_tile_masked(draw: Draw) -> Problem:
    """The maximum of the first tile is over nothing."""
    keep = np.zeros((1, 24), dtype=np.bool_)
    keep[0, 17:] = True
    return draw.problem(draw.normal(1, 2), draw.normal(24, 2), 1.0, keep=keep)


@recipe(
    "as-many-queries-as-memories", "mask", "four queries, four memories, no mask: nothing is causal", FORWARD
)
def square(draw: Draw) -> Problem:
    """Equal numbers mean nothing."""
    return draw.problem(draw.normal(4, 3), draw.normal(4, 3), 1.0)


def _narrow_scores(fmt: Format) -> str:
    stored = any(m.score_roundings for m in standard_models(fmt.name))
    return "scores below -10000 are too large to be stored" if stored and fmt.emax < 17 else ""


@recipe(
    "kept-scores-very-low",
    "mask-sentinel",
    "kept scores between -15360 and -10752, masked ones 0: a sentinel of -10000 would win",
    FORWARD,
    clauses=REMOVED,
    lacking=_narrow_scores,
)
def kept_scores_very_low(draw: Draw) -> Problem:
    """Masked is not the same as very low."""
    memory = np.array([[-112.0], [-128.0], [0.0], [-160.0], [0.0]])
    return draw.problem([[96.0]], memory, 2.0**-11, keep=[[True, True, False, True, False]])


@recipe(
    "small-beta-masked",
    "mask-sentinel",
    "beta = 2**-6: a penalty of 30 on a masked score is half a logit",
    QUANTITIES,
    clauses=REMOVED,
)
def small_beta_masked(draw: Draw) -> Problem:
    """A penalty on the score is multiplied by beta."""
    keep = [[True, False, True, True], [True, True, False, True]]
    return draw.problem(8 * draw.normal(2, 3), 2 * draw.normal(4, 3), 2.0**-6, keep=keep)


@recipe("one-empty-row", "empty-row", "the second of three queries keeps nothing", clauses=EMPTY)
def one_empty_row(draw: Draw) -> Problem:
    """Update 0, log-normalizer -inf, energy +inf, association 0; the neighbors are not concerned."""
    keep = np.ones((3, 4), dtype=np.bool_)
    keep[1] = False
    return draw.problem(draw.normal(3, 3), 2 + draw.normal(4, 3), 1.0, keep=keep)


@recipe(
    "one-empty-row-20",
    "empty-row",
    "20 memories; the first of two queries keeps nothing",
    ("update",),
    clauses=EMPTY,
)
def one_empty_row_in_tiles(draw: Draw) -> Problem:
    """Two tiles, empty both."""
    keep = np.ones((2, 20), dtype=np.bool_)
    keep[0] = False
    return draw.problem(draw.normal(2, 2), 2 + draw.normal(20, 2), 1.0, keep=keep)


@recipe(
    "no-memories",
    "empty-row",
    "there are no memories",
    ("update", "log_normalizer", "energy"),
    clauses=("MHN-MSK-4",),
)
def no_memories(draw: Draw) -> Problem:
    """The sum over nothing is 0."""
    return draw.problem(draw.normal(2, 3), np.zeros((0, 3)), 1.0)


def _garbage(draw: Draw, what: float) -> Problem:
    memory, values = draw.normal(5, 3), draw.normal(5, 2)
    memory[1], memory[3, 0] = what, what
    values[1] = what
    keep = np.ones((2, 5), dtype=np.bool_)
    keep[:, [1, 3]] = False
    keep[1, 0] = False
    return draw.problem(draw.normal(2, 3), memory, 1.0, keep=keep, values=values)


def _without_values(draw: Draw, what: float) -> Problem:
    return _garbage(draw, what).but(values=None)


def no_infinity(fmt: Format) -> str:
    """Why a format has no vector with an infinity."""
    return "" if has_infinity(fmt) else "the format has no infinity"


for _word, _what in (("nan", np.nan), ("inf", -np.inf)):
    recipe(
        f"masked-{_word}",
        "masked-garbage",
        f"masked memories hold {_word}",
        QUANTITIES,
        clauses=(*REMOVED, "MHN-MSK-3"),
        lacking=no_infinity if _word == "inf" else nothing_lacking,
    )(partial(_without_values, what=_what))
    recipe(
        f"masked-{_word}-in-values",
        "masked-garbage",
        f"masked memories and values hold {_word}",
        ("update",),
        clauses=(*REMOVED, "MHN-MSK-3"),
        lacking=no_infinity if _word == "inf" else nothing_lacking,
    )(partial(_garbage, what=_what))
