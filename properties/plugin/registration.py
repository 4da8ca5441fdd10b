"""Implementations that other packages register, and claims written down beside a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from importlib.metadata import entry_points
from typing import Any, NamedTuple, TypeVar

from hopspec.types import Implementation

__all__ = ["GROUP", "Installed", "claims_of", "implementation", "installed"]

GROUP = "hopspec.implementations"
F = TypeVar("F", bound=Callable[..., Any])
_CLAIMS: list[Implementation[Any]] = []


class Installed(NamedTuple):
    """An implementation that an installed package registers.

    Args:
        name: what ``hopspec verify`` calls it.
        target: where it is, ``package.module:object``.
        distribution: the package that registers it, with its version.
    """

    name: str
    target: str
    distribution: str


def installed() -> dict[str, Installed]:
    """Implementations by the names under which installed packages register them; none of them is imported.

    A package registers a callable or a :class:`hopspec.Implementation` in its ``pyproject.toml``::

        [project.entry-points."hopspec.implementations"]
        mykernel = "mypackage.kernels:retrieve"

    Raises:
        ValueError: if two packages register different objects under one name.
    """
    found: dict[str, Installed] = {}
    for point in entry_points(group=GROUP):
        by = "" if point.dist is None else f"{point.dist.name} {point.dist.version}"
        here = Installed(point.name, point.value, by)
        other = found.setdefault(point.name, here)
        if other.target != here.target:
            raise ValueError(
                f"the name {point.name!r} is registered twice: {other.target} by {other.distribution} and "
                f"{here.target} by {here.distribution}"
            )
    return dict(sorted(found.items()))


def implementation(name: str, **claims: Any) -> Callable[[F], F]:
    """Write down beside a function what it claims; whoever names or is given the function finds it.

    The function itself is returned as it is. ``hopspec verify package.module:function``, the pytest plugin
    and an entry point that names the function all judge it by these claims.

    Args:
        name: name in reports.
        claims: other fields of :class:`hopspec.Implementation`: capabilities, accuracy, energy and so on.

    Raises:
        TypeError: if a claim is no field of :class:`hopspec.Implementation`.

    >>> from hopspec import Capabilities
    >>> @implementation("mine", capabilities=Capabilities(dtypes=("float32",), masks=True))
    ... def retrieve(query, memory, *, beta, keep=None): ...
    >>> claims_of(retrieve).capabilities.masks
    True
    """
    known = [f.name for f in fields(Implementation) if f.name not in ("name", "retrieve")]
    for claim in claims:
        if claim not in known:
            raise TypeError(f"{claim!r} is no claim; expected some of {', '.join(known)}")

    def describe(function: F) -> F:
        _CLAIMS.append(Implementation(name=name, retrieve=function, **claims))
        return function

    return describe


def claims_of(function: object) -> Implementation[Any] | None:
    """What :func:`implementation` wrote down for a function, the last time; None if nothing."""
    return next((claims for claims in reversed(_CLAIMS) if claims.retrieve is function), None)
