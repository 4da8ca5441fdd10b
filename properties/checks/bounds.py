"""Certified error bounds: the implementation against the exact solution."""

from __future__ import annotations

import numpy as np

from hopspec.properties.calls import Description
from hopspec.properties.checks.common import (
    association_bound,
    energy_bound,
    log_normalizer_bound,
    perturbation,
    update_bound,
    weight_slack,
)
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement, compare, require, within
from hopspec.types import AccuracyModel


@check("MHN-BND-2", family="general")
def update_within_bound(case: Case) -> Judgement | None:
    """The update errs by at most the bound of the claimed arithmetic."""
    return compare("update", case.value(), case.problem.solution.state, update_bound(case))


@check("MHN-BND-2", family="digits")
def update_of_digits_within_bound(case: Case) -> Judgement | None:
    """The same on handwritten digits."""
    return compare("update", case.value(), case.problem.solution.state, update_bound(case))


@check("MHN-BND-2", family="values", claims=("values",))
def read_out_within_bound(case: Case) -> Judgement | None:
    """The association reads out of separate values within the bound."""
    return compare("read-out", case.value(), case.problem.solution.state, update_bound(case))


@check("MHN-BND-3", family="general", quantities=("log_normalizer",))
def log_normalizer_within_bound(case: Case) -> Judgement | None:
    """The log-normalizer (natural logarithm, not divided by beta) is within its bound."""
    return compare(
        "log-normalizer",
        case.value("log_normalizer"),
        case.problem.solution.log_normalizer,
        log_normalizer_bound(case),
    )


@check("MHN-BND-3", family="digits", quantities=("log_normalizer",))
def log_normalizer_of_digits_within_bound(case: Case) -> Judgement | None:
    """The same on handwritten digits."""
    return log_normalizer_within_bound(case)


@check("MHN-BND-4", family="general", quantities=("energy",))
def energy_within_bound(case: Case) -> Judgement | None:
    """The energy, with its constants, is within its bound."""
    exact = case.problem.solution.energy
    return None if exact is None else compare("energy", case.value("energy"), exact, energy_bound(case))


@check("MHN-BND-4", family="digits", quantities=("energy",))
def energy_of_digits_within_bound(case: Case) -> Judgement | None:
    """The same on handwritten digits."""
    return energy_within_bound(case)


@check("MHN-BND-7", family="general", quantities=("association",))
def association_within_bound(case: Case) -> Judgement | None:
    """Every weight of the association is within its bound."""
    exact = case.problem.solution.weights
    slack = weight_slack(exact)
    return within("association", case.value("association"), exact, association_bound(case) + slack)


def _saturates(_description: Description, model: AccuracyModel) -> bool:
    exact = not (model.pre_scale or model.score_roundings or model.read_bits)
    return model.nearest and model.exp_zero_is_one and exact


@check("MHN-BND-6", family="separated", applies=_saturates)
def saturated_retrieval_is_bitwise(case: Case) -> Judgement | None:
    """Far above the separation that rounding can see, the memory comes back bit for bit."""
    problem, exact = case.problem, case.problem.solution
    moved = perturbation(case, problem)
    u = case.model.accumulation.unit_roundoff
    largest = float(np.abs(problem.memory).max())
    rows = []
    for row in range(problem.query.shape[0]):
        order = np.argsort(exact.logits[row])
        best = int(order[-1])
        least = float(np.abs(problem.memory[best]).min())
        if least == 0 or len(order) < 2:
            continue
        gap = float(exact.logits[row, best] - exact.logits[row, order[-2]])
        ratio = moved.constants.bitwise * len(order) * largest / least
        needed = np.log(ratio / u) + 2 * float(moved.theta[row].max())
        if gap >= needed:
            rows.append((row, best))
    if not rows:
        return None
    got = case.value()
    for row, best in rows:
        if not np.array_equal(got[row], problem.memory[best]):
            return require(f"update[{row}]", False, got[row].tolist(), problem.memory[best].tolist())
    return require("update", True, "memory", "memory")
