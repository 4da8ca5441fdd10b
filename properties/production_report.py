"""The report of a run at production sizes, for a person and for programs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hopspec.clauses import load_clauses
from hopspec.properties.production_results import AtSize, SizeCell
from hopspec.properties.report import STYLES
from hopspec.properties.reporting.encoding import as_json, number
from hopspec.properties.reporting.files import write_whole
from hopspec.properties.results import Verdict

__all__ = ["as_json_at", "print_at", "reproduction_at", "write_json_at"]

SOLVED = {"retrieve": "state", "log_normalizer": "log_normalizer", "energy": "energy"}


def reproduction_at(cell: SizeCell, target: str, device: str) -> str:
    """Python that draws the problem again, makes the failing call and prints the row beside the exact one."""
    failure = cell.failure
    row = 0 if failure is None else max(failure.row, 0)
    settings = "".join(f", {name}={value!r}" for name, value in cell.settings.items())
    return "\n".join(
        [
            "from hopspec.properties.calls import Call",
            "from hopspec.properties.production_problem import draw, parse_size",
            "from hopspec.properties.session import Session",
            "from hopspec.reference.production import solve_large",
            f"p = draw(parse_size({cell.size!r}), {cell.dtype!r}{settings})",
            f"call = Call({cell.quantity!r}, {cell.dtype!r}, p.arrays, {{'beta': p.beta}})",
            f"answer = Session({target!r}, {device!r}).answer(call)",
            f"print(answer.error or answer.arrays[0][{row}])",
            f"exact = solve_large(p.query[[{row}]], p.memory, beta=p.beta, keep=p.keep, values=p.values)",
            f"print(exact.{SOLVED[cell.quantity]}.hi[0])",
        ]
    )


def _verdict_text(cell: SizeCell) -> Text:
    verdict, failure = cell.verdict, cell.failure
    if failure is not None and failure.kind != "bound":
        return Text(f"BROKEN {failure.kind}", style=STYLES[Verdict.BROKEN])
    if failure is not None:
        return Text(f"BROKEN {cell.broken}/{cell.queries}", style=STYLES[Verdict.BROKEN])
    if verdict is Verdict.NOT_REACHED:
        why = (
            f"undecided {cell.undecided}" if cell.undecided else "outside the domain" if cell.outside else ""
        )
        return Text(why or verdict.value, style=STYLES[verdict])
    return Text(f"{verdict.value} {cell.queries}", style=STYLES[verdict])


def _table(outcome: AtSize) -> Table:
    table = Table(
        title="verdict and number of queries; worst error/bound; median of bound/error over the queries",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for heading in ("clause", "of", "implementation", "dtype", "size", "problem", "verdict"):
        table.add_column(heading, no_wrap=heading == "clause", overflow="fold")
    for heading in ("worst", "loose", "seconds"):
        table.add_column(heading, justify="right")
    for cell in outcome.cells:
        table.add_row(
            cell.clause,
            cell.quantity,
            cell.implementation,
            cell.dtype,
            cell.size,
            cell.problem,
            _verdict_text(cell),
            f"{cell.worst:.2g}",
            "-" if math.isnan(cell.looseness) else f"{cell.looseness:.3g}",
            f"{cell.seconds:.1f}",
        )
    return table


def _print_failure(console: Console, outcome: AtSize, cell: SizeCell) -> None:
    failure = cell.failure
    assert failure is not None
    title = load_clauses()[cell.clause].title
    where = f"{cell.implementation}, {cell.dtype}, {cell.size}, {cell.problem}"
    console.print(f"[bold red]{cell.clause}[/] {title}: {where}", highlight=False)
    if failure.kind == "bound":
        console.print(
            f"  {failure.what} ({failure.regime}): got {failure.got}, expected {failure.expected}, "
            f"allowed error {failure.bound:.3g}; {cell.broken} of {cell.queries} queries are wrong",
            highlight=False,
            markup=False,
        )
    else:
        console.print(f"  {failure.kind}: {failure.what}", highlight=False, markup=False)
    console.print("  to reproduce:")
    target = outcome.report.targets[cell.implementation]
    for line in reproduction_at(cell, target, outcome.report.settings["device"]).splitlines():
        console.print(f"    {line}", highlight=False, markup=False, soft_wrap=True)


def print_at(outcome: AtSize, console: Console) -> None:
    """Print models, table, failures and the closing line."""
    report = outcome.report
    for name, models in report.models.items():
        environment = ", ".join(f"{k} {v}" for k, v in report.environments[name].items())
        judged = ", ".join(f"{dtype}: {model}" for dtype, model in models.items())
        console.print(f"[bold]{name}[/] ({environment}); judged under {judged}", highlight=False)
    if outcome.cells:
        console.print(_table(outcome))
    shown: set[tuple[str, str, str]] = set()
    for cell in outcome.cells:
        at = (cell.clause, cell.implementation, cell.dtype)
        if cell.failure is not None and at not in shown:
            shown.add(at)
            _print_failure(console, outcome, cell)
    for name, reason in report.unusable.items():
        why = escape(reason)
        console.print(f"[bold red]{name} could not be verified:[/] {why}", highlight=False)
    if report.interrupted:
        console.print("[yellow]interrupted: this is what was done until then[/]")
    word = {0: "nothing failed", 1: "a clause is broken", 2: "not everything could be decided"}
    console.print(
        f"exact values took {outcome.oracle_seconds:.1f} s of {report.seconds:.1f} s, their largest radius "
        f"is {outcome.radius:.1e} of the largest value: [bold]{word[outcome.exit_status]}[/]",
        highlight=False,
    )


def _cell_json(cell: SizeCell) -> dict[str, Any]:
    record = {name: getattr(cell, name) for name in SizeCell.__dataclass_fields__ if name != "failure"}
    record |= {
        "verdict": cell.verdict.value,
        "worst": number(cell.worst),
        "looseness": number(cell.looseness),
    }
    failure = cell.failure
    record["failure"] = None
    if failure is not None:
        record["failure"] = {n: getattr(failure, n) for n in type(failure).__dataclass_fields__}
        record["failure"]["bound"] = number(failure.bound)
    return record


def as_json_at(outcome: AtSize) -> dict[str, Any]:
    """The report as JSON-ready data, laid out as by :func:`hopspec.properties.reporting.encoding.as_json`."""
    data = as_json(outcome.report)
    # No built-in model has been tried at these sizes.
    del data["behaves_like"]
    data["exit_status"] = outcome.exit_status
    data["at"] = {
        "oracle_seconds": outcome.oracle_seconds,
        "largest_radius": number(outcome.radius),
        "cells": [_cell_json(cell) for cell in outcome.cells],
    }
    return data


def write_json_at(outcome: AtSize, path: Path) -> None:
    """Write the report to ``path``, complete or not at all."""
    write_whole(path, json.dumps(as_json_at(outcome), indent=1, allow_nan=False) + "\n")
