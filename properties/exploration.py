"""Draws problems, asks every implementation, and lets every property judge every answer."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count, groupby

from hopspec.properties import interruption
from hopspec.properties.calls import Broken
from hopspec.properties.checks import CHECKS, Check
from hopspec.properties.descents import FAMILY, descents_of
from hopspec.properties.digits import digit_problems
from hopspec.properties.families import drawn
from hopspec.properties.judgement import Case, Judgement
from hopspec.properties.nursery import Nursery
from hopspec.properties.options import PROFILES, Options
from hopspec.properties.problem import Problem
from hopspec.properties.reducer import reduce_problem
from hopspec.properties.results import POINTS, Cell, Failure, Report, failing_size, joined, smaller
from hopspec.properties.sampling import sample
from hopspec.properties.shaping import Unlisted, shaped
from hopspec.properties.shares import Share
from hopspec.properties.subject import Subject, start
from hopspec.properties.trials import FAMILY as CONSTRUCTIONS
from hopspec.properties.trials import judge_constructions
from hopspec.properties.witnesses import MODEL_WITNESSES, compare_models

__all__ = ["explore_families"]

# Problems drawn before a family is given up, for every case a property needs.
DRAWS_PER_CASE = 20
# Numbers that the draws of one share may take: more than any draws, and a prime, so that shares differ.
NUMBERS = 10**12 + 39

Progress = Callable[[str, int, int], None]


class Run:
    """The state of one verification, or of one share of it.

    Args:
        options: what to do.
        subjects: what is under test.
        report: where cells and counts are entered.
        number: which share of the problems it explores.
        of: how many shares there are.
    """

    def __init__(
        self, options: Options, subjects: list[Subject], report: Report, number: int = 0, of: int = 1
    ) -> None:
        self.options = options
        self.number, self.of = number, of
        self.subjects = subjects
        self.report = report
        self.profile = PROFILES[options.profile]
        self.needed = options.examples or self.profile.cases
        self.checks = [c for c in CHECKS if not options.clauses or c.clause in options.clauses]
        self.cells: dict[tuple[str, str, str], Cell] = {}
        self.found: Cell | None = None

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
        # Cases are shared among the claimed properties of a clause, but each sees enough of them to bite.
        sharing: defaultdict[str, float] = defaultdict(float)
        for check in judged:
            if check.family != "digits" and not unclaimed[check.name]:
                sharing[check.clause] += 1 / check.one_in
        for check in judged:
            if unclaimed[check.name] and self.options.first:
                needed = 0
            elif unclaimed[check.name]:
                needed = self.profile.observed if check.possible(subject.description) else 0
            elif check.family == "digits":
                needed = min(self.profile.digits, self.needed)
            else:
                among = min(sharing[check.clause], self.profile.shared)
                needed = math.ceil(self.needed / among / check.one_in)
            if check.family == "digits":
                needed = len(range(self.number, needed, self.of))
            else:
                needed = math.ceil(needed / self.of)
            if check.family != family:
                continue
            cell = Cell(check.clause, check.name, subject.name, dtype, unclaimed[check.name], needed)
            cell.room = -(-POINTS // (self.of * self.options.seeds))
            cell.seeds = (self.options.seed,)
            self.cells[subject.name, dtype, check.name] = cell
            self.report.cells.append(cell)

    def add(self, cells: Iterable[Cell]) -> None:
        """Enter what earlier shares have learned."""
        self.cells |= {(c.implementation, c.dtype, c.check): c for c in cells}

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
            if self.found is None:
                self._visit_subject(problem, family, subject)

    def _visit_subject(self, problem: Problem, family: str, subject: Subject) -> None:
        limit = subject.description.capabilities.max_size
        if limit and problem.query.shape[0] * problem.memory.size > limit:
            return
        if not subject.takes(problem.beta):
            return
        checks = [c for c in self.checks if c.family == family]
        if subject.shapes:
            fitting = shaped(problem, family, subject.shapes)
            if fitting is None:
                self._pass_over(family, subject)
                return
            problem = fitting
        subject.asked.clear()
        for dtype in subject.dtypes:
            if dtype not in problem.formats or subject.stopped:
                continue
            # Most properties ask the same in every dtype.
            subject.foresee_again(dtype)
            case = self.case_of(problem, dtype, subject)
            for check in checks:
                cell = self.cells.get((subject.name, dtype, check.name))
                if cell is not None and cell.wanting:
                    began = time.perf_counter()
                    self._judge(cell, check, case, subject)
                    cell.seconds += time.perf_counter() - began
                if self.found is not None:
                    return

    def _pass_over(self, family: str, subject: Subject) -> None:
        """Note that a problem cannot be given one of the shapes of an implementation."""
        for cell in self.wanting(family):
            if cell.implementation == subject.name:
                cell.outside += 1
                cell.lacking = f"no problem of the family {family} has one of its shapes"

    def case_of(self, problem: Problem, dtype: str, subject: Subject) -> Case:
        """What the properties are given of one problem, dtype and implementation."""
        return Case(problem, dtype, subject.description, subject.models[dtype], subject.ask)

    def _judge(self, cell: Cell, check: Check, case: Case, subject: Subject) -> None:
        failure: Failure | None = None
        try:
            judgement = check.judge(case)
        except Unlisted as call:
            cell.outside += 1
            cell.lacking = f"needs {call}"
            return
        except Broken as broken:
            if broken.kind == "stopped":
                return
            failure = broken_failure(broken, case.problem, check.name)
        else:
            if judgement is None or judgement.compared == 0:
                cell.outside += 1
                return
            if judgement.undecided and judgement.ratio <= 1:
                # Neither a pass nor a failure, so no case.
                cell.undecided += 1
                return
            cell.compared += judgement.compared
            sample(cell, case, judgement)
            if judgement.ratio <= 1:
                cell.worst = max(cell.worst, judgement.ratio)
            else:
                failure = failure_of(judgement, case.problem, check.name)
        cell.cases += 1
        if check.name in MODEL_WITNESSES:
            self._compare_models(check, case, subject)
        if failure is not None:
            cell.broken += 1
            if self.options.first and not cell.unclaimed:
                self.found = cell
            cell.failure = smaller(cell.failure, failure)

    def _compare_models(self, check: Check, case: Case, subject: Subject) -> None:
        compare_models(check, case, subject.alive[case.dtype], subject.fits[case.dtype])

    def explore(self, family: str, progress: Callable[[int, int], None]) -> None:
        """Draw problems of one family until every cell has its cases."""
        started = len(self.wanting(family))
        for problem in self.supply(family):
            self.visit(problem, family)
            progress(started - len(self.wanting(family)), started)

    def supply(self, family: str) -> Iterator[Problem]:
        """Problems of one family for as long as a cell is wanting, each in a format that one wants."""
        if family == "digits":
            yield from digit_problems(self.profile.digits, self.options.seed)[self.number :: self.of]
            return
        first = self.number * NUMBERS
        for number in range(DRAWS_PER_CASE * max(self.needed, 16)):
            dtypes = {c.dtype for c in self.wanting(family)}
            if not dtypes:
                break
            problem = self.draw(family, first + number)
            if dtypes & {*problem.formats}:
                yield problem

    def draw(self, family: str, number: int) -> Problem:
        """One problem of a family."""
        return drawn(family, self.options.seed, number)

    def hunt(
        self,
        families: Sequence[str],
        progress: Callable[[str, int, int], None],
        rounds: int | None = None,
    ) -> None:
        """Visit one problem of every family in turn until a claimed clause is broken.

        The problems and properties are those of a run that does not stop; most faults show on the first
        few problems of some family, so all families begin before any is finished.

        Args:
            families: names of families.
            progress: called with a family, how many of its cells have their cases and how many there are.
            rounds: problems of each family at most.
        """
        started = {family: len(self.wanting(family)) for family in families}
        supplies = {family: self.supply(family) for family in families}
        for _ in count() if rounds is None else range(rounds):
            if not supplies:
                return
            for family in [*supplies]:
                problem = next(supplies[family], None)
                if problem is None:
                    del supplies[family]
                    continue
                self.visit(problem, family)
                if self.found is not None:
                    return
                progress(family, started[family] - len(self.wanting(family)), started[family])

    def shrink(self, progress: Callable[[int, int], None]) -> None:
        """Replace each failing problem by the smallest one found."""
        by_name = {c.name: c for c in self.checks}
        # Draws of constructions are small from the first on.
        failed = [c for c in self.cells.values() if c.failure is not None and not c.unclaimed]
        broken = [c for c in failed if c.check in by_name]
        subjects = {s.name: s for s in self.subjects}
        # One for each clause and implementation: the smaller a problem is, the sooner it is a small one.
        smallest_first = sorted(broken, key=failing_size)
        first = list({(c.clause, c.implementation): c for c in reversed(smallest_first)}.values())
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
    return Failure(
        j.problem or problem, check, "bound", j.what, j.got, j.expected, j.bound, j.ratio, j.arrays
    )


def broken_failure(broken: Broken, problem: Problem, check: str) -> Failure:
    """A failure to give a usable answer."""
    asked, arrays = broken.asked or (problem, None)
    return Failure(asked, check, broken.kind, broken.message, arrays=arrays)


def judged_again(problem: Problem, check: Check, subject: Subject, dtype: str) -> Failure | None:
    """The failure of a property on another problem, if it fails there too."""
    interruption.check()
    if dtype not in problem.formats or not subject.takes(problem.beta):
        return None
    case = Case(problem, dtype, subject.description, subject.models[dtype], subject.ask)
    try:
        judgement = check.judge(case)
    except Unlisted:
        return None
    except Broken as broken:
        if broken.kind == "stopped":
            return None
        return broken_failure(broken, case.problem, check.name)
    except (ArithmeticError, ValueError, IndexError):
        # A problem made smaller may leave the domain a property was written for: no smaller failure.
        return None
    if judgement is None or judgement.ratio <= 1:
        return None
    return failure_of(judgement, case.problem, check.name)


def explore_families(
    options: Options, shares: Iterator[Share], progress: Progress, nursery: Nursery | None
) -> Report:
    """Verify the properties of families one after the other; an interrupt ends it with what was done.

    Args:
        options: what to do.
        shares: what to explore, taken when it is needed, so that processes can share it.
        progress: called with a stage, how much of it is done and how much there is.
        nursery: what starts the implementations; None to run them in this process.
    """
    report = Report(settings={**vars(options)})
    subjects: list[Subject] = []

    def run_of(share: Share) -> Run:
        return Run(replace(options, seed=share.seed), subjects, report, share.number, share.of)

    def construct(share: Share, begin: bool = True) -> None:
        told = partial(progress, share.label)
        judge_constructions(replace(options, seed=share.seed), subjects, report, told, begin)

    try:
        subjects = start(options, report, nursery)
        if options.first:
            every = [*shares]
            shares = iter([share for share in every if share.family == CONSTRUCTIONS])
            rest = [share for share in every if share.family != CONSTRUCTIONS]
            for _, group in groupby(sorted(rest, key=lambda s: s[1:]), key=lambda s: s[1:]):
                ordered = list(group)
                run = run_of(ordered[0])
                for share in ordered:
                    run.take(share.family)
                run.hunt([share.family for share in ordered], progress)
                report.stopped_at = run.found
                if run.found is not None:
                    break
        for share in shares:
            if share.family == CONSTRUCTIONS:
                construct(share)
                continue
            run = run_of(share)
            run.take(share.family)
            run.explore(share.family, partial(progress, share.label))
            if share.family == FAMILY and (share.seed, share.number) == (options.seed, 0):
                for subject in subjects:
                    report.descents += descents_of(subject, share.seed, options.descents)
        if options.shrink and not options.first:
            whole = Run(options, subjects, report)
            report.cells = joined(report.cells)
            whole.add(report.cells)
            whole.shrink(partial(progress, "smallest failing inputs"))
    except KeyboardInterrupt:
        report.interrupted = True
        for share in shares:
            if share.family == CONSTRUCTIONS:
                construct(share, begin=False)
            else:
                run_of(share).take(share.family)
    finally:
        for subject in subjects:
            subject.close()
    report.cells = joined(report.cells)
    for subject in subjects:
        if subject.stopped:
            report.unusable[subject.name] = subject.stopped
    return report
