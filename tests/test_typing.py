"""The types that a person who installs hopspec sees: a downstream project checked against the built wheel."""

import os
import re
import subprocess
import sys
import venv
from collections import defaultdict
from pathlib import Path

import mpmath
import numpy
import pytest
import torch

import hopspec
import hopspec.reference

DOWNSTREAM = Path(__file__).resolve().parent / "downstream"


@pytest.fixture(scope="module")
def downstream(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The downstream project outside the tree, with an environment of its own that holds the wheel."""
    project = tmp_path_factory.mktemp("downstream")
    for file in DOWNSTREAM.iterdir():
        if file.is_file():
            (project / file.name).write_bytes(file.read_bytes())
    environment = project / "env"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index"]
    subprocess.run([*install, "--quiet", str(wheel)], check=True)
    # Folders that a .pth file adds come after the environment's own, and .pth files inside them are not read:
    # so the libraries of the running environment are lent and its editable install of hopspec is not.
    lent = {str(Path(module.__path__[0]).parent) for module in (mpmath, numpy, torch)}
    (site_packages,) = environment.glob("lib/python3*/site-packages")
    (site_packages / "lent.pth").write_text("\n".join(sorted(lent)) + "\n")
    return project


def run_downstream(project: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the downstream environment's Python in the project."""
    python = project / "env" / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [python, *arguments], cwd=project, env=environment, capture_output=True, text=True, check=False
    )


def errors_in(report: str, name: str) -> dict[int, set[str]]:
    """Line numbers of the errors reported in file ``name``, each with its error codes."""
    errors = defaultdict(set)
    pattern = rf"^{re.escape(name)}:(\d+): error: .*  \[([a-z-]+)\]$"
    for line, code in re.findall(pattern, report, re.MULTILINE):
        errors[int(line)].add(code)
    return dict(errors)


def test_right_use_runs_on_the_wheel(downstream: Path) -> None:
    result = run_downstream(downstream, "-W", "error", "consumer.py")
    assert result.returncode == 0, result.stderr
    result = run_downstream(downstream, "-c", "import hopspec; print(hopspec.__file__)")
    assert Path(result.stdout.strip()).is_relative_to(downstream), result.stdout + result.stderr


# One test, because a run of mypy is the expensive part and test processes share nothing.
def test_mypy_reports_every_misuse_and_nothing_else(downstream: Path) -> None:
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", "env/bin/python", "--no-pretty"]
    command = [*mypy, "consumer.py", "misuse.py"]
    result = subprocess.run(command, cwd=downstream, capture_output=True, text=True, check=False)
    assert not result.stderr, result.stderr
    assert "consumer.py" not in result.stdout, result.stdout
    lines = (DOWNSTREAM / "misuse.py").read_text(encoding="utf-8").splitlines()
    expected = {
        number: set(marks.split(","))
        for number, line in enumerate(lines, start=1)
        for marks in re.findall(r"# error: \[([a-z,-]+)\]$", line)
    }
    assert len(expected) > 0
    assert errors_in(result.stdout, "misuse.py") == expected, result.stdout


@pytest.mark.parametrize(
    ("prefix", "public"), [("hopspec", hopspec.__all__), ("reference", hopspec.reference.__all__)]
)
def test_every_public_name_is_used(prefix: str, public: list[str]) -> None:
    consumer = (DOWNSTREAM / "consumer.py").read_text(encoding="utf-8")
    missing = [name for name in public if not re.search(rf"\b{prefix}\.{re.escape(name)}\b", consumer)]
    assert not missing, f"consumer.py says nothing about the type of {', '.join(missing)}"
