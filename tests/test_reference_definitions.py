"""The definitions against their own laws, finite differences and published numbers."""

import importlib
import math
import pkgutil
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import hopspec.reference
from hopspec.clauses import implementations_of, load_clauses
from hopspec.precision import Precision
from hopspec.reference import definitions as d
from hopspec.reference.context import context
from hopspec.types import Status

RNG = np.random.default_rng(2)
QUERY = RNG.standard_normal(3).tolist()
MEMORY = RNG.standard_normal((5, 3)).tolist()
VALUES = RNG.standard_normal((5, 2)).tolist()
KEEP = [True, False, True, True, True]
BITS = 400
STEP = 2.0**-60
CTX = context(BITS)


def inner(x: Any, y: Any) -> Any:
    return sum((a * b for a, b in zip(x, y, strict=True)), start=CTX.zero)


def derivative(function: Callable[..., Any], *arguments: Any) -> Any:
    """Central difference in the first argument at 0, right to about ``STEP**2``."""
    step = CTX.convert(STEP)
    return (function(step, *arguments) - function(-step, *arguments)) / (2 * step)


def moved(vector: Any, j: int, step: Any) -> list[Any]:
    return [CTX.convert(x) + (step if k == j else 0) for k, x in enumerate(vector)]


def moved_row(matrix: Any, i: int, j: int, step: Any) -> list[Any]:
    return [moved(row, j, step) if k == i else row for k, row in enumerate(matrix)]


def test_every_definition_of_this_package_is_linked() -> None:
    for module in pkgutil.iter_modules(hopspec.reference.__path__):
        importlib.import_module(f"hopspec.reference.{module.name}")
    for clause in load_clauses().values():
        if clause.kind == "DEF":
            assert implementations_of(clause.id), clause.id


def test_weights_sum_to_one_and_update_is_their_mean() -> None:
    weights = d.association(QUERY, MEMORY, beta=1.5, keep=KEEP, bits=BITS)
    assert weights[1] == 0
    assert abs(sum(weights) - 1) < 2.0**-390
    assert d.update(QUERY, MEMORY, beta=1.5, keep=KEEP, bits=BITS) == d.read_out(
        weights, MEMORY, keep=KEEP, bits=BITS
    )


def test_masked_memories_are_removed_and_may_hold_anything() -> None:
    spoiled = [row if flag else [math.nan, math.inf, "?"] for row, flag in zip(MEMORY, KEEP, strict=True)]
    rest = [row for row, flag in zip(MEMORY, KEEP, strict=True) if flag]
    for function in (d.update, d.log_normalizer, d.energy, d.lse, d.jacobian, d.logits):
        assert function(QUERY, spoiled, beta=2.0, keep=KEEP) == function(QUERY, rest, beta=2.0)
    assert d.separation(spoiled, keep=KEEP) == d.separation(rest)


def test_empty_rows() -> None:
    for memory, keep in (([], None), (MEMORY, [False] * 5)):
        assert d.update(QUERY, memory, beta=1.0, keep=keep) == [0, 0, 0]
        assert d.association(QUERY, memory, beta=1.0, keep=keep) == [0] * len(memory)
        assert d.log_normalizer(QUERY, memory, beta=1.0, keep=keep) == -math.inf
        assert d.energy(QUERY, memory, beta=1.0, keep=keep) == math.inf
        assert d.jacobian(QUERY, memory, beta=1.0, keep=keep) == [[0] * 3] * 3
        assert d.gradients(QUERY, memory, [1, 1, 1], beta=1.0, keep=keep).query == [0, 0, 0]
    result = d.settle(QUERY, MEMORY, beta=1.0, eps=0, keep=[False] * 5)
    assert (result.state, result.steps, result.residual, result.status) == ([0] * 3, 1, 0, Status.CONVERGED)


def test_three_point_identity() -> None:
    beta = 0.8
    other = RNG.standard_normal(3).tolist()
    p, q = (d.association(x, MEMORY, beta=beta, bits=BITS) for x in (QUERY, other))
    image = d.update(QUERY, MEMORY, beta=beta, bits=BITS)
    left = d.energy(QUERY, MEMORY, beta=beta, bits=BITS) - d.energy(other, MEMORY, beta=beta, bits=BITS)
    away = [[CTX.convert(a) - b for a, b in zip(x, image, strict=True)] for x in (QUERY, other)]
    right = (inner(away[0], away[0]) - inner(away[1], away[1])) / 2
    right += d.kl_divergence(p, q, bits=BITS) / CTX.convert(beta)
    assert abs(left - right) < 2.0**-380


