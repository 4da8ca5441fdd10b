"""Problems of the statistical tier: one memory and hundreds of queries that are all different."""

from __future__ import annotations

import math

import numpy as np

from hopspec.properties.problem import Problem, round_to
from hopspec.properties.strategies import GRAINS, between, choose

__all__ = ["MOST", "crowd_problem"]

# Around the sizes of tiles, with and without a remainder.
MEMORIES = (31, 32, 33, 40, 47, 48)
QUERIES = (239, 240, 241)
WIDTHS = (8, 12, 16)
# Numbers a problem has at most, queries times entries of the memory.
MOST = max(QUERIES) * max(MEMORIES) * max(WIDTHS)
# Standard deviation of the logits of a query: mixed and metastable weights.
SPREADS = {"mild": 1.0, "mixed": 1.5, "metastable": 2.0, "sharper": 2.5}


def crowd_problem(rng: np.random.Generator) -> Problem:
    """Hundreds of queries with mixed weights, at a temperature that varies from problem to problem.

    Half of the temperatures are powers of four, whose square root scales any pattern without rounding.

    Args:
        rng: where every choice comes from.

    >>> crowd_problem(np.random.default_rng(0)).query.shape[0] in QUERIES
    True
    """
    n, d, count = choose(rng, MEMORIES), choose(rng, WIDTHS), choose(rng, QUERIES)
    grain, spread = "narrow", choose(rng, list(SPREADS))
    fmt = GRAINS[grain]
    memory = round_to(rng.standard_normal((n, d)) + 0.5 * rng.standard_normal((1, d)), fmt)
    query = rng.standard_normal((count, d))
    form = choose(rng, ["power of four", "any beta"])
    if form == "power of four":
        beta = math.ldexp(1.0, 2 * between(rng, -2, 1))
    else:
        beta = float(np.float32(2.0 ** rng.uniform(-3.0, 2.0)))
    scores = query @ memory.T
    query = round_to(query * (SPREADS[spread] / beta / scores.std(axis=1, keepdims=True)), fmt)
    regimes = ("crowd", spread, grain, form)
    return Problem(query, memory, beta, regimes=regimes, seed=int(rng.integers(2**31)))
