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
    return p.but(memory=p.memory[keep_rows], keep=keep, values=values)


def _candidates(p: Problem) -> Iterator[Problem]:
    """Simpler problems, the boldest first."""
    count, (n, d) = p.query.shape[0], p.memory.shape
    for row in range(count if count > 1 else 0):
        keep = p.keep[row : row + 1] if p.keep is not None and p.keep.ndim == 2 else p.keep
        yield p.but(query=p.query[row : row + 1], keep=keep)
    size = n // 2
    while size >= 1:
        for start in range(0, n, size):
            rest = np.r_[0:start, min(start + size, n) : n]
            if len(rest) and len(rest) < n:
                yield _without(p, rest)
        size //= 2
    for column in range(d if d > 1 else 0):
        rest = np.delete(np.arange(d), column)
        values = p.values
        yield p.but(query=p.query[:, rest], memory=p.memory[:, rest], values=values)
    if p.steps > 1:
        yield p.but(steps=p.steps - 1)
    simple = math.ldexp(1.0, math.frexp(p.beta)[1]) if p.beta > 0 and math.isfinite(p.beta) else p.beta
    for beta in (1.0, simple):
        if beta != p.beta:
            yield p.but(beta=beta)
    for name in ("query", "memory"):
        array = getattr(p, name)
        for change in (np.rint(array), np.rint(array * 4) / 4, np.rint(array * 64) / 64):
            if not np.array_equal(change, array):
                yield p.but(**{name: change})
        for at in zip(*np.nonzero(array), strict=True):
            zeroed = array.copy()
            zeroed[at] = 0.0
            yield p.but(**{name: zeroed})


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
    improved = True
    while improved and time.monotonic() < end:
        improved = False
        for candidate in _candidates(problem):
            if time.monotonic() >= end:
                break
            if _rank(candidate) < _rank(problem) and still_breaks(candidate):
                problem, improved = candidate, True
                break
    return problem
