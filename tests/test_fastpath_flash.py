"""How the flash kernel's work is laid out: parts of the memory, shares of the queries, fixed blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import hopspec
from hopspec import Memory
from hopspec.fastpath import _flash
from hopspec.fastpath._flash import Layout, laid_out
from hopspec.fastpath.descriptor import ACCURACY, MERGED
from hopspec.properties import assert_within, retrieval_problem
from hopspec.types import AccuracyModel

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@pytest.fixture
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def drawn(shape: tuple[int, ...], dtype: torch.dtype, seed: int, scale: float = 1.0) -> Tensor:
    return (scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))).to(dtype)


def model_of(models: tuple[AccuracyModel, ...], dtype: torch.dtype) -> AccuracyModel:
    return next(m for m in models if m.storage.name == str(dtype).removeprefix("torch."))


def masks(queries: int, memories: int) -> dict[str, Tensor | None]:
    """No mask, one for all queries, one for each, and one that leaves whole parts without a memory."""
    rng = torch.Generator().manual_seed(memories)
    each = torch.rand(queries, memories, generator=rng) < 0.4
    each[:, 0] = True
    far = torch.zeros(queries, memories, dtype=torch.bool)
    far[torch.arange(queries), -1 - torch.arange(queries) % 3] = True
    return {"none": None, "shared": each[0], "each": each, "far": far}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mask", ["none", "shared", "each", "far"])
@pytest.mark.parametrize(("queries", "memories", "parts"), [(1, 9, 4), (5, 31, 3), (3, 7, 7), (4, 5, 9)])
def test_parts_stay_within_the_bounds(
    dtype: torch.dtype, mask: str, queries: int, memories: int, parts: int
) -> None:
    query, memory = drawn((queries, 6), dtype, 1, 2.0), drawn((memories, 6), dtype, 2, 2.0)
    keep, model = masks(queries, memories)[mask], model_of(MERGED.accuracy, dtype)
    problem = retrieval_problem(query, memory, beta=1.25, keep=keep)
    name = model.storage.name
    with laid_out(Layout(merged_from=2, parts=parts)):
        for source in (memory, Memory(memory), memory[None]):
            state = hopspec.retrieve(query, source, beta=1.25, keep=keep)
            assert_within(state.reshape(query.shape), problem, model)
            log = hopspec.log_normalizer(query, source, beta=1.25, keep=keep).reshape(-1)
            assert_within(log, problem, model, quantity="log_normalizer", dtype=name)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("queries", [1, 5, 40])
def test_a_long_memory_is_cut_for_few_queries(
    dtype: torch.dtype, queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, ...]] = []
    kernel = _flash.FLASH
    assert kernel is not None

    def counted(query: Tensor, *arguments: Any, **options: Any) -> tuple[Tensor, Tensor]:
        calls.append(tuple(query.shape))
        return kernel(query, *arguments, **options)

    monkeypatch.setattr(_flash, "FLASH", counted)
    memories = Layout().merged_from + 1
    query, memory = drawn((queries, 4), dtype, 3), drawn((memories, 4), dtype, 4)
    state = hopspec.retrieve(query, memory, beta=0.5)
    rows = queries if dtype == torch.float64 else max(queries, 2)
    assert calls == [(2, 1, rows, 4), (1, 1, rows, 4)]
    problem = retrieval_problem(query[:2], memory, beta=0.5)
    assert_within(state[:2], problem, model_of(ACCURACY, dtype))
    calls.clear()
    hopspec.retrieve(query, memory[:-2], beta=0.5)
    assert [shape[0] for shape in calls] == [1]


@pytest.mark.usefixtures("two_threads")
def test_queries_are_shared_evenly_where_their_blocks_are_not() -> None:
    query, memory = drawn((769, 8), torch.float64, 5), drawn((50, 8), torch.float64, 6)
    together = hopspec.retrieve(query, memory, beta=0.5)
    apart = torch.cat([hopspec.retrieve(part, memory, beta=0.5) for part in torch.split(query, 100)])
    torch.testing.assert_close(together, apart, rtol=1e-14, atol=1e-15)


def test_gradients_do_not_pass_through_a_merge() -> None:
    query, memory = drawn((2, 4), torch.float64, 7), drawn((9, 4), torch.float64, 8)
    query.requires_grad_()
    with laid_out(Layout(merged_from=2, parts=3)):
        assert torch.autograd.gradcheck(lambda q: hopspec.retrieve(q, memory, beta=1.0), (query,))


QUANTITIES: dict[str, Callable[..., Any]] = {
    "retrieve": hopspec.retrieve,
    "log_normalizer": hopspec.log_normalizer,
    "energy": hopspec.energy,
    "evaluate": hopspec.evaluate,
    "settle": hopspec.settle,
}


def parts_of(result: Any) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else tuple(result)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize(("memories", "width"), [(1, 3), (40, 17), (600, 64), (130, 256)])
def test_bits_do_not_depend_on_the_batch(
    dtype: torch.dtype, quantity: str, memories: int, width: int
) -> None:
    count = 21
    query = drawn((count, width), dtype, 9, 0.5)
    memory = drawn((memories, width), dtype, 10)
    keep = torch.rand(count, memories, generator=torch.Generator().manual_seed(11)) < 0.7
    keep[:, 0] = True
    options: dict[str, Any] = {"max_steps": 4} if quantity == "settle" else {}

    def call(rows: Any, source: Any = memory, masked: bool = True) -> tuple[Tensor, ...]:
        mask = keep[rows] if masked else None
        function = QUANTITIES[quantity]
        return parts_of(function(query[rows], source, beta=0.2, keep=mask, batch_invariant=True, **options))

    for masked in (True, False):
        together = call(slice(None), masked=masked)
        for rows in ([4], [20, 3], list(range(count))[::-1], list(range(count)) * 4):
            for part, whole in zip(call(rows, masked=masked), together, strict=True):
                assert torch.equal(part, whole[rows])
        for part, whole in zip(call([7, 8], Memory(memory), masked), together, strict=True):
            assert torch.equal(part, whole[[7, 8]])


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_bits_do_not_depend_on_how_a_batch_lies(dtype: torch.dtype, quantity: str) -> None:
    query, memory = drawn((21, 33), dtype, 15, 0.5), drawn((40, 33), dtype, 16)
    options: dict[str, Any] = {"max_steps": 4} if quantity == "settle" else {}
    function = partial(QUANTITIES[quantity], memory=memory, beta=0.2, batch_invariant=True, **options)
    columns = parts_of(function(query.T.contiguous().T))
    for row in range(21):
        for alone, whole in zip(parts_of(function(query[row : row + 1])), columns, strict=True):
            assert torch.equal(alone[0], whole[row])


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_do_not_depend_on_leading_dimensions(dtype: torch.dtype) -> None:
    query, memory = drawn((2, 3, 5, 8), dtype, 12), drawn((2, 3, 20, 8), dtype, 13)
    values = drawn((3, 20, 11), dtype, 14)
    beta = torch.tensor([[0.5], [2.0]])
    whole = hopspec.retrieve(query, memory, beta=beta, values=values, batch_invariant=True)
    for i, j in np.ndindex(2, 3):
        one = hopspec.retrieve(
            query[i, j, 2:3], memory[i, j], beta=float(beta[i, 0]), values=values[j], batch_invariant=True
        )
        assert torch.equal(one, whole[i, j, 2:3])


def test_what_cannot_be_batch_invariant_is_refused() -> None:
    query, memory = torch.randn(2, 3), torch.randn(4, 3)
    with pytest.raises(TypeError, match="batch_invariant must be True or False, got 'yes'"):
        hopspec.retrieve(query, memory, beta=1.0, batch_invariant="yes")  # type: ignore[arg-type]
    beta = torch.tensor(1.0, requires_grad=True)
    with pytest.raises(NotImplementedError, match="with a gradient of the log-normalizer or beta"):
        hopspec.retrieve(query, memory, beta=beta, batch_invariant=True)
    with pytest.raises(NotImplementedError, match="with a gradient of the log-normalizer or beta"):
        hopspec.energy(query.requires_grad_(), memory, beta=1.0, batch_invariant=True)
    assert hopspec.retrieve(query, memory, beta=1.0, batch_invariant=True).requires_grad


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("memories", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("masked", [False, True])
def test_bits_of_a_query_do_not_depend_on_its_place_among_few_memories(
    dtype: torch.dtype, memories: int, masked: bool
) -> None:
    for width in (1, 32, 33, 48, 64, 65):
        generator = torch.Generator().manual_seed(width)
        memory = torch.randn(memories, width, generator=generator).to(dtype)
        query = torch.randn(1, width, generator=generator).to(dtype)
        keep = torch.arange(memories) > 0 if masked and memories > 1 else None
        call: dict[str, Any] = {"beta": 0.5, "keep": keep, "batch_invariant": True}
        for function in (hopspec.retrieve, hopspec.log_normalizer):
            once, often = (function(rows, memory, **call) for rows in (query, query.repeat(19, 1)))
            assert torch.equal(often, once.expand_as(often)), (width, function)
