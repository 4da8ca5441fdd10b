r"""Correctly rounded Jacobian and gradients of one update (clauses MHN-UPD-5, MHN-GRD-1 and MHN-PRC-5).

With $b_i = \langle g, v_i \rangle$ and the scores $s_i$ they are covariances and weighted differences under
the association (:mod:`hopspec.reference.moments`):

$$J_{jk} = \beta\, \mathrm{Cov}_p(x_{\cdot j}, x_{\cdot k}), \qquad
\bar\xi_k = \beta\, \mathrm{Cov}_p(b, x_{\cdot k}), \qquad \bar\beta = \mathrm{Cov}_p(b, s),$$

$$\bar x_{ij} = p_i \cdot \beta \xi_j (b_i - \bar b), \qquad \bar v_{ij} = p_i\, g_j,$$

and the sum of the last two where the memory is its own value.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import mul
from typing import Any

from hopspec.clauses import implements
from hopspec.reference.definitions import Gradients
from hopspec.reference.dyadic import Matrix, exact_matrix
from hopspec.reference.exponential_sum import Factor, decide
from hopspec.reference.moments import Column, Moments, Number
from hopspec.reference.oracle import views
from hopspec.reference.problem import Problem, read_problem
from hopspec.reference.row import Row, View
from hopspec.reference.target import Goal, Target, resolve

__all__ = ["Gradients", "gradients", "jacobian", "read_cotangent"]


@implements("MHN-UPD-5", "MHN-PRC-5")
def jacobian(query: Any, memory: Any, *, beta: Any, keep: Any = None, to: Target = "float64") -> list[Any]:
    r"""The Jacobian of the update at every query, each component rounded once (clause MHN-UPD-5).

    Formula: $J = \beta \sum_i p_i (x_i - o)(x_i - o)^T$, $o = T(\xi)$.

    Args:
        query: ``[d]`` or ``[L, d]``: nested sequences, NumPy, or anything with ``tolist()``.
        memory: ``[N, d]``.
        beta: any finite number.
        keep: None, or bools that broadcast to ``[L, N]``.
        to: a format or its name for plain numbers, bits or a Precision for Exact leaves.

    Returns:
        ``[d, d]`` or ``[L, d, d]`` as nested lists, symmetric. 0 in rows that see nothing, NaN in others
        whose query or kept memory is not finite.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, ``beta`` is not finite, or there is no format of that name.

    >>> jacobian([0.0, 0.0], [[1.0, 1.0], [-1.0, 1.0]], beta=2.0)
    [[2.0, 0.0], [0.0, 0.0]]
    >>> jacobian([1.0], [[1.0], [-1.0]], beta=1.0)  # 1 - tanh(1)**2
    [[0.4199743416140261]]
    """
    problem = read_problem(query, memory, beta=beta, keep=keep)
    goal = resolve(to, problem.memories)
    found = [_jacobian_row(problem, view, row, goal) for row, view in views(problem)]
    return found[0] if problem.single else found


@implements("MHN-GRD-1", "MHN-PRC-5")
def gradients(
    query: Any,
    memory: Any,
    cotangent: Any,
    *,
    beta: Any,
    values: Any = None,
    keep: Any = None,
    to: Target = "float64",
) -> Gradients:
    r"""Gradients of $\sum \langle g, o \rangle$ over the queries, each rounded once (clause MHN-GRD-1).

    Those with respect to memory, values and beta are sums over the queries, and a sum is rounded once.
    Components that concern one query are correctly rounded. So are sums of several, but for those that are
    equal to, or indistinguishably close to, the only rational number they can be, and have too many terms to
    tell which (:func:`hopspec.reference.exponential_sum.decide`): they are undecided.

    Args:
        query: ``[d]`` or ``[L, d]``: nested sequences, NumPy, or anything with ``tolist()``.
        memory: ``[N, d]``.
        cotangent: g for every query, ``[d]`` or ``[L, d]``; of the width of the values where given.
        beta: any finite number.
        values: None, or ``[N, dv]``.
        keep: None, or bools that broadcast to ``[L, N]``.
        to: a format or its name for plain numbers, bits or a Precision for Exact leaves.

    Returns:
        :class:`Gradients` as nested lists, shaped like query, memory and values; one leaf for beta. Without
        values the memory has both paths, and ``values`` is None. Masked memories and rows that see nothing
        contribute 0. A row that sees anything not finite, its cotangent included, makes NaN of all it
        contributes to: its query, the memories and values it keeps, and beta.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, ``beta`` is not finite, or there is no format of that name.
        ArithmeticError: if ``to`` is a format and a sum over queries is undecided; with bits in place of the
            format it is enclosed.

    >>> found = gradients([1.0], [[1.0], [-1.0]], [1.0], beta=1.0)
    >>> found.query, found.beta  # both 1 - tanh(1)**2
    ([0.4199743416140261], 0.4199743416140261)
    >>> gradients([0.0], [[2.0], [0.0]], [3.0], beta=1.0, values=[[1.0], [1.0]]).values
    [[1.5], [1.5]]
    """
    problem = read_problem(query, memory, beta=beta, keep=keep, values=values)
    goal = resolve(to, problem.memories)
    given = read_cotangent(problem, cotangent)
    shared = _Shared(problem, values is None)
    by_query = []
    for row, view in views(problem):
        if not view.kept:
            by_query.append([goal.rational(0)] * problem.query.width)
        elif (
            problem.query.finite[row]
            and given.finite[row]
            and view.memory_finite
            and all(view.columns_finite)
        ):
            answer = _Gradient(problem, view, row, given)
            by_query.append([decide(goal, [number]) for number in answer.by_query()])
            shared.add(view, answer)
        else:
            by_query.append([goal.undefined()] * problem.query.width)
            shared.spoil(view)
    return Gradients(
        by_query[0] if problem.single else by_query,
        shared.leaves(goal, shared.memory),
        shared.leaves(goal, shared.values) if values is not None else None,
        shared.leaves(goal, [[shared.beta]])[0][0],
    )


def read_cotangent(problem: Problem, cotangent: Any) -> Matrix:
    """The cotangents of a problem, exactly: ``[dv]`` or ``[L, dv]`` as the query has it.

    Raises:
        TypeError: if an entry is no real number.
        ValueError: if the shape is another one.
    """
    found, single = exact_matrix(cotangent, "cotangent", width=problem.values.width)
    shape = [len(found.rows), found.width]
    expected = [problem.queries, problem.values.width]
    if single != problem.single or shape != expected:
        raise ValueError(
            f"cotangent must have shape {expected[1:] if problem.single else expected}, got "
            f"{shape[1:] if single else shape}"
        )
    return found


def _jacobian_row(problem: Problem, view: View, row: int, goal: Goal) -> list[list[Any]]:
    width = problem.query.width
    if not view.kept:
        return [[goal.rational(0)] * width for _ in range(width)]
    if not (problem.query.finite[row] and view.memory_finite):
        return [[goal.undefined()] * width for _ in range(width)]
    moments = Moments(Row(problem, view, row))
    columns = _memory_columns(problem, view, moments)
    result: list[list[Any]] = [[None] * width for _ in range(width)]
    for j, first in enumerate(columns):
        for k in range(j, width):
            component = decide(goal, [moments.covariance(first, columns[k], _beta(problem))])
            result[j][k] = result[k][j] = component
    return result


def _memory_columns(problem: Problem, view: View, moments: Moments) -> list[Column]:
    unit = Factor(1, problem.memory.denominator, problem.memory.exponent)
    return [moments.column(entries, unit) for entries in zip(*view.memory, strict=True)]


def _beta(problem: Problem) -> Factor:
    beta = problem.beta
    return Factor(beta.numerator, beta.denominator, beta.exponent)


class _Gradient:
    """What one query that sees something contributes; ``b`` and the other names as in the module's text."""

    def __init__(self, problem: Problem, view: View, row: int, given: Matrix) -> None:
        self.problem = problem
        self.view = view
        self.query = problem.query.rows[row]
        self.cotangent = [Factor(entry, given.denominator, given.exponent) for entry in given.rows[row]]
        self.moments = Moments(Row(problem, view, row))
        values = problem.values
        unit = Factor(1, values.denominator * given.denominator, values.exponent + given.exponent)
        along = [0] * len(view.kept)
        for column, entry in zip(view.columns, given.rows[row], strict=True):
            along = [b + v * entry for b, v in zip(along, column, strict=True)]
        self.b = self.moments.column(along, unit)

    def by_query(self) -> list[Number]:
        columns = _memory_columns(self.problem, self.view, self.moments)
        return [self.moments.covariance(self.b, column, _beta(self.problem)) for column in columns]

    def by_beta(self) -> Number:
        problem = self.problem
        scores = [sum(map(mul, pattern, self.query)) for pattern in self.view.memory]
        unit = Factor(1, problem.score_denominator, problem.score_exponent)
        return self.moments.covariance(self.b, self.moments.column(scores, unit), Factor(1, 1, 0))

    def by_memory(self, value_path: bool) -> list[list[Number]]:
        """``[kept, d]``, with the value path or without."""
        query, beta = self.problem.query, _beta(self.problem)
        slopes = [beta.times(Factor(entry, query.denominator, query.exponent)) for entry in self.query]
        return self._differences(self.cotangent if value_path else [Factor(0, 1, 0)] * len(slopes), slopes)

    def by_values(self) -> list[list[Number]]:
        """``[kept, dv]``."""
        return self._differences(self.cotangent, [Factor(0, 1, 0)] * len(self.cotangent))

    def _differences(self, constants: Sequence[Factor], slopes: Sequence[Factor]) -> list[list[Number]]:
        paths = [self.moments.path(self.b, e, c) for e, c in zip(constants, slopes, strict=True)]
        return [[self.moments.difference(path, i) for path in paths] for i in range(len(self.view.kept))]


