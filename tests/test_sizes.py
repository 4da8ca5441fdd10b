"""Problems of special sizes, their exact solutions by distinct rows, and the calls told as stories."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from hopspec.properties.calls import Description
from hopspec.properties.checks import CHECKS
from hopspec.properties.families import LARGE, drawn
from hopspec.properties.models import loosest
from hopspec.properties.repeats import solve_repeated
from hopspec.properties.sizes import FORMS, LONG_FORMS, TWISTS
from hopspec.properties.stories import ArrayCannotBeChanged, tell
from hopspec.reference import solve
from hopspec.types import Capabilities


@pytest.mark.parametrize("seed", range(12))
def test_counted_memories_give_what_repeated_ones_give(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, d, count = (int(rng.integers(1, high)) for high in (9, 5, 4))
    memory, query = (np.round(8 * rng.standard_normal((k, d))) / 8 for k in (n, count))
    often, keep = rng.integers(1, 6, n), rng.random((count, n)) < 0.7
    beta, values = float(rng.choice([0.0, -1.5, 0.3, 20.0])), rng.standard_normal((n, 3))
    which = np.repeat(np.arange(n), often)
    few = solve(query, memory, beta=beta, keep=keep, values=values, counts=often.tolist())
    many = solve(query, memory[which], beta=beta, keep=keep[:, which], values=values[which])
    for a, b in (
        (few.state, many.state),
        (few.log_normalizer, many.log_normalizer),
        (few.energy, many.energy),
    ):
        if a is not None and b is not None:
            assert np.array_equal(a.hi, b.hi)
            np.testing.assert_allclose(a.lo, b.lo, rtol=1e-9, atol=1e-40)
    assert np.array_equal(few.logits[:, which], many.logits)
    np.testing.assert_allclose(few.weights[:, which], many.weights, rtol=1e-12)


def test_counts_are_checked() -> None:
    for counts in ([1], [1, 0], [1, 2, 3]):
        with pytest.raises(ValueError, match="counts must be 2 positive ints"):
            solve([1.0], [[1.0], [2.0]], beta=1.0, counts=counts)


@pytest.mark.parametrize("masked", ["none", "per-memory", "per-query"])
def test_distinct_rows_give_the_solution_of_all(masked: str) -> None:
    rng = np.random.default_rng(3)
    patterns, states = rng.standard_normal((5, 2)), rng.standard_normal((3, 2))
    which, rows = rng.integers(0, 5, 90), rng.integers(0, 3, 40)
    keep = {
        "none": None,
        "per-memory": rng.random(90) < 0.5,
        "per-query": (rng.random((2, 90)) < 0.5)[rng.integers(0, 2, 40)],
    }[masked]
    values = rng.standard_normal((5, 1))[which]
    found = solve_repeated(states[rows], patterns[which], 0.7, keep, values)
    assert found is not None
    whole = solve(states[rows], patterns[which], beta=0.7, keep=keep, values=values)
    assert np.array_equal(found.kept, whole.kept)
    assert np.array_equal(found.state.hi, whole.state.hi)
    assert np.array_equal(found.log_normalizer.hi, whole.log_normalizer.hi)
    assert np.array_equal(found.logits, whole.logits)
    np.testing.assert_allclose(found.weights, whole.weights, rtol=1e-12)


def test_distinct_rows_are_used_only_where_they_are_few() -> None:
    rng = np.random.default_rng(0)
    assert solve_repeated(rng.standard_normal((4, 2)), rng.standard_normal((600, 2)), 1.0, None, None) is None
    assert solve_repeated(np.ones((2, 1)), np.ones((9, 1)), 1.0, None, None) is None


def test_forms_and_twists_follow_each_other() -> None:
    found = [drawn("tiles", 0, number) for number in range(len(FORMS) * len(TWISTS))]
    pairs = Counter((p.regimes[0], p.regimes[-1]) for p in found)
    assert {form for form, _ in pairs} == {f"tiles: {form}" for form in FORMS}
    assert {twist for _, twist in pairs} == {f"twist: {twist}" for twist in TWISTS}
    assert len(pairs) == len({*FORMS}) * len({*TWISTS})
    assert max(p.query.shape[1] for p in found) > 256
    assert max(p.query.shape[0] for p in found) > 256
    assert any(p.query.shape[0] == p.memory.shape[0] > 4 for p in found)
    levels = [p.solution.logits.max() for p in found if p.regimes[-1] == "twist: level"]
    assert min(levels) < -1000 < 1000 < max(levels)


def test_a_few_long_problems_reach_beyond_every_counter() -> None:
    found = [drawn("long", 0, number) for number in range(len(LONG_FORMS))]
    assert max(p.memory.shape[0] for p in found) > 2**16
    assert all(len(np.unique(p.memory, axis=0)) <= 200 for p in found)
    level = next(p for p in found if p.regimes[0] == "long: level")
    weights = level.solution.weights
    assert weights.max() < 1.1 * weights.min()
    assert max(drawn("many", 0, number).query.shape[0] for number in range(4)) > 2**16


@pytest.mark.parametrize("family", ["tiles", *LARGE])
def test_few_rows_are_different(family: str) -> None:
    for number in range(8):
        assert len(np.unique(drawn(family, 1, number).query, axis=0)) <= 5


def test_large_problems_are_not_asked_of_small_implementations() -> None:
    small = Description("slow", ("retrieve",), Capabilities(max_size=3000), (), {})
    plain = [c for c in CHECKS if c.size and c.quantities == ("retrieve",) and not c.claims]
    said = {c.family: c.unclaimed(small, loosest("float32")) for c in plain}
    assert said == dict.fromkeys(("tiles", *LARGE), "sizes beyond max_size = 3000")


class Asked:
    """Remembers what it was asked, and returns one array that it overwrites."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, float, Any]] = []
        self.buffer = np.zeros((2, 1))

    def __call__(self, query: Any, memory: Any, *, beta: float) -> Any:
        self.calls.append((query, memory, beta, memory.copy()))
        self.buffer[:] = query.sum() + memory.sum()
        return self.buffer


