"""The outcome of a run, as data."""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from numpy.typing import NDArray

from hopspec.properties.likeness import Claim, Fit, claim_of
from hopspec.properties.problem import Problem

__all__ = [
    "LARGEST_BIN",
    "LEAST_BIN",
    "POINTS",
    "WORST_FIRST",
    "ZERO",
    "Cell",
    "Descent",
    "Failure",
    "Point",
    "Report",
    "Verdict",
    "bin_of",
    "cell_at",
    "failing_size",
    "joined",
    "smaller",
]

# Failing cases after which a claimed clause is given no more: its verdict stands.
ENOUGH = 5
# Problems outside the shapes of the implementation after which no more are tried; four more for each case.
TRIED = 16
# Cases of which a cell keeps the error beside the bound.
POINTS = 256
# A ratio in (2**(k - 1), 2**k] has bin k; the last two hold everything below and above, and ZERO what is 0.
LEAST_BIN, LARGEST_BIN, ZERO = -24, 8, -99


def bin_of(ratio: float) -> int:
    """The histogram bin of an error over its bound.

    >>> bin_of(1.0), bin_of(0.3), bin_of(float("inf")), bin_of(0.0) == ZERO
    (0, -1, 8, True)
    """
    if ratio == 0:
        return ZERO
    if not math.isfinite(ratio):
        return LARGEST_BIN
    mantissa, exponent = math.frexp(ratio)
    return min(max(exponent - (mantissa == 0.5), LEAST_BIN), LARGEST_BIN)


class Verdict(enum.Enum):
    """What is said of one clause, implementation and dtype."""

    HOLDS = "holds"
    BROKEN = "BROKEN"
    EXPECTED = "expected failure"
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
        arrays: the arguments of the failing call, where they are not those of the problem.
    """

    problem: Problem
    check: str
    kind: str
    what: str
    got: str = ""
    expected: str = ""
    bound: float = 0.0
    ratio: float = float("inf")
    arrays: dict[str, NDArray[Any]] | None = None


class Point(NamedTuple):
    """The worst number of one case: how far it was off, and how far it was allowed to be.

    Args:
        n: memories.
        d: their width.
        beta: inverse temperature.
        spread: largest difference between two logits of a query.
        scale: size of the quantity, in the same unit as the error.
        error: distance from the exact number.
        bound: largest distance allowed.
    """

    n: int
    d: int
    beta: float
    spread: float
    scale: float
    error: float
    bound: float


@dataclass(frozen=True)
class Descent:
    """The energy of one query while it is updated again and again.

    Args:
        implementation: its name.
        dtype: name of the format it computed in.
        problem: the problem, for a person.
        exact: exact energies of the exact states, from the query on.
        reached: exact energies of the states the implementation reached.
        told: energies the implementation gives of its own states; empty where it gives none.
    """

    implementation: str
    dtype: str
    problem: str
    exact: tuple[float, ...]
    reached: tuple[float, ...]
    told: tuple[float, ...] = ()


@dataclass
class Cell:
    """Everything learned of one property on one implementation and dtype.

    Args:
        clause: id of its clause.
        check: its name.
        implementation: name.
        dtype: name of the format.
        unclaimed: what the implementation does not claim of what the property needs.
        lacking: why problems were passed over, where the implementation can be called with some shapes only;
            without a case its clause counts as not claimed.
        needed: cases without which a claimed clause does not hold.
        cases: cases judged.
        compared: numbers compared in them.
        outside: problems outside the clause's domain.
        undecided: cases the exact value leaves open.
        worst: largest error over bound among the cases that hold.
        broken: cases that break the clause.
        failure: the smallest of them.
        seconds: time spent on judging, calls included.
        ratios: how many cases have an error over bound in a bin, see :func:`bin_of`.
        points: some of the cases, where the clause is an error bound.
        room: how many of them are kept.
        seeds: seeds of the problems.
        expected: why a failure was expected; "" if none was.
    """

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
    seconds: float = 0.0
    ratios: Counter[int] = field(default_factory=Counter)
    points: list[Point] = field(default_factory=list)
    room: int = POINTS
    seeds: tuple[int, ...] = ()
    expected: str = ""
    lacking: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it is about; cells of the same key can be joined."""
        return self.clause, self.check, self.implementation, self.dtype

    def join(self, other: Cell) -> None:
        """Add what was learned from other problems.

        Raises:
            ValueError: if the other is about something else, or under another claim.
        """
        if (self.key, self.unclaimed) != (other.key, other.unclaimed):
            raise ValueError(
                f"{other.key} ({other.unclaimed}) cannot be joined with {self.key} ({self.unclaimed})"
            )
        self.needed += other.needed
        self.cases += other.cases
        self.compared += other.compared
        self.outside += other.outside
        self.undecided += other.undecided
        self.worst = max(self.worst, other.worst)
        self.broken += other.broken
        self.failure = smaller(self.failure, other.failure)
        self.seconds += other.seconds
        self.ratios.update(other.ratios)
        self.room += other.room
        # In an order that does not depend on which process was first.
        self.points = sorted(self.points + other.points)
        self.seeds = tuple(sorted({*self.seeds, *other.seeds}))
        self.lacking = self.lacking or other.lacking

    @property
    def wanting(self) -> bool:
        """Whether another case could change the verdict, or show the failure on a smaller problem."""
        if self.lacking and self.outside >= TRIED + 4 * self.cases:
            return False
        return self.cases < self.needed and (bool(self.unclaimed) or self.broken < ENOUGH)

    @property
    def verdict(self) -> Verdict:
        """The verdict this cell alone supports."""
        if self.unclaimed or (self.lacking and not self.cases):
            return Verdict.NOT_CLAIMED
        if self.failure is not None:
            return Verdict.EXPECTED if self.expected else Verdict.BROKEN
        if self.cases < self.needed and not self.lacking:
            return Verdict.TOO_FEW
        return Verdict.HOLDS


