"""Draws problems, asks every implementation, and lets every property judge every answer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

from hopspec.properties import interruption
from hopspec.properties.calls import Broken
from hopspec.properties.checks import CHECKS, Check
from hopspec.properties.digits import digit_problems
from hopspec.properties.families import drawn
from hopspec.properties.judgement import Case, Judgement
from hopspec.properties.models import models_of
from hopspec.properties.nursery import Nursery
from hopspec.properties.options import PROFILES, Options
from hopspec.properties.problem import Problem
from hopspec.properties.reducer import reduce_problem
from hopspec.properties.results import Cell, Failure, Report
from hopspec.properties.subject import Subject, start

__all__ = ["explore_families"]

# Problems drawn before a family is given up, for every case a property needs.
DRAWS_PER_CASE = 20
MODEL_WITNESSES = ("update_within_bound", "update_of_digits_within_bound")

Progress = Callable[[str, int, int], None]


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

    def take(self, family: str) -> None:
        """Enter what the properties of a family are to be given."""
        for subject in self.subjects:
            for dtype in subject.dtypes:
                self._add_cells(family, subject, dtype)

    def _add_cells(self, family: str, subject: Subject, dtype: str) -> None:
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
            if check.family != family:
                continue
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
            if c.check in names and c.wanting and c.implementation not in stopped
        ]

    def visit(self, problem: Problem, family: str) -> None:
        """Let every property of the family judge every implementation on ``problem``."""
        interruption.check()
        self.report.problems += 1
        self.report.regimes.update(problem.regimes)
        for subject in self.subjects:
            self._visit_subject(problem, family, subject)

    def _visit_subject(self, problem: Problem, family: str, subject: Subject) -> None:
        limit = subject.description.capabilities.max_size
        if limit and problem.query.shape[0] * problem.memory.size > limit:
            return
        checks = [c for c in self.checks if c.family == family]
        subject.asked.clear()
        for dtype in subject.dtypes:
            if dtype not in problem.formats or subject.stopped:
                continue
            # Most properties ask the same in every dtype.
            subject.foresee_again(dtype)
            case = Case(problem, dtype, subject.description, subject.models[dtype], subject.ask)
            for check in checks:
                cell = self.cells.get((subject.name, dtype, check.name))
                if cell is not None and cell.wanting:
                    self._judge(cell, check, case, subject)

    def _judge(self, cell: Cell, check: Check, case: Case, subject: Subject) -> None:
        failure: Failure | None = None
        try:
            judgement = check.judge(case)
        except Broken as broken:
            if broken.kind == "stopped":
                return
            failure = Failure(case.problem, check.name, broken.kind, broken.message)
        else:
            if judgement is None or judgement.compared == 0:
                cell.outside += 1
                return
            if judgement.undecided and judgement.ratio <= 1:
                # Neither a pass nor a failure, so no case.
                cell.undecided += 1
                return
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
        for number in range(DRAWS_PER_CASE * max(self.needed, 16)):
            dtypes = {c.dtype for c in self.wanting(family)}
            if not dtypes:
                break
            problem = drawn(family, self.options.seed, number)
            if dtypes & {*problem.formats}:
                self.visit(problem, family)
                progress(started - len(self.wanting(family)), started)

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
    interruption.check()
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


def explore_families(
    options: Options, families: Iterator[str], progress: Progress, nursery: Nursery | None
) -> Report:
    """Verify the properties of families one after the other; an interrupt ends it with what was done.

    Args:
        options: what to do.
        families: names of families, taken when they are needed, so that processes can share them.
        progress: called with a stage, how much of it is done and how much there is.
        nursery: what starts the implementations; None to run them in this process.
    """
    report = Report(settings={**vars(options)})
    subjects: list[Subject] = []
    run: Run | None = None
    try:
        subjects = start(options, report, nursery)
        run = Run(options, subjects, report)
        for family in families:
            run.take(family)
            run.explore(family, partial(progress, family))
        if options.shrink:
            run.shrink(partial(progress, "smallest failing inputs"))
    except KeyboardInterrupt:
        report.interrupted = True
        if run is not None:
            for family in families:
                run.take(family)
    finally:
        for subject in subjects:
            subject.close()
    for subject in subjects:
        if subject.stopped:
            report.unusable[subject.name] = subject.stopped
    return report
