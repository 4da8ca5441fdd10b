"""Whether an error is within its bound, decided in exact arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from hopspec.types import Exact

__all__ = ["PRECISIONS", "as_fraction", "decide"]

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
