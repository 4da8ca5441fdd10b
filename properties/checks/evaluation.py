"""Evaluation: update, log-normalizer and energy of one call, each as good as by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.formats import BFLOAT16, FLOAT16
from hopspec.properties.checks.common import energy_bound, log_normalizer_bound, update_bound
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement, all_of, compare, require
from hopspec.properties.problem import Array, Mask, Problem

BAD = (np.nan, np.inf, -np.inf)
EMPTY = {"state": 0.0, "log-normalizer": -np.inf, "energy": np.inf}


def _evaluated(
    case: Case, problem: Problem, lead: tuple[int, ...] = (), **options: Any
) -> tuple[dict[str, Array], Judgement]:
    """The three results, or none of them, with a judgement of their shapes and types."""
    answer = case.completed("evaluate", problem, **options)
    width = (problem.memory if problem.values is None else problem.values).shape[-1]
    rows = (*lead, problem.query.shape[0])
    scalar = "float32" if case.format in (BFLOAT16, FLOAT16) else case.dtype
    wanted = [((*rows, width), case.dtype), (rows, scalar), (rows, scalar)]
    got = [(a.shape, d) for a, d in zip(answer.arrays, answer.dtypes, strict=True)]
    right = require("shapes and dtypes of an evaluation", got == wanted, got, wanted)
    return (dict(zip(EMPTY, answer.arrays, strict=True)) if right.holds else {}), right


def _shown(problem: Problem, rows: Mask | None) -> Mask:
    """Those of ``rows``, or of all, that keep a memory."""
    kept = np.asarray(problem.kept.any(axis=1), dtype=np.bool_)
    return kept if rows is None else kept & rows


def _compared(
    case: Case, problem: Problem, got: dict[str, Array], rows: Mask | None = None
) -> list[Judgement | None]:
    """Each result against the exact one of ``problem`` and its own bound, in all ``rows`` or some."""
    shown = _shown(problem, rows)[:, None]
    allowed = np.where(shown, update_bound(case, problem), np.inf)
    state = compare("state", np.where(shown, got["state"], 0.0), problem.solution.state, allowed)
    return [state, *_scalars_compared(case, problem, got, rows)]


def _scalars_compared(
    case: Case, problem: Problem, got: dict[str, Array], rows: Mask | None = None
) -> list[Judgement | None]:
    """The same for log-normalizer and energy alone."""
    exact = problem.solution
    shown = _shown(problem, rows)
    judged: list[Judgement | None] = []
    for name, right, bound in (
        ("log-normalizer", exact.log_normalizer, log_normalizer_bound),
        ("energy", exact.energy, energy_bound),
    ):
        if right is not None:
            allowed = np.where(shown, bound(case, problem), np.inf)
            judged.append(compare(name, np.where(shown, got[name], 0.0), right, allowed))
    return judged


@check("MHN-ENE-7", family="general", quantities=("evaluate",))
def evaluation_within_bounds(case: Case) -> Judgement | None:
    """Update, log-normalizer and energy of one call are each within the bound they have by themselves."""
    got, right = _evaluated(case, case.problem)
    return all_of(right, *_compared(case, case.problem, got)) if got else right


@check("MHN-ENE-7", family="values", quantities=("evaluate",), claims=("values",))
def evaluation_reads_out_of_values(case: Case) -> Judgement | None:
    """With values the state is read out of them; log-normalizer and energy are those of the memory."""
    return evaluation_within_bounds(case)


@check("MHN-ENE-7", family="masked", quantities=("evaluate",), claims=("masks", "empty_rows"))
def masked_evaluation(case: Case) -> Judgement | None:
    """All three are those of the kept memories; where nothing is kept they are 0, -inf and +inf."""
    p = case.problem
    got, right = _evaluated(case, p)
    if not got:
        return right
    empty = ~p.kept.any(axis=1)
    judged = _compared(case, p, got)
    for name, expected in EMPTY.items() if empty.any() else ():
        said = got[name][empty]
        judged.append(require(f"{name} of an empty row", bool((said == expected).all()), said, expected))
    return all_of(right, *judged)


@check("MHN-ENE-7", family="masked", quantities=("evaluate",), claims=("masks", "nan_isolation"))
def bad_rows_spoil_an_evaluation(case: Case) -> Judgement | None:
    """A NaN or infinity in a query or a memory makes all three NaN in the rows that see it and no others."""
    p = case.problem
    query, memory = p.query.copy(), p.memory.copy()
    kept = p.kept
    column, bad = p.seed % query.shape[1], BAD[p.seed % 3]
    if p.seed // 3 % 2:
        row = p.seed % query.shape[0]
        query[row, column] = bad
        spoilt = (np.arange(len(query)) == row) & kept.any(axis=1)
    else:
        row = p.seed % memory.shape[0]
        memory[row, column] = bad
        spoilt = kept[:, row]
    got, right = _evaluated(case, p.but(query=query, memory=memory))
    if not got:
        return right
    judged: list[Judgement | None] = [
        require(f"{name} of the spoilt rows", bool(np.isnan(said[spoilt]).all()), said[spoilt], "NaN")
        for name, said in got.items()
    ]
    return all_of(right, *judged, *_compared(case, p, got, ~spoilt))


@check("MHN-ENE-7", family="values", quantities=("evaluate",), claims=("values", "nan_isolation"))
def bad_value_spoils_the_read_out_alone(case: Case) -> Judgement | None:
    """A NaN or infinity in a value shows in its component of the read-out, and nowhere else but there."""
    p = case.problem
    if p.values is None:
        return None
    values, column = p.values.copy(), p.seed % p.values.shape[1]
    values[p.seed % len(values), column] = BAD[p.seed % 3]
    got, right = _evaluated(case, p.but(values=values))
    if not got:
        return right
    said = got["state"][:, column]
    judged = [require("read-out of that component", not np.isfinite(said).any(), said, "NaN or infinite")]
    return all_of(right, *judged, *_scalars_compared(case, p, got))


@check("MHN-ENE-7", family="extreme", quantities=("evaluate",), claims=("finite_range",))
def extreme_evaluation(case: Case) -> Judgement | None:
    """However large the inputs or beta: a finite state, no NaN, and every bound that applies is kept."""
    p = case.problem
    got, right = _evaluated(case, p)
    if not got:
        return right
    energy = got["energy"]
    judged = [
        require("state", bool(np.isfinite(got["state"]).all()), got["state"], "finite"),
        require("energy", bool((energy > -np.inf).all()), energy, "a number or +inf"),
    ]
    return all_of(right, *judged, *_compared(case, p, got))


@check("MHN-ENE-7", family="values", quantities=("evaluate",), claims=("batch",))
def evaluations_broadcast(case: Case) -> Judgement | None:
    """Each slice of the leading dimensions is evaluated by itself, with its own memory, values and beta."""
    p = case.problem
    claimed = case.description.capabilities
    if not claimed.values:
        p = p.but(values=None)
    arrays: dict[str, NDArray[Any]] = {"query": p.query, "memory": np.stack([p.memory, 0.5 * p.memory])}
    betas = np.array([p.beta, p.beta])
    options: dict[str, Any] = {}
    if claimed.tensor_beta:
        betas = np.float64(np.float32(p.beta)) * np.array([1.0, 2.0])
        arrays["beta"] = betas
        options["beta"] = None
    slices = [p.but(memory=m, beta=float(b)) for m, b in zip(arrays["memory"], betas, strict=True)]
    if case.dtype not in slices[1].formats:
        return None
    got, right = _evaluated(case, p, (2,), arrays=arrays, **options)
    if not got:
        return right
    judged = [
        judgement
        for i, one in enumerate(slices)
        for judgement in _compared(case, one, {name: said[i] for name, said in got.items()})
    ]
    return all_of(right, *judged)
