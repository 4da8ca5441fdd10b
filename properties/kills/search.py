"""Looks for inputs on which an implementation comes as close to its bounds as it can."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np

from hopspec.formats import FORMATS
from hopspec.properties import interruption
from hopspec.properties.calls import Broken
from hopspec.properties.checks import CHECKS, Check
from hopspec.properties.families import drawn
from hopspec.properties.host import InProcessHost
from hopspec.properties.judgement import Case
from hopspec.properties.kills.edits import edited
from hopspec.properties.options import Options
from hopspec.properties.problem import Problem
from hopspec.properties.subject import Subject

__all__ = ["Climb", "Search", "draw_only", "graded", "judged", "search"]

# Of the problems tried, those from which the search goes on, and those drawn to begin with.
ELITE = 6
BEGINNING = 24
# Evaluations without progress after which it begins anew.
PATIENCE = 150
# In how many rounds the time is given to how many of the properties with the largest ratios.
ROUNDS, PROMISING = 4, 12
Ratio = Callable[[Problem], float | None]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Search:
    """The largest error over bound found for one property, implementation and dtype.

    Args:
        target: the implementation.
        check: name of the property.
        clause: id of the clause.
        dtype: the format it was judged in.
        drawn: largest ratio among the problems drawn to begin with.
        found: largest ratio found by editing them.
        evaluations: problems judged.
        first: number of evaluations until a ratio above 1; 0 if there was none.
        problem: the problem of the largest ratio; None if no problem was within the clause's domain.
    """

    target: str
    check: str
    clause: str
    dtype: str
    drawn: float
    found: float
    evaluations: int
    first: int
    problem: Problem | None

    @property
    def broken(self) -> bool:
        """Whether the clause was broken."""
        return self.found > 1


def judged(check: Check, subject: Subject, dtype: str) -> Ratio:
    """Error over bound of a property as a function of the problem; None outside its domain."""

    def ratio(problem: Problem) -> float | None:
        if dtype not in problem.formats:
            return None
        limit = subject.description.capabilities.max_size
        if limit and problem.query.shape[0] * problem.memory.size > limit:
            return None
        case = Case(problem, dtype, subject.description, subject.models[dtype], subject.ask)
        try:
            judgement = check.judge(case)
        except Broken as broken:
            return None if broken.kind == "stopped" else math.inf
        except (ArithmeticError, ValueError, IndexError):
            # An edited problem may leave the domain a property was written for.
            return None
        if judgement is None or judgement.compared == 0:
            return None
        return judgement.ratio

    return ratio


class Climb:
    """A search that can be interrupted and gone on with: small edits of the best problems so far.

    It begins anew from other drawn problems where it makes no progress.

    Args:
        ratio: what to maximise.
        family: family the first problems are drawn from.
        dtype: name of the format all entries stay in.
        seed: seed of every draw and edit.
        to_failure: whether to stop at the first ratio above 1.
    """

    def __init__(self, ratio: Ratio, family: str, dtype: str, seed: int, *, to_failure: bool = False) -> None:
        self.ratio, self.family, self.dtype, self.seed = ratio, family, dtype, seed
        self.to_failure = to_failure
        self.rng = np.random.default_rng((seed, zlib.crc32(f"{family} {dtype}".encode())))
        self.evaluations = self.first = self.number = self.idle = 0
        self.drawn = 0.0
        self.best: tuple[float, Problem] | None = None
        self.elite: list[tuple[float, Problem]] = []
        self.beginning = BEGINNING

    @property
    def found(self) -> float:
        """The largest ratio so far."""
        return self.best[0] if self.best else 0.0

    def go_on(self, stop: Callable[[int], bool]) -> None:
        """Judge problems until ``stop`` of the number of evaluations so far is true."""
        while not stop(self.evaluations) and not (self.to_failure and self.first):
            interruption.check()
            self._step()

    def _step(self) -> None:
        if self.beginning or not self.elite:
            value = self._consider(drawn(self.family, self.seed, self.number))
            self.number += 1
            self.beginning = max(self.beginning - 1, 0)
            self.drawn = max(self.drawn, value or 0.0)
            return
        # The better ones more often.
        at = min(int(self.rng.exponential(1.5)), len(self.elite) - 1)
        before = self.elite[0][0]
        value = self._consider(edited(self.rng, self.elite[at][1], FORMATS[self.dtype]))
        self.idle = 0 if value is not None and value > before else self.idle + 1
        if self.idle >= PATIENCE:
            self.elite, self.idle, self.beginning = [], 0, BEGINNING

    def _consider(self, problem: Problem) -> float | None:
        """Judge a problem and keep it if it is among the best."""
        self.evaluations += 1
        value = self.ratio(problem)
        if value is None:
            return None
        if value > 1 and not self.first:
            self.first = self.evaluations
        if self.best is None or value > self.best[0]:
            self.best = (value, problem)
        if len(self.elite) < ELITE or value >= self.elite[-1][0]:
            self.elite = sorted([*self.elite, (value, problem)], key=lambda e: -e[0])[:ELITE]
        return value


def draw_only(ratio: Ratio, family: str, seed: int, evaluations: int) -> int:
    """Number of drawn problems until one breaks the clause; 0 if none of ``evaluations`` does."""
    for number in range(evaluations):
        value = ratio(drawn(family, seed, number))
        if value is not None and value > 1:
            return number + 1
    return 0


def graded(
    subject: Subject, dtype: str, clauses: Sequence[str] = (), properties: Sequence[str] = ()
) -> list[Check]:
    """Claimed properties of drawn problems, of ``clauses`` and among ``properties`` if there are any."""
    return [
        c
        for c in CHECKS
        if c.family != "digits"
        and (not clauses or c.clause in clauses)
        and (not properties or c.name in properties)
        and (not c.dtypes or dtype in c.dtypes)
        and not c.unclaimed(subject.description, subject.models[dtype])
    ]


def search(
    target: str,
    *,
    clauses: Sequence[str] = (),
    properties: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    seconds: float | None = None,
    evaluations: int | None = None,
    seed: int = 0,
    to_failure: bool = False,
    progress: Progress = lambda *_: None,
) -> list[Search]:
    """Search on every claimed property, each for the same time or number of evaluations.

    Args:
        target: as the command line takes it; it runs in this process.
        clauses: only properties of these; empty for all.
        properties: only the properties of these names; empty for all.
        dtypes: only in these; empty for all that are claimed.
        seconds: time for all properties and dtypes together.
        evaluations: problems judged for each of them, in place of ``seconds``.
        seed: seed of every draw and edit.
        to_failure: whether a property is searched no further once it is broken.
        progress: called with a stage, what is done of it and how much there is.

    Raises:
        ValueError: if neither limit is given, or no property of these clauses is claimed.
    """
    if seconds is None and evaluations is None:
        raise ValueError("seconds or evaluations must be given")
    options = Options(targets=(target,), dtypes=tuple(dtypes), seed=seed, shrink=False)
    subject = Subject(InProcessHost(target), options)
    jobs = [(c, d) for d in subject.dtypes for c in graded(subject, d, clauses, properties)]
    if not jobs:
        asked = ", ".join((*clauses, *properties)) or "any clause"
        raise ValueError(f"{target} claims no property of {asked} in {', '.join(subject.dtypes)}")
    climbs = [Climb(judged(c, subject, d), c.family, d, seed, to_failure=to_failure) for c, d in jobs]
    # What was found before an interrupt is worth showing.
    with interruption.deferred(), suppress(KeyboardInterrupt):
        if evaluations is not None:
            _in_turn(climbs, partial(_enough, evaluations), progress)
        else:
            _by_promise(climbs, seconds or 0.0, progress)
    return [
        Search(target, check.name, check.clause, dtype, c.drawn, c.found, c.evaluations, c.first, problem)
        for (check, dtype), c in zip(jobs, climbs, strict=True)
        for problem in [c.best[1] if c.best else None]
    ]


def _enough(evaluations: int, used: int) -> bool:
    return used >= evaluations


def _in_turn(climbs: list[Climb], stop: Callable[[int], bool], progress: Progress) -> None:
    for done, climb in enumerate(climbs):
        climb.go_on(stop)
        progress("properties", done + 1, len(climbs))


def _by_promise(climbs: list[Climb], seconds: float, progress: Progress) -> None:
    """A third of the time for all alike, the rest round by round for those with the largest ratios."""
    began = time.monotonic()
    share = seconds / 3 / len(climbs)
    for done, climb in enumerate(climbs):
        end = began + share * (done + 1)
        climb.go_on(lambda _, end=end: time.monotonic() >= end)  # type: ignore[misc]
        progress("all properties", done + 1, len(climbs))
    left = 2 * seconds / 3 / ROUNDS
    for turn in range(ROUNDS):
        # A property that says yes or no has nothing to climb.
        most = sorted((c for c in climbs if 0 < c.found <= 1), key=lambda c: -c.found)[:PROMISING]
        for climb in most:
            end = time.monotonic() + left / len(most)
            climb.go_on(lambda _, end=end: time.monotonic() >= end)  # type: ignore[misc]
        progress("those with the largest error", turn + 1, ROUNDS)
