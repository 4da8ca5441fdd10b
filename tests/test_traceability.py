"""Every clause leads to a reference or a property, every property to a fault, and the commands show it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hopspec.clauses import Clause, checkers_of, implementations_of, load_clauses
from hopspec.properties.spec_command import acknowledge, killers_of, load_links, show_clause, show_table

load_links()
CLAUSES = load_clauses()
JUDGED = [c for c in CLAUSES.values() if c.kind != "DEF"]


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=160)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("clause", [c for c in CLAUSES.values() if c.kind == "DEF"], ids=lambda c: c.id)
def test_every_definition_has_a_reference(clause: Clause) -> None:
    assert any(name.startswith("hopspec.reference.") for name in implementations_of(clause.id))


@pytest.mark.parametrize("clause", JUDGED, ids=lambda c: c.id)
def test_every_other_clause_has_a_property_and_a_fault(clause: Clause) -> None:
    assert any(name.startswith("hopspec.properties.checks.") for name in checkers_of(clause.id))
    assert killers_of(clause.id)


def test_there_are_clauses_enough() -> None:
    assert len(CLAUSES) >= 45
    assert {c.kind for c in CLAUSES.values()} == {"DEF", "LAW", "BOUND", "CONTRACT"}


def test_the_table_shows_every_clause(console: Console) -> None:
    show_table(console)
    text = printed(console)
    for clause in CLAUSES.values():
        assert clause.id in text
    assert "update_within_bound" in text


def test_a_clause_shows_its_links(console: Console) -> None:
    show_clause(console, CLAUSES["MHN-ENE-4"])
    text = printed(console)
    assert "update_decreases_energy" in text
    assert "faults killed: " in text
    assert "proved" in text


def test_acknowledging_an_unknown_clause_is_refused(console: Console) -> None:
    assert acknowledge(console, ["MHN-XYZ-1"]) == 2
    assert "no clause MHN-XYZ-1" in printed(console)
