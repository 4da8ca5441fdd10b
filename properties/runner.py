"""Draws problems, asks every implementation, and lets every property judge every answer."""

from __future__ import annotations

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import hypothesis
from hypothesis import HealthCheck, Phase, target

from hopspec.formats import FORMATS
from hopspec.properties.calls import Answer, Broken, Call, Description
from hopspec.properties.checks import CHECKS, Check
from hopspec.properties.digits import digit_problems
from hopspec.properties.families import FAMILIES
from hopspec.properties.host import ChildHost, Host, InProcessHost, NotUsable
from hopspec.properties.judgement import Case, Judgement
from hopspec.properties.models import loosest, model_named, models_of
from hopspec.properties.problem import Problem
from hopspec.properties.reducer import reduce_problem
from hopspec.properties.results import Cell, Failure, Report
from hopspec.types import AccuracyModel

__all__ = ["PROFILES", "Options", "Profile", "verify"]


@dataclass(frozen=True)
class Profile:
    """How much is done.

    Args:
        cases: cases every claimed property gets in every dtype.
        observed: cases a property that is not claimed gets.
        digits: problems made of handwritten digits.
        shrink_seconds: time to look for a smaller failing input, per clause.
        shrink_total: the same, for all clauses together.
    """

    cases: int
    observed: int
    digits: int
    shrink_seconds: float
    shrink_total: float


PROFILES = {
    "quick": Profile(cases=20, observed=3, digits=20, shrink_seconds=0.5, shrink_total=2.0),
    "default": Profile(cases=100, observed=10, digits=100, shrink_seconds=2.0, shrink_total=12.0),
    "thorough": Profile(cases=1000, observed=20, digits=1000, shrink_seconds=2.0, shrink_total=60.0),
}
ROUNDS = 40
MISHAPS = 3
LANES = max(1, min(4, os.cpu_count() or 1))
MODEL_WITNESSES = ("update_within_bound", "update_of_digits_within_bound")


@dataclass(frozen=True)
class Options:
    """What to verify and how.

    Args:
        targets: implementations, as the command line takes them.
        dtypes: names of formats; empty for all that are claimed.
        device: device the implementations run on.
        seed: seed of every draw.
        profile: name in :data:`PROFILES`.
        examples: cases per property and dtype, in place of the profile's.
        model: accuracy model in place of the claimed ones.
        data: ``"digits"`` adds problems on real data.
        clauses: only these clauses; empty for all.
        in_process: run the implementations in this process.
        timeout: seconds one call may take.
    """

    targets: tuple[str, ...]
    dtypes: tuple[str, ...] = ()
    device: str = "cpu"
    seed: int = 0
    profile: str = "default"
    examples: int | None = None
    model: str | None = None
    data: str | None = None
    clauses: tuple[str, ...] = ()
    in_process: bool = False
    timeout: float = 20.0


class Subject:
    """One implementation under test."""

    def __init__(self, hosts: list[Host], options: Options) -> None:
        self.hosts = hosts
        self.description: Description = hosts[0].description
        self.name = self.description.name
        claimed = self.description.capabilities.dtypes
        self.dtypes = tuple(d for d in claimed if not options.dtypes or d in options.dtypes)
        self.lanes = [self.dtypes[k :: len(hosts)] for k in range(len(hosts))]
        self.host_of = {d: host for host, lane in zip(hosts, self.lanes, strict=True) for d in lane}
        self.models = {d: self._model(d, options.model) for d in self.dtypes}
        self.alive = {d: {m.name for m in models_of(d)} for d in self.dtypes}
        self.mishaps = 0
        self.stopped = ""

    def _model(self, dtype: str, name: str | None) -> AccuracyModel:
        if name is not None:
            return model_named(name, dtype)
        own = [m for m in self.description.accuracy if m.storage.name == dtype]
        return own[0] if own else loosest(dtype)

    def ask(self, call: Call) -> Answer:
        """One call; a hang or too many crashes stop the implementation."""
        if self.stopped:
            raise Broken("stopped", self.stopped)
        try:
            return self.host_of[call.dtype].ask(call)
        except Broken as mishap:
            self.mishaps += 1
            if mishap.kind == "hung" or self.mishaps >= MISHAPS:
                self.stopped = f"{mishap.kind}: {mishap.message}"
            raise

    def close(self) -> None:
        """Release the implementation."""
        for host in self.hosts:
            with suppress(OSError):
                host.close()

    def behaves_like(self, dtype: str) -> str:
        """The tightest built-in model that no case has violated."""
        return next(
            (m.name for m in models_of(dtype) if m.name in self.alive[dtype]), "none of the built-in models"
        )


