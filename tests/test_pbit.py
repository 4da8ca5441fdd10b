"""Arithmetic in F_p: against exact fractions, the published definitions, and far-apart exponents."""

from __future__ import annotations

import doctest
import importlib
import random
from fractions import Fraction
from typing import Any, get_args

import mpmath
import pytest

from hopspec import pbit
from hopspec.pbit import PBit, PBits, Underflow
from hopspec.reference.pbit import Arithmetic, PublishedArithmetic, QuarterArithmetic, elements
from hopspec.reference.pbit.published import published_quotient, quarter_quotient

F4 = PBits(4)


def nearest(x: Fraction, fmt: PBits) -> PBit:
    """The element nearest to ``x``, found by looking at every element."""
    if not x:
        return fmt.zero
    sign, size = (-1 if x < 0 else 1), abs(x)
    omega = fmt.least_element.fraction
    wide = [*elements(PBits(fmt.bits, fmt.least - 24, fmt.greatest))]
    if fmt.underflow == "gradual":
        wide = [y for y in elements(fmt) if y.m >= 0]
    found = min((y for y in wide if y.m >= 0), key=lambda y: (abs(y.fraction - size), y.m % 2))
    if fmt.underflow != "gradual" and found.fraction < omega:
        up = fmt.underflow == "least" or (fmt.underflow == "nearest" and size > omega / 2)
        found = fmt.least_element if up else fmt.zero
    return PBit(sign * found.m, found.e)


def irrational(function: Any, x: PBit) -> Fraction:
    """A fraction within 2**-160 of a root or an exponential."""
    with mpmath.workprec(200):
        value = function(mpmath.mpf(x.m) * mpmath.mpf(2) ** x.e)
        return Fraction(int(value.man)) * Fraction(2) ** int(value.exp)


@pytest.mark.parametrize("underflow", get_args(Underflow))
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_results_are_the_nearest_elements(bits: int, underflow: Underflow) -> None:
    fmt = PBits(bits, -4, 2, underflow)
    a, every = Arithmetic(fmt), [*elements(fmt)]
    assert all(fmt.contains(x) for x in every)
    assert [x.fraction for x in every] == sorted({x.fraction for x in every})
    draw = random.Random(bits)
    for _ in range(25):
        x, y, z = (draw.choice(every) for _ in range(3))
        fx, fy, fz = x.fraction, y.fraction, z.fraction
        assert a.add(x, y) == nearest(fx + fy, fmt)
        assert a.subtract(x, y) == nearest(fx - fy, fmt)
        assert a.multiply(x, y) == nearest(fx * fy, fmt)
        assert a.sum([x, y, z]) == nearest(fx + fy + fz, fmt)
        assert a.product([x, y, z]) == nearest(fx * fy * fz, fmt)
        assert a.dot([x, y], [y, z]) == a.add(a.multiply(x, y), a.multiply(y, z))
        assert a.compare(x, y) == (fx > fy) - (fx < fy)
        assert a.floor(x) == nearest(Fraction(fx.__floor__()), fmt)
        assert a.exp(x) == nearest(irrational(mpmath.exp, x), fmt)
        if y.m:
            assert a.divide(x, y) == nearest(fx / fy, fmt)
        if x.m >= 0:
            assert a.sqrt(x) == nearest(irrational(mpmath.sqrt, x), fmt)


def test_published_definitions_differ() -> None:
    assert published_quotient(9, 20) == Fraction(23, 40)
    assert round(published_quotient(9, 20)) == 1
    assert round(quarter_quotient(9, 20)) == 0
    terms = [PBit(8, 10), PBit(9, 0), PBit(-8, 10)]
    sums = [float(a(F4).sum(terms)) for a in (PublishedArithmetic, QuarterArithmetic, Arithmetic)]
    assert sums == [144.0, 128.0, 9.0]
    # Two terms suffice to go wrong when read literally, and quotients too.
    few = [*elements(PBits(4, -2, 2))]
    literal, quarters, right = PublishedArithmetic(F4), QuarterArithmetic(F4), Arithmetic(F4)
    pairs = [(x, y) for x in few for y in few if x.m and y.m]
    assert sum(literal.sum(p) != right.sum(p) for p in pairs) > 100
    assert sum(literal.divide(*p) != right.divide(*p) for p in pairs) > 100
    assert all(quarters.sum(p) == right.sum(p) for p in pairs)
    assert all(quarters.divide(*p) == right.divide(*p) for p in pairs)


def test_terms_far_apart_need_no_long_integers() -> None:
    a = Arithmetic(PBits(10_000))
    big, small = a.format.largest, PBit(-a.format.least_element.m - 1, a.format.least)
    assert a.sum([big, small, a.negate(big)]) == small
    assert a.sum([big, small]) == big
    one = a.number(1)
    # Half a unit in the last place of 1 is a tie, which the smallest number decides.
    half = PBit(one.m, one.e - 10_000)
    assert a.sum([one, half]) == one
    assert a.sum([one, half, a.negate(small)]) == PBit(one.m + 1, one.e)
    assert a.exp(big) == big
    assert a.exp(a.negate(big)) == a.zero
    assert a.exp(small) == one


@pytest.mark.parametrize("seed", range(4))
def test_sums_with_gaps_are_exact(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(400):
        a = Arithmetic(PBits(draw.randint(2, 6), -300, 300))
        full = range(1 << (a.format.bits - 1), 1 << a.format.bits)
        centres = [draw.randint(-60, 60) for _ in range(3)]
        terms = []
        for _ in range(draw.randint(1, 8)):
            m, e = draw.choice((-1, 1)) * draw.choice(full), draw.choice(centres) + draw.randint(-1, 1)
            terms += [PBit(m, e)] + ([PBit(-m, e)] if draw.random() < 0.4 else [])
        draw.shuffle(terms)
        assert a.sum(terms) == a.number(sum((t.fraction for t in terms), Fraction(0)))


def test_the_shorter_gap_does_not_suffice() -> None:
    terms = [PBit(9, 10), PBit(-8, 10), *[PBit(15, 1)] * 3]
    right = Arithmetic(F4)
    assert sum(t.fraction for t in terms) == 1114
    assert float(right.sum(terms)) == 1152
    assert float(right.round(1024, sticky=1)) == 1024


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bits": 1}, "bits must be from 2"),
        ({"bits": 4, "least": 3, "greatest": 2}, "least must not exceed greatest"),
        ({"bits": 4, "underflow": "flush"}, "underflow must be"),
    ],
)
def test_malformed_sets_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PBits(**arguments)


def test_operations_outside_their_domain_are_refused() -> None:
    a = Arithmetic(F4)
    with pytest.raises(TypeError, match="bits must be an int"):
        PBits(4.0)  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError, match="y must not be zero"):
        a.divide(a.number(1), a.zero)
    with pytest.raises(ValueError, match="x must not be negative"):
        a.sqrt(a.number(-1))
    with pytest.raises(ValueError, match="x must be finite"):
        a.number(float("nan"))


@pytest.mark.parametrize("name", ["arithmetic", "elements", "exponential", "published"])
def test_examples_run(name: str) -> None:
    found = importlib.import_module(f"hopspec.reference.pbit.{name}")
    for module in (found, pbit):
        result = doctest.testmod(module)
        assert result.attempted > 0
        assert result.failed == 0
