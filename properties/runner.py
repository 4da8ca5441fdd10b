"""Draws problems, asks every implementation, and lets every property judge every answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import hypothesis
from hypothesis import HealthCheck, Phase, target

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

    def __init__(self, target_name: str, host: Host, options: Options) -> None:
        self.name = host.description.name
        self.target = target_name
        self.host = host
        self.description: Description = host.description
        claimed = self.description.capabilities.dtypes
        self.dtypes = tuple(d for d in claimed if not options.dtypes or d in options.dtypes)
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
            return self.host.ask(call)
        except Broken as mishap:
            self.mishaps += 1
            if mishap.kind == "hung" or self.mishaps >= MISHAPS:
                self.stopped = f"{mishap.kind}: {mishap.message}"
            raise

    def behaves_like(self, dtype: str) -> str:
        """The tightest built-in model that no case has violated."""
        return next(
            (m.name for m in models_of(dtype) if m.name in self.alive[dtype]), "none of the built-in models"
        )


class Run:
    """The state of one verification."""

    def __init__(self, options: Options, subjects: list[Subject], report: Report) -> None:
        self.options = options
        self.subjects = subjects
        self.report = report
        self.profile = PROFILES[options.profile]
        self.needed = options.examples or self.profile.cases
        self.checks = [c for c in CHECKS if not options.clauses or c.clause in options.clauses]
        self.cells: dict[tuple[str, str, str], Cell] = {}
        for subject in subjects:
            for dtype in subject.dtypes:
                for check in self.checks:
                    if check.family == "digits" and options.data != "digits":
                        continue
                    if check.dtypes and dtype not in check.dtypes:
                        continue
                    self._add_cell(subject, dtype, check)

    def _add_cell(self, subject: Subject, dtype: str, check: Check) -> None:
        unclaimed = check.unclaimed(subject.description, subject.models[dtype])
        needed = self.needed
        if unclaimed:
            needed = self.profile.observed if check.possible(subject.description) else 0
        elif check.family == "digits":
            needed = min(self.profile.digits, self.needed)
        cell = Cell(check.clause, check.name, subject.name, dtype, unclaimed, needed)
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

    def visit(self, problem: Problem, family: str) -> None:
        """Let every property of the family judge every implementation on ``problem``."""
        checks = [c for c in self.checks if c.family == family]
        self.report.problems += 1
        self.report.regimes.update(problem.regimes)
        tightest = 0.0
        for subject in self.subjects:
            limit = subject.description.capabilities.max_size
            if limit and problem.query.shape[0] * problem.memory.size > limit:
                continue
            for dtype in subject.dtypes:
                if dtype not in problem.formats or subject.stopped:
                    continue
                case = Case(problem, dtype, subject.description, subject.models[dtype], subject.ask)
                for check in checks:
                    cell = self.cells.get((subject.name, dtype, check.name))
                    if cell is None or cell.cases >= cell.needed:
                        continue
                    tightest = max(tightest, self._judge(cell, check, case, subject))
        if 0 < tightest <= 1:
            target(tightest, label=f"error over bound, {family}")

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
                    self.visit(problem, family)
                    progress(started - len(self.wanting(family)), started)

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


def _start(options: Options, report: Report) -> list[Subject]:
    subjects = []
    for name in options.targets:
        try:
            host: Host
            if options.in_process:
                host = InProcessHost(name, options.device)
            else:
                host = ChildHost(name, options.device, options.timeout)
        except NotUsable as error:
            report.unusable[name] = str(error)
            continue
        subject = Subject(name, host, options)
        if not subject.dtypes:
            host.close()
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
        ValueError: if the profile, a dtype or the model is unknown.
    """
    if options.profile not in PROFILES:
        raise ValueError(f"profile {options.profile!r} is unknown; expected one of {', '.join(PROFILES)}")
    began = time.monotonic()
    report = Report(settings={**vars(options)})
    subjects = _start(options, report)
    try:
        run = Run(options, subjects, report)
        try:
            for family in families_of(run.checks, options):
                run.explore(family, lambda done, total, family=family: progress(family, done, total))  # type: ignore[misc]
            run.shrink(lambda done, total: progress("smallest failing inputs", done, total))
        except KeyboardInterrupt:
            report.interrupted = True
        for subject in subjects:
            report.behaves_like[subject.name] = {d: subject.behaves_like(d) for d in subject.dtypes}
            if subject.stopped:
                report.unusable[subject.name] = subject.stopped
    finally:
        for subject in subjects:
            with suppress(OSError):
                subject.host.close()
    report.seconds = time.monotonic() - began
    return report


def families_of(checks: Iterable[Check], options: Options) -> list[str]:
    """Families the chosen properties draw from, real data first."""
    wanted = {c.family for c in checks}
    return (["digits"] if "digits" in wanted and options.data == "digits" else []) + [
        f for f in FAMILIES if f in wanted
    ]
