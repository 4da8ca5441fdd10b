"""What pytest is asked to judge: one implementation, its options, its clauses and dtypes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hopspec.clauses import load_clauses
from hopspec.properties.checks import CHECKS
from hopspec.properties.expectations import Expectation, known_as, read_expectations
from hopspec.properties.forms import in_form
from hopspec.properties.models import JUDGED
from hopspec.properties.options import Options
from hopspec.properties.plugin.board import Job
from hopspec.properties.plugin.registration import claims_of
from hopspec.properties.runner import check_options
from hopspec.types import Implementation

__all__ = ["Place", "Plan", "families_of", "plan_of"]

# How each setting is read where it is given as text, in an ini file.
_READ: dict[str, Callable[[str], Any]] = {
    "form": str,
    "dtypes": lambda text: tuple(text.split()),
    "model": str,
    "profile": str,
    "examples": int,
    "seed": int,
    "device": str,
    "timeout": float,
    "expected": str,
}


@dataclass(frozen=True)
class Plan:
    """One implementation to judge.

    Args:
        key: a name that no other plan of the test run has, the same in every process.
        options: what to do, for all clauses and dtypes.
        names: by which expected failures may call the implementation.
        known: whether all its names are known without importing it.
        expectations: failures that are expected.
        line: where it was asked for, counted from 0; None if on the command line.
        preload: whether it needs PyTorch.
    """

    key: str
    options: Options
    names: tuple[str, ...]
    known: bool
    expectations: tuple[Expectation, ...]
    line: int | None
    preload: bool

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Clauses and dtypes that can be judged, in the order of the specification."""
        dtypes = self.options.dtypes or JUDGED
        return [(c, d) for c in load_clauses() for d in dtypes if families_of(c, d)]

    def job(self, pairs: Sequence[tuple[str, str]]) -> Job:
        """What must be explored to judge these clauses and dtypes."""
        clauses = tuple(dict.fromkeys(clause for clause, _ in pairs))
        dtypes = tuple(dict.fromkeys(dtype for _, dtype in pairs))
        return Job(self.key, replace(self.options, clauses=clauses, dtypes=dtypes), self.expectations)


class Place(NamedTuple):
    """Where a test module asks for an implementation.

    Args:
        path: the file.
        module: name of the module.
        attribute: name in the module.
    """

    path: Path
    module: str
    attribute: str


def families_of(clause: str, dtype: str) -> frozenset[str]:
    """Families of problems from which a clause is judged in a dtype."""
    judging = [c for c in CHECKS if c.clause == clause and (not c.dtypes or dtype in c.dtypes)]
    return frozenset(c.family for c in judging if c.family != "digits")


def plan_of(
    config: pytest.Config,
    implementation: Any,
    settings: dict[str, Any],
    *,
    key: str,
    place: Place | None = None,
    line: int | None = None,
) -> Plan:
    """How one implementation is to be judged: as the command line says, then its settings, then the ini file.

    Args:
        config: of the test run.
        implementation: a callable, an :class:`~hopspec.Implementation` or how the command line names one.
        settings: as :class:`~hopspec.properties.plugin.Conformance` has them.
        key: a name of its own.
        place: where a test module asks for it; None for the command line.
        line: where it was asked for, counted from 0.

    Raises:
        ValueError: if a setting is not possible.
    """
    chosen = _chosen(config, settings)
    form = chosen.get("form", "retrieval")
    described = implementation if isinstance(implementation, Implementation) else claims_of(implementation)
    if form == "attention" and described is not None:
        raise ValueError(
            "the attention form is for plain callables; use attention_implementation to describe one"
        )
    name = implementation if isinstance(implementation, str) else _name(implementation, place)
    options = Options(
        targets=(in_form(name, form),),
        dtypes=chosen.get("dtypes", ()),
        profile=chosen.get("profile", "quick"),
        timeout=chosen.get("timeout", Options.timeout),
        **{k: chosen[k] for k in ("examples", "seed", "model", "device") if k in chosen},
    )
    check_options(options)
    return Plan(
        key,
        options,
        known_as(name, *([described.name] if described else [])),
        not isinstance(implementation, str),
        _expectations(config, settings, place),
        line,
        described is None or described.to_array is None,
    )


def _chosen(config: pytest.Config, settings: dict[str, Any]) -> dict[str, Any]:
    chosen = {}
    for name, read in _READ.items():
        given = config.getoption(f"hopspec_{name}")
        if name == "dtypes" and given and name in settings:
            # A test that is about some dtypes stays about these.
            chosen[name] = tuple(d for d in settings[name] if d in given)
            if not chosen[name]:
                raise ValueError(f"none of {', '.join(settings[name])} is among {', '.join(given)}")
        elif given not in (None, []):
            chosen[name] = tuple(given) if name == "dtypes" else given
        elif name in settings:
            chosen[name] = settings[name]
        elif text := config.getini(f"hopspec_{name}"):
            try:
                chosen[name] = read(text)
            except ValueError as error:
                raise ValueError(f"hopspec_{name} in the ini file: {error}") from None
    return chosen


def _expectations(
    config: pytest.Config, settings: dict[str, Any], place: Place | None
) -> tuple[Expectation, ...]:
    """Entries of the file that the command line names, or the test, or the ini file."""
    given: str | None = config.getoption("hopspec_expected")
    ini: str = config.getini("hopspec_expected")
    if given is not None:
        path = config.invocation_params.dir / given
    elif "expected" in settings:
        path = (place.path.parent if place else Path.cwd()) / settings["expected"]
    elif ini:
        path = (config.inipath.parent if config.inipath else config.rootpath) / ini
    else:
        return ()
    return read_expectations(_from_here(path))


def _from_here(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _name(implementation: Any, place: Place | None) -> str:
    assert place is not None
    return (
        _importable(implementation, place.module)
        or f"{_from_here(place.path)}:{place.attribute}.implementation"
    )


def _importable(implementation: Any, module: str) -> str:
    """``package.module:object``, if that is the object itself; "" where it has no such name.

    Args:
        implementation: what was given.
        module: name of the test module, under which only pytest may be able to import it.
    """
    home, qualified = (getattr(implementation, name, None) for name in ("__module__", "__qualname__"))
    if not (isinstance(home, str) and isinstance(qualified, str)) or home == module:
        return ""
    found: Any = sys.modules.get(home)
    for part in qualified.split("."):
        found = getattr(found, part, None)
    return f"{home}:{qualified}" if found is implementation else ""
