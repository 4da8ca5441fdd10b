r"""Implicit gradients at a certified fixed point, enclosed (clause MHN-GRD-2).

A fixed point is no algebraic number in general, so nothing here can be rounded correctly. It is enclosed
(:mod:`hopspec.reference.fixed_point`), and everything that follows is computed with balls
(:mod:`hopspec.reference.balls`). The memory is scaled by a power of two to entries below 1, which by clause
MHN-LAW-3 scales the fixed point too.

At a fixed point $x$ the mean of the memories is $x$ itself. So with $a_i = x_i - x$, $\sum_i p_i a_i = 0$
and $J = \beta \sum_i p_i a_i a_i^{\mathsf T}$; and with $w = (I - J)^{-1} g$, $\bar\beta = \sum_i p_i
\langle a_i, w \rangle \langle a_i, x \rangle$ and $\bar x_i = p_i (w + \beta \langle a_i, w \rangle x)$.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hopspec.clauses import implements
from hopspec.precision import Precision
from hopspec.reference.balls import Ball, Balls
from hopspec.reference.definitions import Gradients
from hopspec.reference.derivatives import read_cotangent
from hopspec.reference.directed import exact_leaf, scaled
from hopspec.reference.dyadic import exact_number
from hopspec.reference.fixed_point import fixed_point
from hopspec.reference.oracle import views
from hopspec.reference.problem import Problem, read_problem
from hopspec.reference.row import View
from hopspec.reference.target import BitsGoal, resolve

__all__ = ["implicit_gradient"]

Known = tuple[Fraction, Fraction]
"""A centre and a radius."""

# Bits beyond those asked for, and how often the precision is doubled before a wide radius is returned.
_GUARD = 64
_ATTEMPTS = 3


@implements("MHN-GRD-2")
def implicit_gradient(
    query: Any,
    memory: Any,
    cotangent: Any,
    *,
    beta: Any,
    keep: Any = None,
    to: int | Precision = 128,
    max_steps: int = 1000,
) -> Gradients:
    r"""Gradients of $\sum \langle g, x^* \rangle$ for the fixed points that the queries lead to, enclosed.

    The fixed points are those of :func:`hopspec.reference.fixed_point` with the same arguments. Gradients
    with respect to the queries are 0.

    Args:
        query: ``[d]`` or ``[L, d]``: nested sequences, NumPy, or anything with ``tolist()``; where to start.
        memory: ``[N, d]``.
        cotangent: g for every query, ``[d]`` or ``[L, d]``.
        beta: any positive number.
        keep: None, or bools that broadcast to ``[L, N]``.
        to: bits of the values, or a Precision that gives them. Radii are proved, and mostly that small too.
        max_steps: the most updates to follow the iteration for.

    Returns:
        :class:`Gradients` with :class:`hopspec.Exact` leaves, shaped like query and memory; ``values`` is
        None. Where no fixed point was certified, or ``I - J`` not shown to be invertible there, everything
        the query contributes to is NaN.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, ``beta`` is not positive and finite, or fewer than 2 bits are asked
            for.

    >>> found = implicit_gradient([0.5], [[1.0], [-1.0]], [1.0], beta=0.5, to=60)  # leads to the origin
    >>> float(found.memory[0][0].value), bool(found.memory[0][0].radius < 2**-60)
    (1.0, True)
    """
    problem = read_problem(query, memory, beta=beta, keep=keep, positive_beta=True)
    given = read_cotangent(problem, cotangent)
    goal = resolve(to, problem.memories)
    if not isinstance(goal, BitsGoal):
        raise TypeError(f"to must be an int or a Precision, got {to!r}")
    width = problem.query.width
    zero = (Fraction(0), Fraction(0))
    by_memory: list[list[tuple[Fraction, Fraction] | None]] = [
        [zero] * width for _ in range(problem.memories)
    ]
    by_beta: Known | None = zero
    by_query = []
    for row, view in views(problem):
        by_query.append([goal.rational(0)] * width)
        if not view.kept:
            continue
        found = None
        if problem.query.finite[row] and given.finite[row] and view.memory_finite:
            g = [given.fraction(row, j) for j in range(width)]
            found = _enclosed(problem, view, row, g, goal.bits, max_steps)
        if found is None:
            by_query[-1] = [goal.undefined()] * width
            by_beta = None
        elif by_beta is not None:
            by_beta = _added(by_beta, found[1])
        for position, i in enumerate(view.kept):
            by_memory[i] = [
                None if found is None or entry is None else _added(entry, found[0][position][j])
                for j, entry in enumerate(by_memory[i])
            ]

    def leaf(number: Known | None) -> Any:
        return goal.undefined() if number is None else exact_leaf(*number, goal.bits)

    return Gradients(
        by_query[0] if problem.single else by_query,
        [[leaf(entry) for entry in entries] for entries in by_memory],
        None,
        leaf(by_beta),
    )


def _added(first: Known, second: Known) -> Known:
    return first[0] + second[0], first[1] + second[1]


def _enclosed(
    problem: Problem, view: View, row: int, g: list[Fraction], bits: int, max_steps: int
) -> tuple[list[list[Known]], Known] | None:
    """Centres and radii of the gradients with respect to the kept memories and beta."""
    memory = problem.memory
    patterns = [[memory.fraction(i, j) for j in range(memory.width)] for i in view.kept]
    size = max((abs(x) for pattern in patterns for x in pattern), default=Fraction(0))
    power = _power(size)
    slope = scaled(problem.beta.fraction(), 2 * power)
    length = _power(max(map(abs, g), default=Fraction(0)))
    start = [problem.query.fraction(row, j) for j in range(memory.width)]
    answer: tuple[list[list[Known]], Known] | None = None
    working = bits + _GUARD + max(0, _power(slope))
    for _ in range(_ATTEMPTS):
        state = fixed_point(start, patterns, beta=problem.beta.fraction(), to=working, max_steps=max_steps)
        if not state.certified:
            return None
        balls = Balls(working + 32)
        x = [balls.enclose(_fraction(leaf.value), _fraction(leaf.radius), -power) for leaf in state.state]
        stored = [[balls.enclose(entry, Fraction(0), -power) for entry in pattern] for pattern in patterns]
        target = [balls.enclose(entry, Fraction(0), -length) for entry in g]
        found = _gradients(balls, x, stored, balls.enclose(slope, Fraction(0), 0), target)
        if found is not None:
            rows, last = found
            answer = (
                [[balls.fractions(ball, length) for ball in entries] for entries in rows],
                balls.fractions(last, length + 3 * power),
            )
            every = [*(entry for entries in answer[0] for entry in entries), answer[1]]
            floor = scaled(max(abs(value) for value, _ in every), -bits)
            if all(scaled(radius, bits) <= max(abs(value), floor) for value, radius in every):
                break
        working *= 2
    return answer


def _gradients(
    balls: Balls, x: list[Ball], stored: list[list[Ball]], beta: Ball, g: list[Ball]
) -> tuple[list[list[Ball]], Ball] | None:
    """The gradients as balls, by memory and by beta; None where the balls are too wide."""
    weights = balls.softmax([balls.times(beta, balls.dot(pattern, x)) for pattern in stored])
    if weights is None:
        return None
    away = [[balls.minus(y, c) for y, c in zip(pattern, x, strict=True)] for pattern in stored]
    slopes = [balls.times(beta, p) for p in weights]
    shares = [[balls.times(c, a) for a in entries] for c, entries in zip(slopes, away, strict=True)]
    columns = list(zip(*away, strict=True))
    system = [
        [balls.minus(balls.unit(j == k), balls.dot(share, column)) for k, column in enumerate(columns)]
        for j, share in enumerate(zip(*shares, strict=True))
    ]
    w = balls.solve(system, g)
    if w is None:
        return None
    along = [balls.dot(entries, w) for entries in away]
    products = [balls.times(p, b) for p, b in zip(weights, along, strict=True)]
    by_beta = balls.dot(products, [balls.dot(entries, x) for entries in away])
    by_memory = []
    for p, product in zip(weights, products, strict=True):
        key = balls.times(beta, product)
        by_memory.append(
            [balls.plus(balls.times(p, b), balls.times(key, c)) for b, c in zip(w, x, strict=True)]
        )
    return by_memory, by_beta


def _fraction(value: Any) -> Fraction:
    number = exact_number(value, "state")
    assert number is not None
    return number.fraction()


def _power(size: Fraction) -> int:
    """A power of two at least that large, as its exponent."""
    return size.numerator.bit_length() - size.denominator.bit_length() + 1 if size else 0
