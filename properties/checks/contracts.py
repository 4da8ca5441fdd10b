"""Contracts every call must keep: types, purity, strides, determinism, batch-mates, convex hull."""

from __future__ import annotations

from functools import partial

import numpy as np

from hopspec.formats import BFLOAT16, FLOAT16
from hopspec.properties.checks.common import every_kept, update_bound
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement, all_of, compare, require, within
from hopspec.properties.problem import Problem
from hopspec.properties.shaping import admits

LAYOUTS = ("transposed", "every-other-row", "every-other-column", "offset", "mixed")


@check("MHN-DOM-3", family="general")
def results_have_the_type_of_the_clause(case: Case) -> Judgement | None:
    """Update in the dtype and on the device of the inputs; log-normalizer and energy of halves in float32."""
    half = case.format in (BFLOAT16, FLOAT16)
    judged = []
    for quantity in ("retrieve", "association", "log_normalizer", "energy"):
        if not case.provides(quantity):
            continue
        answer = case.completed(quantity)
        expected = "float32" if half and quantity in ("log_normalizer", "energy") else case.dtype
        case.value(quantity)
        judged.append(
            require(f"dtype of {quantity}", answer.dtypes[0] == expected, answer.dtypes[0], expected)
        )
    return all_of(*judged)


@check("MHN-DOM-5", family="general")
def inputs_are_not_modified(case: Case) -> Judgement | None:
    """Every argument has the same bits after the call as before."""
    judged = []
    for quantity in ("retrieve", "log_normalizer", "energy", "evaluate"):
        if case.provides(quantity):
            mutated = case.answer(quantity).mutated
            judged.append(
                require(f"arguments of {quantity}", not mutated, f"modified {mutated}", "unmodified")
            )
    return all_of(*judged)


@check("MHN-DOM-5", family="masked", claims=("masks",))
def masked_inputs_are_not_modified(case: Case) -> Judgement | None:
    """The same where some memories are masked: neither they nor the mask are written to."""
    judged = []
    quantities = ("retrieve", "association", "log_normalizer", "energy", "evaluate")
    # Two or three of them in every case: all would make it one of the most expensive.
    for quantity in (quantities * 2)[case.problem.seed % 2 :: 2][:3]:
        if case.provides(quantity):
            mutated = case.answer(quantity).mutated
            judged.append(
                require(f"arguments of {quantity}", not mutated, f"modified {mutated}", "unmodified")
            )
    return all_of(*judged)


@check("MHN-DOM-6", family="general", claims=("strides",))
def strides_do_not_matter(case: Case) -> Judgement | None:
    """Transposed, strided and offset views give a result within the bound."""
    layout = LAYOUTS[case.problem.seed % len(LAYOUTS)]
    got = case.value("retrieve", layout=layout)
    return compare(f"update ({layout} views)", got, case.problem.solution.state, update_bound(case))


@check("MHN-DOM-6", family="masked", claims=("strides", "masks"))
def strides_of_masks_do_not_matter(case: Case) -> Judgement | None:
    """The same for the mask."""
    if not every_kept(case.problem):
        return None
    return strides_do_not_matter(case)


@check("MHN-DOM-6", family="values", claims=("strides", "values"))
def strides_of_values_do_not_matter(case: Case) -> Judgement | None:
    """The same for the values."""
    return strides_do_not_matter(case)


@check("MHN-DOM-7", family="general", claims=("deterministic",))
def same_inputs_same_bits(case: Case) -> Judgement | None:
    """A second call gives the same bits, of sums that cancel too: there every rounding shows."""
    asked = {"second call": case.problem}
    cancelling: Problem = case.remember("cancelling", case.problem, partial(_cancelling, case.problem))
    (count, _), (n, d) = cancelling.query.shape, cancelling.memory.shape
    # An implementation of a list of shapes may have none of twice as many memories.
    if admits(case.description.capabilities.shapes, (count, n, d, d)):
        asked["second call on sums that cancel"] = cancelling
    judged = []
    for name, p in asked.items():
        first, second = case.value("retrieve", p), case.value("retrieve", p, fresh=True)
        same = np.array_equal(first, second, equal_nan=True)
        judged.append(require(name, same, "other bits", "the same bits"))
    return all_of(*judged)


def _cancelling(p: Problem) -> Problem:
    """Every memory and its opposite with nearly equal weights: the update is small beside its terms."""
    return p.but(memory=np.concatenate([p.memory, -p.memory[::-1]]), beta=p.beta * 2.0**-14)


@check("MHN-DOM-8", family="general")
def batch_mates_do_not_matter(case: Case) -> Judgement | None:
    """A query alone gives what it gives in a batch, within the two bounds."""
    problem = case.problem
    if problem.query.shape[0] < 2:
        return None
    together = case.value()
    row = problem.seed % problem.query.shape[0]
    alone = problem.but(query=problem.query[row : row + 1])
    bound = update_bound(case)[row] + update_bound(case, alone)[0]
    return within(f"update of query {row} alone", case.value("retrieve", alone)[0], together[row], bound)


@check("MHN-UPD-7", family="general")
def update_in_convex_hull(case: Case) -> Judgement | None:
    """No component leaves the range of its column by more than the bound."""
    got, memory = case.value(), case.problem.memory
    return within("update", got, np.clip(got, memory.min(axis=0), memory.max(axis=0)), update_bound(case))
