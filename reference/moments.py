r"""Covariances and weighted differences under the association: what every derivative of an update is made of.

With the weights $w_i = e^{t_i - t_{max}}$, $s = \sum_i w_i$, $p_i = w_i / s$, and rational $f_i, h_i, c, e$,
a *covariance* is

$$\mathrm{Cov}_p(f, h) = \sum_i p_i (f_i - \bar f)(h_i - \bar h)
  = \frac{1}{s^2} \sum_{i < l} w_i w_l (f_i - f_l)(h_i - h_l), \qquad \bar f = \sum_i p_i f_i ,$$

and a *weighted difference*

$$p_i \bigl(e + c\,(f_i - \bar f)\bigr) = \frac{w_i}{s^2} \sum_l w_l \bigl(e + c\,(f_i - f_l)\bigr) .$$

The right-hand sides are quotients of exponential sums, so :mod:`hopspec.reference.exponential_sum` rounds
them. What remains is to enclose them. Let $W_i$ be integers within 1 of $2^P w_i$, exact for the largest
logit, $n$ the number of memories below it, $S = \sum_i W_i$, and $D_f$ largest minus least $f_i$.
Subtracting a constant from $f$ changes nothing; that of a memory of largest logit is taken.

*Covariance.* Let $C$ be the true one, $\hat f = \sum_i W_i f_i / S$, and $\hat C = \sum_i W_i f_i h_i / S -
\hat f \hat h$. As $\sum_i w_i [(f_i - \bar f)(h_i - \bar h) - C] = 0$,

$$\hat C - C + (\hat f - \bar f)(\hat h - \bar h)
  = \frac1S \sum_i (W_i - 2^P w_i) \bigl[(f_i - \bar f)(h_i - \bar h) - C\bigr] .$$

The bracket is at most $\frac54 D_f D_h$ in size, because $|C| \le \frac14 D_f D_h$, and $|\hat f - \bar f|
\le n D_f / S$ as for an update. So $|\hat C - C| \le n D_f D_h (\frac54 S + n) / S^2$.

*Weighted difference.* Let $W'$ be an integer within 1 of $2^{P + q} w_i$, where $q$ makes up for a small
weight, and $U = \sum_l W_l (e + c (f_i - f_l))$. Then $U / S$ is within $n |c| D_f / S$ of the number it
stands for, and $W' / S$ within $\delta / S$ of $2^q p_i$, where $\delta = 2 + (W' + 1) n 2^{-P}$ as for a
weight. So $W' U / S^2$ is within $(W' n |c| D_f + (|U| + n |c| D_f)\, \delta) / S^2$ of $2^q$ times the
weighted difference.

*Small results.* Let all $f_i$ with $t_{max} - t_i < \tau_f$ be equal, to 0 after subtraction, and let there
be $N$ memories. Then $|\bar f| \le N D_f e^{-\tau_f}$, and each of the two terms of $\mathrm{Cov}_p(f, h) =
\sum_i p_i f_i h_i - \bar f \bar h$ is at most $N D_f D_h e^{-\max(\tau_f, \tau_h)}$.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import mul

from hopspec.reference.dyadic import pick
from hopspec.reference.exponential import exp_fixed
from hopspec.reference.exponential_sum import Expansion, Factor, Quotient, Rest, Sum, Term, Unit
from hopspec.reference.row import Ratio, Row

__all__ = ["Column", "Moments", "Number", "Path"]

Number = Term | Factor
"""A real number, rational where it is a :class:`Factor`."""


@dataclass(frozen=True, eq=False, slots=True)
class Column:
    """Rational numbers ``f_i``, one for each kept memory.

    Args:
        centred: as integers, less that of a memory of largest logit.
        unit: what these integers count.
        span: largest minus least of them.
        decay: all are 0 whose logit is below the largest by less than this integer.
    """

    centred: list[int]
    unit: Factor
    span: int
    decay: int


@dataclass(frozen=True, eq=False, slots=True)
class Path:
    """What weighted differences share: ``e`` is ``constant`` and ``c`` is ``slope`` times ``scale``."""

    column: Column
    constant: int
    slope: int
    scale: Factor


class Moments:
    """Moments of one query that sees at least one memory, everything finite; names as in the module's text.

    >>> from hopspec.reference.problem import read_problem
    >>> from hopspec.reference.row import view_of
    >>> problem = read_problem([0.0], [[3.0], [1.0]], beta=1)
    >>> moments = Moments(Row(problem, view_of(problem, 0), 0))
    >>> column = moments.column([3, 1], Factor(1, 1, 0))
    >>> moments.covariance(column, column, Factor(1, 1, 0))  # of two equally likely numbers
    Factor(numerator=4, denominator=4, exponent=0)
    """

    def __init__(self, row: Row) -> None:
        self.row = row
        self.size = len(row.numerators)
        self._unit = Unit(row.problem.logit_exponent, row.problem.logit_denominator)
        groups = row.groups()
        self._logits = [t for t, _ in groups]
        self._members = [positions for _, positions in groups]
        # How far each logit is below the largest, rounded down.
        self._depths = [0] * self.size
        for t, positions in groups:
            depth = _floor(row.largest - t, self._unit)
            for i in positions:
                self._depths[i] = depth
        self._rungs: dict[int, _Rung] = {}
        self._group_sums: dict[Column, list[int]] = {}
        self._squares: dict[int, Sum] = {}

    def column(self, entries: Sequence[int], unit: Factor) -> Column:
        """The column of some integers that count a unit."""
        constant = entries[self._members[0][0]]
        centred = [entry - constant for entry in entries]
        decay = min((depth for depth, entry in zip(self._depths, centred, strict=True) if entry), default=0)
        return Column(centred, unit, max(entries) - min(entries), decay)

    def covariance(self, first: Column, second: Column, factor: Factor) -> Number:
        """``factor`` times the covariance of two columns."""
        scale = factor.times(first.unit).times(second.unit)
        if not (first.span and second.span and scale.numerator):
            return Factor(0, 1, 0)
        if not self.row.below:
            f, h = first.centred, second.centred
            return scale.times(Factor(self.size * sum(map(mul, f, h)) - sum(f) * sum(h), self.size**2, 0))
        depth = max(first.decay, second.decay)
        bound = scale.times(Factor(2 * self.size * first.span * second.span, 1, 0))
        return Term(
            partial(self._enclose_covariance, first, second, scale),
            16 + self.size.bit_length() + _bits(depth),
            depth - bound.logarithm(),
            scale,
            Quotient(partial(self._expand_covariance, first, second), len(self._logits), self._unit),
        )

    def path(self, column: Column, e: Factor, c: Factor) -> Path:
        """Prepare weighted differences with these ``e`` and ``c``."""
        c = c.times(column.unit) if column.span else Factor(0, 1, e.exponent)
        exponent = min(e.exponent, c.exponent)
        return Path(
            column,
            (e.numerator << (e.exponent - exponent)) * c.denominator,
            (c.numerator << (c.exponent - exponent)) * e.denominator,
            Factor(1, e.denominator * c.denominator, exponent),
        )

    def difference(self, path: Path, i: int) -> Number:
        """The weighted difference of the memory at position ``i``."""
        column, slope, scale = path.column, path.slope, path.scale
        constant = path.constant + slope * column.centred[i]
        if not (constant or slope):
            return Factor(0, 1, 0)
        if not self.row.below:
            mean = Factor(self.size * constant - slope * sum(column.centred), self.size**2, 0)
            return scale.times(mean)
        decay = 0 if constant else column.decay
        bound = Factor(
            abs(constant) + self.size * abs(slope) * column.span, scale.denominator, scale.exponent
        )
        return Term(
            partial(self._enclose_difference, path, i, constant),
            16 + self.size.bit_length() + _bits(decay),
            self._depths[i] + decay - bound.logarithm(),
            scale,
            Quotient(partial(self._expand_difference, path, i, constant), len(self._logits), self._unit),
        )

    def _rung(self, bits: int) -> _Rung:
        if bits not in self._rungs:
            self._rungs[bits] = _Rung(self.row, bits)
        return self._rungs[bits]

    def _enclose_covariance(self, first: Column, second: Column, scale: Factor, bits: int) -> Ratio:
        rung = self._rung(bits)
        total, below = rung.total, self.row.below
        covariance = total * rung.product_sum(first, second)
        covariance -= rung.products(first)[1] * rung.products(second)[1]
        error = below * first.span * second.span * (5 * total // 4 + 1 + below)
        factor = scale.numerator
        return factor * covariance, scale.denominator * rung.square, scale.exponent, abs(factor) * error

    def _enclose_difference(self, path: Path, i: int, constant: int, bits: int) -> Ratio:
        rung, below, scale = self._rung(bits), self.row.below, path.scale
        mean = constant * rung.total - path.slope * rung.products(path.column)[1]
        extra = _bits(self._depths[i])
        weight = rung.weight(self.row.numerators[i], extra, self._unit)
        away = below * abs(path.slope) * path.column.span
        error = weight * away + (abs(mean) + away) * (2 + ((weight + 1) * below >> bits))
        return weight * mean, scale.denominator * rung.square, scale.exponent - extra, error

    def _sums(self, column: Column) -> list[int]:
        found = self._group_sums.get(column)
        if found is None:
            found = self._group_sums[column] = [sum(pick(p, column.centred)) for p in self._members]
        return found

    def _floor(self, m: int) -> int | None:
        """What the sum of two logits exceeds only if both are among the ``m`` largest; None for all."""
        return None if m == len(self._logits) else self._logits[0] + self._logits[m]

    def _pairs(self, m: int) -> Iterator[tuple[int, int, int]]:
        """Every pair of groups whose sum of logits is above the floor, and that sum."""
        floor = self._floor(m)
        for a in range(m):
            for b in range(a, m):
                exponent = self._logits[a] + self._logits[b]
                if floor is not None and exponent <= floor:
                    break
                yield a, b, exponent

    def _square(self, m: int) -> Sum:
        """The terms above the floor of the square of the sum of all exponentials."""
        if m not in self._squares:
            counts = [len(positions) for positions in self._members]
            terms = Counter[int]()
            for a, b, exponent in self._pairs(m):
                terms[exponent] += counts[a] * counts[b] * (1 if a == b else 2)
            self._squares[m] = dict(terms)
        return self._squares[m]

    def _expand_covariance(self, first: Column, second: Column, m: int) -> Expansion:
        n = [len(positions) for positions in self._members]
        f, h = self._sums(first), self._sums(second)
        q = [sum(map(mul, pick(p, first.centred), pick(p, second.centred))) for p in self._members]
        terms = Counter[int]()
        for a, b, exponent in self._pairs(m):
            terms[exponent] += n[a] * q[b] - f[a] * h[b]
            if a != b:
                terms[exponent] += n[b] * q[a] - f[b] * h[a]
        floor, rest = self._floor(m), None
        if floor is not None:
            products = sum(abs(x * y) for x, y in zip(first.centred, second.centred, strict=True))
            sizes = sum(map(abs, first.centred)) * sum(map(abs, second.centred))
            rest = Rest(floor, self.size * products + sizes, self.size**2)
        return Expansion(dict(terms), self._square(m), rest)

    def _expand_difference(self, path: Path, i: int, constant: int, m: int) -> Expansion:
        floor, own, rest = self._floor(m), self.row.numerators[i], None
        terms: Sum = {}
        for t, total, positions in zip(self._logits, self._sums(path.column), self._members, strict=True):
            if floor is None or own + t > floor:
                terms[own + t] = len(positions) * constant - path.slope * total
        if floor is not None:
            bound = self.size * abs(constant) + abs(path.slope) * sum(map(abs, path.column.centred))
            rest = Rest(floor, bound, self.size**2)
        return Expansion(terms, self._square(m), rest)


class _Rung:
    """One working precision: the integer weights, and the sums over them, computed once each."""

    def __init__(self, row: Row, bits: int) -> None:
        weighted = row.weigh(bits)
        self.bits = bits
        self.largest = row.largest
        self.total = weighted.total
        self.square = self.total * self.total
        self.active = [i for i, weight in enumerate(weighted.integers) if weight]
        self.weights = pick(self.active, weighted.integers)
        self._products: dict[Column, tuple[list[int], int]] = {}
        self._precise: dict[tuple[int, int], int] = {}

    def products(self, column: Column) -> tuple[list[int], int]:
        """``W_i f_i`` of the weights that are not 0, and their sum."""
        found = self._products.get(column)
        if found is None:
            products = list(map(mul, self.weights, pick(self.active, column.centred)))
            found = self._products[column] = products, sum(products)
        return found

    def product_sum(self, first: Column, second: Column) -> int:
        """The sum of all ``W_i f_i h_i``."""
        return sum(map(mul, self.products(first)[0], pick(self.active, second.centred)))

    def weight(self, logit: int, extra: int, unit: Unit) -> int:
        """The weight of a logit with that many more bits."""
        found = self._precise.get((logit, extra))
        if found is None:
            found = exp_fixed(logit - self.largest, unit.exponent, unit.denominator, self.bits + extra)
            self._precise[logit, extra] = found
        return found


def _bits(depth: int) -> int:
    # At least depth / log(2), and few distinct values, so that few sets of weights are needed.
    return -(-depth * 3 // 2 // 64) * 64


def _floor(numerator: int, unit: Unit) -> int:
    exponent = unit.exponent
    return (numerator << exponent if exponent >= 0 else numerator >> -exponent) // unit.denominator
