"""The published definitions of the operations, and their first repair, where they differ from ours.

arXiv 2409.13629 defines ``x // y`` as ``x / y`` if that is a multiple of 1/4 and ``x / y + 1/8`` otherwise,
and aligns the terms of an iterated sum to the largest exponent with it. Read literally, this neither rounds
quotients to nearest nor keeps small terms (clause MHN-FPN-7).
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from hopspec.clauses import implements
from hopspec.pbit import PBit
from hopspec.reference.pbit.arithmetic import Arithmetic

__all__ = ["PublishedArithmetic", "QuarterArithmetic", "published_quotient", "quarter_quotient"]


@implements("MHN-FPN-7")
def published_quotient(x: int, y: int) -> Fraction:
    """``x // y`` read literally: ``x / y``, plus 1/8 unless it is a multiple of 1/4. Clause MHN-FPN-7.

    >>> published_quotient(9, 20)  # 0.45 becomes 0.575, nearer to 1 than to 0
    Fraction(23, 40)
    """
    quotient = Fraction(x, y)
    return quotient if (4 * quotient).denominator == 1 else quotient + Fraction(1, 8)


@implements("MHN-FPN-7")
def quarter_quotient(x: int, y: int) -> Fraction:
    """``x / y`` rounded down to quarters, plus 1/8 if that changed it. Clause MHN-FPN-7.

    The two bits are a guard and a round bit, and the 1/8 is a sticky bit.

    >>> quarter_quotient(9, 20)
    Fraction(3, 8)
    """
    quotient = Fraction(4 * x // y, 4)
    return quotient if quotient * y == x else quotient + Fraction(1, 8)


class PublishedArithmetic(Arithmetic):
    """The published operations: sums and quotients through ``//``, read literally.

    >>> from hopspec.pbit import PBits
    >>> f4 = PublishedArithmetic(PBits(4))
    >>> f4.sum([PBit(8, 10), PBit(9, 0), PBit(-8, 10)])  # 144 in place of 9
    PBit(m=9, e=4)
    """

    quotient = staticmethod(published_quotient)

    def divide(self, x: PBit, y: PBit) -> PBit:
        """``<m_x 2**(p - 1) // m_y, e_x - e_y - p + 1>``, rounded."""
        if not y.m:
            raise ZeroDivisionError(f"y must not be zero, got {x} / {y}")
        p = self.format.bits
        numerator = (-x.m if y.m < 0 else x.m) << (p - 1)
        return self._of(self.quotient(numerator, abs(y.m)), x.e - y.e - p + 1)

    def sum(self, terms: Iterable[PBit]) -> PBit:
        """The terms aligned to the largest exponent by ``//``, added and rounded."""
        there = list(terms)
        top = max((e for _, e in there), default=0)
        aligned = [self.quotient(m, 1 << (top - e)) for m, e in there]
        return self._of(sum(aligned, Fraction(0)), top)

    def _of(self, significand: Fraction, exponent: int) -> PBit:
        return self.round(significand.numerator, significand.denominator, exponent)


class QuarterArithmetic(PublishedArithmetic):
    """The same with quotients rounded down to quarters first: sums of two and quotients are then right.

    >>> from hopspec.pbit import PBits
    >>> f4 = QuarterArithmetic(PBits(4))
    >>> f4.sum([PBit(8, 10), PBit(9, 0), PBit(-8, 10)])  # 128 in place of 9
    PBit(m=8, e=4)
    """

    quotient = staticmethod(quarter_quotient)
