r"""A certified oracle for the sizes kernels really run at (chapter 13 of the specification).

:func:`solve_large` answers what :func:`~hopspec.reference.solution.solve` answers, with larger radii and in
seconds where that takes hours. All work per memory is done by float64 matrix products of small integers,
which are exact (:mod:`~hopspec.reference.slices`), and by an exponential with a proved error
(:mod:`~hopspec.reference.extended_exp`). Its radii are computed from the data, never assumed.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import implements
from hopspec.reference import large_answer
from hopspec.reference.dyadic import keep_mask
from hopspec.reference.large_norm import half_ranges, largest_square, magnitudes
from hopspec.reference.large_pass import Pass
from hopspec.reference.large_problem import LargeProblem
from hopspec.reference.solution import Enclosed, Solution

__all__ = ["solve_large"]

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]


@implements("MHN-BIG-3")
def solve_large(
    query: Any,
    memory: Any,
    *,
    beta: float,
    keep: Any = None,
    values: Any = None,
    progress: Progress = lambda done, total: None,
) -> Solution:
    """Enclose update, log-normalizer and energy of every query at production sizes (clause MHN-BIG-3).

    Rows that are empty or not finite are as in :func:`~hopspec.reference.solution.solve`. Where the logits
    are too large for their differences to be known, every radius of the row is infinite: undecided.

    Args:
        query: ``[L, d]`` or ``[d]``; float64, float32 or float16, or nested lists of floats.
        memory: ``[N, d]``; may be a memory map, of which a few thousand rows are read at a time.
        beta: any finite float.
        keep: None, or bools that broadcast to ``[L, N]``.
        values: None, or ``[N, dv]``.
        progress: called with the number of memories done and ``N``.

    Returns:
        A :class:`~hopspec.reference.solution.Solution`. Its logits are rounded to float64 from numbers within
        the error that MHN-BIG-3 calls eta, and NaN in undecided rows, as its weights are there.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit or ``beta`` is not finite.
        ArithmeticError: if the library's products of small integers are not exact.

    >>> rng = np.random.default_rng(0)
    >>> query, memory = rng.standard_normal((2, 8)), rng.standard_normal((1000, 8))
    >>> large = solve_large(query, memory, beta=0.5)
    >>> bool((large.state.radius < 2.0**-75).all())
    True
    """
    problem = _read(query, memory, beta, keep, values)
    work = Pass(problem)
    work.run(progress)
    shape = (len(problem.query), problem.values.shape[1])
    states, normalizers, energies = np.zeros((*shape, 3)), np.zeros((shape[0], 3)), np.zeros((shape[0], 3))
    for table, nothing in ((states, 0.0), (normalizers, -math.inf), (energies, math.inf)):
        table[..., 2] = math.inf
        table[problem.empty] = (nothing, 0.0, 0.0)
        table[problem.spoilt] = (math.nan, 0.0, 0.0)
    spans = half_ranges(problem)
    squares: dict[bytes, tuple[Fraction, Fraction]] = {}
    for k, row in enumerate(work.rows.tolist()):
        sums = work.sums_of(k)
        if sums is None:
            continue
        states[row] = large_answer.update(sums, spans, work.sums.left_out)
        if sums.rest < large_answer.FAR_AHEAD:
            close = _far_ahead(problem, work, k, sums, spans)
            states[row] = np.where((close[:, 2] < states[row][:, 2])[:, None], close, states[row])
        normalizers[row] = large_answer.log_normalizer(sums)
        if beta > 0:
            key = problem.keep[row].tobytes()
            if key not in squares:
                squares[key] = largest_square(problem, problem.keep[row], work.memory_exponent)
            energies[row] = large_answer.energy(sums, problem.query[row], beta, squares[key])
    states[problem.spoilt_columns & ~problem.empty[:, None]] = (math.nan, 0.0, 0.0)
    logits = np.where(problem.keep, np.nan, -np.inf)
    weights = np.where(problem.keep, np.nan, 0.0)
    logits[work.rows], weights[work.rows] = work.logits, work.weights
    return Solution(
        kept=problem.keep,
        logits=logits,
        weights=weights,
        magnitudes=np.where(problem.keep & problem.spoilt[:, None], np.nan, magnitudes(problem)),
        state=_enclosed(states),
        log_normalizer=_enclosed(normalizers),
        energy=_enclosed(energies) if beta > 0 else None,
    )


def _far_ahead(problem: LargeProblem, work: Pass, k: int, sums: large_answer.RowSums, spans: Array) -> Array:
    """Triples of the update of a query to which all memories but one matter little, ``[dv, 3]``."""
    at = int(work.reference[k])
    leader = problem.value_block(slice(at, at + 1))[0]
    shift, size = np.zeros_like(leader), np.zeros_like(leader)
    for rows in problem.blocks:
        weights = work.weights[k, rows]
        if weights.any():
            with np.errstate(over="ignore", invalid="ignore"):
                away = problem.value_block(rows) - leader
                shift += weights @ away
                size += weights @ np.abs(away)
    # Differences that overflow give NaN, which is not less than any radius.
    return np.array(large_answer.update_far_ahead(sums, leader, shift, size, spans)).reshape(-1, 3)


def _enclosed(triples: Array) -> Enclosed:
    hi, lo, radius = (np.ascontiguousarray(triples[..., k]) for k in range(3))
    return Enclosed(hi, lo, radius)


def _read(query: Any, memory: Any, beta: float, keep: Any, values: Any) -> LargeProblem:
    if isinstance(beta, bool) or not isinstance(beta, float | int | np.floating):
        raise TypeError(f"beta must be a float, got {type(beta).__name__} {beta!r}")
    if not abs(beta) <= sys.float_info.max or float(beta) != beta:
        raise ValueError(f"beta must be a finite float64, got {beta!r}")
    states = _floats(query, "query", (1, 2))
    patterns = _floats(memory, "memory", (2,))
    read_out = patterns if values is None else _floats(values, "values", (2,))
    states = np.atleast_2d(states).astype(np.float64)
    if states.shape[1] != patterns.shape[1]:
        raise ValueError(f"memory must have the query's width d = {states.shape[1]}, got {patterns.shape[1]}")
    if len(read_out) != len(patterns):
        shape = list(read_out.shape)
        raise ValueError(f"values must have shape [N, dv] with N = {len(patterns)}, got {shape}")
    mask = keep_mask(keep, len(states), len(patterns))
    return LargeProblem(states, patterns, read_out, float(beta), mask, values is None)


def _floats(value: Any, name: str, ranks: tuple[int, ...]) -> NDArray[Any]:
    array = np.asarray(value)
    if array.dtype not in (np.float64, np.float32, np.float16):
        raise TypeError(f"{name} must hold float64, float32 or float16 numbers, got {array.dtype}")
    if array.ndim not in ranks:
        wanted = "[L, d] or [d]" if 1 in ranks else "[N, dv]" if name == "values" else "[N, d]"
        raise ValueError(f"{name} must have shape {wanted}, got {list(array.shape)}")
    return array
