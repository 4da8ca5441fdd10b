"""Judging the answers of a program: reading them, matching them with vectors, and the outcome."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from hopspec.properties.vectors.classes import BUG_CLASSES
from hopspec.properties.vectors.codec import digits_of, unpack
from hopspec.properties.vectors.generate import SCHEMA_VERSION, SEED, Selection, Suite, committed, generate
from hopspec.properties.vectors.judge import Judgement, Verdict, judge, model_for
from hopspec.properties.vectors.schema import first_complaint
from hopspec.properties.vectors.vector import Vector

__all__ = ["Outcome", "Unreadable", "check", "read_suite", "suite_of"]


class Unreadable(Exception):  # noqa: N818  (the run cannot be done: exit status 2)
    """Vectors or answers as a whole cannot be used."""


@dataclass
class Outcome:
    """What became of every vector.

    Args:
        suite: the vectors that were to be answered.
        judgements: by id, for answers that could be read.
        malformed: ids of vectors whose answer could not be read.
        problems: messages about answers that are malformed, unknown or given twice.
    """

    suite: Suite
    judgements: dict[str, Judgement] = field(default_factory=dict)
    malformed: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    @property
    def missing(self) -> list[Vector]:
        """Vectors without an answer."""
        return [v for v in self.suite.vectors if v.id not in self.judgements and v.id not in self.malformed]

    def of(self, verdict: Verdict) -> list[Judgement]:
        """Judgements with one verdict."""
        return [j for j in self.judgements.values() if j.verdict is verdict]

    @property
    def exit_status(self) -> int:
        """1 if an answer is broken; 2 if one is missing, malformed or undecided; 0 if all hold."""
        if self.of(Verdict.BROKEN):
            return 1
        incomplete = self.problems or self.missing or self.of(Verdict.UNDECIDED) or not self.suite.vectors
        return 2 if incomplete else 0


def read_suite(text: str, source: str) -> Suite:
    """Read a document of vectors, or lines with a header.

    Args:
        text: what :meth:`Suite.document` or :meth:`Suite.lines` wrote.
        source: where it comes from, for messages.

    Raises:
        Unreadable: if it is not JSON, does not follow the schema, or the digest is not that of the vectors.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        document = None
    if document is None or "hopspec_vectors" in document:
        document = _document_of_lines(text, source)
    if complaint := first_complaint(document, "vectors"):
        raise Unreadable(f"{source} does not follow the schema of vectors: {complaint}")
    try:
        suite = Suite.from_document(document)
        for vector in suite.vectors:
            inputs, numbers = vector.problem, len(vector.expected)
            if numbers != math.prod(vector.shape) or inputs.query.shape[1] != inputs.memory.shape[1]:
                raise ValueError(f"{vector.id}: expected has {numbers} numbers for shape {vector.shape}")
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"{source} does not hold vectors: {error}") from error
    if suite.digest != document["header"]["digest"]:
        raise Unreadable(f"{source} was changed: the digest in its header is not that of its vectors")
    return suite


def _document_of_lines(text: str, source: str) -> dict[str, Any]:
    try:
        records = [json.loads(line) for line in text.splitlines() if line.strip()] or [None]
    except json.JSONDecodeError as error:
        raise Unreadable(f"{source} is neither a JSON document nor JSON lines: {error}") from error
    vocabulary = {name: of.what for name, of in BUG_CLASSES.items()}
    return {"header": records[0], "notes": [], "bug_classes": vocabulary, "vectors": records[1:]}


def suite_of(header: dict[str, Any]) -> Suite:
    """The vectors a header speaks of, from the package if they are those, else generated again.

    Raises:
        Unreadable: if the header is malformed, or the vectors of this version are other ones.
    """
    if complaint := first_complaint(header, "vectors", "header"):
        raise Unreadable(f"the header is malformed: {complaint}")
    try:
        version, seed, digest = header["hopspec_vectors"], header["seed"], header["digest"]
        names = (tuple(header[key]) for key in ("formats", "quantities", "needs"))
        selection = Selection(*names)
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"the header is malformed: {error}") from error
    if version != SCHEMA_VERSION:
        raise Unreadable(f"the header is of schema version {version}; this is version {SCHEMA_VERSION}")
    if seed == SEED:
        suite = committed(selection)
        if suite.digest == digest:
            return suite
    suite = generate(seed, selection)
    if suite.digest != digest:
        raise Unreadable(
            f"the header is of other vectors (digest {digest[:12]}, generated by {header['generator']}) than "
            f"those of this version ({suite.digest[:12]}); generate them again, or name them with --vectors"
        )
    return suite


