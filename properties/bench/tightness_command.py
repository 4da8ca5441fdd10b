"""``hopspec bench tightness``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from hopspec.properties.bench import tightness
from hopspec.properties.bench.measure import median
from hopspec.properties.bench.record import Run, write
from hopspec.properties.bench.table import plain_table, print_environment
from hopspec.properties.models import MODELS
from hopspec.properties.reporting.files import check_writable
from hopspec.properties.reporting.terminal import Display, refusal, wide_console

__all__ = ["tightness_command", "tightness_markdown"]

SIZES = (8, 64, 256, 1024)


def tightness_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help=f"Built-in models, or implementations ({', '.join(tightness.REAL)}); all by default.",
        ),
    ] = None,
    size: Annotated[
        list[int] | None, typer.Option(min=1, help="Number of memories; may be repeated.")
    ] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write all ratios to this file.")] = None,
) -> None:
    """Measure how much larger the proved bounds are than the errors made, per accuracy model and size.

    A model is measured on an implementation that computes exactly its arithmetic, an implementation under
    what it claims. A ratio is the largest bound of a query over its largest error, or over half a unit in the
    last place of the result where that is larger.
    """
    console = wide_console()
    known = (*MODELS, *tightness.REAL)
    unknown = [name for name in names or [] if name not in known]
    try:
        check_writable({"--json": json})
        if unknown:
            raise ValueError(f"unknown model {unknown[0]!r}; expected one of {', '.join(known)}")
    except ValueError as error:
        raise refusal(error) from None
    with Display() as display:
        run = tightness.run(size or SIZES, names or known, display)
    if as_markdown:
        typer.echo(tightness_markdown(run))
    else:
        print_environment(run, console)
        console.print(_table(run))
    if json is not None:
        write([run], json)
        console.print(f"ratios written to {json}")


def _rows(run: Run) -> tuple[list[str], list[list[str]]]:
    sizes = list(dict.fromkeys(f.detail for f in run.figures))
    found = {(f.name, f.detail): f.values for f in run.figures}
    rows = []
    for name in dict.fromkeys(f.name for f in run.figures):
        cells = [found.get((name, n), ()) for n in sizes]
        rows.append([name, *(f"{median(v):.3g} / {max(v):.3g}" if v else "-" for v in cells)])
    return ["median / worst", *(f"N = {n}" for n in sizes)], rows


def _table(run: Run) -> Table:
    columns, rows = _rows(run)
    table = plain_table(tightness.KIND, columns[0])
    for column in columns[1:]:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def tightness_markdown(run: Run) -> str:
    """Medians and worst ratios as a Markdown table."""
    columns, rows = _rows(run)
    lines = [columns, ["---", *["--:"] * (len(columns) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
