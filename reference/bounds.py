r"""Proved error bounds of one update, per accuracy model (chapter 10 of the specification).

Every function evaluates the formulas of its clause, with their names, in float64 from an exact
:class:`~hopspec.reference.solution.Solution`, whose entries are accurate to a few units of 2**-53. The
results are multiplied by ``INFLATION``: the formulas are sums of non-negative terms, so their evaluation errs
relatively by far less than that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import implements
from hopspec.reference.arithmetic import (
    Arithmetic,
    additions,
    arithmetic,
    blocks_of,
    constant_error,
    gamma,
    logarithm_error,
    logit_error,
    lost_weight,
    ordinary,
    quarter,
    score_limit,
)
from hopspec.reference.biased import biased_logit_error
from hopspec.reference.frame import Frame
from hopspec.reference.merging import Constants, constants, merged_lost_weight, merging_error
from hopspec.reference.solution import Solution
from hopspec.types import AccuracyModel, Summation

__all__ = [
    "Extent",
    "Perturbation",
    "association_bound",
    "energy_bound",
    "extent",
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
        constants: those that depend on whether parts may be merged (clause MHN-BND-8).
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
    constants: Constants
    inside: NDArray[np.bool_]


def _added(order: Summation, count: int, memories: int, merged: bool) -> int:
    """Additions that a memory of ``count`` kept ones passes through; parts are merged in any order."""
    any_order = max(count - 1, 0)
    return any_order if merged else min(any_order, additions(order, memories))


@implements("MHN-BND-2", "MHN-BND-8", "MHN-ATT-5")
def perturbation(
    query: Array,
    memory: Array,
    beta: float,
    exact: Solution,
    model: AccuracyModel,
    bias: Array | None = None,
    frame: Frame | None = None,
) -> Perturbation:
    """Bound the error of every computed weight under ``model`` (logits, weights, sums, underflow, merging).

    Args:
        query: ``[L, d]``.
        memory: ``[N, d]``; rows kept by no query may hold anything.
        beta: inverse temperature.
        exact: the exact solution of the same problem.
        model: the arithmetic claimed.
        bias: what is added to the logits, ``[L, N]``, ``-inf`` where masked; None for nothing.
        frame: what depends on no model, where it has been computed before.
    """
    of = arithmetic(model, beta)
    frame = frame or Frame(query, memory, beta, exact, bias)
    d, b, on = query.shape[1], abs(beta), frame.where_kept
    blocks, merging = blocks_of(model, memory.shape[0]), constants(model, memory.shape[0])
    count = frame.count
    gamma_v, gamma_s = _sum_errors(of, model, count, memory.shape[0], blocks, merging)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if bias is None:
            tau = logit_error(of, model, beta, d, frame.magnitude, frame.logit, frame.entries)
        else:
            given = frame.magnitude, frame.total, frame.added, frame.entries
            tau = biased_logit_error(of, model, beta, d, *given)
        tau = on(tau)
        top = (frame.signed + tau).max(axis=1, initial=-np.inf, keepdims=True)
        theta = tau + of.u * (top - frame.signed + tau) + constant_error(of, model, blocks)
        if merging.merged:
            largest = on(np.maximum(frame.logit + tau, top))
            theta = theta + merging_error(of, model, blocks, largest, count[:, None], gamma_s[:, None])
        theta = on(theta)
        e = np.expm1(theta)
        mean_e = on(exact.weights * e).sum(axis=1)
        # At least one weight is 1 before it is normalised: that is how far normalising can magnify.
        scale = on(exact.weights * (1 + e)).max(axis=1, initial=0.0)
        kappa = lost_weight(of, model, blocks, merging.widening(of), scale)
        if merging.merged:
            kappa = merged_lost_weight(of, model, kappa, mean_e)
        inside = frame.largest_score <= score_limit(model)
        inside &= b <= quarter(model.accumulation)
        if model.pre_scale or of.ux:
            entry = frame.largest_entry
            if model.pre_scale:
                entry = math.sqrt(b) * entry
            inside &= entry <= quarter(model.storage if model.pre_scale else model.accumulation)
    inside &= (gamma_v <= 0.25) & (gamma_s <= 0.25) & ~np.isnan(theta).any(axis=1)
    inside &= ordinary(of, model, d, blocks)
    q = mean_e + count * kappa
    return Perturbation(tau, theta, e, mean_e, kappa, q, count, blocks, gamma_v, gamma_s, merging, inside)


def _sum_errors(
    of: Arithmetic,
    model: AccuracyModel,
    count: NDArray[np.int64],
    memories: int,
    blocks: int,
    merging: Constants,
) -> tuple[Array, Array]:
    """``gamma_V`` and ``gamma_S`` for every number of kept memories in ``count``."""
    numbers = count.tolist()
    known = {n: _sum_error(of, model, n, memories, blocks, merging) for n in set(numbers)}
    pairs = np.array([known[n] for n in numbers]).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _sum_error(
    of: Arithmetic, model: AccuracyModel, count: int, memories: int, blocks: int, merging: Constants
) -> tuple[float, float]:
    weighted, plain = (
        _added(order, count, memories, merging.merged) for order in (model.weighted_sum, model.weight_sum)
    )
    # A row that keeps nothing has no product.
    some = min(count, 1)
    numerator, denominator = weighted + some + merging.products, plain + some
    return gamma(numerator + blocks - 1, of.u), gamma(max(denominator + blocks - 2, 0), of.u)


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


def _refined(of: Arithmetic, model: AccuracyModel, frame: Frame, moved: Perturbation) -> Array | None:
    """The refinement of MHN-BND-2 where one memory is certainly ahead, infinite elsewhere, ``[L, dv]``."""
    if not (model.nearest and model.exp_zero_is_one) or model.read_bits:
        return None
    kept, p, out = frame.kept, frame.exact.weights, frame.seen
    rows = np.arange(kept.shape[0])
    with np.errstate(over="ignore", invalid="ignore"):
        logits, best = frame.signed, frame.leaders
        lead = logits[rows, best] - moved.tau[rows, best]
        rivals = logits + moved.tau
        rivals[rows, best] = -np.inf
        behind = logits - logits[rows, best][:, None] + moved.theta + moved.theta[rows, best][:, None]
        factors = moved.blocks + moved.constants.products
        tiny = 2 * factors * of.eta * (1 + model.exp_error) ** factors
        rho = (2 if model.round_weights else 1) * (np.exp(behind) + tiny)
        rho = np.where(kept, rho, 0.0)
        rho[rows, best] = 0.0
        total = rho.sum(axis=1)
        sure = (lead > rivals.max(axis=1)) & (total <= REFINED_LIMIT)
        if not sure.any():
            return None
        leader = out[best]
        away = np.zeros(leader.shape)
        away[sure] = _weighted_distances(p[sure], kept[sure], out, leader[sure])
        rest = rho @ frame.size + total[:, None] * np.abs(leader)
        rest = rest + (moved.count + moved.blocks)[:, None] * of.eta
        return np.asarray(np.where(sure[:, None], away + moved.constants.refined * rest, np.inf))


@implements("MHN-BND-2")
def update_bound(
    query: Array,
    memory: Array,
    beta: float,
    exact: Solution,
    model: AccuracyModel,
    values: Array | None = None,
    moved: Perturbation | None = None,
    frame: Frame | None = None,
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
        frame: what depends on no model, where it has been computed before.
    """
    of = arithmetic(model, beta)
    frame = frame or Frame(query, memory, beta, exact, None, values)
    moved = moved or perturbation(query, memory, beta, exact, model)
    kept, p, o, on = exact.kept, exact.weights, exact.state.hi, frame.where_kept
    n = moved.count[:, None].astype(np.float64)
    gamma_v, gamma_s = moved.gamma_v[:, None], moved.gamma_s[:, None]
    kappa, mean_e, q = moved.kappa[:, None], moved.mean_e[:, None], moved.q[:, None]
    parts = moved.constants
    w = parts.widening(of)
    spread = w + gamma_v * (1 + w)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        # The update lies up to frame.off from o, which matters where it is much smaller than the memories.
        largest, heavy = frame.largest, on(p * moved.e)
        centred = _weighted_distances(heavy, kept, frame.seen, o)
        centred = centred + heavy.sum(axis=1, keepdims=True) * frame.off
        sizes = on(p * (1 + moved.e)) @ frame.size
        sharp = centred + spread * sizes + gamma_s * (1 + mean_e) * largest
        sharp += (1 + gamma_v) * kappa * (frame.sizes + n * largest)
        sharp += parts.underflow * (1 + mean_e) * (n + moved.blocks) * of.eta + 3 * of.eta_v
        sharp = sharp / ((1 - gamma_s) * (1 - q))
        (high, low), m = frame.extremes, frame.reach
        hull = (high - low) + (spread + gamma_s) / (1 - gamma_s) * m
        hull += parts.hull_rounding * n * of.eta_w * (m + of.eta_v) + parts.hull_reading * of.eta_v
        hull += parts.hull_underflow * (n + moved.blocks) * of.eta * (1 + m)
        inner = np.where(q <= SHARP_LIMIT, np.fmin(sharp, hull), hull)
        inner += parts.least * (of.eta_s + 2 * of.eta)
        bound = (1 + of.output_rounding) * inner + of.output_rounding * largest + of.eta_s + 2 * of.eta
        refined = _refined(of, model, frame, moved)
        if refined is not None:
            bound = np.fmin(bound, refined)
        inside = moved.inside[:, None] & (n * m <= quarter(model.accumulation))
        inside &= np.abs(o) + bound <= 4 * quarter(model.storage)
        bound = np.where(inside & np.isfinite(bound), bound * INFLATION, np.inf)
    return np.where(n > 0, bound, 0.0)


