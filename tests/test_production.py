"""``hopspec verify --at``: right kernels pass, faults that only show at size are found and reported."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from hopspec.formats import format_named
from hopspec.properties.cli import app
from hopspec.properties.models import MODELS
from hopspec.properties.options import Options
from hopspec.properties.problem import fits
from hopspec.properties.production import verify_at
from hopspec.properties.production_problem import REGIMES, draw, edges, parse_size, sampled
from hopspec.properties.production_report import as_json_at, print_at, reproduction_at, write_json_at
from hopspec.properties.production_results import AtSize, SizeCell
from hopspec.properties.production_scout import scout
from hopspec.properties.production_truth import Truth
from hopspec.properties.results import Report, Verdict
from hopspec.reference import solve, solve_large

HERE = Path(__file__).parent
SIZE = "300x1500x32"


@pytest.fixture(autouse=True)
def _kernels_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.syspath_prepend(str(HERE))


def run(name: str, *dtypes: str, size: str = SIZE) -> AtSize:
    target = name if name == "torch-sdpa" else f"large_kernels:{name}"
    options = Options(targets=(target,), dtypes=dtypes or ("float32",), in_process=True)
    return verify_at(options, [parse_size(size)], 8)


def only(outcome: AtSize) -> SizeCell:
    (cell,) = outcome.cells
    return cell


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_right_kernel_holds(dtype: str) -> None:
    outcome = run("right", dtype)
    cell = only(outcome)
    assert cell.verdict is Verdict.HOLDS
    assert outcome.exit_status == 0
    assert cell.compared == cell.queries * 32
    assert cell.queries >= 8 + len(edges(300)) - 8
    assert 0 < cell.worst < 1
    assert outcome.radius < 2.0**-70


@pytest.mark.parametrize(
    "name",
    [
        "last_tile_dropped",
        "summed_in_half",
        "late_rows_wrong",
        "late_memories_wrong",
        "one_row_wrong",
        "never_written",
    ],
)
def test_faults_at_size_are_found(name: str) -> None:
    outcome = run(name)
    cell = only(outcome)
    assert outcome.exit_status == 1
    assert cell.failure is not None
    assert cell.failure.kind == "bound"
    assert run(name, size="8x64x8").exit_status == (1 if name == "summed_in_half" else 0)


def test_modified_memory_is_reported() -> None:
    outcome = run("mutates")
    assert [c.clause for c in outcome.cells if c.verdict is Verdict.BROKEN] == ["MHN-DOM-5"]
    assert outcome.exit_status == 1


def test_child_process_hangs_and_errors_are_verdicts() -> None:
    names = ("right", "raises", "hangs")
    options = Options(targets=tuple(f"large_kernels:{n}" for n in names), dtypes=("float32",))
    outcome = verify_at(options, [parse_size(SIZE)], 8, timeout=5.0)
    cells = {c.implementation.removeprefix("large_kernels:"): c for c in outcome.cells}
    assert cells["right"].verdict is Verdict.HOLDS
    kinds = {n: c.failure.kind for n, c in cells.items() if c.failure is not None}
    assert kinds == {"raises": "raised", "hangs": "hung"}
    assert outcome.exit_status == 1


def test_masks_and_values_are_judged_where_claimed() -> None:
    outcome = run("torch-sdpa", size="40x600x16")
    assert [(c.problem, c.verdict) for c in outcome.cells] == [
        ("plain", Verdict.HOLDS),
        ("masked, values", Verdict.HOLDS),
    ]


def test_what_cannot_be_run_is_not_passed() -> None:
    outcome = run("no_such_kernel")
    assert outcome.exit_status == 2
    assert outcome.report.unusable
    small = verify_at(Options(targets=("reference",), in_process=True), [parse_size(SIZE)])
    assert small.exit_status == 2
    assert "up to 3000 only" in small.report.unusable["reference"]


def test_wrong_dtype_is_reported() -> None:
    outcome = run("widened")
    assert [c.clause for c in outcome.cells if c.verdict is Verdict.BROKEN] == ["MHN-DOM-3"]


def test_unknown_is_neither_held_nor_broken() -> None:
    """An enclosure too wide for a verdict is undecided, and so is the run."""
    problem = draw(parse_size("3x5x2"), "float32")
    truth = Truth(problem, np.arange(3))
    exact = truth.exact
    for radius in (np.full_like(exact.state.radius, 1.0), np.full_like(exact.state.radius, np.inf)):
        truth.exact = replace(exact, state=replace(exact.state, radius=radius))
        cell = SizeCell("MHN-BND-2", "retrieve", "any", "float32", "3x5x2", "plain")
        truth.judge(cell, exact.state.hi, MODELS["wide-float32"])
        assert cell.undecided == 6
        assert cell.verdict is Verdict.NOT_REACHED
        outcome = AtSize(Report(settings={}), [cell])
        assert outcome.exit_status == 2
        console = Console(file=io.StringIO(), width=160)
        print_at(outcome, console)
        assert isinstance(console.file, io.StringIO)
        assert "undecided 6" in console.file.getvalue()


def test_report(tmp_path: Path) -> None:
    outcome = run("late_rows_wrong")
    console = Console(file=io.StringIO(), width=160)
    print_at(outcome, console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for wanted in ("MHN-BND-2", SIZE, "BROKEN", "solve_large", "a clause is broken"):
        assert wanted in text
    write_json_at(outcome, tmp_path / "report.json")
    data = json.loads((tmp_path / "report.json").read_text())
    assert data == json.loads(json.dumps(as_json_at(outcome), allow_nan=False))
    assert data["exit_status"] == 1
    (cell,) = data["at"]["cells"]
    assert cell["failure"]["row"] >= 200
    assert cell["size"] == SIZE


def test_reproduction_shows_the_wrong_row(capsys: pytest.CaptureFixture[str]) -> None:
    cell = only(run("late_rows_wrong"))
    exec(reproduction_at(cell, "large_kernels:late_rows_wrong", "cpu"), {})
    got, exact = (
        np.array(part.replace("[", "").split(), dtype=np.float64)
        for part in capsys.readouterr().out.split("]")[:2]
    )
    assert 2.0**-9 < np.abs(got / exact - 1).max() < 2.0**-7


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_problems_follow_from_their_seed(dtype: str) -> None:
    size = parse_size("50x400x16")
    one, two = (draw(size, dtype, seed=3, keep=True, values=True) for _ in range(2))
    for name, array in one.arrays.items():
        assert np.array_equal(array, two.arrays[name])
        if name != "keep":
            assert fits(array.astype(np.float64), format_named(dtype))
    other = draw(size, dtype, seed=4)
    assert not np.array_equal(one.query, other.query)
    assert set(np.unique(draw(parse_size("200x400x16"), dtype).regimes)) == set(range(len(REGIMES)))


def test_weights_are_mixed_and_gathered() -> None:
    problem = draw(parse_size("120x1500x32"), "float64")
    solution = solve_large(problem.query, problem.memory, beta=problem.beta)
    effective = 1 / np.square(solution.weights).sum(axis=1)
    assert (effective > 20).sum() > 5
    assert ((effective > 1.5) & (effective < 20)).sum() > 20
    assert (effective < 1.1).sum() > 5


def test_sampled_rows_cover_edges_and_regimes() -> None:
    problem = draw(parse_size("700x64x4"), "float32")
    rows = sampled(problem, 16)
    assert set(edges(700)) <= set(rows.tolist())
    assert {0, 1, 15, 16, 127, 128, 512, 698, 699} <= set(edges(700))
    others = np.setdiff1d(rows, edges(700))
    assert len(others) >= 10
    assert set(problem.regimes[others]) == set(range(len(REGIMES)))
    assert edges(1) == [0]


def test_scout_agrees_with_the_exact_answer() -> None:
    problem = draw(parse_size("20x200x8"), "float64", keep=True, values=True)
    keep, values = problem.keep, problem.values
    assert values is not None
    exact = solve(problem.query, problem.memory, beta=problem.beta, keep=keep, values=values)
    found = scout(problem).results
    assert np.allclose(found["retrieve"], exact.state.hi, rtol=1e-10, atol=1e-12)
    assert np.allclose(found["log_normalizer"], exact.log_normalizer.hi, rtol=1e-12)
    assert exact.energy is not None
    assert np.allclose(found["energy"], exact.energy.hi, rtol=1e-10)


def test_command_line(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    words = ["verify", "large_kernels:right", "--in-process", "--dtype", "float32", "--json", str(report)]
    done = CliRunner().invoke(app, [*words, "--at", "20x300x8", "--at", "3x5x2", "--queries", "4"])
    assert done.exit_code == 0, done.output
    assert "nothing failed" in done.output
    assert [c["size"] for c in json.loads(report.read_text())["at"]["cells"]] == ["20x300x8", "3x5x2"]
    wrong = CliRunner().invoke(app, [*words, "--at", "20x300"])
    assert wrong.exit_code == 2
    assert "LxNxd" in wrong.output


@pytest.mark.parametrize("text", ["4096x65536", "ax2x3", "0x4x4", "1x2x3x4", ""])
def test_malformed_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)
