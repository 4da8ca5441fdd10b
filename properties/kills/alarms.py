"""Right implementations over as many cases as time allows: every failure is a false alarm."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from hopspec.properties import interruption
from hopspec.properties.host import InProcessHost
from hopspec.properties.kills.fingerprint import code_of
from hopspec.properties.kills.hunting import SharingRun, families_of, share
from hopspec.properties.kills.record import Record
from hopspec.properties.options import Options
from hopspec.properties.reporting.encoding import problem_as_json
from hopspec.properties.results import Report
from hopspec.properties.subject import Subject

__all__ = ["RIGHT_TARGETS", "Campaign", "Survey", "campaign"]

RIGHT_TARGETS = (
    "hopspec.properties.faults:RIGHT",
    "hopspec.properties.faults:RIGHT_MERGING",
    "hopspec.properties.faults:RIGHT_BATCH_INVARIANT",
    "fastpath",
    "fastpath-merged",
    "fastpath-batch-invariant",
    "torch-sdpa",
    "torch-eager",
    "reference",
)
# Seeds that no other run of the suite uses.
FIRST_SEED = 100_000


@dataclass(frozen=True)
class Survey:
    """What one seed says of one implementation.

    Args:
        target: as the command line takes it.
        seed: seed of every draw.
        cases: cases of claimed clauses per dtype.
        compared: numbers compared in them, per dtype.
        undecided: cases that no precision of the reference decided, per dtype.
        worst: largest error over bound of a clause that held, per dtype.
        alarms: every claimed clause that was broken: clause, check, dtype, family, what, ratio and inputs.
        seconds: time it took.
    """

    target: str
    seed: int
    cases: dict[str, int]
    compared: dict[str, int]
    undecided: dict[str, int]
    worst: dict[str, float]
    alarms: list[dict[str, Any]]
    seconds: float


@dataclass
class Campaign:
    """Totals of the surveys of one state of the code.

    Args:
        cases: per implementation and dtype.
        alarms: every alarm.
        seeds: how many seeds, per implementation.
        stale: surveys in the record that belong to other code.
        interrupted: whether the campaign was stopped before its end.
    """

    cases: Counter[tuple[str, str]] = field(default_factory=Counter)
    alarms: list[dict[str, Any]] = field(default_factory=list)
    seeds: Counter[str] = field(default_factory=Counter)
    stale: int = 0
    interrupted: bool = False

    @property
    def total(self) -> int:
        """All cases."""
        return sum(self.cases.values())

    def accused(self) -> Counter[tuple[str, str]]:
        """Alarms per implementation and dtype."""
        return Counter((a["target"], a["dtype"]) for a in self.alarms)

    def add(self, survey: Survey) -> None:
        """Count one survey."""
        for dtype, cases in survey.cases.items():
            self.cases[survey.target, dtype] += cases
        self.alarms += survey.alarms
        self.seeds[survey.target] += 1


def survey(target: str, seed: int, profile: str = "quick") -> Survey:
    """Verify one implementation in all its dtypes with one seed, in this process."""
    began = time.monotonic()
    options = Options(targets=(target,), seed=seed, profile=profile, shrink=False)
    subject = Subject(InProcessHost(target), options)
    run = SharingRun(options, [subject], Report(settings={}))
    for family in families_of(run.checks):
        run.take(family)
        run.explore(family, lambda *_: None)
    cases: Counter[str] = Counter()
    compared: Counter[str] = Counter()
    undecided: Counter[str] = Counter()
    worst = dict.fromkeys(subject.dtypes, 0.0)
    alarms = []
    for cell in run.report.cells:
        if cell.unclaimed:
            continue
        cases[cell.dtype] += cell.cases
        compared[cell.dtype] += cell.compared
        undecided[cell.dtype] += cell.undecided
        worst[cell.dtype] = max(worst[cell.dtype], cell.worst)
        if cell.failure is not None:
            failure = cell.failure
            alarms.append(
                {
                    "target": target,
                    "seed": seed,
                    "clause": cell.clause,
                    "check": cell.check,
                    "dtype": cell.dtype,
                    "kind": failure.kind,
                    "what": failure.what,
                    "got": failure.got,
                    "expected": failure.expected,
                    "ratio": failure.ratio,
                    "problem": problem_as_json(failure.problem),
                }
            )
    seconds = time.monotonic() - began
    return Survey(target, seed, dict(cases), dict(compared), dict(undecided), worst, alarms, seconds)


def campaign(
    path: Path,
    wanted: int,
    targets: Sequence[str] = RIGHT_TARGETS,
    progress: Callable[[Campaign], None] = lambda _: None,
    seeds: Iterable[int] | None = None,
) -> Campaign:
    """Survey right implementations seed by seed until ``wanted`` cases have been judged.

    Args:
        path: the record; what it holds of this code is counted and not done again.
        wanted: number of cases.
        targets: the implementations.
        progress: called with the totals after every survey.
        seeds: which seeds, one after the other.
    """
    share()
    record, whole, done = Record(path), Campaign(), set()
    record.mend()
    for entry in record:
        if entry.pop("code") != code_of():
            whole.stale += 1
            continue
        whole.add(Survey(**entry))
        done.add((entry["target"], entry["seed"]))
    progress(whole)
    with interruption.deferred():
        try:
            for seed in seeds if seeds is not None else count(FIRST_SEED):
                for target in targets:
                    if whole.total >= wanted:
                        return whole
                    if (target, seed) not in done:
                        found = survey(target, seed)
                        record.add({"code": code_of(), **asdict(found)})
                        whole.add(found)
                        progress(whole)
        except KeyboardInterrupt:
            whole.interrupted = True
    return whole