def smaller(first: Failure | None, second: Failure | None) -> Failure | None:
    """The failure on the smaller problem; the first of two that are equally small."""
    if first is None or second is None:
        return first or second
    return second if second.problem.size < first.problem.size else first


def failing_size(cell: Cell) -> tuple[float, ...]:
    """Order of broken cells: those that are broken on the smallest problem first."""
    return (math.inf,) if cell.failure is None else cell.failure.problem.size


def joined(cells: Iterable[Cell]) -> list[Cell]:
    """The cells with those of the same key joined into the first, in order of appearance."""
    found: dict[tuple[str, str, str, str], Cell] = {}
    for cell in cells:
        if cell.key in found:
            found[cell.key].join(cell)
        else:
            found[cell.key] = cell
    return list(found.values())


def cell_at(cells: Iterable[Cell], *key: str) -> Cell | None:
    """The cell with this key."""
    return next((c for c in cells if c.key == key), None)


WORST_FIRST = (
    Verdict.BROKEN,
    Verdict.NOT_REACHED,
    Verdict.TOO_FEW,
    Verdict.EXPECTED,
    Verdict.HOLDS,
    Verdict.NOT_CLAIMED,
)


@dataclass
class Report:
    """A run: its settings, its cells, and how it ended.

    Args:
        settings: what was asked for.
        targets: per implementation, how it was named to the run.
        environments: per implementation, what its arithmetic depends on.
        models: per implementation and dtype, the accuracy model it was judged under.
        alive: per implementation and dtype, the built-in models no case has violated.
        fits: per implementation and dtype, how those of them fared that were judged, and the claimed one.
        cells: one per property, implementation and dtype.
        descents: energies along some trajectories.
        regimes: how many problems of each regime were drawn.
        problems: how many problems were drawn.
        started: when, as ISO 8601 in UTC.
        seconds: wall-clock time.
        interrupted: whether the run was stopped before its end.
        unusable: per implementation that could not be run (any further), the reason.
        complaints: what is wrong with the failures that were expected.
        stopped_at: the broken cell at which a run ended that was to end at the first failure.
    """

    settings: dict[str, Any]
    targets: dict[str, str] = field(default_factory=dict)
    environments: dict[str, dict[str, str]] = field(default_factory=dict)
    models: dict[str, dict[str, str]] = field(default_factory=dict)
    alive: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    fits: dict[str, dict[str, dict[str, Fit]]] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    descents: list[Descent] = field(default_factory=list)
    regimes: Counter[str] = field(default_factory=Counter)
    problems: int = 0
    started: str = ""
    seconds: float = 0.0
    interrupted: bool = False
    unusable: dict[str, str] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    stopped_at: Cell | None = None

    def absorb(self, other: Report) -> None:
        """Add what another process did of the same run."""
        self.cells = joined([*self.cells, *other.cells])
        self.descents += other.descents
        self.regimes.update(other.regimes)
        self.problems += other.problems
        self.interrupted |= other.interrupted
        self.unusable = other.unusable | self.unusable
        self.targets |= other.targets
        self.environments |= other.environments
        self.models |= other.models
        for name, alive in other.alive.items():
            mine = self.alive.setdefault(name, {})
            for dtype, models in alive.items():
                mine[dtype] = mine.get(dtype, models) & models
        for name, by_dtype in other.fits.items():
            for dtype, fits in by_dtype.items():
                own = self.fits.setdefault(name, {}).setdefault(dtype, {})
                for model, fit in fits.items():
                    own.setdefault(model, Fit()).join(fit)

    def claim(self, implementation: str, dtype: str) -> Claim:
        """What the cases say of the accuracy model the implementation was judged under."""
        fits = self.fits.get(implementation, {}).get(dtype, {})
        return claim_of(self.models[implementation][dtype], self.alive[implementation][dtype], fits)

    def behaves_like(self, implementation: str, dtype: str) -> str:
        """The tightest built-in model that no case has violated."""
        if not self.fits.get(implementation, {}).get(dtype):
            return "unknown: no case was compared"
        return self.claim(implementation, dtype).like or "none of the built-in models"

    def of(self, clause: str, implementation: str, dtype: str) -> list[Cell]:
        """The cells of one clause, implementation and dtype."""
        at = (clause, implementation, dtype)
        return [c for c in self.cells if (c.clause, c.implementation, c.dtype) == at]

    def verdict(self, clause: str, implementation: str, dtype: str) -> Verdict:
        """The worst verdict of the clause's properties; not claimed only if none is claimed."""
        verdicts = {c.verdict for c in self.of(clause, implementation, dtype)}
        ended_early = self.interrupted or self.stopped_at is not None or implementation in self.unusable
        if ended_early and Verdict.TOO_FEW in verdicts:
            verdicts = (verdicts - {Verdict.TOO_FEW}) | {Verdict.NOT_REACHED}
        return next((v for v in WORST_FIRST if v in verdicts), Verdict.NOT_CLAIMED)

    def columns(self, implementation: str) -> list[str]:
        """What an implementation was judged in: dtypes of a kernel, what else a construction offers."""
        judged = (c.dtype for c in self.cells if c.implementation == implementation)
        return list(dict.fromkeys([*self.models.get(implementation, {}), *judged]))

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
        """0 if every claimed clause holds, 1 if one is broken, 2 if the run could not be done.

        A failure that was expected counts as holding, and an expectation that is wrong as a failure.
        """
        if self.broken or self.complaints:
            return 1
        if self.unusable or self.interrupted:
            return 2
        if self.failures:
            return 1
        judged = {c.verdict for c in self.cells} & {Verdict.HOLDS, Verdict.EXPECTED}
        return 0 if judged else 2
