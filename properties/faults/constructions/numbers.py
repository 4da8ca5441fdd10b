"""Wrong arithmetic in F_p."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hopspec.pbit import PBit, PBits
from hopspec.properties.faults.constructions.registry import misbuild
from hopspec.properties.pbit_peers import ScalarArithmetic
from hopspec.reference.pbit import Arithmetic, PublishedArithmetic, QuarterArithmetic

EVERY = (
    "sums_of_two_are_rounded_once",
    "products_and_quotients_are_rounded_once",
    "floors_and_roots_are_rounded_once",
    "exponentials_are_rounded_once",
    "sums_are_exact_and_rounded_once",
    "far_terms_decide_as_a_sign",
    "operations_agree_with_hardware",
)


@misbuild(*EVERY, "updates_in_few_bits_within_bound")
class RoundsTowardZero(ScalarArithmetic):
    """Results are rounded toward zero."""

    class Kind(Arithmetic):
        def _goes_up(self, quotient: int, rest: int, half: int, inexact: bool) -> bool:
            return False


@misbuild("sums_of_two_are_rounded_once", "products_and_quotients_are_rounded_once")
class PBitTiesGoAway(ScalarArithmetic):
    """Of two equally near elements the larger one is taken."""

    class Kind(Arithmetic):
        def _goes_up(self, quotient: int, rest: int, half: int, inexact: bool) -> bool:
            return rest >= half


@misbuild("floors_and_roots_are_rounded_once", "exponentials_are_rounded_once", "far_terms_decide_as_a_sign")
class NoStickyBit(ScalarArithmetic):
    """What is left after the last bit computed does not break a tie."""

    class Kind(Arithmetic):
        def _goes_up(self, quotient: int, rest: int, half: int, inexact: bool) -> bool:
            return rest > half or (rest == half and quotient & 1 == 1)

        def sqrt(self, x: PBit) -> PBit:
            wide = Arithmetic(PBits(self.format.bits + 1, self.format.least - 2, self.format.greatest + 2))
            m, e = wide.sqrt(PBit(x.m << 1, x.e - 1)) if x.m else x
            return self._rounded(m, e, False)

        def exp(self, x: PBit) -> PBit:
            bits = self.format.bits
            wide = Arithmetic(PBits(bits + 1, self.format.least - bits, self.format.greatest + bits, "zero"))
            m, e = wide.exp(x)
            return self._rounded(m, e, False)


@misbuild("sums_of_two_are_rounded_once", "products_and_quotients_are_rounded_once")
class RoundsTwice(ScalarArithmetic):
    """Results are rounded to two more bits first."""

    class Kind(Arithmetic):
        def _rounded(self, m: int, e: int, inexact: bool) -> PBit:
            fmt = self.format
            wide = Arithmetic(PBits(fmt.bits + 2, -(1 << 80) - abs(fmt.least), (1 << 80) + abs(fmt.greatest)))
            first = wide._rounded(m, e, inexact)
            return super()._rounded(first.m, first.e, False)


@misbuild("sums_of_two_are_rounded_once", "products_and_quotients_are_rounded_once")
class ExponentsEndOneEarlier(ScalarArithmetic):
    """The greatest exponent is taken for excluded."""

    class Kind(Arithmetic):
        def __init__(self, format: PBits) -> None:
            greatest = max(format.least, format.greatest - 1)
            super().__init__(PBits(format.bits, format.least, greatest, format.underflow))


@misbuild("products_and_quotients_are_rounded_once", "operations_agree_with_hardware")
class DoesNotSaturate(ScalarArithmetic):
    """A number beyond the largest element keeps its exponent."""

    class Kind(Arithmetic):
        def _rounded(self, m: int, e: int, inexact: bool) -> PBit:
            fmt = self.format
            endless = Arithmetic(PBits(fmt.bits, fmt.least, (1 << 90) + abs(fmt.greatest), fmt.underflow))
            return endless._rounded(m, e, inexact)


@misbuild("products_and_quotients_are_rounded_once")
class UnderflowsToZeroAlways(ScalarArithmetic):
    """What is below the least element becomes zero whatever the policy."""

    class Kind(Arithmetic):
        def _underflowed(self, sign: int, beyond_half: bool) -> PBit:
            return self.format.zero


@misbuild("sums_of_two_are_rounded_once")
class TwoZeros(ScalarArithmetic):
    """A zero keeps the exponent of what cancelled."""

    class Kind(Arithmetic):
        def sum(self, terms: Iterable[PBit]) -> PBit:
            there = list(terms)
            found = super().sum(there)
            return PBit(0, max((e for _, e in there), default=self.format.least)) if not found.m else found


@misbuild("sums_of_two_are_rounded_once", "products_and_quotients_are_rounded_once")
class PublishedLiterally(ScalarArithmetic):
    """Sums and quotients are the published ones, read literally."""

    Kind = PublishedArithmetic


@misbuild("sums_are_exact_and_rounded_once", "far_terms_decide_as_a_sign")
class AlignedToTheLargestExponent(ScalarArithmetic):
    """Iterated sums align their terms to the largest exponent, with two bits and a sticky one below."""

    Kind = QuarterArithmetic


@misbuild("sums_are_exact_and_rounded_once")
class SumsRoundEveryStep(ScalarArithmetic):
    """Iterated sums are rounded after every term."""

    class Kind(Arithmetic):
        def sum(self, terms: Iterable[PBit]) -> PBit:
            total = self.format.zero
            for x in terms:
                total = super().sum((total, x))
            return total


@misbuild("sums_are_exact_and_rounded_once")
class DotProductsKeepTheirProducts(ScalarArithmetic):
    """The products of a dot product are not rounded."""

    class Kind(Arithmetic):
        def dot(self, xs: Sequence[PBit], ys: Sequence[PBit]) -> PBit:
            fmt = self.format
            wide = 2 * fmt.bits
            reach = 2 * max(abs(fmt.least), abs(fmt.greatest)) + 4 * fmt.bits
            exact = Arithmetic(PBits(wide, -reach, reach))
            products = [exact.multiply(x, y) for x, y in zip(xs, ys, strict=True)]
            return self.sum(products)


@misbuild("far_terms_decide_as_a_sign")
class CutsSumsTooEarly(ScalarArithmetic):
    """Sums are cut at a gap of p + log2(n) + 2 exponents."""

    class Kind(Arithmetic):
        def sum(self, terms: Iterable[PBit]) -> PBit:
            there = sorted((x for x in terms if x.m), key=lambda x: -x.e)
            total = last = 0
            for k, x in enumerate(there):
                if total and last - x.e > self.format.bits + len(there).bit_length() + 2:
                    rest = sum(y.fraction for y in there[k:])
                    return self.round(total, 1, last, (rest > 0) - (rest < 0))
                total, last = (total << (last - x.e) if total else 0) + x.m, x.e
            return self._rounded(total, last, False)


@misbuild("exponentials_are_rounded_once")
class ExponentialOneUlpOff(ScalarArithmetic):
    """Exponentials have a last bit too many."""

    class Kind(Arithmetic):
        def exp(self, x: PBit) -> PBit:
            m, e = super().exp(x)
            return self._rounded(m + 1, e, False) if m else PBit(m, e)


@misbuild("exponentials_are_rounded_once")
class SmallExponentialsAreOne(ScalarArithmetic):
    """The exponential of a number below 2**-p is 1."""

    class Kind(Arithmetic):
        def exp(self, x: PBit) -> PBit:
            if x.m.bit_length() + x.e <= -self.format.bits + 1:
                return self._rounded(1, 0, False)
            return super().exp(x)


@misbuild("floors_and_roots_are_rounded_once")
class FloorsTowardZero(ScalarArithmetic):
    """The floor of a negative number is the integer above it."""

    class Kind(Arithmetic):
        def floor(self, x: PBit) -> PBit:
            found = super().floor(PBit(abs(x.m), x.e))
            return PBit(-found.m if x.m < 0 else found.m, found.e)
