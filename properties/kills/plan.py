"""Which fault is judged in which dtype, and where it cannot be seen."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from hopspec.properties.faults import FAULTS, Fault
from hopspec.properties.kills.fingerprint import fault_code

__all__ = ["Pair", "dtypes_of", "pairs_of"]


class Pair(NamedTuple):
    """A fault in one dtype."""

    fault: str
    dtype: str

    @property
    def target(self) -> str:
        """As the command line takes it."""
        return f"fault:{self.fault}"

    @property
    def isolated(self) -> bool:
        """Whether it needs a process of its own."""
        return FAULTS[self.fault].isolated

    @property
    def code(self) -> str:
        """Fingerprint of the code that decides about it."""
        return fault_code(FAULTS[self.fault].module)


def dtypes_of(fault: Fault) -> tuple[str, ...]:
    """Formats a fault is judged in: float64 for those of float64, all narrower ones for the others."""
    if fault.dtype == "float64":
        return ("float64",)
    return tuple(d for d in fault.implementation.capabilities.dtypes if d != "float64")


def pairs_of(faults: Collection[str] = (), dtypes: Collection[str] = ()) -> list[Pair]:
    """Every fault in every dtype it is judged in.

    Args:
        faults: only these; all if there are none.
        dtypes: only in these; in all if there are none.

    Raises:
        ValueError: if a fault is not planted, or none is judged in the dtypes.
    """
    for name in faults:
        if name not in FAULTS:
            raise ValueError(f"no fault is named {name!r}; `hopspec faults` lists them")
    chosen = [f for f in FAULTS.values() if not faults or f.name in faults]
    found = [Pair(f.name, d) for f in chosen for d in dtypes_of(f) if not dtypes or d in dtypes]
    if not found:
        raise ValueError(f"none of these faults is judged in {', '.join(dtypes)}")
    return found
