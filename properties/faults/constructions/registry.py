"""The registry of wrong constructions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from hopspec.types import Construction

__all__ = ["CONSTRUCTION_FAULTS", "ConstructionFault", "misbuild"]


@dataclass(frozen=True)
class ConstructionFault:
    """One small wrong change to a right construction.

    Args:
        name: name on the command line, after ``fault:``.
        what: what is wrong, for a person.
        killed_by: names of properties that fail on it, each on its own.
        fresh: makes it.
    """

    name: str
    what: str
    killed_by: tuple[str, ...]
    fresh: Callable[[], Construction]


class Constructs(Protocol):
    """A class of constructions."""

    def construction(self, name: str) -> Construction:
        """The descriptor."""
        ...


C = TypeVar("C", bound=Constructs)
CONSTRUCTION_FAULTS: dict[str, ConstructionFault] = {}


def misbuild(*killed_by: str) -> Callable[[type[C]], type[C]]:
    """Register a class as a fault; its name and its docstring are the fault's.

    Args:
        killed_by: names of properties that fail on it.

    Raises:
        ValueError: if the name is taken or there is no docstring.
    """

    def register(wrong: type[C]) -> type[C]:
        name = re.sub(r"(?<!^)(?=[A-Z])", "-", wrong.__name__).lower()
        what = (wrong.__dict__.get("__doc__") or "").strip()
        if name in CONSTRUCTION_FAULTS or not what:
            raise ValueError(f"fault {name!r} needs a name of its own and a docstring")
        CONSTRUCTION_FAULTS[name] = ConstructionFault(
            name, what, killed_by, lambda: wrong().construction(name)
        )
        return wrong

    return register
