"""What a benchmark run found, as data and as JSON."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hopspec.properties.bench.measure import Timed

__all__ = ["Comparison", "Run", "environment", "read", "write"]


@dataclass(frozen=True)
class Comparison:
    """Contenders that took turns at one piece of work.

    Args:
        kind: what was done, the same for all sizes.
        size: the problem, for example ``"256x64"``.
        precision: what was asked for, for example ``"53 bits"``.
        timed: the contenders.
    """

    kind: str
    size: str
    precision: str
    timed: tuple[Timed, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """What two runs have to share for their times to be compared."""
        return self.kind, self.size, self.precision

    def of(self, name: str) -> Timed | None:
        """The contender of that name, None if it did not take part."""
        return next((timed for timed in self.timed if timed.name == name), None)


@dataclass(frozen=True)
class Run:
    """All comparisons made by one process.

    Args:
        benchmark: name of the benchmark.
        environment: versions and machine, by name.
        comparisons: what was measured.
    """

    benchmark: str
    environment: dict[str, str]
    comparisons: tuple[Comparison, ...]


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
    comparisons = [
        Comparison(
            str(entry["kind"]),
            str(entry["size"]),
            str(entry["precision"]),
            tuple(map(_timed, entry["timed"])),
        )
        for entry in record["comparisons"]
    ]
    return Run(str(record["benchmark"]), dict(record["environment"]), tuple(comparisons))


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
