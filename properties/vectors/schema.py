"""The JSON Schemas of vectors and answers, and validation where ``jsonschema`` is installed."""

from __future__ import annotations

import importlib.util
import json
from importlib import resources
from typing import Any

__all__ = ["first_complaint", "load_schema"]


def load_schema(name: str) -> dict[str, Any]:
    """The schema ``vectors`` or ``answers``.

    >>> load_schema("vectors")["title"]
    'Test vectors of hopspec'
    """
    source = resources.files("hopspec.properties.vectors") / f"{name}.schema.json"
    schema: dict[str, Any] = json.loads(source.read_text(encoding="ascii"))
    return schema


def first_complaint(document: Any, name: str, part: str = "") -> str:
    """What is wrong with a document, "" if nothing is or if ``jsonschema`` is not installed.

    Args:
        document: parsed JSON.
        name: ``vectors`` or ``answers``.
        part: name of a definition in the schema, for one line instead of the whole document.

    >>> first_complaint({"id": "x"}, "answers", "answer")
    "'result' is a required property"
    """
    if importlib.util.find_spec("jsonschema") is None:
        return ""
    import jsonschema  # noqa: PLC0415  (optional)

    schema = load_schema(name)
    if part:
        schema = {"$schema": schema["$schema"], "$defs": schema["$defs"], "$ref": f"#/$defs/{part}"}
    validator = jsonschema.Draft202012Validator(schema)
    error = next(iter(validator.iter_errors(document)), None)
    if error is None:
        return ""
    where = "/".join(str(step) for step in error.absolute_path)
    message = error.message if len(error.message) <= 200 else error.message[:200] + " ..."
    return f"{where}: {message}" if where else str(message)
