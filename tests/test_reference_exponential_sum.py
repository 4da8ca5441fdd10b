"""Quotients of exponential sums: which are rational, on which side of their limit the others are."""

from typing import Any

import numpy as np
import pytest
from mpmath import mp

from hopspec.formats import FLOAT64
from hopspec.reference.exponential_sum import Expansion, Factor, Quotient, Rest, Term, Unit, decide, multiply
from hopspec.reference.target import BitsGoal, FormatGoal

UNIT = Unit(-2, 3)  # exponents count twelfths


def drawn(rng: np.random.Generator, positive: bool) -> dict[int, int]:
    size = int(rng.integers(1, 6))
    exponents = rng.permutation(40)[:size].tolist()
    coefficients = rng.integers(1 if positive else -4, 5, size).tolist()
    return {-s: c for s, c in zip(exponents, coefficients, strict=True)}


def value(terms: dict[int, int]) -> Any:
    with mp.workprec(400):
        return mp.fsum(c * mp.exp(mp.mpf(s) / 12) for s, c in terms.items())


def quotient(numerator: dict[int, int], denominator: dict[int, int]) -> Quotient:
    return Quotient(lambda m: Expansion(numerator, denominator), 1, UNIT)


def test_products_and_sums_are_those_of_their_values() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        (a, c), (b, d) = (drawn(rng, False), drawn(rng, False)), (drawn(rng, True), drawn(rng, True))
        with mp.workprec(400):
            assert abs(value(multiply(a, c)) - value(a) * value(c)) < mp.mpf(2) ** -380
            total = Expansion(a, b).plus(Expansion(c, d), 3, -5, 7)
            expected = (3 * value(a) / value(b) - 5 * value(c) / value(d)) / 7
            assert abs(value(total.numerator) / value(total.denominator) - expected) < mp.mpf(2) ** -370


def test_the_side_is_that_of_the_value() -> None:
    rng = np.random.default_rng(1)
    sides = set()
    for _ in range(200):
        denominator = drawn(rng, True) | {0: int(rng.integers(1, 4))}
        numerator = drawn(rng, False)
        if rng.random() < 0.3:
            numerator = {s: 2 * c for s, c in denominator.items()}
        found = quotient(numerator, denominator)
        a, b = found.limit()
        with mp.workprec(400):
            away = value(numerator) / value(denominator) - mp.mpf(a) / b
            expected = 0 if abs(away) < mp.mpf(2) ** -300 else 1 if away > 0 else -1
        assert found.side() == expected
        sides.add(expected)
    assert sides == {-1, 0, 1}


def test_what_is_left_out_decides_nothing_wrongly() -> None:
    # The known terms are positive; what is left out may outweigh them, and does.
    def expand(m: int) -> Expansion:
        if m < 5:
            return Expansion({0: 1, -100: 1}, {0: 1}, Rest(-101, 5, 1))
        return Expansion({0: 1, -100: 1, -101: -4}, {0: 1})

    assert Quotient(expand, 5, UNIT).side() == -1


def test_a_rest_is_carried_through_a_sum() -> None:
    first = Expansion({0: 1, -4: 2}, {0: 1, -4: 1}, Rest(-6, 3, 2))
    second = Expansion({0: 1, -4: 1, -7: 5}, {0: 3, -4: 1})
    total = first.plus(second, 1, 1, 1)
    assert total.rest is not None
    assert total.rest.exponent == -6
    assert set(total.numerator) == set(total.denominator) == {0, -4}
    # Whatever the rest of the first is, the coefficients left out keep within the bounds.
    for rest in ({-6: 3}, {-6: -1, -9: 2}, {-8: -3}):
        whole = Expansion(first.numerator | rest, first.denominator | {-6: 2}).plus(second, 1, 1, 1)
        for known, all_terms, bound in (
            (total.numerator, whole.numerator, total.rest.numerator),
            (total.denominator, whole.denominator, total.rest.denominator),
        ):
            left = {s: c for s, c in all_terms.items() if s not in known}
            assert {s: all_terms[s] for s in known} == known
            assert sum(map(abs, left.values())) <= bound
            assert max(left) <= -6


