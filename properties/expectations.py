"""Expected failures: a file that says which clauses are known to be broken, why, and until when.

It is TOML, one table for each expectation::

    [[expected]]
    clause = "MHN-BND-2"
    dtype = "bfloat16"            # left out: every dtype
    implementation = "mykernel"   # left out: every implementation
    reason = "sums in bfloat16 until the rewrite"
    expires = 2027-06-30          # the last day it is good for

It is strict: an expectation that no failure meets, that matches nothing, that has expired, or that holds an
unknown key is an error itself, so that the file never says more than is true.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from hopspec.properties.checks import CHECKS
from hopspec.properties.construction_session import CONSTRUCTED
from hopspec.properties.models import JUDGED
from hopspec.properties.results import Report, Verdict

__all__ = ["Expectation", "Unmet", "expect", "known_as", "read_expectations", "unmatched"]

_TABLE = re.compile(r"^[ \t]*\[\[[ \t]*expected[ \t]*\]\]", re.MULTILINE)
_TEXTS = {"clause": True, "dtype": False, "implementation": False, "reason": True}


@dataclass(frozen=True)
class Expectation:
    """One entry of the file.

    Args:
        clause: id of the clause expected to be broken.
        dtype: the dtype it is expected in; "" for every dtype.
        implementation: one of the names of the implementation, see :func:`known_as`; "" for every one.
        reason: why.
        expires: the last day it is good for.
        where: file, line and number of the entry, for messages.
    """

    clause: str
    dtype: str
    implementation: str
    reason: str
    expires: date
    where: str

    def covers(self, clause: str, dtype: str, names: Sequence[str]) -> bool:
        """Whether it speaks of this clause and dtype of an implementation known by these names."""
        return self.clause == clause and self.dtype in ("", dtype) and self.implementation in ("", *names)

    def __str__(self) -> str:
        what = " ".join(part for part in (self.clause, self.dtype, self.implementation) if part)
        return f"{self.where} ({what})"


@dataclass(frozen=True)
class Unmet:
    """An expectation that is an error.

    Args:
        expectation: which.
        clause: the clause on which that showed; "" if it matches nothing.
        implementation: the implementation on which it showed.
        dtype: the dtype.
        message: what is wrong with it.
        passes: whether that is only that no failure met it.
    """

    expectation: Expectation
    clause: str
    implementation: str
    dtype: str
    message: str
    passes: bool = False

    def __str__(self) -> str:
        return f"{self.expectation} {self.message}"


def read_expectations(path: Path) -> tuple[Expectation, ...]:
    """The entries of a file of expected failures.

    Raises:
        ValueError: if it cannot be read or an entry is malformed; the message names the line and the entry.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except OSError as error:
        raise ValueError(f"cannot read the expected failures in {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is no TOML file: {error}") from error
    for key in content:
        if key != "expected":
            raise ValueError(f"{path}: unknown key {key!r}; expected tables [[expected]] only")
    entries = content.get("expected", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path}: expected must be an array of tables [[expected]], got {entries!r}")
    lines = [text.count("\n", 0, found.start()) + 1 for found in _TABLE.finditer(text)]
    if len(lines) != len(entries):
        # Written inline, or quoted within a string.
        lines = []
    wheres = [f"{path}, line {line}, entry {k}" for k, line in enumerate(lines, 1)]
    wheres = wheres or [f"{path}, entry {k}" for k in range(1, len(entries) + 1)]
    return tuple(_entry(entry, where) for entry, where in zip(entries, wheres, strict=True))


def _entry(entry: dict[str, Any], where: str) -> Expectation:
    known = (*_TEXTS, "expires")
    for key in entry:
        if key not in known:
            raise ValueError(f"{where}: unknown key {key!r}; expected {', '.join(known)}")
    for key, required in _TEXTS.items():
        value = entry.get(key, None if required else "")
        if not isinstance(value, str) or (required and not value.strip()):
            got = repr(entry[key]) if key in entry else "nothing"
            raise ValueError(f"{where}: {key} must be a text, got {got}")
    expires = entry.get("expires")
    if not isinstance(expires, date) or isinstance(expires, datetime):
        got = "nothing" if expires is None else str(expires)
        raise ValueError(f"{where}: expires must be a date such as 2027-06-30, without quotes, got {got}")
    clauses = {c.clause for c in CHECKS}
    if entry["clause"] not in clauses:
        known_clauses = ", ".join(sorted(clauses))
        raise ValueError(
            f"{where}: clause {entry['clause']!r} has no property; those that have: {known_clauses}"
        )
    dtype = entry.get("dtype", "")
    known = (*JUDGED, *CONSTRUCTED)
    if dtype not in ("", *known):
        raise ValueError(f"{where}: dtype {dtype!r} is unknown; expected one of {', '.join(known)}")
    return Expectation(
        entry["clause"], dtype, entry.get("implementation", ""), entry["reason"], expires, where
    )


def expect(report: Report, expectations: Sequence[Expectation], today: date | None = None) -> list[Unmet]:
    """Mark the failures of a report that were expected, and say which expectations were not met.

    Args:
        report: its broken cells take the reason of the first expectation that covers them.
        expectations: of this run.
        today: the day on which they must be good; None for today.

    Returns:
        What is wrong with the expectations that cover something in the report: expired, or passing, or of a
        clause that is not claimed. Nothing is said of a clause that was not reached.
    """
    today = today or date.today()
    found = []
    places = dict.fromkeys((c.clause, c.implementation, c.dtype) for c in report.cells)
    verdicts = {at: report.verdict(*at) for at in places}
    for entry in expectations:
        expired = entry.expires < today
        covered = [at for at in places if _covers(entry, report, *at)]
        unclaimed = [at for at in covered if verdicts[at] is Verdict.NOT_CLAIMED]
        for at in covered:
            clause, implementation, dtype = at
            passes = verdicts[at] is Verdict.HOLDS
            if expired:
                message = f"expired on {entry.expires}: {entry.reason}"
            elif passes:
                message = f"expects a failure in {dtype}, but {implementation} passes: {entry.reason}"
            elif at in unclaimed and (entry.dtype or len(unclaimed) == len(covered)):
                message = f"expects a failure of what {implementation} does not claim: {entry.reason}"
            else:
                continue
            found.append(Unmet(entry, clause, implementation, dtype, message, passes and not expired))
        if not expired:
            for cell in report.cells:
                at = cell.clause, cell.implementation, cell.dtype
                if cell.failure is not None and not cell.unclaimed and at in covered:
                    cell.expected = cell.expected or entry.reason
    return found


def unmatched(report: Report, expectations: Sequence[Expectation]) -> list[Unmet]:
    """Expectations that speak of nothing a whole run has looked at."""
    settings = report.settings
    asked = [
        e
        for e in expectations
        if (not settings["clauses"] or e.clause in settings["clauses"])
        and (not settings["dtypes"] or e.dtype in ("", *settings["dtypes"]))
    ]
    seen = {(c.clause, c.implementation, c.dtype) for c in report.cells}
    return [
        Unmet(e, "", "", "", "matches nothing that was verified")
        for e in asked
        if not any(_covers(e, report, *at) for at in seen)
    ]


def _covers(entry: Expectation, report: Report, clause: str, implementation: str, dtype: str) -> bool:
    return entry.covers(clause, dtype, known_as(report.targets.get(implementation, ""), implementation))


def known_as(target: str, *names: str) -> tuple[str, ...]:
    """What an entry may call an implementation: its target, the object alone, and its names."""
    return (target, target.rpartition(":")[2], *names)
