"""The worst cases of what accuracy models differ in: orders of summation, and which weights are summed."""

from __future__ import annotations

from hopspec.properties.calls import Description
from hopspec.properties.checks.common import update_bound
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement, compare
from hopspec.types import AccuracyModel, Summation


def _ordered(_description: Description, model: AccuracyModel) -> bool:
    return any(order != Summation() for order in (model.score_sum, model.weighted_sum, model.weight_sum))


@check("MHN-BND-2", family="telling")
def update_within_bound_where_models_differ(case: Case) -> Judgement | None:
    """The update keeps its bound where rounded weights lean one way, and where one term swamps a sum."""
    return compare("update", case.value(), case.problem.solution.state, update_bound(case))


@check("MHN-BND-9", family="telling", applies=_ordered)
def swamped_sums_within_bound(case: Case) -> Judgement | None:
    """Where one term swamps the others, so that the order of summation shows, the update keeps its bound."""
    if not case.problem.regimes[0].startswith("swamped"):
        return None
    return compare("update", case.value(), case.problem.solution.state, update_bound(case))
