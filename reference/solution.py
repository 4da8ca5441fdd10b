"""What a verdict needs to know about a problem, enclosed in double-double numbers.

The enclosures and their proof are those of :mod:`hopspec.reference.row`: exact rational arithmetic up to
the last step, the conversion to a double-double, whose error is computed exactly and added to the radius,
rounded up.

Size of the radius: the working precision is at least ``128 + log2 N``, and more by ``log2(1 / (beta m))``,
``m = max(|xi|**2, M**2) / 2``, where that and ``beta`` are positive. So before conversion it is at most
``2**-128`` times the column range (update), ``2**-127`` (log-normalizer) and ``2**-127 m`` (energy). The
conversion adds at most ``2**-105`` of the result, and the least positive float64 near underflow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import mul
from typing import Any

import numpy as np
import numpy.typing as npt

from hopspec.formats import FLOAT64
from hopspec.reference.dyadic import BoolArray, Matrix
from hopspec.reference.problem import Problem, read_problem
from hopspec.reference.rounding import round_ratio
from hopspec.reference.row import Row, View, Weighted, view_of
from hopspec.types import Exact

__all__ = ["Enclosed", "Solution", "magnitudes", "solve"]

FloatArray = npt.NDArray[np.float64]

# A double-double (value, correction, radius).
Triple = tuple[float, float, float]

# Up to this many products integers are as fast as conversion to arrays (measured).
_FEW = 512

_NAN: Triple = (math.nan, 0.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Enclosed:
    """Real numbers known to a proved radius: each lies within ``radius`` of ``hi + lo``.

    Where the number rounds to an infinite float64, ``hi`` is that infinity; where it is undefined (a
    non-finite input, clauses MHN-NFI-1 and MHN-NFI-2), ``hi`` is NaN. There ``lo`` and ``radius`` are 0.

    Args:
        hi: the nearest float64 to the centre.
        lo: the rest of the centre, ``|lo| <= ulp(hi) / 2``.
        radius: a proved bound, 0 where the centre is exact.
        exactly: computes the same numbers, in order, to a number of bits; None where nothing can.
    """

    hi: FloatArray
    lo: FloatArray
    radius: FloatArray
    exactly: Callable[[int], list[Exact]] | None = None

    def rows(self, which: npt.NDArray[np.intp]) -> Enclosed:
        """The numbers of some rows, in any order, repeats included.

        Args:
            which: indices of rows, ``[K]``.

        >>> state = solve([[1.0], [2.0]], [[2.0], [4.0]], beta=0).state
        >>> state.rows(np.array([1, 0, 1])).hi.shape
        (3, 1)
        """
        exactly, order = self.exactly, np.arange(self.hi.size).reshape(self.hi.shape)[which].ravel()

        def chosen(bits: int) -> list[Exact]:
            assert exactly is not None
            leaves = exactly(bits)
            return [leaves[i] for i in order]

        return Enclosed(
            self.hi[which], self.lo[which], self.radius[which], None if exactly is None else chosen
        )

    def error(self, actual: Any) -> tuple[FloatArray, FloatArray]:
        """The distance of ``actual`` from the true numbers, as ``(error, slack)``.

        The true distance lies in ``[error - slack, error + slack]``. The difference ``actual - hi`` is
        split exactly into a sum of two floats, so only the two additions after it round, each by at most
        ``2**-53`` of its result; ``slack`` is the radius plus twice that.

        Args:
            actual: numbers of the shape of ``hi``, any real dtype.

        Returns:
            Two float64 arrays. The error is infinite, and the slack 0, where ``actual`` is NaN but the true
            number is defined, where just one of the two is infinite, and where their difference overflows;
            it is 0 for equal infinities, and where both are NaN.

        Raises:
            ValueError: if the shape is another one.

        >>> solve([1.0], [[2.0], [4.0]], beta=0).state.error([[3.5]])
        (array([[0.5]]), array([[0.]]))
        """
        values = np.asarray(actual, dtype=np.float64)
        if values.shape != self.hi.shape:
            raise ValueError(f"actual must have shape {list(self.hi.shape)}, got {list(values.shape)}")
        with np.errstate(all="ignore"):
            head = values - self.hi
            virtual = head - values
            tail = (values - (head - virtual)) - (self.hi + virtual)
            small = tail - self.lo
            error = np.abs(head + small)
            rounding = 2.0**-52 * (error + np.abs(small))
            inexact = (tail != 0) | (self.lo != 0)
            slack = self.radius + np.where(inexact, rounding, 0.0)
            # Rounding up what the sum above may have rounded down; 0 stays 0.
            slack = slack * (1 + 2.0**-50)
        undefined = ~np.isfinite(error)
        same = (values == self.hi) | (np.isnan(values) & np.isnan(self.hi))
        return np.where(same & undefined, 0.0, np.where(undefined, np.inf, error)), np.where(
            undefined, 0.0, slack
        )


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """The exact answer to one problem, as :func:`solve` returns it.

    Args:
        kept: ``[L, N]``, which memories each query sees.
        logits: ``[L, N]``, the float64 nearest to the exact ``beta <x_i, xi>``; ``-inf`` where masked, NaN
            where the query or the memory is not finite.
        weights: ``[L, N]``, the association to relative accuracy ``2**-40`` (absolute ``2**-1074`` below
            ``2**-1022``); 0 where masked.
        magnitudes: ``[L, N]``, ``sum_j |x_ij xi_j|`` to relative accuracy ``(d + 2) 2**-53``; 0 where masked.
        state: ``[L, dv]``, the update (clause MHN-UPD-3), read out of the values where given (MHN-UPD-4).
        log_normalizer: ``[L]`` (clause MHN-LSE-1).
        energy: ``[L]`` (clause MHN-ENE-1), None where ``beta <= 0``.
    """

    kept: BoolArray
    logits: FloatArray
    weights: FloatArray
    magnitudes: FloatArray
    state: Enclosed
    log_normalizer: Enclosed
    energy: Enclosed | None


def solve(
    query: Any,
    memory: Any,
    *,
    beta: Any,
    keep: Any = None,
    values: Any = None,
    counts: Sequence[int] | None = None,
) -> Solution:
    """Enclose update, log-normalizer and energy of every query (clauses MHN-UPD-3, MHN-LSE-1, MHN-ENE-1).

    A row that sees nothing has state 0, log-normalizer ``-inf`` and energy ``+inf`` (clause MHN-MSK-4),
    whatever its query; any other row with a non-finite query or a non-finite kept memory is NaN.

    Args:
        query: ``[L, d]``, or ``[d]`` taken as ``[1, d]``; nested sequences, NumPy, or anything with
            ``tolist()``.
        memory: ``[N, d]``, or what :func:`hopspec.reference.prepare` made of it.
        beta: any finite number.
        keep: None, or bools that broadcast to ``[L, N]``.
        values: None, or ``[N, dv]``, prepared or not.
        counts: how often each memory occurs, ``[N]`` positive ints; None for once. The answer is that to the
            problem with all of them written out; logits, weights and magnitudes have one entry each, for
            any one of the equal memories.

    Returns:
        A :class:`Solution` whose radii are about ``2**-106`` of the results, see the module's description.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit or ``beta`` is not finite.

    >>> solution = solve([[1.0, 0.0]], [[1.0, 0.0], [-1.0, 0.0]], beta=1.0)
    >>> solution.state.hi  # tanh(1)
    array([[0.76159416, 0.        ]])
    >>> bool((solution.state.radius < 1e-30).all())
    True
    >>> solve([1.0], [[0.0], [4.0]], beta=0, counts=[3, 1]).state.hi
    array([[1.]])
    """
    problem = read_problem(query, memory, beta=beta, keep=keep, values=values)
    if counts is not None and (len(counts) != problem.memories or min(counts, default=1) < 1):
        raise ValueError(f"counts must be {problem.memories} positive ints, got {list(counts)}")
    queries, width = problem.queries, problem.values.width
    shape = (queries, problem.memories)
    logits = np.full(shape, -np.inf)
    weights = np.zeros(shape)
    sizes = np.where(problem.keep, magnitudes(problem), 0.0)
    views: dict[bytes, View] = {}
    states: list[Triple] = []
    normalizers: list[Triple] = []
    energies: list[Triple] = []
    for row in range(queries):
        key = problem.keep[row].tobytes()
        if key not in views:
            views[key] = view_of(problem, row)
        view = views[key]
        kept = view.kept
        if not kept:
            states += [(0.0, 0.0, 0.0)] * width
            normalizers.append((-math.inf, 0.0, 0.0))
            energies.append((math.inf, 0.0, 0.0))
        elif not (problem.query.finite[row] and view.memory_finite):
            logits[row, kept] = weights[row, kept] = sizes[row, kept] = math.nan
            states += [_NAN] * width
            normalizers.append(_NAN)
            energies.append(_NAN)
        else:
            answer = Row(problem, view, row, counts)
            weighted = answer.weigh(_working_bits(answer))
            seen = kept if len(kept) < problem.memories else slice(None)
            logits[row, seen] = _logits(answer)
            weights[row, seen] = _weights(answer, weighted)
            ratios = zip(answer.update(weighted), view.columns_finite, strict=True)
            states += [_enclose(*ratio) if finite else _NAN for ratio, finite in ratios]
            normalizers.append(_enclose(*answer.log_normalizer(weighted)))
            if problem.beta.numerator > 0:
                energies.append(_enclose(*answer.energy(weighted)))
    return Solution(
        kept=problem.keep,
        logits=logits,
        weights=weights,
        magnitudes=sizes,
        state=_gather(states, (queries, width)),
        log_normalizer=_gather(normalizers, (queries,)),
        energy=_gather(energies, (queries,)) if problem.beta.numerator > 0 else None,
    )


def _working_bits(row: Row) -> int:
    bits = 128 + row.memories.bit_length()
    if row.problem.beta.numerator > 0:
        bits += row.energy_bits()
    # Multiples of 32, so that few tables of exponentials serve all problems.
    return -(-bits // 32) * 32


def _logits(row: Row) -> FloatArray:
    return _nearest(row.numerators, row.problem.logit_denominator, row.problem.logit_exponent)


def _weights(row: Row, weighted: Weighted) -> list[float]:
    total, accurate = weighted.total, 1 << 64
    if min(weighted.integers) >= accurate:
        return [weight / total for weight in weighted.integers]
    # Below 2**64 an integer weight is too coarse; the exact logit difference, rounded once, is not: an error
    # of 2**-53 of an exponent of at most 745 changes the exponential by less than 2**-43 of itself.
    first = (1 << weighted.bits) / total
    problem = row.problem
    differences = _nearest(
        [t - row.largest for t in row.numerators], problem.logit_denominator, problem.logit_exponent
    )
    return [
        weight / total if weight >= accurate else first * math.exp(difference)
        for weight, difference in zip(weighted.integers, differences.tolist(), strict=True)
    ]


def _gather(triples: list[Triple], shape: tuple[int, ...]) -> Enclosed:
    array = np.array(triples, dtype=np.float64).reshape(*shape, 3)
    return Enclosed(
        np.ascontiguousarray(array[..., 0]),
        np.ascontiguousarray(array[..., 1]),
        np.ascontiguousarray(array[..., 2]),
    )


def _enclose(numerator: int, denominator: int, exponent: int, error: int) -> Triple:
    """``(numerator +- error) / denominator * 2**exponent`` as a double-double and a radius."""
    magnitude = abs(numerator)
    if not magnitude and not error:
        return 0.0, 0.0, 0.0
    # A quotient of 118 or 119 bits: hi takes the first 53, lo the next; what is left goes into the radius.
    shift = 118 + denominator.bit_length() - max(magnitude.bit_length(), error.bit_length())
    scale = exponent - shift
    if not -900 < scale < 880:
        return _enclose_extreme(numerator, denominator, exponent, error)
    if shift >= 0:
        quotient, rest = divmod(magnitude << shift, denominator)
        radius = -(-(error << shift) // denominator)
    else:
        scaled = denominator << -shift
        quotient, rest = divmod(magnitude, scaled)
        radius = -(-error // scaled)
    hi = float(quotient)
    left = quotient - int(hi)
    lo = float(left)
    radius += abs(left - int(lo)) + (1 if rest else 0)
    if numerator < 0:
        hi, lo = -hi, -lo
    # Converting the radius rounds by at most 2**-53 of it; multiples of 2**scale are normal numbers here.
    bound = math.ldexp(float(radius) * (1 + 2.0**-50), scale) if radius else 0.0
    return math.ldexp(hi, scale), math.ldexp(lo, scale), bound


def _enclose_extreme(numerator: int, denominator: int, exponent: int, error: int) -> Triple:
    """:func:`_enclose` near or beyond the ends of float64's range, in rational arithmetic throughout."""
    if exponent >= 0:
        numerator, error = numerator << exponent, error << exponent
    else:
        denominator <<= -exponent
    hi: float = round_ratio(numerator, denominator, FLOAT64)
    if math.isinf(hi):
        return hi, 0.0, 0.0
    hi_numerator, hi_denominator = hi.as_integer_ratio()
    rest = numerator * hi_denominator - hi_numerator * denominator
    lo: float = round_ratio(rest, denominator * hi_denominator, FLOAT64)
    lo_numerator, lo_denominator = lo.as_integer_ratio()
    left = rest * lo_denominator - lo_numerator * denominator * hi_denominator
    common = hi_denominator * lo_denominator
    radius = abs(left) + error * common
    if not radius:
        return hi, lo, 0.0
    bound: float = round_ratio(radius, denominator * common, FLOAT64)
    return hi, lo, math.nextafter(bound, math.inf)


