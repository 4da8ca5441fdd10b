r"""Fixed points to any precision, certified (clauses MHN-FIX-4 and MHN-FIX-5).

*Leading there.* The query is iterated in real arithmetic, enclosed as in
:mod:`hopspec.reference.enclosed_trajectory`, until an iterate and its radius lie in a ball of clause
MHN-FIX-4. From there on the exact iteration converges to the one fixed point in that ball.

*Precision.* Steps $x \to x - A (x - T(x))$ of Newton's method with $A \approx (I - J)^{-1}$ from float64
gain about 40 bits each. The last state is certified by whichever clause gives the smaller ball. If that
ball lies in the first one, the two fixed points are the same.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

from hopspec.clauses import implements
from hopspec.precision import Precision
from hopspec.reference.certificate import Ball, banach_ball, smaller_ball
from hopspec.reference.context import working_bits
from hopspec.reference.directed import exact_leaf, root_above, scaled
from hopspec.reference.dyadic import Matrix
from hopspec.reference.enclosed_trajectory import COARSE, Enclosure, enclosed_steps
from hopspec.reference.linearization import Inverse, spectrum_at, step_at
from hopspec.reference.oracle import views
from hopspec.reference.problem import Problem, read_problem
from hopspec.reference.row import View
from hopspec.reference.target import BitsGoal
from hopspec.types import Proof

__all__ = ["FixedPoint", "fixed_point"]

# Working precision of the iteration, and how much wider than necessary a ball may be that it is to enter.
_ITERATION_BITS = 160
_ROOMS = (Fraction(2), Fraction(5, 4), Fraction(1))


class FixedPoint(NamedTuple):
    """A certified fixed point; for several queries every field is a list with an entry per query.

    Args:
        state: its components, ``[d]`` of :class:`hopspec.Exact`; NaN where none could be certified.
        certified: whether a fixed point within these radii is proved to exist.
        reached: whether the exact iteration from the query is proved to converge to it.
        attracts: whether it is proved to attract: all eigenvalues of its Jacobian are below 1.
        repels: whether it is proved to repel: an eigenvalue of its Jacobian is above 1.
    """

    state: list[Any]
    certified: Any
    reached: Any
    attracts: Any
    repels: Any


@implements("MHN-FIX-4", "MHN-FIX-5")
def fixed_point(
    query: Any,
    memory: Any,
    *,
    beta: Any,
    keep: Any = None,
    to: int | Precision = 128,
    max_steps: int = 1000,
) -> FixedPoint:
    """The fixed point that the iteration from the query leads to, enclosed (clauses MHN-FIX-4, MHN-FIX-5).

    Where the iteration is not proved to lead anywhere within ``max_steps`` updates, for example from a query
    near a saddle, the fixed point that Newton's method finds from its last state is returned, with
    ``reached`` False.

    Args:
        query: ``[d]`` or ``[L, d]``: nested sequences, NumPy, or anything with ``tolist()``; taken exactly.
        memory: ``[N, d]``.
        beta: any positive number.
        keep: None, or bools that broadcast to ``[L, N]``.
        to: bits b, or a Precision that gives them. Before the state is rounded to b bits its radius is at
            most ``2**-b`` times its largest component, or ``2**-2b`` times the largest entry of the memory.
        max_steps: the most updates to follow the iteration for, at least 0; 0 looks for a fixed point near
            the query itself.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, ``beta`` is not positive and finite, ``max_steps`` is negative, or
            fewer than 2 bits are asked for.

    >>> found = fixed_point([1.0], [[2.0], [-2.0]], beta=1.0, to=100)  # x = 2 tanh(2 x)
    >>> found.reached, found.attracts, bool(found.state[0].radius < 2**-98)
    (True, True, True)
    >>> float(found.state[0].value)
    1.9986513460302164
    >>> fixed_point([0.001], [[2.0], [-2.0]], beta=1.0, max_steps=0).repels
    True
    """
    if isinstance(max_steps, bool) or not isinstance(max_steps, int):
        raise TypeError(f"max_steps must be an int, got {type(max_steps).__name__}")
    if max_steps < 0:
        raise ValueError(f"max_steps must be at least 0, got {max_steps}")
    problem = read_problem(query, memory, beta=beta, keep=keep, positive_beta=True)
    bits = working_bits(to, max(1, problem.memories))
    results = [_row(problem, view, row, bits, max_steps) for row, view in views(problem)]
    if problem.single:
        return results[0]
    return FixedPoint(*([getattr(found, name) for found in results] for name in FixedPoint._fields))


def _row(problem: Problem, view: View, row: int, bits: int, max_steps: int) -> FixedPoint:
    width, goal = problem.query.width, BitsGoal(bits)
    if not view.kept:
        return FixedPoint([goal.rational(0)] * width, True, True, True, False)
    if problem.query.finite[row] and view.memory_finite:
        last, basin = _follow(problem, view, row, max_steps)
        scale = max(abs(entry) for pattern in view.memory for entry in (*pattern, 0))
        floor = scaled(Fraction(scale, problem.memory.denominator), problem.memory.exponent - 2 * bits)
        for working in (bits + 32, 2 * bits + 64):
            found = _refined(last, view, working)
            if found is None:
                continue
            local, ball = found
            state = [local.query.fraction(0, j) for j in range(width)]
            largest = max(map(abs, state), default=Fraction(0))
            if ball.radius <= max(scaled(largest, -bits), floor):
                reached = basin is not None and _inside(state, ball, last, basin)
                leaves = [exact_leaf(entry, ball.radius, bits) for entry in state]
                return FixedPoint(leaves, True, reached, ball.attracts, ball.repels)
    return FixedPoint([goal.undefined()] * width, False, False, False, False)


def _follow(problem: Problem, view: View, row: int, max_steps: int) -> tuple[Problem, Ball | None]:
    """The first iterate in a ball that the iteration cannot leave, and the ball; else the last iterate."""
    enclosure: Enclosure | None = None
    for enclosure in enclosed_steps(problem, view, row, _ITERATION_BITS, max_steps, spectra=True):
        if enclosure.spectrum is None:
            continue
        if not enclosure.step.length and not enclosure.radius:
            return enclosure.problem, Ball(Fraction(0), False, False, None, Proof.NONE)
        least = banach_ball(enclosure.problem, enclosure.step, enclosure.spectrum, enclosure.radius)
        if least is None:
            continue
        for room in _ROOMS:
            ball = banach_ball(enclosure.problem, enclosure.step, enclosure.spectrum, room * least.radius)
            if ball is not None:
                return enclosure.problem, ball
    assert enclosure is not None
    return enclosure.problem, None


def _inside(state: list[Fraction], ball: Ball, last: Problem, basin: Ball) -> bool:
    """Whether the ball about ``state`` lies in the basin, the ball about the query of ``last``."""
    away = sum((entry - last.query.fraction(0, j)) ** 2 for j, entry in enumerate(state))
    return root_above(Fraction(away)) + ball.radius <= basin.radius


def _refined(problem: Problem, view: View, bits: int) -> tuple[Problem, Ball] | None:
    """Newton's method from the only query of ``problem``, and the ball about where it ends."""
    inverse: Inverse | None = None
    rough = True
    previous: Fraction | None = None
    for _ in range(60 + bits // 16):
        step = step_at(problem, view, 0, bits)
        if rough:
            spectrum = spectrum_at(problem, view, step_at(problem, view, 0, COARSE))
            inverse = None if spectrum is None else spectrum.inverse()
        if inverse is None:
            return None
        # Once steps shrink fast the Jacobian is good enough; before that it must follow the state.
        rough = previous is None or step.length * (1 << 20) > previous
        if previous is not None and step.length * 2 > previous and step.length <= 2**20 * step.error:
            break
        previous = step.length
        change = inverse.apply(step.difference)
        problem = replace(problem, query=_moved(problem.query, change, step.fine, step.grid, problem.memory))
    problem = _snapped(problem, view, bits)
    step = step_at(problem, view, 0, bits + 16)
    ball = smaller_ball(problem, step, spectrum_at(problem, view, step_at(problem, view, 0, COARSE)))
    return None if ball is None else (problem, ball)


def _snapped(problem: Problem, view: View, bits: int) -> Problem:
    """The problem with the origin as state if it is a fixed point and the state is very near it.

    It is one for every memory symmetric about it, and Newton's method only comes ever nearer.
    """
    memory, query = problem.memory, problem.query
    largest = max((abs(entry).bit_length() for entry in query.rows[0]), default=0) + query.exponent
    scale = (
        max((abs(entry).bit_length() for row in view.memory for entry in row), default=0) + memory.exponent
    )
    if largest > scale - bits // 2:
        return problem
    origin = replace(problem, query=Matrix([[0] * query.width], 0, 1, query.width, [True]))
    return problem if step_at(origin, view, 0, bits).length else origin


def _moved(query: Matrix, change: list[int], fine: Fraction, grid: int, memory: Matrix) -> Matrix:
    """The state less the change, on the grid ``2**(memory.exponent - grid)``."""
    exponent = memory.exponent - grid
    rows = [round(scaled(query.fraction(0, j) - fine * entry, -exponent)) for j, entry in enumerate(change)]
    return Matrix([rows], exponent, 1, len(rows), [True])
