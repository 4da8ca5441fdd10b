"""``hopspec circuit``: sizes, comparison with the reference, drawings, files and refusals."""

from __future__ import annotations

import doctest
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hopspec.properties import circuit_drawing, circuit_sweep
from hopspec.properties.circuit_sweep import sizes_of
from hopspec.properties.cli import app
from hopspec.reference.circuits import load
from hopspec.reference.circuits.functions import FUNCTIONS


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["circuit", *arguments])
    return result.exit_code, " ".join(result.output.split())


SMALL = ("--bits", "3", "--least", "-6", "--greatest", "1")


def test_a_layer_is_compiled_and_compared() -> None:
    status, printed = run(*SMALL, "--n", "2", "--d", "1", "--cases", "16")
    assert status == 0
    assert "network: bits = 3, least = -6, greatest = 1, layers = 1, states = 2, stored = 2, d = 1" in printed
    assert "depth │ 165" in printed
    assert "counted gate by gate: the same" in printed
    assert "are those of the reference bit for bit" in printed


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_is_compiled_and_compared(function: str) -> None:
    # The epsilon of a LayerNorm must be an element.
    form = ("--bits", "3", "--least", "-19", "--greatest", "1") if function == "full-network" else SMALL
    status, printed = run(*form, "--function", function, "--n", "2", "--d", "1", "--cases", "8")
    assert (status, "all 8 outputs" in printed) == (0, True)


def test_a_wrong_output_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    right = FUNCTIONS["addition"]
    wrong = replace(right, expected=lambda sizes, inputs: 1 - right.expected(sizes, inputs))
    monkeypatch.setitem(FUNCTIONS, "addition", wrong)
    status, printed = run("--function", "addition", "--cases", "8")
    assert status == 1
    assert "8 of 8 outputs differ from the evaluation in F_p" in printed


def test_every_input_is_compared() -> None:
    form = ("--bits", "2", "--least", "-2", "--greatest", "-1", "--every")
    status, printed = run(*form, "--function", "divide")
    assert (status, "on all 72 inputs are those of the reference" in printed) == (0, True)
    assert "on all 729 inputs" in run(*form, "--function", "sum", "--n", "3")[1]
    assert "on all 1,024 inputs" in run("--function", "product", "--bits", "5", "--every")[1]
    status, printed = run("--function", "product", "--bits", "12", "--every")
    assert (status, "--every takes at most 2,097,152 inputs, got 16,777,216" in printed) == (2, True)


def test_states_can_be_fewer_than_stored_patterns() -> None:
    assert "states = 1, stored = 2" in run(*SMALL, "--n", "2", "--states", "1", "--d", "1", "--predict")[1]


def test_depth_and_size_are_swept() -> None:
    status, printed = run("--function", "sum", "--n", "8", "--bits", "4", "--sweep")
    assert status == 0
    assert printed.count("│ 21 │") == 5
    assert "the last three grow like powers" in printed


def test_what_does_not_fit_is_refused_with_its_size() -> None:
    status, printed = run("--n", "3", "--d", "1", "--bits", "3", "--memory", "0.001")
    assert status == 2
    assert "gates and" in printed
    assert "more than the 1,073,741 allowed" in printed
    assert run("--n", "3", "--d", "1", "--bits", "3", "--memory", "0.001", "--predict")[0] == 0


def test_unknown_functions_and_ranges_are_refused() -> None:
    assert run("--function", "sine")[0] == 2
    status, printed = run(*SMALL, "--function", "full-network")
    assert (status, "epsilon must round to a positive element" in printed) == (2, True)
    status, printed = run("--least", "3", "--greatest", "1")
    assert (status, "least must not exceed greatest" in printed) == (2, True)


def test_small_circuits_are_drawn_and_large_ones_are_not(tmp_path: Path) -> None:
    for name in ("adder.svg", "adder.dot", "adder.png"):
        assert run("--function", "addition", "--bits", "3", "--draw", str(tmp_path / name))[0] == 0
    assert "<svg" in (tmp_path / "adder.svg").read_text()
    assert (tmp_path / "adder.dot").read_text().count("->") > 20
    status, printed = run("--function", "sum", *SMALL, "--n", "9", "--draw", str(tmp_path / "sum.svg"))
    assert (status, "at most 1500 gates" in printed) == (2, True)


def test_a_circuit_is_written_and_verified_apart(tmp_path: Path) -> None:
    path = tmp_path / "product.npz"
    assert run("--function", "product", "--bits", "3", "--save", str(path))[0] == 0
    family, sizes = FUNCTIONS["product"], sizes_of("product", layers=1, n=1, d=1, bits=3, least=0, greatest=0)
    inputs = family.draw(sizes, np.random.default_rng(5), 50)
    assert (load(path).evaluate(inputs) == family.expected(sizes, inputs)).all()


@pytest.mark.parametrize("module", [circuit_sweep, circuit_drawing])
def test_examples_run(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted > 0
    assert result.failed == 0
