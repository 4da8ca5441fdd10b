"""The results of ``hopspec bench fastpath`` for a person."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from hopspec.properties.bench.ceilings import CEILING
from hopspec.properties.bench.limits import best, limits
from hopspec.properties.bench.measure import Ratio, geometric_mean, median, quartiles, ratio
from hopspec.properties.bench.record import Comparison, Figure, Relation, Run
from hopspec.properties.bench.table import plain_table, print_environment, ratio_cell, time_cell

__all__ = ["print_speeds"]


def print_speeds(run: Run, console: Console) -> None:
    """The ceilings, one table for every kind of work, means, other numbers and distances from the limits."""
    print_environment(run, console)
    ceilings = [figure for figure in run.figures if figure.kind == CEILING]
    others = [figure for figure in run.figures if figure.kind != CEILING]
    tables = [_ceilings(ceilings)]
    for kind in dict.fromkeys(c.kind for c in run.comparisons):
        tables.append(_speeds(kind, [c for c in run.comparisons if c.kind == kind]))
    tables += [_means(run), _figures(others), _limits(run)]
    for table in tables:
        if table.row_count:
            console.print()
            console.print(table)
    for note in run.notes:
        console.print(f"not measured: {note}", highlight=False)


def _speeds(kind: str, comparisons: Sequence[Comparison]) -> Table:
    table = plain_table(
        f"{kind}: median ms and quartiles, ratio of medians with 95 % interval", "size", "dtype", "contender"
    )
    for column in ("rounds", "ms"):
        table.add_column(column, justify="right")
    _add_verdict_columns(table)
    for comparison in comparisons:
        place = [comparison.size, comparison.precision]
        for timed in comparison.timed:
            cells = [*place, timed.name, str(len(timed.seconds)), time_cell(timed)]
            asked = [relation for relation in comparison.relations if relation.contender == timed.name]
            for relation in asked:
                pair = comparison.pair(relation)
                if pair is not None:
                    paired = len(pair[0]) == len(pair[1])
                    table.add_row(*cells, *_verdict(relation, ratio(*pair, paired=paired)))
            if not asked:
                table.add_row(*cells)
            place = ["", ""]
    return table


def _means(run: Run) -> Table:
    table = plain_table("geometric means", "work", "workloads", "contender")
    _add_verdict_columns(table)
    for mean in run.means:
        of = [c.pair(mean.relation) for c in run.comparisons if c.kind == mean.kind]
        pairs = [pair for pair in of if pair is not None]
        if pairs:
            words = [mean.kind, str(len(pairs)), mean.relation.contender]
            table.add_row(*words, *_verdict(mean.relation, geometric_mean(pairs)))
    return table


def _add_verdict_columns(table: Table) -> None:
    table.add_column("relative to")
    for column in ("ratio", "target"):
        table.add_column(column, justify="right")
    table.add_column("")


def _verdict(relation: Relation, found: Ratio) -> list[str]:
    words = [f"{relation.quantity} of {relation.yardstick}", ratio_cell(found)]
    if relation.target is None:
        return [*words, "", ""]
    sign = ">=" if relation.quantity == "speed" else "<="
    return [*words, f"{sign} {relation.target:g}", "met" if relation.met(found) else "not met"]


def _ceilings(figures: Sequence[Figure]) -> Table:
    table = plain_table("what the machine can do", "operator", "with")
    for column in ("median and quartiles", "best"):
        table.add_column(column, justify="right")
    table.add_column("")
    for figure in figures:
        first, third = quartiles(figure.values)
        spread = f"{figure.value:.3g} [{first:.3g}, {third:.3g}]"
        table.add_row(figure.name, figure.detail, spread, f"{best(figure):.3g}", figure.unit)
    return table


def _figures(figures: Sequence[Figure]) -> Table:
    table = plain_table("other numbers", "what", "of", "under")
    table.add_column("value", justify="right")
    table.add_column("")
    table.add_column("target", justify="right")
    table.add_column("")
    for figure in figures:
        verdict = ["", ""]
        if figure.limit is not None:
            verdict = [f"<= {figure.limit:g}", "met" if figure.value <= figure.limit else "not met"]
        value = f"{figure.value:.6g}"
        table.add_row(figure.kind, figure.name, figure.detail, value, figure.unit, *verdict)
    return table


def _limits(run: Run) -> Table:
    table = plain_table(
        "distance from the limit: the least ms that the best figures above allow",
        "work",
        "size",
        "dtype",
        "contender",
    )
    for column in ("reading", "products", "exp", "call", "limit"):
        table.add_column(column, justify="right")
    table.add_column("set by")
    for column in ("median", "limit / median"):
        table.add_column(column, justify="right")
    key: tuple[str, ...] = ()
    for comparison, name, limit in limits(run):
        timed = comparison.of(name)
        assert timed is not None
        parts = (limit.reading, limit.products, limit.exponentials, limit.calling, limit.seconds)
        taken = median(timed.seconds)
        table.add_row(
            *(comparison.key if comparison.key != key else [""] * 3),
            name,
            *(f"{1e3 * part:.3g}" for part in parts),
            limit.reason,
            f"{1e3 * taken:.3g}",
            f"{limit.seconds / taken:.0%}",
        )
        key = comparison.key
    return table
