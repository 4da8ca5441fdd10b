"""The energy: range, identity, decrease, gradient."""

from __future__ import annotations

import numpy as np

from hopspec.properties.checks.common import EPS64, energy_bound, length, lipschitz, update_bound
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement, within
from hopspec.properties.problem import Array, Problem, round_to


@check("MHN-ENE-2", family="general", quantities=("energy",))
def energy_in_range(case: Case) -> Judgement | None:
    """``(|xi| - M)**2 / 2 <= E(xi) <= (|xi| + M)**2 / 2``."""
    size = length(case.problem.query)
    largest = float(length(case.problem.memory).max())
    low, high = np.square(size - largest) / 2, np.square(size + largest) / 2
    got = case.value("energy")
    slack = energy_bound(case) + 16 * EPS64 * np.square(size + largest)
    return within("energy", got, np.clip(got, low, high), slack)


def _other(case: Case) -> Problem:
    """A second state between the query and a memory, the same in every dtype."""
    p = case.problem
    mixed = 0.5 * p.query + 0.5 * p.memory[p.rng.integers(0, p.memory.shape[0], p.query.shape[0])]
    return p.but(query=round_to(mixed, p.grain))


def _divergence(first: Problem, second: Problem) -> Array:
    """``KL(p(xi) || p(y)) / beta`` from exact logits and log-normalizers."""
    a, b = first.solution, second.solution
    moved = (a.weights * (a.logits - b.logits)).sum(axis=1)
    return np.asarray((moved - (a.log_normalizer.hi - b.log_normalizer.hi)) / first.beta)


def _evaluation_error(first: Problem, second: Problem) -> Array:
    """How far the float64 evaluation of the exact side of an identity may be off."""
    sizes = [np.square(length(p.query)) + np.square(length(p.solution.state.hi)) for p in (first, second)]
    logs = [
        np.abs(p.solution.log_normalizer.hi) + np.abs(p.solution.logits).max(axis=1) for p in (first, second)
    ]
    terms = 4 * (sizes[0] + sizes[1]) + 4 * (logs[0] + logs[1]) / first.beta
    count = first.memory.shape[0] + first.memory.shape[1]
    return np.asarray((count + 16) * EPS64 * terms)


@check("MHN-ENE-3", family="general", quantities=("energy",))
def three_point_identity(case: Case) -> Judgement | None:
    """Differences of the energy are those of the three-point identity, for any two states."""
    first, second = case.problem, _other(case)
    target = first.solution.state.hi
    exact = np.square(length(first.query - target)) / 2 - np.square(length(second.query - target)) / 2
    exact = exact + _divergence(first, second)
    got = case.value("energy") - case.value("energy", second)
    bound = energy_bound(case) + energy_bound(case, second) + _evaluation_error(first, second)
    bound = bound + EPS64 * (np.abs(case.value("energy")) + np.abs(case.value("energy", second)))
    return within("E(xi) - E(y)", got, exact, bound)


@check("MHN-ENE-4", family="general")
def update_decreases_energy(case: Case) -> Judgement | None:
    """The exact energy falls by half the squared step, but for half the squared rounding error."""
    first = case.problem
    got = case.value()
    if not np.isfinite(got).all() or first.solution.energy is None:
        return None
    second = first.but(query=got)
    after = second.solution.energy
    before = first.solution.energy
    if after is None:
        return None
    fall = (before.hi - after.hi) + (before.lo - after.lo)
    exact = first.solution.state
    # A step may be much shorter than the state is long: its float64 is not enough.
    step = length((first.query - exact.hi) - exact.lo)
    needed = np.square(step) / 2
    allowed = np.square(length(update_bound(case))) / 2
    doubt = EPS64 * step + length(exact.radius) + EPS64 * length(exact.lo)
    slack = 4 * first.query.shape[1] * EPS64 * (needed + np.square(length(got - exact.hi)))
    slack = slack + 4 * EPS64 * np.abs(fall) + before.radius + after.radius + 2 * doubt * (step + doubt)
    return within("fall of E", np.minimum(fall, needed), needed, allowed + slack)


@check("MHN-ENE-4", family="general", quantities=("retrieve", "energy"))
def reported_energy_decreases(case: Case) -> Judgement | None:
    """The energy the implementation reports falls too, within the bounds of both reports."""
    first = case.problem
    got = case.value()
    if not np.isfinite(got).all():
        return None
    second = first.but(query=got)
    fall = case.value("energy") - case.value("energy", second, varies=True)
    needed = np.square(length(first.query - first.solution.state.hi)) / 2
    bound = energy_bound(case) + energy_bound(case, second) + np.square(length(update_bound(case))) / 2
    bound = bound + _evaluation_error(first, second)
    return within("fall of reported E", np.minimum(fall, needed), needed, bound)


@check("MHN-ENE-5", family="general", quantities=("energy",))
def gradient_is_state_minus_update(case: Case) -> Judgement | None:
    """``E(xi + h) - E(xi) - <xi - T(xi), h>`` lies between ``(1 - L) |h|**2 / 2`` and ``|h|**2 / 2``."""
    first, second = case.problem, _other(case)
    step = second.query - first.query
    linear = ((first.query - first.solution.state.hi) * step).sum(axis=1)
    half = np.square(length(step)) / 2
    got = case.value("energy", second) - case.value("energy") - linear
    low, high = half * (1 - lipschitz(first)), half
    bound = energy_bound(case) + energy_bound(case, second) + 2 * _evaluation_error(first, second)
    return within("E(xi + h) - E(xi) - <grad E, h>", got, np.clip(got, low, high), bound)
