"""Correctly rounded update, association, log-normalizer, lse and energy (clause MHN-PRC-4).

Every function encloses the true number by exact rational arithmetic (:mod:`hopspec.reference.row`), rounds both
ends of the enclosure, and raises the working precision until they round alike (Ziv's strategy). It ends unless
the true number is a rounding boundary, and boundaries are rational. By the theorem of Lindemann and Weierstrass
the results are transcendental but for cases that an integer test finds, and which are then rounded exactly:

* a component of the update, where the mean of its column over every group of equal logits is the same number;
* association weights and the energy, where all logits are equal;
* log-normalizer and lse, where just one memory is kept.

A true number that lies within ``e**-1000000`` of a boundary would still take a million bits. That happens when
all memories but those of largest logit hardly count; the limit is then a rational number, the side on which the
true number lies is known, and the enclosure is cut there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mpmath import MPContext

from hopspec.formats import Format, format_named
from hopspec.precision import Precision
from hopspec.reference.definitions import working_bits
from hopspec.reference.exponential import exps_fixed
from hopspec.reference.problem import Problem, read_problem
from hopspec.reference.rounding import round_bits, round_ratio
from hopspec.reference.row import Ratio, Row, View, Weighted, view_of
from hopspec.types import Exact

__all__ = ["Target", "association", "energy", "log_normalizer", "lse", "update"]

Target = str | Format | int | Precision
"""What to round to: the name of a format or a format gives plain numbers; bits or a :class:`Precision` give
:class:`hopspec.types.Exact` leaves."""

_CONTEXT = MPContext()


@dataclass(frozen=True, slots=True)
class _Anchor:
    """The rational ``numerator / denominator * 2**exponent`` and the side (1 or -1) of it the true number is on."""

    numerator: int
    denominator: int
    exponent: int
    side: int


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
    """The update of every query, each component rounded once (clauses MHN-UPD-3, MHN-UPD-4, MHN-MSK-4).

    Args:
        query: ``[d]`` or ``[L, d]``: nested sequences, NumPy, or anything with ``tolist()``.
        memory: ``[N, d]``.
        beta: any finite number.
        keep: None, or bools that broadcast to ``[L, N]``.
        values: None, or ``[N, dv]``; read out by the last step (the others use the memory).
        steps: how often to apply the update; every step is rounded (clause MHN-UPD-6).
        to: a format or its name for plain numbers, bits or a Precision for :class:`~hopspec.types.Exact` leaves.

    Returns:
        ``[dv]`` or ``[L, dv]`` as nested lists. NaN where the query or a kept memory is not finite.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, ``beta`` is not finite, ``steps < 1`` or ``to`` is unknown.

    >>> update([1.0, 0.0], [[1.0, 0.0], [-1.0, 0.0]], beta=1.0)
    [0.7615941559557649, 0.0]
    >>> update([1.0], [[1.0], [-1.0]], beta=1.0, to=30)[0].value
    mpf('0.76159415580332279')
    """
    if isinstance(steps, bool) or not isinstance(steps, int):
        raise TypeError(f"steps must be an int, got {type(steps).__name__}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    for _ in range(steps - 1):
        query = update(query, memory, beta=beta, keep=keep, to=to)
        if not isinstance(_goal_of(to, 1), Format):
            query = [leaf.value if isinstance(leaf, Exact) else [x.value for x in leaf] for leaf in query]
    problem = read_problem(query, memory, beta=beta, keep=keep, values=values)
    goal = _goal(problem, to)
    width = problem.values.width
    rows = []
    for row, view in _views(problem):
        if not view.kept:
            rows.append([goal.rational(0, 1)] * width)
        elif not (problem.query.finite[row] and view.memory_finite and view.values_finite):
            rows.append([goal.undefined()] * width)
        else:
            rows.append(_update_row(Row(problem, view, row), goal))
    return rows[0] if problem.single else rows


def association(
    query: Any, memory: Any, *, beta: Any, keep: Any = None, to: Target = "float64"
) -> list[Any]:
    """The association of every query, each weight rounded once (clause MHN-UPD-2).

    Args:
        query: ``[d]`` or ``[L, d]``: nested sequences, NumPy, or anything with ``tolist()``.
        memory: ``[N, d]``.
        beta: any finite number.
        keep: None, or bools that broadcast to ``[L, N]``.
        to: a format or its name for plain numbers, bits or a Precision for :class:`~hopspec.types.Exact` leaves.

    Returns:
        ``[N]`` or ``[L, N]`` as nested lists; 0 where masked, NaN in rows that see something not finite.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, ``beta`` is not finite or ``to`` is unknown.

    >>> association([1.0], [[1.0], [0.0], [7.0]], beta=0, keep=[True, True, False])
    [0.5, 0.5, 0.0]
    """
    problem = read_problem(query, memory, beta=beta, keep=keep)
    goal = _goal(problem, to)
    rows = []
    for row, view in _views(problem):
        weights = [goal.rational(0, 1)] * problem.memories
        if view.kept and not (problem.query.finite[row] and view.memory_finite):
            weights = [goal.undefined()] * problem.memories
        elif view.kept:
            found = _association_row(Row(problem, view, row), goal)
            for i, weight in zip(view.kept, found, strict=True):
                weights[i] = weight
        rows.append(weights)
    return rows[0] if problem.single else rows


def log_normalizer(query: Any, memory: Any, *, beta: Any, keep: Any = None, to: Target = "float64") -> Any:
    """The log-normalizer of every query, rounded once (clause MHN-LSE-1): natural, not divided by beta.

    Args:
        query: ``[d]`` or ``[L, d]``: nested sequences, NumPy, or anything with ``tolist()``.
        memory: ``[N, d]``.
        beta: any finite number.
        keep: None, or bools that broadcast to ``[L, N]``.
        to: a format or its name for plain numbers, bits or a Precision for :class:`~hopspec.types.Exact` leaves.

    Returns:
        One leaf for a query ``[d]``, else a list of ``L``; ``-inf`` where nothing is kept.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, ``beta`` is not finite or ``to`` is unknown.

    >>> log_normalizer([1.0], [[1.0], [1.0]], beta=0)
    0.6931471805599453
    """
    problem = read_problem(query, memory, beta=beta, keep=keep)
    return _scalars(problem, _goal(problem, to), _log_normalizer_row, empty=-1)


def lse(query: Any, memory: Any, *, beta: Any, keep: Any = None, to: Target = "float64") -> Any:
    """The log-normalizer over beta of every query, rounded once (clause MHN-LSE-1).

    Args:
        query: ``[d]`` or ``[L, d]``: nested sequences, NumPy, or anything with ``tolist()``.
        memory: ``[N, d]``.
        beta: any positive number.
        keep: None, or bools that broadcast to ``[L, N]``.
        to: a format or its name for plain numbers, bits or a Precision for :class:`~hopspec.types.Exact` leaves.

    Returns:
        One leaf for a query ``[d]``, else a list of ``L``; ``-inf`` where nothing is kept.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, ``beta`` is not positive and finite or ``to`` is unknown.

    >>> lse([1.0], [[3.0]], beta=0.5)
    3.0
    """
    problem = read_problem(query, memory, beta=beta, keep=keep, positive_beta=True)
    return _scalars(problem, _goal(problem, to), _lse_row, empty=-1)


def energy(query: Any, memory: Any, *, beta: Any, keep: Any = None, to: Target = "float64") -> Any:
    """The energy of every query, rounded once (clause MHN-ENE-1); N and M count the kept memories.

    Args:
        query: ``[d]`` or ``[L, d]``: nested sequences, NumPy, or anything with ``tolist()``.
        memory: ``[N, d]``.
        beta: any positive number.
        keep: None, or bools that broadcast to ``[L, N]``.
        to: a format or its name for plain numbers, bits or a Precision for :class:`~hopspec.types.Exact` leaves.

    Returns:
        One leaf for a query ``[d]``, else a list of ``L``; ``+inf`` where nothing is kept.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, ``beta`` is not positive and finite or ``to`` is unknown.

    >>> energy([[1.0], [3.0]], [[1.0], [1.0]], beta=2.0)
    [0.0, 2.0]
    """
    problem = read_problem(query, memory, beta=beta, keep=keep, positive_beta=True)
    return _scalars(problem, _goal(problem, to), _energy_row, empty=1)


class _FormatGoal:
    """Round to a format; ends once both ends of an enclosure round alike."""

    def __init__(self, fmt: Format) -> None:
        self.fmt = fmt
        self.bits = fmt.precision

    def rational(self, numerator: int, denominator: int, exponent: int = 0) -> Any:
        return round_ratio(numerator, denominator, self.fmt, exponent)

    def infinite(self, sign: int) -> Any:
        return round_ratio(sign, 1, self.fmt, self.fmt.emax + 2)

    def undefined(self) -> Any:
        infinity = self.infinite(1)
        return infinity - infinity

    def decide(self, ratios: Iterator[Ratio], anchor: Callable[[], _Anchor | None]) -> Any:
        for attempt, (numerator, denominator, exponent, error) in enumerate(ratios):
            low = round_ratio(numerator - error, denominator, self.fmt, exponent)
            high = round_ratio(numerator + error, denominator, self.fmt, exponent)
            if low == high:
                return low
            if attempt == 1 and (limit := anchor()) is not None:
                ratios = _cut(ratios, limit)
                # Nothing lies between the limit and a number this close to it, so rounding it is rounding
                # any number between the two.
                close = self._closest(limit)
        raise AssertionError("the sequence of enclosures never ends")


def _goal_of(to: Target, size: int) -> Any: ...
