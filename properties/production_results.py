"""The outcome of a run at production sizes, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from hopspec.properties.results import Report, Verdict

__all__ = ["AtSize", "SizeCell", "SizeFailure"]


@dataclass(frozen=True)
class SizeFailure:
    """The worst thing found of one cell.

    Args:
        kind: ``bound``, or the kind of a broken answer.
        what: the quantity and index, or what happened.
        row: the query concerned, -1 for none in particular.
        got: the implementation's number.
        expected: the exact one.
        bound: the largest error allowed.
        regime: of the query.
    """

    kind: str
    what: str
    row: int = -1
    got: str = ""
    expected: str = ""
    bound: float = 0.0
    regime: str = ""


@dataclass
class SizeCell:
    """One clause, implementation, dtype and size.

    Args:
        clause: id.
        quantity: the callable.
        implementation: its name.
        dtype: name of the format.
        size: the size.
        problem: ``plain``, or what was masked or read out.
        queries: how many were judged.
        compared: numbers compared.
        outside: numbers outside the clause's domain.
        undecided: numbers whose enclosure is too wide for a verdict.
        worst: largest error over bound among those that hold.
        looseness: median over queries of the largest bound over the largest error (or half a last place).
        broken: how many queries break the clause.
        seconds: what the call took.
        failure: the worst of them.
        settings: keyword arguments of :func:`~hopspec.properties.production_problem.draw`.
    """

    clause: str
    quantity: str
    implementation: str
    dtype: str
    size: str
    problem: str
    queries: int = 0
    compared: int = 0
    outside: int = 0
    undecided: int = 0
    worst: float = 0.0
    looseness: float = math.nan
    broken: int = 0
    seconds: float = 0.0
    failure: SizeFailure | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """What is said of the clause here."""
        if self.failure is not None:
            return Verdict.BROKEN
        if self.compared == 0 or self.undecided:
            return Verdict.NOT_REACHED
        return Verdict.HOLDS


@dataclass
class AtSize:
    """A run at production sizes.

    Args:
        report: settings, environments, models and what could not be run.
        cells: in the order of the table.
        radius: largest radius of the exact update relative to the largest value, over all problems.
        oracle_seconds: what the exact side took.
    """

    report: Report
    cells: list[SizeCell] = field(default_factory=list)
    radius: float = 0.0
    oracle_seconds: float = 0.0

    @property
    def exit_status(self) -> int:
        """0 if everything holds, 1 if a clause is broken, 2 if something was not decided."""
        verdicts = {cell.verdict for cell in self.cells}
        if Verdict.BROKEN in verdicts:
            return 1
        ended_early = self.report.interrupted or self.report.unusable
        return 2 if ended_early or verdicts != {Verdict.HOLDS} else 0
