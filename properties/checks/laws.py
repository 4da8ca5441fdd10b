"""Metamorphic laws: exact in real arithmetic, so two results may differ by their two bounds only."""

from __future__ import annotations

import math

import numpy as np

from hopspec.properties.calls import Description
from hopspec.properties.checks.common import (
    EPS64,
    energy_bound,
    length,
    log_normalizer_bound,
    representable,
    update_bound,
)
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement, all_of, compare, within
from hopspec.properties.problem import Array, Problem, round_to
from hopspec.types import AccuracyModel


def _same_update(case: Case, other: Problem, expected: Array, own: Array, what: str) -> Judgement | None:
    """The update of ``other`` against ``expected``, which errs by ``own``."""
    return within(what, case.value("retrieve", other), expected, update_bound(case, other) + own)


@check("MHN-LAW-1", family="general")
def permuting_memories_changes_nothing(case: Case) -> Judgement | None:
    """``T(xi; P X) = T(xi; X)``."""
    p = case.problem
    order = p.rng.permutation(p.memory.shape[0])
    other = p.but(memory=p.memory[order])
    return _same_update(case, other, case.value(), update_bound(case), "update of permuted memories")


@check("MHN-LAW-2", family="general")
def permuting_queries_permutes_updates(case: Case) -> Judgement | None:
    """Row k of the update belongs to query k, whatever the order."""
    p = case.problem
    if p.query.shape[0] < 2:
        return None
    order = np.roll(np.arange(p.query.shape[0]), 1)
    other = p.but(query=p.query[order])
    return _same_update(
        case, other, case.value()[order], update_bound(case)[order], "update of permuted queries"
    )


@check("MHN-LAW-3", family="general")
def duplicating_memories(case: Case) -> Judgement | None:
    """Every memory k times: the same update, ``log k`` more in the log-normalizer, the same energy."""
    p = case.problem
    k = 2 + p.seed % 2
    other = p.but(memory=np.repeat(p.memory, k, axis=0))
    judged = [_same_update(case, other, case.value(), update_bound(case), f"update of {k}-fold memories")]
    # One of the scalars in every case: both would cost as much again as the update.
    if p.seed // 2 % 2 and case.provides("log_normalizer"):
        bound = log_normalizer_bound(case, other) + log_normalizer_bound(case)
        expected = case.value("log_normalizer") + math.log(k)
        bound = bound + 4 * EPS64 * np.abs(expected)
        judged.append(within("log-normalizer", case.value("log_normalizer", other), expected, bound))
    elif case.provides("energy"):
        bound = energy_bound(case, other) + energy_bound(case)
        judged.append(within("energy", case.value("energy", other), case.value("energy"), bound))
    return all_of(*judged)


@check("MHN-LAW-4", family="general")
def scaling(case: Case) -> Judgement | None:
    """``(c xi, c X, beta / c**2)`` scales the update by c, the energy by c**2, for c of either sign."""
    p = case.problem
    c = (2.0, -1.0, 0.5, -4.0)[p.seed % 4]
    other = p.but(query=c * p.query, memory=c * p.memory, beta=p.beta / c**2)
    if not representable(case, other.query, other.memory):
        return None
    judged = [
        _same_update(case, other, c * case.value(), abs(c) * update_bound(case), f"update scaled by {c:g}")
    ]
    if p.seed // 4 % 2 and case.provides("energy"):
        bound = energy_bound(case, other) + c * c * energy_bound(case)
        judged.append(within("energy", case.value("energy", other), c * c * case.value("energy"), bound))
    return all_of(*judged)


def _orthogonal(d: int, rng: np.random.Generator) -> Array:
    """A signed permutation, or a Hadamard matrix over 2 on four of the coordinates."""
    q = np.eye(d)[rng.permutation(d)] * rng.choice([-1.0, 1.0], d)[:, None]
    if d >= 4 and rng.random() < 0.5:
        h = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2.0
        block = np.eye(d)
        block[:4, :4] = h
        q = block @ q
    return np.asarray(q)


@check("MHN-LAW-5", family="general")
def orthogonal_maps_commute(case: Case) -> Judgement | None:
    """``T(Q xi; X Q^T) = Q T(xi; X)``."""
    p = case.problem
    q = _orthogonal(p.query.shape[1], p.rng)
    other = p.but(query=p.query @ q.T, memory=p.memory @ q.T)
    if not representable(case, other.query, other.memory):
        return None
    with np.errstate(invalid="ignore"):
        own = update_bound(case) @ np.abs(q).T
    own = own + 8 * EPS64 * length(np.abs(case.value()))[:, None]
    return _same_update(case, other, case.value() @ q.T, own, "update of rotated patterns")


