"""A trajectory of single updates, and how far any other computed one may be from it (MHN-BND-5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hopspec.properties.checks.common import EPS64, grown, jacobian, length, lipschitz, update_bound
from hopspec.properties.judgement import Case
from hopspec.properties.problem import Array, Problem, round_to
from hopspec.reference.bounds import update_bound_on_ball

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
    """Iterate the implementation's single update ``count`` times and bound every other way of doing so."""
    p = problem or case.problem
    kept = p.solution.kept
    states, radii = [p.query], [np.zeros(p.query.shape[0])]
    constant = lipschitz(p)
    for _ in range(count):
        local = p.but(query=states[-1])
        image = case.value("retrieve", local)
        if not np.isfinite(image).all():
            break
        own = length(update_bound(case, local))
        grow = np.empty_like(own)
        for row, r in enumerate(radii[-1]):
            if r == 0:
                # Both trajectories make this update from the very same state.
                grow[row] = own[row]
                continue
            extent = float(length(p.memory - local.solution.state.hi[row]).max())
            largest = float(np.linalg.eigvalsh(jacobian(local, row))[-1]) * (1 + 1e-9) + 1e-300
            rate = min(constant, largest * grown(p.beta * extent * r * (1 + 1e-9)))
            other = update_bound_on_ball(states[-1][row], p.memory, p.beta, r, kept[row], case.model)
            grow[row] = rate * r + other
        states.append(image)
        radii.append((own + grow) * (1 + 64 * EPS64))
    array = np.array(states)
    steps = np.concatenate([np.zeros((1, p.query.shape[0])), length(np.diff(array, axis=0))])
    return Chain(array, np.array(radii), steps)


def rounded_query(case: Case) -> Problem:
    """The case's problem with its query rounded to the case's format."""
    return case.problem.but(query=round_to(case.problem.query, case.format))
