"""Implicit gradients hold those of the definition at a far more precise fixed point."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from hopspec.reference import definitions, fixed_point, implicit_gradient
from hopspec.reference.dyadic import exact_number


def fraction(x: Any) -> Fraction:
    number = exact_number(x, "x")
    assert number is not None
    return number.fraction()


def leaves(found: Any) -> list[Any]:
    return [*found.query, *(leaf for row in found.memory for leaf in row), found.beta]


def test_encloses_the_definition() -> None:
    rng = np.random.default_rng(0)
    narrow = total = saddles = 0
    for trial in range(24):
        n, d = int(rng.integers(2, 9)), int(rng.integers(1, 4))
        memory = rng.standard_normal((n, d)) * 2.0 ** int(rng.choice([0, 0, 9, -6]))
        if trial % 4 == 0:
            memory = np.concatenate([memory, -memory])  # the origin is a fixed point, often a saddle
        size = float(np.abs(memory).max())
        beta = float(rng.choice([0.3, 1.0, 4.0])) / size**2
        start = memory[0] if trial % 4 else memory[0] * 2.0**-90
        steps = 0 if trial % 4 == 0 else 1000
        g = rng.standard_normal(d) * 2.0 ** int(rng.integers(-30, 30))
        keep = None if trial % 3 else [True, *(rng.random(len(memory) - 1) < 0.8).tolist()]
        bits = int(rng.choice([20, 64, 128]))
        found = implicit_gradient(start, memory, g, beta=beta, keep=keep, to=bits, max_steps=steps)
        near = fixed_point(start, memory, beta=beta, keep=keep, to=700, max_steps=steps)
        assert near.certified
        saddles += int(near.repels)
        state = [leaf.value for leaf in near.state]
        true = definitions.implicit_gradient(state, memory, g, beta=beta, keep=keep, bits=700)
        slack = max(abs(fraction(x)) for x in leaves(true)) / 2**500
        for leaf, expected in zip(leaves(found), leaves(true), strict=True):
            assert leaf.bits == bits
            assert abs(fraction(leaf.value) - fraction(expected)) <= fraction(leaf.radius) + slack
            total += 1
            narrow += int(fraction(leaf.radius) <= abs(fraction(leaf.value)) * Fraction(2) ** (1 - bits))
    assert saddles > 0
    assert narrow > total * 0.9


def test_sums_over_queries() -> None:
    memory = np.random.default_rng(1).standard_normal((5, 2))
    queries, g = memory[:2], np.array([[1.0, -0.5], [0.25, 2.0]])
    both = implicit_gradient(queries, memory, g, beta=2.0, to=80)
    singles = [implicit_gradient(q, memory, c, beta=2.0, to=80) for q, c in zip(queries, g, strict=True)]
    assert [[leaf.value for leaf in row] for row in both.query] == [[0, 0], [0, 0]]
    for i in range(5):
        for j in range(2):
            parts = [one.memory[i][j] for one in singles]
            away = fraction(both.memory[i][j].value) - sum(fraction(part.value) for part in parts)
            radii = [fraction(leaf.radius) for leaf in (*parts, both.memory[i][j])]
            assert abs(away) <= sum(radii)


def test_empty_rows_and_what_cannot_be_certified() -> None:
    memory = [[1.0], [-1.0]]
    found = implicit_gradient([7.0], memory, [1.0], beta=0.5, keep=[False, False])
    assert all(leaf.exact and leaf.value == 0 for leaf in leaves(found))
    # At beta = 1 the origin has the Jacobian 1: the two outer fixed points are born there.
    undecided = implicit_gradient([0.0], memory, [1.0], beta=1.0)
    assert all(leaf.radius == np.inf for leaf in leaves(undecided))
    # What one query cannot give is undefined in whatever it contributes to, in either order.
    for order in ([0, 1], [1, 0]):
        queries, keep = ([[0.5], [np.nan]], [[True, True], [True, False]])
        spoiled = implicit_gradient(
            [queries[k] for k in order], memory, [[1.0], [1.0]], beta=0.5, keep=[keep[k] for k in order]
        )
        good, bad = (spoiled.query[order.index(k)][0] for k in (0, 1))
        assert good.value == 0
        assert bad.radius == spoiled.beta.radius == np.inf
        assert [row[0].radius < 1 for row in spoiled.memory] == [False, True]
    with pytest.raises(TypeError, match="to must be an int or a Precision, got 'float64'"):
        implicit_gradient([0.0], memory, [1.0], beta=0.5, to="float64")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"cotangent must have shape \[1\], got \[2\]"):
        implicit_gradient([0.0], memory, [1.0, 2.0], beta=0.5)