def test_jacobian_is_the_derivative_of_the_update() -> None:
    jacobian = d.jacobian(QUERY, MEMORY, beta=1.3, keep=KEEP, bits=BITS)

    def image(step: Any, k: int) -> Any:
        return CTX.matrix(d.update(moved(QUERY, k, step), MEMORY, beta=1.3, keep=KEEP, bits=BITS))

    for k in range(3):
        column = derivative(image, k)
        for j in range(3):
            assert abs(column[j] - jacobian[j][k]) < 2.0**-110
            assert abs(jacobian[j][k] - jacobian[k][j]) < 2.0**-390


def test_energy_gradient_is_query_minus_update() -> None:
    def at(step: Any, j: int) -> Any:
        return d.energy(moved(QUERY, j, step), MEMORY, beta=1.3, bits=BITS)

    image = d.update(QUERY, MEMORY, beta=1.3, bits=BITS)
    for j in range(3):
        slope = derivative(at, j)
        assert abs(slope - (QUERY[j] - image[j])) < 2.0**-110


@pytest.mark.parametrize("values", [None, VALUES])
def test_gradients_are_derivatives(values: Any) -> None:
    beta = 1.3
    g = RNG.standard_normal(3 if values is None else 2).tolist()

    def out(query: Any = QUERY, memory: Any = MEMORY, values: Any = values, beta: Any = beta) -> Any:
        return inner(d.update(query, memory, beta=beta, keep=KEEP, values=values, bits=BITS), g)

    def by_query(step: Any, j: int) -> Any:
        return out(query=moved(QUERY, j, step))

    def by_memory(step: Any, i: int, j: int) -> Any:
        return out(memory=moved_row(MEMORY, i, j, step))

    def by_values(step: Any, i: int, j: int) -> Any:
        return out(values=moved_row(VALUES, i, j, step))

    def by_beta(step: Any) -> Any:
        return out(beta=CTX.convert(beta) + step)

    found = d.gradients(QUERY, MEMORY, g, beta=beta, keep=KEEP, values=values, bits=BITS)
    for j in range(3):
        assert abs(derivative(by_query, j) - found.query[j]) < 2.0**-110
        for i in range(5):
            assert abs(derivative(by_memory, i, j) - found.memory[i][j]) < 2.0**-110
    assert abs(derivative(by_beta) - found.beta) < 2.0**-110
    assert (found.values is None) == (values is None)
    if found.values is not None:
        for i, j in ((0, 0), (1, 1), (4, 1)):
            assert abs(derivative(by_values, i, j) - found.values[i][j]) < 2.0**-110


def test_implicit_gradient_is_the_derivative_of_the_fixed_point() -> None:
    beta, g = 0.4, [1.0, -2.0, 0.5]

    def fixed_point(memory: Any = MEMORY, beta: Any = beta) -> Any:
        return d.settle(QUERY, memory, beta=beta, eps=2.0**-280, bits=BITS).state

    def by_memory(step: Any, i: int, j: int) -> Any:
        return inner(fixed_point(moved_row(MEMORY, i, j, step)), g)

    def by_beta(step: Any) -> Any:
        return inner(fixed_point(beta=CTX.convert(beta) + step), g)

    found = d.implicit_gradient(fixed_point(), MEMORY, g, beta=beta, bits=BITS)
    for i, j in ((0, 0), (3, 2)):
        assert abs(derivative(by_memory, i, j) - found.memory[i][j]) < 2.0**-100
    assert abs(derivative(by_beta) - found.beta) < 2.0**-100
    assert found.query == [0, 0, 0]
    with pytest.raises(ValueError, match="singular"):
        d.implicit_gradient([0.0], [[1.0], [-1.0]], [1.0], beta=1.0)


def test_blocks_merge_to_the_whole() -> None:
    blocks = []
    for part in (slice(0, 2), slice(2, 2), slice(2, 5)):
        normalizer = d.log_normalizer(QUERY, MEMORY[part], beta=1.0, bits=BITS)
        blocks.append((normalizer, d.update(QUERY, MEMORY[part], beta=1.0, bits=BITS)))
    normalizer, state = d.merge_blocks(blocks, bits=BITS)
    assert abs(normalizer - d.log_normalizer(QUERY, MEMORY, beta=1.0, bits=BITS)) < 2.0**-390
    for merged, whole in zip(state, d.update(QUERY, MEMORY, beta=1.0, bits=BITS), strict=True):
        assert abs(merged - whole) < 2.0**-390
    assert d.merge_blocks([blocks[1]]) == (-math.inf, [0, 0, 0])
    with pytest.raises(ValueError, match="blocks must hold at least one pair"):
        d.merge_blocks([])


