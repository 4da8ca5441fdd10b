"""The outcome of a check for a person (terminal) and for programs (JSON)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hopspec.clauses import load_clauses
from hopspec.properties.reporting.files import write_whole
from hopspec.properties.vectors.check import Outcome
from hopspec.properties.vectors.classes import BUG_CLASSES
from hopspec.properties.vectors.judge import Judgement, Verdict
from hopspec.properties.vectors.vector import Vector, compact

__all__ = ["as_json", "print_outcome", "write_json"]

# Broken answers shown in full, and messages shown.
SHOWN = 5
MESSAGES = 10


def _counts(outcome: Outcome, vectors: Sequence[Vector]) -> dict[str, Any]:
    judged = [outcome.judgements[v.id] for v in vectors if v.id in outcome.judgements]
    return {
        "vectors": len(vectors),
        "holds": sum(j.verdict is Verdict.HOLDS for j in judged),
        "broken": sum(j.verdict is Verdict.BROKEN for j in judged),
        "undecided": sum(j.verdict is Verdict.UNDECIDED for j in judged),
        "malformed": sum(v.id in outcome.malformed for v in vectors),
        "not_covered": len(vectors) - len(judged) - sum(v.id in outcome.malformed for v in vectors),
        "worst_ratio": max((j.ratio for j in judged), default=0.0),
    }


def _cell(outcome: Outcome, vectors: Sequence[Vector]) -> Text:
    if not vectors:
        return Text("-", style="dim")
    of = _counts(outcome, vectors)
    parts = []
    if of["broken"]:
        ratio = of["worst_ratio"]
        parts.append(f"BROKEN {of['broken']}" + ("" if math.isinf(ratio) else f" {ratio:.3g}x"))
    if of["undecided"]:
        parts.append(f"undecided {of['undecided']}")
    if of["malformed"]:
        parts.append(f"MALFORMED {of['malformed']}")
    if of["not_covered"]:
        parts.append(f"NOT COVERED {of['not_covered']}")
    if not parts:
        return Text(f"holds {of['holds']} {of['worst_ratio']:.2f}", style="green")
    return Text(f"{', '.join(parts)} of {of['vectors']}", style="bold red" if of["broken"] else "yellow")


def _formats(outcome: Outcome) -> list[str]:
    return list(dict.fromkeys(v.format.name for v in outcome.suite.vectors))


def _clauses(outcome: Outcome) -> list[str]:
    named = {c for v in outcome.suite.vectors for c in v.clauses}
    return [c for c in load_clauses() if c in named]


def _select(outcome: Outcome, *, clause: str = "", bug_class: str = "", fmt: str = "") -> list[Vector]:
    return [
        v
        for v in outcome.suite.vectors
        if (not clause or clause in v.clauses)
        and (not bug_class or v.bug_class == bug_class)
        and (not fmt or v.format.name == fmt)
    ]


def _table(outcome: Outcome) -> Table:
    table = Table(
        title="verdict, number of vectors, worst error/bound",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    table.add_column("clause", no_wrap=True)
    formats = _formats(outcome)
    for fmt in formats:
        table.add_column(fmt)
    known = load_clauses()
    for clause in _clauses(outcome):
        cells = [_cell(outcome, _select(outcome, clause=clause, fmt=fmt)) for fmt in formats]
        table.add_row(f"{clause} {known[clause].title}", *cells)
    return table


def _print_broken(console: Console, j: Judgement) -> None:
    v = j.vector
    at = f"[{', '.join(map(str, j.index))}]"
    size = "" if math.isinf(j.ratio) else f", {j.ratio:.3g} times that"
    console.print(f"[bold red]{v.id}[/]{at} ({v.bug_class}): {v.record['comment']}", highlight=False)
    console.print(
        f"  got {j.got}, expected {j.expected}; error {j.error:.3g}, allowed {j.bound:.3g}{size}",
        highlight=False,
        markup=False,
    )


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Print the models, the table, what is broken and why, and the closing line."""
    suite = outcome.suite
    models = {j.vector.format.name: j.model or "no model" for j in outcome.judgements.values()}
    judged = ", ".join(f"{fmt}: {model}" for fmt, model in models.items())
    console.print(
        f"{len(suite.vectors)} vectors of seed {suite.seed}; judged under {judged or 'nothing'}",
        highlight=False,
    )
    console.print(_table(outcome))
    broken = outcome.of(Verdict.BROKEN)
    for name, of in BUG_CLASSES.items():
        mine = [j for j in broken if j.vector.bug_class == name]
        if mine:
            total = sum(v.bug_class == name for v in suite.vectors)
            console.print(f"[bold red]{name}[/]: {len(mine)} of {total} broken. {of.what}", highlight=False)
    for j in sorted(broken, key=lambda j: -j.ratio)[:SHOWN]:
        _print_broken(console, j)
    for j in outcome.of(Verdict.UNDECIDED)[:MESSAGES]:
        console.print(f"[yellow]{j.vector.id}[/]: {j.reason}", highlight=False)
    for message in outcome.problems[:MESSAGES]:
        console.print(message, style="yellow", highlight=False, markup=False)
    if len(outcome.problems) > MESSAGES:
        console.print(f"and {len(outcome.problems) - MESSAGES} more such messages", highlight=False)
    missing = outcome.missing
    if missing:
        console.print(
            f"[yellow]NOT COVERED:[/] {len(missing)} vectors have no answer, the first is {missing[0].id}",
            highlight=False,
        )
    console.print(f"[bold]{_closing(outcome)}[/]", highlight=False)


