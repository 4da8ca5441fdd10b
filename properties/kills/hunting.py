"""Hunts planted faults one after the other, sharing whatever does not depend on the fault."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeVar

from hopspec.properties.checks import Check
from hopspec.properties.exploration import Run
from hopspec.properties.families import drawn
from hopspec.properties.host import ChildHost, Host, InProcessHost
from hopspec.properties.judgement import Case
from hopspec.properties.nursery import Nursery
from hopspec.properties.options import Options
from hopspec.properties.problem import Problem, remember_solutions
from hopspec.properties.results import Report
from hopspec.properties.subject import Subject

__all__ = ["Kill", "SharingRun", "families_of", "hunt", "share"]

R = TypeVar("R")

# A call that hangs is one that takes longer than this; the right kernel takes milliseconds.
HANGS_AFTER = 2.0
# Problems, solutions and bounds kept for the next implementation: those of a few seeds.
KEPT = 1 << 13

_BOUNDS: dict[tuple[object, ...], Any] = {}
drawn_once = lru_cache(maxsize=KEPT)(drawn)


@dataclass(frozen=True)
class Kill:
    """What a run that stops at the first failure says of one fault.

    Args:
        fault: its name.
        dtype: the format it was judged in.
        seed: seed of every draw.
        clause: id of the clause that was broken; "" if none was.
        check: name of the property that failed.
        kind: ``bound``, or the kind of a broken answer.
        cases: cases judged up to and with the first failure, over all properties.
        seconds: time it took.
    """

    fault: str
    dtype: str
    seed: int
    clause: str
    check: str
    kind: str
    cases: int
    seconds: float

    @property
    def killed(self) -> bool:
        """Whether a clause was broken."""
        return bool(self.clause)


@dataclass
class SharedCase(Case):
    """A case whose bounds are those of every other case with the same numbers and the same model."""

    shared: dict[tuple[object, ...], Any] = field(default_factory=dict)

    def remember(self, what: str, problem: Problem, compute: Callable[[], R]) -> R:
        arrays = (problem.query, problem.memory, problem.keep, problem.values)
        numbers = tuple(None if a is None else (a.shape, a.tobytes()) for a in arrays)
        more = (problem.seed, problem.steps, problem.eps, problem.max_steps)
        key = (what, self.model, problem.beta, numbers, more)
        if key not in self.shared:
            while len(self.shared) >= KEPT:
                self.shared.pop(next(iter(self.shared)))
            self.shared[key] = compute()
        found: R = self.shared[key]
        return found


def share() -> None:
    """Let this process remember what the next implementation will be judged by too."""
    remember_solutions(KEPT)


class SharingRun(Run):
    """A run that draws and bounds as earlier runs in this process did."""

    def draw(self, family: str, number: int) -> Problem:
        return drawn_once(family, self.options.seed, number)

    def case_of(self, problem: Problem, dtype: str, subject: Subject) -> Case:
        return SharedCase(
            problem, dtype, subject.description, subject.models[dtype], subject.ask, shared=_BOUNDS
        )

    def _compare_models(self, *_: object) -> None:
        """What an implementation behaves like is not asked here."""


class Hunt(SharingRun):
    """A run that stops at the first failure."""

    tried = 0

    def over(self, names: Iterable[str], rounds: int) -> None:
        """Judge by all properties, after a try with a few of them.

        What decides is the second pass, which judges the cases of any other run; the first only saves time.

        Args:
            names: properties that will probably fail.
            rounds: problems of each family they are tried on.
        """
        whole, wanted = self.checks, frozenset(names)
        for family in dict.fromkeys(c.family for c in whole):
            self.take(family)
        fresh = {key: replace(cell) for key, cell in self.cells.items()}
        self.checks = [c for c in whole if c.name in wanted]
        self.hunt(families_of(self.checks), lambda *_: None, rounds)
        if self.found is None:
            self.tried = sum(cell.cases for cell in self.cells.values())
            self.cells, self.checks = fresh, whole
            self.hunt(families_of(self.checks), lambda *_: None)

    @property
    def cases(self) -> int:
        """Cases judged so far."""
        return self.tried + sum(cell.cases for cell in self.cells.values())


def families_of(checks: Iterable[Check]) -> list[str]:
    """Families that properties draw from, the digits left out."""
    return [family for family in dict.fromkeys(c.family for c in checks) if family != "digits"]


def hunt(
    target: str,
    dtype: str,
    seed: int,
    *,
    hints: Sequence[str] = (),
    rounds: int = 40,
    profile: str = "default",
    nursery: Nursery | None = None,
) -> Kill:
    """Verify one fault in one dtype until a clause is broken.

    Args:
        target: as the command line takes it, ``fault:NAME`` for instance.
        dtype: name of the format it is judged in.
        seed: seed of every draw.
        hints: names of properties that will probably fail, tried first.
        rounds: on how many problems of each family they are tried before all others.
        profile: name of the profile whose cases are judged at most.
        nursery: what starts a process for it; None to judge it in this one.
    """
    began = time.monotonic()
    options = Options(
        targets=(target,), dtypes=(dtype,), seed=seed, profile=profile, first=True, shrink=False
    )
    host: Host = InProcessHost(target) if nursery is None else ChildHost(target, nursery, timeout=HANGS_AFTER)
    subject = Subject(host, options)
    try:
        run = Hunt(options, [subject], Report(settings={}))
        run.over(hints, rounds)
    finally:
        subject.close()
    cases, found, name = run.cases, run.found, target.partition(":")[2] or target
    if found is None or found.failure is None:
        return Kill(name, dtype, seed, "", "", "", cases, time.monotonic() - began)
    failure = found.failure
    return Kill(name, dtype, seed, found.clause, found.check, failure.kind, cases, time.monotonic() - began)