def test_settle_stops_at_the_first_short_step() -> None:
    result = d.settle(QUERY, MEMORY, beta=0.7, eps=1e-6)
    states = d.trajectory(QUERY, MEMORY, beta=0.7, steps=result.steps)
    ctx = context(200)
    steps = [ctx.sqrt(sum((a - b) ** 2 for a, b in zip(x, y, strict=True))) for x, y in pairwise(states)]
    assert result.state == states[-1]
    assert result.residual == steps[-1] <= 1e-6
    assert all(step > 1e-6 for step in steps[:-1])
    assert result.energy == d.energy(states[-1], MEMORY, beta=0.7)
    assert result.status == Status.CONVERGED
    assert d.settle(QUERY, MEMORY, beta=0.7, eps=1e-6, max_steps=1).status == Status.MAX_STEPS
    for arguments, message in (
        ({"eps": -1.0}, "eps must be at least 0"),
        ({"eps": 0.1, "max_steps": 0}, "max_steps must be at least 1"),
        ({"eps": math.nan}, "eps must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            d.settle(QUERY, MEMORY, beta=0.7, **arguments)  # type: ignore[arg-type]


def test_published_capacity_bases() -> None:
    assert d.capacity_base(1, 3, 20, 0.001) >= 3.1546
    assert d.capacity_base(1, 1, 75, 0.001) >= 1.3718
    assert float(d.capacity_bound(1, 1, 75, 0.001)) == pytest.approx(10.97, abs=0.01)
    for arguments in ((1, 3, 1, 0.1), (1, 3, 20, 1.5), (0, 3, 20, 0.1), (1, -1, 20, 0.1)):
        with pytest.raises(ValueError, match="must be"):
            d.capacity_base(*arguments)


def test_separation_and_divergence() -> None:
    assert [float(x) for x in d.separation([[2.0, 0.0], [1.0, 1.0], [0.0, -1.0]])] == [2.0, 0.0, 1.0]
    assert d.separation([[1.0]]) == [math.inf]
    assert d.kl_divergence([0.5, 0.5], [1.0, 0.0]) == math.inf
    assert d.kl_divergence([0.25, 0.75], [0.25, 0.75]) == 0


def test_every_operation_rounds_to_the_working_precision() -> None:
    for bits in (4, 11, 53):
        for number in d.update(QUERY, MEMORY, beta=1.0, bits=bits):
            assert number._mpf_[3] <= bits
    coarse = d.update(QUERY, MEMORY, beta=1.0, bits=Precision.logarithmic(5))
    assert coarse == d.update(QUERY, MEMORY, beta=1.0, bits=12)
    # 3 and 3 have two bits each, their product 9 needs four.
    assert d.scores([3.0], [[3.0]], bits=3)[0] == 8


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: d.update([math.nan], [[1.0]], beta=1), ValueError, "query must be finite, got nan"),
        (lambda: d.update([1.0], [[math.inf]], beta=1), ValueError, "memory must be finite, got inf"),
        (
            lambda: d.update([1.0], [[1.0, 2.0]], beta=1),
            ValueError,
            "memory must have the query's width d = 1",
        ),
        (lambda: d.update([1.0], [[1.0]], beta=math.inf), ValueError, "beta must be finite"),
        (lambda: d.update([1.0], [[1.0]], beta=1, keep=[1]), TypeError, "keep must hold bools"),
        (lambda: d.update([1.0], [[1.0]], beta=1, keep=[]), ValueError, "keep must have length N = 1, got 0"),
        (lambda: d.energy([1.0], [[1.0]], beta=0), ValueError, "beta must be positive, got 0"),
        (lambda: d.lse([1.0], [[1.0]], beta=-1), ValueError, "beta must be positive, got -1"),
        (lambda: d.trajectory([1.0], [[1.0]], beta=1, steps=-1), ValueError, "steps must be at least 0"),
        (lambda: d.update([1.0], [[1.0]], beta=1, bits=1), ValueError, "bits must be at least 2"),
    ],
)
def test_errors(call: Callable[[], Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()
