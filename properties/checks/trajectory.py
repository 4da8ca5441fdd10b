"""A trajectory of single updates, and how far any other computed one may be from it (MHN-BND-5)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hopspec.properties.checks.common import EPS64, grown, jacobian, length, lipschitz, update_bound
from hopspec.properties.judgement import Case
from hopspec.properties.problem import Array, Problem
from hopspec.reference.bounds import Extent, update_bound_on_ball

__all__ = ["Chain", "chain"]


@dataclass(frozen=True)
class Chain:
    """States ``z_0 .. z_n`` of single updates by the implementation, each a rounded state.

    Args:
        states: ``[n + 1, L, d]``.
        radii: how far the k-th state of any trajectory computed with the claimed arithmetic may lie from
            ``states[k]``, ``[n + 1, L]``.
        residuals: ``|z_k - z_{k-1}|``, ``[n + 1, L]``; 0 for k = 0.
    """

    states: Array
    radii: Array
    residuals: Array


def chain(case: Case, count: int, problem: Problem | None = None) -> Chain:
    """Iterate the implementation's single update ``count`` times and bound every other way of doing so.

    The links are kept with the case, since every property of settling looks at the same ones. The chain is
    shorter than ``count`` where a state is not finite.
    """
    p = problem or case.problem
    states, radii = case.links.setdefault(id(p), ([p.query], [np.zeros(p.query.shape[0])]))
    case.held.append(p)
    constant = lipschitz(p)
    while len(states) <= count:
        local = p.but(query=states[-1])
        image = case.value("retrieve", local, varies=len(states) > 1)
        if not np.isfinite(image).all():
            break
        own = length(update_bound(case, local))
        balls = zip(radii[-1].tolist(), own.tolist(), p.extents, strict=True)
        grow = np.array([_growth(case, local, row, *ball, constant) for row, ball in enumerate(balls)])
        states.append(image)
        radii.append((own + grow) * (1 + 64 * EPS64))
    array = np.array(states[: count + 1])
    steps = np.concatenate([np.zeros((1, p.query.shape[0])), length(np.diff(array, axis=0))])
    return Chain(array, np.array(radii[: count + 1]), steps)


def _growth(
    case: Case, local: Problem, row: int, r: float, own: float, seen: Extent, constant: float
) -> float:
    """How far the update of a state within ``r`` of the row's may be from the exact update of the row's."""
    if r == 0:
        # Both trajectories make this update from the very same state.
        return own
    if not r < math.inf:
        return math.inf
    extent = float(length(local.memory - local.solution.state.hi[row]).max())
    largest = float(np.linalg.eigvalsh(jacobian(local, row))[-1]) * (1 + 1e-9) + 1e-300
    rate = min(constant, largest * grown(local.beta * extent * r * (1 + 1e-9)))
    ball = local.query[row], local.memory, local.beta, r, local.kept[row]
    return rate * r + update_bound_on_ball(*ball, case.model, seen)
