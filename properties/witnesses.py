"""Judges the cases that tell accuracy models apart under all models that may still hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hopspec.properties.calls import Broken
from hopspec.properties.checks import Check
from hopspec.properties.checks.common import update_bound
from hopspec.properties.judgement import Case
from hopspec.properties.likeness import Fit, at_most
from hopspec.properties.models import MODELS, models_of
from hopspec.types import AccuracyModel

__all__ = ["MODEL_WITNESSES", "compare_models"]

# Properties that compare an update with nothing but its bound.
MODEL_WITNESSES = (
    "update_within_bound",
    "update_of_digits_within_bound",
    "update_within_bound_where_models_differ",
)
# Cases in which the bounds of all models are computed, to compare their sizes.
SIZED = 4


def compare_models(check: Check, case: Case, alive: set[str], fits: dict[str, Fit]) -> None:
    """Judge a case under the claimed model and under the built-in ones not violated so far.

    A model is passed over where a tighter one holds, since it holds too, once enough is known of its size.

    Args:
        check: a property that compares an update with :func:`update_bound`.
        case: the case.
        alive: names of the models not violated so far; those violated now are taken out.
        fits: by name of the model, how it fared; the name is "" for a claimed one that is not built in.
            Added to.
    """
    held: list[AccuracyModel] = []
    for model in dict.fromkeys((case.model, *models_of(case.dtype))):
        claimed, built_in = model == case.model, MODELS.get(model.name) == model
        if not claimed and model.name not in alive:
            continue
        fit = fits.setdefault(model.name if built_in else "", Fit())
        if not claimed and fit.cases >= SIZED and any(at_most(h, model) for h in held):
            continue
        own = case if claimed else replace(case, model=model)
        try:
            judgement = check.judge(own)
        except Broken:
            alive.clear()
            return
        if judgement is None:
            continue
        fit.cases += 1
        fit.worst = max(fit.worst, judgement.ratio)
        if judgement.ratio > 1:
            alive -= {model.name} if built_in else set()
            continue
        if built_in:
            held.append(model)
        _compare_sizes(fit, own, case)


def _compare_sizes(fit: Fit, own: Case, claimed: Case) -> None:
    bound, allowed = update_bound(own), update_bound(claimed)
    both = np.isfinite(bound) & np.isfinite(allowed)
    fit.compare(float(bound[both].sum()), float(allowed[both].sum()))
