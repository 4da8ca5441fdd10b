"""Kill runs: stopping at the first failure, records that can be gone on with, what is excused, the page."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hopspec.properties.checks import CHECKS
from hopspec.properties.cli import app
from hopspec.properties.faults import FAULTS
from hopspec.properties.kills import fingerprint
from hopspec.properties.kills.alarms import campaign
from hopspec.properties.kills.excused import EXCUSED
from hopspec.properties.kills.hunting import Kill, hunt
from hopspec.properties.kills.measure import Measured, measure
from hopspec.properties.kills.page import faults_of_page, kill_matrix
from hopspec.properties.kills.plan import Pair, pairs_of
from hopspec.properties.kills.record import Record
from hopspec.properties.kills.running import Outcome, Work, kill_run, read_outcome
from hopspec.properties.kills.summary import first_tiers, totals
from hopspec.properties.kills.tiers import TIERS, clause_of, tier_of
from hopspec.properties.options import PROFILES, Options, Profile
from hopspec.properties.results import Verdict
from hopspec.properties.runner import verify

ROOT = Path(__file__).resolve().parent.parent
RIGHT = "hopspec.properties.faults:RIGHT"
TINY = Profile(cases=2, shared=3, observed=0, digits=0, shrink_seconds=0.0, shrink_total=0.0)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """A profile of two cases a clause, in this process only."""
    monkeypatch.setitem(PROFILES, "tiny", TINY)
    return "tiny"


def first_failure(target: str, clauses: tuple[str, ...] = (), examples: int = 8) -> Options:
    """A run that stops at the first failure, in this process."""
    return Options(
        targets=(target,),
        dtypes=("float32",),
        profile="quick",
        examples=examples,
        clauses=clauses,
        first=True,
        in_process=True,
    )


# Stopping at the first failure


def test_a_run_stops_at_the_first_failure_and_names_its_clause() -> None:
    report = verify(first_failure("fault:lse-not-over-beta"))
    assert report.stopped_at is not None
    assert report.stopped_at.clause in {"MHN-BND-4", "MHN-ENE-7", "MHN-ENE-4", "MHN-MSK-2"}
    assert sum(c.broken for c in report.cells) == 1
    assert report.exit_status == 1
    others = {report.verdict(c.clause, c.implementation, c.dtype) for c in report.cells}
    assert Verdict.NOT_REACHED in others
    assert Verdict.TOO_FEW not in others


def test_a_right_kernel_is_judged_as_without_stopping() -> None:
    clauses = ("MHN-BND-2", "MHN-MSK-2", "MHN-LAW-7")
    stopping = verify(first_failure(RIGHT, clauses))
    whole = verify(replace(first_failure(RIGHT, clauses), first=False))
    assert stopping.stopped_at is None
    assert stopping.exit_status == whole.exit_status == 0
    figures = [
        sorted((c.check, c.cases, c.compared, c.worst) for c in report.cells if not c.unclaimed)
        for report in (stopping, whole)
    ]
    assert figures[0] == figures[1]


def test_the_command_line_says_where_it_stopped() -> None:
    words = ["verify", "fault:empty-row-nan", "--first", "--in-process", "--dtype", "float32"]
    result = CliRunner().invoke(app, [*words, "--clause", "MHN-MSK-4"])
    assert result.exit_code == 1
    assert "ended at the first failure: MHN-MSK-4 (empty_rows)" in " ".join(result.output.split())


# One fault


@pytest.mark.parametrize("hints", [("update_within_bound",), ("one_memory_is_returned",), ()])
def test_hints_change_the_order_not_the_verdict(hints: tuple[str, ...]) -> None:
    kill = hunt("fault:mask-inverted", "float32", 0, hints=hints, rounds=1, profile="quick")
    assert kill.killed
    assert kill.check in {c.name for c in CHECKS}


def test_a_fault_that_only_few_cases_show_is_found_after_the_hints(tiny: str) -> None:
    missed = hunt("fault:small-rescaling-skipped", "bfloat16", 0, hints=("empty_rows",), profile=tiny)
    assert (missed.killed, missed.clause, missed.check) == (False, "", "")
    assert missed.cases > 50


def test_a_fault_begins_anew_with_every_hunt() -> None:
    kills = [hunt("fault:stale-element", "float32", 0, hints=("same_inputs_same_bits",)) for _ in range(2)]
    assert replace(kills[0], seconds=0.0) == replace(kills[1], seconds=0.0)


def test_measuring_compares_with_the_right_implementation(tiny: str) -> None:
    same = measure(Pair("tensor-float32", "bfloat16"), profile=tiny, checks=("update_within_bound",))
    other = measure(Pair("tensor-float32", "float32"), checks=("update_within_bound",))
    assert (same.differing, same.broken) == (0, {})
    assert other.differing > 0
    assert same.calls > 0
    assert same.cases > 0


def test_every_fault_differs_from_an_implementation_that_is_not_planted() -> None:
    for fault in FAULTS.values():
        right, wrong = fault.right(), fault.fresh()
        assert right.capabilities == wrong.capabilities, fault.name
        assert right.name == wrong.name == fault.name


def test_measuring_says_after_how_many_cases_a_property_failed() -> None:
    found = measure(Pair("mask-inverted", "float32"), checks=("masked_association", "one_memory_is_returned"))
    assert found.broken == {"masked_association": 1}


def test_a_clause_that_is_broken_is_judged_no_further() -> None:
    few = measure(Pair("mask-inverted", "float32"), examples=3, beside_right=False)
    broken = [clause_of(check) for check in few.broken]
    assert len(broken) == len(set(broken)) > 3
    right = measure(Pair("tensor-float32", "bfloat16"), examples=3, beside_right=False)
    assert few.cases < right.cases


# The plan and the excuses


def test_every_fault_is_judged_in_every_dtype_that_makes_sense() -> None:
    pairs = pairs_of()
    assert {p.fault for p in pairs} == {*FAULTS}
    assert len(FAULTS) >= 75
    assert Pair("one-bit-too-many", "float64") in pairs
    assert Pair("lse-not-over-beta", "bfloat16") in pairs
    assert all(p.dtype != "float64" for p in pairs if FAULTS[p.fault].dtype != "float64")


def test_unknown_faults_and_empty_plans_are_refused() -> None:
    with pytest.raises(ValueError, match="no fault is named 'nonesuch'"):
        pairs_of(("nonesuch",))
    with pytest.raises(ValueError, match="none of these faults is judged in float64"):
        pairs_of(("lse-not-over-beta",), ("float64",))


def test_excuses_are_of_planted_faults_in_other_dtypes_and_give_a_reason() -> None:
    planned = set(pairs_of())
    for pair, excuse in EXCUSED.items():
        assert pair in planned, pair
        assert pair.dtype != FAULTS[pair.fault].dtype, f"{pair.fault} is planted for {pair.dtype}"
        assert excuse.reason.endswith("."), pair


def test_an_excuse_that_does_not_hold_fails_the_run() -> None:
    pair = Pair("tensor-float32", "bfloat16")
    right = Measured(*pair, 0, calls=9, differing=0, cases=5, worst=0.5, broken={}, seconds=1.0)
    for wrong in (replace(right, differing=1), replace(right, broken={"update_within_bound": 3})):
        assert Outcome(measured={(pair, "excused"): wrong}).exit_status == 1
    assert Outcome(measured={(pair, "excused"): right}).exit_status == 0


# Records


def test_a_line_cut_short_is_taken_away(tmp_path: Path) -> None:
    record = Record(tmp_path / "record.jsonl")
    record.add({"a": 1})
    with record.path.open("a") as file:
        file.write('{"a": ')
    record.mend()
    record.add({"a": 2})
    assert list(record) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("line", ["{", "[1]"])
def test_other_lines_must_be_objects(tmp_path: Path, line: str) -> None:
    record = Record(tmp_path / "record.jsonl")
    record.path.write_text(f'{{"a": 1}}\n{line}\n')
    with pytest.raises(ValueError, match=r"record\.jsonl, line 2"):
        list(record)


def kill_of(pair: Pair, seed: int = 0, clause: str = "MHN-BND-4") -> Kill:
    """A kill that nobody had to compute."""
    check = "energy_within_bound" if clause else ""
    return Kill(*pair, seed, clause, check, "bound" if clause else "", 3, 0.5)


def test_results_of_other_code_are_stale(tmp_path: Path) -> None:
    pair = Pair("lse-not-over-beta", "float32")
    record = Record(tmp_path / "record.jsonl")
    entry = {"kind_of_result": "kill", **asdict(kill_of(pair))}
    record.add({"code": pair.code, **entry})
    record.add({"code": "other", **entry, "seed": 1})
    record.add({"code": "other", **entry, "fault": "no-longer-planted"})
    outcome = read_outcome(record)
    assert list(outcome.kills) == [(pair, 0)]
    assert outcome.stale == 2


def test_fingerprints_follow_the_files(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.py", "b.py")]
    for path in files:
        path.write_text("1")
    before = fingerprint._digest(files)
    assert fingerprint._digest(files) == before
    files[1].write_text("2")
    assert fingerprint._digest(files) != before
    modules = {fault.module for fault in FAULTS.values()}
    assert len({fingerprint.fault_code(m) for m in modules}) == len(modules)


# Runs


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    names = ("lse-not-over-beta", "mask-inverted", "empty-row-nan")
    pairs = tuple(pairs_of(names, ("float32",)))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    work = Work(pairs, seeds=2, excused=False, jobs=1)
    first = kill_run(path, work, interrupt)
    assert first.interrupted
    assert first.exit_status == 2
    lines = path.read_text().splitlines()
    assert len(lines) == 1
    assert first.missing == 5
    stages: list[tuple[str, int, int]] = []
    second = kill_run(path, work, lambda *stage: stages.append(stage))
    assert not second.interrupted
    assert second.missing == 0
    assert second.exit_status == 0
    assert path.read_text().splitlines()[: len(lines)] == lines
    assert {(k.fault, k.seed) for k in second.kills.values() if k.killed} == {
        (name, seed) for name in names for seed in range(2)
    }
    assert len(path.read_text().splitlines()) == 6
    assert stages[-1] == ("killed", 5, 5)


def test_processes_share_the_work_and_keep_what_was_done_before_an_interrupt(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    pairs = tuple(pairs_of(("lse-not-over-beta", "no-limit-of-steps"), ("float32",)))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    outcome = kill_run(path, Work(pairs, seeds=1, excused=False, jobs=2), interrupt)
    assert outcome.interrupted
    assert {k.fault for k in outcome.kills.values() if k.killed} == {p.fault for p in pairs}
    assert outcome.missing == 0


def test_survivors_are_reported() -> None:
    pair = Pair("lse-not-over-beta", "float32")
    excused = Pair("tensor-float32", "bfloat16")
    outcome = Outcome(
        kills={
            (pair, 0): kill_of(pair),
            (pair, 1): kill_of(pair, 1, ""),
            (excused, 0): kill_of(excused, 0, ""),
        }
    )
    assert [(k.fault, k.seed) for k in outcome.survivors] == [(pair.fault, 1)]
    assert outcome.exit_status == 1
    rows = {t.dtype: t for t in totals(outcome, [pair, excused])}
    assert (rows["float32"].killed, rows["float32"].survivors, rows["float32"].kills) == (0, 1, 1)
    assert (rows["bfloat16"].judged, rows["bfloat16"].excused, rows["bfloat16"].runs) == (1, 1, 0)
    assert (rows[""].judged, rows[""].kills, rows[""].runs) == (2, 1, 2)
    assert first_tiers(outcome, [pair]) == {"float32": {"bound": 1}}


def test_tiers() -> None:
    assert {tier_of(check.name) for check in CHECKS} <= {*TIERS}
    assert tier_of("permuting_memories_changes_nothing") == "law"


# Pages


def test_the_page_names_every_fault_and_what_kills_it() -> None:
    pairs = pairs_of()
    pair = Pair("lse-not-over-beta", "float32")
    found = Measured(*pair, 0, 9, 3, 5, 0.5, {"energy_within_bound": 2, "masked_energy": 1}, 1.0)
    outcome = Outcome(
        kills={(pair, s): kill_of(pair, s) for s in range(3)}, measured={(pair, "matrix"): found}
    )
    page = kill_matrix(outcome, pairs, 3)
    assert faults_of_page(page) == {*FAULTS}
    (row,) = (
        line for line in page.splitlines() if line.startswith(f"| `{pair.fault}` |") and "| float32 |" in line
    )
    assert "| 3/3 | BND-4 `energy_within_bound`, bound, 3 | MSK-2 BND-4 |" in row.replace("MHN-", "")
    for excused in EXCUSED:
        assert f"| {excused.fault} | {excused.dtype} |" in page


def test_the_published_page_names_the_registered_faults() -> None:
    page = (ROOT / "docs" / "kill-matrix.md").read_text(encoding="utf-8")
    assert faults_of_page(page) == {*FAULTS}, "make kill writes the page anew"


# False alarms


def test_a_campaign_counts_cases_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROFILES, "quick", TINY)
    path = tmp_path / "alarms.jsonl"
    first = campaign(path, wanted=1, targets=(RIGHT, "torch-eager"))
    assert set(first.seeds.values()) == {1}
    assert first.alarms == []
    assert first.total == sum(first.cases.values()) > 100
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["target"] == RIGHT
    second = campaign(path, wanted=first.total + 1, targets=(RIGHT, "torch-eager"))
    assert second.seeds == {RIGHT: 1, "torch-eager": 1}
    assert path.read_text().splitlines()[0] == line


def test_a_campaign_finds_out_who_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROFILES, "quick", TINY)
    whole = campaign(tmp_path / "alarms.jsonl", wanted=1, targets=("fault:mask-inverted",))
    assert whole.alarms
    assert all(alarm["ratio"] > 1 or alarm["kind"] != "bound" for alarm in whole.alarms)
    assert sum(whole.accused().values()) == len(whole.alarms)


# The command


def test_kill_command(tmp_path: Path) -> None:
    words = ["kill", "--fault", "lse-not-over-beta", "--dtype", "float32", "--seeds", "1", "--jobs", "1"]
    result = CliRunner().invoke(app, [*words, "--record", str(tmp_path / "record.jsonl")])
    assert result.exit_code == 0, result.output
    assert "1/1" in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fault", "nonesuch"], "no fault is named"),
        (["--fault", "mask-inverted", "--page", "page.md"], "leave out --fault"),
    ],
)
def test_kill_command_refuses(words: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["kill", *words])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
