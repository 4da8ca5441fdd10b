"""Comparisons that the exact value is not known well enough to decide."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from hopspec.properties.judgement import all_of, compare
from hopspec.properties.report import as_json, print_report
from hopspec.properties.results import Verdict
from hopspec.properties.runner import Options, verify
from hopspec.reference import Enclosed


def known_to(radius: float) -> Enclosed:
    return Enclosed(np.array([1.0, 2.0]), np.zeros(2), np.full(2, radius))


def test_an_undecided_comparison_is_neither() -> None:
    actual, bound = np.array([1.0, 2.5]), np.array([0.5, 0.5])
    decided = compare("numbers", actual, known_to(0.0), bound)
    assert decided is not None
    assert (decided.holds, decided.undecided) == (True, 0)
    open_ = compare("numbers", actual, known_to(0.25), bound)
    assert open_ is not None
    assert (open_.compared, open_.undecided) == (2, 1)
    broken = compare("numbers", np.array([3.0, 2.5]), known_to(0.25), bound)
    assert broken is not None
    assert not broken.holds
    both = all_of(decided, open_, None)
    assert both is not None
    assert both.undecided == 1


def test_a_run_that_decides_nothing_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = Enclosed.error

    def vague(self: Enclosed, actual: object) -> tuple[np.ndarray, np.ndarray]:
        error, slack = exact(self, actual)
        return error, slack + 1e6

    monkeypatch.setattr(Enclosed, "error", vague)
    options = Options(
        ("torch-sdpa",), ("float32",), profile="quick", clauses=("MHN-BND-2",), in_process=True, shrink=False
    )
    report = verify(options)
    cell = next(c for c in report.cells if c.check == "update_within_bound")
    assert cell.undecided > 0
    assert cell.verdict is Verdict.TOO_FEW
    assert report.exit_status == 1
    assert sum(c["undecided"] for c in as_json(report)["cells"]) >= cell.undecided
    console = Console(width=140, file=io.StringIO())
    with console.capture() as captured:
        print_report(report, console)
    assert "cases undecided" in captured.get()
