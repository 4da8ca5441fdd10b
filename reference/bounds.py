r"""Proved error bounds of one update, per accuracy model (chapter 10 of the specification).

Every function evaluates the formulas of its clause, with their names, in float64 from an exact
:class:`~hopspec.reference.solution.Solution`, whose entries are accurate to a few units of 2**-53. The
results are multiplied by ``INFLATION``: the formulas are sums of non-negative terms, so their evaluation errs
relatively by far less than that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import implements
from hopspec.formats import Format
from hopspec.reference.solution import Solution
from hopspec.types import AccuracyModel

__all__ = [
    "Arithmetic",
    "Perturbation",
    "arithmetic",
    "association_bound",
    "energy_bound",
    "gamma",
    "log_normalizer_bound",
    "perturbation",
    "truncation_bound",
    "update_bound",
    "update_bound_on_ball",
]

Array = NDArray[np.float64]

INFLATION = 1.0 + 1e-6
SHARP_LIMIT = 0.75
REFINED_LIMIT = 1 / 16
# Distances of memories from results that are held at a time: what a processor's cache holds.
BLOCK = 1 << 16


def gamma(n: float, u: float) -> float:
    """Accumulated relative error of ``n`` roundings, ``n u / (1 - n u)``; infinite when ``n u >= 1``.

    >>> gamma(0, 2**-24)
    0.0
    """
    return n * u / (1 - n * u) if n * u < 1 else math.inf


def half_least(fmt: Format) -> float:
    """Half the least positive element of ``fmt``: the largest error of rounding near zero."""
    return math.ldexp(1.0, max(fmt.least_exponent - 1, -1074))


def _quarter(fmt: Format) -> float:
    """A quarter of the largest element, as far as float64 reaches."""
    return math.ldexp(1.0, min(fmt.emax - 2, 1020))


def _beta_error(beta: float, fmt: Format) -> float:
    """Relative error of ``beta`` in ``fmt``; 0 where it is an element."""
    if beta == 0:
        return 0.0
    _, exponent = math.frexp(beta)
    grid = max(exponent - fmt.precision, fmt.least_exponent)
    if grid <= -1074:
        return 0.0
    scaled = math.ldexp(beta, -grid) if exponent - grid < 1024 else float(beta)
    return abs(round(scaled) - scaled) / abs(scaled)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The symbols of clause MHN-BND-1 for one model and problem."""

    u: float
    us: float
    uf: float
    eta: float
    eta_s: float
    eta_f: float
    beta_error: float
    conversions: int
    widening: float

    @property
    def output_rounding(self) -> float:
        """``u_o``: division, or reciprocal and product, then rounding to storage."""
        return (1 + self.us) * (1 + self.u) ** 2 - 1


@implements("MHN-BND-1")
@lru_cache(maxsize=1024)
def arithmetic(model: AccuracyModel, beta: float) -> Arithmetic:
    """Read the constants of an accuracy model.

    Args:
        model: the arithmetic claimed.
        beta: inverse temperature, for the error of representing it.

    >>> from hopspec.formats import FLOAT32
    >>> arithmetic(AccuracyModel("plain", FLOAT32, FLOAT32, exp_error=0.0), beta=0.5).beta_error
    0.0
    """
    unit = model.accumulation.unit_roundoff
    u = unit if model.nearest else 2 * unit
    us = model.storage.unit_roundoff
    w = us if model.round_weights and not model.rounded_denominator else 0.0
    return Arithmetic(
        u=u,
        us=us,
        uf=model.output.unit_roundoff,
        eta=half_least(model.accumulation),
        eta_s=half_least(model.storage),
        eta_f=half_least(model.output),
        beta_error=_beta_error(beta, model.accumulation),
        conversions=2 if model.base2 else 0,
        widening=(1 + w) * (1 + u) ** (2 if model.normalize_first else 0) - 1,
    )


