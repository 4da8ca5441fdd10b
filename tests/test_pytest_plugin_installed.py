"""The pytest plugin as others use it: the wheel in an environment of its own, and a project with kernels."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path
from xml.etree import ElementTree

import numpy
import pytest

FIVE_LINES = """\
from hopspec.properties.plugin import conformance
from mykernels import retrieve

test_conformance = conformance(retrieve)
"""
KERNELS = """
import numpy as np
from hopspec import Capabilities
from hopspec.properties.plugin import implementation

def retrieve(query, memory, *, beta):
    import torch
    return torch.softmax(beta * (query @ memory.mT), dim=-1) @ memory

def to_array(array, dtype):
    return np.asarray(array, dtype=dtype)

NUMPY = {
    "capabilities": Capabilities(dtypes=("float32",), strides=True),
    "to_array": to_array,
    "from_array": np.asarray,
}

@implementation("right", **NUMPY)
def right(query, memory, *, beta):
    t = beta * (query @ memory.T)
    p = np.exp(t - t.max(axis=-1, keepdims=True))
    return (p / p.sum(axis=-1, keepdims=True)) @ memory

@implementation("hot", **NUMPY)
def hot(query, memory, *, beta):
    return right(query, memory, beta=1.01 * beta)
"""
TWO_KERNELS = """
from hopspec.properties.plugin import conformance
from mykernels import hot, right

test_right = conformance(right)
test_hot = conformance(hot, expected="expected.toml")
"""
# Plugins of the lending environment, which would only take time.
OTHERS = ("-p", "no:cov", "-p", "no:hypothesispytest")
# Clauses of two families, of which the wrong kernel breaks some.
SELECTED = "float32 and (BND-2- or BND-6- or DOM-6- or UPD-8-)"


@pytest.fixture(scope="module")
def project(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project outside the tree, with an environment of its own that holds the wheel and some kernels."""
    folder = tmp_path_factory.mktemp("project")
    environment = folder / "env"
    venv.create(environment, symlinks=True)
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(environment / "bin" / "python"),
        "install",
        "--quiet",
    ]
    subprocess.run([*install, "--no-deps", "--no-index", str(wheel)], check=True)
    # As in tests/test_typing.py: the libraries of the running environment, not its hopspec.
    (site_packages,) = environment.glob("lib/python3*/site-packages")
    (site_packages / "lent.pth").write_text(f"{Path(numpy.__path__[0]).parent}\n")
    (site_packages / "mykernels.py").write_text(KERNELS)
    metadata = site_packages / "mykernels-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mykernels\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[hopspec.implementations]\nwarm = mykernels:hot\n")
    (folder / "test_torch.py").write_text(FIVE_LINES)
    (folder / "test_numpy.py").write_text(TWO_KERNELS)
    (folder / "expected.toml").write_text("")
    (folder / "tmp").mkdir()
    return folder


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the Python of the project's environment."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PYTEST", "COV", "COLUMNS"))
    }
    environment["TMPDIR"] = str(project / "tmp")
    command = [str(project / "env" / "bin" / "python"), *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def pytest_in(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(project, "-m", "pytest", *OTHERS, "--hopspec-examples=4", *arguments)


def named(output: str, word: str) -> set[str]:
    """Ids of the items that the short summary lists under a word."""
    return set(re.findall(rf"^{word} (\S+\[\S+\])", output, re.MULTILINE))


def learned(path: Path) -> dict[tuple[str, ...], tuple[object, ...]]:
    """What a report says of each property, implementation and dtype."""
    cells = json.loads(path.read_text())["cells"]
    found: dict[tuple[str, ...], tuple[object, ...]] = {
        (c["implementation"], c["property"], c["dtype"]): (c["cases"], c["worst_ratio"], c["broken"])
        for c in cells
    }
    assert len(found) == len(cells) > 0
    return found


def test_five_lines(project: Path) -> None:
    done = pytest_in(project, "test_torch.py", "-k", "BND-2- and float32", "-v")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(
        r"^test_torch\.py::test_conformance\[MHN-BND-2-float32\] PASSED", done.stdout, re.MULTILINE
    )
    assert re.search(r"mykernels:retrieve \(seed 0, quick, .*torch \d", done.stdout)


def test_two_workers_then_the_last_failed_then_as_expected(project: Path) -> None:
    together = ("test_numpy.py", "-k", SELECTED)
    two = pytest_in(project, *together, "-n", "2", "--junitxml=junit.xml", "--hopspec-json=two.json")
    assert two.returncode == 1, two.stdout + two.stderr
    failed = named(two.stdout, "FAILED")
    assert "test_numpy.py::test_hot[MHN-BND-2-float32]" in failed
    assert all("::test_hot[" in name for name in failed)
    junit = {
        f"{case.get('classname')}.py::{case.get('name')}"
        for case in ElementTree.parse(project / "junit.xml").iter("testcase")
        if case.find("failure") is not None
    }
    assert junit == failed

    again = pytest_in(project, *together, "--lf", "--hopspec-json=one.json")
    assert named(again.stdout, "FAILED") == failed
    assert f"{len(failed)} failed, " in again.stdout.splitlines()[-1]
    assert "passed" not in again.stdout.splitlines()[-1]
    # Both workers together have judged every case once, and the same ones as one process.
    one, both = learned(project / "one.json"), learned(project / "two.json")
    assert one == {at: both[at] for at in one}
    assert not list((project / "tmp").glob("hopspec-*")), "left behind"

    clauses = {re.sub(r".*\[(.*)-float32\]", r"\1", name) for name in failed}
    entries = [
        f'[[expected]]\nclause = "{clause}"\ndtype = "float32"\nreason = "known"\nexpires = 2999-12-31\n'
        for clause in sorted(clauses)
    ]
    (project / "expected.toml").write_text("".join(entries))
    fine = pytest_in(project, *together)
    assert fine.returncode == 0, fine.stdout
    assert f"{len(failed)} xfailed" in fine.stdout.splitlines()[-1]


def test_what_a_package_registers_is_found_by_name(project: Path) -> None:
    done = pytest_in(project, "--hopspec-implementation", "warm", "-k", "hopspec and BND-2-float32", "-rf")
    assert named(done.stdout, "FAILED") == {"hopspec::warm[MHN-BND-2-float32]"}
