"""The registry of faults."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from hopspec.types import Implementation

__all__ = ["FAULTS", "KINDS", "Fault", "plant"]

KINDS = (
    "forward",
    "mask",
    "energy",
    "fixed-point",
    "contract",
    "precision",
    "non-finite",
    "attention",
    "systematic",
)


@dataclass(frozen=True)
class Fault:
    """One small wrong change to a right implementation.

    Args:
        name: name on the command line, after ``fault:``.
        kind: one of :data:`KINDS`.
        what: what is wrong, for a person.
        implementation: the wrong implementation, claiming what the right one does.
        dtype: the format it is judged in.
        killed_by: names of properties that fail on it, each on its own.
        isolated: whether it may hang or end the process, and so must run in a process of its own.
        fresh: makes the implementation anew, with nothing left over from earlier calls.
        right: makes the right implementation that this one differs from.
        module: name of the module it is defined in.
    """

    name: str
    kind: str
    what: str
    implementation: Implementation[Any]
    dtype: str
    killed_by: tuple[str, ...]
    isolated: bool
    fresh: Callable[[], Implementation[Any]]
    right: Callable[[], Implementation[Any]]
    module: str


class Describes(Protocol):
    """A class of kernels."""

    def implementation(self, name: str) -> Implementation[Any]:
        """The descriptor of the kernel."""
        ...


K = TypeVar("K", bound=Describes)
FAULTS: dict[str, Fault] = {}
_PLANTED: set[type] = set()


def plant(
    kind: str, *killed_by: str, dtype: str = "float32", isolated: bool = False
) -> Callable[[type[K]], type[K]]:
    """Register a kernel class as a fault; its name and its docstring are the fault's.

    Args:
        kind: one of :data:`KINDS`.
        killed_by: names of properties that fail on it.
        dtype: the format it is judged in.
        isolated: whether it must run in a process of its own.

    Raises:
        ValueError: if the kind is unknown, the name is taken or there is no docstring.
    """

    def register(kernel: type[K]) -> type[K]:
        name = re.sub(r"(?<!^)(?=[A-Z])", "-", kernel.__name__.replace("NaN", "Nan")).lower()
        what = (kernel.__dict__.get("__doc__") or "").strip()
        if kind not in KINDS or name in FAULTS or not what:
            raise ValueError(f"fault {name!r} needs a name of its own, a docstring and a kind among {KINDS}")

        def fresh() -> Implementation[Any]:
            return kernel().implementation(name)

        def right() -> Implementation[Any]:
            base: Any = next(c for c in kernel.__mro__[1:] if c not in _PLANTED)
            whole: Implementation[Any] = base().implementation(name)
            return whole

        module = kernel.__module__
        FAULTS[name] = Fault(name, kind, what, fresh(), dtype, killed_by, isolated, fresh, right, module)
        _PLANTED.add(kernel)
        return kernel

    return register
