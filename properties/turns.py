"""Draws whose choices take turns, so that a few problems have something of everything.

Where each of twenty problems is drawn for itself, an option of one in ten is missing in every eighth run, and
a pair of options in most. Here the choices of consecutive problems are the digits of their numbers, each
choice in a base of its own: a scrambled Halton sequence (Owen, "A randomized Halton algorithm in R", 2017).
In every ``b`` consecutive problems, for the base ``b`` of a choice, each ``b``-th of its options occurs once,
and with another base ``c`` each pair of them once in ``b * c``.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["BASES", "Turns"]

# The first choices of a problem take turns soonest; those beyond the last base are drawn.
BASES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
# A choice may have so many options, and a sequence has at least that many places.
MOST, PLACES = 64, 1000


class Turns(np.random.Generator):
    """A generator whose choices take turns with those of the problems before and after.

    Args:
        seed: what tells this sequence of problems from others.
        number: which of them is drawn.

    >>> sorted(Turns((0,), number).turn(4) for number in range(8))
    [0, 0, 1, 1, 2, 2, 3, 3]
    """

    def __init__(self, seed: tuple[int, ...], number: int) -> None:
        super().__init__(np.random.PCG64((*seed, number)))
        self.seed, self.number, self.made = seed, number, 0

    def turn(self, count: int) -> int:
        """The next choice among ``count`` options, an index."""
        site = self.made
        self.made += 1
        if site >= len(BASES) or count > MOST:
            return int(self.integers(count))
        places = _places(self.seed, site)
        return int(places[self.number % len(places)]) * count // len(places)


@lru_cache(maxsize=1024)
def _places(seed: tuple[int, ...], site: int) -> NDArray[np.int64]:
    """The digits of each number in the base of a choice, permuted and in opposite order."""
    base, rng = BASES[site], np.random.default_rng((*seed, site))
    whole = base
    while whole < PLACES:
        whole *= base
    number, found, left = np.arange(whole), np.zeros(whole, dtype=np.int64), whole
    while left > 1:
        left //= base
        found += rng.permutation(base)[number % base] * left
        number //= base
    return found
