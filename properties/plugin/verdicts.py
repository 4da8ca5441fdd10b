"""What an item says of a clause, in words and as properties of its report."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hopspec.clauses import load_clauses
from hopspec.properties.report import explained, shape_of
from hopspec.properties.reporting.reproduction import announced, snippet
from hopspec.properties.results import Cell, Report, Verdict
from hopspec.properties.witnesses import MODEL_WITNESSES

__all__ = ["PREFIX", "broken", "observed", "outline", "too_few"]

PREFIX = "hopspec_"


def broken(report: Report, cells: Sequence[Cell]) -> str:
    """How a clause is broken: its title, the smallest input found, the numbers, and code that shows it."""
    failing = [(c, c.failure) for c in cells if c.failure is not None and not c.unclaimed]
    cell, failure = min(failing, key=lambda pair: pair[1].problem.size)
    if failure.kind == "bound":
        what = "breaks" if math.isinf(failure.ratio) else f"{failure.ratio:.3g} times the error allowed by"
    else:
        what = f"{failure.kind}, judged by"
    lines = [
        f"{what} {cell.clause} {load_clauses()[cell.clause].title}, {cell.dtype}",
        f"  property {cell.check}, broken in {cell.broken} of {cell.cases} cases",
        f"  smallest input found: {shape_of(failure)}",
        *(f"  {line}" for line in explained(failure)),
    ]
    code = snippet(report, cell, failure)
    if code:
        lines += [f"  {announced(cell)}", *(f"    {line}" for line in code.splitlines())]
    else:
        lines.append(f"  to see the inputs: {_command(report, cell)}")
    return "\n".join(lines)


def _command(report: Report, cell: Cell) -> str:
    """The command that judges the clause again and writes the inputs down."""
    settings, target = report.settings, report.targets[cell.implementation]
    words = ["hopspec verify", target, "--clause", cell.clause, "--dtype", cell.dtype]
    words += ["--profile", settings["profile"], "--seed", str(settings["seed"]), "--json report.json"]
    return " ".join(words)


def observed(cells: Sequence[Cell]) -> str:
    """Why a clause is not judged, and what it would have come to."""
    # The clause would be judged if one of its properties could be.
    missing = min((c.unclaimed for c in cells if c.unclaimed), key=len)
    cases, failed = sum(c.cases for c in cells), sum(c.broken for c in cells)
    if not cases:
        return f"not claimed: {missing}"
    seen = f"broken in {failed} of {cases} cases" if failed else f"held in {cases} cases"
    return f"not claimed: {missing}; observed: {seen}"


def too_few(cells: Sequence[Cell]) -> str:
    """Which properties were given too few cases."""
    lacking = [c for c in cells if c.verdict is Verdict.TOO_FEW]
    given = [f"{c.check} was given {c.cases} of the {c.needed} cases it needs" for c in lacking]
    return f"{cells[0].clause} {load_clauses()[cells[0].clause].title}, {cells[0].dtype}: " + "; ".join(given)


def outline(report: Report, clause: str, name: str, dtype: str) -> list[tuple[str, object]]:
    """The outcome as properties, which JUnit and processes of pytest pass on."""
    cells = report.of(clause, name, dtype)
    judged = [c for c in cells if not c.unclaimed]
    environment = report.environments[name]
    found = {
        "implementation": name,
        "clause": clause,
        "dtype": dtype,
        "verdict": report.verdict(clause, name, dtype).value,
        "cases": sum(c.cases for c in judged),
        "model": report.models[name].get(dtype, ""),
        "seed": report.settings["seed"],
        "profile": report.settings["profile"],
        "environment": ", ".join(f"{key} {value}" for key, value in environment.items()),
    }
    if judged:
        ratios = [c.failure.ratio if c.failure is not None else c.worst for c in judged]
        found["worst_error_over_bound"] = f"{max(ratios):.3g}"
    if found["verdict"] == Verdict.HOLDS.value and any(c.check in MODEL_WITNESSES for c in judged):
        found["behaves_like"] = report.behaves_like(name, dtype)
    return [(f"{PREFIX}{key}", value) for key, value in found.items()]
