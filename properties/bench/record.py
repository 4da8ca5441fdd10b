"""What a benchmark run found, as data and as JSON."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, cast

from hopspec.properties.bench.measure import Ratio, Timed, median

__all__ = ["Comparison", "Figure", "Mean", "Relation", "Run", "environment", "read", "write"]

Quantity = Literal["speed", "time"]


@dataclass(frozen=True)
class Relation:
    """A contender's speed or time as a multiple of another one's, and what it should be.

    Args:
        contender: its name.
        yardstick: name of the other one.
        quantity: ``"speed"`` or ``"time"``.
        target: the least multiple of the speed, or the most of the time, that is aimed at; None for none.
    """

    contender: str
    yardstick: str
    quantity: Quantity
    target: float | None = None

    def met(self, found: Ratio) -> bool:
        """Whether the interval reaches the target, if there is one.

        >>> Relation("ours", "theirs", "speed", 1.0).met(Ratio(0.9, 0.8, 1.01))
        True
        """
        if self.target is None:
            return True
        return found.high >= self.target if self.quantity == "speed" else found.low <= self.target


@dataclass(frozen=True)
class Comparison:
    """Contenders that took turns at one piece of work.

    Args:
        kind: what was done, the same for all sizes.
        size: the problem, for example ``"256x64"``.
        precision: what was asked for, for example ``"53 bits"``.
        timed: the contenders.
        relations: what is asked about them.
    """

    kind: str
    size: str
    precision: str
    timed: tuple[Timed, ...]
    relations: tuple[Relation, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """What two runs have to share for their times to be compared."""
        return self.kind, self.size, self.precision

    def of(self, name: str) -> Timed | None:
        """The contender of that name, None if it did not take part."""
        return next((timed for timed in self.timed if timed.name == name), None)

    def pair(self, relation: Relation) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """The times above and below the line of a relation, None if one of the two took no part."""
        this, other = self.of(relation.contender), self.of(relation.yardstick)
        if this is None or other is None:
            return None
        speed = relation.quantity == "speed"
        return (other.seconds, this.seconds) if speed else (this.seconds, other.seconds)


@dataclass(frozen=True)
class Mean:
    """A relation asked about the geometric mean over all comparisons of one kind."""

    kind: str
    relation: Relation


@dataclass(frozen=True)
class Figure:
    """A measured number that is not the time of a contender.

    Args:
        kind: what was measured.
        name: of which thing.
        detail: under which circumstances.
        unit: of the values.
        values: one per measurement.
        limit: the most that was aimed at; None where nothing was.
    """

    kind: str
    name: str
    detail: str
    unit: str
    values: tuple[float, ...]
    limit: float | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What two runs have to share for their values to be compared."""
        return self.kind, self.name, self.detail, self.unit

    @property
    def value(self) -> float:
        """The median."""
        return median(self.values)


@dataclass(frozen=True)
class Run:
    """All that one process measured.

    Args:
        benchmark: name of the benchmark.
        environment: versions and machine, by name.
        comparisons: contenders beside each other.
        means: what is asked about several comparisons together.
        figures: other numbers.
        notes: what was not measured and why.
    """

    benchmark: str
    environment: dict[str, str]
    comparisons: tuple[Comparison, ...]
    means: tuple[Mean, ...] = ()
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()


def environment(distributions: Sequence[str]) -> dict[str, str]:
    """Python, processor and versions of the distributions named, ``"not installed"`` where one is missing."""
    found = {"python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return {**found, "processor": _processor()}


def write(runs: Sequence[Run], path: Path) -> None:
    """Write the runs as JSON."""
    path.write_text(json.dumps({"runs": [asdict(run) for run in runs]}, indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> list[Run]:
    """Read what :func:`write` wrote.

    Raises:
        ValueError: if the file cannot be read or is something else.
    """
    try:
        return [_run(run) for run in json.loads(path.read_text(encoding="utf-8"))["runs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no benchmark results: {error!r}") from None


def _run(record: dict[str, Any]) -> Run:
    return Run(
        str(record["benchmark"]),
        dict(record["environment"]),
        tuple(map(_comparison, record["comparisons"])),
        tuple(Mean(str(mean["kind"]), _relation(mean["relation"])) for mean in record.get("means", ())),
        tuple(map(_figure, record.get("figures", ()))),
        tuple(map(str, record.get("notes", ()))),
    )


def _comparison(record: dict[str, Any]) -> Comparison:
    return Comparison(
        str(record["kind"]),
        str(record["size"]),
        str(record["precision"]),
        tuple(map(_timed, record["timed"])),
        tuple(map(_relation, record.get("relations", ()))),
    )


def _relation(record: dict[str, Any]) -> Relation:
    if record["quantity"] not in ("speed", "time"):
        raise ValueError(f"quantity must be speed or time, got {record['quantity']!r}")
    return Relation(
        str(record["contender"]),
        str(record["yardstick"]),
        cast("Quantity", record["quantity"]),
        None if record["target"] is None else float(record["target"]),
    )


def _figure(record: dict[str, Any]) -> Figure:
    values = tuple(map(float, record["values"]))
    if not values or not all(map(math.isfinite, values)):
        raise ValueError(f"values must be finite numbers, got {record['values']}")
    return Figure(
        str(record["kind"]),
        str(record["name"]),
        str(record["detail"]),
        str(record["unit"]),
        values,
        None if record["limit"] is None else float(record["limit"]),
    )


def _timed(record: dict[str, Any]) -> Timed:
    seconds = tuple(map(float, record["seconds"]))
    if not seconds or not all(0 < x < math.inf for x in seconds):
        raise ValueError(f"seconds must be positive numbers, got {record['seconds']}")
    return Timed(str(record["name"]), float(record["setup"]), seconds)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
