"""What all commands share: where tables go, how far a run is, and how a command refuses."""

from __future__ import annotations

import os
from typing import Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

__all__ = ["Display", "Progress", "refusal", "wide_console"]

WIDTH = 180


class Progress(Protocol):
    """Shows how far a run is."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """``done`` of the ``total`` steps of a stage are over."""
        ...


class Display:
    """One progress line for each stage, on standard error, while it is entered."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.bars = Bars(*columns, console=Console(stderr=True))
        self.lines: dict[str, TaskID] = {}

    def __enter__(self) -> Display:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that ``done`` of the ``total`` steps of a stage are over."""
        if stage not in self.lines:
            self.lines[stage] = self.bars.add_task(stage, total=total)
        self.bars.update(self.lines[stage], completed=done, total=total)


def wide_console() -> Console:
    """A console that keeps whole tables where output goes to a file or a pipe."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        return Console(width=WIDTH)
    return console


def refusal(message: object) -> typer.Exit:
    """Say on standard error why a command cannot be done; the exit, with status 2, is to be raised."""
    console = Console(stderr=True)
    console.print(str(message), style="red", highlight=False, markup=False, soft_wrap=True)
    return typer.Exit(2)
