"""Attention: causal calls, grouped heads, biases, logarithms to the base 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.properties.checks.common import log_normalizer_bound, update_bound
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement, all_of, compare, require
from hopspec.properties.problem import Problem
from hopspec.reference.attention_form import key_head

# Numbers of query heads and of key heads.
GROUPS = ((4, 2), (6, 3), (6, 2), (3, 1), (8, 4))


def _asked(p: Problem, judgement: Judgement | None) -> Judgement | None:
    return judgement and replace(judgement, problem=p)


def _attends(case: Case, p: Problem) -> Judgement | None:
    """Attention within its bound in the rows that keep a key, and 0 in others if that is claimed."""
    return _asked(p, _rows_judged(case, p, case.value("attention", p)))


def _rows_judged(case: Case, p: Problem, got: NDArray[np.float64], where: str = "") -> Judgement | None:
    some = np.asarray(p.kept.any(axis=1))
    judged: list[Judgement | None] = []
    if some.any():
        bound = np.where(some[:, None], update_bound(case, p), np.inf)
        shown = np.where(some[:, None], got, 0.0)
        judged.append(compare(f"attention{where}", shown, p.solution.state, bound))
    if case.description.capabilities.empty_rows and not some.all():
        empty = got[~some]
        judged.append(
            require(f"attention{where} of an empty row", bool((empty == 0).all()), empty.tolist(), 0)
        )
    return all_of(*judged)


def _log_normalizers(case: Case, p: Problem) -> Judgement | None:
    some = p.kept.any(axis=1)
    if not some.any():
        return None
    bound = np.where(some, log_normalizer_bound(case, p), np.inf)
    got = np.where(some, case.value("log_normalizer", p), 0.0)
    return _asked(p, compare("log-normalizer", got, p.solution.log_normalizer, bound))


def _own(case: Case, **changes: Any) -> Problem:
    """The case's problem, without values where they are not claimed."""
    p = case.problem.but(**changes)
    return p if case.description.capabilities.values else p.but(values=None)


def _alignment(case: Case) -> str:
    """The claimed one; where none is claimed, the one to be expected."""
    return case.description.capabilities.causal or "top-left"


@check("MHN-ATT-3", family="causal", quantities=("attention",), claims=("causal",))
def causal_call_is_a_mask(case: Case) -> Judgement | None:
    """A causal call is the call with the causal mask of the claimed alignment."""
    p = _own(case, keep=None, bias=None, causal=_alignment(case))
    judged = [_attends(case, p)]
    if case.provides("log_normalizer"):
        judged.append(_log_normalizers(case, p.but(values=None)))
    return all_of(*judged)


def _both(case: Case, p: Problem, what: str) -> Judgement | None:
    answer = case.answer("attention", p)
    if answer.error:
        return require(f"causal call with a {what}", True, answer.error, "both, or an error")
    return _attends(case, p)


@check("MHN-ATT-3", family="causal", quantities=("attention",), claims=("causal", "masks"))
def causal_and_mask_both_hold(case: Case) -> Judgement | None:
    """A causal call with a mask obeys both, or is refused."""
    return _both(case, _own(case, bias=None, causal=_alignment(case)), "mask")


@check("MHN-ATT-3", family="causal", quantities=("attention",), claims=("causal", "bias"))
def causal_and_bias_both_hold(case: Case) -> Judgement | None:
    """A causal call with a bias obeys both, or is refused."""
    return _both(case, _own(case, keep=None, causal=_alignment(case)), "bias")


@check("MHN-ATT-4", family="values", quantities=("attention",), claims=("grouped",))
def heads_share_keys_in_groups(case: Case) -> Judgement | None:
    """Query head h of H reads key head h // (H / G) of G."""
    heads, groups = GROUPS[case.problem.seed % len(GROUPS)]
    base = _own(case)
    values = base.memory if base.values is None else base.values
    own = [base.but(memory=x, values=v) for x, v in _key_heads(base.memory, values, groups)]
    queries = [(1.0, -1.0, 0.5)[h % 3] * np.roll(base.query, h, axis=0) for h in range(heads)]
    arrays: dict[str, NDArray[Any]] = {
        "query": np.stack(queries),
        "memory": np.stack([p.memory for p in own]),
        "values": np.stack([p.values for p in own if p.values is not None]),
    }
    got = case.completed("attention", base, arrays=arrays).arrays[0]
    shape = (heads, base.query.shape[0], values.shape[1])
    judged: list[Judgement | None] = [require("shape", got.shape == shape, got.shape, shape)]
    if got.shape != shape:
        return _of_arrays(base, arrays, *judged)
    for h, query in enumerate(queries):
        p = own[key_head(h, heads, groups)].but(query=query)
        if case.dtype in p.formats:
            judged.append(_rows_judged(case, p, got[h], f" of head {h}"))
    return _of_arrays(base, arrays, *judged)


def _of_arrays(p: Problem, arrays: dict[str, NDArray[Any]], *judged: Judgement | None) -> Judgement | None:
    """The worst of several judgements of one call with these arguments."""
    worst = all_of(*judged)
    return worst and replace(worst, problem=p, arrays=arrays)


def _key_heads(
    memory: NDArray[np.float64], values: NDArray[np.float64], groups: int
) -> Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Different keys and values for each head, of the format of the first."""
    changes = ((1.0, 1.0), (-1.0, 1.0), (1.0, -1.0), (0.5, -1.0))
    return [(a * np.roll(memory, g, axis=0), b * values) for g, (a, b) in enumerate(changes[:groups])]


@check("MHN-ATT-5", family="biased", quantities=("attention",), claims=("bias",))
def biased_attention_within_bound(case: Case) -> Judgement | None:
    """Attention with a bias errs by at most its bound; a bias of -inf removes the key."""
    return _attends(case, _own(case))


@check("MHN-ATT-5", family="biased", quantities=("attention", "log_normalizer"), claims=("bias",))
def biased_log_normalizer_within_bound(case: Case) -> Judgement | None:
    """The log-normalizer counts the bias."""
    return _log_normalizers(case, case.problem.but(values=None))


@check("MHN-ATT-5", family="biased", quantities=("attention",), claims=("bias", "batch"))
def each_head_has_its_bias(case: Case) -> Judgement | None:
    """A bias with leading dimensions gives each head a bias of its own."""
    p = _own(case)
    if p.bias is None:
        return None
    others = [p, p.but(bias=p.bias[:, ::-1]), p.but(bias=np.roll(p.bias, 1, axis=1))]
    arrays: dict[str, NDArray[Any]] = {
        "query": np.stack([p.query] * 3),
        "bias": np.stack([q.bias for q in others if q.bias is not None]),
    }
    got = case.completed("attention", p, arrays=arrays).arrays[0]
    width = (p.memory if p.values is None else p.values).shape[1]
    shape = (3, p.query.shape[0], width)
    judged: list[Judgement | None] = [require("shape", got.shape == shape, got.shape, shape)]
    if got.shape != shape:
        return _of_arrays(p, arrays, *judged)
    return _of_arrays(
        p, arrays, *judged, *(_rows_judged(case, q, got[h], f" of head {h}") for h, q in enumerate(others))
    )


@check("MHN-ATT-6", family="general", quantities=("log_normalizer",), claims=("binary_logarithms",))
def binary_log_normalizer_within_bound(case: Case) -> Judgement | None:
    """A log-normalizer to the base 2, times log 2, is the natural one."""
    return _log_normalizers(case, case.problem)
