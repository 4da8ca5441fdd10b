"""The p-bit floating-point numbers F_p (clause MHN-FPN-1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

__all__ = ["MOST_BITS", "PBit", "PBits", "Underflow"]

Underflow = Literal["nearest", "zero", "least", "gradual"]
"""What a number below the least normal element becomes, see :class:`PBits`."""

# Up to here the reference's exponential is proved to be rounded correctly.
MOST_BITS = 65536


class PBit(NamedTuple):
    """The number ``m * 2**e``.

    Args:
        m: significand, with sign.
        e: exponent.

    >>> float(PBit(-9, -3))
    -1.125
    """

    m: int
    e: int

    @property
    def fraction(self) -> Fraction:
        """The same number as a fraction; an exponent far from 0 makes it a long one."""
        if not self.m:
            return Fraction(0)
        return Fraction(self.m << self.e) if self.e >= 0 else Fraction(self.m, 1 << -self.e)

    def __float__(self) -> float:
        """The nearest float64, or an infinity.

        >>> float(PBit(1, 5000)), float(PBit(-5, -5000))
        (inf, -0.0)
        """
        lead = abs(self.m).bit_length() + self.e
        if lead > 1024:
            return math.copysign(math.inf, self.m)
        if lead < -1080:
            return math.copysign(0.0, self.m)
        try:
            return self.fraction.numerator / self.fraction.denominator
        except OverflowError:
            return math.copysign(math.inf, self.m)


@dataclass(frozen=True, slots=True, init=False)
class PBits:
    """The set F_p: 0 and the numbers ``m * 2**e``, ``2**(p-1) <= |m| < 2**p``, with an exponent in a range.

    There is one zero, ``<0, least>``: a zero never has the largest exponent of a sum, unless all have the
    least. No other number is written in two ways.

    Args:
        bits: p, from 2 to 65,536.
        least: least exponent ``e``; by default ``-2**p``.
        greatest: greatest exponent; by default ``2**p - 1``.
        underflow: what a number becomes that, rounded to p bits, is smaller than the least normal element
            ``2**(p - 1 + least)`` but not 0: ``"nearest"`` of 0 and that element, 0 where both are equally
            near; ``"zero"``; ``"least"``, that element with the number's sign; or ``"gradual"``, the nearest
            multiple of ``2**least``, so that numbers with ``|m| < 2**(p - 1)`` and ``e = least`` are elements
            too, as in IEEE 754.

    Raises:
        TypeError: if ``bits`` or an exponent is no int.
        ValueError: if ``bits`` is out of range, the exponents are out of order, or ``underflow`` is unknown.

    >>> PBits(4).largest, PBits(4).least_element
    (PBit(m=15, e=15), PBit(m=8, e=-16))
    >>> float(PBits(24, -149, 104, "gradual").largest)  # binary32
    3.4028234663852886e+38
    """

    bits: int
    least: int
    greatest: int
    underflow: Underflow

    def __init__(
        self,
        bits: int,
        least: int | None = None,
        greatest: int | None = None,
        underflow: Underflow = "nearest",
    ) -> None:
        for name, value in (("bits", bits), ("least", least), ("greatest", greatest)):
            if isinstance(value, bool) or not isinstance(value, int | None if name != "bits" else int):
                raise TypeError(f"{name} must be an int, got {type(value).__name__} {value!r}")
        if not 2 <= bits <= MOST_BITS:
            raise ValueError(f"bits must be from 2 to {MOST_BITS}, got {bits}")
        least = -(1 << bits) if least is None else least
        greatest = (1 << bits) - 1 if greatest is None else greatest
        if least > greatest:
            raise ValueError(f"least must not exceed greatest, got least={least}, greatest={greatest}")
        if underflow not in ("nearest", "zero", "least", "gradual"):
            raise ValueError(f"underflow must be 'nearest', 'zero', 'least' or 'gradual', got {underflow!r}")
        object.__setattr__(self, "bits", bits)
        object.__setattr__(self, "least", least)
        object.__setattr__(self, "greatest", greatest)
        object.__setattr__(self, "underflow", underflow)

    @property
    def zero(self) -> PBit:
        """The one zero, ``<0, least>``."""
        return PBit(0, self.least)

    @property
    def largest(self) -> PBit:
        """The largest element, ``<2**p - 1, greatest>``."""
        return PBit((1 << self.bits) - 1, self.greatest)

    @property
    def least_element(self) -> PBit:
        """The least positive element with a full significand, ``<2**(p - 1), least>``."""
        return PBit(1 << (self.bits - 1), self.least)

    def contains(self, x: PBit) -> bool:
        """Whether ``x`` is an element as it is written.

        >>> PBits(4).contains(PBit(8, 0)), PBits(4).contains(PBit(4, 1)), PBits(4).contains(PBit(0, 0))
        (True, False, False)
        """
        if not x.m:
            return x.e == self.least
        length = abs(x.m).bit_length()
        if self.underflow == "gradual" and x.e == self.least:
            return length <= self.bits
        return length == self.bits and self.least <= x.e <= self.greatest
