"""Reports of runs that were divided make one; two reports are compared."""

from __future__ import annotations

import copy
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reports import RIGHT, WRONG, small
from typer.testing import CliRunner

from hopspec.properties.cli import app
from hopspec.properties.reporting.comparing import ALARM, changes, shifted
from hopspec.properties.reporting.encoding import as_json, write_json
from hopspec.properties.reporting.loading import from_json
from hopspec.properties.reporting.merging import CannotMerge, merged
from hopspec.properties.results import POINTS, Report, bin_of
from hopspec.properties.runner import Options, verify
from hopspec.properties.shares import Stages, shares_of
from hopspec.properties.trials import FAMILY

HERE = Path(__file__).parent
CLAUSE = {"clauses": ("MHN-BND-2",), "dtypes": ("float32",), "shrink": False}


def told(report: Report) -> list[object]:
    """Everything a report says but for times and what depends on them."""
    return [
        (c.key, c.needed, c.cases, c.compared, c.outside, c.worst, c.broken, c.ratios, c.points, c.seeds)
        for c in sorted(report.cells, key=lambda c: c.key)
    ]


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core")
def test_the_number_of_processes_changes_nothing() -> None:
    quick_ones = ("MHN-BND-6", "MHN-LAW-7")
    options = Options(("reference",), ("float32",), profile="quick", examples=101, clauses=quick_ones)
    assert len({s.family for s in shares_of(options)}) == 2
    assert len(shares_of(options)) == 4
    alone, three = (verify(replace(options, jobs=jobs)) for jobs in (1, 3))
    assert told(alone) == told(three)
    assert alone.regimes == three.regimes
    assert alone.problems == three.problems
    assert alone.exit_status == three.exit_status == 0


def test_seeds_in_one_run_are_as_good_as_in_several() -> None:
    together = small(RIGHT, WRONG, seeds=3, **CLAUSE)
    apart = {str(seed): small(RIGHT, WRONG, seed=seed, **CLAUSE) for seed in range(3)}
    one = merged(apart)
    assert told(one) == told(together)
    assert one.regimes == together.regimes
    assert one.problems == together.problems
    assert (one.settings["seed"], one.settings["seeds"]) == (0, 3)
    assert one.seconds == pytest.approx(sum(r.seconds for r in apart.values()))
    assert [c.cases for c in apart["0"].cells] != [c.cases for c in one.cells]


def test_merging_reports_in_any_order_says_the_same() -> None:
    apart = {str(seed): small(RIGHT, WRONG, seed=seed, **CLAUSE) for seed in range(3)}
    backward = dict(reversed(apart.items()))
    first, second = merged(apart), merged(backward)
    assert told(first) == told(second)
    assert (
        as_json(merged({"a": merged({k: apart[k] for k in "01"}), "b": apart["2"]}))["cells"]
        == as_json(first)["cells"]
    )


def test_the_smallest_failure_is_kept() -> None:
    apart = {str(seed): small(WRONG, seed=seed, **CLAUSE) for seed in range(3)}
    sizes = [
        c.failure.problem.size
        for r in apart.values()
        for c in r.broken
        if c.failure and c.check == "update_within_bound"
    ]
    whole = next(c for c in merged(apart).broken if c.check == "update_within_bound")
    assert whole.failure is not None
    assert len(sizes) == 3
    assert whole.failure.problem.size == min(sizes)


def test_implementations_and_dtypes_can_be_divided() -> None:
    parts = {
        "a": small(RIGHT, **{**CLAUSE, "dtypes": ("float32",)}),
        "b": small(RIGHT, **{**CLAUSE, "dtypes": ("float16",)}),
        "c": small(WRONG, **CLAUSE),
    }
    whole = merged(parts)
    assert whole.settings["targets"] == (RIGHT, WRONG)
    assert {*whole.models["right-kernel"]} == {"float32", "float16"}
    assert {*whole.alive["right-kernel"]} == {"float32", "float16"}
    assert whole.exit_status == 1
    again = from_json(as_json(whole))
    assert as_json(again) == as_json(whole)


def test_what_does_not_belong_together_is_refused() -> None:
    first = small(RIGHT, **CLAUSE)
    for other, message in [
        (small(RIGHT, **CLAUSE), "a and b both judged .* of right-kernel in float32 with seed 0"),
        (
            small(RIGHT, seed=1, **{**CLAUSE, "examples": 7}),
            "a was run with examples = 6, b with examples = 7",
        ),
        (small(RIGHT, seed=1, **CLAUSE, model="any"), "a was run with model = None, b with model = 'any'"),
    ]:
        with pytest.raises(CannotMerge, match=message):
            merged({"a": first, "b": other})
    elsewhere = small(RIGHT, seed=1, **CLAUSE)
    elsewhere.models["right-kernel"]["float32"] = "any-float32"
    with pytest.raises(
        CannotMerge, match=r"right-kernel: models for float32 is .* in an earlier report, 'any-float32' in b"
    ):
        merged({"a": first, "b": elsewhere})
    claims = small(RIGHT, seed=1, **CLAUSE)
    claims.cells[0].unclaimed = "values"
    with pytest.raises(CannotMerge, match=r"claims .* in one report, and not in b"):
        merged({"a": first, "b": claims})


