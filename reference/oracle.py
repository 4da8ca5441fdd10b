"""Correctly rounded update, association, log-normalizer, lse and energy (clause MHN-PRC-4).

Every function encloses the true number by exact rational arithmetic (:mod:`hopspec.reference.row`), rounds
both ends of the enclosure, and raises the working precision until they round alike. It ends unless the true
number is a rounding boundary, and boundaries are rational. By the theorem of Lindemann and Weierstrass the
results are transcendental except in cases that an integer test finds, and which are rounded by integer
division:

* a component of the update, where its column has the same mean over every group of equal logits;
* association weights and the energy, where all logits are equal;
* log-normalizer and lse, where just one memory is kept.

A number that lies ``e**-1000000`` away from a boundary would still take a million bits. That happens when
only the memories of largest logit count. The limit is then rational, the side on which the true number lies
is known, and the enclosure is cut there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any

from hopspec.clauses import implements
from hopspec.reference.dyadic import exact_number, nested, pick
from hopspec.reference.exponential import exp_fixed, exps_fixed
from hopspec.reference.packing import prepare
from hopspec.reference.problem import Problem, read_problem
from hopspec.reference.row import Ratio, Row, View, Weighted, view_of
from hopspec.reference.target import Anchor, FormatGoal, Goal, Target, resolve
from hopspec.types import Exact

__all__ = ["association", "energy", "log_normalizer", "lse", "update"]


@implements("MHN-UPD-3", "MHN-UPD-4", "MHN-UPD-6", "MHN-PRC-4")
def update(
    query: Any,
    memory: Any,
    *,
    beta: Any,
    keep: Any = None,
    values: Any = None,
    steps: int = 1,
    to: Target = "float64",
) -> list[Any]:
    """The update of every query, each component rounded once (clauses MHN-UPD-3, MHN-UPD-4).

    Args:
        query: ``[d]`` or ``[L, d]``: nested sequences, NumPy, or anything with ``tolist()``.
        memory: ``[N, d]``, or what :func:`hopspec.reference.prepare` made of it.
        beta: any finite number.
        keep: None, or bools that broadcast to ``[L, N]``.
        values: None, or ``[N, dv]``, prepared or not; read out by the last step, the others use the memory.
        steps: how often to update; the state is rounded after every step (clause MHN-UPD-6).
        to: a format or its name for plain numbers, bits or a Precision for Exact leaves.

    Returns:
        ``[dv]`` or ``[L, dv]`` as nested lists. 0 in rows that see nothing (clause MHN-MSK-4), NaN in others
        whose query or kept memory is not finite (clauses MHN-NFI-1, MHN-NFI-2).

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, ``beta`` is not finite, ``steps`` is negative or 0 with values, or
            there is no format of that name.

    >>> update([1.0, 0.0], [[1.0, 0.0], [-1.0, 0.0]], beta=1.0)  # tanh(1)
    [0.7615941559557649, 0.0]
    >>> update([[1.0]], [[1.0], [-1.0]], beta=1.0, to="bfloat16")
    [[0.76171875]]
    >>> leaf = update([1.0], [[1.0], [-1.0]], beta=1.0, to=100)[0]
    >>> leaf.exact, bool(leaf.radius < 2**-100)
    (False, True)
    """
    if isinstance(steps, bool) or not isinstance(steps, int):
        raise TypeError(f"steps must be an int, got {type(steps).__name__}")
    if steps < 0 or (steps == 0 and values is not None):
        raise ValueError(f"steps must be at least {0 if values is None else 1}, got {steps}")
    if steps == 0:
        problem = read_problem(query, memory, beta=beta, keep=keep)
        return _given(nested(query), resolve(to, problem.memories))
    for _ in range(steps - 1):
        query = numbers(update(query, memory, beta=beta, keep=keep, to=to))
        memory = prepare(memory)
    problem = read_problem(query, memory, beta=beta, keep=keep, values=values)
    goal = resolve(to, problem.memories)
    rows = [update_row(problem, view, row, goal) for row, view in views(problem)]
    return rows[0] if problem.single else rows


@implements("MHN-UPD-2", "MHN-PRC-4")
def association(query: Any, memory: Any, *, beta: Any, keep: Any = None, to: Target = "float64") -> list[Any]:
    """The association of every query, each weight rounded once (clause MHN-UPD-2).

    Args:
        query: ``[d]`` or ``[L, d]``: nested sequences, NumPy, or anything with ``tolist()``.
        memory: ``[N, d]``, or what :func:`hopspec.reference.prepare` made of it.
        beta: any finite number.
        keep: None, or bools that broadcast to ``[L, N]``.
        to: a format or its name for plain numbers, bits or a Precision for Exact leaves.

    Returns:
        ``[N]`` or ``[L, N]`` as nested lists; 0 where masked, otherwise NaN in rows that see something not
        finite.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, ``beta`` is not finite, or there is no format of that name.

    >>> association([1.0], [[1.0], [0.0], [7.0]], beta=0, keep=[True, True, False])
    [0.5, 0.5, 0.0]
    """
    problem = read_problem(query, memory, beta=beta, keep=keep)
    goal = resolve(to, problem.memories)
    rows = []
    for row, view in views(problem):
        weights = [goal.rational(0)] * problem.memories
        if view.memory_finite and problem.query.finite[row]:
            found = _weights(Row(problem, view, row), goal) if view.kept else []
        else:
            found = [goal.undefined()] * len(view.kept)
        for i, weight in zip(view.kept, found, strict=False):
            weights[i] = weight
        rows.append(weights)
    return rows[0] if problem.single else rows


@implements("MHN-LSE-1", "MHN-PRC-4")
def log_normalizer(query: Any, memory: Any, *, beta: Any, keep: Any = None, to: Target = "float64") -> Any:
    """The log-normalizer of every query, rounded once (clause MHN-LSE-1): natural, not divided by beta.

    Args:
        query: ``[d]`` or ``[L, d]``: nested sequences, NumPy, or anything with ``tolist()``.
        memory: ``[N, d]``, or what :func:`hopspec.reference.prepare` made of it.
        beta: any finite number.
        keep: None, or bools that broadcast to ``[L, N]``.
        to: a format or its name for plain numbers, bits or a Precision for Exact leaves.

    Returns:
        One leaf for a query ``[d]``, else a list of L; ``-inf`` where nothing is kept.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, ``beta`` is not finite, or there is no format of that name.

    >>> log_normalizer([1.0], [[1.0], [1.0]], beta=0)
    0.6931471805599453
    """
    problem = read_problem(query, memory, beta=beta, keep=keep)
    return _scalars(problem, to, _log_normalizer, -1)


@implements("MHN-LSE-1", "MHN-PRC-4")
def lse(query: Any, memory: Any, *, beta: Any, keep: Any = None, to: Target = "float64") -> Any:
    """The log-normalizer over beta of every query, rounded once (clause MHN-LSE-1).

    Args:
        query: ``[d]`` or ``[L, d]``: nested sequences, NumPy, or anything with ``tolist()``.
        memory: ``[N, d]``, or what :func:`hopspec.reference.prepare` made of it.
        beta: any positive number.
        keep: None, or bools that broadcast to ``[L, N]``.
        to: a format or its name for plain numbers, bits or a Precision for Exact leaves.

    Returns:
        One leaf for a query ``[d]``, else a list of L; ``-inf`` where nothing is kept.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, ``beta`` is not positive and finite, or there is no format of that
            name.

    >>> lse([1.0], [[3.0]], beta=0.5)
    3.0
    """
    problem = read_problem(query, memory, beta=beta, keep=keep, positive_beta=True)
    return _scalars(problem, to, _lse, -1)


@implements("MHN-ENE-1", "MHN-PRC-4")
def energy(query: Any, memory: Any, *, beta: Any, keep: Any = None, to: Target = "float64") -> Any:
    """The energy of every query, rounded once (clause MHN-ENE-1); N and M are those of the kept memories.

    Args:
        query: ``[d]`` or ``[L, d]``: nested sequences, NumPy, or anything with ``tolist()``.
        memory: ``[N, d]``, or what :func:`hopspec.reference.prepare` made of it.
        beta: any positive number.
        keep: None, or bools that broadcast to ``[L, N]``.
        to: a format or its name for plain numbers, bits or a Precision for Exact leaves.

    Returns:
        One leaf for a query ``[d]``, else a list of L; ``+inf`` where nothing is kept.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, ``beta`` is not positive and finite, or there is no format of that
            name.

    >>> energy([[1.0], [3.0]], [[1.0], [1.0]], beta=2.0)
    [0.0, 2.0]
    """
    problem = read_problem(query, memory, beta=beta, keep=keep, positive_beta=True)
    return _scalars(problem, to, energy_row, 1)


def views(problem: Problem) -> Iterator[tuple[int, View]]:
    """Every query's number with its :class:`View`; queries with one keep mask share it."""
    known: dict[bytes, View] = {}
    for row in range(problem.queries):
        key = problem.keep[row].tobytes()
        if key not in known:
            known[key] = view_of(problem, row)
        yield row, known[key]


