"""The folder that all processes of one test run share."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

__all__ = ["TASKS", "collect", "shared_folder"]

TASKS = "tasks"


def shared_folder(run: str) -> Path:
    """The folder of a run of xdist, by the number that all its workers know."""
    return Path(tempfile.gettempdir()) / f"hopspec-{run}"


def collect(config: pytest.Config, folder: Path) -> None:
    """Write the report that was asked for and remove the folder."""
    path: str | None = config.getoption("hopspec_json")
    if path is not None:
        _write(config.invocation_params.dir / path, folder)
    shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, folder: Path) -> None:
    from hopspec.properties.plugin.board import reports_in  # noqa: PLC0415  (half a second)
    from hopspec.properties.reporting.encoding import write_json  # noqa: PLC0415

    found = reports_in(folder)
    if found is not None:
        report, count = found
        report.interrupted |= count < int((folder / TASKS).read_text())
        write_json(report, path)
