"""NaN and infinities among the inputs that count."""

from __future__ import annotations

from functools import partial

import numpy as np

from hopspec.properties.problem import Problem
from hopspec.properties.vectors.recipe import Draw, recipe
from hopspec.properties.vectors.recipes.masks import no_infinity

# What clauses MHN-NFI-1 and MHN-NFI-2 speak of.
SPOILT = ("update", "log_normalizer", "energy")


def _query(draw: Draw, what: float) -> Problem:
    query = draw.normal(3, 3)
    query[1, 2] = what
    return draw.problem(query, draw.normal(5, 3), 1.0)


def _memory(draw: Draw, what: float, masked: bool) -> Problem:
    memory = draw.normal(5, 3)
    memory[2, 1] = what
    keep = np.ones((3, 5), dtype=np.bool_)
    keep[1, 2] = False
    return draw.problem(draw.normal(3, 3), memory, 1.0, keep=keep if masked else None)


recipe(
    "nan-in-query", "nan-in-query", "the second of three queries holds a NaN", SPOILT, clauses=("MHN-NFI-1",)
)(partial(_query, what=np.nan))
recipe(
    "nan-in-memory",
    "nan-in-memory",
    "a memory that all queries keep holds a NaN",
    SPOILT,
    clauses=("MHN-NFI-2",),
)(partial(_memory, what=np.nan, masked=False))
recipe(
    "nan-in-memory-of-some",
    "nan-in-memory",
    "a memory that the first and third of three queries keep holds a NaN",
    SPOILT,
    clauses=("MHN-NFI-2", "MHN-MSK-3"),
)(partial(_memory, what=np.nan, masked=True))
for _sign, _word in ((1.0, "inf"), (-1.0, "minus-inf")):
    recipe(
        f"{_word}-in-query",
        "infinity",
        f"the second of three queries holds {_word}",
        SPOILT,
        clauses=("MHN-NFI-1",),
        lacking=no_infinity,
    )(partial(_query, what=_sign * np.inf))
    recipe(
        f"{_word}-in-memory",
        "infinity",
        f"a memory that the first and third of three queries keep holds {_word}",
        SPOILT,
        clauses=("MHN-NFI-2", "MHN-MSK-3"),
        lacking=no_infinity,
    )(partial(_memory, what=_sign * np.inf, masked=True))