@check("MHN-LAW-6", family="general")
def translating_memories(case: Case) -> Judgement | None:
    """A vector added to every memory is added to the update."""
    p = case.problem
    shift = np.asarray(p.rng.integers(-3, 4, p.memory.shape[1]), dtype=np.float64)
    moved = round_to(p.memory + shift, p.grain)
    base = p.but(memory=moved - shift)
    other = p.but(memory=moved)
    if not representable(case, base.memory):
        return None
    expected = case.value("retrieve", base) + shift
    own = update_bound(case, base) + EPS64 * np.abs(expected)
    judged = [_same_update(case, other, expected, own, "update of translated memories")]
    if p.seed % 2 and case.provides("energy"):
        largest = [np.square(length(q.memory)).max() for q in (other, base)]
        change = (largest[0] - largest[1]) / 2 - p.query @ shift
        bound = energy_bound(case, other) + energy_bound(case, base)
        bound = bound + 32 * EPS64 * (largest[0] + largest[1] + np.abs(p.query) @ np.abs(shift))
        judged.append(
            within("energy", case.value("energy", other), case.value("energy", base) + change, bound)
        )
    return all_of(*judged)


@check("MHN-LAW-7", family="single")
def one_memory_is_returned(case: Case) -> Judgement | None:
    """With one memory the update is that memory, whatever the query and beta."""
    p = case.problem
    return within("update", case.value(), np.repeat(p.memory, p.query.shape[0], axis=0), update_bound(case))


def _takes_zero(description: Description, _model: AccuracyModel) -> bool:
    return description.capabilities.beta_range[0] <= 0


@check("MHN-LAW-8", family="general", applies=_takes_zero)
def beta_zero_is_the_mean(case: Case) -> Judgement | None:
    """At ``beta = 0`` the update is the mean of the memory."""
    p = case.problem.but(beta=0.0)
    return compare_mean(case, p)


def compare_mean(case: Case, p: Problem) -> Judgement | None:
    """The update of ``p`` against the mean of its memory."""
    mean = np.array([math.fsum(column) for column in p.memory.T]) / p.memory.shape[0]
    bound = update_bound(case, p) + EPS64 * np.abs(mean)
    return within(
        "update at beta = 0", case.value("retrieve", p), np.broadcast_to(mean, p.query.shape), bound
    )


@check("MHN-LAW-9", family="separated")
def large_beta_is_the_best_memory(case: Case) -> Judgement | None:
    """The distance to the mean of the best memories is at most ``2 M (N - m) / m * exp(-beta gap)``."""
    p = case.problem
    exact = p.solution
    best = exact.logits == exact.logits.max(axis=1, keepdims=True)
    mean = (best @ p.memory) / best.sum(axis=1, keepdims=True)
    rest = np.where(best, -np.inf, exact.logits).max(axis=1)
    gap = exact.logits.max(axis=1) - rest
    others = p.memory.shape[0] - best.sum(axis=1)
    rate = 2 * length(p.memory).max() * others / best.sum(axis=1) * np.exp(-gap) * (1 + 1e-9)
    # Logits that agree in float64 may differ by an ulp, which moves the weights of the best ones by as much.
    ties = 4 * EPS64 * np.abs(exact.logits).max(axis=1) * length(p.memory).max()
    bound = length(update_bound(case)) + rate + ties + 8 * EPS64 * length(mean)
    return within("distance to the best memories", length(case.value() - mean), np.zeros(len(gap)), bound)


@check("MHN-LSE-2", family="general", quantities=("retrieve", "log_normalizer"))
def blocks_merge_by_log_normalizers(case: Case) -> Judgement | None:
    """Two blocks merged by their log-normalizers give update and log-normalizer of the whole."""
    p = case.problem
    n = p.memory.shape[0]
    if n < 2:
        return None
    cut = 1 + p.seed % (n - 1)
    blocks = [p.but(memory=p.memory[:cut]), p.but(memory=p.memory[cut:])]
    logs = np.array([case.value("log_normalizer", b) for b in blocks])
    states = np.array([case.value("retrieve", b) for b in blocks])
    doubt = np.array([log_normalizer_bound(case, b) for b in blocks]).max(axis=0)
    errors = np.array([update_bound(case, b) for b in blocks])
    whole = p.solution.state.hi
    # A wrong kernel may answer with infinities.
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.logaddexp(logs[0], logs[1])
        weights = np.exp(logs - total)[:, :, None]
        merged = (weights * states).sum(axis=0)
        growth = np.expm1(2 * doubt)[:, None]
        spill = growth * (weights * np.abs(states - whole)).sum(axis=0)
        evaluation = EPS64 * (8 + np.abs(total)[:, None]) * np.abs(states).max(axis=0)
        bound = (weights * errors).sum(axis=0) * (1 + growth) + spill + evaluation
    judged = compare("merged update", merged, p.solution.state, bound)
    log_bound = doubt + EPS64 * (8 + 4 * np.abs(total))
    return all_of(judged, compare("merged log-normalizer", total, p.solution.log_normalizer, log_bound))
