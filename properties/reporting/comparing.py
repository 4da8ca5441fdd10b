"""What changed between two reports."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from hopspec.properties.results import Cell, Report

__all__ = ["ALARM", "Change", "changes", "print_changes", "shifted"]

ALARM = 1e-3
"""Chance that two runs with different seeds of one and the same implementation are said to differ in a
ratio, over all cells together."""

# A ratio is read as changed if it is this many times another one on the very same problems.
FACTOR = 2.0


@dataclass(frozen=True)
class Change:
    """A difference between two reports.

    Args:
        kind: ``verdict``, ``ratio``, ``cases``, ``model``, ``behaves like``, ``gone`` or ``new``.
        clause: id; "" where the change is not about one.
        check: name of the property; "" where the change is about the clause or the implementation.
        implementation: name.
        dtype: name of the format.
        before: what was said in the first report.
        after: what is said in the second.
    """

    kind: str
    clause: str
    check: str
    implementation: str
    dtype: str
    before: str
    after: str


def changes(first: Report, second: Report) -> list[Change]:
    """Everything that differs in what the reports say, verdicts first.

    Largest errors over bounds of runs on the same problems (same seeds and settings) are compared directly,
    and reported where one is at least twice the other. On other problems a maximum differs by chance, so
    their histograms are compared, see :func:`shifted`.
    """
    found = [*_verdicts(first, second), *_models(first, second), *_properties(first, second)]
    order = ("verdict", "gone", "new", "model", "behaves like", "ratio", "cases")
    return sorted(found, key=lambda change: order.index(change.kind))


def _verdicts(first: Report, second: Report) -> Iterator[Change]:
    for at in _places(first, second):
        before, after = (_said(report, *at) for report in (first, second))
        if before != after:
            kind = "gone" if not after else "new" if not before else "verdict"
            yield Change(kind, at[0], "", at[1], at[2], before or "-", after or "-")


def _places(first: Report, second: Report) -> list[tuple[str, str, str]]:
    cells = [*first.cells, *second.cells]
    return list(dict.fromkeys((c.clause, c.implementation, c.dtype) for c in cells))


def _said(report: Report, clause: str, implementation: str, dtype: str) -> str:
    there = report.of(clause, implementation, dtype)
    return report.verdict(clause, implementation, dtype).value if there else ""


def _models(first: Report, second: Report) -> Iterator[Change]:
    for name in {**first.models, **second.models}:
        for dtype in {**first.models.get(name, {}), **second.models.get(name, {})}:
            pair = [report.models.get(name, {}).get(dtype) for report in (first, second)]
            if None in pair:
                continue
            if pair[0] != pair[1]:
                yield Change("model", "", "", name, dtype, str(pair[0]), str(pair[1]))
            like = [report.behaves_like(name, dtype) for report in (first, second)]
            if like[0] != like[1]:
                yield Change("behaves like", "", "", name, dtype, *like)


def _properties(first: Report, second: Report) -> Iterator[Change]:
    before = {cell.key: cell for cell in first.cells}
    pairs = [(before[cell.key], cell) for cell in second.cells if cell.key in before]
    judged = [(a, b) for a, b in pairs if a.cases and b.cases]
    for a, b in judged:
        if _same_problems(first, second, a, b):
            low, high = sorted((a.worst, b.worst))
            differ = high >= FACTOR * low and high > 0
        else:
            differ = shifted(a.ratios, b.ratios, ALARM / len(judged))
        if differ:
            yield _change("ratio", a, b, f"{a.worst:.3g}", f"{b.worst:.3g}")
    for a, b in pairs:
        if (a.cases, a.needed) != (b.cases, b.needed) and not a.unclaimed and not b.unclaimed:
            yield _change("cases", a, b, f"{a.cases} of {a.needed}", f"{b.cases} of {b.needed}")


def _same_problems(first: Report, second: Report, a: Cell, b: Cell) -> bool:
    same = ("profile", "examples", "data", "form")
    settings = [[report.settings.get(name) for name in same] for report in (first, second)]
    return a.seeds == b.seeds and a.cases == b.cases and settings[0] == settings[1]


def _change(kind: str, a: Cell, b: Cell, before: str, after: str) -> Change:
    return Change(kind, a.clause, a.check, b.implementation, b.dtype, before, after)


def shifted(first: Counter[int], second: Counter[int], alarm: float) -> bool:
    """Whether two histograms are of different distributions.

    By the inequality of Dvoretzky, Kiefer, Wolfowitz and Massart, the share of n independent cases below
    any number is off by more than ``sqrt(log(4 / alarm) / (2 n))`` with a probability of at most
    ``alarm / 2``; so the chance that two samples of one distribution are said to differ is at most
    ``alarm``.

    >>> few, many = Counter({-3: 10}), Counter({-3: 1000})
    >>> shifted(few, Counter({-1: 10}), 1e-3), shifted(many, Counter({-1: 1000}), 1e-3)
    (False, True)
    """
    n, m = first.total(), second.total()
    if not n or not m:
        return False
    allowed = sum(math.sqrt(math.log(4 / alarm) / (2 * count)) for count in (n, m))
    below = [0, 0]
    for place in sorted({*first, *second}):
        below[0] += first[place]
        below[1] += second[place]
        if abs(below[0] / n - below[1] / m) > allowed:
            return True
    return False


def print_changes(found: list[Change], console: Console) -> None:
    """Print the changes as a table, and how many there are."""
    if not found:
        console.print("nothing changed")
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("change", "clause", "property", "implementation", "dtype", "before", "after"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("clause", "change"))
    for c in found:
        style = "bold red" if c.kind == "verdict" and "BROKEN" in c.after else ""
        table.add_row(c.kind, c.clause, c.check, c.implementation, c.dtype, c.before, c.after, style=style)
    console.print(table)
    counts = Counter(c.kind for c in found)
    console.print(", ".join(f"{count} {kind}" for kind, count in counts.items()), highlight=False)
