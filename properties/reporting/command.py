"""``hopspec report`` and ``hopspec compare``: what can be done with the reports of earlier runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hopspec.properties.report import print_report
from hopspec.properties.reporting.comparing import changes, print_changes
from hopspec.properties.reporting.encoding import write_json
from hopspec.properties.reporting.files import check_writable
from hopspec.properties.reporting.junit import write_junit
from hopspec.properties.reporting.loading import NotAReport, read_report
from hopspec.properties.reporting.merging import merged
from hopspec.properties.reporting.terminal import refusal, wide_console
from hopspec.properties.results import Report

__all__ = ["add_commands", "write_files"]


def write_files(
    report: Report, console: Console, json: Path | None, junit: Path | None, html: Path | None
) -> None:
    """Write the report in every form a file is named for."""
    if json is not None:
        write_json(report, json)
        console.print(f"report written to {json}", soft_wrap=True)
    if junit is not None:
        write_junit(report, junit)
        console.print(f"JUnit report written to {junit}", soft_wrap=True)
    if html is not None:
        from hopspec.properties.reporting.page import write_page  # noqa: PLC0415  (imports matplotlib)

        write_page(report, html)
        console.print(f"page written to {html}", soft_wrap=True)


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("report")(report_command)
    app.command("compare")(compare_command)


def report_command(
    reports: Annotated[list[Path], typer.Argument(help="Files that hopspec verify --json has written.")],
    json: Annotated[Path | None, typer.Option(help="Write the (merged) report to this file.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write it as JUnit XML.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write it as a self-contained page.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not print the report.")] = False,
) -> None:
    """Show the report of an earlier run, or of several that were divided, and write it in other forms.

    Exit status: as hopspec verify would end with, or 2 if the files cannot be read or do not belong together.
    """
    console = wide_console()
    try:
        check_writable({"--json": json, "--junit": junit, "--html": html})
        read = {str(path): read_report(path) for path in reports}
        report = merged(read) if len(reports) > 1 else read[str(reports[0])]
    except ValueError as error:
        raise refusal(error) from None
    if not quiet:
        print_report(report, console)
    write_files(report, console, json, junit, html)
    raise typer.Exit(report.exit_status)


def compare_command(
    first: Annotated[Path, typer.Argument(help="The earlier report.")],
    second: Annotated[Path, typer.Argument(help="The later one.")],
) -> None:
    """Show what changed between two reports: verdicts, models, ratios beyond chance, cases.

    Exit status: 0 if nothing changed, 1 if something did, 2 if a file cannot be read.
    """
    console = wide_console()
    try:
        found = changes(read_report(first), read_report(second))
    except NotAReport as error:
        raise refusal(error) from None
    print_changes(found, console)
    raise typer.Exit(1 if found else 0)