def test_interrupted_and_unusable_parts_stay_so() -> None:
    first = small(RIGHT, **CLAUSE)
    second = small(RIGHT, "no_such_module:f", seed=1, **CLAUSE)
    second.interrupted = True
    for cell in second.cells:
        cell.cases = 1
    second.environments["right-kernel"]["cpu_capability"] = "NONE"
    whole = merged({"a": first, "b": second})
    assert whole.interrupted
    assert whole.exit_status == 2
    assert whole.verdict("MHN-BND-2", "right-kernel", "float32").value == "not reached"
    assert "cannot import" in whole.unusable["no_such_module:f"]
    mine = first.environments["right-kernel"]["cpu_capability"]
    assert whole.environments["right-kernel"]["cpu_capability"] == f"{mine} / NONE"
    assert first.environments["right-kernel"]["cpu_capability"] == mine


def test_points_stay_few() -> None:
    reports = {str(seed): small(RIGHT, seed=seed, **CLAUSE) for seed in range(2)}
    for report in reports.values():
        for cell in report.cells:
            cell.points = cell.points * POINTS
    assert all(len(c.points) <= POINTS for c in merged(reports).cells)


def test_shares_cover_what_was_asked_for() -> None:
    options = Options(("x",), profile="thorough", seeds=2)
    shares = shares_of(options)
    assert len({s.label for s in shares}) == len(shares)
    assert {s.of for s in shares if s.family != FAMILY} == {10}
    assert [(s.seed, s.of) for s in shares if s.family == FAMILY] == [(0, 1), (1, 1)]
    assert Counter(s.family for s in shares)["general"] == 20
    seen: list[tuple[str, int, int]] = []
    stages = Stages(lambda *told: seen.append(told), shares)
    stages("general 0 0", 3, 10)
    stages("general 1 4", 5, 10)
    stages("general 0 0", 4, 10)
    stages("smallest failing inputs", 1, 2)
    assert seen == [
        ("general", 3, 200),
        ("general", 8, 200),
        ("general", 9, 200),
        ("smallest failing inputs", 1, 2),
    ]


def test_the_same_run_twice_has_not_changed() -> None:
    first, second = (small(RIGHT, WRONG, **CLAUSE) for _ in range(2))
    assert changes(first, second) == []


def test_what_changed_is_found() -> None:
    first = small(RIGHT, **CLAUSE)
    broken = copy.deepcopy(first)
    cell = next(c for c in broken.cells if c.check == "update_within_bound")
    cell.failure = next(c.failure for c in small(WRONG, **CLAUSE).broken)
    cell.worst *= 2.5
    broken.models["right-kernel"]["float32"] = "any-float32"
    broken.alive["right-kernel"]["float32"] = {"any-float32"}
    kinds = [c.kind for c in changes(first, broken)]
    assert kinds[0] == "verdict"
    assert {"verdict", "model", "ratio"} <= {*kinds}
    (verdict,) = (c for c in changes(first, broken) if c.kind == "verdict")
    assert (verdict.clause, verdict.before, verdict.after) == ("MHN-BND-2", "holds", "BROKEN")
    fewer = copy.deepcopy(first)
    fewer.cells = []
    assert {c.kind for c in changes(first, fewer)} == {"gone"}
    assert {c.kind for c in changes(fewer, first)} == {"new"}
    short = copy.deepcopy(first)
    short.cells[0].cases -= 1
    assert "cases" in {c.kind for c in changes(first, short)}


def test_other_seeds_alone_are_no_change() -> None:
    first, second = (small(RIGHT, seed=seed, **CLAUSE) for seed in (0, 1))
    assert {c.worst for c in first.cells} != {c.worst for c in second.cells}
    assert changes(first, second) == []


def test_chance_is_said_to_be_a_change_as_seldom_as_promised() -> None:
    rng = np.random.default_rng(0)

    def histogram(count: int, factor: float) -> Counter[int]:
        return Counter(bin_of(x) for x in factor * rng.uniform(0.0, 1.0, count) ** 2)

    alarm = 0.05
    same = sum(shifted(histogram(60, 1.0), histogram(200, 1.0), alarm) for _ in range(2000))
    # Five standard deviations above what is promised at most.
    assert same <= 2000 * alarm + 5 * (2000 * alarm) ** 0.5
    assert shifted(histogram(1000, 1.0), histogram(1000, 4.0), ALARM / 1000)


def test_the_command_line_merges_and_compares(tmp_path: Path) -> None:
    names = [str(tmp_path / f"{k}.json") for k in range(3)]
    for seed, name in enumerate(names):
        write_json(small(RIGHT if seed < 2 else WRONG, seed=seed, **CLAUSE), Path(name))
    out = str(tmp_path / "merged.json")
    done = CliRunner().invoke(app, ["report", *names[:2], "--quiet", f"--json={out}"])
    assert done.exit_code == 0, done.output
    assert "update_within_bound" in Path(out).read_text()
    done = CliRunner().invoke(app, ["report", names[0], names[0], out])
    assert done.exit_code == 2
    assert "both judged" in done.output
    same = CliRunner().invoke(app, ["compare", names[0], names[0]])
    assert (same.exit_code, same.output.strip()) == (0, "nothing changed")
    other = CliRunner().invoke(app, ["compare", names[0], names[2]])
    assert other.exit_code == 1
    assert "beta-twice" in other.output
    assert CliRunner().invoke(app, ["compare", names[0], str(HERE / "reports.py")]).exit_code == 2
