"""A kernel and the faults planted in it, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Variants"]


class Variants:
    """``variants.right`` is the right kernel, ``variants.NAME`` the same with the fault ``NAME``.

    Args:
        build: makes a kernel, with fresh buffers and caches, given the name of its fault or "".
        faults: what is wrong, by name.
    """

    def __init__(self, build: Callable[[str], Any], faults: dict[str, str]) -> None:
        self.build = build
        self.faults = faults

    def __getattr__(self, name: str) -> Any:
        if name == "right":
            return self.build("")
        if name in self.faults:
            return self.build(name)
        raise AttributeError(name)
