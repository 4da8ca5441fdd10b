"""Leading dimensions, empty shapes, and errors at the boundary."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.properties.checks.common import (
    association_bound,
    energy_bound,
    log_normalizer_bound,
    update_bound,
    weight_slack,
)
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement, all_of, compare, require, within


@check("MHN-DOM-2", family="values", claims=("batch",))
def leading_dimensions_broadcast(case: Case) -> Judgement | None:
    """Leading dimensions broadcast as in a matrix product; each slice is a problem of its own."""
    p = case.problem.but(values=None)
    queries = np.stack([p.query, -p.query])
    memories = np.stack([p.memory, p.memory[::-1], 0.5 * p.memory])
    form = p.seed % 3
    arrays: dict[str, NDArray[Any]]
    if form == 0:
        arrays = {"query": queries[:, None], "memory": memories[None]}
    elif form == 1:
        arrays = {"query": queries, "memory": p.memory}
    else:
        arrays = {"query": p.query, "memory": memories[:, None]}
    lead = np.broadcast_shapes(arrays["query"].shape[:-2], arrays["memory"].shape[:-2])
    answer = case.completed(problem=p, arrays=arrays)
    shape = (*lead, *p.query.shape)
    got = answer.arrays[0]
    judged: list[Judgement | None] = [require("shape", got.shape == shape, got.shape, shape)]
    if got.shape != shape:
        return judged[0]
    full_query = np.broadcast_to(arrays["query"], shape)
    full_memory = np.broadcast_to(arrays["memory"], (*lead, *p.memory.shape))
    for index in np.ndindex(lead):
        local = p.but(query=full_query[index], memory=full_memory[index])
        if case.dtype not in local.formats:
            continue
        judged.append(
            compare(f"update{list(index)}", got[index], local.solution.state, update_bound(case, local))
        )
    return all_of(*judged)


@check("MHN-DOM-2", family="values", quantities=("log_normalizer",), claims=("batch",))
def other_quantities_broadcast_too(case: Case) -> Judgement | None:
    """Log-normalizer, energy and association of each slice are those of the slice, with its own beta."""
    p = case.problem.but(values=None)
    arrays: dict[str, NDArray[Any]] = {"query": p.query, "memory": np.stack([p.memory, 0.5 * p.memory])}
    betas = np.array([p.beta, p.beta])
    options: dict[str, Any] = {}
    if case.description.capabilities.tensor_beta:
        betas = np.float64(np.float32(p.beta)) * np.array([1.0, 2.0])
        arrays["beta"] = betas
        options["beta"] = None
    local = [p.but(memory=m, beta=float(b)) for m, b in zip(arrays["memory"], betas, strict=True)]
    if case.dtype not in local[1].formats:
        return None
    judged: list[Judgement | None] = []
    for quantity in ("log_normalizer", "energy", "association"):
        if not case.provides(quantity):
            continue
        answer = case.completed(quantity, p, arrays=arrays, **options)
        shape = (2, p.query.shape[0], *((p.memory.shape[0],) if quantity == "association" else ()))
        got = answer.arrays[0]
        judged.append(require(f"shape of {quantity}", got.shape == shape, got.shape, shape))
        if got.shape != shape:
            continue
        for i, q in enumerate(local):
            exact = q.solution
            if quantity == "log_normalizer":
                judged.append(
                    compare(f"{quantity}[{i}]", got[i], exact.log_normalizer, log_normalizer_bound(case, q))
                )
            elif quantity == "association":
                slack = weight_slack(exact.weights)
                judged.append(
                    within(f"{quantity}[{i}]", got[i], exact.weights, association_bound(case, q) + slack)
                )
            elif exact.energy is not None:
                judged.append(compare(f"{quantity}[{i}]", got[i], exact.energy, energy_bound(case, q)))
    return all_of(*judged)


@check("MHN-DOM-2", family="masked", claims=("batch", "masks"))
def masks_broadcast_over_leading_dimensions(case: Case) -> Judgement | None:
    """A mask with leading dimensions gives each slice a mask of its own."""
    p = case.problem
    if p.keep is None:
        return None
    keep = np.atleast_2d(p.keep)
    keeps = np.stack([keep, np.roll(keep, 1, axis=1)])
    answer = case.completed(
        problem=p.but(keep=None), arrays={"query": np.stack([p.query] * 2), "keep": keeps}
    )
    shape = (2, *p.query.shape)
    got = answer.arrays[0]
    judged: list[Judgement | None] = [require("shape", got.shape == shape, got.shape, shape)]
    if got.shape != shape:
        return judged[0]
    for i, one in enumerate(keeps):
        q = p.but(keep=one)
        some = q.kept.any(axis=1, keepdims=True)
        bound = np.where(some, update_bound(case, q), np.inf)
        judged.append(compare(f"update[{i}]", got[i], q.solution.state, bound))
    return all_of(*judged)


@check("MHN-DOM-2", family="single", claims=("batch",))
def no_queries_no_results(case: Case) -> Judgement | None:
    """L = 0 gives an empty result of the right shape, N = 0 gives empty rows."""
    p = case.problem
    none = case.answer(arrays={"query": p.query[:0], "memory": p.memory})
    judged = []
    said: Any = none.error or none.arrays[0].shape
    judged.append(require("update of no queries", said == (0, p.query.shape[1]), said, (0, p.query.shape[1])))
    if case.description.capabilities.empty_rows:
        nothing = case.answer(arrays={"query": p.query, "memory": p.memory[:0]})
        zeros = (
            not nothing.error
            and bool((nothing.arrays[0] == 0).all())
            and nothing.arrays[0].shape == p.query.shape
        )
        judged.append(
            require("update with no memories", zeros, nothing.error or nothing.arrays[0].tolist(), 0)
        )
    return all_of(*judged)


@check("MHN-UPD-8", family="values", claims=("batch", "tensor_beta"))
def beta_per_head(case: Case) -> Judgement | None:
    """A tensor beta over the leading dimensions gives each slice its own beta."""
    p = case.problem.but(values=None)
    betas = np.float64(np.float32(p.beta)) * np.array([1.0, 0.5, 2.0])
    arrays = {"query": np.stack([p.query] * 3), "memory": np.stack([p.memory] * 3), "beta": betas}
    answer = case.completed(problem=p, arrays=arrays, beta=None)
    got = answer.arrays[0]
    judged = [require("shape", got.shape == (3, *p.query.shape), got.shape, (3, *p.query.shape))]
    if not judged[0].holds:
        return judged[0]
    local = [p.but(beta=float(b)) for b in betas]
    compared = [
        compare(f"update[{i}]", got[i], q.solution.state, update_bound(case, q)) for i, q in enumerate(local)
    ]
    return all_of(*judged, *compared)


def _malformed(case: Case) -> list[tuple[str, dict[str, NDArray[Any]], dict[str, Any]]]:
    """The argument at fault, the arrays and the options of calls that must be refused."""
    p = case.problem
    good: dict[str, NDArray[Any]] = {"query": p.query, "memory": p.memory}
    wide = np.concatenate([p.query, p.query], axis=1)
    refused: list[tuple[str, dict[str, NDArray[Any]], dict[str, Any]]] = [
        ("query", {**good, "query": p.query[0]}, {}),
        ("memory", {**good, "memory": p.memory[0]}, {}),
        ("query|memory", {**good, "query": wide}, {}),
        ("beta", good, {"beta": math.nan}),
        ("beta", good, {"beta": math.inf}),
    ]
    capabilities = case.description.capabilities
    if capabilities.masks:
        refused.append(("keep", {**good, "keep": np.ones(p.memory.shape[0] + 1, dtype=np.bool_)}, {}))
        refused.append(("keep", {**good, "keep": np.ones(p.memory.shape[0])}, {}))
    if capabilities.values:
        refused.append(("values", {**good, "values": np.ones((p.memory.shape[0] + 1, 2))}, {}))
    if capabilities.steps:
        refused.append(("steps", good, {"steps": -1}))
    return refused


@check("MHN-DOM-4", family="single", claims=("errors",))
def malformed_calls_are_refused(case: Case) -> Judgement | None:
    """A malformed call raises a ValueError or TypeError that names the argument.

    Every problem asks a third of the malformed calls there are.
    """
    judged = []
    calls = [("retrieve", *rest) for rest in _malformed(case)]
    good: dict[str, NDArray[Any]] = {"query": case.problem.query, "memory": case.problem.memory}
    if case.provides("settle"):
        calls.append(("settle", "eps", good, {"eps": -1.0}))
        calls.append(("settle", "max_steps", good, {"max_steps": 0}))
    for quantity in ("energy", "evaluate"):
        if case.provides(quantity):
            calls.append((quantity, "beta", good, {"beta": -1.0}))
    for quantity, argument, arrays, options in calls[case.problem.seed % 3 :: 3]:
        answer = case.answer(quantity, arrays=arrays, **options)
        named = answer.error in ("ValueError", "TypeError") and any(
            name in answer.message for name in argument.split("|")
        )
        said = f"{answer.error}: {answer.message}" if answer.error else "no error"
        judged.append(
            require(f"{quantity} with a bad {argument}", named, said, f"an error naming {argument}")
        )
    return all_of(*judged)
