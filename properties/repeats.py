"""Exact solutions of large problems in which few queries and few memories occur many times.

A kernel's tiles, counters and indices are exercised by many rows, not by many different ones. Equal memories
have equal weights, so each is solved once with its count, and equal queries have equal answers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hopspec.reference import Solution, solve

__all__ = ["distinct", "solve_repeated"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Below this many pairs of query and memory, looking for repeats costs more than it saves (measured).
LEAST = 1024
# Repeats pay where that many times fewer pairs are left.
GAIN = 4


def solve_repeated(
    query: Array, memory: Array, beta: float, keep: Mask | None, values: Array | None
) -> Solution | None:
    """The :class:`~hopspec.reference.Solution` by way of the distinct rows; None where they are too many.

    Args:
        query: ``[L, d]``.
        memory: ``[N, d]``.
        beta: inverse temperature.
        keep: ``[N]`` or ``[L, N]``, or None.
        values: ``[N, dv]``, or None.

    >>> solution = solve_repeated(np.ones((9, 1)), np.repeat([[2.0], [4.0]], 500, axis=0), 0.0, None, None)
    >>> solution.state.hi.shape, float(solution.state.hi[8, 0])
    ((9, 1), 3.0)
    """
    pairs = query.shape[0] * memory.shape[0]
    if pairs < LEAST:
        return None
    columns = None if keep is None else np.atleast_2d(keep)
    first_query, which_query, _ = distinct(query, None if columns is None or len(columns) == 1 else columns)
    first, which, counts = distinct(memory, values, None if columns is None else columns.T)
    if len(first_query) * len(first) * GAIN > pairs:
        return None
    if columns is not None:
        columns = columns[:, first]
        columns = columns if len(columns) == 1 else columns[first_query]
    small = solve(
        query[first_query],
        memory[first],
        beta=beta,
        keep=columns,
        values=None if values is None else values[first],
        counts=counts.tolist(),
    )
    grid = np.ix_(which_query, which)
    return Solution(
        kept=small.kept[grid],
        logits=small.logits[grid],
        weights=small.weights[grid],
        magnitudes=small.magnitudes[grid],
        state=small.state.rows(which_query),
        log_normalizer=small.log_normalizer.rows(which_query),
        energy=None if small.energy is None else small.energy.rows(which_query),
    )


def distinct(
    *parts: NDArray[np.generic] | None,
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Where each distinct row occurs first, which of them each row is, and how often each occurs.

    Args:
        parts: arrays of as many rows each, side by side; None is left out.

    >>> [a.tolist() for a in distinct(np.array([[5.0], [7.0], [5.0]]))]
    [[0, 1], [0, 1, 0], [2, 1]]
    """
    # Bits are compared, so that rows with NaN repeat and the two zeros differ, which costs nothing.
    joined = [np.ascontiguousarray(p).view(np.uint8).reshape(len(p), -1) for p in parts if p is not None]
    rows = np.ascontiguousarray(np.concatenate(joined, axis=1))
    keys = rows.view(np.dtype((np.void, rows.shape[1])))[:, 0]
    _, first, which, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    return first, which.reshape(-1), counts