class Run:
    """The state of one verification."""

    def __init__(
        self, options: Options, subjects: list[Subject], report: Report, threads: ThreadPoolExecutor
    ) -> None:
        self.options = options
        self.threads = threads
        self.subjects = subjects
        self.report = report
        self.profile = PROFILES[options.profile]
        self.needed = options.examples or self.profile.cases
        self.checks = [c for c in CHECKS if not options.clauses or c.clause in options.clauses]
        self.cells: dict[tuple[str, str, str], Cell] = {}
        for subject in subjects:
            for dtype in subject.dtypes:
                self._add_cells(subject, dtype)

    def _add_cells(self, subject: Subject, dtype: str) -> None:
        judged = [
            c
            for c in self.checks
            if (c.family != "digits" or self.options.data == "digits") and (not c.dtypes or dtype in c.dtypes)
        ]
        unclaimed = {c.name: c.unclaimed(subject.description, subject.models[dtype]) for c in judged}
        # A clause's cases are shared among its claimed properties, but each sees enough of them to bite.
        sharing = Counter(c.clause for c in judged if c.family != "digits" and not unclaimed[c.name])
        for check in judged:
            if unclaimed[check.name]:
                needed = self.profile.observed if check.possible(subject.description) else 0
            elif check.family == "digits":
                needed = min(self.profile.digits, self.needed)
            else:
                needed = math.ceil(self.needed / min(sharing[check.clause], 2))
            cell = Cell(check.clause, check.name, subject.name, dtype, unclaimed[check.name], needed)
            self.cells[subject.name, dtype, check.name] = cell
            self.report.cells.append(cell)

    def wanting(self, family: str) -> list[Cell]:
        """Cells of a family that have not had all their cases."""
        names = {c.name for c in self.checks if c.family == family}
        stopped = {s.name for s in self.subjects if s.stopped}
        return [
            c
            for c in self.cells.values()
            if c.check in names and c.cases < c.needed and c.implementation not in stopped
        ]

    def visit(self, problem: Problem, family: str) -> float:
        """Let every property of the family judge every implementation on ``problem``; the tightest ratio."""
        self.report.problems += 1
        self.report.regimes.update(problem.regimes)
        jobs = [(subject, lane) for subject in self.subjects for lane in subject.lanes]
        # While one thread waits for its implementation, the others judge.
        judged = self.threads.map(lambda job: self._visit_lane(problem, family, *job), jobs)
        return max(judged, default=0.0)

    def _visit_lane(self, problem: Problem, family: str, subject: Subject, dtypes: tuple[str, ...]) -> float:
        limit = subject.description.capabilities.max_size
        if limit and problem.query.shape[0] * problem.memory.size > limit:
            return 0.0
        checks = [c for c in self.checks if c.family == family]
        tightest = 0.0
        for dtype in dtypes:
            if dtype not in problem.formats or subject.stopped:
                continue
            case = Case(problem, dtype, subject.description, subject.models[dtype], subject.ask)
            for check in checks:
                cell = self.cells.get((subject.name, dtype, check.name))
                if cell is not None and cell.cases < cell.needed:
                    tightest = max(tightest, self._judge(cell, check, case, subject))
        return tightest

    def _judge(self, cell: Cell, check: Check, case: Case, subject: Subject) -> float:
        failure: Failure | None = None
        try:
            judgement = check.judge(case)
        except Broken as broken:
            if broken.kind == "stopped":
                return 0.0
            failure = Failure(case.problem, check.name, broken.kind, broken.message)
        else:
            if judgement is None or judgement.compared == 0:
                cell.outside += 1
                return 0.0
            cell.compared += judgement.compared
            if judgement.ratio <= 1:
                cell.worst = max(cell.worst, judgement.ratio)
            else:
                failure = failure_of(judgement, case.problem, check.name)
        cell.cases += 1
        if check.name in MODEL_WITNESSES:
            self._compare_models(check, case, subject)
        if failure is not None:
            cell.broken += 1
            if cell.failure is None or failure.problem.size < cell.failure.problem.size:
                cell.failure = failure
            return 0.0
        return cell.worst

    def _compare_models(self, check: Check, case: Case, subject: Subject) -> None:
        alive = subject.alive[case.dtype]
        for model in models_of(case.dtype):
            if model.name not in alive:
                continue
            with suppress(Broken):
                judgement = check.judge(replace(case, model=model))
                if judgement is None or judgement.ratio <= 1:
                    continue
            alive.discard(model.name)

    def explore(self, family: str, progress: Callable[[int, int], None]) -> None:
        """Draw problems of one family until every cell has its cases."""
        started = len(self.wanting(family))
        if family == "digits":
            for problem in digit_problems(self.profile.digits, self.options.seed):
                self.visit(problem, family)
                progress(started - len(self.wanting(family)), started)
            return
        for attempt in range(ROUNDS):
            if not self.wanting(family):
                break
            count = max(8, self.needed // 2)

            @hypothesis.seed(self.options.seed * 1000 + attempt)
            @hypothesis.settings(
                max_examples=count,
                database=None,
                deadline=None,
                phases=[Phase.generate, Phase.target],
                suppress_health_check=list(HealthCheck),
            )
            @hypothesis.given(FAMILIES[family]())
            def draw(problem: Problem) -> None:
                if self.wanting(family):
                    tightest = self.visit(problem, family)
                    progress(started - len(self.wanting(family)), started)
                    if 0 < tightest <= 1:
                        target(tightest, label="error over bound")

            draw()

    def shrink(self, progress: Callable[[int, int], None]) -> None:
        """Replace each failing problem by the smallest one found."""
        by_name = {c.name: c for c in self.checks}
        broken = [c for c in self.cells.values() if c.failure is not None and not c.unclaimed]
        subjects = {s.name: s for s in self.subjects}
        first = list({(c.clause, c.implementation): c for c in reversed(broken)}.values())
        each = min(self.profile.shrink_seconds, self.profile.shrink_total / max(len(first), 1))
        for done, cell in enumerate(first):
            subject, check = subjects[cell.implementation], by_name[cell.check]
            assert cell.failure is not None
            if cell.failure.kind in ("hung", "crashed") or subject.stopped:
                continue
            again = partial(judged_again, check=check, subject=subject, dtype=cell.dtype)
            smallest = reduce_problem(cell.failure.problem, lambda p, again=again: again(p) is not None, each)  # type: ignore[misc]
            cell.failure = again(smallest) or cell.failure
            progress(done + 1, len(first))


def failure_of(judgement: Judgement, problem: Problem, check: str) -> Failure:
    """A failure from a judgement that does not hold."""
    j = judgement
    return Failure(problem, check, "bound", j.what, j.got, j.expected, j.bound, j.ratio)


def judged_again(problem: Problem, check: Check, subject: Subject, dtype: str) -> Failure | None:
    """The failure of a property on another problem, if it fails there too."""
    if dtype not in problem.formats:
        return None
    case = Case(problem, dtype, subject.description, subject.models[dtype], subject.ask)
    try:
        judgement = check.judge(case)
    except Broken as broken:
        if broken.kind == "stopped":
            return None
        return Failure(case.problem, check.name, broken.kind, broken.message)
    except (ArithmeticError, ValueError, IndexError):
        # A problem made smaller may leave the domain a property was written for: no smaller failure.
        return None
    if judgement is None or judgement.ratio <= 1:
        return None
    return failure_of(judgement, case.problem, check.name)


def _hosts(name: str, options: Options, lanes: int) -> list[Host]:
    if options.in_process:
        return [InProcessHost(name, options.device)]
    with ThreadPoolExecutor(lanes) as starters:
        started = [starters.submit(ChildHost, name, options.device, options.timeout) for _ in range(lanes)]
        return [s.result() for s in started]


def _start(options: Options, report: Report) -> list[Subject]:
    lanes = 1 if len(options.dtypes) == 1 else LANES
    subjects = []
    for name in options.targets:
        try:
            subject = Subject(_hosts(name, options, lanes), options)
        except NotUsable as error:
            report.unusable[name] = str(error)
            continue
        if not subject.dtypes:
            subject.close()
            report.unusable[name] = f"claims none of {', '.join(options.dtypes)}"
            continue
        subjects.append(subject)
        report.environments[subject.name] = subject.description.environment
        report.models[subject.name] = {d: m.name for d, m in subject.models.items()}
    return subjects


def verify(options: Options, progress: Callable[[str, int, int], None] = lambda *_: None) -> Report:
    """Verify the implementations and return the report; Ctrl-C ends the run early with what was done.

    Args:
        options: what to do.
        progress: called with the name of a stage, what is done of it and how much there is.

    Raises:
        ValueError: if the profile, a clause or the model is unknown.
    """
    if options.profile not in PROFILES:
        raise ValueError(f"profile {options.profile!r} is unknown; expected one of {', '.join(PROFILES)}")
    known = {c.clause for c in CHECKS}
    for clause in options.clauses:
        if clause not in known:
            raise ValueError(
                f"clause {clause!r} has no property; those that have: {', '.join(sorted(known))}"
            )
    if options.model is not None:
        for dtype in options.dtypes or tuple(FORMATS):
            model_named(options.model, dtype)
    began = time.monotonic()
    report = Report(settings={**vars(options)})
    subjects: list[Subject] = []
    interval = sys.getswitchinterval()
    try:
        # A thread whose answer has come should not wait long for the one that is judging.
        sys.setswitchinterval(5e-4)
        subjects = _start(options, report)
        with ThreadPoolExecutor(LANES) as threads:
            run = Run(options, subjects, report, threads)
            for family in families_of(run.checks, options):
                run.explore(family, partial(progress, family))
            run.shrink(partial(progress, "smallest failing inputs"))
    except KeyboardInterrupt:
        report.interrupted = True
    finally:
        sys.setswitchinterval(interval)
        for subject in subjects:
            subject.close()
    for subject in subjects:
        report.behaves_like[subject.name] = {d: subject.behaves_like(d) for d in subject.dtypes}
        if subject.stopped:
            report.unusable[subject.name] = subject.stopped
    report.seconds = time.monotonic() - began
    return report


def families_of(checks: Iterable[Check], options: Options) -> list[str]:
    """Families the chosen properties draw from, real data first."""
    wanted = {c.family for c in checks}
    return (["digits"] if "digits" in wanted and options.data == "digits" else []) + [
        f for f in FAMILIES if f in wanted
    ]
