"""Autograd through the fast path, for inputs of ordinary size."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hopspec.fastpath import association, energy, log_normalizer, retrieve


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mask(*shape: int) -> Tensor:
    keep = draw(9, *shape) > -0.4
    keep[..., 0] = True
    return keep


CASES: list[tuple[tuple[int, ...], tuple[int, ...], Tensor | None]] = [
    ((3, 4), (5, 4), None),
    ((3, 4), (5, 4), mask(5)),
    ((2, 3, 4), (5, 4), mask(2, 3, 5)),
    ((2, 3, 4), (2, 5, 4), mask(2, 1, 5)),
]


@pytest.mark.parametrize(("query_shape", "memory_shape", "keep"), CASES)
@pytest.mark.parametrize("function", [retrieve, association, log_normalizer, energy])
def test_gradients_are_the_derivatives(
    function: Callable[..., Tensor],
    query_shape: tuple[int, ...],
    memory_shape: tuple[int, ...],
    keep: Tensor | None,
) -> None:
    inputs = [draw(1, *query_shape).requires_grad_(), draw(2, *memory_shape).requires_grad_()]
    assert torch.autograd.gradcheck(lambda q, m: function(q, m, beta=0.7, keep=keep), inputs)
    beta = (draw(3, *query_shape[:-2]).abs() + 0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda q, m, b: function(q, m, beta=b, keep=keep), [*inputs, beta])


@pytest.mark.parametrize("width", [2, 4, 7])
@pytest.mark.parametrize("steps", [1, 3])
def test_gradients_of_values_and_steps(width: int, steps: int) -> None:
    inputs = [draw(1, 3, 4), draw(2, 5, 4), draw(4, 5, width)]
    for tensor in inputs:
        tensor.requires_grad_()

    def run(query: Tensor, memory: Tensor, values: Tensor) -> Tensor:
        return retrieve(query, memory, beta=0.7, values=values, steps=steps)

    assert torch.autograd.gradcheck(run, inputs)


def test_the_gradient_of_the_energy_is_the_step() -> None:
    query, memory = draw(1, 3, 4).requires_grad_(), draw(2, 5, 4)
    (gradient,) = torch.autograd.grad(energy(query, memory, beta=1.3).sum(), query)
    assert torch.allclose(gradient, query - retrieve(query, memory, beta=1.3), atol=1e-12)


@pytest.mark.parametrize("function", [retrieve, association, log_normalizer])
@pytest.mark.parametrize("count", [0, 5])
def test_empty_rows_have_zero_gradients(function: Callable[..., Tensor], count: int) -> None:
    query, memory = draw(1, 3, 4).requires_grad_(), draw(2, count, 4).requires_grad_()
    keep = torch.ones(3, count, dtype=torch.bool)
    keep[1] = False
    result = function(query, memory, beta=0.7, keep=keep)
    if not result.requires_grad:
        assert count == 0
        return
    total = result.masked_fill(result == -math.inf, 0.0).sum()
    by_query, by_memory = torch.autograd.grad(total, [query, memory], allow_unused=count == 0)
    assert by_query.isfinite().all()
    assert (by_query[1] == 0).all()
    if count:
        assert by_memory.isfinite().all()


def test_masked_memories_get_no_gradient_whatever_they_hold() -> None:
    memory = draw(2, 5, 4)
    memory[3] = math.nan
    memory.requires_grad_()
    query = draw(1, 3, 4).requires_grad_()
    total = retrieve(query, memory, beta=0.7, keep=torch.arange(5) != 3).sum()
    by_query, by_memory = torch.autograd.grad(total, [query, memory])
    assert (by_memory[3] == 0).all()
    assert by_memory.isfinite().all()
    assert by_query.isfinite().all()


def test_gradients_out_of_range_are_refused_and_not_invented() -> None:
    query, memory = torch.full((1, 2), 1e20).requires_grad_(), torch.eye(2) * 1e20
    with pytest.raises(NotImplementedError, match="gradients of such rows"):
        retrieve(query, memory, beta=1.0)
    with torch.no_grad():
        assert retrieve(query, memory, beta=1.0).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_dtype_has_gradients(dtype: torch.dtype) -> None:
    exact = [draw(1, 3, 4), draw(2, 5, 4)]
    rounded = [tensor.to(dtype) for tensor in exact]
    gradients = []
    for query, memory in (rounded, [tensor.double() for tensor in rounded]):
        pair = [query.clone().requires_grad_(), memory.clone().requires_grad_()]
        gradients.append(torch.autograd.grad(retrieve(*pair, beta=0.7).sum(), pair))
    for got, expected in zip(*gradients, strict=True):
        assert got.dtype == dtype
        assert torch.allclose(got.double(), expected, atol=0.05 if dtype != torch.float32 else 1e-4)
