r"""Proved error bounds of one update, per accuracy model (clauses MHN-BND-1 to MHN-BND-5 and MHN-BND-7).

The bounds are evaluated in float64 from a :class:`~hopspec.reference.solution.Solution`, whose entries are
accurate to a few units of 2**-53, and multiplied by ``INFLATION``: every quantity below is a sum of
non-negative terms, so its relative evaluation error is far below that factor's excess over 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import implements
from hopspec.formats import Format
from hopspec.reference.solution import Solution
from hopspec.types import AccuracyModel

__all__ = [
    "Perturbation",
    "association_bound",
    "energy_bound",
    "gamma",
    "log_normalizer_bound",
    "perturbation",
    "update_bound",
    "update_bound_on_ball",
]

Array = NDArray[np.float64]

INFLATION = 1.0 + 1e-6
SHARP_LIMIT = 0.75


def gamma(n: float, u: float) -> float:
    """Accumulated relative error of ``n`` roundings, ``n u / (1 - n u)``; infinite when ``n u >= 1``.

    >>> gamma(0, 2**-24)
    0.0
    """
    return n * u / (1 - n * u) if n * u < 1 else math.inf


def half_least(fmt: Format) -> float:
    """Half the least positive element of ``fmt``: the largest error of rounding near zero."""
    return math.ldexp(1.0, max(fmt.least_exponent - 1, -1074))


@dataclass(frozen=True, slots=True)
class Perturbation:
    """How far the computed log-weights may be from the exact logits.

    Args:
        theta: bound on the error of each log-weight, up to a constant common to a row, ``[L, N]``;
            0 where masked.
        lost: absolute error of each weight relative to the largest one (flushing, rounding near zero).
        kept: number of kept memories per query, ``[L]``.
        blocks: number of blocks of the online softmax per query, ``[L]``.
    """

    theta: Array
    lost: float
    kept: NDArray[np.int64]
    blocks: NDArray[np.int64]


def _unit(model: AccuracyModel) -> float:
    u = model.accumulation.unit_roundoff
    return u if model.nearest else 2 * u


@implements("MHN-BND-1")
def perturbation(
    query: Array, memory: Array, beta: float, exact: Solution, model: AccuracyModel
) -> Perturbation:
    """Bound the error of every log-weight under ``model`` (first part of clause MHN-BND-2).

    Args:
        query: ``[L, d]``.
        memory: ``[N, d]``; rows kept by no query may hold anything.
        beta: inverse temperature.
        exact: the exact solution of the same problem.
        model: the arithmetic claimed.

    Returns:
        The perturbation; ``theta`` is infinite in rows where an intermediate may overflow.
    """
    u, us = _unit(model), model.storage.unit_roundoff
    eta, eta_s = half_least(model.accumulation), half_least(model.storage)
    d = query.shape[1]
    kept = exact.kept
    b = abs(beta)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        logits = np.where(kept, np.abs(exact.logits), 0.0)
        magnitudes = np.where(kept, exact.magnitudes, 0.0)
        scores = b * magnitudes * gamma(d, u) + 2 * d * eta * b
        if model.pre_scale:
            growth = (1 + gamma(d, u)) * (1 + us) ** 2 * (1 + 2 * u) ** 2 - 1
            sums = np.abs(query).sum(axis=1)[:, None] + np.where(
                kept, np.abs(memory).sum(axis=1)[None, :], 0.0
            )
            scores = (
                b * magnitudes * growth + 2 * d * eta + eta_s * (math.sqrt(b) * sums * (1 + us) + d * eta_s)
            )
        for _ in range(model.score_roundings):
            scores = scores + us * (logits + scores) + eta_s * max(b, 1.0)
        conversions = 1 + (not _is_exact(beta, model.accumulation)) + (2 if model.base2 else 0)
        dt = scores * (1 + u) + u * logits * conversions * (1 + 4 * u) + eta
        dt = np.where(kept, dt, 0.0)
        signed = np.where(kept, exact.logits, -np.inf)
        top = np.max(signed + dt, axis=1, initial=-np.inf)
        spread = np.where(kept, top[:, None] - signed + dt, 0.0)
        count = kept.sum(axis=1)
        blocks = np.maximum(1, -(-memory.shape[0] // model.block)) if model.block else 1
        blocks_per_row = np.full(count.shape, blocks, dtype=np.int64)
        theta = (
            dt
            + u * spread * (1 + 2 * u)
            + blocks * model.exp_error / (1 - model.exp_error)
            + (blocks - 1) * u
        )
        if model.rounded_denominator and model.round_weights:
            theta = theta - math.log1p(-us)
        theta = np.where(kept, theta, 0.0)
        limit = float(model.accumulation.largest) / 4
        if model.score_roundings or model.pre_scale:
            limit = min(limit, float(model.storage.largest) / 4)
        size = np.maximum(magnitudes, b * magnitudes)
        unsafe = (np.where(kept, size, 0.0).max(axis=1, initial=0.0) >= limit) | ~(b < limit)
        theta = np.where(unsafe[:, None] & kept, np.inf, theta)
    lost = model.exp_flush + eta + (eta_s if model.round_weights else 0.0)
    return Perturbation(theta, lost, count.astype(np.int64), blocks_per_row)


def _is_exact(beta: float, fmt: Format) -> bool:
    if beta == 0:
        return True
    mantissa, exponent = math.frexp(beta)
    if not fmt.emin < exponent <= fmt.emax + 1:
        return False
    return math.ldexp(mantissa, fmt.precision).is_integer()


@implements("MHN-BND-2")
def update_bound(
    query: Array,
    memory: Array,
    beta: float,
    exact: Solution,
    model: AccuracyModel,
    values: Array | None = None,
) -> Array:
    """Bound on ``|computed - exact|`` of every component of the update, ``[L, dv]``.

    Where the log-weights are too uncertain for the sharp form the bound is that of the convex hull; it is
    infinite where an intermediate of the claimed arithmetic may overflow (outside the clause's domain).
    """
    moved = perturbation(query, memory, beta, exact, model)
    u, us = _unit(model), model.storage.unit_roundoff
    eta, eta_out = half_least(model.accumulation), half_least(model.storage)
    out = memory if values is None else values
    state = exact.state.hi
    kept, p = exact.kept, exact.weights
    w = us if model.round_weights and not model.rounded_denominator else 0.0
    uo = us + 2 * u
    result = np.zeros_like(state)
    for row in range(state.shape[0]):
        on = kept[row]
        n = int(moved.kept[row])
        if n == 0:
            continue
        x, pr, theta = out[on], p[row, on], moved.theta[row, on]
        o = state[row]
        if not np.isfinite(theta).all() or not np.isfinite(x).all():
            result[row] = np.inf
            continue
        extra = int(moved.blocks[row])
        g_n, g_s = gamma(n + extra - 1, u), gamma(max(n + extra - 2, 0), u)
        if not (g_n < 0.25):
            result[row] = np.inf
            continue
        size, top = np.abs(x), np.abs(x).max(axis=0)
        lost = n * moved.lost
        relative = w + g_n * (1 + w) + (2 * u if model.normalize_first else 0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            e = np.expm1(np.minimum(theta, 700.0))
            pe = float(pr @ e)
            below = (1 - pe) * (1 - g_s) - lost
            if pe <= SHARP_LIMIT and below > 0.1:
                centred = (pr * e) @ np.abs(x - o)
                spread = (pr * (1 + e)) @ size * relative
                bound = centred + spread + g_s * (1 + pe) * np.abs(o) + lost * (top + np.abs(o)) + 2 * n * eta
                bound = bound / below
            else:
                factor = (1 + relative) / (1 - g_s) - 1
                bound = (x.max(axis=0) - x.min(axis=0)) + top * (factor + 2 * lost) + 2 * n * eta
            bound = bound * (1 + uo) + uo * np.abs(o) + eta_out
        result[row] = bound * INFLATION
    return result


@implements("MHN-BND-5")
def update_bound_on_ball(
    query: Array, memory: Array, beta: float, radius: float, kept: NDArray[np.bool_], model: AccuracyModel
) -> float:
    """Bound on ``|computed - exact|_2`` of one update, for every query within ``radius`` of ``query[d]``.

    Every quantity of MHN-BND-2 that depends on the query is replaced by its largest value over the ball.
    """
    x = memory[kept]
    n, d = x.shape
    if n == 0:
        return 0.0
    norm = float(np.linalg.norm(query)) + radius
    largest = float(np.linalg.norm(x, axis=1).max())
    u, us = _unit(model), model.storage.unit_roundoff
    eta, eta_s = half_least(model.accumulation), half_least(model.storage)
    logit = abs(beta) * norm * largest
    blocks = max(1, -(-memory.shape[0] // model.block)) if model.block else 1
    conversions = 2 + (2 if model.base2 else 0)
    scores = logit * gamma(d, u) + 2 * d * eta * abs(beta)
    if model.pre_scale:
        scores = logit * ((1 + gamma(d, u)) * (1 + us) ** 2 * (1 + 2 * u) ** 2 - 1) + 2 * d * eta
        scores += eta_s * (math.sqrt(abs(beta) * d) * (norm + largest) * (1 + us) + d * eta_s)
    for _ in range(model.score_roundings):
        scores += us * (logit + scores) + eta_s * max(abs(beta), 1.0)
    dt = scores * (1 + u) + u * logit * conversions * (1 + 4 * u) + eta
    theta = dt + u * (2 * logit + 2 * dt) * (1 + 2 * u) + blocks * model.exp_error / (1 - model.exp_error)
    theta += (blocks - 1) * u
    w = us if model.round_weights else 0.0
    theta += w * 1.01
    g_n = gamma(n + blocks - 1, u)
    limit = (
        float((model.storage if model.score_roundings or model.pre_scale else model.accumulation).largest) / 4
    )
    if not (g_n < 0.25 and max(logit, norm * largest) < limit):
        return math.inf
    diameter = 2 * float(np.linalg.norm(x - x.mean(axis=0), axis=1).max())
    lost = n * (model.exp_flush + eta + (eta_s if model.round_weights else 0.0))
    relative = w + g_n * (1 + w) + (2 * u if model.normalize_first else 0.0)
    e = math.expm1(min(theta, 700.0))
    below = (1 - e) * (1 - g_n) - lost
    if e <= SHARP_LIMIT and below > 0.1:
        bound = (
            e * diameter + ((1 + e) * (relative + g_n) + 2 * lost) * largest + 2 * n * eta * math.sqrt(d)
        ) / below
    else:
        bound = diameter + ((1 + relative) / (1 - g_n) - 1 + 2 * lost) * largest + 2 * n * eta * math.sqrt(d)
    uo = us + 2 * u
    return (bound * (1 + uo) + uo * largest + eta_s * math.sqrt(d)) * INFLATION


@implements("MHN-BND-7")
def association_bound(
    query: Array, memory: Array, beta: float, exact: Solution, model: AccuracyModel
) -> Array:
    """Bound on ``|computed - exact|`` of every association weight, ``[L, N]``."""
    moved = perturbation(query, memory, beta, exact, model)
    u, us = _unit(model), model.storage.unit_roundoff
    with np.errstate(over="ignore", invalid="ignore"):
        e = np.expm1(np.minimum(moved.theta, 700.0))
        pe = (exact.weights * e).sum(axis=1, keepdims=True)
        n = moved.kept[:, None]
        g_s = np.array([[gamma(int(k) + int(m), u)] for k, m in zip(moved.kept, moved.blocks, strict=True)])
        lost = moved.lost + half_least(model.storage)
        below = (1 - pe) * (1 - g_s) - n * lost
        sharp = exact.weights * ((1 + e) * (1 + us) * (1 + 4 * u) / below - 1) + lost / np.maximum(below, 0.1)
        bound = np.where((below > 0.1) & (pe <= SHARP_LIMIT), sharp, 1.0 + us)
    return np.where(exact.kept, bound * INFLATION, 0.0)


@implements("MHN-BND-3")
def log_normalizer_bound(
    query: Array, memory: Array, beta: float, exact: Solution, model: AccuracyModel
) -> Array:
    """Bound on ``|computed - exact|`` of every log-normalizer, ``[L]``; 0 in empty rows."""
    return _log_sum_bound(query, memory, beta, exact, model, model.output.unit_roundoff)


def _log_sum_bound(
    query: Array, memory: Array, beta: float, exact: Solution, model: AccuracyModel, uo: float
) -> Array:
    moved = perturbation(query, memory, beta, exact, model)
    u = _unit(model)
    result = np.zeros(exact.kept.shape[0])
    for row in range(result.shape[0]):
        on, n = exact.kept[row], int(moved.kept[row])
        if n == 0:
            continue
        theta, p = moved.theta[row, on], exact.weights[row, on]
        top = float(np.abs(exact.logits[row, on].max()))
        value = abs(float(exact.log_normalizer.hi[row]))
        if not (np.isfinite(theta).all() and theta.max() < 300 and math.isfinite(value)):
            result[row] = np.inf
            continue
        up = math.log1p(float(p @ np.expm1(theta)) + n * moved.lost)
        low = 1 - float(p @ -np.expm1(-theta)) - n * moved.lost
        if low <= 0:
            result[row] = np.inf
            continue
        largest_theta = float(theta.max())
        shift = max(up, -math.log(low)) - math.log1p(-gamma(n + int(moved.blocks[row]) - 1, u))
        log_sum = math.log(n) + largest_theta
        roundings = 2 if not model.base2 else 4
        bound = shift + (model.log_error + u) * log_sum + roundings * u * (top + log_sum + largest_theta)
        bound += uo * (value + shift) + half_least(model.accumulation) + half_least(model.output)
        result[row] = bound * INFLATION
    return result


@implements("MHN-BND-4")
def energy_bound(query: Array, memory: Array, beta: float, exact: Solution, model: AccuracyModel) -> Array:
    """Bound on ``|computed - exact|`` of every energy, ``[L]``, for ``beta > 0``; 0 in empty rows.

    Infinite where a term of the energy may exceed the accumulation format: there the clause asks only
    that the result is not NaN (MHN-ENE-6).
    """
    if exact.energy is None:
        raise ValueError(f"beta must be positive for an energy, got {beta}")
    u, uo = _unit(model), model.output.unit_roundoff
    d = query.shape[1]
    result = np.zeros(exact.kept.shape[0])
    with np.errstate(over="ignore", invalid="ignore"):
        lse_bound = _log_sum_bound(query, memory, beta, exact, model, u) / beta
        squares = np.square(query).sum(axis=1) / 2
        for row in range(result.shape[0]):
            on = exact.kept[row]
            n = int(on.sum())
            if n == 0:
                continue
            half_m2 = float(np.square(memory[on]).sum(axis=1).max()) / 2
            count = math.log(n) / beta
            lse = abs(float(exact.log_normalizer.hi[row])) / beta
            terms = squares[row] + half_m2 + lse + count
            limit = float(min(model.accumulation.largest, model.output.largest)) / 4
            if not terms < limit:
                result[row] = np.inf
                continue
            bound = (
                lse_bound[row] * (1 + 2 * u) + 3 * u * lse + (gamma(d + 1, u) + u) * (squares[row] + half_m2)
            )
            bound += 3 * u * count + 4 * u * terms + uo * abs(float(exact.energy.hi[row]))
            bound += (2 * d + 4) * half_least(model.accumulation) * (1 + 1 / beta) + half_least(model.output)
            result[row] = bound * INFLATION * (1 + uo)
    return result
