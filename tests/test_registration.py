"""Names and claims under which implementations are found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hopspec import Capabilities, Implementation
from hopspec.properties.plugin import implementation, installed
from hopspec.properties.session import Session, Unusable, resolve

KERNEL = """
from hopspec import Capabilities
from hopspec.properties.plugin import implementation

@implementation("claimed", capabilities=Capabilities(dtypes=("float32",), masks=True))
def retrieve(query, memory, *, beta, keep=None):
    return query

def plain(query, memory, *, beta):
    return query
"""


def distribution(folder: Path, name: str, entries: str) -> None:
    """Metadata as an installed package leaves it."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[hopspec.implementations]\n{entries}\n")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages with one kernel."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "registered_kernels.py").write_text(KERNEL)
    return tmp_path


def test_claims_beside_a_function_are_found(packages: Path) -> None:
    found = resolve("registered_kernels:retrieve")
    assert (found.name, found.capabilities.masks) == ("claimed", True)
    assert resolve("registered_kernels:plain").capabilities.dtypes == (
        "float32",
        "float64",
        "bfloat16",
        "float16",
    )


def test_what_is_no_claim_is_refused() -> None:
    with pytest.raises(TypeError, match=r"'mask' is no claim; expected some of .*capabilities"):
        implementation("mine", mask=True)
    with pytest.raises(TypeError, match="retrieve must be callable"):
        implementation("mine", capabilities=Capabilities())(3)  # type: ignore[type-var]


def test_installed_names_are_found(packages: Path) -> None:
    distribution(packages, "kernels", "mine = registered_kernels:retrieve\nother = registered_kernels:plain")
    found = installed()
    assert found["mine"] == ("mine", "registered_kernels:retrieve", "kernels 1.0")
    assert list(found) == sorted(found)
    assert resolve("mine").name == "claimed"
    with pytest.raises(Unusable, match=r"'yours' is neither a built-in nor a registered name \(`hopspec"):
        resolve("yours")
    with pytest.raises(Unusable, match="did you mean 'other'"):
        resolve("othr")


def test_a_name_registered_twice_is_refused(packages: Path) -> None:
    distribution(packages, "kernels", "mine = registered_kernels:retrieve")
    distribution(packages, "others", "mine = registered_kernels:plain")
    with pytest.raises(ValueError, match=r"the name 'mine' is registered twice: .* by .* and .* by .*"):
        installed()
    with pytest.raises(Unusable, match="registered twice"):
        resolve("mine")


@pytest.mark.parametrize("package", [False, True])
def test_a_file_is_found_by_its_path(tmp_path: Path, package: bool) -> None:
    folder = tmp_path / "of_kernels"
    folder.mkdir()
    if package:
        (folder / "__init__.py").write_text("")
        (folder / "sibling.py").write_text("scale = 2.0\n")
    relative = "from .sibling import scale\n" if package else ""
    kernel = (
        "class Kernels:\n    @staticmethod\n    def retrieve(query, memory, *, beta):\n        return query\n"
    )
    (folder / "kernel.py").write_text(relative + kernel)
    code = (
        f"from hopspec.properties.session import resolve; print(resolve({str(folder / 'kernel.py')!r} "
        "+ ':Kernels.retrieve').retrieve.__module__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["of_kernels.kernel" if package else "kernel"]


def test_a_file_does_not_hide_a_module_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("def retrieve(query, memory, *, beta):\n    return query\n")
    found = resolve(f"{tmp_path / 'json.py'}:retrieve")
    assert isinstance(found, Implementation)
    assert Session(f"{tmp_path / 'json.py'}:retrieve").describe().name.endswith("json.py:retrieve")
    assert hasattr(sys.modules["json"], "dumps")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match=r"cannot import '.*nothing\.py': FileNotFoundError"):
        resolve(f"{tmp_path / 'nothing.py'}:retrieve")
