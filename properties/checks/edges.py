"""Non-finite and extreme inputs, and the whole range of beta."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hopspec.properties.checks.common import energy_bound, length, log_normalizer_bound, update_bound
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement, all_of, compare, require, within
from hopspec.properties.problem import Problem, round_to

BAD = (np.nan, np.inf, -np.inf)


@check("MHN-NFI-1", family="general", claims=("nan_isolation",))
def bad_query_spoils_its_row_only(case: Case) -> Judgement | None:
    """A NaN or infinity in a query makes its own row NaN and leaves the others within their bounds."""
    p = case.problem
    row, column = p.seed % p.query.shape[0], p.seed % p.query.shape[1]
    query = p.query.copy()
    query[row, column] = BAD[p.seed % 3]
    got = case.value("retrieve", p.but(query=query))
    others = np.arange(len(query)) != row
    bound = np.where(others[:, None], update_bound(case), np.inf)
    spoilt = bool(np.isnan(got[row]).all())
    mates = compare("update of the other rows", np.where(others[:, None], got, 0.0), p.solution.state, bound)
    return all_of(require(f"update[{row}]", spoilt, got[row].tolist(), "NaN throughout"), mates)


@check("MHN-NFI-1", family="general", quantities=("log_normalizer",), claims=("nan_isolation",))
def bad_query_spoils_its_log_normalizer(case: Case) -> Judgement | None:
    """Log-normalizer and energy of that row are NaN too, those of the others within their bounds."""
    p = case.problem
    row = p.seed % p.query.shape[0]
    query = p.query.copy()
    query[row, p.seed % p.query.shape[1]] = BAD[p.seed % 3]
    return _scalars_spoilt(case, p.but(query=query), np.arange(len(query)) == row)


def _scalars_spoilt(case: Case, bad: Problem, spoilt: NDArray[np.bool_]) -> Judgement | None:
    """NaN in the log-normalizers and energies of the ``spoilt`` rows; the others are those of the case."""
    exact = case.problem.solution
    others = ~spoilt & case.problem.kept.any(axis=1)
    judged: list[Judgement | None] = []
    for quantity, right, bound in (
        ("log_normalizer", exact.log_normalizer, log_normalizer_bound),
        ("energy", exact.energy, energy_bound),
    ):
        if not case.provides(quantity) or right is None:
            continue
        got = case.value(quantity, bad)
        is_nan = bool(np.isnan(got[spoilt]).all())
        judged.append(require(f"{quantity} of the spoilt rows", is_nan, got[spoilt].tolist(), "NaN"))
        allowed = np.where(others, bound(case), np.inf)
        judged.append(compare(f"{quantity} of the other rows", np.where(others, got, 0.0), right, allowed))
    return all_of(*judged)


@check("MHN-NFI-2", family="masked", quantities=("log_normalizer",), claims=("masks", "nan_isolation"))
def bad_memory_spoils_log_normalizers(case: Case) -> Judgement | None:
    """Log-normalizer and energy are NaN for exactly the queries that keep the memory."""
    p = case.problem
    bad = p.seed % p.memory.shape[0]
    memory = p.memory.copy()
    memory[bad, p.seed % p.memory.shape[1]] = BAD[p.seed % 3]
    return _scalars_spoilt(case, p.but(memory=memory), p.kept[:, bad])


@check("MHN-NFI-2", family="masked", claims=("masks", "nan_isolation"))
def bad_memory_spoils_rows_that_see_it(case: Case) -> Judgement | None:
    """A NaN or infinity in a memory makes exactly those rows NaN that keep it."""
    p = case.problem
    bad = p.seed % p.memory.shape[0]
    memory = p.memory.copy()
    memory[bad, p.seed % p.memory.shape[1]] = BAD[p.seed % 3]
    got = case.value("retrieve", p.but(memory=memory))
    sees = p.kept[:, bad]
    judged: list[Judgement | None] = []
    if sees.any():
        spoilt = bool(np.isnan(got[sees]).all())
        judged.append(require("update of rows that keep it", spoilt, got[sees].tolist(), "NaN throughout"))
    rest = (~sees) & p.kept.any(axis=1)
    bound = np.where(rest[:, None], update_bound(case), np.inf)
    judged.append(
        compare("update of the other rows", np.where(rest[:, None], got, 0.0), p.solution.state, bound)
    )
    return all_of(*judged)


@check("MHN-NFI-3", family="extreme", claims=("finite_range",))
def finite_in_finite_out(case: Case) -> Judgement | None:
    """However large the inputs or beta, the update is finite and in the convex hull."""
    p = case.problem
    got, memory = case.value(), p.memory
    u = case.format.unit_roundoff
    slack = (4 + 2 * memory.shape[0]) * u * np.abs(memory).max(axis=0) + 2.0 ** max(
        case.format.least_exponent, -1074
    )
    hull = within(
        "update", got, np.clip(got, memory.min(axis=0), memory.max(axis=0)), np.broadcast_to(slack, got.shape)
    )
    return all_of(require("update", bool(np.isfinite(got).all()), got.tolist(), "finite"), hull)


@check("MHN-NFI-3", family="extreme", claims=("finite_range",))
def one_extreme_memory_is_returned(case: Case) -> Judgement | None:
    """The convex hull of one memory is that memory, be it subnormal or next to overflow."""
    p = case.problem
    memory = p.memory[p.seed % p.memory.shape[0]][None, :]
    if p.seed % 2:
        # As large as a subnormal number can be.
        shift = case.format.emin - math.frexp(float(np.abs(memory).max()))[1]
        memory = round_to(np.ldexp(memory, shift), case.format)
    alone = p.but(memory=memory)
    expected = np.repeat(alone.memory, p.query.shape[0], axis=0)
    slack = 4 * case.format.unit_roundoff * np.abs(expected) + 2.0 ** max(case.format.least_exponent, -1074)
    return within("update", case.value("retrieve", alone, varies=True), expected, slack)


@check("MHN-NFI-3", family="extreme", claims=("finite_range",))
def mean_of_extreme_memories(case: Case) -> Judgement | None:
    """At ``beta = 0`` memories of one sign next to overflow have a finite mean; their sum overflows."""
    p = case.problem
    if case.description.capabilities.beta_range[0] > 0:
        return None
    memory = np.abs(p.memory)
    n, exponent = memory.shape[0], math.frexp(float(memory.max()))[1]
    memory = round_to(np.ldexp(memory, case.format.emax + 1 - exponent), case.format)
    level = p.but(memory=memory, beta=0.0)
    mean = np.ldexp(np.ldexp(memory, -4).sum(axis=0) / n, 4)
    expected = np.broadcast_to(mean, p.query.shape)
    slack = (4 + 2 * n) * case.format.unit_roundoff * memory.max(axis=0)
    slack = slack + 2.0 ** max(case.format.least_exponent, -1074)
    got = case.value("retrieve", level, varies=True)
    return within("update", got, expected, np.broadcast_to(slack, p.query.shape))


@check("MHN-NFI-3", family="extreme", claims=("finite_range",))
def extreme_update_is_the_best_memory(case: Case) -> Judgement | None:
    """Where one memory is ahead by far more than any rounding, it is what comes back."""
    p = case.problem
    exact = p.solution
    model = case.model
    # What a score is rounded to; the weights, rounded to storage, leave no doubt about which one is largest.
    narrow = model.score_roundings or model.pre_scale
    u = (model.storage if narrow else model.accumulation).unit_roundoff
    with np.errstate(invalid="ignore", over="ignore"):
        rest = exact.state.hi - p.memory[np.argmax(exact.weights, axis=1)]
        sharp = (exact.weights.max(axis=1) == 1.0) & (np.abs(rest).max(axis=1) == 0)
        ordered = np.sort(exact.logits, axis=1)
        doubt = 16 * (p.memory.shape[1] + 4) * u * np.abs(p.beta) * exact.magnitudes.max(axis=1)
        clear = sharp & (ordered[:, -1] - ordered[:, max(-2, -ordered.shape[1])] > 200 + 2 * doubt)
    if p.memory.shape[0] < 2 or not clear.any():
        return None
    got = case.value()[clear]
    expected = exact.state.hi[clear]
    bound = (4 + 2 * p.memory.shape[0]) * case.format.unit_roundoff * np.abs(p.memory).max()
    return within("update", got, expected, np.full(got.shape, bound))


@check("MHN-UPD-8", family="any-beta")
def any_finite_beta(case: Case) -> Judgement | None:
    """Negative, zero, tiny and huge beta inside the claimed range give the update within its bound."""
    low, high = case.description.capabilities.beta_range
    if not low <= case.problem.beta <= high:
        return None
    return compare("update", case.value(), case.problem.solution.state, update_bound(case))


@check("MHN-ENE-6", family="extreme", quantities=("energy",), claims=("finite_range",))
def too_large_energy_is_infinite(case: Case) -> Judgement | None:
    """An energy beyond the dtype is +inf, never NaN or -inf."""
    p = case.problem
    got = case.value("energy")
    sound = bool((~np.isnan(got) & (got > -np.inf)).all())
    judged = [require("energy", sound, got.tolist(), "a number or +inf")]
    top = max(np.abs(p.query).max(), np.abs(p.memory).max()) or 1.0
    output = case.model.output
    with np.errstate(over="ignore", under="ignore"):
        gap = np.abs(length(p.query / top) - length(p.memory / top).max()) * top
        certainly = gap / 2 > float(output.largest) / np.maximum(gap, 1.0) * 2
    if certainly.any():
        infinite = bool((got[certainly] == np.inf).all())
        judged.append(require("energy", infinite, got[certainly].tolist(), "+inf"))
    return all_of(*judged)
