"""Enclosed trajectories and certified fixed points against the plain definitions at many more bits."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hopspec import reference
from hopspec.precision import Precision
from hopspec.reference import definitions
from hopspec.reference.context import context
from hopspec.types import Exact

BITS = 900


def drawn(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """A query, a memory and a beta, from nearly linear to so sharp that iterates separate at first."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(2, 12)), int(rng.integers(1, 6))
    memory = rng.standard_normal((n, d)).astype(np.float32).astype(np.float64)
    query = memory[:2].mean(axis=0) + 0.01 * rng.standard_normal(d)
    return query.astype(np.float32).astype(np.float64), memory, float(2.0 ** rng.uniform(-2, 5))


def within(leaf: Exact, true: Any) -> bool:
    """Whether the enclosure holds."""
    ctx = context(BITS)
    return bool(abs(ctx.convert(leaf.value) - true) <= ctx.convert(leaf.radius) + ctx.ldexp(1, 60 - BITS))


@pytest.mark.parametrize("bits", [20, 128, 300])
@pytest.mark.parametrize("seed", range(8))
def test_iterates_are_enclosed_to_the_bits_asked_for(seed: int, bits: int) -> None:
    query, memory, beta = drawn(seed)
    keep = np.random.default_rng(seed).random(len(memory)) < 0.8
    keep[0] = True
    states = reference.enclosed_trajectory(query, memory, beta=beta, steps=6, keep=keep, to=bits)
    truth = definitions.trajectory(query, memory, beta=beta, steps=6, keep=keep, bits=BITS)
    assert len(states) == 7
    for state, exact in zip(states, truth, strict=True):
        largest = max(abs(x) for x in exact)
        for leaf, x in zip(state, exact, strict=True):
            assert within(leaf, x)
            assert leaf.bits == bits
            # Half a unit of rounding comes on top of the radius of the iterate.
            assert leaf.radius <= largest * 2.0 ** (1 - bits)
    assert all(leaf.exact for leaf in states[0]) == (bits > 24)


def test_a_sensitive_trajectory_is_followed() -> None:
    # Near an unstable fixed point the distance doubles more than four times in each step.
    query, memory = [2.0**-60], [[4.0], [-4.0]]
    states = reference.enclosed_trajectory(query, memory, beta=2.0, steps=15, to=100)
    truth = definitions.trajectory(query, memory, beta=2.0, steps=15, bits=BITS)
    assert all(
        within(s[0], t[0]) and s[0].radius <= abs(t[0]) * 2.0**-99 for s, t in zip(states, truth, strict=True)
    )
    assert float(states[-1][0].value) == pytest.approx(4)


def test_trajectories_of_several_queries_and_of_rational_ones() -> None:
    third = Fraction(1, 3)
    states = reference.enclosed_trajectory(
        [[third], [0]], [[third], [-third]], beta=Fraction(3), steps=2, to=60
    )
    truth = definitions.trajectory([third], [[third], [-third]], beta=Fraction(3), steps=2, bits=BITS)
    assert all(within(state[0][0], true[0]) for state, true in zip(states, truth, strict=True))
    assert all(state[1][0].exact and state[1][0].value == 0 for state in states)
    assert not states[0][0][0].exact
    mean = reference.enclosed_trajectory([7.0], [[0.0], [3.0]], beta=0, steps=1, to=Precision.fixed(40))
    assert (mean[1][0].value, mean[1][0].exact) == (1.5, True)


