"""Runs the stages one after the other, each in a process of its own, and keeps what is done."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hopspec.properties.gpu.extent import FULL, Extent
from hopspec.properties.gpu.stages import plan
from hopspec.properties.reporting.terminal import Progress

__all__ = ["Done", "fingerprint", "run_all"]

_SIZES = {True: "full", False: "toy"}


@dataclass(frozen=True)
class Done:
    """One stage that has ended.

    Args:
        stage: its name.
        what: what it was about.
        fingerprint: of the code, the device and the versions it belongs to.
        seconds: how long it took.
        reason: why it failed; empty if it did not.
        result: what it found.
    """

    stage: str
    what: str
    fingerprint: str
    seconds: float
    reason: str
    result: dict[str, Any]

    @property
    def name(self) -> str:
        """The stage and what it is about."""
        return f"{self.stage} {self.what}".strip()


def fingerprint(device: str, name: str) -> str:
    """Of the code that is measured and that measures, the device and what is installed.

    Args:
        device: where.
        name: of the device.
    """
    whole = hashlib.sha256(f"{device} {name} {_versions()}".encode())
    for package in ("hopspec.fastpath", "hopspec.fastpath.triton", "hopspec.properties.gpu"):
        found = find_spec(package)
        folders = (found.submodule_search_locations or ()) if found is not None else ()
        for path in sorted(path for folder in folders for path in Path(folder).glob("*.py")):
            whole.update(path.read_bytes())
    return whole.hexdigest()[:16]


def _versions() -> str:
    found = []
    for name in ("torch", "triton"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return ", ".join(found)


def run_all(
    device: str,
    name: str,
    extent: Extent,
    folder: Path,
    progress: Progress,
    *,
    only: Sequence[str] = (),
    again: Sequence[str] = (),
    told: Callable[[Done, bool], None] = lambda done, kept: None,
) -> list[Done]:
    """Run every stage that is not done yet; one that fails does not keep the others from running.

    Args:
        device: where.
        name: of the device.
        extent: how much is measured.
        folder: where results are kept, one file a stage; made if it is not there.
        progress: told how far each stage is.
        only: stages to run; empty for all.
        again: stages to run even if they are done; those that failed are always run again.
        told: told about every stage as it ends, and whether it was kept from an earlier run.

    Returns:
        The stages in order, those left out as they are kept, if they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mark = fingerprint(device, name)
    found = []
    for stage, what in plan(extent):
        path = folder / f"{'-'.join([stage, *what.split()])}.json"
        kept = _read(path, mark)
        wanted = not only or stage in only
        if kept is not None and (not wanted or (not kept.reason and stage not in again)):
            found.append(kept)
            told(kept, True)
        elif wanted:
            done = _run(stage, what, device, extent, path, mark, progress)
            found.append(done)
            told(done, False)
    return found


def _read(path: Path, mark: str) -> Done | None:
    try:
        done = Done(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return done if done.fingerprint == mark else None


def _run(
    stage: str, what: str, device: str, extent: Extent, path: Path, mark: str, progress: Progress
) -> Done:
    out, log = path.with_suffix(".part"), path.with_suffix(".log")
    out.unlink(missing_ok=True)
    words = [sys.executable, "-m", "hopspec.properties.gpu.stages", stage, what, device]
    start = time.monotonic()
    with (
        log.open("w", encoding="utf-8") as complaints,
        subprocess.Popen(
            [*words, _SIZES[extent is FULL], str(out)], stdout=subprocess.PIPE, stderr=complaints, text=True
        ) as child,
    ):
        assert child.stdout is not None
        for line in child.stdout:
            _tell(line, f"{stage} {what}".strip(), progress)
    seconds = time.monotonic() - start
    if child.returncode == 0 and out.exists():
        done = Done(stage, what, mark, seconds, "", json.loads(out.read_text(encoding="utf-8")))
    else:
        lines = log.read_text(encoding="utf-8").strip().splitlines() or [f"exit status {child.returncode}"]
        done = Done(stage, what, mark, seconds, lines[-1], {})
    out.unlink(missing_ok=True)
    path.write_text(json.dumps(asdict(done)) + "\n", encoding="utf-8")
    return done


def _tell(line: str, stage: str, progress: Progress) -> None:
    """Pass on what a stage says of its progress; a kernel may print something else."""
    try:
        name, done, total = json.loads(line)
    except (ValueError, TypeError):
        return
    progress(f"{stage}: {name}", done, total)
