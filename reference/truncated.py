"""One update in p-bit arithmetic: every operation rounded to p bits (clause MHN-PRC-3)."""

from __future__ import annotations

from collections.abc import Sequence

from mpmath.ctx_mp import MPContext

from hopspec.clauses import implements

__all__ = ["rounded_update"]


@implements("MHN-PRC-3")
def rounded_update(
    query: Sequence[Sequence[float]], memory: Sequence[Sequence[float]], *, beta: float, bits: int
) -> list[list[float]]:
    r"""The update with every product, sum, difference, exponential and quotient rounded to ``bits`` bits.

    Sums are taken from left to right, the largest logit is subtracted first, and the weighted sum is divided
    by the sum of the weights last. The exponent range is unlimited.

    Args:
        query: ``[L, d]``.
        memory: ``[N, d]``.
        beta: inverse temperature.
        bits: significand bits, at least 2.

    Returns:
        ``[L, d]``, each entry the p-bit result as a float.

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
        state = [+context.mpf(x) for x in row]
        logits = []
        for pattern in patterns:
            score = context.zero
            for x, y in zip(pattern, state, strict=True):
                score = score + x * y
            logits.append(b * score)
        top = max(logits)
        weights = [context.exp(t - top) for t in logits]
        total = context.zero
        for weight in weights:
            total = total + weight
        out = []
        for column in zip(*patterns, strict=True):
            weighted = context.zero
            for weight, x in zip(weights, column, strict=True):
                weighted = weighted + weight * x
            out.append(float(weighted / total))
        result.append(out)
    return result
