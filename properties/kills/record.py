"""Results appended to a file as they come, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Record"]


class Record:
    """A file of one JSON object a line, each with the fingerprint of the code it belongs to.

    Args:
        path: the file; it is made with the first result.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The results written so far; a last line cut short by a crash is none.

        Raises:
            ValueError: if another line is no JSON object; the message names it.
        """
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8").split("\n")
        whole, rest = lines[:-1], lines[-1]
        assert rest is not None
        for number, line in enumerate(whole, start=1):
            try:
                entry = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{self.path}, line {number} is no JSON: {error}") from None
            if not isinstance(entry, dict):
                raise ValueError(f"{self.path}, line {number} is {line!r}; expected a JSON object")
            yield entry

    def mend(self) -> None:
        """Take away a last line that was cut short."""
        if not self.path.exists():
            return
        text = self.path.read_bytes()
        end = text.rfind(b"\n") + 1
        if end < len(text):
            self.path.write_bytes(text[:end])

    def add(self, entry: dict[str, Any]) -> None:
        """Append one result."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
