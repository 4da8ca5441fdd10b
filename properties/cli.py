"""The command line: ``hopspec verify``, ``hopspec spec``, ``hopspec faults``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hopspec.clauses import load_clauses
from hopspec.lock import stale_links
from hopspec.properties.adapters.command import show_implementations
from hopspec.properties.bench.command import bench_app
from hopspec.properties.circuit_command import circuit_command
from hopspec.properties.depth.command import depth_command
from hopspec.properties.expectations import expect, read_expectations, unmatched
from hopspec.properties.forms import FORMS, in_form
from hopspec.properties.gpu.command import gpu_app
from hopspec.properties.kills.command import alarm_command, kill_command
from hopspec.properties.kills.search_command import search_command
from hopspec.properties.model_table import models_command
from hopspec.properties.precision_command import precision_command
from hopspec.properties.production import verify_at
from hopspec.properties.production_problem import parse_size
from hopspec.properties.production_report import print_at, write_json_at
from hopspec.properties.report import print_report
from hopspec.properties.reporting.command import add_commands, write_files
from hopspec.properties.reporting.files import check_writable
from hopspec.properties.reporting.plots import SERIES
from hopspec.properties.reporting.terminal import Display, refusal, wide_console
from hopspec.properties.runner import PROFILES, Options, check_options, verify
from hopspec.properties.spec_command import acknowledge, load_links, show_clause, show_table
from hopspec.properties.thought_command import word_command
from hopspec.properties.vectors.command import vectors_app

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Decide whether a kernel computes what the specification says.",
)
app.add_typer(bench_app, name="bench")
app.add_typer(gpu_app, name="gpu")
app.add_typer(vectors_app, name="vectors")
app.command("kill")(kill_command)
app.command("alarm")(alarm_command)
app.command("search")(search_command)
app.command("models")(models_command)
app.command("precision")(precision_command)
app.command("circuit")(circuit_command)
app.command("word")(word_command)
app.command("depth")(depth_command)
add_commands(app)


def _range(seeds: str) -> range:
    """The seeds FIRST to END - 1.

    Raises:
        ValueError: if it is not two integers in ascending order.
    """
    first, _, end = seeds.partition(":")
    try:
        found = range(int(first), int(end))
    except ValueError:
        found = range(0)
    if not found:
        raise ValueError(f"seeds must be FIRST:END with FIRST < END, 0:8 for instance, got {seeds!r}")
    return found


@app.command("verify")
def verify_command(
    implementations: Annotated[
        list[str],
        typer.Argument(
            help="package.module:function, path/to/file.py:function, or a name that "
            "`hopspec implementations` lists."
        ),
    ],
    form: Annotated[
        str, typer.Option(help=f"What functions are called like: {', '.join(FORMS)}.")
    ] = "retrieval",
    dtype: Annotated[list[str] | None, typer.Option(help="Verify this dtype only; may be repeated.")] = None,
    device: Annotated[str, typer.Option(help="Device the implementation runs on.")] = "cpu",
    examples: Annotated[int | None, typer.Option(min=1, help="Cases per property and dtype.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    seeds: Annotated[
        str | None, typer.Option(help="Several seeds FIRST:END in place of one, 0:8 for 0 to 7.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes; by default 2, for the thorough profile every core.")
    ] = None,
    profile: Annotated[str, typer.Option(help=f"How much to do: {', '.join(PROFILES)}.")] = "default",
    model: Annotated[str | None, typer.Option(help="Accuracy model to judge under.")] = None,
    data: Annotated[str | None, typer.Option(help="Add problems on real data: digits.")] = None,
    clause: Annotated[
        list[str] | None, typer.Option(help="Verify this clause only; may be repeated.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the report to this file.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write it to this file as JUnit XML.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write it to this file as a self-contained page.")] = None,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="No child process, for debugging.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds one call may take; 20, or more with --at.")
    ] = None,
    expected: Annotated[
        Path | None, typer.Option(help="TOML file of expected failures: clause, reason, expiry date.")
    ] = None,
    first: Annotated[
        bool, typer.Option("--first", help="End as soon as one claimed clause is broken, as it broke.")
    ] = False,
    no_shrink: Annotated[
        bool, typer.Option("--no-shrink", help="Do not look for smaller failing inputs.")
    ] = False,
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
    console = wide_console()
    try:
        if at and (junit is not None or html is not None):
            raise ValueError("--at writes no JUnit report and no page, only --json")
        range_of_seeds = range(seed, seed + 1) if seeds is None else _range(seeds)
        options = Options(
            targets=tuple(dict.fromkeys(in_form(name, form) for name in implementations)),
            dtypes=tuple(dtype or ()),
            device=device,
            seed=range_of_seeds.start,
            seeds=len(range_of_seeds),
            profile=profile,
            examples=examples,
            model=model,
            data=data,
            clauses=tuple(clause or ()),
            in_process=in_process,
            timeout=timeout or Options.timeout,
            shrink=not no_shrink,
            jobs=jobs,
            descents=len(SERIES) if json is not None or html is not None else 0,
            first=first,
        )
        check_options(options)
        sizes = [parse_size(size) for size in at or ()]
        expectations = () if expected is None else read_expectations(expected)
        check_writable({"--json": json, "--junit": junit, "--html": html})
    except ValueError as error:
        raise refusal(error) from None
    with Display() as display:
        if sizes:
            outcome = verify_at(options, sizes, queries, timeout, display)
        else:
            report = verify(options, display)
    if sizes:
        print_at(outcome, console)
        if json is not None:
            write_json_at(outcome, json)
            console.print(f"report written to {json}")
        raise typer.Exit(outcome.exit_status)
    report.complaints = [str(unmet) for unmet in expect(report, expectations)]
    if not report.interrupted and not report.unusable:
        report.complaints += [str(unmet) for unmet in unmatched(report, expectations)]
    print_report(report, console)
    if report.stopped_at is not None:
        cell = report.stopped_at
        console.print(
            f"ended at the first failure: [bold red]{cell.clause}[/] ({cell.check}), "
            f"{cell.implementation}, {cell.dtype}"
        )
    write_files(report, console, json, junit, html)
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
    console = wide_console()
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
        raise refusal(f"no clause {words[0]}; `hopspec spec` lists them")


@app.command("faults")
def faults_command() -> None:
    """List the planted faults; verify one with ``hopspec verify fault:NAME``."""
    from hopspec.properties.faults import FAULTS  # noqa: PLC0415  (needs PyTorch)

    console = wide_console()
    from hopspec.properties.faults.constructions import CONSTRUCTION_FAULTS  # noqa: PLC0415

    for name, fault in FAULTS.items():
        console.print(f"{name:36} {fault.kind:12} {fault.what}", highlight=False, markup=False)
    for name, wrong in CONSTRUCTION_FAULTS.items():
        console.print(f"{name:36} {'construction':12} {wrong.what}", highlight=False, markup=False)


@app.command("implementations")
def implementations_command() -> None:
    """List the names that can be verified: ours, third parties, and what installed packages register."""
    show_implementations(wide_console())
