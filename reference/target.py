"""What to round to, and Ziv's strategy: narrow an enclosure until both its ends round alike (MHN-PRC-4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

from hopspec.formats import Format, format_named
from hopspec.precision import Precision
from hopspec.reference.context import context, working_bits
from hopspec.reference.rounding import (
    inside_float64,
    raw,
    round_ratio,
    settled_significand,
    significand,
    undefined,
)
from hopspec.reference.row import Ratio
from hopspec.types import Exact

__all__ = ["Anchor", "BitsGoal", "FormatGoal", "Goal", "Target", "resolve"]

Target = str | Format | int | Precision
"""A format or its name for plain numbers; bits or a :class:`hopspec.Precision` for
:class:`hopspec.Exact` leaves."""

Enclose = Callable[[int], Ratio]
"""Gives an enclosure for a working precision."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A rational number that the true number is not, and the side of it (1 or -1) the true number is on."""

    numerator: int
    denominator: int
    exponent: int
    side: int


class FormatGoal:
    """Round to nearest in a format. Leaves are floats, or mpmath numbers for formats beyond float64."""

    def __init__(self, fmt: Format) -> None:
        self.format = fmt
        self.bits = fmt.precision
        # Rounding is monotone only where overflow gives infinities: NaN compares with nothing.
        self._ordered = replace(fmt, overflow="infinite")
        # Where a significand of full precision with an exponent from least to below top is a float as it is.
        self._plain = inside_float64(fmt)
        self._least, self._top = fmt.least_exponent, fmt.emax - fmt.precision

    def rational(self, numerator: int, denominator: int = 1, exponent: int = 0) -> Any:
        """The leaf for a rational number."""
        return round_ratio(numerator, denominator, self.format, exponent)

    def infinite(self, sign: int) -> Any:
        """The leaf for an infinity."""
        return round_ratio(sign, 1, self.format, self.format.emax + 2)

    def undefined(self) -> Any:
        """The leaf for NaN."""
        return undefined(self.format)

    def surely_zero(self, negative_logarithm: int) -> bool:
        """Whether ``(0, e**-negative_logarithm)`` rounds to 0, being below half the least element."""
        return negative_logarithm > 1 - self.format.least_exponent

    def first_bits(self, start: int) -> int:
        """The working precision that :meth:`decide` begins with."""
        return _rounded_up(self.bits + start)

    def decide(self, enclose: Enclose, start: int, anchor: Callable[[], Anchor | None] | None = None) -> Any:
        """The leaf for an irrational number, from its enclosures.

        Args:
            enclose: gives an enclosure for a working precision, ever narrower.
            start: bits of working precision beyond the format's to begin with.
            anchor: finds a rational number very close to the true one; asked only if two attempts fail.
        """
        bits = self.first_bits(start)
        low_limit = high_limit = None
        attempt = 0
        while True:
            numerator, denominator, exponent, error = enclose(bits)
            settled = settled_significand(numerator, denominator, exponent, error, self.bits)
            if settled is not None and self._plain and self._least <= settled[1] < self._top:
                return math.ldexp(float(settled[0]), settled[1])
            low = round_ratio(numerator - error, denominator, self._ordered, exponent)
            high = round_ratio(numerator + error, denominator, self._ordered, exponent)
            # Rounding is monotone, so a bound on the true number bounds its rounding.
            if low_limit is not None:
                low = max(low, low_limit)
            if high_limit is not None:
                high = min(high, high_limit)
            if low == high:
                return low if abs(low) < math.inf else self.infinite(1 if low > 0 else -1)
            attempt += 1
            if attempt == 2 and anchor is not None and (found := anchor()) is not None:
                if found.side > 0:
                    low_limit = self._beside(found)
                else:
                    high_limit = self._beside(found)
            bits = _rounded_up(bits + 64 if attempt == 1 else bits * 3 // 2)

    def _beside(self, anchor: Anchor) -> Any:
        # Rounding boundaries are multiples of 2**grid wherever they matter here: within a factor of four of
        # the anchor, or, if that is 0, in the whole format. So none lies between the anchor and a number
        # nearer to it than 2**min(exponent, grid) / denominator: all numbers in between round alike.
        grid = self.format.least_exponent - 1
        if anchor.numerator:
            size = abs(anchor.numerator).bit_length() - anchor.denominator.bit_length() + anchor.exponent
            grid = max(grid, size - self.bits - 4)
        shift = max(1, anchor.exponent - grid + 1)
        numerator = (anchor.numerator << shift) + anchor.side
        return round_ratio(numerator, anchor.denominator, self._ordered, anchor.exponent - shift)


class BitsGoal:
    """Round to a number of significant bits with unlimited exponents. Leaves are :class:`hopspec.Exact`.

    The value is the true number correctly rounded, unless that is still undecided at ``4 bits + 4096`` bits
    of working precision (numbers such as ``e**-100000``); the radius is proved in any case.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.limit = 4 * bits + 4096
        self._context = context(bits)

    def rational(self, numerator: int, denominator: int = 1, exponent: int = 0) -> Exact:
        """The leaf for a rational number."""
        return self._leaf(numerator, denominator, exponent, 0)

    def infinite(self, sign: int) -> Exact:
        """The leaf for an infinity."""
        ctx = self._context
        return Exact(ctx.inf if sign > 0 else ctx.ninf, ctx.zero, self.bits, True)

    def undefined(self) -> Exact:
        """The leaf for NaN."""
        ctx = self._context
        return Exact(ctx.nan, ctx.inf, self.bits, False)

    def surely_zero(self, negative_logarithm: int) -> bool:
        """Whether ``e**-negative_logarithm`` is beyond the largest working precision."""
        return negative_logarithm > self.limit

    def first_bits(self, start: int) -> int:
        """The working precision that :meth:`decide` begins with."""
        return _rounded_up(self.bits + start)

    def decide(
        self, enclose: Enclose, start: int, anchor: Callable[[], Anchor | None] | None = None
    ) -> Exact:
        """The leaf for an irrational number; the arguments are those of :meth:`FormatGoal.decide`."""
        bits = self.first_bits(start)
        while True:
            numerator, denominator, exponent, error = enclose(bits)
            settled = settled_significand(numerator, denominator, exponent, error, self.bits)
            if settled is not None:
                return self._within(*settled)
            low = significand(numerator - error, denominator, exponent, self.bits, None)
            high = significand(numerator + error, denominator, exponent, self.bits, None)
            if low == high or bits > self.limit:
                return self._leaf(numerator, denominator, exponent, error)
            bits = _rounded_up(bits * 3 // 2)

    def _leaf(self, numerator: int, denominator: int, exponent: int, error: int) -> Exact:
        m, e = significand(numerator, denominator, exponent, self.bits, None)
        common = min(exponent, e)
        away = abs((numerator << (exponent - common)) - (m * denominator << (e - common)))
        away += error << (exponent - common)
        return self._within(m, e, away, denominator << (e - common))

    def _within(self, m: int, e: int, away: int, unit: int) -> Exact:
        """The leaf ``m * 2**e`` of a number no further from it than ``away / unit * 2**e``."""
        make = self._context.make_mpf
        value = make(raw(m, e))
        if not away:
            return Exact(value, self._context.zero, self.bits, True)
        # 32 or 33 bits of the radius; one more unit of the last makes up for rounding it down.
        shift = 32 + unit.bit_length() - away.bit_length()
        radius = (away << shift) // unit if shift >= 0 else away // (unit << -shift)
        return Exact(value, make(raw(radius + 1, e - shift)), self.bits, False)


Goal = FormatGoal | BitsGoal


def resolve(to: Target, n: int) -> Goal:
    """The goal that ``to`` names for a problem with ``n`` memories.

    Raises:
        TypeError: if ``to`` is of another type.
        ValueError: if there is no such format, or fewer than 2 bits are asked for.

    >>> resolve("bfloat16", 1).bits
    8
    """
    if isinstance(to, str):
        to = format_named(to)
    if isinstance(to, Format):
        return _format_goal(to)
    if isinstance(to, bool) or not isinstance(to, int | Precision):
        raise TypeError(f"to must be a format, its name, an int or a Precision, got {type(to).__name__}")
    return _bits_goal(working_bits(to, max(1, n)))


def square_root(square: Fraction, goal: FormatGoal) -> Any:
    """The correctly rounded square root of a non-negative rational.

    >>> from hopspec.formats import FLOAT64
    >>> square_root(Fraction(2), FormatGoal(FLOAT64))
    1.4142135623730951
    """
    if not square:
        return goal.rational(0)
    size = square.numerator.bit_length() - square.denominator.bit_length()
    # The root then has at least bits + 3 bits before the point: one sticky bit stands for all the others.
    shift = goal.bits + 4 - size // 2
    scaled = square * Fraction(4) ** shift
    root = math.isqrt(scaled.numerator // scaled.denominator)
    sticky = int(root * root * scaled.denominator != scaled.numerator)
    return goal.rational(2 * root + sticky, 1, -shift - 1)


_format_goal = lru_cache(maxsize=64)(FormatGoal)
_bits_goal = lru_cache(maxsize=64)(BitsGoal)


def _rounded_up(bits: int) -> int:
    # Few distinct working precisions mean few tables of exponentials.
    return -(-bits // 16) * 16
