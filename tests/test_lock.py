"""The lock between clauses and code."""

import dataclasses
import importlib
import pkgutil
from pathlib import Path
from typing import Any

import pytest

import hopspec.properties.checks
import hopspec.reference
from hopspec import lock
from hopspec.clauses import Clause, load_clauses
from hopspec.lock import StaleLink, acknowledge, changes, registered_links, stale_links

REGISTRY = {"MHN-ENE-1": ("pkg.energy", "pkg.other"), "MHN-ENE-2": ("pkg.in_range",)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A lock in which everything in ``REGISTRY`` has been acknowledged."""
    path = tmp_path / "lock.toml"
    for id in REGISTRY:
        acknowledge(id, REGISTRY, path=path)
    return path


def change(monkeypatch: pytest.MonkeyPatch, id: str, **parts: Any) -> None:
    """Let the specification say something else in clause ``id``."""
    known = load_clauses()
    altered: dict[str, Clause] = {**known, id: dataclasses.replace(known[id], digest="0" * 64, **parts)}
    monkeypatch.setattr(lock, "load_clauses", lambda: altered)


def test_without_a_lock_every_link_is_new(tmp_path: Path) -> None:
    found = stale_links(REGISTRY, path=tmp_path / "none.toml")
    assert {(s.clause, s.link) for s in found} == {
        (id, name) for id, names in REGISTRY.items() for name in names
    }
    assert {s.reason for s in found} == {"new"}


def test_acknowledged_links_are_not_stale(path: Path) -> None:
    assert stale_links(REGISTRY, path=path) == []
    assert changes("MHN-ENE-1", path=path) == ""


def test_acknowledging_twice_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    assert acknowledge("MHN-ENE-1", REGISTRY, path=path) == ""
    assert path.read_bytes() == before


def test_a_link_added_later_is_new(path: Path) -> None:
    more = {**REGISTRY, "MHN-ENE-2": ("pkg.in_range", "pkg.below")}
    assert stale_links(more, path=path) == [StaleLink("MHN-ENE-2", "pkg.below", "new")]
    assert acknowledge("MHN-ENE-2", more, path=path) == ""
    assert stale_links(more, path=path) == []


def test_a_link_that_is_gone_is_reported_and_dropped(path: Path) -> None:
    fewer = {"MHN-ENE-1": ("pkg.energy",)}
    assert stale_links(fewer, path=path) == [
        StaleLink("MHN-ENE-1", "pkg.other", "gone"),
        StaleLink("MHN-ENE-2", "pkg.in_range", "gone"),
    ]
    for id in REGISTRY:
        acknowledge(id, fewer, path=path)
    assert stale_links(fewer, path=path) == []


def test_changed_text_makes_every_link_stale_and_is_shown(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = load_clauses()["MHN-ENE-1"]
    change(monkeypatch, "MHN-ENE-1", domain=old.domain + " Only on Sundays.")
    assert stale_links(REGISTRY, path=path) == [
        StaleLink("MHN-ENE-1", "pkg.energy", "changed"),
        StaleLink("MHN-ENE-1", "pkg.other", "changed"),
    ]
    shown = changes("MHN-ENE-1", path=path).splitlines()
    assert "+Only on Sundays." in shown
    assert [line for line in shown if line.startswith("-")] == ["--- MHN-ENE-1 as acknowledged"]
    assert acknowledge("MHN-ENE-1", REGISTRY, path=path).splitlines() == shown
    assert stale_links(REGISTRY, path=path) == []


def test_a_clause_that_was_removed_leaves_the_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rest = {id: c for id, c in load_clauses().items() if id != "MHN-ENE-2"}
    monkeypatch.setattr(lock, "load_clauses", lambda: rest)
    registry = {"MHN-ENE-1": REGISTRY["MHN-ENE-1"]}
    assert stale_links(registry, path=path) == [StaleLink("MHN-ENE-2", "pkg.in_range", "gone")]
    assert "-Statement" in acknowledge("MHN-ENE-2", registry, path=path).splitlines()
    assert stale_links(registry, path=path) == []


@pytest.mark.parametrize(
    "statement", ["three ''' quotes", 'back\\slash \\beta "quoted"', "'''", "tab\there", "ends '"]
)
def test_any_text_survives_the_file(path: Path, monkeypatch: pytest.MonkeyPatch, statement: str) -> None:
    change(monkeypatch, "MHN-ENE-1", statement=statement)
    acknowledge("MHN-ENE-1", REGISTRY, path=path)
    assert changes("MHN-ENE-1", path=path) == ""
    assert stale_links(REGISTRY, path=path) == []


def test_every_clause_can_be_locked(tmp_path: Path) -> None:
    path = tmp_path / "lock.toml"
    registry = {id: (f"pkg.{id}",) for id in load_clauses()}
    for id in reversed(list(registry)):
        assert acknowledge(id, registry, path=path).startswith(f"--- {id} as acknowledged")
    assert stale_links(registry, path=path) == []
    places = [path.read_text(encoding="utf-8").index(f"\n[{id}]\n") for id in registry]
    assert places == sorted(places)


def test_unknown_ids_are_named(path: Path) -> None:
    for call in (changes, acknowledge):
        with pytest.raises(KeyError, match="MHN-NON-1"):
            call("MHN-NON-1", path=path)
    with pytest.raises(KeyError, match="MHN-NON-1"):
        stale_links({"MHN-NON-1": ["pkg.f"]}, path=path)


@pytest.mark.parametrize("text", ["not toml at all", "[MHN-ENE-1]\nlinks = {}", "MHN = 1"])
def test_a_broken_lock_is_reported_with_its_path(tmp_path: Path, text: str) -> None:
    broken = tmp_path / "lock.toml"
    broken.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"lock\.toml is not a lock file"):
        stale_links(REGISTRY, path=broken)


def test_no_link_of_this_tree_is_stale() -> None:
    for package in (hopspec.reference, hopspec.properties.checks):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    here = {id: [n for n in names if n.startswith("hopspec.")] for id, names in registered_links().items()}
    stale = stale_links(here)
    assert not stale, "\n".join(["run `hopspec spec acknowledge ID` for", *map(str, stale)])
