"""Properties of what is no kernel: each draws its own operands and asks a construction about them."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from hopspec.clauses import checks
from hopspec.properties import interruption
from hopspec.properties.calls import Broken, Call
from hopspec.properties.host import InProcessHost
from hopspec.properties.judgement import Judgement
from hopspec.properties.options import PROFILES, Options
from hopspec.properties.problem import Problem
from hopspec.properties.results import Cell, Failure, Report, bin_of, smaller
from hopspec.properties.subject import Subject

__all__ = ["FAMILY", "TRIALS", "Property", "Trial", "judge_constructions", "repeat", "trial"]

FAMILY = "constructions"
"""Name of the share of a run in which constructions are judged."""

# Draws before a property is given up, for every case it needs.
DRAWS_PER_CASE = 20
# The cases a property states are those of the default profile.
STATED = PROFILES["default"].cases

Ask = Callable[..., Any]


@dataclass(frozen=True)
class Trial:
    """One draw, one construction: what a property is given.

    Args:
        rng: what the operands are drawn from; it depends on the run's seed, the property and ``number``.
        number: how many draws came before; operands are small where this is.
        ask: takes the name of a method of the construction and its arguments, all of them plain data.
    """

    rng: np.random.Generator
    number: int
    ask: Ask


Judge = Callable[[Trial], Judgement | None]


@dataclass(frozen=True)
class Property:
    """A property of a construction.

    Args:
        clause: id of the clause it decides.
        name: its function's name.
        field: the field of :class:`~hopspec.types.Construction` it asks.
        cases: how many it gets in the default profile.
        judge: gives a judgement, or None where the draw is outside the clause's domain.
    """

    clause: str
    name: str
    field: str
    cases: int
    judge: Judge


TRIALS: dict[str, Property] = {}


def trial(clause: str, field: str, *, cases: int = 20) -> Callable[[Judge], Judge]:
    """Register the decorated function as a property of a construction.

    Args:
        clause: id, for example ``"MHN-FPN-6"``.
        field: the field of :class:`~hopspec.types.Construction` it asks.
        cases: how many it gets in the default profile.
    """

    def register(judge: Judge) -> Judge:
        TRIALS[judge.__name__] = Property(clause, judge.__name__, field, cases, judge)
        return checks(clause)(judge)

    return register


def drawn(name: str, seed: int, number: int, ask: Ask) -> Trial:
    """One draw of a property; the same arguments give the same operands."""
    return Trial(np.random.default_rng((seed, zlib.crc32(name.encode()), number)), number, ask)


def asked(subject: Subject, field: str, method: str, *arguments: Any) -> Any:
    """What a construction answers.

    Raises:
        Broken: if it raised, hung or crashed.
    """
    answer = subject.ask(Call(field, field, {}, {"method": method, "arguments": arguments}))
    if answer.error:
        raise Broken("raised", f"{method} raised {answer.error}: {answer.message}")
    return answer.result


def properties_of(options: Options) -> Iterator[Property]:
    """The properties a run asks for."""
    return (p for p in TRIALS.values() if not options.clauses or p.clause in options.clauses)


def judge_constructions(
    options: Options,
    subjects: Sequence[Subject],
    report: Report,
    progress: Callable[[int, int], None],
    begin: bool = True,
) -> None:
    """Let every property judge every construction, and enter cells into the report.

    Args:
        options: what to do, with the seed of this share.
        subjects: what is under test; kernels are passed over.
        report: where cells and counts are entered.
        progress: called with how many properties are done and how many there are.
        begin: False to enter the cells only, for a run that ends early.
    """
    wanted = [(s, p) for s in subjects for p in properties_of(options) if p.field in s.constructed]
    for done, (subject, of) in enumerate(wanted):
        needed = math.ceil(of.cases * (options.examples or PROFILES[options.profile].cases) / STATED)
        cell = Cell(of.clause, of.name, subject.name, of.field, "", needed, seeds=(options.seed,))
        report.cells.append(cell)
        if begin and report.stopped_at is None:
            _fill(cell, of, subject, options, report)
            progress(done + 1, len(wanted))


def _fill(cell: Cell, of: Property, subject: Subject, options: Options, report: Report) -> None:
    for number in range(DRAWS_PER_CASE * cell.needed):
        if not cell.wanting or subject.stopped:
            return
        interruption.check()
        report.problems += 1
        draw = drawn(of.name, options.seed, number, partial(asked, subject, of.field))
        began = time.perf_counter()
        failure = _judged(cell, of, draw, options.seed)
        cell.seconds += time.perf_counter() - began
        if failure is not None:
            cell.broken += 1
            # Draws grow with their number: the first failure is the smallest.
            cell.failure = smaller(cell.failure, failure)
            if options.first:
                report.stopped_at = cell
                return


def _judged(cell: Cell, of: Property, draw: Trial, seed: int) -> Failure | None:
    """Enter one draw into the cell; the failure, if it is one."""
    where = Problem(np.zeros((1, 1)), np.zeros((1, 1)), 1.0, seed=seed, steps=draw.number, origin=FAMILY)
    try:
        judgement = of.judge(draw)
    except Broken as broken:
        if broken.kind != "stopped":
            cell.cases += 1
            return Failure(where, of.name, broken.kind, broken.message)
        return None
    if judgement is None or not judgement.compared:
        cell.outside += 1
        return None
    cell.cases += 1
    cell.compared += judgement.compared
    cell.ratios[bin_of(judgement.ratio)] += 1
    if judgement.holds:
        cell.worst = max(cell.worst, judgement.ratio)
        return None
    j = judgement
    return Failure(where, of.name, "bound", j.what, j.got, j.expected, j.bound, j.ratio)


def repeat(target: str, name: str, *, seed: int, number: int) -> Judgement | None:
    """Judge one draw again, in this process.

    Args:
        target: the construction, as the command line takes it.
        name: the property's name.
        seed: the run's.
        number: of the draw.

    >>> repeat("pbit-arrays", "sums_of_two_are_rounded_once", seed=0, number=3).holds
    True
    """
    of = TRIALS[name]
    with closing(Subject(InProcessHost(target), Options((target,)))) as subject:
        return of.judge(drawn(name, seed, number, partial(asked, subject, of.field)))
