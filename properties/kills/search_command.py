"""``hopspec search``."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from hopspec.properties.reporting.encoding import number, problem_as_json
from hopspec.properties.reporting.files import check_writable, write_whole
from hopspec.properties.reporting.terminal import Display, refusal, wide_console

if TYPE_CHECKING:
    from hopspec.properties.kills.search import Search

__all__ = ["search_command"]


def search_command(
    implementation: Annotated[str, typer.Argument(help="Built-in name or package.module:function.")],
    clause: Annotated[list[str] | None, typer.Option(help="Only this clause; may be repeated.")] = None,
    property_: Annotated[
        list[str] | None, typer.Option("--property", help="Only this property; may be repeated.")
    ] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="Only this dtype; may be repeated.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for all properties together.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Seed of every draw and edit.")] = 0,
    first: Annotated[bool, typer.Option("--first", help="End a property at its first failure.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write what was found, with the inputs.")] = None,
) -> None:
    """Look for inputs on which the error comes as close to its bound as it can.

    It begins with drawn problems and changes them by small edits, keeping those with the largest error over
    bound. The implementation runs in this process. Exit status: 0 if every claimed clause held, 1 if one was
    broken, 2 if the search could not be done.
    """
    from hopspec.properties.host import NotUsable  # noqa: PLC0415  (needs PyTorch)
    from hopspec.properties.kills.search import search  # noqa: PLC0415

    console = wide_console()
    try:
        check_writable({"--json": json})
        with Display() as display:
            found = search(
                implementation,
                clauses=clause or (),
                properties=property_ or (),
                dtypes=dtype or (),
                seconds=seconds,
                seed=seed,
                to_failure=first,
                progress=display,
            )
    except (ValueError, NotUsable) as error:
        raise refusal(error) from None
    table = Table(box=box.SIMPLE_HEAD, title="largest error over bound", title_justify="left")
    for column in ("clause", "property", "dtype", "drawn", "found", "problems"):
        table.add_column(column, justify="left" if column in ("clause", "property", "dtype") else "right")
    for s in sorted(found, key=lambda s: -s.found):
        style = "bold red" if s.broken else ""
        numbers = (f"{s.drawn:.3g}", f"{s.found:.3g}", str(s.evaluations))
        table.add_row(s.clause, s.check, s.dtype, *numbers, style=style)
    console.print(table)
    if json is not None:
        write_whole(json, json_format.dumps([_entry(s) for s in found], indent=1, allow_nan=False) + "\n")
        console.print(f"written to {json}")
    raise typer.Exit(1 if any(s.broken for s in found) else 0)


def _entry(s: Search) -> dict[str, Any]:
    ratios = {"drawn": number(s.drawn), "found": number(s.found)}
    return vars(s) | ratios | {"problem": None if s.problem is None else problem_as_json(s.problem)}
