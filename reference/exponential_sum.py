r"""Exponential sums, and rounding the quotient of two of them correctly (clause MHN-PRC-5).

An *exponential sum* is a finite sum $A = \sum_k a_k e^{s_k}$ with rational coefficients $a_k \ne 0$ and
distinct rational exponents $s_k$. Sums and products of exponential sums are exponential sums. Every number
the reference rounds but logarithms is a quotient $A / B$ of two of them, in which all coefficients of $B$
are positive and no exponent of $A$ exceeds the largest of $B$.

**Which quotients are rational.** *$A / B$ is algebraic if and only if $A = q B$ coefficient by coefficient
for a rational $q$, and then it is $q$.* If $A / B = q$ is algebraic, the exponential sum $A - q B$ is 0, and
by the theorem of Lindemann and Weierstrass exponentials of distinct algebraic numbers are linearly
independent over the algebraic numbers: all its coefficients vanish. The largest exponent of $B$ gives $q = a
/ b$, the ratio of the two coefficients there. So comparing coefficients decides whether the number is
rational. If it is not, it is transcendental, no rounding boundary, and narrowing an enclosure ends.

**Next to a boundary.** Narrowing takes as many bits as the number is close to a boundary, a million and more
when all but the largest exponentials are that small. The number is then close to $q = a / b$, and

$$\frac AB - q = \frac{C}{b B}, \qquad C = b A - a B ,$$

has the sign of $C$, whose leading term is the first at which $A$ and $q B$ differ. The sign is found from
integers within 1 of $2^P e^{s_k - s}$, $s$ the largest exponent of $C$, and $P$ is raised until the signed
sum exceeds the sum of the sizes of the coefficients. That ends because $C \ne 0$. It needs only the terms of
large exponent, if the sizes of all other coefficients of $A$ and $B$ are known to add up to no more than
some bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hopspec.clauses import implements
from hopspec.reference.exponential import exps_fixed
from hopspec.reference.row import Ratio
from hopspec.reference.target import Anchor, FormatGoal, Goal

__all__ = ["Expansion", "Factor", "Quotient", "Rest", "Sum", "Term", "Unit", "decide", "multiply"]

Sum = dict[int, int]
"""An exponential sum: integer coefficients by integer exponents, which are in a common :class:`Unit`."""

# The most products of terms formed to decide whether a sum of quotients is rational.
_BUDGET = 20_000

# Terms of a sum that are smaller than e to minus this power are not computed.
_DEEP = 1 << 14


class Unit(NamedTuple):
    """The integer ``k`` stands for the exponent ``k * 2**exponent / denominator``."""

    exponent: int
    denominator: int


class Factor(NamedTuple):
    """The rational number ``numerator / denominator * 2**exponent``, with a positive denominator."""

    numerator: int
    denominator: int
    exponent: int

    def plus(self, other: Factor) -> Factor:
        """The sum of two.

        >>> Factor(1, 3, 0).plus(Factor(1, 1, -1))
        Factor(numerator=5, denominator=3, exponent=-1)
        """
        exponent = min(self.exponent, other.exponent)
        mine = self.numerator << (self.exponent - exponent)
        its = other.numerator << (other.exponent - exponent)
        if self.denominator == other.denominator:
            return Factor(mine + its, self.denominator, exponent)
        numerator = mine * other.denominator + its * self.denominator
        return Factor(numerator, self.denominator * other.denominator, exponent)

    def times(self, other: Factor) -> Factor:
        """The product of two.

        >>> Factor(2, 3, 0).times(Factor(1, 5, 1))
        Factor(numerator=2, denominator=15, exponent=1)
        """
        return Factor(
            self.numerator * other.numerator,
            self.denominator * other.denominator,
            self.exponent + other.exponent,
        )

    def logarithm(self) -> int:
        """An integer above the natural logarithm of the number's size, which must not be 0.

        >>> Factor(1, 1, 100).logarithm(), Factor(1, 1, -100).logarithm()  # log(2) is above 0.69 and below 1
        (101, -68)
        """
        bits = abs(self.numerator).bit_length() - self.denominator.bit_length() + 1 + self.exponent
        return bits if bits >= 0 else -(-bits * 69 // 100)


class Rest(NamedTuple):
    """What an :class:`Expansion` leaves out: terms whose exponents are at most ``exponent``.

    The sizes of their coefficients add up to at most ``numerator`` and ``denominator``.
    """

    exponent: int
    numerator: int
    denominator: int


class Expansion(NamedTuple):
    """Exponential sums ``A`` and ``B``, complete down to what ``rest`` bounds; None if nothing is left."""

    numerator: Sum
    denominator: Sum
    rest: Rest | None = None

    def plus(self, other: Expansion, left: int, right: int, below: int) -> Expansion:
        """``(left A B' + right A' B) / (below B B')`` for this ``A / B`` and the other ``A' / B'``.

        >>> Expansion({0: 1}, {0: 1, -1: 1}).plus(Expansion({0: 1}, {0: 2}), 1, 1, 1)
        Expansion(numerator={0: 3, -1: 1}, denominator={0: 2, -1: 2}, rest=None)
        """
        if len(self.denominator) * len(other.denominator) > _BUDGET:
            raise _TooManyTermsError
        ours = multiply(self.numerator, other.denominator)
        theirs = multiply(other.numerator, self.denominator)
        numerator = {s: left * c for s, c in ours.items()}
        for s, c in theirs.items():
            numerator[s] = numerator.get(s, 0) + right * c
        denominator = {s: below * c for s, c in multiply(self.denominator, other.denominator).items()}
        rests = [
            one.rest.exponent + max(another.denominator)
            for one, another in ((self, other), (other, self))
            if one.rest is not None
        ]
        if not rests:
            return Expansion(numerator, denominator)
        floor = max(rests)
        (a, b), (c, d) = self._sizes(), other._sizes()
        return Expansion(
            {s: x for s, x in numerator.items() if s > floor},
            {s: x for s, x in denominator.items() if s > floor},
            Rest(floor, abs(left) * a * d + abs(right) * c * b, below * b * d),
        )

    def _sizes(self) -> tuple[int, int]:
        """What the sizes of all coefficients add up to at most."""
        _, a, b = self.rest or Rest(0, 0, 0)
        return a + sum(map(abs, self.numerator.values())), b + sum(map(abs, self.denominator.values()))


def multiply(left: Sum, right: Sum) -> Sum:
    """The product of two exponential sums.

    >>> multiply({0: 1, -1: 1}, {0: 1, -1: -1})  # (1 + e**-1) (1 - e**-1)
    {0: 1, -1: 0, -2: -1}
    """
    product: Sum = {}
    for s, a in left.items():
        for t, b in right.items():
            product[s + t] = product.get(s + t, 0) + a * b
    return product


@dataclass(slots=True)
class Quotient:
    """The quotient of two exponential sums.

    Args:
        expand: gives, for a number ``m``, the terms that the ``m`` largest logits determine; with ``m = 1``
            at least those of the largest exponent of the denominator.
        size: from which ``m`` on nothing is left out.
        unit: the unit of the exponents.
    """

    expand: Callable[[int], Expansion]
    size: int
    unit: Unit

    def limit(self) -> tuple[int, int]:
        """Numerator and denominator of the ratio of the two leading coefficients.

        >>> Quotient(lambda m: Expansion({0: 2, -3: 1}, {0: 4, -3: 1}), 1, Unit(0, 1)).limit()
        (2, 4)
        """
        numerator, denominator, _ = self.expand(1)
        leading = max(denominator)
        return numerator.get(leading, 0), denominator[leading]

    @implements("MHN-PRC-5")
    def side(self) -> int:
        """The side of the limit the quotient is on, 1 or -1; 0 where the limit is the quotient.

        >>> Quotient(lambda m: Expansion({0: 2, -3: 1}, {0: 4, -3: 1}), 1, Unit(0, 1)).side()
        1
        >>> Quotient(lambda m: Expansion({0: 2, -3: 1}, {0: 4, -3: 2}), 1, Unit(0, 1)).side()
        0
        """
        a, b = self.limit()
        m = 4
        while True:
            numerator, denominator, rest = self.expand(min(m, self.size))
            exponents = numerator.keys() | denominator.keys()
            difference = {s: b * numerator.get(s, 0) - a * denominator.get(s, 0) for s in exponents}
            terms = sorted(((s, c) for s, c in difference.items() if c), reverse=True)
            if not terms and rest is None:
                return 0
            if terms:
                tail = (
                    None if rest is None else (rest.exponent, b * rest.numerator + abs(a) * rest.denominator)
                )
                sign = self._sign(terms, tail)
                if sign:
                    return sign
            m *= 4

    def _sign(self, terms: list[tuple[int, int]], tail: tuple[int, int] | None) -> int:
        """The sign of an exponential sum, 0 where the tail that is bounded only leaves it open."""
        base = terms[0][0]
        bits = 64
        while True:
            weights = self._exponentials((s - base for s, _ in terms), bits)
            signed = sum(weight * c for weight, (_, c) in zip(weights, terms, strict=True))
            error = sum(abs(c) for _, c in terms[1:])
            if tail is not None:
                error += tail[1] * (self._exponentials((tail[0] - base,), bits)[0] + 1)
            if abs(signed) > error:
                return 1 if signed > 0 else -1
            if tail is not None and bits > 64:
                return 0
            bits *= 2

    def _exponentials(self, exponents: Iterable[int], bits: int) -> list[int]:
        return exps_fixed(exponents, self.unit.exponent, self.unit.denominator, bits)


@dataclass(slots=True)
class Term:
    """A real number that is not known to be rational, as far as rounding needs to know it.

    Args:
        enclose: encloses it for a working precision.
        start: bits beyond those wanted that make the enclosure accurate relative to the number.
        decay: the number is smaller than ``e**-decay``.
        scale: a rational factor, not 0.
        quotient: the number over ``scale``.
    """

    enclose: Callable[[int], Ratio]
    start: int
    decay: int
    scale: Factor
    quotient: Quotient

    def limit(self) -> Factor:
        """The only rational number it can be."""
        return self.scale.times(Factor(*self.quotient.limit(), 0))

    def side(self) -> int | None:
        """The side of the limit it is on, 1 or -1; 0 where it is the limit, None where that is not known."""
        return self.quotient.side() if self.scale.numerator > 0 else -self.quotient.side()


def decide(goal: Goal, numbers: Sequence[Term | Factor]) -> Any:
    """The leaf for the sum of some numbers.

    A single number is correctly rounded. The sum of several is a quotient of exponential sums too, and its
    limit the sum of their limits; so where an enclosure excludes the limit, it is correctly rounded as well.
    Next to its limit the sum has to be expanded, and numbers of terms multiply. Beyond some thousands of them
    it is rounded if an enclosure decides, and otherwise enclosed, or refused where the goal is a format.

    Raises:
        ArithmeticError: if the goal is a format and the rounding of a sum of several numbers stays open.

    >>> from hopspec.reference.target import resolve
    >>> decide(resolve("float32", 1), [Factor(1, 2, 0), Factor(3, 1, -2)])
    1.25
    """
    term: Term | _Sum
    if len(numbers) == 1 and isinstance(numbers[0], Term):
        term = numbers[0]
    else:
        known = Factor(0, 1, 0)
        for number in numbers:
            if isinstance(number, Factor):
                known = known.plus(number)
        terms = [number for number in numbers if isinstance(number, Term)]
        if not terms:
            return goal.rational(*known)
        term = terms[0] if len(terms) == 1 and not known.numerator else _Sum(known, terms)
    if goal.surely_zero(term.decay):
        return goal.rational(0) if isinstance(goal, FormatGoal) else goal.decide(_around_zero(term), 0)
    attempts = _Attempts(goal, term)
    return goal.decide(attempts.enclose, term.start, attempts.anchor)


class _Attempts:
    """The enclosures of a number, and the question whether it is its limit.

    A format asks when two attempts have failed; bits ask at once, to tell an exact number from others.
    """

    def __init__(self, goal: Goal, term: Term | _Sum) -> None:
        self.term = term
        self.limit = 4 * goal.bits + 4096 if isinstance(goal, FormatGoal) else None
        self.last: Ratio = (0, 1, 0, 0)
        self.tested = False
        self.exact: Factor | None = None
        self.found: Anchor | None = None
        self.open = isinstance(term, _Sum) and term.coarse

    def enclose(self, bits: int) -> Ratio:
        if self.open and self.limit is not None and bits > self.limit:
            raise ArithmeticError(f"the rounding of a sum over queries is undecided at {self.limit} bits")
        if self.exact is None:
            self.last = self.term.enclose(bits)
            if self.limit is None:
                self._test()
        return self.last if self.exact is None else (*self.exact, 0)

    def anchor(self) -> Anchor | None:
        self._test()
        return self.found

    def _test(self) -> None:
        if self.tested:
            return
        self.tested = True
        limit = self.term.limit()
        # An enclosure without the limit in it shows that the number is neither the limit nor next to it.
        if not _contains(self.last, limit):
            return
        side = self.term.side()
        if side is None:
            self.open = True
        elif side:
            self.found = Anchor(*limit, side)
        else:
            self.exact = limit


class _Sum:
    """The sum of a rational number and some terms; attributes and methods are those of :class:`Term`."""

    def __init__(self, known: Factor, terms: Sequence[Term]) -> None:
        self.known = known
        self.terms = terms
        # However small a term is, it decides between the neighbours of a boundary. Past this depth its bits
        # are not worth what they cost, and the sum may stay undecided.
        self.coarse = any(term.decay > _DEEP for term in terms)
        self._parts = [_around_zero(term) if term.decay > _DEEP else term.enclose for term in terms]
        self.start = min(term.start for term in terms) + 8
        decays = [term.decay for term in terms] + ([-known.logarithm()] if known.numerator else [])
        self.decay = min(decays) - len(terms).bit_length()

    def enclose(self, bits: int) -> Ratio:
        ratios = [part(bits) for part in self._parts]
        ratios.append((*self.known, 0))
        size = max(
            (abs(n) + error).bit_length() - d.bit_length() + exponent
            for n, d, exponent, error in ratios
            if n or error
        )
        # Every quotient is rounded down to a multiple of 2**-point.
        point = bits + 8 - size
        total = errors = 0
        for n, d, exponent, error in ratios:
            shift = exponent + point
            up, down = (shift, 0) if shift >= 0 else (0, -shift)
            total += (n << up) // (d << down)
            errors += 1 - (-(error << up) // (d << down))
        return total, 1, -point, errors

    def limit(self) -> Factor:
        total = self.known
        for term in self.terms:
            total = total.plus(term.limit())
        return total

    def side(self) -> int | None:
        """As :meth:`Term.side`, from the sum as one quotient; None if that has too many terms."""
        size = max(term.quotient.size for term in self.terms)
        try:
            return Quotient(self._expand, size, self.terms[0].quotient.unit).side()
        except _TooManyTermsError:
            return None

    def _expand(self, m: int) -> Expansion:
        """The sum as one quotient, over a power of two: the expansions of its parts multiplied out."""
        total = Expansion({0: self.known.numerator}, {0: self.known.denominator})
        exponent = self.known.exponent
        for term in self.terms:
            part = term.quotient.expand(min(m, term.quotient.size))
            common = min(exponent, term.scale.exponent)
            total = total.plus(
                part,
                term.scale.denominator << (exponent - common),
                term.scale.numerator << (term.scale.exponent - common),
                term.scale.denominator,
            )
            exponent = common
        # The common power of two is a factor of the numerator: what it does to both changes no side.
        return total


class _TooManyTermsError(ArithmeticError):
    """A product of exponential sums is too large to be formed."""


def _contains(ratio: Ratio, number: Factor) -> bool:
    numerator, denominator, exponent, error = ratio
    common = min(exponent, number.exponent)
    unit = number.denominator << (exponent - common)
    away = numerator * unit - (number.numerator * denominator << (number.exponent - common))
    return abs(away) <= error * unit


def _around_zero(term: Term | _Sum) -> Callable[[int], Ratio]:
    exponent = -min(term.decay, 1 << 20)
    return lambda bits: (0, 1, exponent, 1)
