"""One test vector, as data and as a JSON object."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hopspec.formats import FORMATS, Format
from hopspec.properties.problem import Array, Problem
from hopspec.properties.vectors.codec import from_bits, unpack

__all__ = ["Vector", "compact"]


def compact(record: Any) -> str:
    """JSON on one line, without spaces, keys in the order given."""
    return json.dumps(record, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


@dataclass(frozen=True)
class Vector:
    """Inputs, what is asked, and what is known of the answer.

    Args:
        record: the JSON object, as the schema describes it; every number in it is a bit pattern.
    """

    record: dict[str, Any]

    @property
    def id(self) -> str:
        """Its name, the same in every version of the vectors."""
        return str(self.record["id"])

    @property
    def quantity(self) -> str:
        """What is asked: update, log_normalizer, energy or association."""
        return str(self.record["quantity"])

    @property
    def bug_class(self) -> str:
        """What it is there to find."""
        return str(self.record["bug_class"])

    @property
    def clauses(self) -> tuple[str, ...]:
        """The clauses it is about."""
        return tuple(self.record["clauses"])

    @property
    def needs(self) -> tuple[str, ...]:
        """What a program must claim for the vector to concern it."""
        return tuple(self.record["needs"])

    @property
    def format(self) -> Format:
        """Format of the inputs."""
        return FORMATS[self.record["format"]]

    @property
    def result_format(self) -> Format:
        """Format of the answer."""
        return FORMATS[self.record["result_format"]]

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the accuracy models an error is allowed for."""
        return tuple(self.record["allowed"])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the answer."""
        of = self.record
        if self.quantity == "update":
            return (of["queries"], of["value_width"])
        if self.quantity == "association":
            return (of["queries"], of["memories"])
        return (of["queries"],)

    @cached_property
    def problem(self) -> Problem:
        """The inputs."""
        of = self.record
        queries, memories, width = of["queries"], of["memories"], of["width"]
        keep = None
        if "keep" in of:
            keep = np.array([c == "1" for c in of["keep"]], dtype=np.bool_).reshape(queries, memories)
        values = None
        if "values" in of:
            values = unpack(of["values"], self.format).reshape(memories, of["value_width"])
        return Problem(
            unpack(of["query"], self.format).reshape(queries, width),
            unpack(of["memory"], self.format).reshape(memories, width),
            from_bits(int(of["beta"], 16), FORMATS["float64"]),
            keep=keep,
            values=values,
        )

    @cached_property
    def expected(self) -> Array:
        """The exact answer rounded once to its format, flat."""
        return unpack(self.record["expected"], self.result_format)

    @cached_property
    def enclosure(self) -> tuple[Array, Array, Array]:
        """``hi``, ``lo`` and ``radius``: the exact answer lies within ``radius`` of ``hi + lo``; flat."""
        of = self.record["enclosure"]
        return unpack(of["hi"]), unpack(of["lo"]), unpack(of["radius"])

    def allowed(self, model: str) -> Array:
        """The largest error each component may have under an accuracy model, flat."""
        return unpack(self.record["allowed"][model]["bits"])

    @property
    def line(self) -> str:
        """The JSON object on one line."""
        return compact(self.record)
