"""What is to be explored, and the results: a folder that the processes of one test run share.

Every process takes the next share that nobody works on, and leaves its report for all. A claim is a lock on a
file, which the operating system releases when a process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hopspec.properties.expectations import Expectation, expect
from hopspec.properties.options import Options
from hopspec.properties.results import Report
from hopspec.properties.shares import LONGEST, Share, shares_of

__all__ = ["Board", "Explored", "Job", "Task", "reports_in", "tasks_of"]

_REPORT = ".report"


@dataclass(frozen=True)
class Job:
    """One implementation to be explored.

    Args:
        key: a name that no other implementation of the run has.
        options: what to do; one target.
        expectations: failures that are expected of it.
    """

    key: str
    options: Options
    expectations: tuple[Expectation, ...] = ()


@dataclass(frozen=True)
class Task:
    """One share of one job."""

    job: Job
    share: Share

    @property
    def name(self) -> str:
        """A file name no other task of the run has."""
        return f"{self.job.key} {self.share.label}".replace(os.sep, "_")


@dataclass(frozen=True)
class Explored:
    """What came of a task.

    Args:
        key: of the job.
        report: what was learned.
        expectations: the failures that were expected.
        fault: what went wrong in the suite itself; "" if nothing.
    """

    key: str
    report: Report
    expectations: tuple[Expectation, ...] = ()
    fault: str = ""


def tasks_of(jobs: Sequence[Job]) -> list[Task]:
    """All tasks, those of one family together, whose exact answers serve every implementation."""
    tasks = [Task(job, share) for job in jobs for share in shares_of(job.options)]
    # Shares of one job come in the order in which they are best explored.
    order = list(dict.fromkeys(("digits", *LONGEST, *(task.share.family for task in tasks))))
    return sorted(tasks, key=lambda task: order.index(task.share.family))


class Board:
    """The shared folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def result(self, task: Task) -> Explored | None:
        """What came of a task, None if it is not finished."""
        path = self._report(task)
        if not path.exists():
            return None
        found = pickle.loads(path.read_bytes())
        assert isinstance(found, Explored)
        return found

    def finished(self, task: Task) -> bool:
        """Whether there is a result."""
        return self._report(task).exists()

    def publish(self, task: Task, explored: Explored) -> None:
        """Leave a result for all."""
        path = self._report(task)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(pickle.dumps(explored))
        partial.replace(path)

    @contextmanager
    def claim(self, task: Task, *, wait: bool = False) -> Iterator[bool]:
        """Whether this process may work on a task; until it leaves, no other may.

        Args:
            task: which.
            wait: whether to wait for whoever is working on it.
        """
        with (self.folder / f"{task.name}.claim").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield not self.finished(task)

    def _report(self, task: Task) -> Path:
        return self.folder / f"{task.name}{_REPORT}"


def reports_in(folder: Path) -> tuple[Report, int] | None:
    """Everything a run has learned, as one report, and from how many tasks; None if that is nothing."""
    found: list[Explored] = [pickle.loads(path.read_bytes()) for path in sorted(folder.glob(f"*{_REPORT}"))]
    if not found:
        return None
    keys: dict[str, set[str]] = {}
    for explored in found:
        for name in explored.report.models:
            keys.setdefault(name, set()).add(explored.key)
    for explored in found:
        expect(explored.report, explored.expectations)
        for name in [name for name in explored.report.models if len(keys[name]) > 1]:
            _rename(explored.report, name, f"{name} ({explored.key})")
    whole = found[0].report
    for explored in found[1:]:
        targets = whole.settings["targets"] + explored.report.settings["targets"]
        whole.settings["targets"] = tuple(dict.fromkeys(targets))
        whole.seconds += explored.report.seconds
        whole.absorb(explored.report)
    return whole, len(found)


def _rename(report: Report, old: str, new: str) -> None:
    """Tell an implementation from another of the same name: one may be judged in several ways."""
    for cell in report.cells:
        cell.implementation = new
    named: tuple[dict[str, Any], ...] = (
        report.targets,
        report.environments,
        report.models,
        report.alive,
        report.fits,
        report.unusable,
    )
    for found in named:
        if old in found:
            found[new] = found.pop(old)
