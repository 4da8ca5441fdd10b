"""The largest error a vector allows under an accuracy model."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from hopspec.properties.problem import Array, Problem
from hopspec.properties.vectors.recipe import Recipe
from hopspec.reference import bounds
from hopspec.types import AccuracyModel

__all__ = ["allowed_errors", "round_up"]

# Of the bits of an allowed error only the first 16 are kept: the bound is evaluated in float64, whose last
# bits depend on the machine's matrix product and exponential, and the same seed must give the same bytes.
KEPT_BITS = 16


def round_up(x: Array) -> Array:
    """The least numbers of :data:`KEPT_BITS` significant bits that are not below ``x``.

    >>> round_up(np.array([0.0, 1.0, 1.00001]))
    array([0.        , 1.        , 1.00003052])
    """
    mantissa, exponent = np.frexp(x)
    steps = np.ceil(np.ldexp(mantissa, KEPT_BITS))
    shift = exponent - KEPT_BITS
    # Near the least float64 there are fewer bits to keep, and ldexp would round instead of rounding up.
    least = np.where((x > 0) & (shift < -1074), math.ldexp(1.0, -1074 + KEPT_BITS), 0.0)
    return np.asarray(np.where(np.isfinite(x), np.maximum(np.ldexp(steps, shift), least), x))


def _clean(problem: Problem) -> Problem:
    """The problem with zeros in every row that holds something not finite.

    Rows that see such a memory, or are such a query, have no number as their answer; for the others it is
    masked and holds what it likes (clause MHN-MSK-3).
    """

    def zeroed(x: Array) -> Array:
        return np.where(np.isfinite(x).all(axis=1, keepdims=True), x, 0.0)

    values = None if problem.values is None else zeroed(problem.values)
    return problem.but(query=zeroed(problem.query), memory=zeroed(problem.memory), values=values)


def _update(p: Problem, model: AccuracyModel) -> Array:
    return bounds.update_bound(p.query, p.memory, p.beta, p.solution, model, p.values)


def _log_normalizer(p: Problem, model: AccuracyModel) -> Array:
    return bounds.log_normalizer_bound(p.query, p.memory, p.beta, p.solution, model)


def _energy(p: Problem, model: AccuracyModel) -> Array:
    return bounds.energy_bound(p.query, p.memory, p.beta, p.solution, model)


def _association(p: Problem, model: AccuracyModel) -> Array:
    return bounds.association_bound(p.query, p.memory, p.beta, p.solution, model)


_BOUNDS: dict[str, Callable[[Problem, AccuracyModel], Array]] = {
    "update": _update,
    "log_normalizer": _log_normalizer,
    "energy": _energy,
    "association": _association,
}


def _up_to_rounding(p: Problem, model: AccuracyModel) -> Array:
    """What clause MHN-NFI-3 allows where MHN-BND-2 says nothing: the update up to rounding, ``[L, d]``.

    It speaks where one memory is ahead by more than any rounding of logits, or all weights are equal.
    """
    fmt, (n, d) = model.storage, p.memory.shape
    # Scaled by a power of two, so that nothing here overflows.
    high = math.frexp(float(np.abs(p.memory).max()))[1]
    wide = math.frexp(float(np.abs(p.query).max()))[1]
    memory, query = np.ldexp(p.memory, -high), np.ldexp(p.query, -wide)
    slack = np.ldexp((4 + 2 * n) * fmt.unit_roundoff * np.abs(memory).max(axis=0), high)
    slack = slack + math.ldexp(1.0, max(fmt.least_exponent, -1074))
    if p.beta == 0:
        return np.broadcast_to(slack, (p.query.shape[0], d))
    # Two scores, each rounded to storage and made of entries rounded to storage, twice over.
    narrow = 16 * fmt.unit_roundoff if model.score_roundings or model.pre_scale else 0.0
    doubt = (narrow + 8 * (d + 4) * model.accumulation.unit_roundoff) * (
        np.abs(query) @ np.abs(memory).T
    ).max(axis=1)
    scores = np.sort(query @ memory.T, axis=1)
    gap = scores[:, -1] - scores[:, -2] - doubt
    # What is left of the distance of the logits exceeds 512: no weight but one is a number of any format.
    apart = np.log2(np.maximum(gap, 1e-9)) + math.log2(p.beta) + high + wide > 9
    return np.where(((gap > 0) & apart)[:, None], slack, np.inf)


def allowed_errors(problem: Problem, quantity: str, model: AccuracyModel, recipe: Recipe) -> Array:
    """The largest error of every component, flat and rounded up; infinite where the model promises nothing.

    The bounds are those of clauses MHN-BND-2, MHN-BND-3, MHN-BND-4 and MHN-BND-7.

    Args:
        problem: the inputs.
        quantity: update, log_normalizer, energy or association.
        model: the arithmetic claimed.
        recipe: where the problem comes from.
    """
    clean = _clean(problem)
    if not clean.memory.size:
        # Every row is empty, and an empty row has no error (clause MHN-MSK-4).
        return np.zeros(clean.query.size if quantity == "update" else clean.query.shape[0])
    bound = np.asarray(_BOUNDS[quantity](clean, model))
    if quantity == "association":
        # A masked memory has weight 0, exactly (clause MHN-MSK-2).
        bound = np.where(clean.solution.kept, bound, 0.0)
    if recipe.extreme and quantity == "update":
        bound = np.where(np.isfinite(bound), bound, _up_to_rounding(clean, model))
    return round_up(bound.ravel())
