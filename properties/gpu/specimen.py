"""What there is to compile: kernels as they are shipped, described without importing them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

__all__ = ["SPECIMENS", "Specimen", "Tile", "load_specimens"]

SPECIMENS = "hopspec.fastpath.triton.specimens:specimens"
"""Where the kernels of the fast path are listed; a function without arguments, by import path."""


class Tile(Protocol):
    """How the work of a kernel is cut."""

    @property
    def queries(self) -> int:
        """Queries of a block."""
        ...

    @property
    def memories(self) -> int:
        """Memories that a block takes at a time."""
        ...

    @property
    def warps(self) -> int:
        """Warps of a block."""
        ...

    @property
    def stages(self) -> int:
        """How many steps ahead memories are read."""
        ...


class Specimen(Protocol):
    """A kernel with everything that it is compiled with."""

    @property
    def kernel(self) -> str:
        """Its name."""
        ...

    @property
    def dtype(self) -> str:
        """Format of queries and memories."""
        ...

    @property
    def width(self) -> int:
        """Numbers of a memory, d."""
        ...

    @property
    def tile(self) -> Tile:
        """How the work is cut."""
        ...

    @property
    def function(self) -> Any:
        """What ``triton.jit`` returned."""
        ...

    @property
    def signature(self) -> Mapping[str, str]:
        """Type of each argument, as Triton writes it."""
        ...

    @property
    def constants(self) -> Mapping[str, object]:
        """Value of each argument that is a constant of the compilation."""
        ...

    @property
    def aligned(self) -> Iterable[str]:
        """Arguments that are divisible by 16."""
        ...

    @property
    def options(self) -> Mapping[str, object]:
        """Further options of the compilation."""
        ...

    @property
    def multiplies(self) -> bool:
        """Whether it multiplies matrices."""
        ...


def load_specimens(path: str) -> list[Specimen]:
    """The specimens that the function at ``package.module:function`` lists.

    Raises:
        ValueError: if there is no such function.
    """
    module, _, name = path.partition(":")
    try:
        found: Callable[[], Iterable[Specimen]] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{path} must be package.module:function, but {error}") from None
    return list(found())
