r"""One query against the memories it sees: exact logits, integer weights, enclosures as integer ratios.

With integer weights $|W_i - w_i| \le 1$, $w_i = 2^P e^{t_i - t_{max}}$, write $S = \sum W_i$, $s = \sum
w_i$, and let $n$ count the memories whose logit is below the maximum. A memory at the maximum has $W_i =
w_i = 2^P$, hence $S, s \ge 2^P$ and $|S - s| \le n$.

*Update.* With $c = \sum W_i x_{ij} / S$, $T = \sum w_i x_{ij} / s$ and $\sum w_i (x_{ij} - T) = 0$,

$$c - T = \frac1S \sum_i (W_i - w_i)(x_{ij} - T), \qquad |c - T| \le \frac{n D_j}{S},$$

where $D_j = \max_i x_{ij} - \min_i x_{ij}$ over the kept memories, because $T$ lies in their convex hull.

*Log-normalizer.* $|\log(S 2^{-P}) - \log(s 2^{-P})| \le |S - s| / \min(S, s) \le n 2^{-P}$, and the integer
logarithm errs by at most $2^{-P}$ more (not at all for one memory). The largest logit is exact.

*Energy.* $E = |\xi|^2/2 + M^2/2 - z_{max} - \beta^{-1} \log(s 2^{-P} / N)$: the first three terms are
exact, the last errs by at most $(n + 1) 2^{-P} / \beta$, and by nothing where all logits are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul

from hopspec.reference.exponential import exps_fixed, log_fixed
from hopspec.reference.problem import Problem, pick

__all__ = ["Ratio", "Row", "View", "Weighted", "view_of"]

Ratio = tuple[int, int, int, int]
"""``(numerator, denominator, exponent, error)``: the true number times ``denominator * 2**-exponent`` lies in
``[numerator - error, numerator + error]``."""


@dataclass(frozen=True, slots=True)
class View:
    """What all queries with the same keep mask share.

    Args:
        kept: indices of the memories seen.
        memory: their integer patterns.
        columns: the integer columns of their values.
        ranges: largest minus least entry of each column.
        largest_square: ``M**2`` as an integer.
        memory_finite: whether those memories are finite.
        columns_finite: for every column, whether those values are finite in it.
    """

    kept: list[int]
    memory: Sequence[list[int]]
    columns: list[tuple[int, ...]]
    ranges: list[int]
    largest_square: int
    memory_finite: bool
    columns_finite: list[bool]


@dataclass(frozen=True, slots=True)
class Weighted:
    """Integer weights at one working precision, and their sum."""

    bits: int
    integers: list[int]
    total: int


def view_of(problem: Problem, row: int) -> View:
    """The :class:`View` of query number ``row``."""
    kept = problem.kept(row)
    memory = pick(kept, problem.memory.rows)
    columns = list(zip(*pick(kept, problem.values.rows), strict=True)) if kept else []
    seen = set(kept)
    spoiled = {j for i, j in problem.values.undefined if i in seen}
    return View(
        kept=kept,
        memory=memory,
        columns=columns,
        ranges=[max(column) - min(column) for column in columns],
        largest_square=max((sum(map(mul, pattern, pattern)) for pattern in memory), default=0),
        memory_finite=all(map(problem.memory.finite.__getitem__, kept)),
        columns_finite=[j not in spoiled for j in range(problem.values.width)],
    )


class Row:
    """One query that sees at least one memory, everything finite. Names as in the module's description.

    Attributes:
        numerators: the exact logits of the kept memories, as integers over the problem's logit denominator.
        largest: the largest of them.
        below: how many are less than that.
    """

    __slots__ = ("below", "best_score", "largest", "numerators", "problem", "query_square", "view")

    def __init__(self, problem: Problem, view: View, row: int) -> None:
        self.problem = problem
        self.view = view
        query = problem.query.rows[row]
        scores = [sum(map(mul, pattern, query)) for pattern in view.memory]
        factor = problem.beta.numerator
        self.numerators = [factor * score for score in scores]
        self.largest = max(self.numerators)
        self.best_score = scores[self.numerators.index(self.largest)]
        self.query_square = sum(map(mul, query, query))
        self.below = len(scores) - self.numerators.count(self.largest)

    def groups(self) -> list[tuple[int, list[int]]]:
        """The distinct logits, largest first, each with the positions that have it."""
        members: dict[int, list[int]] = {}
        for position, t in enumerate(self.numerators):
            members.setdefault(t, []).append(position)
        return sorted(members.items(), reverse=True)

    def energy_bits(self) -> int:
        r"""Bits that make $2^{-bits} / \beta \le \max(|\xi|^2, M^2) / 2$; 0 where all vectors are 0."""
        problem, beta = self.problem, self.problem.beta
        squares = ((self.query_square, problem.query), (self.view.largest_square, problem.memory))
        known = [
            square.bit_length() - 1 + 2 * matrix.exponent - 2 * matrix.denominator.bit_length()
            for square, matrix in squares
            if square
        ]
        if not known:
            return 0
        beta_exponent = beta.numerator.bit_length() - 1 + beta.exponent - beta.denominator.bit_length()
        return max(0, 1 - beta_exponent - max(known))

    def weigh(self, bits: int) -> Weighted:
        """The integer weights with ``P = bits``."""
        problem, largest = self.problem, self.largest
        differences = [t - largest for t in self.numerators]
        integers = exps_fixed(differences, problem.logit_exponent, problem.logit_denominator, bits)
        return Weighted(bits, integers, sum(integers))

    def update(self, weighted: Weighted) -> list[Ratio]:
        """Every component of the update."""
        values, integers = self.problem.values, weighted.integers
        active = [i for i, weight in enumerate(integers) if weight]
        weights = pick(active, integers)
        denominator = weighted.total * values.denominator
        return [
            (sum(map(mul, weights, pick(active, column))), denominator, values.exponent, self.below * span)
            for column, span in zip(self.view.columns, self.view.ranges, strict=True)
        ]

    def log_normalizer(self, weighted: Weighted) -> Ratio:
        """The log-normalizer."""
        bits, problem = weighted.bits, self.problem
        one = 1 << bits
        logarithm = log_fixed(weighted.total, one, bits)
        error = 0 if weighted.total == one and not self.below else self.below + 1
        denominator = problem.logit_denominator
        exponent = min(problem.logit_exponent, -bits)
        unit = denominator << (-bits - exponent)
        numerator = (self.largest << (problem.logit_exponent - exponent)) + logarithm * unit
        return numerator, denominator, exponent, error * unit

    def lse(self, weighted: Weighted) -> Ratio:
        """The log-normalizer over beta, which must be positive."""
        beta = self.problem.beta
        numerator, denominator, exponent, error = self.log_normalizer(weighted)
        scale = beta.denominator
        return numerator * scale, denominator * beta.numerator, exponent - beta.exponent, error * scale

    def energy(self, weighted: Weighted) -> Ratio:
        """The energy; beta must be positive."""
        bits = weighted.bits
        logarithm, error = 0, 0
        if self.below:
            logarithm = log_fixed(weighted.total, len(self.numerators) << bits, bits)
            error = self.below + 1
        query, memory, beta = self.problem.query, self.problem.memory, self.problem.beta
        # 2 E = |xi|**2 + M**2 - 2 z_max - 2 logarithm 2**-bits / beta, over the denominator (dq dx)**2 beta.
        dq, dx = query.denominator, memory.denominator
        terms = [
            (self.query_square * dx * dx * beta.numerator, 2 * query.exponent),
            (self.view.largest_square * dq * dq * beta.numerator, 2 * memory.exponent),
            (-2 * self.best_score * dq * dx * beta.numerator, query.exponent + memory.exponent),
        ]
        last = -bits - beta.exponent
        exponent = min(last, *(e for _, e in terms))
        unit = (2 * beta.denominator * (dq * dx) ** 2) << (last - exponent)
        numerator = sum(m << (e - exponent) for m, e in terms) - logarithm * unit
        return numerator, 2 * (dq * dx) ** 2 * beta.numerator, exponent, error * unit
