"""The command line: ``hopspec verify``, ``hopspec spec``, ``hopspec faults``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from hopspec.clauses import load_clauses
from hopspec.lock import stale_links
from hopspec.properties.bench.command import bench_app
from hopspec.properties.builtin import BUILTIN
from hopspec.properties.models import JUDGED
from hopspec.properties.production import verify_at
from hopspec.properties.production_problem import parse_size
from hopspec.properties.production_report import print_at, write_json_at
from hopspec.properties.report import print_report, write_json
from hopspec.properties.runner import PROFILES, Options, verify
from hopspec.properties.spec_command import acknowledge, load_links, show_clause, show_table
from hopspec.properties.vectors.command import vectors_app

__all__ = ["app"]

WIDTH = 140
CALL_SECONDS = 20.0

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Decide whether a kernel computes what the specification says.",
)
app.add_typer(bench_app, name="bench")
app.add_typer(vectors_app, name="vectors")


def _console() -> Console:
    """A console that keeps the whole table where output goes to a file or a pipe."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=WIDTH)
    return console


class _Display:
    """One progress line per family of problems."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self.tasks:
            self.tasks[stage] = self.progress.add_task(stage, total=total)
        self.progress.update(self.tasks[stage], completed=done, total=total)


@app.command("verify")
def verify_command(
    implementations: Annotated[
        list[str], typer.Argument(help=f"Built-in name ({', '.join(BUILTIN)}) or package.module:function.")
    ],
    dtype: Annotated[list[str] | None, typer.Option(help="Verify this dtype only; may be repeated.")] = None,
    device: Annotated[str, typer.Option(help="Device the implementation runs on.")] = "cpu",
    examples: Annotated[int | None, typer.Option(min=1, help="Cases per property and dtype.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    profile: Annotated[str, typer.Option(help=f"How much to do: {', '.join(PROFILES)}.")] = "default",
    model: Annotated[str | None, typer.Option(help="Accuracy model to judge under.")] = None,
    data: Annotated[str | None, typer.Option(help="Add problems on real data: digits.")] = None,
    clause: Annotated[
        list[str] | None, typer.Option(help="Verify this clause only; may be repeated.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the report to this file.")] = None,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="No child process, for debugging.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds one call may take; 20, or more with --at.")
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(help="Only judge sampled queries at this production size, LxNxd; may be repeated."),
    ] = None,
    queries: Annotated[
        int, typer.Option(min=1, help="With --at: random queries besides those at tile edges.")
    ] = 16,
) -> None:
    """Verify implementations against the exact reference.

    Exit status: 0 if every claimed clause holds, 1 if one is broken, 2 if the run could not be done.
    """
    console = _console()
    unknown = [d for d in dtype or [] if d not in JUDGED]
    if unknown:
        console.print(f"[red]unknown dtype {unknown[0]!r}; expected one of {', '.join(JUDGED)}[/]")
        raise typer.Exit(2)
    if data not in (None, "digits"):
        console.print(f"[red]unknown data {data!r}; expected digits[/]")
        raise typer.Exit(2)
    options = Options(
        targets=tuple(implementations),
        dtypes=tuple(dtype or ()),
        device=device,
        seed=seed,
        profile=profile,
        examples=examples,
        model=model,
        data=data,
        clauses=tuple(clause or ()),
        in_process=in_process,
        timeout=timeout or CALL_SECONDS,
    )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
    )
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            if at:
                sizes = [parse_size(size) for size in at]
                outcome = verify_at(options, sizes, queries, timeout, _Display(progress))
            else:
                report = verify(options, _Display(progress))
    except ValueError as error:
        console.print(f"[red]{error}[/]")
        raise typer.Exit(2) from None
    if at:
        print_at(outcome, console)
        if json is not None:
            write_json_at(outcome, json)
            console.print(f"report written to {json}")
        raise typer.Exit(outcome.exit_status)
    print_report(report, console)
    if json is not None:
        write_json(report, json)
        console.print(f"report written to {json}")
    raise typer.Exit(report.exit_status)


@app.command("spec")
def spec_command(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID | acknowledge ID...|all]", help="Nothing for the whole table."),
    ] = None,
) -> None:
    """Show the clauses and what each is tied to, one clause, or acknowledge changed clauses.

    A changed clause fails the tests until it is acknowledged: a person has then looked at every function and
    property tied to it.
    """
    console = _console()
    load_links()
    clauses = load_clauses()
    if not words:
        show_table(console)
    elif words[0] == "acknowledge":
        stale = sorted({link.clause for link in stale_links()})
        ids = stale if words[1:] == ["all"] else words[1:]
        raise typer.Exit(acknowledge(console, ids))
    elif words[0] in clauses:
        show_clause(console, clauses[words[0]])
    else:
        console.print(f"[red]no clause {words[0]}; `hopspec spec` lists them[/]")
        raise typer.Exit(2)


@app.command("faults")
def faults_command() -> None:
    """List the planted faults; verify one with ``hopspec verify fault:NAME``."""
    from hopspec.properties.faults import FAULTS  # noqa: PLC0415  (needs PyTorch)

    console = _console()
    for name, fault in FAULTS.items():
        console.print(f"{name:36} {fault.kind:12} {fault.what}", highlight=False, markup=False)
