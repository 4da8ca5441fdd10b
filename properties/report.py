"""The report for a person (terminal) and for programs (JSON)."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hopspec.clauses import load_clauses
from hopspec.properties.checks import CHECKS
from hopspec.properties.decision import PRECISIONS
from hopspec.properties.digits import CORRUPTIONS
from hopspec.properties.models import MEASURED_ON
from hopspec.properties.results import Cell, Failure, Report, Verdict

__all__ = ["as_json", "print_report", "reproduction", "write_json"]

DIGIT_CHECKS = {c.name for c in CHECKS if c.family == "digits"}
REFERENCES = {
    "retrieve": ("update",),
    "log_normalizer": ("log_normalizer",),
    "energy": ("energy",),
    "association": ("association",),
    "evaluate": ("update", "log_normalizer", "energy"),
    "settle": ("settle",),
    "certify": ("certify",),
}
# Narrower terminals show the ids of the clauses only.
TITLES_FROM = 125
STYLES = {
    Verdict.HOLDS: "green",
    Verdict.BROKEN: "bold red",
    Verdict.TOO_FEW: "red",
    Verdict.NOT_CLAIMED: "dim",
    Verdict.NOT_REACHED: "yellow",
}


def _ordered(report: Report) -> list[str]:
    there = {c.clause for c in report.cells}
    return [i for i in load_clauses() if i in there]


def _cell_text(cells: list[Cell], verdict: Verdict) -> Text:
    if not cells:
        return Text("-", style="dim")
    claimed = [c for c in cells if not c.unclaimed]
    style = STYLES[verdict]
    if verdict is Verdict.NOT_CLAIMED:
        cases, broken = sum(c.cases for c in cells), sum(c.broken for c in cells)
        seen = "" if not cases else f"broke {broken}/{cases}" if broken else f"held {cases}/{cases}"
        return Text(f"not claimed {seen}".strip(), style=style)
    cases = sum(c.cases for c in claimed)
    if verdict is Verdict.BROKEN:
        failures = [c.failure for c in claimed if c.failure is not None]
        worst = max(f.ratio for f in failures)
        kind = "" if failures[0].kind == "bound" else failures[0].kind
        size = kind if math.isinf(worst) else f"{worst:.3g}x"
        return Text(f"BROKEN {sum(c.broken for c in claimed)}/{cases} {size}".strip(), style=style)
    return Text(f"{verdict.value} {cases} {max(c.worst for c in claimed):.2f}", style=style)


def _table(report: Report, width: int) -> Table:
    clauses = load_clauses()
    titles = width >= TITLES_FROM
    dtypes = list(dict.fromkeys(c.dtype for c in report.cells))
    names = list(dict.fromkeys(c.implementation for c in report.cells))
    heading = "verdict, number of cases, worst error/bound"
    table = Table(
        title=heading,
        title_justify="left",
        pad_edge=False,
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("clause", no_wrap=True)
    table.add_column("implementation" if titles else "under test", overflow="fold", min_width=10)
    for dtype in dtypes:
        table.add_column(dtype, min_width=12)
    for clause in _ordered(report):
        for k, name in enumerate(names):
            rows = [
                _cell_text(report.of(clause, name, dtype), report.verdict(clause, name, dtype))
                for dtype in dtypes
            ]
            label = f"{clause} {clauses[clause].title}" if titles else clause
            table.add_row(label if k == 0 else "", name, *rows)
    return table


def _literal(rows: object) -> str:
    """Python source of nested lists of numbers; ``repr`` of a float gives it back exactly."""
    return re.sub(r"\b(nan|inf)\b", r"float('\1')", repr(rows))


def reproduction(cell: Cell, failure: Failure, target: str, device: str = "cpu") -> str:
    """Python that makes the failing call and the exact one, every number exact."""
    p = failure.problem
    wanted = load_clauses()[cell.clause].quantities
    quantity = next((q for q in wanted if q in REFERENCES), "retrieve")
    lines = [
        "import torch, hopspec.reference",
        "from hopspec.properties.session import resolve",
        f"put = dict(dtype=torch.{cell.dtype}, device={device!r})",
        f"query = torch.tensor({_literal(p.query.tolist())}, dtype=torch.float64).to(**put)",
        f"memory = torch.tensor({_literal(p.memory.tolist())}, dtype=torch.float64).to(**put)",
    ]
    extra = f"beta={p.beta!r}"
    if p.keep is not None:
        lines.append(f"keep = torch.tensor({p.keep.tolist()!r}, device={device!r})")
        extra += ", keep=keep"
    if quantity == "settle":
        extra += f", eps={p.eps!r}, max_steps={p.max_steps}"
    reading = ""
    if p.values is not None:
        lines.append(f"values = torch.tensor({_literal(p.values.tolist())}, dtype=torch.float64).to(**put)")
        reading = ", values=values"
    lines.append(f"print(resolve({target!r}).{quantity}(query, memory, {extra}{reading}))")
    for name in REFERENCES[quantity]:
        taken = reading if name == "update" else ""
        lines.append(f"print(hopspec.reference.{name}(query, memory, {extra}{taken}))")
    return "\n".join(lines)


def _print_failure(console: Console, report: Report, cell: Cell) -> None:
    failure = cell.failure
    assert failure is not None
    clause = load_clauses()[cell.clause]
    p = failure.problem
    console.print(
        f"[bold red]{cell.clause}[/] {clause.title}: {cell.implementation}, {cell.dtype} ({cell.check})"
    )
    (count, d), n = p.query.shape, p.memory.shape[0]
    queries, memories = "query" if count == 1 else "queries", "memory" if n == 1 else "memories"
    shape = f"{count} {queries}, {n} {memories}, width {d}, beta {p.beta!r}"
    console.print(f"  smallest input found: {shape}", highlight=False)
    if failure.kind == "bound":
        times = "" if math.isinf(failure.ratio) else f" ({failure.ratio:.3g} times the bound)"
        console.print(
            f"  {failure.what}: got {failure.got}, expected {failure.expected}", highlight=False, markup=False
        )
        console.print(f"  allowed error {failure.bound:.3g}{times}", highlight=False)
    else:
        console.print(f"  {failure.kind}: {failure.what}", highlight=False, markup=False)
    target = report.targets[cell.implementation]
    if p.query.size + p.memory.size <= 64:
        console.print("  to reproduce:")
        for line in reproduction(cell, failure, target, report.settings["device"]).splitlines():
            console.print(f"    {line}", highlight=False, markup=False, soft_wrap=True)
    else:
        console.print("  the inputs are in the JSON report")


def _print_other_machine(console: Console, environment: dict[str, str]) -> None:
    for key, measured in MEASURED_ON.items():
        here = environment.get(key)
        if here is not None and not here.startswith(measured):
            console.print(
                f"  [yellow]the models' exp constants were measured on {key} {measured}, this is {here}[/]"
            )


def _print_real_data(console: Console, report: Report) -> None:
    cells = [c for c in report.cells if c.check in DIGIT_CHECKS and not c.unclaimed]
    for name in dict.fromkeys(c.implementation for c in cells):
        own = [c for c in cells if c.implementation == name]
        counts = {how: report.regimes[how] for how in CORRUPTIONS}
        drawn = ", ".join(f"{count} {how}" for how, count in counts.items())
        console.print(
            f"handwritten digits, {name}: {sum(c.cases for c in own)} cases ({drawn}), "
            f"worst error/bound {max(c.worst for c in own):.2g}, {sum(c.broken for c in own)} broken",
            highlight=False,
        )


def print_report(report: Report, console: Console) -> None:
    """Print models, table, failures and the closing line."""
    for name, models in report.models.items():
        environment = ", ".join(f"{k} {v}" for k, v in report.environments[name].items())
        console.print(f"[bold]{name}[/] ({environment})")
        for dtype, model in models.items():
            like = report.behaves_like(name, dtype)
            console.print(f"  {dtype}: judged under {model}; behaves like {like}", highlight=False)
        _print_other_machine(console, report.environments[name])
    if report.cells:
        console.print(_table(report, console.width))
        _print_real_data(console, report)
    shown: set[tuple[str, str]] = set()
    for cell in report.broken:
        if (cell.clause, cell.implementation) not in shown:
            shown.add((cell.clause, cell.implementation))
            _print_failure(console, report, cell)
    for cell in report.cells:
        if (
            report.verdict(cell.clause, cell.implementation, cell.dtype) is Verdict.TOO_FEW
            and cell.cases < cell.needed
        ):
            console.print(
                f"[red]{cell.clause} {cell.implementation} {cell.dtype}: {cell.check} was given "
                f"{cell.cases} cases of the {cell.needed} it needs[/]"
            )
    undecided = sum(c.undecided for c in report.cells)
    if undecided:
        console.print(
            f"[yellow]{undecided} cases undecided: {PRECISIONS[-1]} bits of the exact value do not tell "
            "whether the bound holds; they count as neither[/]"
        )
    for name, reason in report.unusable.items():
        console.print(f"[bold red]{name} could not be verified:[/] {reason}", highlight=False)
    if report.interrupted:
        console.print("[yellow]interrupted: this is what was done until then[/]")
    cases = sum(c.cases for c in report.cells if not c.unclaimed)
    word = {0: "nothing failed", 1: "a clause is broken", 2: "the run could not be completed"}[
        report.exit_status
    ]
    console.print(
        f"{cases} cases on {report.problems} problems in {report.seconds:.1f} s: [bold]{word}[/]",
        highlight=False,
    )


def _number(x: float) -> float | str:
    return x if math.isfinite(x) else repr(x)


def _failure_json(failure: Failure) -> dict[str, Any]:
    return {
        "property": failure.check,
        "kind": failure.kind,
        "what": failure.what,
        "got": failure.got,
        "expected": failure.expected,
        "bound": _number(failure.bound),
        "ratio": _number(failure.ratio),
        "problem": failure.problem.as_dict(),
    }


def as_json(report: Report) -> dict[str, Any]:
    """The report as JSON-ready data; non-finite numbers are strings."""
    cells = [
        {
            "clause": c.clause,
            "property": c.check,
            "implementation": c.implementation,
            "dtype": c.dtype,
            "verdict": c.verdict.value,
            "unclaimed": c.unclaimed,
            "cases": c.cases,
            "comparisons": c.compared,
            "outside_domain": c.outside,
            "undecided": c.undecided,
            "worst_ratio": _number(c.worst),
            "broken": c.broken,
            "failure": None if c.failure is None else _failure_json(c.failure),
        }
        for c in report.cells
    ]
    settings = {k: list(v) if isinstance(v, tuple) else v for k, v in report.settings.items()}
    return {
        "format": 1,
        "exit_status": report.exit_status,
        "interrupted": report.interrupted,
        "seconds": report.seconds,
        "problems": report.problems,
        "settings": settings,
        "environments": report.environments,
        "models": report.models,
        "behaves_like": {n: {d: report.behaves_like(n, d) for d in ds} for n, ds in report.models.items()},
        "unusable": report.unusable,
        "regimes": dict(report.regimes),
        "cells": cells,
    }


def write_json(report: Report, path: Path) -> None:
    """Write the report to ``path``, complete or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(as_json(report), indent=1, allow_nan=False) + "\n")
    partial.replace(path)