Contributions = list[Number] | None
"""What the queries contribute to one number; None once one of them has made it undefined."""


class _Shared:
    """The gradients that queries share."""

    def __init__(self, problem: Problem, value_path: bool) -> None:
        self.value_path = value_path
        self.beta: Contributions = []
        self.memory = _nothing(problem.memories, problem.memory.width)
        self.values = _nothing(problem.memories, 0 if value_path else problem.values.width)

    def spoil(self, view: View) -> None:
        """Make everything the query contributes to undefined."""
        self.beta = None
        for matrix in (self.memory, self.values):
            for i in view.kept:
                matrix[i] = [None] * len(matrix[i])

    def add(self, view: View, answer: _Gradient) -> None:
        """Add what one query contributes."""
        if self.beta is not None:
            self.beta.append(answer.by_beta())
        _add(self.memory, view, answer.by_memory(self.value_path))
        if not self.value_path:
            _add(self.values, view, answer.by_values())

    def leaves(self, goal: Goal, matrix: list[list[Contributions]]) -> list[list[Any]]:
        """The sums, rounded."""
        return [[goal.undefined() if part is None else decide(goal, part) for part in row] for row in matrix]


def _nothing(rows: int, width: int) -> list[list[Contributions]]:
    return [[[] for _ in range(width)] for _ in range(rows)]


def _add(matrix: list[list[Contributions]], view: View, numbers: list[list[Number]]) -> None:
    for i, row in zip(view.kept, numbers, strict=True):
        for part, number in zip(matrix[i], row, strict=True):
            if part is not None:
                part.append(number)
