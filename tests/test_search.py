"""The search for inputs on which an error comes close to its bound."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from hopspec.formats import BFLOAT16, FLOAT16, FLOAT32, FORMATS, Format
from hopspec.properties import faults
from hopspec.properties.checks import CHECKS
from hopspec.properties.cli import app
from hopspec.properties.families import FAMILIES, drawn
from hopspec.properties.faults.kernel import Kernel
from hopspec.properties.host import InProcessHost
from hopspec.properties.kills.edits import EDITS, edited
from hopspec.properties.kills.search import Climb, draw_only, judged, search
from hopspec.properties.options import Options
from hopspec.properties.problem import Problem, fits
from hopspec.properties.subject import Subject

RIGHT = "hopspec.properties.faults:RIGHT"
BY_NAME = {c.name: c for c in CHECKS}


def bits_of(problem: Problem) -> tuple[object, ...]:
    """Everything edits may change."""
    arrays = (problem.query, problem.memory, problem.keep, problem.values)
    return (problem.beta, *(None if a is None else a.tobytes() for a in arrays))


@pytest.mark.parametrize("fmt", [FLOAT32, BFLOAT16, FLOAT16], ids=lambda f: f.name)
@pytest.mark.parametrize("family", ["general", "values", "masked", "extreme", "parts"])
def test_edits_stay_within_the_format_and_leave_the_original_alone(family: str, fmt: Format) -> None:
    rng = np.random.default_rng(5)
    for number in range(30):
        problem = drawn(family, 0, number)
        if fmt.name not in problem.formats:
            continue
        before = bits_of(problem)
        for _ in range(5):
            other = edited(rng, problem, fmt)
            assert fits(other.query, fmt)
            assert fits(other.memory, fmt)
            assert other.values is None or fits(other.values, fmt)
            assert other.kept.shape == (other.query.shape[0], other.memory.shape[0])
            assert other.query.shape[1] == other.memory.shape[1]
            assert other.values is None or len(other.values) == len(other.memory)
            assert np.isfinite(other.beta)
        assert bits_of(problem) == before


@pytest.mark.parametrize("edit", dict.fromkeys(EDITS), ids=lambda e: e.__name__)
def test_every_edit_changes_something(edit: object) -> None:
    rng = np.random.default_rng(1)
    problem = drawn("general", 0, 2)
    assert problem.memory.shape[0] > 3
    assert problem.memory.shape[0] < 80
    assert problem.memory.shape[1] > 1
    assert problem.query.shape[0] > 1
    before = bits_of(problem)
    assert callable(edit)
    assert any(bits_of(edit(rng, problem, FLOAT32)) != before for _ in range(20))


def test_a_search_repeats_itself() -> None:
    found = [
        search(RIGHT, properties=("log_normalizer_within_bound",), dtypes=("float32",), evaluations=40)
        for _ in range(2)
    ]
    figures = [[(s.check, s.drawn, s.found, s.evaluations) for s in each] for each in found]
    assert figures[0] == figures[1]
    assert all(used == 40 for *_, used in figures[0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("target", [RIGHT, "fastpath", "torch-eager"])
def test_right_implementations_stay_within_their_bounds(target: str, dtype: str) -> None:
    names = ("update_within_bound", "log_normalizer_within_bound", "association_within_bound")
    found = search(target, properties=names, dtypes=(dtype,), evaluations=40, seed=1)
    assert {s.check for s in found} == {*names[: 2 if target == "torch-eager" else 3]}
    assert [(s.check, s.found) for s in found if s.broken] == []
    assert any(s.found > s.drawn > 0 for s in found)


class SlightlyHeavy(Kernel):
    """Exponentials below exp(-1) are too large by 2**-18.0: just what the bound of most problems allows."""

    def tile_weights(self, logits: Tensor) -> Tensor:
        return torch.where(logits < -1, 1 + 2.0**-18.0, 1.0) * self.exp(logits)


@pytest.fixture
def slightly_heavy(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an implementation with a tiny fault."""
    monkeypatch.setattr(
        faults, "SLIGHTLY_HEAVY", SlightlyHeavy().implementation("slightly-heavy"), raising=False
    )
    return "hopspec.properties.faults:SLIGHTLY_HEAVY"


def test_the_search_finds_a_fault_that_drawing_misses(slightly_heavy: str) -> None:
    check = BY_NAME["log_normalizer_within_bound"]
    options = Options(targets=(slightly_heavy,), dtypes=("float32",))
    ratio = judged(check, Subject(InProcessHost(slightly_heavy), options), "float32")
    assert draw_only(ratio, check.family, 0, 200) == 0
    climb = Climb(ratio, check.family, "float32", 0, to_failure=True)
    climb.go_on(lambda used: used >= 200)
    assert 0 < climb.first <= 200
    assert climb.first == climb.evaluations
    assert climb.found > 1 > climb.drawn
    assert climb.best is not None
    again = ratio(climb.best[1])
    assert again == climb.found


def test_a_right_kernel_survives_where_the_fault_was_found(slightly_heavy: str) -> None:
    check = BY_NAME["log_normalizer_within_bound"]
    ratios = []
    for target in (slightly_heavy, RIGHT):
        subject = Subject(InProcessHost(target), Options(targets=(target,), dtypes=("float32",)))
        ratios.append(judged(check, subject, "float32"))
    climb = Climb(ratios[0], check.family, "float32", 0, to_failure=True)
    climb.go_on(lambda used: used >= 200)
    assert climb.best is not None
    right = ratios[1](climb.best[1])
    assert right is not None
    assert right <= 1


def test_limits_and_claims_are_needed() -> None:
    with pytest.raises(ValueError, match="seconds or evaluations"):
        search(RIGHT)
    with pytest.raises(ValueError, match="claims no property of MHN-PRC-4"):
        search(RIGHT, clauses=("MHN-PRC-4",), evaluations=1)


def test_search_command() -> None:
    words = ["search", "fault:lse-not-over-beta", "--clause", "MHN-BND-4", "--dtype", "float32"]
    result = CliRunner().invoke(app, [*words, "--seconds", "1", "--first"])
    assert result.exit_code == 1, result.output
    assert "energy_within_bound" in result.output
    refused = CliRunner().invoke(app, ["search", "nonesuch", "--seconds", "1"])
    assert refused.exit_code == 2
    assert "neither a built-in" in " ".join(refused.output.split())


def test_families_and_formats_exist() -> None:
    assert {c.family for c in CHECKS} - {"digits"} <= {*FAMILIES}
    assert {"float32", "bfloat16", "float16"} <= {*FORMATS}
