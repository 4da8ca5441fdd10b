"""``hopspec kill`` and ``hopspec alarm``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from hopspec.properties.reporting.files import check_writable, write_whole
from hopspec.properties.reporting.terminal import Display, refusal, wide_console

if TYPE_CHECKING:
    from hopspec.properties.kills.plan import Pair
    from hopspec.properties.kills.running import Outcome

__all__ = ["alarm_command", "kill_command"]

RECORD = Path("hopspec-kills.jsonl")
ALARMS = Path("hopspec-alarms.jsonl")
SEEDS = 20


def kill_command(
    fault: Annotated[list[str] | None, typer.Option(help="Only this fault; may be repeated.")] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="Only in this dtype; may be repeated.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0 on.")] = SEEDS,
    jobs: Annotated[int, typer.Option(min=1, help="Processes at a time.")] = os.cpu_count() or 1,
    record: Annotated[Path, typer.Option(help="Results are appended here and not computed again.")] = RECORD,
    page: Annotated[Path | None, typer.Option(help="Write the kill matrix to this file.")] = None,
    excused: Annotated[bool, typer.Option(help="Measure the faults that cannot be seen in a dtype.")] = True,
    matrix: Annotated[bool, typer.Option(help="For the page, judge every fault by every clause.")] = True,
) -> None:
    """Kill every planted fault in every dtype it can be seen in, with every seed.

    A run of one fault stops at the first claimed clause that is broken. An interrupted run goes on where it
    stopped. Exit status: 0 if everything was killed, 1 if a fault survived, 2 if the run is incomplete.
    """
    from hopspec.properties.kills.page import kill_matrix  # noqa: PLC0415  (needs PyTorch)
    from hopspec.properties.kills.plan import pairs_of  # noqa: PLC0415
    from hopspec.properties.kills.running import Work, kill_run  # noqa: PLC0415

    console = wide_console()
    if page is not None and (fault or dtype):
        raise refusal("--page is of all faults in all dtypes; leave out --fault and --dtype")
    try:
        check_writable({"--record": record, "--page": page})
        pairs = pairs_of(fault or (), dtype or ())
        work = Work(tuple(pairs), seeds, matrix=matrix and page is not None, excused=excused, jobs=jobs)
        with Display() as display:
            outcome = kill_run(record, work, display)
    except ValueError as error:
        raise refusal(error) from None
    print_outcome(console, outcome, pairs, seeds)
    if page is not None and not outcome.missing:
        write_whole(page, kill_matrix(outcome, pairs, seeds))
        console.print(f"kill matrix written to {page}")
    raise typer.Exit(outcome.exit_status)


def print_outcome(console: Console, outcome: Outcome, pairs: list[Pair], seeds: int) -> None:
    """Totals, and everything that is not as it should be."""
    from hopspec.properties.kills.summary import totals  # noqa: PLC0415  (needs PyTorch)

    table = Table(
        box=box.SIMPLE_HEAD, title=f"stop at the first failure, {seeds} seeds", title_justify="left"
    )
    for column in (
        "dtype",
        "faults judged",
        "killed with every seed",
        "cannot be seen",
        "survivors",
        "kills/runs",
    ):
        table.add_column(column, justify="left" if column == "dtype" else "right")
    for t in totals(outcome, pairs):
        numbers = (t.judged, t.killed, t.excused, t.survivors)
        table.add_row(t.dtype or "all", *map(str, numbers), f"{t.kills}/{t.runs}")
    console.print(table)
    for kill in outcome.survivors:
        console.print(
            f"[bold red]survived[/] {kill.fault}, {kill.dtype}, seed {kill.seed}, {kill.cases} cases"
        )
    for found in outcome.wrongly_excused:
        how = f"killed by {', '.join(found.broken)}" if found.broken else f"{found.differing} answers differ"
        console.print(f"[bold red]excused but seen[/] {found.fault}, {found.dtype}: {how}")
    if outcome.stale:
        console.print(f"{outcome.stale} results in the record belong to other code and were not used")
    if outcome.missing:
        console.print(f"[yellow]{outcome.missing} results are missing; the same command goes on from here[/]")


def alarm_command(
    cases: Annotated[int, typer.Option(min=1, help="Stop after this many cases.")] = 1_000_000,
    target: Annotated[
        list[str] | None, typer.Option(help="Only this implementation; may be repeated.")
    ] = None,
    record: Annotated[Path, typer.Option(help="Results are appended here and not computed again.")] = ALARMS,
) -> None:
    """Judge right implementations until so many cases: every failure is a false alarm.

    An interrupted run goes on where it stopped. Exit status: 0 if nothing was accused, 1 if something was,
    2 if the run is incomplete.
    """
    from hopspec.properties.kills.alarms import RIGHT_TARGETS, Campaign, campaign  # noqa: PLC0415

    console = wide_console()
    with Display() as display:

        def show(so_far: Campaign) -> None:
            display("cases", min(so_far.total, cases), cases)

        try:
            check_writable({"--record": record})
            whole = campaign(record, cases, target or RIGHT_TARGETS, show)
        except ValueError as error:
            raise refusal(error) from None
    table = Table(box=box.SIMPLE_HEAD, title="right implementations", title_justify="left")
    for column in ("implementation", "dtype", "seeds", "cases", "false alarms"):
        table.add_column(column, justify="left" if column in ("implementation", "dtype") else "right")
    accused = whole.accused()
    for (name, dtype), number in sorted(whole.cases.items()):
        table.add_row(name, dtype, str(whole.seeds[name]), f"{number:,}", str(accused[name, dtype]))
    console.print(table)
    console.print(f"{whole.total:,} cases, {len(whole.alarms)} false alarms")
    for alarm in whole.alarms:
        where = f"{alarm['target']}, {alarm['dtype']}, seed {alarm['seed']}"
        console.print(
            f"[bold red]{alarm['clause']}[/] {alarm['check']}: {where}: {alarm['ratio']:.3g} times the bound"
        )
    if whole.stale:
        console.print(f"{whole.stale} results in the record belong to other code and were not counted")
    if whole.alarms:
        raise typer.Exit(1)
    raise typer.Exit(0 if whole.total >= cases else 2)
