"""How far one update evaluated in F_p may be from the exact one (clause MHN-NET-5)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import implements
from hopspec.pbit import PBits
from hopspec.reference.solution import solve

__all__ = ["first_order", "pbit_bound"]

Array = NDArray[np.float64]

# The float64 arithmetic below makes sums of at most N d terms, each within some roundings.
_ULP = 2.0**-52


def _parts(query: Array, memory: Array, beta: float) -> tuple[Array, Array, Array, Array]:
    """Logits, sums of sizes of the products of the scores, weights and the exact update."""
    solution = solve(query, memory, beta=beta)
    sizes = np.abs(query) @ np.abs(memory).T
    return solution.logits, sizes, solution.weights, solution.state.hi


@implements("MHN-NET-5")
def pbit_bound(
    query: Sequence[Sequence[float]], memory: Sequence[Sequence[float]], beta: float, format: PBits
) -> Array:
    r"""Bound on the error of one update with shift in F_p, ``[L, d]``, infinite where there is none.

    Formula: that of clause MHN-NET-5, derived there. Evaluated in float64, enlarged by what that may lose.

    Args:
        query: ``[L, d]``, entries in F_p.
        memory: ``[N, d]``, likewise.
        beta: inverse temperature, likewise.
        format: the set F_p; its policy for underflow must not be ``"least"``.

    Raises:
        ValueError: if the policy is ``"least"``.

    >>> bool(pbit_bound([[1.0]], [[1.0], [-1.0]], 1.0, PBits(12))[0, 0] < 0.01)
    True
    """
    if format.underflow == "least":
        raise ValueError("format must not round to the least element on underflow: no bound is proved then")
    q, x = np.asarray(query, dtype=np.float64), np.asarray(memory, dtype=np.float64)
    t, sizes, weights, state = _parts(q, x, beta)
    u, b = math.ldexp(1.0, -format.bits), abs(beta)
    omega = math.ldexp(1.0, max(format.least + format.bits - 1, -1000))
    count, width = x.shape
    slack = 1 + 8 * (count + width + 8) * _ULP
    size = np.abs(t)
    score = ((2 * u + u * u) * sizes + 2 * (width + 1) * omega) * slack
    tau = ((1 + u) * b * score + u * size * slack + omega) * slack
    spread = (t + tau).max(axis=1, keepdims=True) - t + tau
    # A difference of logits cancels: its float64 error is relative to their sizes.
    spread = np.maximum(spread, 0.0) + 8 * _ULP * size.max(axis=1, keepdims=True)
    theta = (tau + u * spread + omega - math.log1p(-u)) * slack
    with np.errstate(over="ignore", invalid="ignore"):
        grown = np.expm1(theta)
        kappa = omega * np.exp(theta.max(axis=1, keepdims=True))
        moved = (weights * grown).sum(axis=1, keepdims=True) * slack
        lost = count * kappa
        distance = np.abs(x[None] - state[:, None])
        sizes_read = np.abs(x)[None]
        first = np.einsum("ln,lnd->ld", weights * grown, distance)
        second = (2 * u + u * u) * (
            np.einsum("ln,lnd->ld", weights * (1 + grown), sizes_read + 0 * distance)
            + kappa * np.abs(x).sum(axis=0)
        )
        third = u * (1 + moved + lost) * np.abs(state)
        fourth = lost * np.ptp(x, axis=0) + (count + 1) * (1 + u) * kappa
        rest = (1 - u) * (1 - moved - lost)
        bound = (1 + u) * (first + second + third + fourth) / rest + u * np.abs(state) + omega
        # The exact state itself is within 2**-50 of its float64.
        bound = bound * slack + np.abs(state) * 4 * _ULP + 2.0**-1000
    return np.where((rest > 0) & np.isfinite(bound), bound, np.inf)


def first_order(query: Sequence[Sequence[float]], memory: Sequence[Sequence[float]], beta: float) -> Array:
    """``C_j`` of clause MHN-NET-5, ``[L, d]``: the error is ``2**-p C_j`` to first order; no bound."""
    q, x = np.asarray(query, dtype=np.float64), np.asarray(memory, dtype=np.float64)
    t, sizes, weights, state = _parts(q, x, beta)
    top = t.max(axis=1, keepdims=True)
    moved = abs(beta) * sizes + 2 * np.abs(t) + (top - t) + 1
    read = np.einsum("ln,lnd->ld", weights * moved, np.abs(x[None] - state[:, None]))
    return np.asarray(read + 2 * weights @ np.abs(x) + 2 * np.abs(state))
