"""One update in p-bit arithmetic: every operation rounded to p bits (clause MHN-PRC-3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mpmath.ctx_mp import MPContext

from hopspec.clauses import implements

__all__ = ["rounded_sum", "rounded_update"]


def rounded_sum(terms: Iterable[Any], context: MPContext) -> Any:
    """The exact sum of mpmath numbers, rounded once to the precision of ``context``."""
    parts = [(int(x.man) if x >= 0 else -int(x.man), int(x.exp)) for x in terms]
    least = min((e for _, e in parts), default=0)
    total = sum(m << (e - least) for m, e in parts)
    return context.ldexp(context.mpf(total), least)


@implements("MHN-PRC-3")
def rounded_update(
    query: Sequence[Sequence[float]], memory: Sequence[Sequence[float]], *, beta: float, bits: int
) -> list[list[float]]:
    r"""The update with every product, sum, difference, exponential and quotient rounded to ``bits`` bits.

    Scores and the two sums of the quotient are formed exactly from rounded products and rounded once. The
    exponent range is unlimited.

    Args:
        query: ``[L, d]``, entries with at most ``bits`` significant bits.
        memory: ``[N, d]``, likewise.
        beta: inverse temperature, likewise.
        bits: significand bits, at least 2.

    Returns:
        ``[L, d]``, each entry the p-bit result as a float (exact up to 53 bits).

    Raises:
        ValueError: if ``bits`` is below 2 or there is no memory.

    >>> rounded_update([[1.0]], [[1.0], [-1.0]], beta=1.0, bits=4)
    [[0.75]]
    """
    if bits < 2:
        raise ValueError(f"bits must be at least 2, got {bits}")
    if not memory:
        raise ValueError("memory must hold at least one pattern, got none")
    context = MPContext()
    context.prec = bits
    b = context.mpf(beta)
    patterns = [[context.mpf(x) for x in row] for row in memory]
    result = []
    for row in query:
        state = [context.mpf(x) for x in row]
        logits = [
            b * rounded_sum((x * y for x, y in zip(pattern, state, strict=True)), context)
            for pattern in patterns
        ]
        top = max(logits)
        weights = [context.exp(t - top) for t in logits]
        total = rounded_sum(weights, context)
        columns = zip(*patterns, strict=True)
        sums = [
            rounded_sum((w * x for w, x in zip(weights, column, strict=True)), context) for column in columns
        ]
        result.append([float(s / total) for s in sums])
    return result
