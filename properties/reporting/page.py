"""A report as one page that needs nothing else: no network, no other file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hopspec
from hopspec.clauses import Clause, checkers_of, implementations_of, load_clauses
from hopspec.properties.report import ending, explained, first_failures, likeness, shape_of
from hopspec.properties.reporting.encoding import ranges
from hopspec.properties.reporting.files import write_whole
from hopspec.properties.reporting.plots import SERIES, descent_plot, scatter_plot, tightness_plot
from hopspec.properties.reporting.reproduction import announced, snippet
from hopspec.properties.results import WORST_FIRST, Cell, Point, Report, Verdict

__all__ = ["as_page", "write_page"]

# A sign beside the word, and a class for the colour.
SIGNS = {
    Verdict.HOLDS: ("✓", "holds"),
    Verdict.BROKEN: ("✗", "broken"),
    Verdict.TOO_FEW: ("✗", "broken"),
    Verdict.EXPECTED: ("!", "expected"),
    Verdict.NOT_CLAIMED: ("–", "unclaimed"),
    Verdict.NOT_REACHED: ("?", "expected"),
}
MEASURED = {
    "MHN-BND-2": ("update", "largest entry"),
    "MHN-BND-3": ("log-normalizer", ""),
    "MHN-BND-4": ("energy", "largest possible one"),
}
# Marks of all scatter plots together; more would make the page too large to be sent by mail.
MARKS = 16_000


@dataclass(frozen=True)
class Row:
    """A line of the table of verdicts."""

    clause: str
    title: str
    implementation: str
    dtype: str
    verdict: Verdict
    cases: int
    broken: int
    worst: float
    note: str

    @property
    def sign(self) -> str:
        """A sign that says the same without colour."""
        return SIGNS[self.verdict][0]

    @property
    def style(self) -> str:
        """Class of its colour."""
        return SIGNS[self.verdict][1]

    @property
    def ratio(self) -> str:
        """The worst error over bound, short."""
        return "" if not self.cases else "∞" if math.isinf(self.worst) else f"{self.worst:.2g}"


def write_page(report: Report, path: Path) -> None:
    """Write the page to ``path``, complete or not at all."""
    write_whole(path, as_page(report))


def as_page(report: Report) -> str:
    """The report as an HTML document.

    Needs jinja2 and matplotlib, and PyTorch for the names of the faults.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape  # noqa: PLC0415

    environment = Environment(
        loader=PackageLoader("hopspec.properties.reporting", "."),
        autoescape=select_autoescape(["html", "jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows = _rows(report)
    return environment.get_template("page.html.jinja").render(
        report=report,
        version=hopspec.__version__,
        end=ending(report).capitalize(),
        rows=rows,
        summaries=[_summary(report, rows, name) for name in report.models],
        counterexamples=list(_counterexamples(report)),
        tightness=list(_tightness(report)),
        scatters=list(_scatters(report)),
        descents=list(_descents(report)),
        traces=_traceability(),
        facts=_facts(report),
        regimes=sorted(report.regimes.items(), key=lambda item: (-item[1], item[0])),
        cases=sum(c.cases for c in report.cells if not c.unclaimed),
        undecided=sum(c.undecided for c in report.cells),
    )


def _rows(report: Report) -> list[Row]:
    """One row for each clause, implementation and dtype; what is wrong comes first."""
    rows = []
    for clause in load_clauses().values():
        for name in report.models:
            for dtype in report.columns(name):
                cells = report.of(clause.id, name, dtype)
                if cells:
                    verdict = report.verdict(clause.id, name, dtype)
                    rows.append(_row(clause, name, dtype, verdict, cells))
    return sorted(rows, key=lambda row: WORST_FIRST.index(row.verdict))


def _row(clause: Clause, name: str, dtype: str, verdict: Verdict, cells: list[Cell]) -> Row:
    seen = cells if verdict is Verdict.NOT_CLAIMED else [c for c in cells if not c.unclaimed]
    failures = [c.failure for c in seen if c.failure is not None]
    cases, broken = sum(c.cases for c in seen), sum(c.broken for c in seen)
    note = ""
    if verdict is Verdict.NOT_CLAIMED:
        observed = f"; seen to {'break' if broken else 'hold'}" if cases else ""
        note = "lacks " + ", ".join(dict.fromkeys(c.unclaimed for c in cells)) + observed
    elif broken:
        kinds = [f.kind for f in failures if f.kind != "bound"]
        reasons = [c.expected for c in seen if c.expected]
        note = ", ".join([f"{broken} of {cases} cases", *dict.fromkeys([*kinds, *reasons])])
    elif verdict is Verdict.TOO_FEW:
        note = ", ".join(f"{c.check}: {c.cases} of {c.needed} cases" for c in seen if c.cases < c.needed)
    worst = max([c.worst for c in seen] + [f.ratio for f in failures])
    return Row(clause.id, clause.title, name, dtype, verdict, cases, broken, worst, note)


def _summary(report: Report, rows: list[Row], name: str) -> dict[str, Any]:
    """What is to be known of one implementation at once."""
    own = [row for row in rows if row.implementation == name]
    claimed = [row for row in own if row.verdict is not Verdict.NOT_CLAIMED]
    verdicts = {row.verdict for row in claimed}
    worst = max(claimed, key=lambda row: row.worst, default=None)
    clauses = {row.clause for row in claimed}
    verdict = next((v for v in WORST_FIRST if v in verdicts), Verdict.NOT_CLAIMED)
    return {
        "name": name,
        "sign": SIGNS[verdict][0],
        "style": SIGNS[verdict][1],
        "verdict": verdict.value,
        "held": len(clauses - {row.clause for row in claimed if row.verdict is not Verdict.HOLDS}),
        "claimed": len(clauses),
        "cases": sum(row.cases for row in claimed),
        "worst": worst,
        "broken": list(dict.fromkeys((r.clause, r.title) for r in claimed if r.style == "broken")),
        "models": [(d, m, likeness(report, name, d)) for d, m in report.models[name].items()],
        "environment": report.environments.get(name, {}),
    }


def _counterexamples(report: Report) -> Iterator[dict[str, Any]]:
    for cell, failure in first_failures(report):
        others: dict[str, list[str]] = {}
        for c in report.broken:
            if c is not cell and (c.clause, c.implementation) == (cell.clause, cell.implementation):
                others.setdefault(c.check, []).append(c.dtype)
        clause = load_clauses()[cell.clause]
        yield {
            "id": f"{cell.clause}-{cell.implementation}",
            "cell": cell,
            "title": clause.title,
            "statement": clause.statement,
            "lines": explained(failure),
            "shape": shape_of(failure),
            "others": [f"{check} ({', '.join(dtypes)})" for check, dtypes in others.items()],
            "announced": announced(cell),
            "snippet": snippet(report, cell, failure),
        }


def _tightness(report: Report) -> Iterator[dict[str, Any]]:
    order = list(load_clauses())
    cells = sorted((c for c in report.cells if not c.unclaimed), key=lambda c: order.index(c.clause))
    for name in report.models:
        figures = []
        for dtype in report.columns(name):
            own = [c for c in cells if (c.implementation, c.dtype) == (name, dtype)]
            drawing = tightness_plot(own)
            if drawing:
                figures.append({"title": dtype, "svg": drawing, "text": _tightness_text(own)})
        if figures:
            yield {"title": name, "figures": figures}


def _tightness_text(cells: list[Cell]) -> str:
    worst = max(cells, key=lambda c: c.worst)
    count = len({c.clause for c in cells if c.cases})
    return (
        f"Distribution of error over bound for {count} clauses in {worst.dtype}; "
        f"the largest that holds is {worst.worst:.2g}, of {worst.clause}."
    )


def _scatters(report: Report) -> Iterator[dict[str, Any]]:
    groups: dict[tuple[str, str], dict[str, list[Point]]] = {}
    for cell in report.cells:
        if cell.points and cell.clause in MEASURED and not cell.unclaimed:
            by_dtype = groups.setdefault((cell.implementation, cell.clause), {})
            by_dtype.setdefault(cell.dtype, []).extend(cell.points)
    panels = 2 * sum(len(by_dtype) for by_dtype in groups.values())
    most = max(MARKS // (2 * max(panels, 1)), 20)
    for (name, clause), by_dtype in groups.items():
        quantity, unit = MEASURED[clause]
        figures = []
        for dtype, points in by_dtype.items():
            kept = points[:: -(-len(points) // most)]
            for against, word in (("n", "N"), ("beta", "beta")):
                drawing = scatter_plot(kept, against, unit)
                if drawing:
                    text = _scatter_text(quantity, dtype, word, kept)
                    figures.append({"title": f"{dtype}, against {word}", "svg": drawing, "text": text})
        if figures:
            yield {
                "title": f"{name}: {quantity} ({clause})",
                "figures": figures,
                "open": clause == "MHN-BND-2",
            }


def _scatter_text(quantity: str, dtype: str, word: str, points: list[Point]) -> str:
    largest = max(p.error / p.bound for p in points)
    return (
        f"Error of the {quantity} in {dtype} and its proved bound against {word} in {len(points)} cases; "
        f"the largest error is {largest:.2g} of its bound."
    )


def _descents(report: Report) -> Iterator[dict[str, Any]]:
    for name, models in report.models.items():
        figures = []
        for dtype in models:
            own = [d for d in report.descents if (d.implementation, d.dtype) == (name, dtype)][: len(SERIES)]
            if own:
                problems = "; ".join(d.problem for d in own)
                figures.append(
                    {"title": dtype, "svg": descent_plot(own), "text": f"Energy along {problems}."}
                )
        if figures:
            yield {"title": name, "figures": figures}


def _traceability() -> list[dict[str, Any]]:
    from hopspec.properties.spec_command import killers_of, load_links  # noqa: PLC0415  (needs PyTorch)

    load_links()
    return [
        {
            "clause": clause,
            "references": [_short(name) for name in implementations_of(clause.id)],
            "properties": [_short(name) for name in checkers_of(clause.id)],
            "faults": killers_of(clause.id),
        }
        for clause in load_clauses().values()
    ]


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _facts(report: Report) -> list[tuple[str, str]]:
    """The settings in words; what was not set is left out."""
    seeds = sorted({seed for cell in report.cells for seed in cell.seeds})
    facts = [("seeds", ranges(seeds))] if seeds else []
    for name, value in report.settings.items():
        if name in ("seed", "seeds") or value in (None, "", (), False):
            continue
        facts.append((name.replace("_", " "), ", ".join(value) if isinstance(value, tuple) else str(value)))
    return facts