def _closing(outcome: Outcome) -> str:
    of = _counts(outcome, outcome.suite.vectors)
    word = {0: "every answer holds", 1: "a clause is broken", 2: "not everything could be judged"}
    counts = ", ".join(
        f"{of[key]} {key.replace('_', ' ')}"
        for key in ("holds", "broken", "undecided", "malformed", "not_covered")
        if of[key]
    )
    return f"{counts or 'no vectors'}: {word[outcome.exit_status]}"


def _number(x: float) -> float | str:
    return x if math.isfinite(x) else repr(x)


def _row(outcome: Outcome, **selected: str) -> dict[str, Any]:
    counts = _counts(outcome, _select(outcome, **selected))
    counts["worst_ratio"] = _number(counts["worst_ratio"])
    return counts


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome as JSON-ready data; non-finite numbers are strings."""
    formats = _formats(outcome)
    return {
        "format": 1,
        "exit_status": outcome.exit_status,
        "header": outcome.suite.header,
        "clauses": [
            {"clause": c, "format": f, **_row(outcome, clause=c, fmt=f)}
            for c in _clauses(outcome)
            for f in formats
            if _select(outcome, clause=c, fmt=f)
        ],
        "bug_classes": [
            {"bug_class": b, "format": f, **_row(outcome, bug_class=b, fmt=f)}
            for b in BUG_CLASSES
            for f in formats
            if _select(outcome, bug_class=b, fmt=f)
        ],
        "answers": [
            {
                "id": j.vector.id,
                "verdict": j.verdict.value,
                "model": j.model,
                "ratio": _number(j.ratio),
                "index": list(j.index),
                "got": j.got,
                "expected": j.expected,
                "error": _number(j.error),
                "bound": _number(j.bound),
                "bits": j.bits,
                "correctly_rounded": j.equal,
                "reason": j.reason,
            }
            for j in outcome.judgements.values()
        ],
        "not_covered": [v.id for v in outcome.missing],
        "problems": outcome.problems,
    }


def write_json(outcome: Outcome, path: Path) -> None:
    """Write the outcome to ``path``, complete or not at all."""
    write_whole(path, compact(as_json(outcome)) + "\n")
