"""The report on the terminal, and the words it shares with the other forms."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hopspec.clauses import load_clauses
from hopspec.properties.checks import CHECKS
from hopspec.properties.decision import PRECISIONS
from hopspec.properties.digits import CORRUPTIONS
from hopspec.properties.models import MEASURED_ON
from hopspec.properties.reporting.reproduction import announced, snippet
from hopspec.properties.results import Cell, Failure, Report, Verdict, failing_size
from hopspec.properties.trials import TRIALS

__all__ = [
    "STYLES",
    "ending",
    "explained",
    "first_failures",
    "likeness",
    "print_report",
    "shape_of",
]

DIGIT_CHECKS = {c.name for c in CHECKS if c.family == "digits"}
# Narrower terminals show the ids of the clauses only.
TITLES_FROM = 125
STYLES = {
    Verdict.HOLDS: "green",
    Verdict.BROKEN: "bold red",
    Verdict.EXPECTED: "yellow",
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
    if verdict in (Verdict.BROKEN, Verdict.EXPECTED):
        failures = [c.failure for c in claimed if c.failure is not None]
        worst = max(f.ratio for f in failures)
        kind = "" if failures[0].kind == "bound" else failures[0].kind
        size = kind if math.isinf(worst) else f"{worst:.3g}x"
        return Text(f"{verdict.value} {sum(c.broken for c in claimed)}/{cases} {size}".strip(), style=style)
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


def shape_of(failure: Failure) -> str:
    """The size of the failing problem, in words."""
    p = failure.problem
    if failure.check in TRIALS:
        return f"draw {p.steps} of seed {p.seed}"
    (count, d), n = p.query.shape, p.memory.shape[0]
    queries, memories = "query" if count == 1 else "queries", "memory" if n == 1 else "memories"
    return f"{count} {queries}, {n} {memories}, width {d}, beta {p.beta!r}"


def explained(failure: Failure) -> list[str]:
    """What is wrong, line by line."""
    if failure.kind != "bound":
        return [f"{failure.kind}: {failure.what}"]
    times = "" if math.isinf(failure.ratio) else f" ({failure.ratio:.3g} times the bound)"
    return [
        f"{failure.what}: got {failure.got}, expected {failure.expected}",
        f"allowed error {failure.bound:.3g}{times}",
    ]


def first_failures(report: Report) -> Iterator[tuple[Cell, Failure]]:
    """The failure on the smallest problem, for each clause and implementation that broke it."""
    for clause in _ordered(report):
        broken = [c for c in report.broken if c.clause == clause]
        for name in dict.fromkeys(c.implementation for c in broken):
            cell = min((c for c in broken if c.implementation == name), key=failing_size)
            if cell.failure is not None:
                yield cell, cell.failure


def _print_failure(console: Console, report: Report, cell: Cell, failure: Failure) -> None:
    title = load_clauses()[cell.clause].title
    console.print(f"[bold red]{cell.clause}[/] {title}: {cell.implementation}, {cell.dtype} ({cell.check})")
    console.print(f"  smallest input found: {shape_of(failure)}", highlight=False)
    for line in explained(failure):
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    code = snippet(report, cell, failure)
    console.print(f"  {announced(cell) if code else 'the inputs are long: --json writes them down'}")
    for line in code.splitlines():
        console.print(f"    {line}", highlight=False, markup=False, soft_wrap=True)


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


def likeness(report: Report, name: str, dtype: str) -> str:
    """What an implementation behaves like, and how much too loose its claim is."""
    like, claim = report.behaves_like(name, dtype), report.claim(name, dtype)
    if not claim.too_loose:
        return like
    return (
        f"{like}, whose bounds are {claim.tighter:.3g} times smaller "
        f"(worst error/bound {claim.worst:.2g}, there {claim.like_worst:.2g})"
    )


def ending(report: Report) -> str:
    """How a run ended, in words.

    >>> ending(Report(settings={}, complaints=["expected.toml, line 1 (MHN-BND-2) has expired"]))
    'an expected failure is not as it was expected'
    """
    if report.exit_status == 0:
        return "nothing failed"
    if report.exit_status == 2:
        return "the run could not be completed"
    if report.broken:
        return "a clause is broken"
    if report.complaints:
        return "an expected failure is not as it was expected"
    return "a clause was given too few cases"


def print_report(report: Report, console: Console) -> None:
    """Print models, table, failures and the closing line."""
    for name, models in report.models.items():
        environment = ", ".join(f"{k} {v}" for k, v in report.environments[name].items())
        console.print(f"[bold]{name}[/] ({environment})")
        for dtype, model in models.items():
            console.print(
                f"  {dtype}: judged under {model}; behaves like {likeness(report, name, dtype)}",
                highlight=False,
            )
        _print_other_machine(console, report.environments[name])
    if report.cells:
        console.print(_table(report, console.width))
        _print_real_data(console, report)
    for cell, failure in first_failures(report):
        _print_failure(console, report, cell, failure)
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
    for complaint in report.complaints:
        console.print(f"[red]{escape(complaint)}[/]", highlight=False, soft_wrap=True)
    for name, reason in report.unusable.items():
        console.print(
            f"[bold red]{name} could not be verified:[/] {escape(reason)}", highlight=False, soft_wrap=True
        )
    if report.interrupted:
        console.print("[yellow]interrupted: this is what was done until then[/]")
    cases = sum(c.cases for c in report.cells if not c.unclaimed)
    console.print(
        f"{cases} cases on {report.problems} problems in {report.seconds:.1f} s: [bold]{ending(report)}[/]",
        highlight=False,
    )
