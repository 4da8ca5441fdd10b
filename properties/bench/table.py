"""Benchmark results for a person."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from hopspec.properties.bench.measure import Ratio, Timed, change, median, quartiles, ratio
from hopspec.properties.bench.record import Comparison, Run

__all__ = ["print_changes", "print_run"]


def print_run(run: Run, console: Console) -> None:
    """The environment, one table of times for every kind of work, and one of set-up times."""
    console.print("  ".join(f"{name} {value}" for name, value in run.environment.items()), highlight=False)
    for kind in dict.fromkeys(c.kind for c in run.comparisons):
        chosen = [c for c in run.comparisons if c.kind == kind]
        console.print(_times(kind, chosen))
    console.print(_setups(run.comparisons))


def print_changes(now: Sequence[Run], earlier: Sequence[Run], yardstick: str, console: Console) -> None:
    """Times now over times then, for whatever both have: as such, and relative to a contender."""
    table = _table("now / earlier", "long integers", "work", "size", "precision", "contender")
    for column in ("earlier ms", "now ms", "ratio", f"relative to {yardstick}"):
        table.add_column(column, justify="right")
    before = {(_backend(run), *c.key): c for run in earlier for c in run.comparisons}
    for run in now:
        for comparison in run.comparisons:
            past = before.get((_backend(run), *comparison.key))
            if past is None:
                continue
            for timed in comparison.timed:
                old = past.of(timed.name)
                if old is not None:
                    cells = [
                        _time(old),
                        _time(timed),
                        _ratio(ratio(timed.seconds, old.seconds, paired=False)),
                    ]
                    cells.append(_relative(timed, old, comparison.of(yardstick), past.of(yardstick)))
                    table.add_row(_backend(run), *comparison.key, timed.name, *cells)
    if table.row_count:
        console.print(table)
    else:
        console.print("nothing was measured both now and earlier")


def _relative(timed: Timed, old: Timed, yardstick: Timed | None, old_yardstick: Timed | None) -> str:
    if not yardstick or not old_yardstick or timed is yardstick:
        return "-"
    return _ratio(change(timed.seconds, yardstick.seconds, old.seconds, old_yardstick.seconds))


def _backend(run: Run) -> str:
    return run.environment.get("long integers", "")


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 2, 0, 0),
    )
    for column in columns:
        table.add_column(column)
    return table


def _times(kind: str, comparisons: Sequence[Comparison]) -> Table:
    names = list(dict.fromkeys(t.name for c in comparisons for t in c.timed))
    first = names[0]
    table = _table(
        f"{kind}: median CPU ms and quartiles, ratio of medians with 95 % interval", "size", "precision"
    )
    table.add_column("rounds", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    for name in names[1:]:
        table.add_column(f"{name} / {first}", justify="right")
    for comparison in comparisons:
        timed = [comparison.of(name) for name in names]
        base = timed[0]
        cells = [comparison.size, comparison.precision, str(len(base.seconds)) if base else "-"]
        cells += [_time(t) if t else "-" for t in timed]
        cells += [_ratio(ratio(t.seconds, base.seconds)) if t and base else "-" for t in timed[1:]]
        table.add_row(*cells)
    return table


def _setups(comparisons: Sequence[Comparison]) -> Table:
    table = _table("set-up and first call, once, CPU time", "work", "size", "precision", "contender")
    table.add_column("ms", justify="right")
    for comparison in comparisons:
        for timed in comparison.timed:
            table.add_row(*comparison.key, timed.name, f"{1e3 * timed.setup:.3g}")
    return table


def _time(timed: Timed) -> str:
    first, third = quartiles(timed.seconds)
    return f"{1e3 * median(timed.seconds):.3g} [{1e3 * first:.3g}, {1e3 * third:.3g}]"


def _ratio(found: Ratio) -> str:
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
