"""Batch invariance: the bits of a result do not depend on the other queries of the call."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement, all_of, require
from hopspec.properties.problem import Array, Problem, round_to

_QUANTITIES = ("retrieve", "log_normalizer", "energy", "evaluate")
# Past the blocks of 8 to 256 queries that kernels work in.
_MANY = (65, 130, 96, 257)
_WIDTH = 33


@check("MHN-DOM-9", family="general", claims=("batch_invariant",))
def batch_mates_leave_the_bits(case: Case) -> Judgement | None:
    """Queries alone, in another order and among many have the bits they have in the batch."""
    p: Problem = case.remember("wide", case.problem, partial(_wide, case.problem))
    judged = []
    for quantity in (q for q in _QUANTITIES if case.provides(q)):
        together = case.fields(quantity, p)
        judged += [
            _same(quantity, name, case.fields(quantity, other), together, rows)
            for name, other, rows in _batches(case, p)
        ]
    return all_of(*judged)


@check("MHN-DOM-9", family="masked", claims=("batch_invariant", "masks"))
def batch_mates_leave_the_bits_of_masked_updates(case: Case) -> Judgement | None:
    """The same with a mask of its own for each query."""
    together = case.fields("retrieve")
    return all_of(
        *(
            _same("update", name, case.fields("retrieve", other), together, rows)
            for name, other, rows in _batches(case, case.problem)
        )
    )


@check("MHN-DOM-9", family="settle", quantities=("settle",), claims=("batch_invariant",))
def batch_mates_leave_the_bits_of_settling(case: Case) -> Judgement | None:
    """State, energy, residual, steps and status of a query do not depend on when others stop."""
    options: dict[str, Any] = {"eps": case.problem.eps, "max_steps": case.problem.max_steps}
    together = case.fields("settle", **options)
    return all_of(
        *(
            _same("settle", name, case.fields("settle", other, **options), together, rows)
            for name, other, rows in _batches(case, case.problem)
            if name != "among many"
        )
    )


def _wide(p: Problem) -> Problem:
    """The columns many times, far apart in size: their products add up to other bits in any other order."""
    columns = np.arange(_WIDTH) % p.query.shape[1]
    scale = 2.0 ** (-6 * (np.arange(_WIDTH) % 3))
    query, memory = round_to(p.query[:, columns] * scale, p.grain), p.memory[:, columns]
    return p.but(query=query, memory=memory, beta=p.beta * p.query.shape[1] / _WIDTH)


def _batches(case: Case, p: Problem) -> list[tuple[str, Problem, list[int]]]:
    """Other batches of a problem, and which of the queries each begins with."""
    count = p.query.shape[0]
    one = p.seed % count
    chosen = {
        "alone": [one],
        "reversed": list(range(count))[::-1],
        "among many": [i % count for i in range(_MANY[p.seed % len(_MANY)])],
    }
    batches = [(name, _rows(p, rows), rows) for name, rows in chosen.items()]
    twice = _rows(p, [0, *range(count)])
    huge = twice.query[::-1].copy()
    # So large that scores may leave the range of their type.
    huge[-1] = 2.0 ** (math.frexp(float(case.format.largest))[1] - 2)
    keep = twice.keep if twice.keep is None or twice.keep.ndim == 1 else twice.keep[::-1].copy()
    beside = twice.but(query=huge, keep=keep)
    return [*batches, ("beside a huge one", beside, list(range(count))[::-1])]


def _rows(p: Problem, rows: list[int]) -> Problem:
    each = p.keep is not None and p.keep.ndim == 2 and p.keep.shape[0] > 1
    return p.but(query=p.query[rows], keep=p.keep[rows] if each and p.keep is not None else p.keep)


def _same(
    quantity: str, name: str, got: tuple[Array, ...], together: tuple[Array, ...], rows: list[int]
) -> Judgement:
    same = all(
        np.array_equal(a[: len(rows)], b[rows], equal_nan=True) for a, b in zip(got, together, strict=True)
    )
    return require(f"{quantity} {name}", same, "other bits", "the bits of the batch")