def test_the_higher_of_two_rests_is_kept() -> None:
    first = Expansion({0: 1, -9: 1}, {0: 1}, Rest(-12, 1, 1))
    second = Expansion({0: 1, -2: 4}, {0: 1}, Rest(-3, 1, 1))
    for total in (first.plus(second, 1, 1, 1), second.plus(first, 1, 1, 1)):
        assert total.rest is not None
        assert total.rest.exponent == -3
        assert total.numerator == {0: 2, -2: 4}


def near(numerator: int, denominator: int, side: int) -> Term:
    """A number that no enclosure tells from a rational number: it is ``e**-1e30`` away from it."""
    terms = {0: numerator, -12 * 10**30: side * denominator}
    return Term(
        lambda bits: (numerator << bits, denominator, -bits, 1),
        0,
        -5,
        Factor(1, 1, 0),
        quotient(terms, {0: denominator}),
    )


def test_numbers_next_to_a_boundary_are_rounded_by_their_side() -> None:
    goal = FormatGoal(FLOAT64)
    middle = 2**53 + 1  # halfway between 2**53 and 2**53 + 2
    assert decide(goal, [near(middle, 1, 0)]) == 2.0**53
    assert decide(goal, [near(middle, 1, -1)]) == 2.0**53
    assert decide(goal, [near(middle, 1, 1)]) == 2.0**53 + 2
    leaf = decide(BitsGoal(60), [near(7, 3, 0)])
    assert not leaf.exact
    with mp.workprec(400):
        assert abs(leaf.value - mp.mpf(7) / 3) <= leaf.radius < 2.0**-58
    assert decide(BitsGoal(60), [near(7, 4, 0)]).exact


def test_a_negative_factor_turns_the_side_around() -> None:
    goal = FormatGoal(FLOAT64)
    for side, expected in ((1, 0), (-1, 2)):
        term = near(-(2**53) - 1, 1, side)
        assert decide(goal, [term]) == -(2.0**53) - expected
        turned = Term(lambda bits: (2**53 + 1 << bits, 1, -bits, 1), 0, -5, Factor(-1, 1, 0), term.quotient)
        assert decide(goal, [turned]) == 2.0**53 + expected


def test_sums_next_to_a_boundary() -> None:
    goal = FormatGoal(FLOAT64)
    half = 2**52
    # 2**52 + 2**52 + 1 is halfway; the sides cancel, or they do not.
    for sides, expected in (((1, -1), 0), ((1, 1), 2), ((-1, -1), 0), ((0, 1), 2), ((1, 0), 2)):
        numbers: list[Term | Factor] = [near(half, 1, sides[0]), Factor(1, 1, 0), near(half, 1, sides[1])]
        assert decide(goal, numbers) == 2.0**53 + expected
    assert decide(goal, [near(3, 1, 0), near(-3, 1, 0)]) == 0.0


def test_a_sum_of_too_many_terms_is_undecided() -> None:
    goal = FormatGoal(FLOAT64)
    many = {0: 1} | {-12 * 10**30 - k: 1 for k in range(400)}

    def crowded(numerator: int) -> Term:
        return Term(
            lambda bits: (numerator << bits, 1, -bits, 1),
            0,
            -5,
            Factor(1, 1, 0),
            quotient({s: numerator * c for s, c in many.items()}, many),
        )

    with pytest.raises(ArithmeticError, match="sum over queries is undecided at 4308 bits"):
        decide(goal, [crowded(2**53), crowded(1)])
    assert decide(goal, [crowded(2**53), crowded(2)]) == 2.0**53 + 2
    leaf = decide(BitsGoal(53), [crowded(2**53), crowded(1)])
    assert not leaf.exact
    assert abs(leaf.value - 2**53 - 1) <= leaf.radius
