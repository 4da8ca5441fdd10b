"""The energy: its terms, and what they are counted over."""

from __future__ import annotations

import numpy as np

from hopspec.properties.problem import Problem
from hopspec.properties.vectors.recipe import Draw, recipe

ENERGY = ("energy",)


@recipe("energy-mixed", "energy-terms", "beta = 0.3, memories of different norms, mixed weights", ENERGY)
def mixed(draw: Draw) -> Problem:
    """Every term has another size."""
    memory = draw.normal(5, 3) * np.array([0.5, 1.0, 2.0, 1.5, 3.0])[:, None]
    return draw.problem(1.5 * draw.normal(2, 3), memory, 0.3)


@recipe("energy-sharp", "energy-terms", "beta = 6, queries next to memories: the terms nearly cancel", ENERGY)
def sharp(draw: Draw) -> Problem:
    """Little is left of large terms."""
    memory = 2 * draw.normal(4, 3)
    return draw.problem(memory[:2] + 0.125, memory, 6.0)


@recipe("energy-of-opposite", "energy-terms", "the query opposes all memories: the lse is negative", ENERGY)
def opposite(draw: Draw) -> Problem:
    """Above half the squares."""
    return draw.problem([[-2.0, -1.5, -1.0]], 1 + draw.uniform(4, 3), 0.75)


@recipe(
    "energy-masked",
    "energy-terms",
    "the longest memory is masked, and two of five are kept",
    ENERGY,
    clauses=("MHN-MSK-1", "MHN-MSK-2"),
)
def masked(draw: Draw) -> Problem:
    """N and M count kept memories only."""
    memory = draw.normal(5, 3)
    memory[3] *= 4.0
    keep = np.array([[True, False, True, False, False], [False, True, True, False, True]])
    return draw.problem(draw.normal(2, 3), memory, 0.75, keep=keep)


@recipe(
    "energy-one-memory",
    "energy-terms",
    "one memory: half the squared distance",
    ENERGY,
    clauses=("MHN-LAW-7",),
)
def one_memory(draw: Draw) -> Problem:
    """The constants add up to half a square."""
    return draw.problem(draw.normal(2, 3), 2 * draw.normal(1, 3), 0.5)


@recipe(
    "energy-large-lse", "energy-precision", "an lse about 30 with digits that half precision has not", ENERGY
)
def large_lse(draw: Draw) -> Problem:
    """Eight bits are too few."""
    memory = 3 * draw.normal(6, 3)
    memory[:, 0] = 5.0
    query = draw.normal(1, 3)
    query[0, 0] = 6.0
    return draw.problem(query, memory, 0.7)


@recipe("energy-large-square", "energy-precision", "a squared norm beyond the range of float16", ENERGY)
def large_square(draw: Draw) -> Problem:
    """Finite, and large."""
    return draw.problem([[288.0, 160.0]], np.array([[1.0, 0.5], [-0.5, 1.25]]), 2.0**-7)