def numbers(leaves: list[Any]) -> list[Any]:
    """The nested list with every :class:`hopspec.Exact` replaced by its value."""
    return [
        numbers(leaf) if isinstance(leaf, list) else leaf.value if isinstance(leaf, Exact) else leaf
        for leaf in leaves
    ]


def update_row(problem: Problem, view: View, row: int, goal: Goal) -> list[Any]:
    """The update of query number ``row``."""
    if not view.kept:
        return [goal.rational(0)] * problem.values.width
    if not (problem.query.finite[row] and view.memory_finite):
        return [goal.undefined()] * problem.values.width
    answer = Row(problem, view, row)
    ladder = _Ladder(answer)
    start = 16 + len(view.kept).bit_length()
    first = goal.first_bits(start)
    limits = _Limits(answer)
    state = []
    for j, finite in enumerate(view.columns_finite):
        if not finite:
            state.append(goal.undefined())
            continue
        numerator, denominator, exponent, error = ratio = ladder.component(j, first)
        if not error:
            state.append(goal.rational(numerator, denominator, exponent))
            continue
        anchor = None
        if limits.within(j, ratio):
            total, count, away = limits.deviations(j)
            if not any(away):
                values = problem.values
                state.append(goal.rational(total, count * values.denominator, values.exponent))
                continue
            anchor = partial(_update_anchor, answer, total, count, [t for t, _ in limits.groups], away)
        state.append(goal.decide(partial(ladder.component, j), start, anchor))
    return state


