"""From an energy without constants to the one of clause MHN-ENE-1."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np

__all__ = ["constants"]


def constants(memory: Any, beta: float) -> Any:
    """``log(N) / beta + M**2 / 2``, which make the least energy zero.

    As an mpmath number of so many bits that adding it to an energy rounds once.

    Args:
        memory: ``[N, d]``.
        beta: inverse temperature, above 0.

    >>> constants(np.array([[3.0, 4.0]]), 2.0)
    mpf('12.5')
    """
    with mpmath.workprec(2200):
        longest = max(mpmath.fsum(mpmath.mpf(float(x)) ** 2 for x in row) for row in np.asarray(memory))
        return mpmath.log(len(memory)) / beta + longest / 2