class Extent(NamedTuple):
    """What MHN-BND-5 needs to know of the memories that a query keeps.

    Args:
        memories: how many they are.
        largest: bound on their lengths.
        diameter: bound on their distances.
    """

    memories: int
    largest: float
    diameter: float


def extent(memory: Array, kept: NDArray[np.bool_]) -> Extent:
    """The extent of ``memory[kept]``, for ``memory`` of shape ``[N, d]`` and ``kept`` of shape ``[N]``."""
    x = memory[kept]
    if not len(x):
        return Extent(0, 0.0, 0.0)
    largest, radius = (float(np.linalg.norm(y, axis=1).max()) for y in (x, x - x.mean(axis=0)))
    return Extent(len(x), largest * (1 + 1e-12), 2 * radius * (1 + 1e-12))


@implements("MHN-BND-5")
def update_bound_on_ball(
    query: Array,
    memory: Array,
    beta: float,
    radius: float,
    kept: NDArray[np.bool_],
    model: AccuracyModel,
    seen: Extent | None = None,
) -> float:
    """Bound on ``|computed - exact|_2`` of one update, for every query within ``radius`` of ``query[d]``.

    Every quantity of MHN-BND-2 is replaced by the largest it can be over the ball. ``seen`` is the extent of
    the kept memories, where it has been computed before.
    """
    n, largest, diameter = seen or extent(memory, kept)
    d = memory.shape[1]
    if n == 0:
        return 0.0
    of, b = arithmetic(model, beta), abs(beta)
    blocks, parts = blocks_of(model, memory.shape[0]), constants(model, memory.shape[0])
    norm = float(np.linalg.norm(query)) * (1 + 1e-12) + radius
    magnitude, logit = np.asarray(norm * largest), np.asarray(b * norm * largest)
    entries = np.asarray(math.sqrt(d) * (norm + largest))
    tau = float(logit_error(of, model, beta, d, magnitude, logit, entries))
    theta = tau + of.u * (2 * float(logit) + 2 * tau) + constant_error(of, model, blocks)
    gamma_v, gamma_s = _sum_error(of, model, n, memory.shape[0], blocks, parts)
    limit = max(float(magnitude), float(logit))
    inside = limit <= score_limit(model) and n * largest <= quarter(model.accumulation)
    inside = inside and ordinary(of, model, d, blocks) and max(gamma_v, gamma_s) <= 0.25
    if model.pre_scale or of.ux:
        entry = max(norm, largest) * (math.sqrt(b) if model.pre_scale else 1.0)
        inside = inside and entry <= quarter(model.storage if model.pre_scale else model.accumulation)
    if not inside:
        return math.inf
    if parts.merged:
        known = (np.full((1, 1), float(logit) + tau), np.full((1, 1), n), np.full((1, 1), gamma_s))
        theta += float(merging_error(of, model, blocks, *known)[0, 0])
    e = math.expm1(theta) if theta < 1 else math.inf
    w, most = parts.widening(of), np.full(1, min(e, 1.5))
    lost = lost_weight(of, model, blocks, w, 1 + most)
    kappa = float((merged_lost_weight(of, model, lost, most) if parts.merged else lost)[0])
    spread = w + gamma_v * (1 + w)
    if e + n * kappa <= SHARP_LIMIT:
        inner = (
            e * diameter + (spread + gamma_s) * (1 + e) * largest + (1 + gamma_v) * kappa * 2 * n * largest
        )
        inner += parts.underflow * (1 + e) * (n + blocks) * of.eta * math.sqrt(d)
        inner += 3 * of.eta_v * math.sqrt(d)
        inner /= (1 - gamma_s) * (1 - e - n * kappa)
    else:
        relative = (spread + gamma_s) / (1 - gamma_s) + parts.hull_rounding * n * of.eta_w
        inner = diameter + (relative * largest + parts.hull_rounding * n * of.eta_w * of.eta_v) * math.sqrt(d)
        inner += parts.hull_reading * of.eta_v * math.sqrt(d)
        inner += parts.hull_underflow * (n + blocks) * of.eta * math.sqrt(d) * (1 + largest)
    least = (of.eta_s + 2 * of.eta) * math.sqrt(d)
    inner += parts.least * least
    return float((1 + of.output_rounding) * inner + of.output_rounding * largest + least) * INFLATION


