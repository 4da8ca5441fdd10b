"""How far a run is, on standard error, and where its tables go."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

__all__ = ["Display", "Progress", "check_writable", "wide_console"]

WIDTH = 180


class Progress(Protocol):
    """Shows how far a run is."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """``done`` of ``total`` rounds of the comparison named are over."""
        ...


def wide_console() -> Console:
    """A console that keeps whole tables where output goes to a file or a pipe."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        return Console(width=WIDTH)
    return console


def check_writable(path: Path | None) -> None:
    """Raise unless ``path``, the value of ``--json``, can be written.

    Raises:
        ValueError: if its folder does not exist.
    """
    if path is not None and not path.parent.is_dir():
        raise ValueError(f"--json must be a file in a folder that exists, got {path}")


class Display:
    """One progress line for each comparison."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
        )
        self.progress = Bars(*columns, console=Console(stderr=True))
        self.task: tuple[str, TaskID] | None = None

    def __enter__(self) -> Display:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` rounds are over."""
        if self.task is None or self.task[0] != stage:
            self.task = stage, self.progress.add_task(stage, total=total)
        self.progress.update(self.task[1], completed=done)
