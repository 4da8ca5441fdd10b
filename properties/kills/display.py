"""Progress of long runs."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

__all__ = ["Stages", "shown"]


class Stages:
    """One progress line per stage."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.lines: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage has come."""
        if stage not in self.lines:
            self.lines[stage] = self.progress.add_task(stage, total=total)
        self.progress.update(self.lines[stage], completed=done, total=total)


def shown() -> Progress:
    """Progress on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))