def _objects(lines: Iterable[str], only_lines: bool) -> Iterator[tuple[str, Any]]:
    """What the answers consist of, with where it stands; a line that is not JSON comes as an error."""
    source = iter(lines)
    first = next((line for line in source if line.strip()), "")
    if not first:
        return
    try:
        opening = json.loads(first)
        document = not only_lines and not (
            isinstance(opening, dict) and {"id", "hopspec_vectors"} & set(opening)
        )
    except json.JSONDecodeError:
        document = not only_lines
    if document:
        yield from _of_document(first + "".join(source))
        return
    for number, line in enumerate(chain([first], source), 1):
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except json.JSONDecodeError as error:
                yield f"line {number}", error


def _of_document(text: str) -> Iterator[tuple[str, Any]]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise Unreadable(f"the answers are neither a JSON document nor JSON lines: {error}") from error
    if isinstance(document, dict) and "answers" in document:
        if "header" in document:
            yield "header", document["header"]
        document = document["answers"]
    if not isinstance(document, list):
        raise Unreadable("the answers must be an array, or an object with an array of that name")
    for number, entry in enumerate(document, 1):
        yield f"answer {number}", entry


def check(
    lines: Iterable[str], suite: Suite | None = None, *, model: str | None = None, only_lines: bool = False
) -> Outcome:
    """Judge answers as they come.

    Args:
        lines: the text, line by line; a whole document may be one line.
        suite: the vectors; by default those the header speaks of, or all that come with the package.
        model: accuracy model, or ``correctly-rounded``; the loosest by default.
        only_lines: whether the answers must be JSON lines.

    Raises:
        Unreadable: if the answers as a whole, or their header, cannot be used.
        ValueError: if a format has no model of that name.
    """
    outcome = None if suite is None else Outcome(suite)
    vectors = {} if suite is None else {v.id: v for v in suite.vectors}
    seen: dict[str, str] = {}
    for place, record in _objects(lines, only_lines):
        if isinstance(record, dict) and "hopspec_vectors" in record:
            if outcome is None:
                outcome = Outcome(suite_of(record))
                vectors = {v.id: v for v in outcome.suite.vectors}
            elif record.get("digest") != outcome.suite.digest:
                raise Unreadable(f"{place}: the header is not that of the vectors the answers are judged by")
            continue
        if outcome is None:
            outcome = Outcome(committed())
            vectors = {v.id: v for v in outcome.suite.vectors}
        _take(outcome, vectors, seen, place, record, model)
    return outcome or Outcome(committed())


def _take(
    outcome: Outcome,
    vectors: dict[str, Vector],
    seen: dict[str, str],
    place: str,
    record: Any,
    model: str | None,
) -> None:
    """Judge one answer, or say what is wrong with it."""
    if isinstance(record, json.JSONDecodeError):
        outcome.problems.append(f"{place} is not JSON: {record}")
        return
    if not isinstance(record, dict) or not isinstance(record.get("id"), str):
        outcome.problems.append(f"{place}: expected an object with id and result, got {str(record)[:60]}")
        return
    name = record["id"]
    vector = vectors.get(name)
    if vector is None:
        outcome.problems.append(f"{place}: no vector {name!r} was asked for")
        return
    if name in seen:
        outcome.problems.append(
            f"{place}: {name} was answered before, at {seen[name]}; the first answer counts"
        )
        return
    seen[name] = place
    complaint, result = "", record.get("result")
    size, digits = math.prod(vector.shape), digits_of(vector.result_format)
    if set(record) != {"id", "result"}:
        complaint = f"expected the members id and result alone, got {', '.join(record)}"
    elif not isinstance(result, str):
        complaint = f"result must be a string of hexadecimal digits, got {type(result).__name__}"
    elif len(result) != size * digits:
        complaint = (
            f"result must have {size * digits} digits, {size} numbers of {digits} "
            f"({vector.result_format.name}), got {len(result)}"
        )
    if not complaint:
        try:
            actual = unpack(str(result), vector.result_format)
        except ValueError as error:
            complaint = str(error)
    if complaint:
        outcome.malformed.add(name)
        outcome.problems.append(f"{place}: {name}: {complaint}")
        return
    outcome.judgements[name] = judge(vector, actual, model_for(vector, model))
