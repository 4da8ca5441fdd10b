"""``hopspec precision`` and ``hopspec bench pbit``: retrieval in few bits, and the processor."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hopspec.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from hopspec.properties import hardware
from hopspec.properties.cli import app
from hopspec.properties.hardware import OPERATIONS, as_pbits, compare_hardware
from hopspec.properties.precision_command import fastpath, plot_errors
from hopspec.properties.precision_study import FAMILIES, errors_by_bits, instances, share_of, studied
from hopspec.reference.pbit import Arithmetic

LIBRARIES = [
    (FLOAT32, "numpy"),
    (FLOAT16, "numpy"),
    (FLOAT64, "numpy"),
    (BFLOAT16, "torch"),
    (BFLOAT16, "ml_dtypes"),
]


@pytest.mark.parametrize(("fmt", "library"), LIBRARIES, ids=lambda x: getattr(x, "name", x))
def test_operations_agree_with_the_processor(fmt: Format, library: str) -> None:
    pytest.importorskip(library)
    for operation in OPERATIONS:
        found = compare_hardware(fmt, operation, library, 400)
        assert (found.different, found.first) == (0, "")


def test_operands_are_of_every_kind() -> None:
    x = hardware._operands(FLOAT16, np.random.default_rng(0), 4000)
    assert (x == x.astype(np.float16)).all()
    size = np.abs(x)
    assert ((size > 0) & (size < 2.0**-14)).sum() > 100
    assert (size >= 2.0**15).sum() > 20
    assert (x < 0).mean() == pytest.approx(0.5, abs=0.1)


def test_a_wrong_arithmetic_differs_from_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Arithmetic, "_goes_up", lambda *_: False)
    found = compare_hardware(FLOAT32, "add", "numpy", 300)
    assert found.different > 20
    assert "numpy" in found.first


def test_the_sets_are_those_of_the_formats() -> None:
    for fmt in (FLOAT16, BFLOAT16, FLOAT32, FLOAT64):
        assert float(as_pbits(fmt).largest) == fmt.largest


@pytest.mark.parametrize("family", FAMILIES)
def test_the_theorem_holds_where_it_is_searched(family: str) -> None:
    found = [studied(family, *each) for each in instances(family, share_of(family, 12), seed=1)]
    assert len(found) >= share_of(family, 8)
    for each in found:
        assert each is not None
        assert each.holds
        assert each.first is not None
        assert each.since is not None
        assert 2 <= each.first <= each.since <= each.theorem


def test_the_commands_run(tmp_path: Path) -> None:
    runner = CliRunner()
    result = runner.invoke(app, ["precision", "--drawn", "3"])
    assert result.exit_code == 0, result.stdout
    assert "two alike" in result.stdout
    result = runner.invoke(app, ["precision", "--data", "digits", "--queries", "1"])
    assert result.exit_code == 0, result.stdout
    assert "pixels hidden" in result.stdout
    result = runner.invoke(app, ["precision", "--hardware", "240"])
    assert result.exit_code == 0, result.stdout
    assert "240 operations, 0 different" in result.stdout
    assert runner.invoke(app, ["precision", "--data", "letters"]).exit_code == 2
    times = tmp_path / "times.json"
    result = runner.invoke(
        app, ["bench", "pbit", "--size", "4x5x3", "--bits", "8", "--rounds", "5", "--json", str(times)]
    )
    assert result.exit_code == 0, result.stdout
    assert times.exists()
    assert runner.invoke(app, ["bench", "pbit", "--size", "4x5"]).exit_code == 2


def test_errors_are_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    query, memory = np.rint(4 * rng.standard_normal((1, 3))) / 4, np.rint(4 * rng.standard_normal((6, 3))) / 4
    found = errors_by_bits(query, memory, 2.0, 0.25, fastpath, {"float32": 24, "float64": 53})
    assert found.errors[-1] < 1e-6 < found.errors[0]
    assert all(e <= b for e, b in zip(found.errors, found.bounds, strict=True))
    assert found.formats["float32"][1] < 1e-6
    assert found.formats["float64"][1] < 1e-13
    assert found.bits[-1] == 53
    path = tmp_path / "errors.svg"
    plot_errors([("one", found), ("the same", found)], "errors", path)
    assert "<svg" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["hardware", "precision_study"])
def test_examples_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"hopspec.properties.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
