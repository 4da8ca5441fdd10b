"""The lock file: which text of a clause each function and property was last checked against.

A link ties a function that implements a clause, or a property that checks it, to the clause. For every link
the lock stores the digest of the clause (statement, domain and fields) that a person acknowledged, and for
every clause a copy of that text, so that a later difference can be shown. Links are those registered with
:func:`hopspec.clauses.implements` and :func:`hopspec.clauses.checks`; import the reference and the properties
before asking for them.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hopspec.clauses import Clause, checkers_of, implementations_of, load_clauses

__all__ = ["LOCK", "StaleLink", "acknowledge", "changes", "registered_links", "stale_links"]

# Resolved, so that in an editable install made of links the file in the source tree is the one written.
LOCK = Path(__file__).resolve().with_name("lock.toml")
_HEADER = "# Written by `hopspec spec acknowledge`; not to be edited by hand.\n"

Links = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class StaleLink:
    """A link whose clause was not acknowledged in its present text.

    Args:
        clause: id of the clause.
        link: qualified name of the function or property.
        reason: ``new`` (the lock does not know the link), ``changed`` (the clause's statement, domain or
            fields differ from those acknowledged) or ``gone`` (the link is registered no more).
    """

    clause: str
    link: str
    reason: str

    def __str__(self) -> str:
        return f"{self.clause} -> {self.link}: {self.reason}"


@dataclass(frozen=True, slots=True)
class _Locked:
    text: str
    links: Mapping[str, str]


def registered_links() -> dict[str, tuple[str, ...]]:
    """Return the qualified names of every implementation and property registered so far, by clause id.

    >>> list(registered_links())[0]
    'MHN-DOM-1'
    """
    return {id: implementations_of(id) + checkers_of(id) for id in load_clauses()}


def stale_links(registry: Links | None = None, *, path: Path = LOCK) -> list[StaleLink]:
    """Return every link that is new, gone, or was acknowledged with another text of its clause.

    Args:
        registry: links by clause id; by default :func:`registered_links`.
        path: the lock file; one that does not exist counts as empty.

    Raises:
        KeyError: if ``registry`` names an unknown clause.

    >>> [str(s) for s in stale_links({"MHN-ENE-1": ["package.energy"]}, path=Path("no such file"))]
    ['MHN-ENE-1 -> package.energy: new']
    """
    links = registered_links() if registry is None else registry
    clauses = load_clauses()
    locked = _read(path)
    stale = []
    for id, names in links.items():
        if id not in clauses:
            raise KeyError(f"no clause {id!r} in the specification")
        known = locked[id].links if id in locked else {}
        for name in names:
            if name not in known:
                stale.append(StaleLink(id, name, "new"))
            elif known[name] != clauses[id].digest:
                stale.append(StaleLink(id, name, "changed"))
    for id, entry in locked.items():
        stale += [StaleLink(id, name, "gone") for name in entry.links if name not in links.get(id, ())]
    return stale


def changes(clause_id: str, *, path: Path = LOCK) -> str:
    """Return a unified diff from the clause as acknowledged to the clause as it is, "" if there is none.

    Only what the digest covers is compared: statement, domain and fields. A clause never acknowledged differs
    from nothing in every line, and one that is no longer in the specification in every line to nothing.

    Raises:
        KeyError: if neither the specification nor the lock knows the clause.

    >>> print(changes("MHN-ENE-1", path=Path("no such file")).splitlines()[0])
    --- MHN-ENE-1 as acknowledged
    """
    current, locked = load_clauses().get(clause_id), _read(path).get(clause_id)
    if current is None and locked is None:
        raise KeyError(f"no clause {clause_id!r} in the specification")
    before = locked.text if locked else ""
    after = _text(current) if current else ""
    if " ".join(before.split()) == " ".join(after.split()):
        return ""
    lines = difflib.unified_diff(
        before.splitlines(),
        after.splitlines(),
        f"{clause_id} as acknowledged",
        f"{clause_id} as it is",
        lineterm="",
    )
    return "\n".join(lines)


def acknowledge(clause_id: str, registry: Links | None = None, *, path: Path = LOCK) -> str:
    """Record the clause's present text for all of its links, and return the diff that was acknowledged.

    Links that are registered no more are dropped, and so is a clause that is no longer in the specification.

    Args:
        clause_id: id of the clause.
        registry: links by clause id; by default :func:`registered_links`.
        path: the lock file; it is created if it does not exist.

    Raises:
        KeyError: if neither the specification nor the lock knows the clause.
    """
    difference = changes(clause_id, path=path)
    links = registered_links() if registry is None else registry
    clauses = load_clauses()
    locked = _read(path)
    locked.pop(clause_id, None)
    if clause_id in clauses:
        digest = clauses[clause_id].digest
        names = sorted(links.get(clause_id, ()))
        locked[clause_id] = _Locked(_text(clauses[clause_id]), dict.fromkeys(names, digest))
    order = {id: place for place, id in enumerate(clauses)}
    entries = sorted(locked.items(), key=lambda item: (order.get(item[0], len(order)), item[0]))
    # Written in place: replacing the file would cut the links of an editable install.
    path.write_text(_HEADER + "".join(_write(id, entry) for id, entry in entries), encoding="utf-8")
    return difference


def _text(clause: Clause) -> str:
    """What the digest of a clause covers, one sentence or field a line so that a diff stays readable."""
    parts = ["Statement", *_sentences(clause.statement), "Domain", *_sentences(clause.domain), "Fields"]
    parts += [
        f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in sorted(clause.fields.items())
    ]
    return "\n".join(parts)


def _sentences(text: str) -> list[str]:
    return [s for line in text.splitlines() for s in re.split(r"(?<=[.;:]) +", line.strip()) if s]


def _read(path: Path) -> dict[str, _Locked]:
    if not path.exists():
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        return {id: _Locked(str(entry["text"]).strip("\n"), entry["links"]) for id, entry in document.items()}
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a lock file: {error}; restore it, or delete it and start anew"
        ) from error


def _write(id: str, entry: _Locked) -> str:
    text = (
        f"'''\n{entry.text}\n'''" if "'''" not in entry.text else json.dumps(entry.text, ensure_ascii=False)
    )
    links = "".join(f"{json.dumps(name)} = {json.dumps(digest)}\n" for name, digest in entry.links.items())
    return f"\n[{id}]\ntext = {text}\n[{id}.links]\n{links}"
