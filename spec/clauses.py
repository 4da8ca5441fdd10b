"""The clauses of the specification, read from its chapters, and the links between them and the code.

A chapter is a Markdown file ``NN-name.md`` beside this module. A clause in it has one heading, four labelled
parts and one block of machine-readable fields, in this order::

    ### MHN-ENE-1 Energy
    **Statement.** What holds, in TeX.
    **Domain.** When it holds.
    **Source.** Where it comes from.
    **Why.** The reason, or the proof.
    ```toml
    id = "MHN-ENE-1"
    kind = "DEF"
    status = "definition"
    quantities = ["energy"]
    ```

Text outside clauses is prose for the reader and is not parsed. Code ties itself to clauses with
:func:`implements` (reference functions) and :func:`checks` (properties).
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, NoReturn, TypeVar

__all__ = [
    "KINDS",
    "QUANTITIES",
    "STATUSES",
    "Clause",
    "checkers_of",
    "checks",
    "clause",
    "implementations_of",
    "implements",
    "load_clauses",
    "parse_chapter",
    "parse_chapters",
]

KINDS = ("DEF", "LAW", "BOUND", "CONTRACT")
STATUSES = ("definition", "proved", "convention", "remembered")
QUANTITIES = (
    "retrieve",
    "association",
    "log_normalizer",
    "energy",
    "evaluate",
    "settle",
    "gradients",
    "certify",
    "prepare",
    "attention",
    "arithmetic",
    "circuits",
    "chain",
)
_PARTS = ("Statement", "Domain", "Source", "Why")

_CHAPTER_NAME = re.compile(r"\d\d-[a-z0-9-]+\.md")
_HEADING = re.compile(r"### (?P<id>MHN-[A-Z]{3}-[1-9]\d*) (?P<title>\S.*)")
_PART = re.compile(r"\*\*(?P<name>[A-Z][a-z]+)\.\*\*(?P<rest>.*)")

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause of the specification.

    Args:
        id: stable identifier, for example ``"MHN-ENE-2"``.
        title: the rest of its heading.
        kind: one of :data:`KINDS`.
        status: one of :data:`STATUSES`.
        statement: what holds (Markdown with TeX).
        domain: the inputs for which it holds.
        source: where it comes from.
        why: reason or proof.
        fields: everything in its block of machine-readable fields, ``id``, ``kind`` and ``status`` included.
        chapter: file name of its chapter without the suffix, for example ``"04-energy"``.
        digest: SHA-256 (hexadecimal) of statement, domain and fields; see :func:`parse_chapter`.

    >>> clause("MHN-ENE-1").chapter
    '04-energy'
    """

    id: str
    title: str
    kind: str
    status: str
    statement: str
    domain: str
    source: str
    why: str
    fields: dict[str, Any] = field(hash=False)
    chapter: str
    digest: str

    @property
    def quantities(self) -> tuple[str, ...]:
        """What an implementation must provide for the clause to apply; empty for the reference alone."""
        return tuple(self.fields["quantities"])

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What it must claim besides: names of fields of :class:`hopspec.types.Capabilities`."""
        return tuple(self.fields.get("capabilities", ()))


def _digest(statement: str, domain: str, fields: Mapping[str, Any]) -> str:
    canonical = [
        " ".join(statement.split()),
        " ".join(domain.split()),
        json.dumps(fields, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False),
    ]
    return hashlib.sha256("\n".join(canonical).encode()).hexdigest()


class _ChapterParser:
    """Reads one chapter line by line; every complaint carries the file and the line."""

    def __init__(self, text: str, name: str) -> None:
        self.lines = text.splitlines()
        self.name = name
        self.chapter = name.rsplit("/", 1)[-1].removesuffix(".md")

    def fail(self, index: int, message: str) -> NoReturn:
        raise ValueError(f"{self.name}:{index + 1}: {message}")

    def parse(self) -> tuple[Clause, ...]:
        clauses: list[Clause] = []
        seen: dict[str, int] = {}
        index = 0
        while index < len(self.lines):
            if not self.lines[index].startswith("### "):
                index += 1
                continue
            start = index
            parsed, index = self.parse_clause(start)
            if parsed.id in seen:
                self.fail(start, f"duplicate id {parsed.id}, first used in line {seen[parsed.id]}")
            seen[parsed.id] = start + 1
            clauses.append(parsed)
        return tuple(clauses)

    def parse_clause(self, start: int) -> tuple[Clause, int]:
        heading = _HEADING.fullmatch(self.lines[start].rstrip())
        if heading is None:
            self.fail(start, f"expected a heading '### MHN-ABC-1 Title', got {self.lines[start]!r}")
        name = heading["id"]
        parts, fence = self.parse_parts(start, name)
        fields, end = self.parse_fields(fence, name)
        statement, domain, source, why = (parts[part] for part in _PARTS)
        parsed = Clause(
            id=name,
            title=heading["title"].strip(),
            kind=fields["kind"],
            status=fields["status"],
            statement=statement,
            domain=domain,
            source=source,
            why=why,
            fields=fields,
            chapter=self.chapter,
            digest=_digest(statement, domain, fields),
        )
        return parsed, end

    def parse_parts(self, start: int, name: str) -> tuple[dict[str, str], int]:
        """Return the labelled parts and the index of the line that opens the fields."""
        parts: dict[str, list[str]] = {}
        index = start + 1
        while index < len(self.lines) and self.lines[index].rstrip() != "```toml":
            line = self.lines[index]
            label = _PART.match(line)
            if line.startswith(("# ", "## ", "### ")):
                self.fail(start, f"{name} has no ```toml block before the next heading (line {index + 1})")
            elif label is not None and label["name"] in _PARTS:
                expected = _PARTS[len(parts)] if len(parts) < len(_PARTS) else "```toml"
                if label["name"] != expected:
                    self.fail(index, f"{name} has part {label['name']} where {expected} was expected")
                parts[label["name"]] = [label["rest"].strip()]
            elif parts:
                parts[next(reversed(parts))].append(line.rstrip())
            elif line.strip():
                self.fail(index, f"{name} must begin with **Statement.**, got {line!r}")
            index += 1
        if index == len(self.lines):
            self.fail(start, f"{name} has no ```toml block")
        texts = {part: "\n".join(lines).strip() for part, lines in parts.items()}
        for part in _PARTS:
            if not texts.get(part):
                self.fail(start, f"{name} has no {part}")
        return texts, index

    def parse_fields(self, fence: int, name: str) -> tuple[dict[str, Any], int]:
        """Return the fields of the block opened in line ``fence`` and the index after the line closing it."""
        end = fence + 1
        while end < len(self.lines) and self.lines[end].rstrip() != "```":
            end += 1
        if end == len(self.lines):
            self.fail(fence, f"the ```toml block of {name} is not closed")
        try:
            fields = tomllib.loads("\n".join(self.lines[fence + 1 : end]))
        except tomllib.TOMLDecodeError as error:
            self.fail(fence, f"the fields of {name} are not TOML: {error}")
        if fields.get("id") != name:
            self.fail(fence, f"the heading says {name}, the fields say id = {fields.get('id')!r}")
        if fields.get("kind") not in KINDS:
            self.fail(fence, f"{name} has kind {fields.get('kind')!r}; expected one of {', '.join(KINDS)}")
        if fields.get("status") not in STATUSES:
            self.fail(
                fence, f"{name} has status {fields.get('status')!r}; expected one of {', '.join(STATUSES)}"
            )
        self.check_names(fence, name, "quantities", fields.get("quantities"), QUANTITIES)
        self.check_names(fence, name, "capabilities", fields.get("capabilities", []), None)
        return fields, end + 1

    def check_names(
        self, fence: int, name: str, key: str, names: object, allowed: tuple[str, ...] | None
    ) -> None:
        if not isinstance(names, list) or not all(isinstance(item, str) for item in names):
            self.fail(fence, f"{name} needs {key} = [...], a list of strings, got {names!r}")
        unknown = [item for item in names if allowed is not None and item not in allowed]
        if unknown and allowed is not None:
            self.fail(fence, f"{name} has unknown {key} {unknown}; expected some of {', '.join(allowed)}")


def parse_chapter(text: str, name: str) -> tuple[Clause, ...]:
    """Return the clauses of one chapter, in order.

    The digest of a clause covers its statement, domain and fields with white space normalized; title, source,
    why and the prose around it can change without changing the digest.

    Args:
        text: the chapter's Markdown.
        name: its file name, used in messages and, without directories and suffix, as ``Clause.chapter``.

    Raises:
        ValueError: on a malformed clause; the message begins with ``name:line:``.

    >>> parse_chapter("# A chapter without clauses", "99-empty.md")
    ()
    """
    return _ChapterParser(text, name).parse()


def parse_chapters(chapters: Iterable[tuple[str, str]]) -> dict[str, Clause]:
    """Return the clauses of several chapters, given as ``(name, text)`` in reading order, keyed by id.

    Raises:
        ValueError: on a malformed clause or an id used twice.

    >>> parse_chapters([])
    {}
    """
    clauses: dict[str, Clause] = {}
    for name, text in chapters:
        for parsed in parse_chapter(text, name):
            if parsed.id in clauses:
                raise ValueError(
                    f"{name}: duplicate id {parsed.id}, first used in {clauses[parsed.id].chapter}"
                )
            clauses[parsed.id] = parsed
    return clauses


@functools.cache
def _clauses() -> dict[str, Clause]:
    files = [f for f in resources.files("hopspec").iterdir() if _CHAPTER_NAME.fullmatch(f.name)]
    return parse_chapters(
        (f.name, f.read_text(encoding="utf-8")) for f in sorted(files, key=lambda f: f.name)
    )


def load_clauses() -> dict[str, Clause]:
    """Return every clause of the specification keyed by id, in reading order.

    The chapters are read once; the dictionary is the caller's own.

    Raises:
        ValueError: if a chapter is malformed; the message names file and line.

    >>> next(iter(load_clauses()))
    'MHN-DOM-1'
    """
    return dict(_clauses())


def clause(id: str) -> Clause:
    """Return the clause called ``id``.

    Raises:
        KeyError: if there is none.

    >>> clause("MHN-UPD-3").kind
    'DEF'
    """
    try:
        return _clauses()[id]
    except KeyError:
        raise KeyError(f"no clause {id!r} in the specification") from None


# Dictionaries serve as ordered sets: a module imported twice registers once.
_implementations: dict[str, dict[str, None]] = {}
_checkers: dict[str, dict[str, None]] = {}


def _register(registry: dict[str, dict[str, None]], ids: tuple[str, ...]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for name in ids:
            registry.setdefault(name, {})[f"{function.__module__}.{function.__qualname__}"] = None
        return function

    return decorate


def implements(*ids: str) -> Callable[[F], F]:
    """Record that the decorated reference function implements the clauses ``ids``, and return it unchanged.

    The ids are checked when links are looked up, not here, so that importing the reference reads no chapter.

    >>> def energy() -> None: ...
    >>> implements()(energy) is energy
    True
    """
    return _register(_implementations, ids)


def checks(*ids: str) -> Callable[[F], F]:
    """Record that the decorated property checks the clauses ``ids``, and return it unchanged.

    >>> def energy_in_range() -> None: ...
    >>> checks()(energy_in_range) is energy_in_range
    True
    """
    return _register(_checkers, ids)


def _linked(registry: dict[str, dict[str, None]], verb: str, id: str) -> tuple[str, ...]:
    known = _clauses()
    for name, functions in registry.items():
        if name not in known:
            raise KeyError(f"no clause {name!r} in the specification; {', '.join(functions)} {verb} it")
    return tuple(registry.get(clause(id).id, ()))


def implementations_of(id: str) -> tuple[str, ...]:
    """Return the qualified names of the functions registered with :func:`implements` for clause ``id``.

    Only modules already imported are seen.

    Raises:
        KeyError: if ``id``, or the id of any registration, is no clause; the message names it.

    >>> implementations_of("MHN-NON-SENSE")
    Traceback (most recent call last):
    KeyError: "no clause 'MHN-NON-SENSE' in the specification"
    """
    return _linked(_implementations, "implements", id)


def checkers_of(id: str) -> tuple[str, ...]:
    """Return the qualified names of the properties registered with :func:`checks` for clause ``id``.

    Only modules already imported are seen.

    Raises:
        KeyError: if ``id``, or the id of any registration, is no clause; the message names it.

    >>> all(name.count(".") for name in checkers_of("MHN-ENE-2"))
    True
    """
    return _linked(_checkers, "checks", id)