def _logit_error(
    of: Arithmetic, model: AccuracyModel, beta: float, d: int, magnitude: Array, logit: Array, entries: Array
) -> Array:
    """``tau_i`` of MHN-BND-2 from ``A_i``, ``|t_i|`` and ``sum_j |xi_j| + |x_ij|``."""
    b = abs(beta)
    if model.pre_scale:
        growth = (1 + gamma(d, of.u)) * (1 + of.us) ** 2 * (1 + 2 * of.u) ** 2 - 1
        a = growth * b * magnitude + 2 * d * of.eta
        a = a + 2 * of.eta_s * (math.sqrt(b) * entries + d * of.eta_s)
        psi = (1 + of.u) ** of.conversions - 1
    else:
        a = b * (gamma(d, of.u) * magnitude + 2 * d * of.eta)
        psi = (1 + of.beta_error) * (1 + of.u) ** (1 + of.conversions) - 1
    tau = (1 + psi) * a + psi * logit + 4 * of.eta
    for _ in range(model.score_roundings):
        tau = tau + of.us * (logit + tau) + 2 * max(1.0, b) * of.eta_s
    return np.asarray(tau)


def _constant_error(of: Arithmetic, model: AccuracyModel, blocks: int) -> float:
    """The part of ``Theta_i`` that is the same for every memory."""
    both = model.round_weights and model.rounded_denominator
    return -blocks * math.log1p(-model.exp_error) - (math.log1p(-of.us) if both else 0.0)


