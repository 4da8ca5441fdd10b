"""The operations of F_p: the exact result, rounded once (clauses MHN-FPN-2 to MHN-FPN-6)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

from hopspec.clauses import implements
from hopspec.pbit import PBit, PBits
from hopspec.reference.pbit.exponential import exp_ratio

__all__ = ["Arithmetic"]


class Arithmetic:
    """Arithmetic in F_p on Python integers, every result the exact one rounded once.

    Args:
        format: the set F_p.

    >>> f4 = Arithmetic(PBits(4))
    >>> f4.sum([PBit(8, 10), PBit(9, 0), PBit(-8, 10)])
    PBit(m=9, e=0)
    >>> f4.divide(f4.number(1), f4.number(3)), float(f4.exp(f4.number(1)))
    (PBit(m=11, e=-5), 2.75)
    """

    def __init__(self, format: PBits) -> None:
        self.format = format

    @implements("MHN-FPN-2")
    def round(self, numerator: int, denominator: int = 1, exponent: int = 0, sticky: int = 0) -> PBit:
        r"""The element nearest to ``numerator / denominator * 2**exponent``, ties to the even significand.

        Formula: $\mathrm{rd}_p(x)$. Clause MHN-FPN-2, after arXiv 2409.13629. What is beyond the largest
        element becomes that; below the least, ``format.underflow`` decides.

        Args:
            numerator: any integer.
            denominator: a positive integer.
            exponent: any integer.
            sticky: sign of something infinitely small that is added, or 0.

        Raises:
            ValueError: if ``denominator`` is not positive.

        >>> f3 = Arithmetic(PBits(3))
        >>> f3.round(9), f3.round(9, sticky=1), f3.round(1, 3)
        (PBit(m=4, e=1), PBit(m=5, e=1), PBit(m=5, e=-4))
        """
        if denominator < 1:
            raise ValueError(f"denominator must be positive, got {denominator}")
        # Two bits more than a midpoint between elements has: what is added last then crosses none.
        wanted = self.format.bits + 3
        if denominator != 1:
            shift = max(0, wanted + denominator.bit_length() - numerator.bit_length())
            magnitude, rest = divmod(abs(numerator) << shift, denominator)
            numerator, exponent = (-magnitude if numerator < 0 else magnitude), exponent - shift
            if rest:
                # A remainder outweighs what is infinitely small.
                sticky = -1 if numerator < 0 else 1
        if not sticky:
            return self._rounded(numerator, exponent, False)
        if not numerator:
            return self._underflowed(sticky, False)
        shift = max(0, wanted - numerator.bit_length())
        numerator, exponent = numerator << shift, exponent - shift
        if (sticky < 0) != (numerator < 0):
            numerator += sticky
        return self._rounded(numerator, exponent, True)

    def number(self, x: int | float | Fraction) -> PBit:
        """The element nearest to ``x``.

        Raises:
            ValueError: if ``x`` is an infinity or NaN.

        >>> Arithmetic(PBits(4)).number(0.1)
        PBit(m=13, e=-7)
        """
        if isinstance(x, float) and not math.isfinite(x):
            raise ValueError(f"x must be finite, got {x}")
        numerator, denominator = x.as_integer_ratio()
        twos = (denominator & -denominator).bit_length() - 1
        return self.round(numerator, denominator >> twos, -twos)

    def negate(self, x: PBit) -> PBit:
        """``-x``, which is exact."""
        return PBit(-x.m, x.e)

    @implements("MHN-FPN-3")
    def add(self, x: PBit, y: PBit) -> PBit:
        """``x + y``, rounded once. Clause MHN-FPN-3.

        >>> f4 = Arithmetic(PBits(4))
        >>> f4.add(PBit(15, 0), PBit(9, -4))
        PBit(m=8, e=1)
        """
        return self.sum((x, y))

    @implements("MHN-FPN-3")
    def subtract(self, x: PBit, y: PBit) -> PBit:
        """``x - y``, rounded once. Clause MHN-FPN-3."""
        return self.sum((x, PBit(-y.m, y.e)))

    @implements("MHN-FPN-3")
    def multiply(self, x: PBit, y: PBit) -> PBit:
        """``x * y``, rounded once. Clause MHN-FPN-3.

        >>> Arithmetic(PBits(4)).multiply(PBit(13, 0), PBit(11, 2))
        PBit(m=9, e=6)
        """
        return self._rounded(x.m * y.m, x.e + y.e, False)

    @implements("MHN-FPN-3")
    def divide(self, x: PBit, y: PBit) -> PBit:
        """``x / y``, rounded once. Clause MHN-FPN-3.

        Raises:
            ZeroDivisionError: if ``y`` is zero.
        """
        if not y.m:
            raise ZeroDivisionError(f"y must not be zero, got {x} / {y}")
        return self.round(-x.m if y.m < 0 else x.m, abs(y.m), x.e - y.e)

    @implements("MHN-FPN-3")
    def compare(self, x: PBit, y: PBit) -> int:
        """-1, 0 or 1 as ``x`` is below, equal to or above ``y``. Clause MHN-FPN-3.

        >>> Arithmetic(PBits(4)).compare(PBit(-8, 3), PBit(8, -3))
        -1
        """
        signs = [(z.m > 0) - (z.m < 0) for z in (x, y)]
        if signs[0] != signs[1] or not signs[0]:
            return (signs[0] > signs[1]) - (signs[0] < signs[1])
        # Elements of one sign are ordered by exponent, then by significand: also those without a full one,
        # for they have the least exponent.
        sizes = [(z.e, abs(z.m)) for z in (x, y)]
        return signs[0] * ((sizes[0] > sizes[1]) - (sizes[0] < sizes[1]))

    def maximum(self, xs: Iterable[PBit]) -> PBit:
        """The largest of some numbers.

        Raises:
            ValueError: if there is none.
        """
        found: PBit | None = None
        for x in xs:
            if found is None or self.compare(x, found) > 0:
                found = x
        if found is None:
            raise ValueError("xs must hold at least one number, got none")
        return found

    @implements("MHN-FPN-3")
    def floor(self, x: PBit) -> PBit:
        """The largest integer that does not exceed ``x``, rounded once. Clause MHN-FPN-3.

        >>> f4 = Arithmetic(PBits(4))
        >>> f4.floor(PBit(11, -2)), f4.floor(PBit(-8, -9))
        (PBit(m=8, e=-2), PBit(m=-8, e=-3))
        """
        if x.e >= 0:
            return x
        if -x.e > self.format.bits:
            return self._rounded(-1 if x.m < 0 else 0, 0, False)
        return self._rounded(x.m >> -x.e, 0, False)

    @implements("MHN-FPN-5")
    def sqrt(self, x: PBit) -> PBit:
        """The square root, rounded once. Clause MHN-FPN-5.

        Raises:
            ValueError: if ``x`` is negative.

        >>> Arithmetic(PBits(4)).sqrt(PBit(8, -2))
        PBit(m=11, e=-3)
        """
        if x.m < 0:
            raise ValueError(f"x must not be negative, got {x}")
        # The root has at least p + 3 bits, the root of an even power.
        shift = max(0, 2 * (self.format.bits + 3) - x.m.bit_length())
        shift += (x.e - shift) & 1
        scaled = x.m << shift
        root = math.isqrt(scaled)
        return self._rounded(root, (x.e - shift) >> 1, root * root != scaled)

    @implements("MHN-FPN-5")
    def exp(self, x: PBit) -> PBit:
        """``e**x``, rounded once. Clause MHN-FPN-5.

        >>> f4 = Arithmetic(PBits(4))
        >>> f4.exp(f4.zero), f4.exp(PBit(15, 15)) == f4.format.largest
        (PBit(m=8, e=-3), True)
        """
        fmt = self.format
        if not x.m:
            return self._rounded(1, 0, False)
        sign = -1 if x.m < 0 else 1
        lead = x.m.bit_length() + x.e
        if lead < -fmt.bits - 2:
            # |x| < 2**-(p + 2): e**x lies on this side of the midpoints next to 1.
            return self.round(1, sticky=sign)
        # Beyond these e**|x| > 2**reach: it overflows, or is smaller than any number that is not tiny.
        reach = max(abs(fmt.greatest), abs(fmt.least)) + 2 * fmt.bits + 2
        if lead - 1 > reach.bit_length():
            return self._overflowed(1) if sign > 0 else self._underflowed(1, False)
        guard = 32
        while True:
            low, high, exponent = exp_ratio(x.m, x.e, fmt.bits + guard)
            found = self._rounded(low, exponent, True)
            # No value of e**x is a boundary, so that narrower enclosures decide at last.
            if found == self._rounded(high, exponent, True):
                return found
            guard *= 2

    @implements("MHN-FPN-4")
    def sum(self, terms: Iterable[PBit]) -> PBit:
        r"""The exact sum of any number of terms, rounded once; zero where there are none. Clause MHN-FPN-4.

        The integers formed are no longer than the number of terms times $2 p + \log_2 n + 1$ bits, however
        far apart the exponents are.

        >>> f4 = Arithmetic(PBits(4))
        >>> f4.sum([PBit(9, 10), PBit(-8, 10), PBit(15, 1), PBit(15, 1), PBit(15, 1)])
        PBit(m=9, e=7)
        """
        by_exponent: dict[int, int] = {}
        count = 0
        for m, e in terms:
            if m:
                count += 1
                by_exponent[e] = by_exponent.get(e, 0) + m
        gap = 2 * self.format.bits + count.bit_length() + 1
        total = last = 0
        for e in sorted(by_exponent, reverse=True):
            if total and last - e > gap:
                # All the rest is less than half the distance to any boundary but one total may lie on.
                sticky = _sign_of_sum(by_exponent, e, gap)
                return self.round(total, 1, last, sticky)
            total = (total << (last - e) if total else 0) + by_exponent[e]
            last = e
        return self._rounded(total, last, False)

    @implements("MHN-FPN-4")
    def product(self, factors: Iterable[PBit]) -> PBit:
        """The exact product of any number of factors, rounded once; 1 where there are none.

        Clause MHN-FPN-4.

        >>> f4 = Arithmetic(PBits(4))
        >>> f4.product([PBit(9, 0), PBit(9, 0), PBit(9, 0)])  # 729; rounded twice it would be 720
        PBit(m=11, e=6)
        """
        significands, exponent = [], 0
        for m, e in factors:
            significands.append(m)
            exponent += e
        return self._rounded(math.prod(significands), exponent, False)

    @implements("MHN-FPN-4")
    def dot(self, xs: Sequence[PBit], ys: Sequence[PBit]) -> PBit:
        """The exact sum of the rounded products, rounded once. Clause MHN-FPN-4.

        Raises:
            ValueError: if the lengths differ.
        """
        return self.sum([self.multiply(x, y) for x, y in zip(xs, ys, strict=True)])

    @property
    def zero(self) -> PBit:
        """The one zero."""
        return self.format.zero

    def _rounded(self, m: int, e: int, inexact: bool) -> PBit:
        """``m * 2**e`` rounded; if ``inexact``, ``|m|`` has over p bits and lacks a little, less than 1."""
        if not m:
            return self.format.zero
        fmt = self.format
        magnitude = abs(m)
        shift = magnitude.bit_length() - fmt.bits
        if fmt.underflow == "gradual" and e + shift < fmt.least:
            shift = fmt.least - e
        if shift > 0:
            quotient = magnitude >> shift
            if self._goes_up(quotient, magnitude - (quotient << shift), 1 << (shift - 1), inexact):
                quotient += 1
                if quotient >> fmt.bits:
                    quotient, shift = quotient >> 1, shift + 1
        else:
            quotient = magnitude << -shift
        exponent = e + shift
        sign = -1 if m < 0 else 1
        if exponent > fmt.greatest:
            return self._overflowed(sign)
        if exponent < fmt.least:
            lead = magnitude.bit_length() + e - (fmt.bits - 1 + fmt.least)
            # Beyond half the least element, of which only a power of two is just that half.
            beyond = lead > 0 or (lead == 0 and (inexact or magnitude & (magnitude - 1) != 0))
            return self._underflowed(sign, beyond)
        if not quotient:
            return fmt.zero
        return PBit(sign * quotient, exponent)

    def _goes_up(self, quotient: int, rest: int, half: int, inexact: bool) -> bool:
        """Whether ``quotient + rest / (2 * half)`` (and a little, if ``inexact``) rounds to the next."""
        return rest > half or (rest == half and (inexact or quotient & 1 == 1))

    def _overflowed(self, sign: int) -> PBit:
        m, e = self.format.largest
        return PBit(sign * m, e)

    def _underflowed(self, sign: int, beyond_half: bool) -> PBit:
        """What a number smaller than the least element becomes."""
        fmt = self.format
        if fmt.underflow == "least" or (fmt.underflow == "nearest" and beyond_half):
            return PBit(sign << (fmt.bits - 1), fmt.least)
        return fmt.zero


def _sign_of_sum(by_exponent: dict[int, int], start: int, gap: int) -> int:
    """The sign of the sum of ``m * 2**e`` over the exponents from ``start`` down."""
    total = last = 0
    for e in sorted((e for e in by_exponent if e <= start), reverse=True):
        if total and last - e > gap:
            break
        total = (total << (last - e) if total else 0) + by_exponent[e]
        last = e
    return (total > 0) - (total < 0)
