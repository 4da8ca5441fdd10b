"""Enclosures of covariances and weighted differences hold the true numbers at every working precision."""

from fractions import Fraction
from typing import Any

import numpy as np
from mpmath import mp

from hopspec.reference.exponential_sum import Factor, Term
from hopspec.reference.moments import Column, Moments
from hopspec.reference.problem import read_problem
from hopspec.reference.row import Row, view_of

BITS = 600
ONE = Factor(1, 1, 0)


def drawn(rng: np.random.Generator) -> tuple[Moments, list[Any], Column, Column]:
    """Moments of a small problem, its association to 600 bits, and two columns of small integers."""
    n, d = int(rng.integers(2, 7)), int(rng.integers(1, 3))
    spread = float(rng.choice([0.5, 2.0, 8.0]))
    query, memory = np.round(8 * rng.standard_normal(d)) / 8, np.round(8 * rng.standard_normal((n, d))) / 8
    problem = read_problem(query, memory, beta=spread)
    moments = Moments(Row(problem, view_of(problem, 0), 0))
    with mp.workprec(BITS):
        weights = [mp.exp(mp.mpf(spread * float(score))) for score in memory @ query]
        total = mp.fsum(weights)
        weights = [w / total for w in weights]
    columns = [moments.column(rng.integers(-9, 10, n).tolist(), ONE) for _ in range(2)]
    return moments, weights, columns[0], columns[1]


def mean(weights: list[Any], entries: list[Any]) -> Any:
    return mp.fsum(w * x for w, x in zip(weights, entries, strict=True))


def share_of_error(term: Any, true: Any, bits: int) -> float:
    """How much of its error an enclosure uses up."""
    numerator, denominator, exponent, error = term.enclose(bits)
    with mp.workprec(BITS):
        away = mp.fabs(true * denominator - mp.ldexp(mp.mpf(numerator), exponent))
        return float(away / mp.ldexp(mp.mpf(error), exponent))


def test_enclosures_hold_the_true_numbers() -> None:
    rng = np.random.default_rng(0)
    covariances, differences = [], []
    for _ in range(400):
        moments, weights, f, h = drawn(rng)
        with mp.workprec(BITS):
            expected = mean(weights, [a * b for a, b in zip(f.centred, h.centred, strict=True)])
            expected -= mean(weights, f.centred) * mean(weights, h.centred)
        e, c = (Factor(int(x), 3, -1) for x in rng.integers(-5, 6, 2))
        path = moments.path(f, e, c)
        for bits in (2, 3, 5, 9, 20):
            term = moments.covariance(f, h, Factor(-7, 5, 2))
            if isinstance(term, Term):
                with mp.workprec(BITS):
                    true = expected * -28 / 5
                covariances.append(share_of_error(term, true, bits))
            for i, weight in enumerate(weights):
                term = moments.difference(path, i)
                if isinstance(term, Term):
                    with mp.workprec(BITS):
                        slope = mp.mpf(c.numerator) / 6
                        true = weight * (
                            mp.mpf(e.numerator) / 6 + slope * (f.centred[i] - mean(weights, f.centred))
                        )
                    differences.append(share_of_error(term, true, bits))
    # They hold, and are not so wide that halving them would not be noticed.
    for found, least in ((covariances, 0.2), (differences, 0.15)):
        assert len(found) > 1000
        assert least < max(found) <= 1


def test_decay_bounds_the_number() -> None:
    rng = np.random.default_rng(1)
    tight = 0
    for _ in range(300):
        n = int(rng.integers(2, 6))
        memory = np.round(30 * rng.standard_normal((n, 1)))
        problem = read_problem([1.0], memory, beta=1)
        moments = Moments(Row(problem, view_of(problem, 0), 0))
        entries = [rng.integers(-2, 3, n).tolist() for _ in range(2)]
        f, h = (moments.column(column, ONE) for column in entries)
        with mp.workprec(BITS):
            weights = [mp.exp(mp.mpf(float(x))) for x in memory[:, 0]]
            total = mp.fsum(weights)
            weights = [w / total for w in weights]
            covariance = mean(weights, [a * b for a, b in zip(f.centred, h.centred, strict=True)])
            covariance -= mean(weights, f.centred) * mean(weights, h.centred)
        numbers = [(moments.covariance(f, h, Factor(3, 1, -2)), covariance * 3 / 4)]
        with mp.workprec(BITS):
            for constant in (0, 1):
                path = moments.path(f, Factor(constant, 1, 0), Factor(2, 1, 0))
                for i, weight in enumerate(weights):
                    true = weight * (constant + 2 * (f.centred[i] - mean(weights, f.centred)))
                    numbers.append((moments.difference(path, i), true))
            for number, true in numbers:
                if isinstance(number, Term) and true:
                    logarithm = mp.log(mp.fabs(true))
                    assert logarithm < -number.decay
                    tight += int(logarithm > -number.decay - 6)
    assert tight > 200


def test_expansions_agree_with_the_enclosures() -> None:
    rng = np.random.default_rng(2)
    for _ in range(60):
        moments, _, f, h = drawn(rng)
        path = moments.path(f, Factor(1, 3, 0), Factor(2, 1, -1))
        for number in (moments.covariance(f, h, Factor(-1, 3, 0)), moments.difference(path, 1)):
            if not isinstance(number, Term):
                continue
            quotient = number.quotient
            whole = quotient.expand(quotient.size)
            assert whole.rest is None
            unit = Fraction(2) ** quotient.unit.exponent / quotient.unit.denominator
            with mp.workprec(BITS):
                sums = [
                    mp.fsum(
                        c * mp.exp(mp.mpf(s * unit.numerator) / unit.denominator) for s, c in terms.items()
                    )
                    for terms in (whole.numerator, whole.denominator)
                ]
                scale = mp.mpf(number.scale.numerator) / number.scale.denominator
                true = mp.ldexp(scale * sums[0] / sums[1], number.scale.exponent)
            assert share_of_error(number, true, 100) <= 1
            for m in range(1, quotient.size):
                part = quotient.expand(m)
                assert part.rest is not None
                for known, everything, bound in (
                    (part.numerator, whole.numerator, part.rest.numerator),
                    (part.denominator, whole.denominator, part.rest.denominator),
                ):
                    left = {s: c for s, c in everything.items() if s not in known}
                    assert {s: everything[s] for s in known} == known
                    assert all(s <= part.rest.exponent for s in left)
                    assert sum(map(abs, left.values())) <= bound