@implements("MHN-BND-7")
def association_bound(
    query: Array,
    memory: Array,
    beta: float,
    exact: Solution,
    model: AccuracyModel,
    moved: Perturbation | None = None,
) -> Array:
    """Bound on ``|computed - exact|`` of every association weight, ``[L, N]``; 0 where masked."""
    of = arithmetic(model, beta)
    if moved is None or moved.constants.merged:
        moved = perturbation(query, memory, beta, exact, replace(model, merged_from=0))
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


@implements("MHN-BND-3", "MHN-ATT-6")
def log_normalizer_bound(
    query: Array,
    memory: Array,
    beta: float,
    exact: Solution,
    model: AccuracyModel,
    moved: Perturbation | None = None,
    base: float = math.e,
    frame: Frame | None = None,
) -> Array:
    """Bound on ``|computed - exact|`` of every log-normalizer, ``[L]``; 0 in empty rows.

    Of logarithms to another ``base`` it is a bound in their own units (clause MHN-ATT-6).
    """
    of = arithmetic(model, beta)
    # Whether logits or their logarithm are converted, it takes two roundings.
    of = of if base == math.e else replace(of, conversions=2)
    unit = math.log(base)
    moved = moved or perturbation(query, memory, beta, exact, model)
    frame = frame or Frame(query, memory, beta, exact)
    n, lost = moved.count, moved.count * moved.kappa
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        below = frame.where_kept(exact.weights * np.expm1(-moved.theta)).sum(axis=1) - lost
        h = np.maximum(np.log1p(moved.q), -np.log1p(below)) - np.log1p(-moved.gamma_s)
        log_sum = np.log(n) + constant_error(of, model, moved.blocks) - np.log1p(-moved.gamma_s) + 2 * lost
        top = np.abs(frame.signed.max(axis=1, initial=-np.inf))
        value = np.abs(exact.log_normalizer.hi) / unit
        size = top + moved.theta.max(axis=1, initial=0.0)
        size += (moved.constants.logarithms + model.log_error) * log_sum
        inner = (h + logarithm_error(of, model, size, log_sum)) / unit
        bound = (1 + of.uf) * inner + of.uf * value + of.eta_f
        inside = moved.inside & (lost <= 0.125) & (below > -1) & np.isfinite(bound)
        inside &= value + bound <= quarter(model.output)
    return np.where(n > 0, np.where(inside, bound * INFLATION, np.inf), 0.0)


