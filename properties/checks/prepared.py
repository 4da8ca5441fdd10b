"""Prepared memories: the bits of the arrays they were made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from hopspec.properties.calls import Answer
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement, all_of, require
from hopspec.properties.problem import Problem

_READING = ("retrieve", "evaluate")
_QUANTITIES = ("retrieve", "log_normalizer", "evaluate", "energy", "settle", "association", "certify")


@check("MHN-DOM-10", family="masked", quantities=("retrieve", "prepare"), claims=("deterministic", "masks"))
def prepared_memories_give_the_same_bits(case: Case) -> Judgement | None:
    """Quantities of a memory prepared with its mask are those of the arrays."""
    judged = [
        _same_bits(quantity, "of a prepared memory", case.answer(quantity, prepared=True, **options), plain)
        for quantity in _half(case)
        for options in (_options(case.problem, quantity),)
        for plain in (case.answer(quantity, **options),)
    ]
    return all_of(*judged)


@check("MHN-DOM-10", family="values", quantities=("retrieve", "prepare"), claims=("deterministic", "values"))
def prepared_values_are_read_by_the_update_alone(case: Case) -> Judgement | None:
    """Values prepared with a memory are what the update reads out, and change nothing else."""
    bare = case.problem.but(values=None)
    judged = []
    for quantity in _half(case):
        options = _options(case.problem, quantity)
        plain = case.answer(quantity, case.problem if quantity in _READING else bare, **options)
        prepared = case.answer(quantity, prepared=True, **options)
        judged.append(_same_bits(quantity, "of a prepared memory with values", prepared, plain))
    return all_of(*judged)


@check("MHN-DOM-10", family="general", quantities=("retrieve", "prepare"), claims=("deterministic",))
def earlier_calls_of_a_prepared_memory_do_not_matter(case: Case) -> Judgement | None:
    """What was asked of a prepared memory before changes nothing."""
    judged = []
    for quantity in ("retrieve", "energy"):
        if case.provides(quantity):
            later = case.answer(quantity, prepared=True, arrays={"earlier": -case.problem.query})
            judged.append(_same_bits(quantity, "after another call", later, case.answer(quantity)))
    return all_of(*judged)


@check("MHN-DOM-10", family="general", quantities=("retrieve", "prepare"), claims=("deterministic",))
def changed_memories_are_noticed(case: Case) -> Judgement | None:
    """After a change of its array a prepared memory is refused, the old one, or the new one."""
    judged = []
    new = case.problem.but(memory=0.5 * case.problem.memory)
    if case.dtype not in new.formats:
        return None
    arrays = {"earlier": case.problem.query, "changed": new.memory}
    for quantity in ("retrieve", "energy"):
        if case.provides(quantity):
            answer = case.answer(quantity, prepared=True, arrays=arrays)
            known = [case.answer(quantity), case.answer(quantity, new)]
            sound = bool(answer.error) or any(_equal(answer, other) for other in known)
            judged.append(
                require(f"{quantity} after a change", sound, "other bits", "an error, or old or new bits")
            )
    return all_of(*judged)


def _half(case: Case) -> list[str]:
    """Every other quantity, for two calls each make these the most expensive cases of a run."""
    provided = [quantity for quantity in _QUANTITIES if case.provides(quantity)]
    return provided if len(provided) < 4 else provided[case.problem.seed % 2 :: 2]


def _options(problem: Problem, quantity: str) -> dict[str, Any]:
    return {"eps": problem.eps, "max_steps": problem.max_steps} if quantity == "settle" else {}


def _same_bits(quantity: str, where: str, answer: Answer, plain: Answer) -> Judgement:
    got = f"{answer.error}: {answer.message}" if answer.error else "other bits"
    return require(f"{quantity} {where}", _equal(answer, plain), got, plain.error or "the same bits")


def _equal(answer: Answer, other: Answer) -> bool:
    return (answer.error, answer.dtypes) == (other.error, other.dtypes) and all(
        np.array_equal(a, b, equal_nan=True) for a, b in zip(answer.arrays, other.arrays, strict=True)
    )
