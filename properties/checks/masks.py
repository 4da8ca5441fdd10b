"""Keep masks: masked means removed, exactly."""

from __future__ import annotations

import numpy as np

from hopspec.properties.checks.common import (
    association_bound,
    energy_bound,
    every_kept,
    log_normalizer_bound,
    update_bound,
    weight_slack,
)
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement, all_of, compare, require, within
from hopspec.properties.problem import Problem


@check("MHN-MSK-2", family="masked", claims=("masks",))
def masked_update_is_that_of_the_kept(case: Case) -> Judgement | None:
    """The update over the kept memories, within their bound."""
    if not every_kept(case.problem):
        return None
    return compare("masked update", case.value(), case.problem.solution.state, update_bound(case))


@check("MHN-MSK-2", family="masked", claims=("masks",))
def masking_is_removing(case: Case) -> Judgement | None:
    """Masking a memory and deleting it give the same update, within the two bounds."""
    p = case.problem
    keep = p.keep
    if keep is None or keep.ndim != 1 or not keep.any():
        return None
    removed = p.but(memory=p.memory[keep], keep=None)
    bound = update_bound(case) + update_bound(case, removed)
    return within("masked update", case.value(), case.value("retrieve", removed), bound)


@check("MHN-MSK-2", family="masked", quantities=("log_normalizer",), claims=("masks",))
def masked_log_normalizer(case: Case) -> Judgement | None:
    """The log-normalizer sums over the kept memories."""
    if not every_kept(case.problem):
        return None
    exact = case.problem.solution.log_normalizer
    return compare("log-normalizer", case.value("log_normalizer"), exact, log_normalizer_bound(case))


@check("MHN-MSK-2", family="masked", quantities=("energy",), claims=("masks",))
def masked_energy(case: Case) -> Judgement | None:
    """N and M in the energy count the kept memories only."""
    exact = case.problem.solution.energy
    if exact is None or not every_kept(case.problem):
        return None
    return compare("energy", case.value("energy"), exact, energy_bound(case))


@check("MHN-MSK-2", family="masked", quantities=("association",), claims=("masks",))
def masked_association(case: Case) -> Judgement | None:
    """The association of a masked memory is 0, that of the others is theirs alone."""
    if not (every_kept(case.problem) or case.description.capabilities.empty_rows):
        return None
    exact = case.problem.solution.weights
    slack = weight_slack(exact)
    return within("association", case.value("association"), exact, association_bound(case) + slack)


@check("MHN-MSK-3", family="masked", claims=("masks", "nan_isolation"))
def masked_memory_may_hold_anything(case: Case) -> Judgement | None:
    """NaN and infinities in a memory that no query keeps change neither the update nor the scalars."""
    p = case.problem
    if p.keep is None or not every_kept(p):
        return None
    dropped = ~p.kept.any(axis=0)
    if not dropped.any():
        return None
    memory = p.memory.copy()
    memory[dropped] = (np.nan, np.inf, -np.inf)[p.seed % 3]
    other = p.but(memory=memory)
    judged = [compare("update", case.value("retrieve", other), p.solution.state, update_bound(case))]
    # Every other case of each: both in all of them would cost a third more.
    if p.seed // 3 % 2:
        if case.provides("log_normalizer"):
            got = case.value("log_normalizer", other)
            exact, bound = p.solution.log_normalizer, log_normalizer_bound(case)
            judged.append(compare("log-normalizer", got, exact, bound))
    elif case.provides("energy") and p.solution.energy is not None:
        judged.append(compare("energy", case.value("energy", other), p.solution.energy, energy_bound(case)))
    return all_of(*judged)


def _empty(p: Problem) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.asarray(~p.kept.any(axis=1))


@check("MHN-MSK-4", family="masked", claims=("masks", "empty_rows"))
def empty_rows(case: Case) -> Judgement | None:
    """Nothing kept: update 0, log-normalizer -inf, energy +inf."""
    empty = _empty(case.problem)
    if not empty.any():
        return None
    got = case.value()[empty]
    judged = [require("update of an empty row", bool((got == 0).all()), got.tolist(), 0)]
    for quantity, expected in (("log_normalizer", -np.inf), ("energy", np.inf)):
        if case.provides(quantity):
            reported = case.value(quantity)[empty]
            right = bool((reported == expected).all())
            judged.append(require(f"{quantity} of an empty row", right, reported.tolist(), expected))
    return all_of(*judged)
