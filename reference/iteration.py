"""Iterates of the update, every step correctly rounded (clauses MHN-UPD-6 and MHN-SET-1 to MHN-SET-6).

The correctly rounded ``T(T(xi))`` is beyond present mathematics: nobody can prove that the second
exponentials do not hit a rounding boundary. What is computed here is the sequence ``xi_{k+1} =
round(T(xi_k))``, in which each step is the one the specification asks for.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from hopspec.clauses import implements
from hopspec.formats import DEFAULT_EPS, FLOAT32, Format
from hopspec.reference.dyadic import exact_matrix, exact_number
from hopspec.reference.oracle import energy_row, numbers, update, update_row, views
from hopspec.reference.packing import Packed, prepare
from hopspec.reference.problem import Problem, read_problem
from hopspec.reference.row import Row, View
from hopspec.reference.target import FormatGoal, Target, resolve, square_root
from hopspec.types import Settled, Status

__all__ = ["settle", "trajectory"]

"""Length of a step that ends the iteration where ``eps`` is not given, by name of the format."""


@implements("MHN-UPD-6")
def trajectory(
    query: Any, memory: Any, *, beta: Any, steps: int, keep: Any = None, to: Target = "float64"
) -> list[Any]:
    """The query and ``steps`` iterates, each rounded once from the one before (clause MHN-UPD-6).

    Args:
        query: ``[d]`` or ``[L, d]``: nested sequences, NumPy, or anything with ``tolist()``.
        memory: ``[N, d]``, or what :func:`hopspec.reference.prepare` made of it.
        beta: any finite number.
        steps: the number n of updates, at least 0.
        keep: None, or bools that broadcast to ``[L, N]``.
        to: a format or its name for plain numbers, bits or a Precision for Exact leaves.

    Returns:
        ``[n + 1, d]`` or ``[n + 1, L, d]`` as nested lists. The first state is the query rounded; the first
        update starts from the query as it is.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, ``beta`` is not finite or ``steps`` is negative.

    >>> trajectory([7.0], [[0.0], [2.0]], beta=0, steps=2)
    [[7.0], [1.0], [1.0]]
    """
    if isinstance(steps, bool) or not isinstance(steps, int):
        raise TypeError(f"steps must be an int, got {type(steps).__name__}")
    if steps < 0:
        raise ValueError(f"steps must be at least 0, got {steps}")
    states = [update(query, memory, beta=beta, keep=keep, steps=0, to=to)]
    for _ in range(steps):
        states.append(update(query, memory, beta=beta, keep=keep, to=to))
        query, memory = numbers(states[-1]), prepare(memory)
    return states


@implements("MHN-SET-1", "MHN-SET-2", "MHN-SET-3", "MHN-SET-5", "MHN-SET-6")
def settle(
    query: Any,
    memory: Any,
    *,
    beta: Any,
    keep: Any = None,
    eps: Any = None,
    max_steps: int = 1000,
    to: str | Format = "float64",
) -> Settled[Any]:
    """Update every query, rounding after each step, until it stops moving (clauses MHN-SET-1 to MHN-SET-6).

    A query stops after the first update whose residual, the Euclidean length of the step correctly rounded,
    is at most ``eps``. It stalls when a state comes back: from there on the rounded iteration repeats
    itself for ever. A row that sees nothing takes one step to 0, with residual 0 by convention (clause
    MHN-SET-6).

    Args:
        query: ``[d]`` or ``[L, d]``: nested sequences, NumPy, or anything with ``tolist()``.
        memory: ``[N, d]``, or what :func:`hopspec.reference.prepare` made of it.
        beta: any positive number.
        keep: None, or bools that broadcast to ``[L, N]``.
        eps: at least 0; None for :data:`hopspec.formats.DEFAULT_EPS` of the format, ``2**-(precision // 2)``
            for a format not in it.
        max_steps: the most updates to apply, at least 1.
        to: the format, or its name, that states are rounded to. Energies and residuals are rounded to it
            too, but to float32 where it is narrower (clause MHN-DOM-3).

    Returns:
        Lists: states ``[L, d]``, energies, residuals, steps and :class:`hopspec.Status` codes ``[L]``;
        without the L for a single query.

    Raises:
        TypeError: if an argument has the wrong type, or ``to`` is no format.
        ValueError: if shapes do not fit, ``beta`` is not positive and finite, ``eps`` is negative or not
            finite, or ``max_steps < 1``.

    >>> result = settle([[1.0], [-3.0]], [[2.0], [-2.0]], beta=1.0, eps=1e-3, to="float32")
    >>> result.state, result.steps, [Status(code).name for code in result.status]
    ([[1.998649001121521], [-1.998651385307312]], [3, 3], ['CONVERGED', 'CONVERGED'])
    """
    problem = read_problem(query, memory, beta=beta, keep=keep, positive_beta=True)
    goal = resolve(to, problem.memories)
    if not isinstance(goal, FormatGoal):
        raise TypeError(f"to must be a format or its name, got {to!r}")
    if isinstance(max_steps, bool) or not isinstance(max_steps, int):
        raise TypeError(f"max_steps must be an int, got {type(max_steps).__name__}")
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {max_steps}")
    if eps is None:
        eps = DEFAULT_EPS.get(goal.format.name, 2.0 ** -(goal.bits // 2))
    limit = exact_number(eps, "eps")
    if limit is None or limit.numerator < 0:
        raise ValueError(f"eps must be a finite number of at least 0, got {eps}")
    report = goal if goal.bits >= FLOAT32.precision else FormatGoal(FLOAT32)
    packed = Packed(problem.memory.rows, problem.memory.width)
    problem = replace(problem, packed_memory=packed, packed_values=packed)
    rows = [
        _settle_row(problem, view, row, limit.fraction(), max_steps, goal, report)
        for row, view in views(problem)
    ]
    if problem.single:
        return rows[0]
    return Settled(*([getattr(result, name) for result in rows] for name in Settled._fields))


def _settle_row(
    problem: Problem,
    view: View,
    row: int,
    limit: Fraction,
    max_steps: int,
    goal: FormatGoal,
    report: FormatGoal,
) -> Settled[Any]:
    if not view.kept:
        state = [goal.rational(0)] * problem.query.width
        return Settled(state, report.infinite(1), report.rational(0), 1, int(Status.CONVERGED))
    width = problem.query.width
    if not (problem.query.finite[row] and view.memory_finite):
        nan = report.undefined()
        return Settled([goal.undefined()] * width, nan, nan, 1, int(Status.NONFINITE))
    # From here on the problem has one query, which changes from step to step; the view does not depend on it.
    problem = replace(problem, query=replace(problem.query, rows=[problem.query.rows[row]], finite=[True]))
    seen: set[tuple[Any, ...]] = set()
    for steps in range(1, max_steps + 1):
        state = update_row(problem, view, 0, goal)
        moved, _ = exact_matrix([state], "state")
        if not moved.finite[0]:
            nan = report.undefined()
            return Settled(state, nan, nan, steps, int(Status.NONFINITE))
        square = sum((moved.fraction(0, j) - problem.query.fraction(0, j)) ** 2 for j in range(width))
        residual = square_root(Fraction(square), report)
        problem = replace(problem, query=moved)
        status = _status(residual, limit, tuple(state) in seen)
        if status in (Status.CONVERGED, Status.STALLED):
            break
        seen.add(tuple(state))
    energy = energy_row(Row(problem, view, 0), report)
    return Settled(state, energy, residual, steps, int(status))


def _status(residual: Any, limit: Fraction, repeated: bool) -> Status:
    number = exact_number(residual, "residual")
    if number is not None and number.fraction() <= limit:
        return Status.CONVERGED
    if repeated:
        return Status.STALLED
    return Status.MAX_STEPS if number is not None else Status.NONFINITE