def _blocks(model: AccuracyModel, memories: int) -> int:
    return max(1, -(-memories // model.block)) if model.block else 1


def _score_limit(model: AccuracyModel) -> float:
    """Largest size of ``A_i`` and ``|beta| A_i`` at which no score can overflow."""
    stored = model.score_roundings or model.pre_scale
    return min(_quarter(model.accumulation), _quarter(model.storage) if stored else math.inf)


@dataclass(frozen=True, slots=True)
class Perturbation:
    """The quantities of clause MHN-BND-2 that describe the computed weights, one row per query.

    Args:
        tau: bound on the error of every logit, ``[L, N]``; 0 where masked.
        theta: bound on the error of every log-weight up to a common constant, ``[L, N]``; 0 where masked.
        e: ``exp(theta) - 1``.
        mean_e: the mean of ``e`` under the association, ``[L]``.
        kappa: absolute error of one weight from underflow and flushing, ``[L]``.
        q: ``mean_e + N kappa``.
        count: number of kept memories, ``[L]``.
        blocks: number of blocks of the online softmax.
        gamma_v: accumulated rounding of the numerator, ``[L]``.
        gamma_s: accumulated rounding of the denominator, ``[L]``.
        inside: whether the row meets the clause's domain as far as scores and constants go, ``[L]``.
    """

    tau: Array
    theta: Array
    e: Array
    mean_e: Array
    kappa: Array
    q: Array
    count: NDArray[np.int64]
    blocks: int
    gamma_v: Array
    gamma_s: Array
    inside: NDArray[np.bool_]


@implements("MHN-BND-2")
def perturbation(
    query: Array, memory: Array, beta: float, exact: Solution, model: AccuracyModel
) -> Perturbation:
    """Bound the error of every computed weight under ``model`` (logits, weights, sums, underflow).

    Args:
        query: ``[L, d]``.
        memory: ``[N, d]``; rows kept by no query may hold anything.
        beta: inverse temperature.
        exact: the exact solution of the same problem.
        model: the arithmetic claimed.
    """
    of = arithmetic(model, beta)
    d, b, kept = query.shape[1], abs(beta), exact.kept
    blocks = _blocks(model, memory.shape[0])
    with np.errstate(over="ignore", invalid="ignore"):
        logit = np.where(kept, np.abs(exact.logits), 0.0)
        magnitude = np.where(kept, exact.magnitudes, 0.0)
        query_entries, memory_entries = np.abs(query), np.abs(memory)
        entries = query_entries.sum(axis=1)[:, None] + np.where(kept, memory_entries.sum(axis=1), 0.0)
        tau = np.where(kept, _logit_error(of, model, beta, d, magnitude, logit, entries), 0.0)
        signed = np.where(kept, exact.logits, -np.inf)
        top = (signed + tau).max(axis=1, initial=-np.inf, keepdims=True)
        theta = tau + of.u * (top - signed + tau) + _constant_error(of, model, blocks)
        theta = np.where(kept, theta, 0.0)
        e = np.expm1(theta)
        mean_e = np.where(kept, exact.weights * e, 0.0).sum(axis=1)
        count = kept.sum(axis=1)
        growth = (1 + model.exp_error) ** blocks
        flushed = (model.exp_flush + 2 * blocks * of.eta) * growth * (1 + of.widening) + 2 * blocks * of.eta
        factor = 2.5 if model.normalize_first else 1 + mean_e
        kappa = (1 + mean_e) * flushed + factor * (of.eta + (of.eta_s if model.round_weights else 0.0))
        scores = np.maximum(magnitude, b * magnitude).max(axis=1, initial=0.0)
        inside = (scores <= _score_limit(model)) & (b <= _quarter(model.accumulation))
        if model.pre_scale:
            largest = np.maximum(
                query_entries.max(axis=1), np.where(kept, memory_entries.max(axis=1), 0.0).max(axis=1)
            )
            inside &= math.sqrt(b) * largest <= _quarter(model.storage)
    terms = count + blocks
    gamma_v = np.array([gamma(max(int(n) - 1, 0), of.u) for n in terms])
    gamma_s = np.array([gamma(max(int(n) - 2, 0), of.u) for n in terms])
    constants = gamma(d, of.u) <= 0.25 and blocks * model.exp_error <= 0.125 and of.us <= 1 / 64
    inside &= (gamma_v <= 0.25) & constants & (of.beta_error < 1) & ~np.isnan(theta).any(axis=1)
    q = mean_e + count * kappa
    return Perturbation(tau, theta, e, mean_e, kappa, q, count, blocks, gamma_v, gamma_s, inside)


def _weighted_distances(weights: Array, kept: NDArray[np.bool_], points: Array, centres: Array) -> Array:
    """``sum_i w_li |x_ij - c_lj|`` over kept memories, ``[L, dv]``, a block of memories at a time."""
    total = np.zeros(centres.shape)
    step = max(1, BLOCK // max(1, centres.size))
    for start in range(0, len(points), step):
        rows = slice(start, start + step)
        gaps = np.abs(points[rows] - centres[:, None, :])
        on = kept[:, rows]
        if not on.all():
            gaps = np.where(on[:, :, None], gaps, 0.0)
        total += (weights[:, None, rows] @ gaps)[:, 0]
    return total


def _extremes(kept: NDArray[np.bool_], points: Array) -> tuple[Array, Array]:
    """Largest and least entry of every column over the kept memories, ``[L, dv]`` each; infinite if none."""
    found: dict[bytes, tuple[Array, Array]] = {}
    for on in kept:
        key = on.tobytes()
        if key not in found:
            seen = points if on.all() else points[on]
            found[key] = seen.max(axis=0, initial=-np.inf), seen.min(axis=0, initial=np.inf)
    shape = (len(kept), points.shape[1])
    high, low = (np.array([found[on.tobytes()][k] for on in kept]).reshape(shape) for k in range(2))
    return high, low


def _refined(
    of: Arithmetic, model: AccuracyModel, exact: Solution, moved: Perturbation, out: Array
) -> Array | None:
    """The refinement of MHN-BND-2 where one memory is certainly ahead, infinite elsewhere, ``[L, dv]``."""
    if not (model.nearest and model.exp_zero_is_one):
        return None
    kept, p = exact.kept, exact.weights
    rows = np.arange(kept.shape[0])
    with np.errstate(over="ignore", invalid="ignore"):
        logits = np.where(kept, exact.logits, -np.inf)
        best = logits.argmax(axis=1)
        lead = logits[rows, best] - moved.tau[rows, best]
        rivals = np.where(kept, logits + moved.tau, -np.inf)
        rivals[rows, best] = -np.inf
        behind = logits - logits[rows, best][:, None] + moved.theta + moved.theta[rows, best][:, None]
        tiny = 2 * moved.blocks * of.eta * (1 + model.exp_error) ** moved.blocks
        rho = (2 if model.round_weights else 1) * (np.exp(behind) + tiny)
        rho = np.where(kept, rho, 0.0)
        rho[rows, best] = 0.0
        total = rho.sum(axis=1)
        size = np.abs(out)
        leader = out[best]
        sure = (lead > rivals.max(axis=1)) & (total <= REFINED_LIMIT)
        away = np.zeros(leader.shape)
        away[sure] = _weighted_distances(p[sure], kept[sure], out, leader[sure])
        rest = rho @ size + total[:, None] * np.abs(leader)
        rest = rest + (moved.count + moved.blocks)[:, None] * of.eta
        return np.asarray(np.where(sure[:, None], away + 64 * rest, np.inf))


@implements("MHN-BND-2")
def update_bound(
    query: Array,
    memory: Array,
    beta: float,
    exact: Solution,
    model: AccuracyModel,
    values: Array | None = None,
    moved: Perturbation | None = None,
) -> Array:
    """Bound on ``|computed - exact|`` of every component of the update, ``[L, dv]``.

    Infinite outside the clause's domain, 0 in empty rows.

    Args:
        query: ``[L, d]``.
        memory: ``[N, d]``.
        beta: inverse temperature.
        exact: the exact solution of the same problem.
        model: the arithmetic claimed.
        values: what is read out, ``[N, dv]``; None for the memory.
        moved: the perturbation, where it has been computed before.
    """
    of = arithmetic(model, beta)
    moved = moved or perturbation(query, memory, beta, exact, model)
    source = memory if values is None else values
    kept, p, o = exact.kept, exact.weights, exact.state.hi
    used = np.asarray(kept.any(axis=0))
    v = np.where(used[:, None], source, 0.0)
    n = moved.count[:, None].astype(np.float64)
    gamma_v, gamma_s = moved.gamma_v[:, None], moved.gamma_s[:, None]
    kappa, mean_e, q = moved.kappa[:, None], moved.mean_e[:, None], moved.q[:, None]
    w = of.widening
    spread = w + gamma_v * (1 + w)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        size = np.abs(v)
        heavy = np.where(kept, p * moved.e, 0.0)
        centred = _weighted_distances(heavy, kept, v, o)
        sizes = np.where(kept, p * (1 + moved.e), 0.0) @ size
        total = kept.astype(np.float64) @ size
        sharp = centred + spread * sizes + gamma_s * (1 + mean_e) * np.abs(o)
        sharp += (1 + gamma_v) * kappa * (total + n * np.abs(o)) + 6 * (1 + mean_e) * (
            n + moved.blocks
        ) * of.eta
        sharp = sharp / ((1 - gamma_s) * (1 - q))
        high, low = _extremes(kept, v)
        m = np.maximum(np.abs(high), np.abs(low))
        rounding = of.eta + (of.eta_s if model.round_weights else 0.0)
        hull = (high - low) + (spread + gamma_s) / (1 - gamma_s) * m + 2 * n * rounding * m
        hull += 2 * (n + moved.blocks) * of.eta * (1 + m)
        inner = np.where(q <= SHARP_LIMIT, np.fmin(sharp, hull), hull)
        bound = (1 + of.output_rounding) * inner + of.output_rounding * np.abs(o) + of.eta_s + 2 * of.eta
        refined = _refined(of, model, exact, moved, v)
        if refined is not None:
            bound = np.fmin(bound, refined)
        inside = moved.inside[:, None] & (n * m <= _quarter(model.accumulation))
        inside &= np.abs(o) + bound <= 4 * _quarter(model.storage)
        bound = np.where(inside & np.isfinite(bound), bound * INFLATION, np.inf)
    return np.where(n > 0, bound, 0.0)


@implements("MHN-BND-5")
def update_bound_on_ball(
    query: Array, memory: Array, beta: float, radius: float, kept: NDArray[np.bool_], model: AccuracyModel
) -> float:
    """Bound on ``|computed - exact|_2`` of one update, for every query within ``radius`` of ``query[d]``.

    Every quantity of MHN-BND-2 is replaced by the largest it can be over the ball.
    """
    x = memory[kept]
    n, d = x.shape
    if n == 0:
        return 0.0
    of, b = arithmetic(model, beta), abs(beta)
    blocks = _blocks(model, memory.shape[0])
    norm = float(np.linalg.norm(query)) * (1 + 1e-12) + radius
    largest = float(np.linalg.norm(x, axis=1).max()) * (1 + 1e-12)
    diameter = 2 * float(np.linalg.norm(x - x.mean(axis=0), axis=1).max()) * (1 + 1e-12)
    magnitude, logit = np.asarray(norm * largest), np.asarray(b * norm * largest)
    entries = np.asarray(math.sqrt(d) * (norm + largest))
    tau = float(_logit_error(of, model, beta, d, magnitude, logit, entries))
    theta = tau + of.u * (2 * float(logit) + 2 * tau) + _constant_error(of, model, blocks)
    gamma_v, gamma_s = gamma(n + blocks - 1, of.u), gamma(max(n + blocks - 2, 0), of.u)
    limit = max(float(magnitude), float(logit))
    inside = limit <= _score_limit(model) and n * largest <= _quarter(model.accumulation)
    constants = gamma(d, of.u) <= 0.25 and blocks * model.exp_error <= 0.125 and of.us <= 1 / 64
    if not (inside and constants and gamma_v <= 0.25):
        return math.inf
    e = math.expm1(theta) if theta < 1 else math.inf
    growth = (1 + model.exp_error) ** blocks
    flushed = (model.exp_flush + 2 * blocks * of.eta) * growth * (1 + of.widening) + 2 * blocks * of.eta
    kappa = (1 + min(e, 1.5)) * flushed + 2.5 * (of.eta + (of.eta_s if model.round_weights else 0.0))
    spread = of.widening + gamma_v * (1 + of.widening)
    if e + n * kappa <= SHARP_LIMIT:
        inner = (
            e * diameter + (spread + gamma_s) * (1 + e) * largest + (1 + gamma_v) * kappa * 2 * n * largest
        )
        inner += 6 * (1 + e) * (n + blocks) * of.eta * math.sqrt(d)
        inner /= (1 - gamma_s) * (1 - e - n * kappa)
    else:
        rounding = of.eta + (of.eta_s if model.round_weights else 0.0)
        inner = diameter + ((spread + gamma_s) / (1 - gamma_s) + 2 * n * rounding) * largest * math.sqrt(d)
        inner += 2 * (n + blocks) * of.eta * math.sqrt(d) * (1 + largest)
    least = (of.eta_s + 2 * of.eta) * math.sqrt(d)
    return float((1 + of.output_rounding) * inner + of.output_rounding * largest + least) * INFLATION


@implements("MHN-BND-7")
def association_bound(
    query: Array, memory: Array, beta: float, exact: Solution, model: AccuracyModel
) -> Array:
    """Bound on ``|computed - exact|`` of every association weight, ``[L, N]``; 0 where masked."""
    of = arithmetic(model, beta)
    moved = perturbation(query, memory, beta, exact, model)
    p = exact.weights
    gamma_s, kappa, q = moved.gamma_s[:, None], moved.kappa[:, None], moved.q[:, None]
    n = moved.count[:, None]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        heavy = np.where(exact.kept, p * moved.e, 0.0)
        others = moved.mean_e[:, None] - heavy
        inner = (
            p * ((1 - p) * moved.e + np.maximum(others, 0.0)) + kappa * (1 + n * p) + gamma_s * p * (1 + q)
        )
        inner = inner / ((1 - gamma_s) * (1 - q))
        inner = np.where(q <= SHARP_LIMIT, np.fmin(inner, 1 / (1 - gamma_s)), 1 / (1 - gamma_s))
        bound = (1 + of.output_rounding) * inner + of.output_rounding * p + of.eta_s + 2 * of.eta
        bound = np.where(moved.inside[:, None], bound * INFLATION, np.inf)
    return np.where(exact.kept, bound, 0.0)


@implements("MHN-BND-3")
def log_normalizer_bound(
    query: Array,
    memory: Array,
    beta: float,
    exact: Solution,
    model: AccuracyModel,
    moved: Perturbation | None = None,
) -> Array:
    """Bound on ``|computed - exact|`` of every log-normalizer, ``[L]``; 0 in empty rows."""
    of = arithmetic(model, beta)
    moved = moved or perturbation(query, memory, beta, exact, model)
    kept, n, lost = exact.kept, moved.count, moved.count * moved.kappa
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        lower = np.where(kept, exact.weights * np.exp(-moved.theta), 0.0).sum(axis=1) - lost
        h = np.maximum(np.log1p(moved.q), -np.log(lower)) - np.log1p(-moved.gamma_s)
        log_sum = np.log(n) + _constant_error(of, model, moved.blocks) - np.log1p(-moved.gamma_s) + 2 * lost
        top = np.abs(np.where(kept, exact.logits, -np.inf).max(axis=1, initial=-np.inf))
        value = np.abs(exact.log_normalizer.hi)
        size = top + moved.theta.max(axis=1, initial=0.0) + (1 + model.log_error) * log_sum
        inner = h + model.log_error * log_sum + ((1 + of.u) ** (2 + of.conversions) - 1) * size + 2 * of.eta
        bound = (1 + of.uf) * inner + of.uf * value + of.eta_f
        inside = moved.inside & (lost <= 0.125) & (lower > 0) & np.isfinite(bound)
        inside &= value + bound <= _quarter(model.output)
    return np.where(n > 0, np.where(inside, bound * INFLATION, np.inf), 0.0)


@implements("MHN-BND-4")
def energy_bound(
    query: Array,
    memory: Array,
    beta: float,
    exact: Solution,
    model: AccuracyModel,
    moved: Perturbation | None = None,
) -> Array:
    """Bound on ``|computed - exact|`` of every energy, ``[L]``, for ``beta > 0``; 0 in empty rows.

    Infinite where a term of the energy may exceed the formats: there clause MHN-ENE-6 applies.
    """
    if exact.energy is None:
        raise ValueError(f"beta must be positive for an energy, got {beta}")
    of = arithmetic(model, beta)
    kept, d = exact.kept, query.shape[1]
    n = kept.sum(axis=1)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        squares = np.where(kept, np.square(memory).sum(axis=1), 0.0).max(axis=1, initial=0.0)
        norms = (np.square(query).sum(axis=1) + squares) / 2
        lse, count = np.abs(exact.log_normalizer.hi) / beta, np.log(n) / beta
        phi = (1 + of.u) / (1 - of.beta_error) - 1
        inner = (1 + phi) * log_normalizer_bound(query, memory, beta, exact, model, moved) / beta + phi * lse
        inner = inner + gamma(d + 4, of.u) * norms + ((1 + model.log_error) * (1 + phi) - 1) * count
        inner = inner + 4 * (d + 1) * of.eta
        terms = lse + norms + count
        bound = (
            (1 + of.uf) * (inner + gamma(3, of.u) * (terms + inner))
            + of.uf * np.abs(exact.energy.hi)
            + of.eta_f
        )
        inside = terms <= min(_quarter(model.accumulation), _quarter(model.output))
    return np.where(n > 0, np.where(inside & np.isfinite(bound), bound * INFLATION, np.inf), 0.0)


@implements("MHN-PRC-3")
def truncation_bound(query: Array, memory: Array, beta: float, exact: Solution, bits: int) -> Array:
    """Bound on the error of one update in ``bits``-bit arithmetic with sums rounded once, ``[L, d]``."""
    u, b, p, o = 2.0**-bits, abs(beta), exact.weights, exact.state.hi
    logit = np.abs(exact.logits)
    tau = (1 + u) * b * (2 * u + u * u) * exact.magnitudes + u * logit
    top = (exact.logits + tau).max(axis=1, keepdims=True)
    with np.errstate(over="ignore", invalid="ignore"):
        e = np.expm1(tau + u * (top - exact.logits + tau) - math.log1p(-u))
        mean_e = (p * e).sum(axis=1, keepdims=True)
        centred = np.array([w @ np.abs(memory - x) for w, x in zip(p * e, o, strict=True)])
        sharp = centred + (2 * u + u * u) * ((p * (1 + e)) @ np.abs(memory)) + u * (1 + mean_e) * np.abs(o)
        sharp = sharp / ((1 - u) * (1 - mean_e))
        hull = (
            memory.max(axis=0) - memory.min(axis=0) + (3 * u + u * u) / (1 - u) * np.abs(memory).max(axis=0)
        )
        inner = np.where(mean_e < 1, np.fmin(sharp, hull), hull)
    return np.asarray(((1 + u) * inner + u * np.abs(o)) * INFLATION)
