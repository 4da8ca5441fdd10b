"""How many bits retrieve a memory: the theorem, and a search (clauses MHN-NET-6 and MHN-NET-7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np

from hopspec.clauses import implements
from hopspec.pbit import PBits
from hopspec.reference.exponential import log_fixed
from hopspec.reference.networks.fields import ArrayField, Field, PBitField
from hopspec.reference.pbit import Arithmetic
from hopspec.reference.pbit.arrays import MOST_BITS, Arrays, fits

__all__ = ["Separation", "read_out", "retrieval_bits", "retrieve_bits", "separation", "smallest_bits"]

M = TypeVar("M")

LEAST_BITS = 5
# Bits after the point of the logarithm of a condition.
_LOG_BITS = 64
# Sizes of a search that would not fit.
_BYTES_PER_PRODUCT = 160


@dataclass(frozen=True)
class Separation:
    """What the retrieval theorem needs of a query, exactly.

    Args:
        winner: number of the memory with the largest score.
        gap: its score less the next largest, ``Delta``.
        size: largest ``A_i``, the sum of the sizes of the products of a score.
        span: largest difference of two entries of a column of the memory, ``D``.
        largest: largest size of an entry of the memory.
        count: number of memories.
    """

    winner: int
    gap: Fraction
    size: Fraction
    span: Fraction
    largest: Fraction
    count: int


def _scores(query: Sequence[float], memory: Any) -> tuple[list[Fraction], Fraction]:
    """Exact scores and the largest sum of sizes."""
    rows = np.asarray(memory, dtype=np.float64)
    state = np.asarray(query, dtype=np.float64)
    whole = bool((rows == np.rint(rows)).all() and (state == np.rint(state)).all())
    if whole and np.abs(rows).max(initial=0) * np.abs(state).max(initial=0) * rows.shape[1] < 2**53:
        # Integers so small that float64 is exact.
        exact, sizes = rows @ state, np.abs(rows) @ np.abs(state)
        return [Fraction(s) for s in exact.tolist()], Fraction(float(sizes.max()))
    own = [Fraction(a) for a in state.tolist()]
    products = [[Fraction(a) * b for a, b in zip(row, own, strict=True)] for row in rows.tolist()]
    return [sum(p, Fraction()) for p in products], max(sum(map(abs, p), Fraction()) for p in products)


def separation(query: Sequence[float], memory: Any) -> Separation:
    """How far the best memory of a query is from the others.

    Args:
        query: ``[d]``.
        memory: ``[N, d]`` with at least two rows.

    >>> separation([1.0, 1.0], [[1.0, 0.25], [1.0, 0.0]]).gap
    Fraction(1, 4)
    """
    rows = np.asarray(memory, dtype=np.float64)
    scores, size = _scores(query, rows)
    order = sorted(range(len(scores)), key=lambda i: scores[i])
    gap = scores[order[-1]] - scores[order[-2]]
    spans = [Fraction(a) - Fraction(b) for a, b in zip(rows.max(axis=0), rows.min(axis=0), strict=True)]
    return Separation(order[-1], gap, size, max(spans), Fraction(float(np.abs(rows).max())), len(rows))


@implements("MHN-NET-6")
def retrieval_bits(of: Separation, beta: float, error: float, *, shift: bool = True) -> int | None:
    r"""The bits from which on clause MHN-NET-6 guarantees retrieval within ``error``; None if it never does.

    Formula: the least $p \ge 5$ with $2^p (\beta\Delta - \log(2 (N - 1) D / \epsilon)) \ge 8 K + 1$, where
    $K = \beta\max_i A_i$, with $2^p \epsilon \ge 9 V$ and $128 N (1 + D) \omega \le \epsilon$, decided with
    rational numbers, for the exponents of the paper; without the maximum subtracted, $6.2 K + 2.1$ in place
    of $8 K + 1$, and $2^p \ge 1.5 K + 8$ besides. Clause MHN-NET-6.

    Args:
        of: see :func:`separation`.
        beta: inverse temperature, positive.
        error: largest distance allowed of an entry, positive.
        shift: whether the largest logit is subtracted.

    Raises:
        ValueError: if ``beta`` or ``error`` is not positive.

    >>> retrieval_bits(separation([1.0, 1.0], [[1.0, 0.25], [1.0, 0.0]]), beta=64.0, error=0.01)
    10
    """
    if not beta > 0 or not error > 0:
        raise ValueError(f"beta and error must be positive, got beta={beta}, error={error}")
    b, epsilon = Fraction(beta), Fraction(error)
    inside = 2 * (of.count - 1) * of.span / epsilon
    # An upper bound of the logarithm; where it is negative, any separation will do.
    needed = Fraction(0)
    if inside > 1:
        needed = Fraction(log_fixed(inside.numerator, inside.denominator, _LOG_BITS) + 1, 1 << _LOG_BITS)
    left = b * of.gap - needed
    if left <= 0:
        return None
    k = b * of.size
    loss = 8 * k + 1 if shift else Fraction(31, 5) * k + Fraction(21, 10)
    least = max(loss / left, 9 * of.largest / epsilon, 0 if shift else Fraction(3, 2) * k + 8)
    p = LEAST_BITS
    while (1 << p) < least or not _vanishing(of, p, epsilon):
        p += 1
    return p


def _vanishing(of: Separation, p: int, epsilon: Fraction) -> bool:
    """Whether ``128 N (1 + D) omega <= epsilon``, with ``omega = 2**(p - 1 - 2**p)``."""
    lost = 128 * of.count * (1 + of.span) / epsilon
    # A power of two that is large enough needs no long integer.
    return lost <= 0 or lost.numerator.bit_length() - lost.denominator.bit_length() + 1 <= (1 << p) - p + 1


def retrieve_bits(
    query: Sequence[float], memory: Any, beta: float, format: PBits, *, shift: bool = True
) -> list[Fraction]:
    """One update of one query, evaluated in F_p, as exact numbers.

    Args:
        query: ``[d]``.
        memory: ``[N, d]``.
        beta: inverse temperature.
        format: the set F_p; arrays are used where int64 is wide enough.
        shift: whether the largest logit is subtracted.
    """
    state, rows = np.asarray([query], dtype=np.float64), np.asarray(memory, dtype=np.float64)
    if fits(format):
        return [
            x.fraction for x in read_out(ArrayField(Arrays(format)), state, rows, beta, shift).tolist()[0]
        ]
    scalars = PBitField(Arithmetic(format))
    return [x.fraction for x in read_out(scalars, state.tolist(), rows.tolist(), beta, shift)[0]]


def read_out(field: Field[M], query: Any, memory: Any, beta: float, shift: bool) -> M:
    """One update of queries ``[L, d]`` over numbers of any kind: a layer without projections."""
    x, y = field.matrix(query), field.matrix(memory)
    return field.averages(field.weights(field.scaled(field.products(x, y), beta), shift), y)


def smallest_bits(
    query: Sequence[float],
    memory: Any,
    beta: float,
    error: float,
    upto: int,
    *,
    shift: bool = True,
    most_bytes: int = 1 << 31,
    retrieve: Callable[..., list[Fraction]] = retrieve_bits,
) -> tuple[int | None, int | None]:
    """The first p that retrieves the best memory, and the p from which on every p up to ``upto`` does.

    The error does not fall with every bit, so the two may differ. Weights below the range become 0.

    Args:
        query: ``[d]``.
        memory: ``[N, d]``.
        beta: inverse temperature.
        error: largest distance allowed of an entry.
        upto: the largest p that is tried.
        shift: whether the largest logit is subtracted.
        most_bytes: memory the search may take.
        retrieve: computes the update, as :func:`retrieve_bits`.

    Raises:
        ValueError: if the search would take more memory; the message says how much.

    >>> smallest_bits([1.0, 1.0], [[1.0, 0.25], [1.0, 0.0]], 64.0, 0.01, 7)
    (3, 3)
    """
    rows = np.asarray(memory, dtype=np.float64)
    predicted = rows.size * (_BYTES_PER_PRODUCT + (upto // 4 if upto > MOST_BITS else 0))
    if predicted > most_bytes:
        raise ValueError(f"the search would take {predicted:,} bytes of memory, more than {most_bytes:,}")
    winner = separation(query, rows).winner
    right = [Fraction(float(x)) for x in rows[winner]]
    epsilon, first, since = Fraction(error), None, None
    for p in range(2, upto + 1):
        got = retrieve(query, rows, beta, PBits(p, underflow="zero"), shift=shift)
        if all(abs(a - b) <= epsilon for a, b in zip(got, right, strict=True)):
            first = p if first is None else first
            since = p if since is None else since
        else:
            since = None
    return first, since
