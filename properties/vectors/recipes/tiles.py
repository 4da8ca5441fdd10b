"""Tiles of keys: edges, order, rescaling."""

from __future__ import annotations

from functools import partial

import numpy as np

from hopspec.properties.problem import Problem
from hopspec.properties.vectors.recipe import QUANTITIES, Draw, recipe
from hopspec.properties.vectors.recipes.common import LEVEL, ladder

EDGES = (15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129)
SMALLEST_TILE = 16


def boundary(draw: Draw, n: int) -> Problem:
    """The first and last key of every tile carry the weight; every score is negative."""
    position = np.arange(n)
    heavy = np.isin(position % SMALLEST_TILE, (0, SMALLEST_TILE - 1)) | (position >= n - 2)
    memory = draw.normal(n, 2)
    # Distinct values on the heavy keys: none can be dropped or doubled without moving the mean.
    memory[:, 1] += np.where(heavy, np.where(position % 2 == 0, 2.0, -1.0), 0.0)
    memory[:, 0] = np.where(heavy, -1.0, -4.0)
    return draw.problem([[1.0, 0.0]], memory, 2.0)


for _n in EDGES:
    recipe(
        f"tile-edge-{_n}",
        "tile-edges",
        f"{_n} memories; the weight lies on the first and last key of tiles of 16, all scores are negative",
        QUANTITIES if _n == SMALLEST_TILE + 1 else LEVEL,
        clauses=("MHN-LSE-2",),
    )(partial(boundary, n=_n))


def separate_values(draw: Draw, n: int) -> Problem:
    """A few keys share the weight, far from each other; their values are read out."""
    logits = np.full(n, -8.0)
    logits[[1, n // 2, n - 2, n - 1]] = (0.0, -1.0, -0.5, 0.0)
    base = ladder(draw, logits, width=2)
    return base.but(values=draw.round(4.0 * draw.normal(n, 2)))


for _n in (17, 33, 65):
    recipe(
        f"values-in-step-{_n}",
        "values-out-of-step",
        f"{_n} memories, four of which share the weight; values of their own",
        ("update",),
        clauses=("MHN-LSE-2",),
    )(partial(separate_values, n=_n))


@recipe(
    "keys-read-out-40",
    "values-out-of-step",
    "40 memories with moderate weights throughout, read out themselves",
    ("update",),
    clauses=("MHN-LSE-2",),
)
def keys_read_out(draw: Draw) -> Problem:
    """Moderate weights in three tiles."""
    return draw.problem(draw.normal(2, 3), 2 * draw.normal(40, 3), 0.75)


def _climb(name: str, comment: str, first: float, last: float, n: int) -> None:
    recipe(name, "rescaling", comment, LEVEL, clauses=("MHN-LSE-2",))(
        lambda draw: ladder(draw, np.linspace(first, last, n))
    )


_climb("ascending-40", "logits rise by 10 over 40 memories: every tile raises the maximum", -10.0, 0.0, 40)
_climb("ascending-steeply-70", "logits rise by 60 over 70 memories", -30.0, 30.0, 70)
_climb(
    "ascending-slowly-65", "logits rise by 0.06 over 65 memories: the factors are close to 1", 0.0, 0.06, 65
)
_climb(
    "descending-40",
    "logits fall by 10 over 40 memories: no tile but the first raises the maximum",
    0.0,
    -10.0,
    40,
)


@recipe(
    "ascending-18",
    "rescaling",
    "logits rise by 4 over 18 memories",
    clauses=("MHN-LSE-2",),
)
def ascending(draw: Draw) -> Problem:
    """Two tiles of 16, the second small and heavy."""
    return ladder(draw, np.linspace(-4.0, 0.0, 18), width=2)


@recipe(
    "late-spike-49",
    "rescaling",
    "49 memories; the last logit is 3 above all others",
    LEVEL,
    clauses=("MHN-LSE-2",),
)
def late_spike(draw: Draw) -> Problem:
    """What came before must be scaled down, and still matters."""
    logits = np.zeros(49)
    logits[-1] = 3.0
    return ladder(draw, logits)


@recipe(
    "two-spikes-80",
    "rescaling",
    "80 memories; two logits stand out, in the second tile of 16 by 4 and in the last by 5",
    LEVEL,
    clauses=("MHN-LSE-2",),
)
def two_spikes(draw: Draw) -> Problem:
    """Two rescalings, with tiles that need none in between."""
    logits = np.zeros(80)
    logits[20], logits[70] = 4.0, 5.0
    return ladder(draw, logits, rows=2)
