"""Looks for a smaller problem that still breaks a clause, within a time budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import numpy as np

from hopspec.properties.problem import Problem

__all__ = ["reduce_problem"]


def _without(p: Problem, keep_rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Problem:
    keep = p.keep if p.keep is None else p.keep[..., keep_rows]
    values = p.values if p.values is None else p.values[keep_rows]
    bias = p.bias if p.bias is None else p.bias[:, keep_rows]
    return p.but(memory=p.memory[keep_rows], keep=keep, values=values, bias=bias)


def _fewer_queries(p: Problem) -> Iterator[Problem]:
    count = p.query.shape[0]
    for row in range(count if count > 1 else 0):
        keep = p.keep[row : row + 1] if p.keep is not None and p.keep.ndim == 2 else p.keep
        bias = p.bias if p.bias is None else p.bias[row : row + 1]
        yield p.but(query=p.query[row : row + 1], keep=keep, bias=bias)


def _fewer_memories(p: Problem) -> Iterator[Problem]:
    n = p.memory.shape[0]
    size = n // 2
    while size >= 1:
        for start in range(0, n, size):
            rest = np.r_[0:start, min(start + size, n) : n]
            if len(rest) and len(rest) < n:
                yield _without(p, rest)
        size //= 2


def _narrower(p: Problem) -> Iterator[Problem]:
    d = p.memory.shape[1]
    for column in range(d if d > 1 else 0):
        rest = np.delete(np.arange(d), column)
        yield p.but(query=p.query[:, rest], memory=p.memory[:, rest])


def _plainer(p: Problem) -> Iterator[Problem]:
    if p.steps > 1:
        yield p.but(steps=p.steps - 1)
    simple = math.ldexp(1.0, math.frexp(p.beta)[1]) if p.beta > 0 and math.isfinite(p.beta) else p.beta
    for beta in (1.0, simple):
        if beta != p.beta:
            yield p.but(beta=beta)
    for name in PLAINER:
        array = getattr(p, name)
        if array is None:
            continue
        for change in (
            np.zeros_like(array),
            np.rint(array),
            np.rint(array * 4) / 4,
            np.rint(array * 64) / 64,
        ):
            if not np.array_equal(change, array):
                yield p.but(**{name: change})


def _sparser(p: Problem) -> Iterator[Problem]:
    for name in ("query", "memory"):
        array = getattr(p, name)
        for at in zip(*np.nonzero(array), strict=True):
            zeroed = array.copy()
            zeroed[at] = 0.0
            yield p.but(**{name: zeroed})


# Arrays whose numbers may become plainer.
PLAINER = ("query", "memory", "bias")
# The boldest first.
STAGES = (_fewer_queries, _fewer_memories, _narrower, _plainer, _sparser)


def _rank(p: Problem) -> tuple[float, ...]:
    odd_beta = 0.0 if p.beta == 1.0 else 1.0 if math.frexp(abs(p.beta))[0] in (0.0, 0.5) else 2.0
    return (*p.size, odd_beta, float(p.steps))


def reduce_problem(problem: Problem, still_breaks: Callable[[Problem], bool], seconds: float) -> Problem:
    """The smallest problem found in ``seconds`` for which ``still_breaks`` is true.

    Args:
        problem: a problem that breaks the clause.
        still_breaks: whether another problem breaks it too.
        seconds: when to stop looking.
    """
    end = time.monotonic() + seconds
    before = None
    while before is not problem:
        before = problem
        for stage in STAGES:
            # What has succeeded once is tried again at once, on the smaller problem.
            while (smaller := _first(stage(problem), problem, still_breaks, end)) is not None:
                problem = smaller
    return problem


def _first(
    candidates: Iterator[Problem], problem: Problem, still_breaks: Callable[[Problem], bool], end: float
) -> Problem | None:
    """The first candidate that is smaller and still breaks, None if there is none in time."""
    for candidate in candidates:
        if time.monotonic() >= end:
            return None
        if _rank(candidate) < _rank(problem) and still_breaks(candidate):
            return candidate
    return None
