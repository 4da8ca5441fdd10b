"""Real numbers enclosed between two dyadic ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

from hopspec.pbit import PBit, PBits
from hopspec.reference.pbit import Arithmetic

__all__ = ["Interval", "Intervals", "Undecided"]

# Farther than the exponent of any number that a network of sensible size forms.
REACH = 1 << 40


class Undecided(ArithmeticError):  # noqa: N818  (it ends an attempt, not the computation)
    """An enclosure is too wide to go on: more bits are needed."""


class Interval(NamedTuple):
    """All real numbers from ``low`` to ``high``."""

    low: PBit
    high: PBit

    @property
    def middle(self) -> Fraction:
        """Half the sum of the ends."""
        return (self.low.fraction + self.high.fraction) / 2

    @property
    def radius(self) -> Fraction:
        """Half the difference of the ends."""
        return (self.high.fraction - self.low.fraction) / 2


class Intervals:
    """Interval arithmetic: every result holds all results for members of the operands.

    An end is the exact result rounded to nearest, and then moved by a unit in the last place.

    Args:
        bits: of the ends.

    >>> of = Intervals(20)
    >>> third = of.divide(of.number(1), of.number(3))
    >>> float(third.low) < 1 / 3 < float(third.high)
    True
    """

    def __init__(self, bits: int) -> None:
        self.of = Arithmetic(PBits(bits, -REACH, REACH))

    def number(self, x: float | Fraction) -> Interval:
        """``x``, in one point where that is possible."""
        near = self.of.number(x)
        return Interval(near, near) if near.fraction == Fraction(x) else self._around((near,))

    def add(self, x: Interval, y: Interval) -> Interval:
        return self._span(self.of.add(x.low, y.low), self.of.add(x.high, y.high))

    def subtract(self, x: Interval, y: Interval) -> Interval:
        return self._span(self.of.subtract(x.low, y.high), self.of.subtract(x.high, y.low))

    def multiply(self, x: Interval, y: Interval) -> Interval:
        return self._around([self.of.multiply(a, b) for a in x for b in y])

    def divide(self, x: Interval, y: Interval) -> Interval:
        """The quotient.

        Raises:
            Undecided: if ``y`` may be zero.
        """
        if y.low.m <= 0 <= y.high.m:
            raise Undecided("the divisor may be zero")
        return self._around([self.of.divide(a, b) for a in x for b in y])

    def sqrt(self, x: Interval) -> Interval:
        """The root of what is not negative.

        Raises:
            Undecided: if ``x`` may be negative.
        """
        if x.low.m < 0:
            raise Undecided("the number may be negative")
        low, high = self._both(self.of.sqrt, x)
        return self._span(low, high)

    def exp(self, x: Interval) -> Interval:
        return self._span(*self._both(self.of.exp, x))

    def maximum(self, xs: Sequence[Interval]) -> Interval:
        return Interval(self._top(x.low for x in xs), self._top(x.high for x in xs))

    def sum(self, terms: Sequence[Interval]) -> Interval:
        return self._span(self.of.sum([x.low for x in terms]), self.of.sum([x.high for x in terms]))

    def dot(self, xs: Sequence[Interval], ys: Sequence[Interval]) -> Interval:
        return self.sum([self.multiply(x, y) for x, y in zip(xs, ys, strict=True)])

    def _both(self, function: Callable[[PBit], PBit], x: Interval) -> tuple[PBit, PBit]:
        low = function(x.low)
        return low, low if x.low == x.high else function(x.high)

    def within(self, x: Interval, radius: Fraction) -> bool:
        """Whether no member of ``x`` is farther than ``radius`` from its middle."""
        width = self.subtract(Interval(x.high, x.high), Interval(x.low, x.low)).high
        return self.of.subtract(self.of.number(2 * radius), width).m > 0

    def _top(self, ends: Iterable[PBit]) -> PBit:
        return max(ends, key=self._order)

    def _span(self, low: PBit, high: PBit) -> Interval:
        # A sum that is rounded to zero is zero, for no exponent is out of reach.
        return Interval(
            PBit(low.m - 1, low.e) if low.m else low, PBit(high.m + 1, high.e) if high.m else high
        )

    def _around(self, ends: Sequence[PBit]) -> Interval:
        ordered = sorted(ends, key=self._order)
        return self._span(ordered[0], ordered[-1])

    def _order(self, x: PBit) -> tuple[int, int, int]:
        """A key in the order of the numbers; an end that was moved may have fewer bits than an element."""
        m, e = self.of.sum((x,))
        sign = (m > 0) - (m < 0)
        return sign, sign * e if m else 0, m
