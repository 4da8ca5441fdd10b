"""The chapters, the parser that reads them, and the links from code to clauses."""

import dataclasses
import doctest
import importlib
import itertools
import pkgutil
import re
from importlib import resources
from types import ModuleType

import pytest

import hopspec.reference
from hopspec import clauses, lock
from hopspec.clauses import Clause, checks, clause, implements, load_clauses, parse_chapter, parse_chapters
from hopspec.types import Capabilities

GOOD = """\
# A chapter

Prose before.

### MHN-TST-1 A law
**Statement.** $a \\le b$
in two lines.

Second paragraph.
**Domain.** Everywhere.
**Source.** Derived here.
**Why.** Because:

```
an example
```
```toml
id = "MHN-TST-1"
kind = "LAW"
status = "proved"
quantities = ["energy", "retrieve"]
capabilities = ["masks"]
constant = 2
```

Prose after, with **Domain.** in it.
"""


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registrations made in a test are forgotten after it."""
    monkeypatch.setattr(clauses, "_implementations", {})
    monkeypatch.setattr(clauses, "_checkers", {})


def parsed(text: str) -> Clause:
    (only,) = parse_chapter(text, "spec/99-test.md")
    return only


def test_a_clause_is_read_completely() -> None:
    found = parsed(GOOD)
    assert (found.id, found.title, found.kind, found.status) == ("MHN-TST-1", "A law", "LAW", "proved")
    assert found.statement == "$a \\le b$\nin two lines.\n\nSecond paragraph."
    assert (found.domain, found.source) == ("Everywhere.", "Derived here.")
    assert found.why == "Because:\n\n```\nan example\n```"
    assert found.quantities == ("energy", "retrieve")
    assert found.capabilities == ("masks",)
    assert found.fields["constant"] == 2
    assert found.chapter == "99-test"
    assert len(found.digest) == 64
    hash(found)


@pytest.mark.parametrize("part", ["Statement", "Domain", "Source", "Why"])
def test_a_missing_or_empty_part_is_refused(part: str) -> None:
    missing = re.sub(rf"(?ms)^\*\*{part}\.\*\*.*?(?=^\*\*|^```toml)", "", GOOD, count=1)
    empty = re.sub(rf"(?ms)^\*\*{part}\.\*\*.*?(?=^\*\*|^```toml)", f"**{part}.**\n", GOOD, count=1)
    for text in (missing, empty):
        with pytest.raises(ValueError, match=rf"^spec/99-test\.md:\d+: .*{part}"):
            parsed(text)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("**Domain.** Everywhere.\n", "**Domain.** Everywhere.\n**Domain.** Again.\n", 11, "expected"),
        ("### MHN-TST-1 A law", "### MHN-tst-1 A law", 5, "expected a heading"),
        ("### MHN-TST-1 A law", "### MHN-TST-1", 5, "expected a heading"),
        ("### MHN-TST-1 A law", "### MHN-TST-01 A law", 5, "expected a heading"),
        ('id = "MHN-TST-1"', 'id = "MHN-TST-2"', 17, "the heading says MHN-TST-1"),
        ('id = "MHN-TST-1"\n', "", 17, "id = None"),
        ('"LAW"', '"THEOREM"', 17, "kind 'THEOREM'"),
        ('"proved"', '"obvious"', 17, "status 'obvious'"),
        ('"retrieve"', '"retrieval"', 17, r"unknown quantities \['retrieval'\]"),
        ('quantities = ["energy", "retrieve"]\n', "", 17, "needs quantities"),
        ('["masks"]', '"masks"', 17, "needs capabilities"),
        ("constant = 2", "constant = ", 17, "not TOML"),
        ("constant = 2\n```", "constant = 2", 17, "not closed"),
        ("```toml", "```", 5, "no ```toml block"),
        ("```toml", "## Next", 5, r"no ```toml block before the next heading \(line 17\)"),
        ("**Statement.**", "**Theorem.**", 6, "must begin with"),
    ],
)
def test_a_malformed_clause_is_refused_with_its_line(old: str, new: str, line: int, message: str) -> None:
    assert old in GOOD
    with pytest.raises(ValueError, match=message) as caught:
        parsed(GOOD.replace(old, new, 1))
    assert str(caught.value).startswith(f"spec/99-test.md:{line}: ")


def test_a_duplicate_id_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^99-test\.md:\d+: duplicate id MHN-TST-1, first used in line 5"):
        parse_chapter(GOOD + GOOD, "99-test.md")
    with pytest.raises(ValueError, match=r"^98-other\.md: duplicate id MHN-TST-1, first used in 99-test"):
        parse_chapters([("99-test.md", GOOD), ("98-other.md", GOOD)])


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("in two lines.", "in   two\n lines.", True),
        ("Prose before.", "Other prose.", True),
        ("A law", "Another title", True),
        ("Derived here.", "Known.", True),
        ("Because:", "For a reason:", True),
        ('kind = "LAW"\nstatus = "proved"', 'status = "proved"\nkind = "LAW"', True),
        ("a \\le b", "a < b", False),
        ("Everywhere.", "Nearly everywhere.", False),
        ("constant = 2", "constant = 3", False),
        ('"LAW"', '"BOUND"', False),
        ('["masks"]', "[]", False),
    ],
)
def test_the_digest_covers_statement_domain_and_fields_only(old: str, new: str, same: bool) -> None:
    assert old in GOOD
    assert (parsed(GOOD.replace(old, new, 1)).digest == parsed(GOOD).digest) == same


def test_text_cannot_wander_between_statement_and_domain_unnoticed() -> None:
    moved = GOOD.replace("**Domain.** Everywhere.", "Everywhere.\n**Domain.** Everywhere.")
    shifted = GOOD.replace("**Domain.** Everywhere.", "**Domain.** Everywhere. Everywhere.")
    assert len({parsed(text).digest for text in (GOOD, moved, shifted)}) == 3


def test_ids_are_unique_and_numbered_in_order() -> None:
    numbers: dict[str, int] = {}
    areas: dict[str, set[str]] = {}
    for found in load_clauses().values():
        area, number = found.id.removeprefix("MHN-").split("-")
        assert int(number) == numbers.get(area, 0) + 1, f"{found.id} is out of order"
        numbers[area] = int(number)
        areas.setdefault(area, set()).add(found.chapter)
    assert all(len(chapters) == 1 for chapters in areas.values())
    chapters = [found.chapter for found in load_clauses().values()]
    assert chapters == sorted(chapters)
    assert [int(name[:2]) for name, _ in itertools.groupby(chapters)] == list(
        range(1, len(set(chapters)) + 1)
    )


def test_status_goes_with_kind() -> None:
    allowed = {
        "DEF": {"definition", "proved", "remembered"},
        "LAW": {"proved"},
        "BOUND": {"proved"},
        "CONTRACT": {"convention"},
    }
    for found in load_clauses().values():
        assert found.status in allowed[found.kind], found.id


def test_capabilities_are_fields_of_the_descriptor() -> None:
    known = {f.name for f in dataclasses.fields(Capabilities)}
    for found in load_clauses().values():
        assert set(found.capabilities) <= known, found.id


def test_clauses_referred_to_exist() -> None:
    for file in resources.files("hopspec").iterdir():
        if file.name.endswith(".md"):
            for id in re.findall(r"MHN-[A-Z]{3}-\d+", file.read_text(encoding="utf-8")):
                assert clause(id).id == id


def test_formulas_are_balanced() -> None:
    for found in load_clauses().values():
        text = "\n".join((found.statement, found.domain, found.source, found.why))
        prose = re.sub(r"`[^`\n]*`", "", text)
        assert prose.replace("$$", "").count("$") % 2 == 0, found.id
        assert prose.count("$$") % 2 == 0, found.id
        assert text.count("{") == text.count("}"), found.id
        assert text.count("\\bigl") == text.count("\\bigr"), found.id
        assert text.count("\\Bigl") == text.count("\\Bigr"), found.id


def test_an_unknown_clause_is_named() -> None:
    with pytest.raises(KeyError, match="MHN-NON-1"):
        clause("MHN-NON-1")


def test_the_dictionary_is_the_callers_own() -> None:
    load_clauses().clear()
    assert load_clauses()


@pytest.mark.usefixtures("registries")
def test_links_are_recorded_once_and_the_function_returned() -> None:
    def function(x: int) -> int:
        return x + 1

    assert implements("MHN-ENE-1", "MHN-ENE-2")(function) is function
    assert implements("MHN-ENE-1")(function) is function
    assert checks("MHN-ENE-2")(function) is function
    name = f"{__name__}.{function.__qualname__}"
    assert clauses.implementations_of("MHN-ENE-1") == (name,)
    assert clauses.implementations_of("MHN-ENE-2") == clauses.checkers_of("MHN-ENE-2") == (name,)
    assert clauses.implementations_of("MHN-ENE-3") == clauses.checkers_of("MHN-ENE-1") == ()


@pytest.mark.usefixtures("registries")
def test_an_unknown_id_is_noticed_when_links_are_looked_up() -> None:
    @implements("MHN-NON-1")
    def function() -> None: ...

    with pytest.raises(KeyError, match=r"MHN-NON-1.*function"):
        clauses.implementations_of("MHN-ENE-1")
    with pytest.raises(KeyError, match="MHN-NON-2"):
        clauses.checkers_of("MHN-NON-2")


def test_every_definition_has_a_reference() -> None:
    for module in pkgutil.iter_modules(hopspec.reference.__path__, "hopspec.reference."):
        importlib.import_module(module.name)
    missing = [
        f.id for f in load_clauses().values() if f.kind == "DEF" and not clauses.implementations_of(f.id)
    ]
    assert not missing, f"no reference function implements {', '.join(missing)}"


@pytest.mark.parametrize("module", [clauses, lock], ids=lambda module: module.__name__)
def test_examples_run(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
