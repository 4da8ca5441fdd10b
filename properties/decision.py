"""Whether an error is within its bound, decided by as many bits of the exact number as that takes."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any

import numpy as np

from hopspec.properties.problem import Array, Mask
from hopspec.reference import Enclosed
from hopspec.types import Exact

__all__ = ["PRECISIONS", "as_fraction", "decide", "settle"]

# Bits asked of the reference, one after the other, until they decide.
PRECISIONS = (256, 512, 1024, 2048, 4096)


def as_fraction(number: Any) -> Fraction:
    """An ``mpmath`` number as the rational it is.

    >>> from hopspec.reference import update
    >>> as_fraction(update([1.0], [[0.25], [0.75]], beta=0, to=53)[0].value)
    Fraction(1, 2)
    """
    sign, mantissa, exponent, _ = number._mpf_
    signed = -int(mantissa) if sign else int(mantissa)
    return Fraction(signed) * Fraction(2) ** int(exponent)


def decide(
    actual: float, bound: float, exactly: Callable[[int], Exact], limit: int = PRECISIONS[-1]
) -> tuple[bool | None, int]:
    """Whether ``actual`` is within ``bound`` of a number, and the bits of it that took.

    Args:
        actual: a finite number.
        bound: a finite number.
        exactly: gives an enclosure of the number, narrower for more bits.
        limit: the most bits to ask for.

    Returns:
        True, False, or None if ``limit`` bits do not decide it.

    >>> from hopspec.reference import update
    >>> decide(0.5, 0.0, lambda bits: update([1.0], [[0.25], [0.75]], beta=0, to=bits)[0])
    (True, 256)
    """
    got, allowed, used = Fraction(actual), Fraction(bound), 0
    for bits in PRECISIONS:
        if bits > limit:
            break
        leaf, used = exactly(bits), bits
        distance, radius = abs(got - as_fraction(leaf.value)), as_fraction(leaf.radius)
        if distance + radius <= allowed:
            return True, used
        if distance - radius > allowed:
            return False, used
    return None, used


def settle(
    actual: Array, exact: Enclosed, allowed: Array, open_: Mask, limit: int = PRECISIONS[-1]
) -> tuple[Mask, Mask]:
    """Decide the comparisons that the radius of an enclosure leaves open.

    Args:
        actual: the numbers judged, of the shape of ``exact``.
        exact: the exact numbers.
        allowed: the largest error of each.
        open_: True where it is open whether the error is within ``allowed``.
        limit: the most bits to compute.

    Returns:
        Which numbers are wrong, and which of them remain open.
    """
    wrong = np.zeros(open_.shape, dtype=np.bool_)
    if exact.exactly is None:
        return wrong, open_
    unknown, exactly = wrong.copy(), lru_cache(exact.exactly)
    for i in np.flatnonzero(open_).tolist():
        right, _ = decide(float(actual.flat[i]), float(allowed.flat[i]), partial(_nth, exactly, i), limit)
        wrong.flat[i] = right is False
        unknown.flat[i] = right is None
    return wrong, unknown


def _nth(exactly: Callable[[int], list[Exact]], i: int, bits: int) -> Exact:
    return exactly(bits)[i]
