"""What an installation consists of: the wheel, its metadata, the pinned environment, the core by itself."""

import email.message
import email.parser
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import hopspec

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel_metadata(wheel: Path) -> email.message.Message:
    """The metadata file of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.parser.Parser().parsestr(archive.read(name).decode("utf-8"))


def requirements(metadata: email.message.Message) -> list[Requirement]:
    """The requirements that wheel metadata names."""
    return [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]


def test_wheel_holds_every_source_file(wheel: Path) -> None:
    expected = {
        "/".join((*package.split("."), *path.relative_to(ROOT / folder).parts))
        for package, folder in PROJECT["tool"]["setuptools"]["package-dir"].items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("hopspec/")}
    assert packed == expected
    assert "hopspec/py.typed" in packed
    assert any(re.fullmatch(r"hopspec/01-.*\.md", name) for name in packed), "no chapters"


def test_core_needs_no_torch(wheel_metadata: email.message.Message) -> None:
    core = {requirement.name for requirement in requirements(wheel_metadata) if requirement.marker is None}
    assert core == {"numpy", "mpmath"}


def test_extras(wheel_metadata: email.message.Message) -> None:
    assert set(wheel_metadata.get_all("Provides-Extra", [])) >= {"fast", "verify", "dev"}
    fast = {
        requirement.name
        for requirement in requirements(wheel_metadata)
        if requirement.marker is not None and requirement.marker.evaluate({"extra": "fast"})
    }
    assert fast == {"safetensors", "torch"}


def test_license_and_console_script(wheel: Path, wheel_metadata: email.message.Message) -> None:
    assert wheel_metadata["License-Expression"] == "Apache-2.0"
    with zipfile.ZipFile(wheel) as archive:
        files = {name.split("/", 1)[1]: name for name in archive.namelist() if ".dist-info/" in name}
        assert "Apache License" in archive.read(files["licenses/LICENSE"]).decode("utf-8")
        entry_points = archive.read(files["entry_points.txt"]).decode("utf-8")
    assert "hopspec = hopspec.properties.command:main" in entry_points


def test_one_version_everywhere() -> None:
    versions = {hopspec.__version__, PROJECT["project"]["version"]}
    for name, pattern in (("CITATION.cff", r"^version: (\S+)$"), ("CHANGELOG.md", r"^## (\S+)")):
        found = re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        assert found is not None, name
        versions.add(found[1])
    assert len(versions) == 1, versions


def installed_closure(name: str, extras: frozenset[str], found: set[tuple[str, str]]) -> None:
    """Add to ``found`` every (distribution, extra) that installing ``name[extras]`` brings along here."""
    for extra in {"", *extras}:
        if (canonicalize_name(name), extra) in found:
            continue
        found.add((canonicalize_name(name), extra))
        for text in metadata.distribution(name).requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                installed_closure(requirement.name, frozenset(requirement.extras), found)


def test_every_installed_distribution_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"==[0-9][0-9.]*", str(pin.specifier)) for pin in pins)
    found: set[tuple[str, str]] = set()
    installed_closure("hopspec", frozenset({"dev"}), found)
    needed = {distribution for distribution, _ in found} - {"hopspec"}
    assert needed <= {canonicalize_name(pin.name) for pin in pins}


def test_reference_needs_only_the_core() -> None:
    code = """
import sys
for name in ("torch", "hypothesis", "pytest", "rich", "typer", "sklearn", "scipy", "sympy", "flint"):
    sys.modules[name] = None
import hopspec.reference
print(hopspec.reference.update([1.0, 0.0], [[1.0, 0.0], [0.0, 1.0]], beta=0))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[0.5, 0.5]"
