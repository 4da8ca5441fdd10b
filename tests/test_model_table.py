"""The table of models, on the command line and in the documentation, and how tight their bounds are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hopspec.properties.bench import tightness
from hopspec.properties.bench.tightness_command import tightness_markdown
from hopspec.properties.cli import app
from hopspec.properties.model_table import markdown, said
from hopspec.properties.models import MODELS
from hopspec.properties.session import resolve
from hopspec.properties.simulated import Simulation
from hopspec.types import Summation

ROOT = Path(__file__).resolve().parent.parent


def invoke(*words: str) -> str:
    result = CliRunner(env={"COLUMNS": "160"}).invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return result.output


def test_every_model_is_listed_and_no_two_rows_say_the_same() -> None:
    rows = [said(model) for model in MODELS.values()]
    assert [row[0] for row in rows] == list(MODELS)
    for dtype in ("float32", "bfloat16", "float16"):
        own = [row[1:] for row in rows if row[0].endswith(f"-{dtype}")]
        assert len({*own}) == len(own)
    output = invoke("models")
    assert all(name in output for name in MODELS)


def test_one_dtype_only() -> None:
    output = invoke("models", "--dtype", "float16")
    assert "flash-float16" in output
    assert "flash-float32" not in output
    result = CliRunner().invoke(app, ["models", "--dtype", "float8"])
    assert result.exit_code == 2
    assert "unknown dtype 'float8'" in result.output


def test_orders_are_said_in_words() -> None:
    model = replace(
        MODELS["wide-float32"], weighted_sum=Summation(16, 4, 64), weight_sum=Summation(chunk=8, halving=True)
    )
    assert said(model)[4] == "float32, any order; 16 lanes + 4, chunks of 64; chunks of 8, halving"


def test_documentation_has_the_table_as_it_is() -> None:
    page = (ROOT / "docs" / "accuracy-models.md").read_text(encoding="utf-8")
    for line in markdown().splitlines():
        assert line in page, line
    for name in MODELS:
        assert page.count(f"| {name} |") == 2, f"{name} is to have a row of what it says and one of ratios"


def test_tightness_of_a_model_and_of_an_implementation(tmp_path: Path) -> None:
    path = tmp_path / "ratios.json"
    output = invoke(
        "bench", "tightness", "wide-bfloat16", "torch-tree", "--size", "4", "--size", "6", "--json", str(path)
    )
    assert "wide-bfloat16" in output
    assert "torch-tree float64" in output
    (run,) = json.loads(path.read_text(encoding="utf-8"))["runs"]
    figures = {(f["name"], f["detail"]): f["values"] for f in run["figures"]}
    assert len(figures) == 6
    assert all(len(values) > 50 for values in figures.values())
    assert 1 < float(np.median(figures["wide-bfloat16", "6"])) < 3


def test_tightness_as_markdown_and_of_nothing_known() -> None:
    run = tightness.run([2], ["tree-float32"], lambda *_: None)
    lines = tightness_markdown(run).splitlines()
    assert lines[0] == "| median / worst | N = 2 |"
    assert lines[2].startswith("| tree-float32 | ")
    assert lines[3].startswith("| tree-float32, without chance | ")
    assert lines[4].startswith("| tree-float32, rounded down | ")
    result = CliRunner().invoke(app, ["bench", "tightness", "tree-float8"])
    assert result.exit_code == 2
    assert "unknown model 'tree-float8'" in result.output


def test_without_chance_the_errors_of_weights_are_larger_and_still_within_the_bound() -> None:
    model = MODELS["tree-float32"]
    simulation = Simulation(model)
    for problem in tightness.mixed_problems(64):
        state = simulation.update(problem.query, problem.memory, beta=problem.beta)
        by_chance = tightness.tightness(problem, state, model)
        without = tightness.without_chance(problem, model)
        assert len(without) == len(by_chance)
        assert all(1 <= b <= a for a, b in zip(by_chance, without, strict=True)), problem.regimes


@pytest.mark.parametrize("memories", [1000, 1024])
def test_sums_in_pairs_err_by_a_third_of_the_bound_where_all_are_rounded_down(memories: int) -> None:
    model = MODELS["tree-float32"]
    problem = tightness.rounded_down(memories, model.accumulation)
    asked = problem.query, problem.memory
    simulated = Simulation(model).update(*asked, beta=problem.beta)
    kernel = resolve("torch-tree")
    real = kernel.retrieve(*(torch.tensor(a, dtype=torch.float32) for a in asked), beta=problem.beta)
    for state in (simulated, real.double().numpy()):
        (ratio,) = tightness.tightness(problem, state, model)
        assert 1 <= ratio < 3.5


def test_a_bound_that_is_too_small_shows() -> None:
    problem = next(tightness.mixed_problems(8))
    model = MODELS["wide-float32"]
    exact = problem.solution.state.hi
    assert min(tightness.tightness(problem, exact, model)) > 1
    assert max(tightness.tightness(problem, exact + 1.0, model)) < 1


@pytest.mark.parametrize("memories", [1, 40])
def test_mixed_problems_are_exact_in_every_dtype(memories: int) -> None:
    found = list(tightness.mixed_problems(memories))
    assert len(found) == 42
    assert all(len(p.formats) == 4 for p in found)
    assert {p.memory.shape[0] for p in found} == {memories}
