"""Mutation tests: small changes of the reference and of the properties that the tests have to notice.

``python tests/mutants/run.py [MODULE...] [--sample N]`` copies the tree to ``build/mutants``. There Cosmic
Ray changes one operator or number at a time and runs the tests that ``modules.toml`` names. What was done is
kept, so that an interrupted run goes on where it stopped; delete that folder to begin anew.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
COPY = ROOT / "build" / "mutants"
# What stands for tests of planted faults in modules.toml, that test, and how many faults of each property.
FAULTS_HERE = "faults"
FAULT_TEST = "tests/test_faults.py::test_fault_is_killed_by_each_property_it_names"
EACH = 2


def copy_tree() -> dict[str, Path]:
    """Copy the package, laid out as it is imported, with its tests; the folder of each package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {}
    for package, folder in project["tool"]["setuptools"]["package-dir"].items():
        target = COPY.joinpath(*package.split("."))
        shutil.copytree(
            ROOT / folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
        )
        folders[folder] = target
    for name in ("tests", "docs"):
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, COPY / name, dirs_exist_ok=True)
    shutil.copy(ROOT / "pyproject.toml", COPY / "pyproject.toml")
    return folders


def place_of(module: str, folders: dict[str, Path]) -> Path:
    """Where a module of this tree lies in the copy."""
    folder, _, rest = module.partition("/")
    return folders[folder] / rest


def tests_of(module: str, tests: list[str]) -> list[str]:
    """The tests of a module, with some planted faults of each of its properties where they are asked for."""
    if FAULTS_HERE not in tests:
        return tests
    from hopspec.properties.checks import CHECKS  # noqa: PLC0415  (needs PyTorch)
    from hopspec.properties.faults import FAULTS  # noqa: PLC0415

    name = "hopspec." + module.removesuffix(".py").replace("/", ".")
    chosen: dict[str, None] = {}
    for check in CHECKS:
        if check.judge.__module__ == name:
            killed = [f.name for f in FAULTS.values() if check.name in f.killed_by]
            chosen |= dict.fromkeys(killed[:EACH])
    faults = [f"{FAULT_TEST}[{fault}]" for fault in chosen]
    return [word for test in tests for word in (faults if test == FAULTS_HERE else [test])]


def call(*words: str) -> None:
    """Run Cosmic Ray in the copy."""
    environment = {**os.environ, "PYTHONPATH": str(COPY), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-m", "cosmic_ray.cli", *words], cwd=COPY, env=environment, check=True)


def session_of(module: str, place: Path, tests: list[str], timeout: float) -> tuple[Path, Path]:
    """Configuration and session of one module; the session is made if there is none."""
    name = re.sub(r"\W", "-", module)
    config, session = COPY / f"{name}.toml", COPY / f"{name}.sqlite"
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    quoted = " ".join(f"'{word}'" if " " in word else word for word in command)
    config.write_text(
        f"[cosmic-ray]\nmodule-path = {json.dumps(str(place.relative_to(COPY)))}\ntimeout = {timeout}\n"
        f"excluded-modules = []\ntest-command = {json.dumps(quoted)}\n"
        '[cosmic-ray.distributor]\nname = "local"\n',
        encoding="utf-8",
    )
    if not session.exists():
        call("init", str(config), str(session))
    return config, session


def leave_out(session: Path, pattern: str, sample: int | None, seed: int) -> None:
    """Skip mutations that change nothing, and all but a sample of the others."""
    from cosmic_ray.work_db import use_db  # noqa: PLC0415  (only this script needs it)
    from cosmic_ray.work_item import WorkerOutcome, WorkResult  # noqa: PLC0415

    with use_db(str(session)) as db:
        pending = list(db.pending_work_items)
        wanted = [w for w in pending if not re.match(pattern, w.mutations[0].operator_name)]
        # The session gives every mutant another number, and sorts by these.
        wanted.sort(key=lambda w: (w.mutations[0].operator_name, w.mutations[0].occurrence))
        done = sum(1 for _, result in db.results if result.worker_outcome == WorkerOutcome.NORMAL)
        if sample is not None:
            wanted = random.Random(seed).sample(wanted, min(max(sample - done, 0), len(wanted)))
        keep = {w.job_id for w in wanted}
        for work in pending:
            if work.job_id not in keep:
                db.set_result(work.job_id, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))


def result_of(session: Path) -> dict[str, Any]:
    """Counts of one session, and what survived."""
    from cosmic_ray.work_db import use_db  # noqa: PLC0415

    counts = {"mutants": 0, "killed": 0, "survived": 0}
    survivors = []
    with use_db(str(session)) as db:
        results = dict(db.results)
        for work in db.work_items:
            result = results.get(work.job_id)
            if result is None or result.worker_outcome.value != "normal":
                continue
            counts["mutants"] += 1
            if result.is_killed:
                counts["killed"] += 1
                continue
            counts["survived"] += 1
            mutation = work.mutations[0]
            lines = [line for line in (result.diff or "").splitlines() if re.match(r"[+-] ", line)]
            survivors.append(
                {
                    "line": mutation.start_pos[0],
                    "operator": mutation.operator_name,
                    "change": [line.strip() for line in lines],
                }
            )
    return {**counts, "survivors": survivors}


def main() -> None:
    """Mutate the modules asked for, all by default, and print what survived."""
    settings = tomllib.loads((HERE / "modules.toml").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help=", ".join(settings["modules"]))
    parser.add_argument("--sample", type=int, help="mutants of each module, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    unknown = [m for m in asked.modules if m not in settings["modules"]]
    if unknown:
        parser.error(f"{unknown[0]} is not in modules.toml; expected {', '.join(settings['modules'])}")
    folders = copy_tree()
    found = {}
    for module in asked.modules or settings["modules"]:
        tests = tests_of(module, settings["modules"][module])
        config, session = session_of(module, place_of(module, folders), tests, settings["timeout"])
        leave_out(session, "|".join(settings["left_out"]), asked.sample, asked.seed)
        call("exec", str(config), str(session))
        found[module] = result = result_of(session)
        print(f"{module}: {result['killed']} of {result['mutants']} mutants killed", flush=True)
        for survivor in result["survivors"]:
            print(f"  line {survivor['line']}, {survivor['operator']}")
            for line in survivor["change"]:
                print(f"    {line}")
    (COPY / "result.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
