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
exact. The last is taken as $\log(S 2^{-P}) - \log N$, with two integer logarithms, so it errs by at most
$(n + 2) 2^{-P} / \beta$, and by nothing where all logits are equal.

*Repeated memories.* Where a memory occurs several times, every sum above and $n$ take it as often. Its
weight is the same each time, so it is computed once and multiplied by the count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import compress
from operator import mul

from hopspec.reference.dyadic import pick
from hopspec.reference.exponential import exps_fixed, log_fixed
from hopspec.reference.packing import Packed
from hopspec.reference.problem import Problem

__all__ = ["Ratio", "Row", "View", "Weighted", "view_of"]

Ratio = tuple[int, int, int, int]
"""``(numerator, denominator, exponent, error)``: the true number times ``denominator * 2**-exponent`` lies in
``[numerator - error, numerator + error]``."""


@dataclass(frozen=True, eq=False)
class View:
    """What all queries with the same keep mask share. Each part is computed when it is first asked for.

    Args:
        problem: the problem.
        kept: indices of the memories seen.
    """

    problem: Problem
    kept: list[int]

    @cached_property
    def memory(self) -> Sequence[list[int]]:
        """The integer patterns of the memories seen."""
        return pick(self.kept, self.problem.memory.rows)

    @cached_property
    def columns(self) -> list[tuple[int, ...]]:
        """The integer columns of their values."""
        packed = self._whole(self.problem.packed_values)
        if packed:
            return packed.columns
        return list(zip(*pick(self.kept, self.problem.values.rows), strict=True)) if self.kept else []

    @cached_property
    def ranges(self) -> list[int]:
        """Largest minus least entry of each of those columns."""
        packed = self._whole(self.problem.packed_values)
        return packed.ranges if packed else [max(column) - min(column) for column in self.columns]

    @cached_property
    def largest_square(self) -> int:
        """``M**2`` as an integer."""
        packed = self._whole(self.problem.packed_memory)
        return packed.largest_square if packed else max((sum(map(mul, x, x)) for x in self.memory), default=0)

    @cached_property
    def memory_finite(self) -> bool:
        """Whether those memories are finite."""
        memory = self.problem.memory
        return not memory.undefined or all(map(memory.finite.__getitem__, self.kept))

    @cached_property
    def columns_finite(self) -> list[bool]:
        """For every column, whether those values are finite in it."""
        finite = [True] * self.problem.values.width
        seen = set(self.kept) if self.problem.values.undefined else ()
        for i, j in self.problem.values.undefined:
            finite[j] = finite[j] and i not in seen
        return finite

    def _whole(self, packed: Packed | None) -> Packed | None:
        return packed if packed is not None and len(self.kept) == self.problem.memories else None


@dataclass(frozen=True, slots=True)
class Weighted:
    """Integer weights of single memories at one working precision, and their sum over all memories."""

    bits: int
    integers: list[int]
    total: int


def view_of(problem: Problem, row: int) -> View:
    """The :class:`View` of query number ``row``."""
    return View(problem, problem.kept(row))


class Row:
    """One query that sees at least one memory, everything finite. Names as in the module's description.

    Where the problem holds packed matrices, they give the same products (:mod:`hopspec.reference.packing`).

    Attributes:
        numerators: the exact logits of the kept memories, as integers over the problem's logit denominator.
        largest: the largest of them.
        below: how many memories are less than that, repeated ones counted.
        counts: how often each kept memory occurs, None where all occur once.
        memories: how many memories are kept, repeated ones counted.
    """

    __slots__ = ("_known", "below", "counts", "largest", "memories", "numerators", "problem", "query", "view")

    def __init__(self, problem: Problem, view: View, row: int, counts: Sequence[int] | None = None) -> None:
        self.problem = problem
        self.view = view
        self.query = query = problem.query.rows[row]
        if problem.packed_memory is not None:
            scores = pick(view.kept, problem.packed_memory.times(query))
        else:
            scores = [sum(map(mul, pattern, query)) for pattern in view.memory]
        factor = problem.beta.numerator
        self.numerators = [factor * score for score in scores]
        self.largest = max(self.numerators)
        self.counts = None if counts is None else pick(view.kept, counts)
        if self.counts is None:
            self.memories = len(scores)
            self.below = len(scores) - self.numerators.count(self.largest)
        else:
            self.memories = sum(self.counts)
            less = (t < self.largest for t in self.numerators)
            self.below = sum(compress(self.counts, less))
        self._known: tuple[int, int, int] | None = None

    @property
    def query_square(self) -> int:
        """The squared length of the query, as an integer."""
        return sum(map(mul, self.query, self.query))

    @property
    def best_score(self) -> int:
        """The score of a memory of largest logit, as an integer."""
        best = self.view.memory[self.numerators.index(self.largest)]
        return sum(map(mul, best, self.query))

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
        """The integer weights of single memories with ``P = bits``, and the sum over all."""
        problem, largest = self.problem, self.largest
        differences = [t - largest for t in self.numerators]
        integers = exps_fixed(differences, problem.logit_exponent, problem.logit_denominator, bits)
        total = sum(integers) if self.counts is None else sum(map(mul, self.counts, integers))
        return Weighted(bits, integers, total)

    def update(self, weighted: Weighted) -> list[Ratio]:
        """Every component of the update."""
        values, integers = self.problem.values, weighted.integers
        active = [i for i, weight in enumerate(integers) if weight]
        weights = pick(active, integers)
        if self.counts is not None:
            weights = [*map(mul, pick(active, self.counts), weights)]
        if self.problem.packed_values is not None:
            sums = self.problem.packed_values.combine(weights, pick(active, self.view.kept))
        else:
            sums = [sum(map(mul, weights, pick(active, column))) for column in self.view.columns]
        denominator = weighted.total * values.denominator
        return [
            (total, denominator, values.exponent, self.below * span)
            for total, span in zip(sums, self.view.ranges, strict=True)
        ]

    def _logarithm(self, weighted: Weighted) -> int:
        """An integer within 1 of ``2**P log(S 2**-P)``; log-normalizer and energy share it."""
        total, bits = weighted.total, weighted.bits
        if self._known is None or self._known[:2] != (total, bits):
            self._known = total, bits, log_fixed(total, 1 << bits, bits)
        return self._known[2]

    def log_normalizer(self, weighted: Weighted) -> Ratio:
        """The log-normalizer."""
        bits, problem = weighted.bits, self.problem
        one = 1 << bits
        logarithm = self._logarithm(weighted)
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
            logarithm = self._logarithm(weighted) - _log_integer(self.memories, bits)
            error = self.below + 2
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


@lru_cache(maxsize=256)
def _log_integer(n: int, bits: int) -> int:
    return log_fixed(n, 1, bits)
