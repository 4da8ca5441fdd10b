"""Benchmark results for a person."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from hopspec.properties.bench.measure import Ratio, Timed, change, median, quartiles, ratio
from hopspec.properties.bench.record import Comparison, Run

__all__ = ["plain_table", "print_changes", "print_environment", "print_run", "ratio_cell", "time_cell"]


def print_run(run: Run, console: Console) -> None:
    """The environment, one table of times for every kind of work, and one of set-up times."""
    print_environment(run, console)
    for kind in dict.fromkeys(c.kind for c in run.comparisons):
        chosen = [c for c in run.comparisons if c.kind == kind]
        console.print(_times(kind, chosen))
    console.print(_setups(run.comparisons))


def print_environment(run: Run, console: Console) -> None:
    """Versions and machine in one line."""
    console.print("  ".join(f"{name} {value}" for name, value in run.environment.items()), highlight=False)


def print_changes(now: Sequence[Run], earlier: Sequence[Run], alike: str, console: Console) -> None:
    """Now over then, for whatever both have: times as such and relative to the yardsticks, other numbers.

    Args:
        now: the new runs.
        earlier: runs to compare them with.
        alike: name in the environment of what has to be the same.
        console: where to print.
    """
    times = plain_table("now / earlier", alike, "work", "size", "precision", "contender")
    for column in ("earlier ms", "now ms", "ratio", "ratio relative to"):
        times.add_column(column, justify="right" if column.endswith(("ms", "ratio")) else "left")
    figures = plain_table("other numbers", alike, "what", "of", "under", "unit")
    for column in ("earlier", "now", "ratio"):
        figures.add_column(column, justify="right")
    for run in now:
        setting = run.environment.get(alike, "")
        past = [old for old in earlier if old.environment.get(alike, "") == setting]
        comparisons = {c.key: c for old in past for c in old.comparisons}
        for comparison in run.comparisons:
            if comparison.key in comparisons:
                _add_times(times, setting, comparison, comparisons[comparison.key])
        values = {f.key: f.value for old in past for f in old.figures}
        for figure in run.figures:
            if figure.key in values:
                before = values[figure.key]
                quotient = f"{figure.value / before:.2f}" if before else "-"
                figures.add_row(
                    setting, figure.kind, *figure.key[1:], f"{before:.4g}", f"{figure.value:.4g}", quotient
                )
    if not (times.row_count or figures.row_count):
        console.print("nothing was measured both now and earlier")
    for table in (times, figures):
        if table.row_count:
            console.print(table)


def _add_times(table: Table, setting: str, now: Comparison, earlier: Comparison) -> None:
    for timed in now.timed:
        old = earlier.of(timed.name)
        if old is not None:
            quotient = ratio(timed.seconds, old.seconds, paired=False)
            cells = [
                time_cell(old),
                time_cell(timed),
                ratio_cell(quotient),
                _relative(timed.name, now, earlier),
            ]
            table.add_row(setting, *now.key, timed.name, *cells)


def _relative(name: str, now: Comparison, earlier: Comparison) -> str:
    """How the time of a contender changed relative to its yardstick, where both runs timed both in turns."""
    yardstick = next((r.yardstick for r in now.relations if r.contender == name), "")
    pairs = [(c.of(name), c.of(yardstick)) for c in (now, earlier)]
    times = [t.seconds for pair in pairs for t in pair if t is not None]
    if len(times) < 4 or any(len(a) != len(b) for a, b in (times[:2], times[2:])):
        return "-"
    return f"{ratio_cell(change(*times))} {yardstick}"


def plain_table(title: str, *columns: str) -> Table:
    """A table without lines between its columns."""
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
    table = plain_table(
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
        cells += [time_cell(t) if t else "-" for t in timed]
        cells += [ratio_cell(ratio(t.seconds, base.seconds)) if t and base else "-" for t in timed[1:]]
        table.add_row(*cells)
    return table


def _setups(comparisons: Sequence[Comparison]) -> Table:
    table = plain_table("set-up and first call, once, CPU time", "work", "size", "precision", "contender")
    table.add_column("ms", justify="right")
    for comparison in comparisons:
        for timed in comparison.timed:
            table.add_row(*comparison.key, timed.name, f"{1e3 * timed.setup:.3g}")
    return table


def time_cell(timed: Timed) -> str:
    """Median and quartiles in milliseconds."""
    first, third = quartiles(timed.seconds)
    return f"{1e3 * median(timed.seconds):.3g} [{1e3 * first:.3g}, {1e3 * third:.3g}]"


def ratio_cell(found: Ratio) -> str:
    """Value and interval."""
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
