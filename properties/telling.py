"""Problems that tell accuracy models apart: each is the worst case of one thing that models differ in.

Random inputs show far smaller errors than a bound allows for: they do not tell a sum in a tree from a sum of
one term after the other, nor weights summed as they are used from weights summed as they were.
"""

from __future__ import annotations

import math

import numpy as np

from hopspec.properties.problem import Array, Problem, round_to
from hopspec.properties.strategies import GRAINS, choose

__all__ = ["telling_problem"]

FORMS = ("swamped weights", "swamped scores", "leaning weights")
# Where the one that differs stands. What comes first swamps the most.
PLACES = ("first", "middle", "first", "last", "first")
# Bits of the numbers that a sum is formed in, and that weights are rounded to.
SUMMED_IN, ROUNDED_TO = (24, 24, 24, 24, 53), (8, 11)
NUMBERS, WIDTHS = (257, 257, 513), (65, 129)


def telling_problem(rng: np.random.Generator) -> Problem:
    """One term swamps all others of a sum, or all weights are rounded the same way."""
    form, place, bits = choose(rng, FORMS), choose(rng, PLACES), choose(rng, SUMMED_IN)
    if form == "leaning weights":
        return _leaning(rng, form, place)
    return (_swamped_weights if form == "swamped weights" else _swamped_scores)(rng, form, place, bits)


def _at(place: str, count: int) -> int:
    return {"first": 0, "middle": count // 2, "last": count - 1}[place]


def _told(
    rng: np.random.Generator, query: Array, memory: Array, beta: float, form: str, bits: int
) -> Problem:
    regimes = (form, f"{form}: {bits} bits")
    return Problem(query, memory, float(np.float32(beta)), regimes=regimes, seed=int(rng.integers(2**31)))


def _swamped_weights(rng: np.random.Generator, form: str, place: str, bits: int) -> Problem:
    """One memory has weight 1, every other a little less than half a unit in the last place of 1."""
    n = choose(rng, NUMBERS)
    memory = np.zeros((n, 3))
    memory[:, 1] = -choose(rng, (1.0, 0.75))
    memory[:, 2] = choose(rng, (0.0, 1.0))
    memory[_at(place, n)] = (1.0, 1.0, choose(rng, (1.0, 0.0, -1.0)))
    beta = bits * math.log(2) + rng.uniform(0.02, 0.4)
    return _told(rng, np.array([[1.0, 0.0, 0.0]]), memory, beta, form, bits)


def _swamped_scores(rng: np.random.Generator, form: str, place: str, bits: int) -> Problem:
    """In the scores one product is 1, every other a little less than half a unit in the last place of 1."""
    d = choose(rng, WIDTHS)
    half = bits // 2
    query = np.full((1, d + 1), 2.0**-half)
    query[0, -1] = 0.0
    first = np.full(d + 1, choose(rng, (0.875, 0.75)) * math.ldexp(1.0, half - bits))
    at = _at(place, d)
    query[0, at] = first[at] = 1.0
    second = -first
    second[at] = 1.0
    # What tells the two apart in the result.
    first[-1], second[-1] = 1.0, -1.0
    return _told(rng, query, np.stack((first, second)), choose(rng, (4.0, 16.0)), form, bits)


def _leaning(rng: np.random.Generator, form: str, place: str) -> Problem:
    """All weights but one are equal and nearly midway between two neighbours of a narrow format."""
    bits, n = choose(rng, ROUNDED_TO), choose(rng, (9, 17, 33))
    lean = choose(rng, (0.95, 1.05))
    beta = choose(rng, (1, 2)) * math.log(2) - math.log1p(lean * 2.0**-bits)
    memory = choose(rng, (1.25, -1.5)) + 0.25 * rng.uniform(-1, 1, (n, 8))
    memory[:, 0] = 0.0
    memory[_at(place, n), 0] = 1.0
    query = np.zeros((1, 8))
    query[0, 0] = 1.0
    return _told(rng, query, round_to(memory, GRAINS["narrow"]), beta, form, bits)
