"""Memories whose logits are chosen, shared by the recipes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hopspec.properties.problem import Array, Problem
from hopspec.properties.vectors.recipe import Draw

__all__ = ["FORWARD", "LEVEL", "ladder"]

FORWARD = ("update", "log_normalizer", "association")
LEVEL = ("update", "log_normalizer")


def ladder(
    draw: Draw, logits: Sequence[float] | Array, *, beta: float = 1.0, width: int = 3, rows: int = 1
) -> Problem:
    """Memories whose first entry makes the logit and whose others are random.

    The first query has these logits up to the rounding of the first entries; a second one has half of them,
    mixed with the other coordinates.

    Args:
        draw: where the other entries come from.
        logits: ``[N]``.
        beta: inverse temperature.
        width: entries per memory.
        rows: number of queries, 1 or 2.
    """
    wanted = np.asarray(logits, dtype=np.float64)
    memory = draw.normal(len(wanted), width)
    memory[:, 0] = wanted / beta
    query = np.zeros((rows, width))
    query[0, 0] = 1.0
    if rows > 1:
        query[1] = 0.25
        query[1, 0] = 0.5
    return draw.problem(query, memory, beta)
