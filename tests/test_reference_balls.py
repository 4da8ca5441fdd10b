"""Balls hold the results of every operation on their members, also where few bits make them wide."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from mpmath import mp

from hopspec.reference.balls import Ball, Balls


def members(ball: Ball, bits: int, rng: np.random.Generator) -> Fraction:
    """An end of the ball, or a number within."""
    share = Fraction(int(rng.choice([-4, -4, -1, 0, 3, 4, 4])), 4)
    return (ball[0] + share * ball[1]) / Fraction(2) ** bits


def inside(x: Fraction, ball: Ball, bits: int) -> bool:
    return bool(abs(x * 2**bits - ball[0]) <= ball[1])


def dot(x: Sequence[Fraction], y: Sequence[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(x, y, strict=True)), Fraction(0))


def drawn(rng: np.random.Generator, count: int, bits: int) -> list[Ball]:
    return [(int(rng.integers(-(2**bits), 2**bits + 1)), int(rng.integers(0, 4))) for _ in range(count)]


def test_sums_and_products() -> None:
    rng = np.random.default_rng(0)
    reached = 0
    for _ in range(2000):
        bits = int(rng.integers(2, 9))
        balls, size = Balls(bits), int(rng.integers(1, 4))
        x, y = drawn(rng, size, bits), drawn(rng, size, bits)
        a, b = ([members(ball, bits, rng) for ball in side] for side in (x, y))
        found = balls.dot(x, y)
        assert inside(dot(a, b), found, bits)
        reached += int(abs(dot(a, b) * 2**bits - found[0]) > found[1] - 2)
        assert balls.times(x[0], y[0]) == balls.dot(x[:1], y[:1])
        assert inside(a[0] + b[0], balls.plus(x[0], y[0]), bits)
        assert inside(a[0] - b[0], balls.minus(x[0], y[0]), bits)
    assert reached > 200


def test_numbers_become_balls_and_back() -> None:
    rng = np.random.default_rng(1)
    for _ in range(500):
        balls = Balls(int(rng.integers(2, 9)))
        value, radius = (Fraction(int(rng.integers(0, 99)), 7 * int(rng.integers(1, 9))) for _ in range(2))
        power = int(rng.integers(-3, 4))
        centre, spread = balls.fractions(balls.enclose(value, radius, power), -power)
        for end in (value - radius, value + radius):
            assert abs(end - centre) <= spread
        assert spread <= radius + Fraction(2) ** (1 - balls.bits - power)
    assert Balls(3).enclose(Fraction(5, 8), Fraction(0), 0) == (5, 0)


def test_softmax() -> None:
    rng = np.random.default_rng(2)
    shares = []
    for _ in range(800):
        bits = int(rng.integers(4, 12))
        balls, size = Balls(bits), int(rng.integers(1, 5))
        logits = [(int(rng.integers(-(3 << bits), 3 << bits)), int(rng.integers(0, 3))) for _ in range(size)]
        found = balls.softmax(logits)
        if found is None:
            continue
        with mp.workprec(200):
            exact = [members(ball, bits, rng) for ball in logits]
            weights = [mp.exp(mp.mpf(t.numerator) / t.denominator) for t in exact]
            total = mp.fsum(weights)
            for weight, (centre, radius) in zip(weights, found, strict=True):
                away = mp.fabs(weight / total * 2**bits - centre)
                assert away <= radius
                shares.append(float(away / radius) if radius else 0.0)
    assert len(shares) > 1000
    assert max(shares) > 0.4
    assert Balls(4).softmax([(0, 17)]) is None
    assert Balls(4).softmax([(5, 0)]) == [(16, 0)]


def test_linear_systems() -> None:
    rng = np.random.default_rng(3)
    solved = 0
    shares = []
    for _ in range(300):
        bits = int(rng.integers(8, 16))
        balls, size = Balls(bits), int(rng.integers(1, 4))
        system = [drawn(rng, size, bits) for _ in range(size)]
        g = drawn(rng, size, bits)
        found = balls.solve(system, g)
        if found is None:
            continue
        solved += 1
        # Whatever the members are, their system has just one solution.
        matrix = [[members(ball, bits, rng) for ball in row] for row in system]
        target = [members(ball, bits, rng) for ball in g]
        with mp.workprec(200):
            exact = mp.lu_solve(
                mp.matrix([[mp.mpf(x.numerator) / x.denominator for x in row] for row in matrix]),
                mp.matrix([mp.mpf(x.numerator) / x.denominator for x in target]),
            )
            for true, (centre, radius) in zip(exact, found, strict=True):
                away = mp.fabs(true * 2**bits - centre)
                assert away <= radius * (1 + mp.mpf(2) ** -100)
                shares.append(float(away / radius) if radius else 0.0)
    assert solved > 200
    assert max(shares) > 0.4


def test_systems_without_a_solution_are_refused() -> None:
    balls = Balls(10)
    one, zero = (1024, 0), (0, 0)
    assert balls.solve([[one, one], [one, one]], [one, zero]) is None
    assert balls.solve([[(3, 5)]], [one]) is None
    assert balls.solve([], []) == []
    assert balls.solve([[one, zero], [zero, one]], [(7, 0), (-9, 0)]) == [(7, 0), (-9, 0)]
