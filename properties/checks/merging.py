"""Parts of a memory whose results are merged by their log-normalizers."""

from __future__ import annotations

from hopspec.properties.calls import Description
from hopspec.properties.checks.common import log_normalizer_bound, update_bound
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement, all_of, compare
from hopspec.types import AccuracyModel


def _merges(_description: Description, model: AccuracyModel) -> bool:
    return model.merged_from > 0


@check(
    "MHN-BND-8",
    family="parts",
    quantities=("retrieve", "log_normalizer"),
    claims=("masks",),
    applies=_merges,
)
def merged_parts_within_bounds(case: Case) -> Judgement | None:
    """However different the levels of the parts of a memory, update and log-normalizer keep their bounds."""
    exact = case.problem.solution
    return all_of(
        compare("update", case.value(), exact.state, update_bound(case)),
        compare(
            "log-normalizer", case.value("log_normalizer"), exact.log_normalizer, log_normalizer_bound(case)
        ),
    )
