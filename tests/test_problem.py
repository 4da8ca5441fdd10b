"""Problems derived from others, and calls and answers on their way to another process."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from hopspec.properties.calls import Answer, Call, packed, unpacked
from hopspec.properties.models import MODELS
from hopspec.properties.problem import INTERNED, Problem
from hopspec.reference.bounds import association_bound, energy_bound, perturbation, update_bound


def problem() -> Problem:
    return Problem(np.array([[1.0, -2.0], [0.5, 0.0]]), np.array([[1.0, 0.0], [0.0, 3.0], [2.0, 2.0]]), 0.5)


def test_the_same_changes_give_the_same_object() -> None:
    p = problem()
    other = p.but(query=-p.query, beta=2.0)
    assert p.but(query=-1.0 * p.query, beta=2.0) is other
    assert other.solution is p.but(query=-p.query, beta=2.0).solution
    assert p.but(memory=p.memory.copy()) is p


def test_other_bits_give_another_object() -> None:
    p = problem()
    zeros = p.but(query=np.zeros((2, 2)))
    assert p.but(query=-np.zeros((2, 2))) is not zeros
    assert p.but(query=np.zeros((1, 2))) is not zeros
    assert p.but(beta=-0.0) is not p.but(beta=0.0)
    large = np.zeros((1, INTERNED + 1))
    assert p.but(query=large) is not p.but(query=large)


def test_a_problem_is_sent_without_what_follows_from_it() -> None:
    p = problem()
    bare = len(packed(p))
    assert p.frame.exact is p.but(query=p.query[:1]).but(query=p.query).solution
    assert len(packed(p)) == bare
    assert unpacked(packed(p)).size == p.size


@pytest.mark.parametrize(
    "array", [np.array([[-0.0, np.nan]]), np.zeros((0, 3)), np.array([[True, False]]), np.array(2.5)]
)
def test_arrays_cross_bit_for_bit(array: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    call = Call("retrieve", "float32", {"query": array}, {"beta": 1.0}, story="kept", varies=True)
    sent = unpacked(packed(call))
    assert sent.key == call.key
    assert replace(sent, arguments={}) == replace(call, arguments={})
    assert sent.arguments["query"].flags.writeable
    answer = Answer((array,), ("float32",), ("query",), "ValueError", "no")
    received = unpacked(packed(answer))
    assert received.arrays[0].tobytes() == array.tobytes()
    assert received.arrays[0].shape == array.shape
    assert replace(received, arrays=()) == replace(answer, arrays=())


def test_every_field_of_a_message_crosses() -> None:
    call = Call("retrieve", "float32", {}, {"beta": 1.0}, "reversed", True, True, "twice")
    answer = Answer((np.ones(2),), ("float32",), ("query",), "ValueError", "no", {"depth": 3})
    for message in (call, answer):
        # A field that stands at its default would show nothing.
        assert not any(getattr(message, f.name) is f.default for f in fields(message))
        assert repr(unpacked(packed(message))) == repr(message)


@pytest.mark.parametrize("name", ["wide-float64", "any-float32", "flash-bfloat16", "merged-float16"])
def test_bounds_are_the_same_with_what_they_share(name: str) -> None:
    p, model = problem().but(keep=np.array([[True, True, False], [True, True, True]])), MODELS[name]
    given = p.query, p.memory, p.beta, p.solution, model
    moved = perturbation(*given, frame=p.frame)
    assert np.array_equal(update_bound(*given, None, moved, p.frame), update_bound(*given))
    assert np.array_equal(energy_bound(*given, moved, None, p.frame), energy_bound(*given))
    assert np.array_equal(association_bound(*given, moved), association_bound(*given))
