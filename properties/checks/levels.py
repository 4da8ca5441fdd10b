"""Logits that all lie far from zero, which changes no weight: where clamps and finite masks show."""

from __future__ import annotations

import math

import numpy as np

from hopspec.properties.checks.common import every_kept, representable
from hopspec.properties.checks.probes import LARGE, repeated_update
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement
from hopspec.properties.problem import Problem
from hopspec.reference.arithmetic import score_limit

# Beyond -10000, a usual stand-in for minus infinity, and beyond what float16 holds, but not so far that a
# float32 score loses the differences.
LEVELS = (-(2.0**14), 2.0**17, -(2.0**17), 2.0**14)
# Models that round scores to float16 say nothing of larger ones: theirs are 32 times as small as these
# levels, and not divided by beta.
REACH = 2.0**40
# More queries than a tile has.
QUERIES = 130


def _at_levels(case: Case, queries: int = 0) -> Problem | None:
    """The problem with one more number in every pattern, which moves all logits of a query by about a level.

    The number is the same power of two in all memories. Queries that follow each other are at different
    levels; they are repeated until there are as many as wanted.
    """
    p = case.problem
    query = np.resize(p.query, (max(queries, len(p.query)), p.query.shape[1]))
    together = 14 - math.frexp(p.beta)[1] if score_limit(case.model) >= REACH else 9
    stored = math.ldexp(1.0, together // 2)
    levels = np.roll(LEVELS, p.seed)
    asked = np.resize(levels, len(query)) / 2.0**14 * math.ldexp(1.0, together - together // 2)
    if not representable(case, asked, np.array([stored])):
        return None
    return p.but(
        query=np.column_stack([query, asked]),
        memory=np.pad(p.memory, ((0, 0), (0, 1)), constant_values=stored),
    )


def _update(case: Case, what: str, queries: int = 0) -> Judgement | None:
    moved = _at_levels(case, queries)
    return None if moved is None else repeated_update(case, moved, what)


@check("MHN-BND-2", family="general", one_in=2)
def update_at_common_levels(case: Case) -> Judgement | None:
    """The update is within its bound where all logits of a query are far from zero."""
    return _update(case, "update")


@check("MHN-BND-2", family="tiles", size=LARGE, one_in=2)
def update_at_levels_in_tiles(case: Case) -> Judgement | None:
    """The same where the queries of a tile, and of the one before, are at other levels."""
    return _update(case, "update", QUERIES)


@check("MHN-MSK-2", family="masked", claims=("masks",), one_in=2)
def masked_update_at_common_levels(case: Case) -> Judgement | None:
    """Masked memories stay out where the logits of all others are far below zero."""
    return _update(case, "masked update") if every_kept(case.problem) else None
