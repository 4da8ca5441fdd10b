"""The outcome of a run, as data."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hopspec.properties.models import models_of
from hopspec.properties.problem import Problem

__all__ = ["Cell", "Failure", "Report", "Verdict"]

# Failing cases after which a claimed clause is given no more: its verdict stands.
ENOUGH = 5


class Verdict(enum.Enum):
    """What is said of one clause, implementation and dtype."""

    HOLDS = "holds"
    BROKEN = "BROKEN"
    TOO_FEW = "TOO FEW CASES"
    NOT_CLAIMED = "not claimed"
    NOT_REACHED = "not reached"


@dataclass
class Failure:
    """The smallest case found that breaks a clause.

    Args:
        problem: its inputs.
        check: name of the property.
        kind: ``bound``, or the kind of a broken answer (``raised``, ``shape``, ``crashed``, ``hung``, ...).
        what: the quantity and index, or what happened.
        got: the implementation's number.
        expected: the number of the clause.
        bound: largest error allowed.
        ratio: error over bound.
    """

    problem: Problem
    check: str
    kind: str
    what: str
    got: str = ""
    expected: str = ""
    bound: float = 0.0
    ratio: float = float("inf")


@dataclass
class Cell:
    """Everything learned of one property on one implementation and dtype."""

    clause: str
    check: str
    implementation: str
    dtype: str
    unclaimed: str
    needed: int
    cases: int = 0
    compared: int = 0
    outside: int = 0
    undecided: int = 0
    worst: float = 0.0
    broken: int = 0
    failure: Failure | None = None

    @property
    def wanting(self) -> bool:
        """Whether another case could change the verdict, or show the failure on a smaller problem."""
        return self.cases < self.needed and (bool(self.unclaimed) or self.broken < ENOUGH)

    @property
    def verdict(self) -> Verdict:
        """The verdict this cell alone supports."""
        if self.unclaimed:
            return Verdict.NOT_CLAIMED
        if self.failure is not None:
            return Verdict.BROKEN
        if self.cases < self.needed:
            return Verdict.TOO_FEW
        return Verdict.HOLDS


ORDER = (Verdict.BROKEN, Verdict.NOT_REACHED, Verdict.TOO_FEW, Verdict.HOLDS, Verdict.NOT_CLAIMED)


@dataclass
class Report:
    """A run: its settings, its cells, and how it ended.

    Args:
        settings: what was asked for.
        targets: per implementation, how it was named to the run.
        environments: per implementation, what its arithmetic depends on.
        models: per implementation and dtype, the accuracy model it was judged under.
        alive: per implementation and dtype, the built-in models no case has violated.
        cells: one per property, implementation and dtype.
        regimes: how many problems of each regime were drawn.
        problems: how many problems were drawn.
        seconds: wall-clock time.
        interrupted: whether the run was stopped before its end.
        unusable: per implementation that could not be run (any further), the reason.
    """

    settings: dict[str, Any]
    targets: dict[str, str] = field(default_factory=dict)
    environments: dict[str, dict[str, str]] = field(default_factory=dict)
    models: dict[str, dict[str, str]] = field(default_factory=dict)
    alive: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    regimes: Counter[str] = field(default_factory=Counter)
    problems: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    unusable: dict[str, str] = field(default_factory=dict)

    def absorb(self, other: Report) -> None:
        """Add what another process did of the same run."""
        self.cells += other.cells
        self.regimes.update(other.regimes)
        self.problems += other.problems
        self.interrupted |= other.interrupted
        self.unusable = other.unusable | self.unusable
        self.targets |= other.targets
        self.environments |= other.environments
        self.models |= other.models
        for name, alive in other.alive.items():
            mine = self.alive.setdefault(name, alive)
            for dtype, models in alive.items():
                mine[dtype] &= models

    def behaves_like(self, implementation: str, dtype: str) -> str:
        """The tightest built-in model that no case has violated."""
        alive = self.alive[implementation][dtype]
        return next((m.name for m in models_of(dtype) if m.name in alive), "none of the built-in models")

    def of(self, clause: str, implementation: str, dtype: str) -> list[Cell]:
        """The cells of one clause, implementation and dtype."""
        at = (clause, implementation, dtype)
        return [c for c in self.cells if (c.clause, c.implementation, c.dtype) == at]

    def verdict(self, clause: str, implementation: str, dtype: str) -> Verdict:
        """The worst verdict of the clause's properties; not claimed only if none is claimed."""
        verdicts = {c.verdict for c in self.of(clause, implementation, dtype)}
        ended_early = self.interrupted or implementation in self.unusable
        if ended_early and Verdict.TOO_FEW in verdicts:
            verdicts = (verdicts - {Verdict.TOO_FEW}) | {Verdict.NOT_REACHED}
        return next((v for v in ORDER if v in verdicts), Verdict.NOT_CLAIMED)

    @property
    def failures(self) -> list[Cell]:
        """Cells of claimed clauses that are broken or were given too few cases."""
        return [c for c in self.cells if c.verdict in (Verdict.BROKEN, Verdict.TOO_FEW)]

    @property
    def broken(self) -> list[Cell]:
        """Cells of claimed clauses that are broken."""
        return [c for c in self.cells if c.verdict is Verdict.BROKEN]

    @property
    def exit_status(self) -> int:
        """0 if every claimed clause holds, 1 if one is broken, 2 if the run could not be done."""
        if self.broken:
            return 1
        if self.unusable or self.interrupted:
            return 2
        if self.failures:
            return 1
        return 0 if any(c.verdict is Verdict.HOLDS for c in self.cells) else 2
