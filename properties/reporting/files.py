"""Files that commands write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["check_writable", "write_whole"]


def check_writable(files: Mapping[str, Path | None]) -> None:
    """Raise unless every file can be written, before a run is done in vain.

    Args:
        files: by the option that names them; None where it was not given.

    Raises:
        ValueError: if one is a folder, or is to be in a folder there is not.

    >>> check_writable({"--json": Path("nowhere/report.json")})
    Traceback (most recent call last):
    ValueError: --json must be a file in a folder that exists, got nowhere/report.json
    """
    for option, path in files.items():
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise ValueError(f"{option} must be a file in a folder that exists, got {path}")


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, complete or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
