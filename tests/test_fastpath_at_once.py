"""One update by one call of the kernel: the bits of the longer routes, and nothing that is not its own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hopspec import Memory, retrieve
from hopspec.fastpath import _at_once, _plain, _retrieve
from hopspec.fastpath._flash import Layout, laid_out

pytestmark = pytest.mark.usefixtures("one_thread")

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
WIDTH = 6


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def slowly(query: Tensor, memory: Tensor | Memory, beta: float) -> Tensor:
    """The same by another route."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_retrieve, "update_at_once", lambda *_: None)
        return retrieve(query, memory, beta=beta)


def same(query: Tensor, memory: Tensor, beta: float) -> None:
    """Assert that neither route nor preparation changes a bit, NaN included."""
    results = [
        function(query, held, beta)
        for held in (memory, Memory(memory))
        for function in (slowly, lambda q, m, b: retrieve(q, m, beta=b))
    ]
    for result in results[1:]:
        assert result.shape == query.shape
        assert result.dtype is query.dtype
        torch.testing.assert_close(result, results[0], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("queries", [1, 2, 7])
def test_the_bits_are_those_of_the_other_routes(dtype: torch.dtype, queries: int) -> None:
    # Two thousand memories are enough for one query in bfloat16 to be asked twice.
    for seed, (count, beta) in enumerate([(1, 1.0), (2, -0.5), (65, 0.0), (300, 3.0), (2000, 40.0)]):
        query, memory = draw(seed, queries, WIDTH, dtype=dtype), draw(seed + 9, count, WIDTH, dtype=dtype)
        assert _at_once.update_at_once(query, Memory(memory), beta) is not None
        if dtype is not torch.float16 or queries <= count:
            assert _at_once.update_at_once(query, memory, beta) is not None
        same(query, memory, beta)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, "largest", "half the largest"])
@pytest.mark.parametrize("whose", ["query", "memory", "both"])
@pytest.mark.parametrize("beta", [1.0, -1e-3, 1e30])
def test_numbers_out_of_the_ordinary(
    dtype: torch.dtype, number: float | str, whose: str, beta: float
) -> None:
    largest = torch.finfo(dtype).max
    entry = {"largest": largest, "half the largest": 0.51 * largest}.get(str(number), number)
    query, memory = draw(1, 1, WIDTH, dtype=dtype), draw(2, 40, WIDTH, dtype=dtype)
    if whose != "memory":
        query[0, 2] = float(entry)
    if whose != "query":
        memory[3, 1], memory[4, 1] = float(entry), -float(entry)
    same(query, memory, beta)
    same(torch.cat((query, query)), memory, beta)


def test_a_prepared_half_memory_of_any_finite_numbers_is_asked_like_the_tensor() -> None:
    query, memory = draw(1, 1, WIDTH, dtype=torch.float16), draw(2, 40, WIDTH, dtype=torch.float16)
    memory[3] = 6e4
    for held in (memory, Memory(memory)):
        assert _at_once.update_at_once(query, held, 1.0) is not None
    same(query, memory, 1.0)


def test_a_half_memory_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def noted(rows: Tensor) -> float:
        looked.append(rows.shape[0])
        return _plain.magnitude(rows)

    monkeypatch.setattr(_at_once, "magnitude", noted)
    query = draw(1, 3, WIDTH, dtype=torch.float16)
    assert _at_once.update_at_once(query, draw(2, 40, WIDTH, dtype=torch.float16), 1.0) is not None
    assert looked == [3]
    # A memory smaller than the output is.
    assert _at_once.update_at_once(query, draw(2, 2, WIDTH, dtype=torch.float16), 1.0) is None


def test_a_changed_memory_is_refused() -> None:
    memory = Memory(draw(1, 9, WIDTH))
    memory.patterns.add_(1.0)
    with pytest.raises(ValueError, match="modified in place"):
        retrieve(draw(2, 1, WIDTH), memory, beta=1.0)


def test_what_is_not_one_call_is_left_to_others() -> None:
    query, memory = draw(1, 2, WIDTH), draw(2, 20, WIDTH)
    assert _at_once.update_at_once(query, memory, 1.0) is not None
    transposed, wanting = draw(3, WIDTH, 20).T, query.clone().requires_grad_()
    others: list[tuple[object, object, object]] = [
        (query, memory, 1),
        (query, memory, True),
        (query, memory, math.nan),
        (query, memory, math.inf),
        (query, memory, 1e-44),
        (query, memory * 1e-30, 1e38),
        (query, memory, torch.tensor(1.0)),
        (query, memory.double(), 1.0),
        (query, memory[:, :4], 1.0),
        (query, transposed, 1.0),
        (draw(3, WIDTH, 2).T, memory, 1.0),
        (query[0], memory, 1.0),
        (query[:0], memory, 1.0),
        (query, memory[:0], 1.0),
        (query[:, :0], memory[:, :0], 1.0),
        (query, memory[None], 1.0),
        (query[None], memory, 1.0),
        (query.int(), memory.int(), 1.0),
        (query, memory.numpy(), 1.0),
        (wanting, memory, 1.0),
        (query, memory.clone().requires_grad_(), 1.0),
        (query, Memory(memory.clone().requires_grad_()), 1.0),
        (query, Memory(memory, keep=torch.arange(20) > 3), 1.0),
        (query, Memory(memory, values=memory), 1.0),
        (draw(4, 800, WIDTH), memory, 1.0),
    ]
    for given in others:
        assert _at_once.update_at_once(*given) is None
    with torch.autocast("cpu"):
        assert _at_once.update_at_once(query, memory, 1.0) is None
    for layout in (Layout(merged_from=20), Layout(unseen_from=120)):
        with laid_out(layout):
            assert _at_once.update_at_once(query, memory, 1.0) is None
    with torch.no_grad():
        assert _at_once.update_at_once(wanting, memory, 1.0) is not None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("scale", [2.0**-39, 1e-6, 1.0, 1e6, 2.0**45])
def test_the_length_of_all_rows_is_no_less_than_any_entry(dtype: torch.dtype, scale: float) -> None:
    for seed, shape in enumerate([(1, 1), (3, 5), (64, 16), (2048, 64)]):
        rows = draw(seed, *shape, dtype=dtype) * scale
        rows[-1] = 0.0
        rows[0, 0] = 3 * scale
        found = _at_once._look(rows, *shape, dtype)
        assert found is not None
        assert found.finite
        assert float(rows.abs().max()) < found.largest <= 1.02 * float(rows.double().norm())


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 1e25, 2.0**-50])
def test_a_length_out_of_the_ordinary_is_not_relied_on(number: float) -> None:
    rows = torch.zeros(9, WIDTH)
    rows[4, 1] = number
    assert _at_once._look(rows, 9, WIDTH, rows.dtype) is None


def test_a_length_too_large_for_the_query_leaves_the_bits_of_the_result() -> None:
    # 64 entries of this size are too long for the query, each of them is not.
    memory, query = torch.full((64, WIDTH), 2.0**50), draw(5, 3, WIDTH)
    memory[:, 0] += draw(6, 64) * 2.0**50
    exact = _plain._extent(memory, None, 1.0)
    assert exact is not None
    query *= 0.9 * exact[1] / float(query.abs().max())
    assert _at_once.update_at_once(query, memory, 1.0) is None
    assert _at_once.update_at_once(query, Memory(memory), 1.0) is not None
    same(query, memory, 1.0)