def arrays() -> dict[str, Any]:
    return {
        "query": np.ones((2, 1)),
        "memory": np.full((3, 1), 2.0),
        "other_query": np.zeros((2, 1)),
        "other_memory": np.zeros((3, 1)),
    }


def test_a_result_is_looked_at_after_another_call() -> None:
    asked = Asked()
    assert not tell("kept", asked, arrays(), {"beta": 1.0}).any()


def test_an_array_is_changed_between_two_calls() -> None:
    asked, given = Asked(), arrays()
    assert (tell("changed", asked, given, {"beta": 1.0}) == 8.0).all()
    (_, first, _, before), (_, second, _, after) = asked.calls
    assert first is second
    assert not before.any()
    assert (after == 2.0).all()
    frozen = given | {"other_memory": tuple(given["other_memory"])}
    with pytest.raises(ArrayCannotBeChanged):
        tell("changed", lambda q, m, beta: q, frozen, {"beta": 1.0})


def test_a_result_is_looked_at_while_its_arguments_hold_something_else() -> None:
    given = arrays()
    handed_out = tell("own", lambda q, m, beta: m, given, {"beta": 1.0})
    copied = tell("own", lambda q, m, beta: m.copy(), given, {"beta": 1.0})
    assert not handed_out.any()
    assert (copied == 2.0).all()
    assert (given["memory"] == 2.0).all()
    assert (given["query"] == 1.0).all()


def test_beta_changes_between_two_calls_on_the_same_arrays() -> None:
    asked = Asked()
    tell("another beta", asked, arrays(), {"beta": 1.0})
    (query, memory, other, _), (again, same, beta, _) = asked.calls
    assert query is again
    assert memory is same
    assert other > beta == 1.0


def test_one_array_is_query_and_memory() -> None:
    asked, given = Asked(), arrays()
    tell("same", asked, given, {"beta": 1.0})
    query, memory, _, _ = asked.calls[0]
    assert memory is given["memory"]
    assert np.shares_memory(query, memory)
    assert query.shape == (2, 1)