def _nearest(numerators: Sequence[int], denominator: int, exponent: int) -> FloatArray:
    """The float64s nearest to ``numerators / denominator * 2**exponent``."""
    sizes = [abs(n) for n in numerators if n]
    if not sizes:
        return np.zeros(len(numerators))
    offset = exponent - denominator.bit_length()
    least, most = min(sizes).bit_length(), max(sizes).bit_length()
    if least + offset > -1000 and most + offset < 1000 and most < 1000:
        floats = [n / denominator for n in numerators] if denominator != 1 else list(map(float, numerators))
        scaled: FloatArray = np.ldexp(np.array(floats), exponent)
        return scaled
    return np.array([round_ratio(n, denominator, FLOAT64, exponent) for n in numerators])


def magnitudes(problem: Problem) -> FloatArray:
    """``sum_j |x_ij xi_j|`` for every query and memory, 0 in rows that are not finite."""
    shape = problem.queries, problem.memories
    query = memory = None
    if problem.queries * problem.memories * problem.query.width > _FEW:
        query, memory = (_absolute(matrix) for matrix in (problem.query, problem.memory))
    if query is not None and memory is not None:
        smallest = min((a[a > 0].min(initial=np.inf) for a in (query, memory)), default=np.inf)
        largest = max(query.max(initial=0.0), memory.max(initial=0.0))
        # Products and sums in the normal range round by 2**-53 of the result each.
        if smallest > 2.0**-500 and largest < 2.0**500:
            product: FloatArray = query @ memory.T
            return product
    absolute = [[abs(x) for x in row] for row in problem.memory.rows]
    sums = [
        sum(map(mul, pattern, row))
        for row in ([abs(x) for x in row] for row in problem.query.rows)
        for pattern in absolute
    ]
    return _nearest(sums, problem.score_denominator, problem.score_exponent).reshape(shape)


def _absolute(matrix: Matrix) -> FloatArray | None:
    """Absolute values as float64, None where an integer or the scale leaves the range that is safe."""
    if not -1000 < matrix.exponent < 500 or matrix.denominator != 1:
        return None
    try:
        array = np.array(matrix.rows, dtype=np.float64).reshape(len(matrix.rows), matrix.width)
    except OverflowError:
        return None
    with np.errstate(all="ignore"):
        scaled: FloatArray = np.ldexp(np.abs(array), matrix.exponent)
    return scaled
