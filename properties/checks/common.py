"""Bounds of a problem under the case's model, shared by the properties."""

from __future__ import annotations

import math

import numpy as np

from hopspec.properties.judgement import Case
from hopspec.properties.problem import Array, Problem, fits
from hopspec.reference import bounds

__all__ = [
    "EPS64",
    "association_bound",
    "energy_bound",
    "every_kept",
    "grown",
    "jacobian",
    "length",
    "lipschitz",
    "log_normalizer_bound",
    "perturbation",
    "representable",
    "update_bound",
    "weight_slack",
]

EPS64 = 2.0**-52


def perturbation(case: Case, p: Problem) -> bounds.Perturbation:
    """The perturbation of MHN-BND-2 that the bounds of ``p`` share."""
    return case.remember(
        "perturbation",
        p,
        lambda: bounds.perturbation(p.query, p.memory, p.beta, p.solution, case.model, p.bias, p.frame),
    )


def update_bound(case: Case, problem: Problem | None = None) -> Array:
    """Clause MHN-BND-2 on ``problem`` (by default the case's)."""
    p = problem or case.problem
    return case.remember(
        "update bound",
        p,
        lambda: bounds.update_bound(
            p.query, p.memory, p.beta, p.solution, case.model, p.values, perturbation(case, p), p.frame
        ),
    )


def log_normalizer_bound(case: Case, problem: Problem | None = None) -> Array:
    """Clause MHN-BND-3, or MHN-ATT-6 and what its conversion to a natural logarithm costs in float64."""
    p = problem or case.problem
    base = case.description.capabilities.log_base

    def compute() -> Array:
        moved = perturbation(case, p)
        given = p.query, p.memory, p.beta, p.solution, case.model, moved
        bound = bounds.log_normalizer_bound(*given, base, p.frame)
        if base == math.e:
            return bound
        with np.errstate(invalid="ignore"):
            size = np.where(np.isfinite(bound), np.abs(p.solution.log_normalizer.hi), 0.0)
        return np.asarray((bound * math.log(base) + 2 * EPS64 * size) * (1 + 2 * EPS64))

    return case.remember("log bound", p, compute)


def energy_bound(case: Case, problem: Problem | None = None) -> Array:
    """Clause MHN-BND-4."""
    p = problem or case.problem
    natural = case.description.capabilities.log_base == math.e

    def compute() -> Array:
        given = p.query, p.memory, p.beta, p.solution, case.model, perturbation(case, p)
        return bounds.energy_bound(*given, log_normalizer_bound(case, p) if natural else None, p.frame)

    return case.remember("energy bound", p, compute)


def association_bound(case: Case, problem: Problem | None = None) -> Array:
    """Clause MHN-BND-7."""
    p = problem or case.problem
    return case.remember(
        "association bound",
        p,
        lambda: bounds.association_bound(
            p.query, p.memory, p.beta, p.solution, case.model, perturbation(case, p)
        ),
    )


def representable(case: Case, *arrays: Array) -> bool:
    """Whether every entry is an element of the case's format."""
    return all(fits(a, case.format) for a in arrays)


def every_kept(problem: Problem) -> bool:
    """Whether each query keeps at least one memory."""
    return bool(problem.kept.any(axis=1).all())


def weight_slack(weights: Array) -> Array:
    """How far the weights of a :class:`~hopspec.reference.Solution` may be from the exact ones."""
    return np.asarray(weights * 2.0**-51 + np.minimum(weights * 2.0**-40, 2.0**-126) + 2.0**-1074)


def lipschitz(problem: Problem) -> float:
    """Clause MHN-FIX-2: ``beta * diam(X)**2 / 4``."""
    rounding = 1 + 8 * problem.memory.shape[1] * EPS64
    return float(abs(problem.beta) * problem.widest / 4 * rounding)


def jacobian(problem: Problem, row: int) -> Array:
    """The Jacobian ``beta * Cov_p(X)`` at query ``row`` in float64 (clause MHN-UPD-5)."""
    p = problem.solution.weights[row]
    centred = problem.memory - problem.solution.state.hi[row]
    return np.asarray(problem.beta * (centred.T * p) @ centred)


def length(x: Array) -> Array:
    """Euclidean length over the last axis."""
    return np.asarray(np.linalg.norm(x, axis=-1))


def grown(rate: float) -> float:
    """``exp`` without overflow: infinite beyond the range of float64."""
    return math.exp(rate) if rate < 700 else math.inf
