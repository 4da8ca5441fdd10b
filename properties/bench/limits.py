"""How far the contenders of a run are from what the machine allows.

An update of ``L`` queries by ``N`` memories of ``d`` numbers has to read the memory once and every query, to
write every result, to multiply and add ``2 L N d`` times and to take ``L N`` exponentials, in at least one
call. Products and exponentials keep the same units busy, reading goes on meanwhile; so it takes at least

    call + max(bytes / bandwidth, 4 L N d / products + L N / exponentials).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hopspec.properties.bench.ceilings import BANDWIDTH, CALL, CEILING, EXP, OPERATOR, PRODUCT, product
from hopspec.properties.bench.record import Comparison, Figure, Run

__all__ = ["UPDATES", "Limit", "best", "limits"]

# Kinds of comparisons whose contenders all do one update, or many of them.
KINDS = ("update", "evaluate", "settle")
# What settling did, needed to know what it costs: one figure for each contender and workload.
UPDATES = "updates made"
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# A memory so small is read from a cache, however often it is used.
_CACHED = 1 << 20


@dataclass(frozen=True)
class Limit:
    """The least time of a comparison's work; all times in seconds.

    Args:
        reading: at the measured bandwidth; 0 where the memory fits into a cache.
        products: at the measured speed of matrix products.
        exponentials: at the measured speed of exponentials.
        calling: one operator.
    """

    reading: float
    products: float
    exponentials: float
    calling: float

    @property
    def seconds(self) -> float:
        """The least time."""
        return self.calling + max(self.reading, self.products + self.exponentials)

    @property
    def reason(self) -> str:
        """What sets it."""
        arithmetic = self.products + self.exponentials
        if self.calling > max(self.reading, arithmetic):
            return "the call"
        return "reading" if self.reading > arithmetic else "arithmetic"


def best(ceiling: Figure) -> float:
    """The most that was seen of a rate, the least of a time."""
    return min(ceiling.values) if ceiling.unit == CALL else max(ceiling.values)


def limits(run: Run) -> Iterator[tuple[Comparison, str, Limit]]:
    """Comparison, contender and limit, for whatever the ceilings of the run allow to tell."""
    rates = _rates(run)
    if not rates:
        return
    for comparison in run.comparisons:
        if comparison.kind in KINDS and comparison.precision in _BYTES:
            for name in _asked(comparison):
                updates = _updates(run, comparison, name)
                if updates is not None:
                    yield comparison, name, _limit(comparison, updates, rates)


def _asked(comparison: Comparison) -> list[str]:
    """The contenders something is aimed at, and their yardsticks; all if nothing is aimed at."""
    relations = [r for r in comparison.relations if r.target is not None] or comparison.relations
    names = {name for r in relations for name in (r.contender, r.yardstick)}
    return [timed.name for timed in comparison.timed if timed.name in names]


def _rates(run: Run) -> dict[tuple[str, str], float]:
    """Name and unit of each ceiling with all threads of the run, and the best that was seen of it."""
    count = run.environment.get("threads", "1")
    detail = f"{count} thread{'s' * (count != '1')}"
    return {(f.name, f.unit): best(f) for f in run.figures if f.kind == CEILING and f.detail == detail}


def _updates(run: Run, comparison: Comparison, contender: str) -> float | None:
    """How many queries a contender updated, as often as it did so."""
    if comparison.kind != "settle":
        return _sizes(comparison)[0]
    made = (
        f.value for f in run.figures if (f.kind, f.name, f.detail) == (UPDATES, contender, comparison.size)
    )
    return next(made, None)


def _sizes(comparison: Comparison) -> tuple[int, int, int]:
    queries, memories, width = map(int, comparison.size.split()[0].split("x"))
    return queries, memories, width


def _limit(comparison: Comparison, updates: float, rates: dict[tuple[str, str], float]) -> Limit:
    _, memories, width = _sizes(comparison)
    stored = memories * width * _BYTES[comparison.precision]
    moved = stored + 2 * updates * width * _BYTES[comparison.precision]
    bandwidth = max(rate for (_, unit), rate in rates.items() if unit == BANDWIDTH)
    # A kernel may widen half precision and multiply in float32.
    names = {product(comparison.precision), product("float32")}
    fastest = max(rate for (name, unit), rate in rates.items() if unit == PRODUCT and name in names)
    return Limit(
        reading=1e-9 * moved / bandwidth if stored > _CACHED else 0.0,
        products=1e-9 * 4 * updates * memories * width / fastest,
        exponentials=1e-9 * updates * memories / rates["exp", EXP],
        calling=1e-6 * rates[OPERATOR, CALL],
    )