@implements("MHN-BND-4")
def energy_bound(
    query: Array,
    memory: Array,
    beta: float,
    exact: Solution,
    model: AccuracyModel,
    moved: Perturbation | None = None,
    log_bound: Array | None = None,
    frame: Frame | None = None,
) -> Array:
    """Bound on ``|computed - exact|`` of every energy, ``[L]``, for ``beta > 0``; 0 in empty rows.

    Infinite where a term of the energy may exceed the formats: there clause MHN-ENE-6 applies. ``log_bound``
    is that of the natural log-normalizer, where it has been computed before.
    """
    if exact.energy is None:
        raise ValueError(f"beta must be positive for an energy, got {beta}")
    of = arithmetic(model, beta)
    frame = frame or Frame(query, memory, beta, exact)
    if log_bound is None:
        log_bound = log_normalizer_bound(query, memory, beta, exact, model, moved, frame=frame)
    d, n = query.shape[1], frame.count
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        norms = frame.norms
        lse, count = np.abs(exact.log_normalizer.hi) / beta, np.log(n) / beta
        phi = (of.u + of.beta_error) / (1 - of.beta_error) if of.beta_error < 1 else math.inf
        inner = (1 + phi) * log_bound / beta + phi * lse
        inner = inner + gamma(d + 4, of.u) * norms + (model.log_error + phi + model.log_error * phi) * count
        inner = inner + 4 * (d + 1) * of.eta
        terms = lse + norms + count
        bound = (
            (1 + of.uf) * (inner + gamma(3, of.u) * (terms + inner))
            + of.uf * np.abs(exact.energy.hi)
            + of.eta_f
        )
        inside = terms <= min(quarter(model.accumulation), quarter(model.output))
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