def energy_row(row: Row, goal: Goal) -> Any:
    """The energy of one query."""
    if not row.below:
        numerator, denominator, exponent, _ = row.energy(row.weigh(0))
        return goal.rational(numerator, denominator, exponent)
    return goal.decide(_Ladder(row).of(row.energy), 24 + len(row.numerators).bit_length() + row.energy_bits())


def _given(query: list[Any], goal: Goal) -> list[Any]:
    """The query as it is, every entry rounded to the goal."""
    leaves: list[Any] = []
    for entry in query:
        if isinstance(entry, list):
            leaves.append(_given(entry, goal))
        elif (number := exact_number(entry, "query")) is not None:
            leaves.append(goal.rational(number.numerator, number.denominator, number.exponent))
        else:
            # Not finite: neither comparison holds for NaN.
            sign = (entry > 0) - (entry < 0)
            leaves.append(goal.infinite(sign) if sign else goal.undefined())
    return leaves


class _Ladder:
    """Weights and updates of one row at every working precision asked for, computed once each."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self._weights: dict[int, Weighted] = {}
        self._updates: dict[int, list[Ratio]] = {}

    def weights(self, bits: int) -> Weighted:
        if bits not in self._weights:
            self._weights[bits] = self.row.weigh(bits)
        return self._weights[bits]

    def component(self, j: int, bits: int) -> Ratio:
        if bits not in self._updates:
            self._updates[bits] = self.row.update(self.weights(bits))
        return self._updates[bits][j]

    def of(self, quantity: Callable[[Weighted], Ratio]) -> Callable[[int], Ratio]:
        return lambda bits: quantity(self.weights(bits))


class _Limits:
    """The one rational that a component of an update may be: the mean over the memories of largest logit.

    In the exact cases the component is the mean of every group of equal logits, and so of this one. An
    enclosure that does not contain that mean rules them out; so comparing all groups is seldom needed.
    """

    def __init__(self, row: Row) -> None:
        self.row = row
        self.best = [i for i, t in enumerate(row.numerators) if t == row.largest]
        rows = pick(row.view.kept, row.problem.values.rows)
        self.sums = [sum(entries) for entries in zip(*pick(self.best, rows), strict=True)]

    def within(self, j: int, ratio: Ratio) -> bool:
        """Whether an enclosure of component ``j`` contains its limit."""
        values, count = self.row.problem.values, len(self.best)
        numerator, denominator, _, error = ratio
        total = denominator // values.denominator  # as Row.update has it
        distance: int = abs(numerator * count - self.sums[j] * total)
        return distance <= error * count

    def deviations(self, j: int) -> tuple[int, int, list[int]]:
        """Sum and count of the first group's values, and how far every group's mean is from theirs.

        The groups are those of equal logits, largest first; differences of means are given times both counts.
        """
        column = self.row.view.columns[j]
        count, first = len(self.best), self.sums[j]
        away = [sum(pick(members, column)) * count - first * len(members) for _, members in self.groups]
        return first, count, away

    @cached_property
    def groups(self) -> list[tuple[int, list[int]]]:
        """Every distinct logit and the positions that have it, largest logit first."""
        return self.row.groups()


def _update_anchor(row: Row, total: int, count: int, logits: list[int], away: list[int]) -> Anchor:
    """The mean ``total / count`` of the memories of largest logit, and the side of it the update is on.

    That is the sign of ``sum_g away_g e**(t_g - t_1)``, where ``t_1`` is the largest logit of a group with
    ``away_g != 0``: the sum is not 0 by the theorem of Lindemann and Weierstrass.
    """
    problem = row.problem
    pairs = [(t, a) for t, a in zip(logits, away, strict=True) if a]
    differences = [t - pairs[0][0] for t, _ in pairs]
    error = sum(abs(a) for _, a in pairs[1:])
    bits = 64
    while True:
        weights = exps_fixed(differences, problem.logit_exponent, problem.logit_denominator, bits)
        signed = sum(weight * a for weight, (_, a) in zip(weights, pairs, strict=True))
        if abs(signed) > error:
            break
        bits *= 2
    values = problem.values
    return Anchor(total, count * values.denominator, values.exponent, 1 if signed > 0 else -1)


def _weights(row: Row, goal: Goal) -> list[Any]:
    """The association of one query over the memories it keeps."""
    problem = row.problem
    size = len(row.numerators)
    if not row.below:
        return [goal.rational(1, size)] * size
    ladder = _Ladder(row)
    leaves: dict[int, Any] = {}
    for t, members in row.groups():
        # The floor of minus the logit's distance from the largest one, and bits that make up for it.
        depth = _floor(row.largest - t, problem.logit_exponent, problem.logit_denominator)
        if isinstance(goal, FormatGoal) and goal.surely_zero(depth):
            leaves[t] = goal.rational(0)
            continue
        extra = 0 if goal.surely_zero(depth) else -(-depth * 3 // 2 // 64) * 64
        anchor = None if t != row.largest else partial(Anchor, 1, len(members), 0, -1)
        leaves[t] = goal.decide(partial(_weight, ladder, t, extra), 16 + size.bit_length(), anchor)
    return [leaves[t] for t in row.numerators]


def _weight(ladder: _Ladder, t: int, extra: int, bits: int) -> Ratio:
    """One weight: ``w / s`` lies within ``(2 + (W + 1) n 2**-bits) / S`` of ``W / S``.

    Here ``W`` is within 1 of ``w = 2**(bits + extra) e**(t - t_max)`` and ``S`` within ``n`` of ``s >=
    2**bits``, so that ``|W / S - w / s| <= 1 / S + (w / s) n / S`` with ``w / s <= (W + 1) 2**-bits``.
    """
    row = ladder.row
    problem = row.problem
    weighted = ladder.weights(bits)
    weight = exp_fixed(t - row.largest, problem.logit_exponent, problem.logit_denominator, bits + extra)
    return weight, weighted.total, -extra, 2 + ((weight + 1) * row.below >> bits)


def _floor(numerator: int, exponent: int, denominator: int) -> int:
    return (numerator << exponent if exponent >= 0 else numerator >> -exponent) // denominator


def _log_normalizer(row: Row, goal: Goal) -> Any:
    return _logarithm(row, goal, row.log_normalizer)


def _lse(row: Row, goal: Goal) -> Any:
    return _logarithm(row, goal, row.lse)


def _logarithm(row: Row, goal: Goal, quantity: Callable[[Weighted], Ratio]) -> Any:
    if len(row.numerators) == 1:
        numerator, denominator, exponent, _ = quantity(row.weigh(0))
        return goal.rational(numerator, denominator, exponent)

    def anchor() -> Anchor | None:
        # With one memory of largest logit the result exceeds what that memory alone would give.
        if row.below != len(row.numerators) - 1:
            return None
        numerator, denominator, exponent, _ = quantity(Weighted(0, [1], 1))
        return Anchor(numerator, denominator, exponent, 1)

    return goal.decide(_Ladder(row).of(quantity), 24 + len(row.numerators).bit_length(), anchor)


def _scalars(problem: Problem, to: Target, quantity: Callable[[Row, Goal], Any], empty: int) -> Any:
    goal = resolve(to, problem.memories)
    leaves = []
    for row, view in views(problem):
        if not view.kept:
            leaves.append(goal.infinite(empty))
        elif problem.query.finite[row] and view.memory_finite:
            leaves.append(quantity(Row(problem, view, row), goal))
        else:
            leaves.append(goal.undefined())
    return leaves[0] if problem.single else leaves
