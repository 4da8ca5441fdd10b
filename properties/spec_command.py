"""``hopspec spec``: the clauses and what each is tied to."""

from __future__ import annotations

import importlib

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from hopspec import lock
from hopspec.clauses import Clause, checkers_of, implementations_of, load_clauses

__all__ = ["acknowledge", "killers_of", "load_links", "show_clause", "show_table"]


def load_links() -> None:
    """Import everything that ties itself to a clause."""
    for name in ("hopspec.reference", "hopspec.properties.checks"):
        importlib.import_module(name)


def killers_of(clause_id: str) -> list[str]:
    """Names of the planted faults that a property of the clause is shown to kill."""
    from hopspec.properties.faults import FAULTS  # noqa: PLC0415  (needs PyTorch)
    from hopspec.properties.faults.constructions import CONSTRUCTION_FAULTS  # noqa: PLC0415

    properties = {name.rpartition(".")[2] for name in checkers_of(clause_id)}
    killed = {name: fault.killed_by for name, fault in FAULTS.items()}
    killed |= {name: fault.killed_by for name, fault in CONSTRUCTION_FAULTS.items()}
    return [name for name, by in killed.items() if properties & set(by)]


def _short(names: tuple[str, ...]) -> str:
    return "\n".join(n.rpartition(".")[2] for n in names) or "-"


def show_table(console: Console) -> None:
    """Print the table clause, reference, property, fault."""
    table = Table("clause", "kind", "reference", "property", "faults killed", pad_edge=False)
    for clause in load_clauses().values():
        killers = killers_of(clause.id)
        shown = ", ".join(killers[:3]) + (f" and {len(killers) - 3} more" if len(killers) > 3 else "")
        table.add_row(
            f"{clause.id}\n{clause.title}",
            clause.kind,
            _short(implementations_of(clause.id)),
            _short(checkers_of(clause.id)),
            shown or "-",
            end_section=True,
        )
    console.print(table)


def show_clause(console: Console, clause: Clause) -> None:
    """Print one clause and what it is tied to."""
    console.print(f"[bold]{clause.id} {clause.title}[/]  {clause.kind}, {clause.status} ({clause.chapter})")
    for label, text in (
        ("Statement", clause.statement),
        ("Domain", clause.domain),
        ("Source", clause.source),
        ("Why", clause.why),
    ):
        console.print(Markdown(f"**{label}.** {text}"))
    links = (
        ("reference", implementations_of(clause.id)),
        ("properties", checkers_of(clause.id)),
        ("faults killed", tuple(killers_of(clause.id))),
    )
    for label, names in links:
        console.print(f"{label}: {', '.join(names) or '-'}", highlight=False)


def acknowledge(console: Console, ids: list[str]) -> int:
    """Show how each clause differs from what was acknowledged last, and acknowledge it.

    Returns:
        Exit status: 0, or 2 if a clause does not exist.
    """
    known = load_clauses()
    unknown = [i for i in ids if i not in known]
    if unknown:
        console.print(f"[red]no clause {unknown[0]}[/]")
        return 2
    for clause_id in ids:
        difference = lock.acknowledge(clause_id)
        console.print(f"[bold]{clause_id}[/] acknowledged")
        console.print(difference or "  the text is unchanged", highlight=False, markup=False)
    return 0
