"""An implementation in Python answers vectors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.properties.calls import Call
from hopspec.properties.problem import Array
from hopspec.properties.session import Session
from hopspec.properties.vectors.codec import pack
from hopspec.properties.vectors.judge import CORRECTLY_ROUNDED, Judgement, judge, model_for
from hopspec.properties.vectors.vector import Vector, compact
from hopspec.types import Capabilities, Implementation

__all__ = ["answer_lines", "answers", "concerns", "judged"]

CALLABLES = {"update": "retrieve"}


def concerns(vector: Vector, capabilities: Capabilities, quantities: Iterable[str]) -> bool:
    """Whether an implementation claims what the vector needs.

    Args:
        vector: the vector.
        capabilities: what is claimed.
        quantities: names of the callables there are.
    """
    low, _ = capabilities.beta_range
    claimed = {
        name
        for name in ("masks", "values", "empty_rows", "nan_isolation", "finite_range")
        if getattr(capabilities, name)
    }
    if low < 0:
        claimed.add("negative_beta")
    return (
        vector.format.name in capabilities.dtypes
        and CALLABLES.get(vector.quantity, vector.quantity) in set(quantities)
        and set(vector.needs) <= claimed
    )


def _call(vector: Vector) -> Call:
    p = vector.problem
    arguments: dict[str, Any] = {"query": p.query, "memory": p.memory}
    if p.keep is not None:
        arguments["keep"] = p.keep
    if p.values is not None:
        arguments["values"] = p.values
    quantity = CALLABLES.get(vector.quantity, vector.quantity)
    return Call(quantity, vector.format.name, arguments, {"beta": p.beta})


def answers(session: Session, vectors: Iterable[Vector]) -> Iterator[tuple[Vector, Array | None]]:
    """What an implementation answers to the vectors that concern it, flat.

    None where it raises, or where a number is not one of the result's format (clause MHN-DOM-3).

    Args:
        session: the implementation.
        vectors: what to ask.
    """
    description = session.describe()
    for vector in vectors:
        if concerns(vector, description.capabilities, description.quantities):
            answer = session.answer(_call(vector))
            yield vector, None if answer.error else _numbers(vector, answer.arrays[0])


def _numbers(vector: Vector, result: NDArray[Any]) -> Array | None:
    flat = np.asarray(result, dtype=np.float64).ravel()
    try:
        pack(flat, vector.result_format)
    except ValueError:
        return None
    return flat


def _model(implementation: Implementation[Any], vector: Vector) -> str:
    """What the implementation claims of its arithmetic, or the loosest model."""
    if implementation.capabilities.correctly_rounded and vector.quantity == "update":
        return CORRECTLY_ROUNDED
    own = [m.name for m in implementation.accuracy if m.name in vector.models]
    return next(iter(own), "") or model_for(vector, None)


def judged(session: Session, vectors: Iterable[Vector]) -> Iterator[tuple[Vector, Judgement | None]]:
    """The verdict on every answer, under the model the implementation claims; None where it raises.

    Args:
        session: the implementation.
        vectors: what to ask.
    """
    for vector, got in answers(session, vectors):
        model = _model(session.implementation, vector)
        yield vector, None if got is None else judge(vector, got, model)


def answer_lines(session: Session, lines: Iterable[str]) -> Iterator[str]:
    """The line protocol from the program's side: the header as it came, then an answer for each vector.

    Args:
        session: the implementation.
        lines: the header and the vectors.
    """
    for line in lines:
        record = json.loads(line)
        if "hopspec_vectors" in record:
            yield line.rstrip("\n")
            continue
        for vector, got in answers(session, [Vector(record)]):
            if got is not None:
                yield compact({"id": vector.id, "result": pack(got, vector.result_format)})
