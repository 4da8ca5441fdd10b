"""The file of expected failures, and what ``hopspec verify`` makes of it."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hopspec.properties.cli import app
from hopspec.properties.expectations import read_expectations

ENTRY = """
[[expected]]
clause = "MHN-BND-2"
dtype = "float32"
reason = "too hot"
expires = 2999-12-31
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "expected.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_entries_are_read_with_their_place(tmp_path: Path) -> None:
    second = ENTRY.replace('dtype = "float32"', 'implementation = "mine"')
    path = written(tmp_path, f"# known\n{ENTRY}{second}")
    first, other = read_expectations(path)
    assert (first.clause, first.dtype, first.implementation) == ("MHN-BND-2", "float32", "")
    assert (first.reason, first.expires) == ("too hot", date(2999, 12, 31))
    assert str(first) == f"{path}, line 3, entry 1 (MHN-BND-2 float32)"
    assert str(other) == f"{path}, line 9, entry 2 (MHN-BND-2 mine)"
    assert first.covers("MHN-BND-2", "float32", ["any"])
    assert not first.covers("MHN-BND-2", "float64", ["any"])
    assert other.covers("MHN-BND-2", "float64", ["mine", "package:mine"])
    assert not other.covers("MHN-BND-2", "float64", ["yours"])
    assert read_expectations(written(tmp_path, "")) == ()


def test_entries_written_inline_have_a_number(tmp_path: Path) -> None:
    path = written(
        tmp_path, 'expected = [{clause = "MHN-BND-2", reason = "why\\n[[expected]]", expires = 2999-12-31}]'
    )
    (entry,) = read_expectations(path)
    assert entry.where == f"{path}, entry 1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("clause", "claus"), "line 2, entry 1: unknown key 'claus'; expected clause, dtype, implementation"),
        (('reason = "too hot"\n', ""), "line 2, entry 1: reason must be a text, got nothing"),
        (('"too hot"', '" "'), "line 2, entry 1: reason must be a text, got ' '"),
        (('"float32"', "32"), "line 2, entry 1: dtype must be a text, got 32"),
        (('"float32"', '"float33"'), "line 2, entry 1: dtype 'float33' is unknown; expected one of float64"),
        (("BND-2", "BND-0"), "line 2, entry 1: clause 'MHN-BND-0' has no property; those that have: MHN-"),
        (
            ("2999-12-31", '"2999-12-31"'),
            "line 2, entry 1: expires must be a date such as 2027-06-30, without",
        ),
        (("2999-12-31", "2999-12-31T00:00:00"), "expires must be a date such as 2027-06-30, without quotes"),
        (("expires = 2999-12-31\n", ""), "line 2, entry 1: expires must be a date .*, got nothing"),
        (
            ("[[expected]]", "[[unexpected]]"),
            r"unknown key 'unexpected'; expected tables \[\[expected\]\] only",
        ),
        (("[[expected]]", "[expected]"), r"expected must be an array of tables \[\[expected\]\], got"),
        (("[[expected]]", "[[expected"), r"is no TOML file: .*line 2"),
    ],
)
def test_malformed_entries_are_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_expectations(written(tmp_path, ENTRY.replace(*change)))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read the expected failures in .*nothing\.toml"):
        read_expectations(tmp_path / "nothing.toml")


@pytest.mark.parametrize(
    ("name", "change", "status", "message"),
    [
        ("hot", ("", ""), 0, "expected failure"),
        ("right", ("", ""), 1, "expects a failure in float32, but bad_kernels:right passes: too hot"),
        ("hot", ("2999-12-31", "2020-01-01"), 1, "(MHN-BND-2 float32) expired on 2020-01-01: too hot"),
        (
            "hot",
            ("2999-12-31", '2999-12-31\nimplementation = "other"'),
            1,
            "matches nothing that was verified",
        ),
        ("hot", ("BND-2", "BND-4"), 1, "expects a failure of what bad_kernels:hot does not claim: too hot"),
        ("hot", ("BND-2", "LAW-1"), 1, "BROKEN"),
        ("hot", ("float32", "float64"), 1, "BROKEN"),
        ("hot", ("2999-12-31", '2999-12-31\nimplementation = "hot"'), 0, "expected failure"),
        ("hot", ("[[expected]]", "[[unexpected]]"), 2, "unknown key 'unexpected'"),
    ],
)
def test_verify(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    change: tuple[str, str],
    status: int,
    message: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    path = written(tmp_path, ENTRY.replace(*change))
    command = ["verify", f"bad_kernels:{name}", "--profile", "quick", "--examples", "4", "--in-process"]
    command += ["--dtype", "float32", "--clause", "MHN-BND-2", "--clause", "MHN-BND-4"]
    command += ["--expected", str(path), "--json", str(tmp_path / "report.json")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == status, done.output
    assert message in " ".join(done.output.split())
    if status == 0:
        report = json.loads((tmp_path / "report.json").read_text())
        broken = [cell for cell in report["cells"] if cell["failure"] and not cell["unclaimed"]]
        assert {cell["verdict"] for cell in broken} == {"expected failure"}
        assert {cell["expected"] for cell in broken} == {"too hot"}