def test_trajectories_of_rows_that_are_empty_or_not_finite() -> None:
    states = reference.enclosed_trajectory(
        [[1.0], [math.nan]], [[1.0], [2.0]], beta=1, steps=2, keep=[[False, False], [True, True]], to=53
    )
    assert [float(state[0][0].value) for state in states] == [1, 0, 0]
    assert all(state[1][0].value != state[1][0].value for state in states)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"steps": -1}, ValueError, "steps must be at least 0, got -1"),
        ({"steps": 1.0}, TypeError, "steps must be an int, got float"),
        ({"beta": -1}, ValueError, "beta must be at least 0, got -1"),
        ({"beta": math.inf}, ValueError, "beta must be finite"),
        ({"to": 1}, ValueError, "bits must be at least 2"),
        ({"to": "float32"}, TypeError, "bits must be an int or a Precision"),
    ],
)
def test_bad_arguments_of_a_trajectory(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        reference.enclosed_trajectory([1.0], [[1.0]], **({"beta": 1, "steps": 1} | change))


@pytest.mark.parametrize("bits", [53, 128, 700])
@pytest.mark.parametrize("seed", range(10))
def test_the_iteration_leads_to_the_fixed_point(seed: int, bits: int) -> None:
    query, memory, beta = drawn(seed)
    found = reference.fixed_point(query, memory, beta=beta, to=bits)
    assert found.certified
    assert found.reached
    assert found.attracts
    assert not found.repels
    ctx = context(BITS)
    state = [ctx.convert(leaf.value) for leaf in found.state]
    assert all(leaf.radius <= max(map(abs, state)) * 2.0 ** (1 - bits) for leaf in found.state)
    sharper = reference.fixed_point(query, memory, beta=beta, to=BITS - 20)
    assert all(within(leaf, ctx.convert(s.value)) for leaf, s in zip(found.state, sharper.state, strict=True))
    # It is a fixed point to as many digits, and the iteration is on its way there.
    moved = definitions.update(state, memory, beta=beta, bits=BITS)
    assert all(
        abs(a - b) <= max(map(abs, state)) * 2.0 ** (4 - bits) for a, b in zip(state, moved, strict=True)
    )
    states = definitions.trajectory(query, memory, beta=beta, steps=60, bits=200)
    early, late = states[20], states[-1]
    assert (
        ctx.norm(ctx.matrix(late) - ctx.matrix(state))
        <= ctx.norm(ctx.matrix(early) - ctx.matrix(state)) + 1e-12
    )


@pytest.mark.parametrize("seed", range(12))
def test_saddles_are_found_and_called_so(seed: int) -> None:
    rng = np.random.default_rng(seed)
    half = rng.standard_normal((int(rng.integers(1, 5)), int(rng.integers(1, 5))))
    memory = np.concatenate([half, -half])
    beta = 3 / np.linalg.eigvalsh(half.T @ half / len(half))[-1]
    near = reference.fixed_point(np.full(half.shape[1], 2.0**-30), memory, beta=beta, max_steps=0)
    assert near.certified
    assert near.repels
    assert not near.reached
    assert all(leaf.exact and leaf.value == 0 for leaf in near.state)
    # From the saddle itself the exact iteration leads nowhere else.
    assert reference.fixed_point(np.zeros(half.shape[1]), memory, beta=beta).reached


def test_undecided_where_two_fixed_points_merge() -> None:
    found = reference.fixed_point([[0.0], [0.5]], [[2.0], [-2.0]], beta=0.25, max_steps=20)
    assert found.certified == [False, False]
    assert found.reached == [False, False]
    assert all(state[0].value != state[0].value and state[0].radius == math.inf for state in found.state)


def test_fixed_points_of_rows_that_are_empty_or_not_finite() -> None:
    found = reference.fixed_point(
        [[math.nan], [math.nan], [1.0]],
        [[1.0], [math.inf]],
        beta=1,
        keep=[[False, False], [True, False], [False, True]],
    )
    assert found.certified == [True, False, False]
    assert found.state[0][0].exact
    assert reference.fixed_point([3.0], [[1.25]], beta=1).state[0].value == 1.25


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"max_steps": -1}, ValueError, "max_steps must be at least 0, got -1"),
        ({"max_steps": None}, TypeError, "max_steps must be an int, got NoneType"),
        ({"beta": 0}, ValueError, "beta must be positive, got 0"),
        ({"to": 0}, ValueError, "bits must be at least 2, got 0"),
        ({"memory": [[1.0, 2.0]]}, ValueError, "width d = 1, got 2"),
    ],
)
def test_bad_arguments_of_a_fixed_point(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"memory": [[1.0]], "beta": 1} | change
    with pytest.raises(error, match=message):
        reference.fixed_point([1.0], **arguments)
