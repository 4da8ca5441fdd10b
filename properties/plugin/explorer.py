"""A process that explores for pytest: ``python -m hopspec.properties.plugin.explorer FOLDER FD CONTROL``."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from hopspec.properties.exploration import Run
from hopspec.properties.nursery import Nursery
from hopspec.properties.options import PROFILES
from hopspec.properties.plugin.board import Board, Explored, Job, Task
from hopspec.properties.results import Report
from hopspec.properties.shares import Share
from hopspec.properties.subject import Subject, start

__all__ = ["Explorer", "Explorers"]

_SECONDS_BETWEEN_LOOKS = 0.05


class Explorer:
    """Explores shares of one job, with an implementation that is started once.

    Args:
        job: what to do.
        nursery: what starts the implementation; None to run it in this process.
    """

    def __init__(self, job: Job, nursery: Nursery | None) -> None:
        self.options = job.options
        self.begun = Report(settings={**vars(job.options)})
        self.subjects: list[Subject] = start(job.options, self.begun, nursery)
        self.seconds = PROFILES[job.options.profile].shrink_total
        self.shrunk: set[tuple[str, str]] = set()

    def explore(self, share: Share) -> Report:
        """What one share teaches."""
        began = time.monotonic()
        for subject in self.subjects:
            subject.forget()
        report = replace(
            self.begun,
            alive={subject.name: subject.alive for subject in self.subjects},
            fits={subject.name: subject.fits for subject in self.subjects},
            cells=[],
            regimes=Counter(),
            unusable={**self.begun.unusable},
        )
        run = Run(replace(self.options, seed=share.seed), self.subjects, report, share.number, share.of)
        run.take(share.family)
        run.explore(share.family, lambda *_: None)
        if self.options.shrink:
            self._shrink(report)
        for subject in self.subjects:
            if subject.stopped:
                report.unusable[subject.name] = subject.stopped
        report.seconds = time.monotonic() - began
        return report

    def _shrink(self, report: Report) -> None:
        """Look for smaller failing inputs, once a clause, in half of the time that is left for that."""
        cells = [c for c in report.cells if (c.clause, c.dtype) not in self.shrunk]
        run = Run(self.options, self.subjects, report)
        run.profile = replace(run.profile, shrink_total=self.seconds / 2)
        run.add(cells)
        began = time.monotonic()
        run.shrink(lambda *_: None)
        self.seconds -= min(self.seconds / 2, time.monotonic() - began)
        self.shrunk |= {(c.clause, c.dtype) for c in cells if c.failure is not None and not c.unclaimed}

    def close(self) -> None:
        """Release the implementation."""
        for subject in self.subjects:
            subject.close()


class Explorers:
    """One :class:`Explorer` for each job that has been begun.

    Args:
        board: where claims and results are.
        nursery: what starts the implementations; None to run them in this process.
    """

    def __init__(self, board: Board, nursery: Nursery | None) -> None:
        self.board, self.nursery = board, nursery
        self.begun: dict[str, Explorer] = {}

    def all_of(self, tasks: Sequence[Task]) -> None:
        """Explore what nobody else does until there is a result for every task."""
        pending = list(tasks)
        while pending:
            pending = [task for task in pending if not self.board.finished(task)]
            # Where all are taken, one is waited for: whoever took it may end without a result.
            if not any(self.one(task) for task in pending):
                time.sleep(_SECONDS_BETWEEN_LOOKS)

    def one(self, task: Task, *, wait: bool = False) -> bool:
        """Explore a task unless somebody else does or did; whether it was explored here."""
        with self.board.claim(task, wait=wait) as ours:
            if ours:
                self.board.publish(task, self._explored(task))
            return ours

    def _explored(self, task: Task) -> Explored:
        try:
            if task.job.key not in self.begun:
                self.begun[task.job.key] = Explorer(task.job, self.nursery)
            report = self.begun[task.job.key].explore(task.share)
            return Explored(task.job.key, report, task.job.expectations)
        except Exception:
            # A mistake of the suite must not end the process, which others wait for.
            nothing = Report(settings={**vars(task.job.options)})
            return Explored(task.job.key, nothing, fault=traceback.format_exc())

    def close(self) -> None:
        """Release the implementations."""
        for explorer in self.begun.values():
            explorer.close()


def _end_with(parent: Connection) -> None:
    """End this process as soon as the parent has closed its connection, or has ended."""
    try:
        parent.recv()
    except (EOFError, OSError):
        os._exit(1)


def main(arguments: list[str]) -> int:
    """Explore the tasks the parent sends."""
    # Ctrl-C reaches the whole process group; the parent then closes its connection.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = Connection(int(arguments[1]))
    tasks = parent.recv()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    explorers = Explorers(Board(Path(arguments[0])), Nursery(Connection(int(arguments[2]))))
    explorers.all_of(tasks)
    explorers.close()
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    # A tidy end takes most of a second.
    os._exit(status)
