"""Which planted faults the vectors find: the yardstick of the vectors themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hopspec.properties.builtin import FAULT_PREFIX
from hopspec.properties.faults import FAULTS
from hopspec.properties.session import Session
from hopspec.properties.vectors.answering import judged
from hopspec.properties.vectors.classes import BUG_CLASSES
from hopspec.properties.vectors.judge import Verdict
from hopspec.properties.vectors.vector import Vector

__all__ = ["Kill", "kill_table"]


@dataclass(frozen=True)
class Kill:
    """How one planted fault fares with the vectors of a bug class it belongs to.

    Args:
        bug_class: name of the class.
        fault: name of the fault.
        fmt: format it is judged in.
        asked: number of vectors of the class and format.
        broken: ids of those whose answer is broken, or raised.
    """

    bug_class: str
    fault: str
    fmt: str
    asked: int
    broken: tuple[str, ...]


def kill_table(vectors: Iterable[Vector]) -> Iterator[Kill]:
    """Run every planted fault that has a bug class on the vectors for that class.

    Args:
        vectors: of all formats that faults are judged in.
    """
    every = list(vectors)
    for name, of in BUG_CLASSES.items():
        for fault in of.faults:
            fmt = FAULTS[fault].dtype
            mine = [v for v in every if v.bug_class == name and v.format.name == fmt]
            found = list(judged(Session(f"{FAULT_PREFIX}{fault}"), mine))
            broken = tuple(v.id for v, j in found if j is None or j.verdict is Verdict.BROKEN)
            yield Kill(name, fault, fmt, len(found), broken)
