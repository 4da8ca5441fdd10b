"""Constructions: right ones pass, each fault is killed by what it names, and every property kills one."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hopspec.properties import trials
from hopspec.properties.checks import CHECKS
from hopspec.properties.cli import app
from hopspec.properties.construction_session import CONSTRUCTED
from hopspec.properties.faults import FAULTS
from hopspec.properties.faults.constructions import CONSTRUCTION_FAULTS, ConstructionFault
from hopspec.properties.report import shape_of
from hopspec.properties.reporting.reproduction import snippet
from hopspec.properties.results import Report, Verdict
from hopspec.properties.runner import Options, verify
from hopspec.properties.session import Unusable, resolve
from hopspec.properties.trials import TRIALS, repeat
from hopspec.types import Construction

RIGHT = ("pbit-reference", "pbit-arrays", "circuits")


def survey(*targets: str, clauses: tuple[str, ...] = (), first: bool = False, apart: bool = False) -> Report:
    """Verify constructions quickly."""
    return verify(
        Options(
            targets=targets,
            profile="quick",
            # Enough for every property to see each fault that names it.
            examples=20,
            shrink=False,
            clauses=clauses,
            in_process=not apart,
            first=first,
        )
    )


@pytest.mark.parametrize("name", RIGHT)
def test_right_constructions_pass(name: str) -> None:
    report = survey(name)
    assert [(c.check, c.failure) for c in report.failures] == []
    assert report.exit_status == 0
    assert report.cells
    assert {c.verdict for c in report.cells} == {Verdict.HOLDS}
    assert {c.dtype for c in report.cells} <= {*CONSTRUCTED}
    assert all(c.compared > 0 for c in report.cells)


@pytest.mark.parametrize("fault", CONSTRUCTION_FAULTS.values(), ids=CONSTRUCTION_FAULTS)
def test_fault_is_killed_by_each_property_it_names(fault: ConstructionFault) -> None:
    clauses = tuple(sorted({TRIALS[name].clause for name in fault.killed_by}))
    report = survey(f"fault:{fault.name}", clauses=clauses)
    assert set(fault.killed_by) - {c.check for c in report.broken} == set()
    assert report.exit_status == 1
    assert fault.what.endswith(".")


def test_every_property_kills_a_fault() -> None:
    assert set(TRIALS) - {name for fault in CONSTRUCTION_FAULTS.values() for name in fault.killed_by} == set()
    assert not {*TRIALS} & {c.name for c in CHECKS}
    assert not {*CONSTRUCTION_FAULTS} & {*FAULTS}


def test_a_failure_can_be_repeated() -> None:
    report = survey("fault:rounds-toward-zero", clauses=("MHN-FPN-6",))
    cell = report.broken[0]
    assert cell.failure is not None
    assert shape_of(cell.failure) == f"draw {cell.failure.problem.steps} of seed 0"
    printed = snippet(report, cell, cell.failure)
    assert "repeat('fault:rounds-toward-zero'" in printed
    again = repeat("fault:rounds-toward-zero", cell.check, seed=0, number=cell.failure.problem.steps)
    assert again is not None
    assert (again.what, again.got) == (cell.failure.what, cell.failure.got)


def test_a_report_is_written_in_every_form(tmp_path: Path) -> None:
    paths = {form: tmp_path / f"report.{form}" for form in ("json", "junit", "html")}
    words = [word for form, path in paths.items() for word in (f"--{form}", str(path))]
    command = ["verify", "pbit-arrays", "fault:rounds-toward-zero", "--in-process", "--profile", "quick"]
    result = CliRunner().invoke(app, [*command, "--clause", "MHN-FPN-6", *words])
    assert result.exit_code == 1, result.stdout
    assert 'name="MHN-FPN-6[arithmetic]"' in paths["junit"].read_text(encoding="utf-8")
    assert "sums_of_two_are_rounded_once" in paths["html"].read_text(encoding="utf-8")
    shown = CliRunner().invoke(app, ["report", str(paths["json"])])
    assert "repeat('fault:rounds-toward-zero'" in shown.stdout


def test_a_run_can_end_at_the_first_failure() -> None:
    report = survey("fault:rounds-toward-zero", first=True)
    assert report.stopped_at is not None
    assert sum(c.broken for c in report.cells) == 1


def test_kernels_and_constructions_see_their_own_properties_only() -> None:
    report = survey("pbit-arrays", "torch-eager", clauses=("MHN-FPN-8", "MHN-LAW-5"), apart=True)
    assert report.exit_status == 0
    seen = {(c.implementation, c.check in TRIALS) for c in report.cells}
    assert seen == {("pbit-arrays", True), ("torch-eager", False)}


class Broken:
    """Raises in place of an answer."""

    def supports(self, format: object) -> bool:
        raise RuntimeError("no idea")

    def operate(self, operation: str, format: object, operands: object) -> list[object]:
        return []


BROKEN = Construction("broken", arithmetic=Broken())  # type: ignore[arg-type]


def test_an_exception_breaks_the_clause() -> None:
    report = survey("tests.test_constructions:BROKEN", clauses=("MHN-FPN-8",))
    failure = report.broken[0].failure
    assert failure is not None
    assert (failure.kind, failure.what) == ("raised", "supports raised RuntimeError: no idea")


def test_a_construction_is_no_kernel() -> None:
    with pytest.raises(Unusable, match=r"is a hopspec\.Construction"):
        resolve("pbit-arrays")
    with pytest.raises(ValueError, match="must offer something"):
        Construction("empty")


def test_examples_run() -> None:
    result = doctest.testmod(trials)
    assert result.attempted > 0
    assert result.failed == 0
