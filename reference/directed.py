"""Rational numbers rounded in a known direction, so that an inequality between them proves what it says.

Exact rationals grow with every operation. A bound does not need its last digits, so it is cut to 64 bits,
upwards or downwards as the proof needs it. Real functions come with the side on which they err.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from hopspec.reference.context import context
from hopspec.reference.exponential import exps_fixed
from hopspec.reference.rounding import round_bits
from hopspec.types import Exact

__all__ = [
    "above",
    "below",
    "exact_leaf",
    "exp_above",
    "float_above",
    "growth_above",
    "length_above",
    "root_above",
    "scaled",
]

_BITS = 64
_SMALL = Fraction(1, 64)


def scaled(number: Fraction, exponent: int) -> Fraction:
    """``number * 2**exponent``."""
    return number * (1 << exponent) if exponent >= 0 else number / (1 << -exponent)


def above(number: Fraction, bits: int = _BITS) -> Fraction:
    """A number of at most ``bits`` bits that is not below the given one, nor far above it.

    >>> above(Fraction(1, 3)) >= Fraction(1, 3), above(Fraction(5, 8)), above(Fraction(1, 3), 2)
    (True, Fraction(5, 8), Fraction(1, 2))
    """
    return -below(-number, bits)


def below(number: Fraction, bits: int = _BITS) -> Fraction:
    """:func:`above` in the other direction."""
    # The shifted number is at most 2**bits in absolute value, and so is what it is rounded to.
    shift = bits - 1 - abs(number.numerator).bit_length() + number.denominator.bit_length()
    return scaled(Fraction(math.floor(scaled(number, shift))), -shift)


def root_above(square: Fraction) -> Fraction:
    """A number not below the square root of ``square``, nor above it by more than ``2**-60`` of it.

    >>> root_above(Fraction(0)), root_above(Fraction(9, 4)), root_above(Fraction(2)) ** 2 > 2
    (Fraction(0, 1), Fraction(3, 2), True)
    """
    if not square:
        return square
    shift = 2 * (_BITS - (square.numerator.bit_length() - square.denominator.bit_length()) // 2)
    whole = math.ceil(scaled(square, shift))
    return scaled(Fraction(math.isqrt(whole - 1) + 1), -shift // 2)


def length_above(vector: Sequence[int]) -> int:
    """The least integer that is not below the Euclidean length of an integer vector.

    >>> length_above([3, 4]), length_above([1, 1]), length_above([])
    (5, 2, 0)
    """
    square = sum(entry * entry for entry in vector)
    return math.isqrt(square - 1) + 1 if square else 0


def exp_above(x: Fraction) -> Fraction | None:
    """A number not below ``e**x``, ``x >= 0``; None above ``e**64``, where no certificate can hold.

    Up to 1/64 it is ``1 + x / (1 - x / 2)``, whose series exceeds that of the exponential term by term:
    ``2**(n - 1) <= n!``. Beyond, it is the inverse of a lower bound on ``e**-x``.
    """
    if x <= _SMALL:
        return above(1 + x / (1 - x / 2))
    if x > 64:
        return None
    argument = math.ceil(scaled(x, _BITS))
    weight = exps_fixed([-argument], -_BITS, 1, 3 * _BITS)[0]
    return above(Fraction(1 << (3 * _BITS), weight - 1))


def growth_above(x: Fraction) -> Fraction | None:
    """A number not below ``(e**x - 1) / x``, read as 1 at 0; None where :func:`exp_above` is."""
    if x <= _SMALL:
        return above(1 / (1 - x / 2))
    power = exp_above(x)
    return None if power is None else above((power - 1) / x)


def float_above(number: Fraction) -> float:
    """The least float64 that is not below a non-negative rational.

    >>> float_above(Fraction(1, 4)), float_above(Fraction(1, 3)) > 1 / 3, float_above(Fraction(1, 10**400))
    (0.25, True, 5e-324)
    """
    try:
        nearest = number.numerator / number.denominator
    except OverflowError:
        return math.inf
    return nearest if Fraction(nearest) >= number else math.nextafter(nearest, math.inf)


def exact_leaf(value: Fraction, radius: Fraction, bits: int) -> Exact:
    """``value``, known to within ``radius``, as an :class:`hopspec.Exact` of ``bits`` bits."""
    rounded = round_bits(value.numerator, value.denominator, bits, 0)
    sign, mantissa, exponent, _ = rounded._mpf_
    away = abs(value - scaled(Fraction(-int(mantissa) if sign else int(mantissa)), int(exponent)))
    total = above(radius + away)
    ctx = context(_BITS)
    return Exact(rounded, ctx.convert(total.numerator) / total.denominator, bits, not total)
