"""Who may import whom: the contract holds and notices each violation, and `import hopspec` stays light."""

import json
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

import hopspec
from hopspec import fastpath

ROOT = Path(__file__).resolve().parent.parent
LINT = Path(sysconfig.get_path("scripts")) / "lint-imports"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the packages under the names they are imported by, with the contract beside it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package, folder in sorted(project["tool"]["setuptools"]["package-dir"].items()):
        shutil.copytree(
            ROOT / folder,
            tmp_path.joinpath(*package.split(".")),
            ignore=shutil.ignore_patterns("__pycache__"),
            dirs_exist_ok=True,
        )
    return tmp_path


def broken_contracts(tree: Path) -> set[str]:
    """Ids of the contracts that do not hold in ``tree``, each run by itself."""
    contracts = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    names = {contract["name"]: contract["id"] for contract in contracts["contracts"]}
    result = subprocess.run(
        [LINT, "--no-cache"], cwd=tree, capture_output=True, text=True, check=False, env={"COLUMNS": "1000"}
    )
    verdicts = {
        identity: verdict
        for line in result.stdout.splitlines()
        for name, identity in names.items()
        for verdict in ("KEPT", "BROKEN")
        if line == f"{name} {verdict}"
    }
    assert set(verdicts) == set(names.values()), result.stdout + result.stderr
    broken = {identity for identity, verdict in verdicts.items() if verdict == "BROKEN"}
    assert (result.returncode != 0) == bool(broken), result.stdout + result.stderr
    return broken


def test_contract_holds(tree: Path) -> None:
    assert broken_contracts(tree) == set()


@pytest.mark.parametrize(
    ("module", "violation", "contract"),
    [
        ("reference/__init__.py", "import hopspec.fastpath", "layers"),
        ("fastpath/__init__.py", "import hopspec.reference", "layers"),
        ("types.py", "import hopspec.reference", "layers"),
        ("clauses.py", "def late():\n    import hopspec.properties", "layers"),
        ("unheard_of.py", "import math", "layers"),
        ("__init__.py", "from hopspec.fastpath import retrieve", "front-door"),
        ("properties/__init__.py", "import hopspec.fastpath", "registered"),
        ("reference/__init__.py", "import torch", "light"),
        ("fastpath/__init__.py", "import mpmath", "fast"),
    ],
)
def test_planted_violation_is_caught(tree: Path, module: str, violation: str, contract: str) -> None:
    with (tree / "hopspec" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{violation}\n")
    assert contract in broken_contracts(tree)


def run_python(code: str) -> str:
    """What ``code`` prints in a new interpreter."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_hopspec_is_light() -> None:
    loaded = json.loads(run_python("import hopspec, json, sys; print(json.dumps(sorted(sys.modules)))"))
    heavy = {"torch", "mpmath", "numpy", "hopspec.reference", "hopspec.fastpath", "hopspec.properties"}
    assert heavy.isdisjoint(loaded)


def test_the_front_door_offers_what_it_names() -> None:
    for name in (
        "Memory",
        "association",
        "certify",
        "energy",
        "evaluate",
        "log_normalizer",
        "retrieve",
        "settle",
    ):
        assert getattr(hopspec, name) is getattr(fastpath, name)
    assert set(hopspec.__all__) <= set(dir(hopspec))
    assert all(hasattr(hopspec, name) for name in hopspec.__all__)


def test_misspelt_name() -> None:
    with pytest.raises(AttributeError, match=r"^module 'hopspec' has no attribute 'retrive'$"):
        getattr(hopspec, "retrive")  # noqa: B009 - as an attribute it would be a type error
    with pytest.raises(ImportError, match="cannot import name 'retrive' from 'hopspec'"):
        exec("from hopspec import retrive")


def test_without_torch_the_message_says_what_to_install() -> None:
    code = """
import sys
sys.modules["torch"] = None
import hopspec
assert hopspec.Precision.fixed(8).bits(1) == 8
try:
    hopspec.retrieve
except ImportError as error:
    print(error)
"""
    expected = "hopspec.retrieve needs PyTorch, which is not installed; run: pip install 'hopspec[fast]'"
    assert run_python(code).strip() == expected
