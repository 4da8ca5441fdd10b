"""What a fault changes: its answers beside those of the right implementation, and every clause it breaks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from hopspec.properties.calls import Answer, Call
from hopspec.properties.checks import Check
from hopspec.properties.faults import FAULTS
from hopspec.properties.host import InProcessHost
from hopspec.properties.judgement import Case
from hopspec.properties.kills.hunting import SharingRun, families_of
from hopspec.properties.kills.plan import Pair
from hopspec.properties.options import Options
from hopspec.properties.results import Cell, Report
from hopspec.properties.session import Session
from hopspec.properties.subject import Subject

__all__ = ["Measured", "measure"]


@dataclass(frozen=True)
class Measured:
    """One fault in one dtype, judged by every property.

    Args:
        fault: its name.
        dtype: the format it was judged in.
        seed: seed of every draw.
        calls: calls compared with those of the right implementation; 0 if none was to be.
        differing: calls whose answer differs in any bit from the right one.
        cases: cases judged.
        worst: largest error over bound of a property that held.
        broken: the property that failed, per clause, with the number of its cases up to and with the failure.
        seconds: time it took.
    """

    fault: str
    dtype: str
    seed: int
    calls: int
    differing: int
    cases: int
    worst: float
    broken: dict[str, int]
    seconds: float


class BesideRight(InProcessHost):
    """A fault whose every answer is compared with that of the right implementation."""

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair.target)
        self.right = InProcessHost(pair.target)
        # Faults of constructions are none of a pair.
        assert isinstance(self.right.session, Session)
        self.right.session.implementation = FAULTS[pair.fault].right()
        self.calls = self.differing = 0

    def ask(self, call: Call) -> Answer:
        answer = super().ask(call)
        self.calls += 1
        self.differing += _image(answer) != _image(self.right.ask(call))
        return answer


def _image(answer: Answer) -> tuple[object, ...]:
    arrays = tuple((a.shape, a.tobytes()) for a in answer.arrays)
    return arrays, answer.dtypes, answer.mutated, answer.error


class Matrix(SharingRun):
    """A run in which the properties of a clause get no more cases once one of them has failed."""

    def _judge(self, cell: Cell, check: Check, case: Case, subject: Subject) -> None:
        super()._judge(cell, check, case, subject)
        if cell.broken:
            for mate in self.cells.values():
                if mate.clause == cell.clause:
                    mate.needed = min(mate.needed, mate.cases)


def measure(
    pair: Pair,
    seed: int = 0,
    profile: str = "quick",
    checks: Sequence[str] = (),
    *,
    examples: int | None = None,
    beside_right: bool = True,
) -> Measured:
    """Judge a fault by every clause; one that it breaks is judged no further.

    Args:
        pair: a fault that is safe to run in this process.
        seed: seed of every draw.
        profile: name of the profile whose cases are judged.
        checks: only these properties; empty for all.
        examples: cases of a clause, in place of the profile's.
        beside_right: whether to compare its answers with the right ones too.
    """
    began = time.monotonic()
    options = Options(
        targets=(pair.target,),
        dtypes=(pair.dtype,),
        seed=seed,
        profile=profile,
        examples=examples,
        shrink=False,
    )
    host = BesideRight(pair) if beside_right else InProcessHost(pair.target)
    run = Matrix(options, [Subject(host, options)], Report(settings={}))
    run.checks = [c for c in run.checks if not checks or c.name in checks]
    families = families_of(run.checks)
    for family in families:
        run.take(family)
    for family in families:
        run.explore(family, lambda *_: None)
    claimed = [c for c in run.report.cells if not c.unclaimed]
    return Measured(
        *pair,
        seed=seed,
        calls=host.calls if isinstance(host, BesideRight) else 0,
        differing=host.differing if isinstance(host, BesideRight) else 0,
        cases=sum(c.cases for c in claimed),
        worst=max((c.worst for c in claimed), default=0.0),
        broken={c.check: c.cases for c in claimed if c.broken},
        seconds=time.monotonic() - began,
    )
