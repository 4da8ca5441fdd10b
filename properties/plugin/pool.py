"""pytest's side of the exploration: starts it when the first item runs, and waits for what an item needs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from hopspec.properties.nursery import nurseries
from hopspec.properties.plugin.board import Board, Explored, Job, Task
from hopspec.properties.plugin.explorer import Explorers
from hopspec.properties.results import Report

__all__ = ["Lost", "Pool"]

_SECONDS_BETWEEN_LOOKS = 0.01
_LOG_LINES = 20


class Lost(Exception):  # noqa: N818  (the cause is for the caller to name)
    """The exploration ended without a result, through no fault of the implementation."""


class Pool:
    """Explores the tasks of a test run, in processes of its own or here.

    Args:
        folder: shared by all processes of the run.
        tasks: everything that the items of the run need.
        processes: how many processes explore; 0 to explore here, when an item asks for it.
        preload: whether an implementation needs PyTorch.
    """

    def __init__(self, folder: Path, tasks: Sequence[Task], processes: int, *, preload: bool) -> None:
        self.tasks = tasks
        self.board = Board(folder)
        self.explored: dict[Task, Explored] = {}
        self.reports: dict[tuple[str, frozenset[str]], Report] = {}
        self.stack = ExitStack()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.here: Explorers | None = None
        if processes == 0:
            self.here = Explorers(self.board, None)
            self.stack.callback(self.here.close)
            return
        # What an implementation prints must not be taken for the output of the test that happens to run.
        self.log = self.stack.enter_context((folder / f"{os.getpid()}.log").open("w+b"))
        # A process that explores finds what pytest finds: conftest files and options change the path.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        controls = self.stack.enter_context(
            nurseries(processes, preload=preload, environment=environment, output=self.log)
        )
        for control in controls:
            self._start(control, environment)

    def _start(self, control: Connection, environment: dict[str, str]) -> None:
        ours, theirs = Pipe()
        numbers = (theirs.fileno(), control.fileno())
        command = [sys.executable, "-m", "hopspec.properties.plugin.explorer", str(self.board.folder)]
        process = subprocess.Popen(
            [*command, *map(str, numbers)],
            pass_fds=numbers,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        self.processes.append(process)
        theirs.close()
        control.close()
        # Before the control is closed, on the way out: a process that explores would start another child.
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        self.stack.callback(ours.close)
        ours.send(list(self.tasks))

    def report(self, job: Job, families: frozenset[str]) -> Report:
        """What the given families of one job teach, as soon as they have been explored.

        Raises:
            Lost: if that cannot be known; the message says why.
        """
        key = job.key, families
        if key not in self.reports:
            needed = [t for t in self.tasks if t.job.key == job.key and t.share.family in families]
            parts = [self._result(task) for task in needed]
            faults = [part.fault for part in parts if part.fault]
            if faults:
                raise Lost(f"a mistake in hopspec itself:\n{faults[0]}")
            whole = Report(settings={**vars(job.options)})
            for part in parts:
                whole.absorb(part.report)
            self.reports[key] = whole
        return self.reports[key]

    def _result(self, task: Task) -> Explored:
        while task not in self.explored:
            if self.here is not None:
                self.here.one(task, wait=True)
            ended = [process for process in self.processes if process.poll() is not None]
            found = self.board.result(task)
            if found is not None:
                self.explored[task] = found
            elif self.processes and len(ended) == len(self.processes):
                raise Lost(
                    f"the processes that explore ended with {ended[0].returncode}; they wrote:\n{self.said()}"
                )
            else:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        return self.explored[task]

    def said(self) -> str:
        """The last lines that the processes and the implementations wrote."""
        if self.here is not None:
            return ""
        lines = Path(self.log.name).read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:])

    def close(self) -> None:
        """End every process that was started."""
        self.stack.close()
