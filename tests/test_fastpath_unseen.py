"""Long memories asked without a look at them: the same bits, and nothing wrong passes for right."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from hopspec import Memory
from hopspec.fastpath import _plain, _unseen, log_normalizer, retrieve
from hopspec.fastpath._flash import Layout, laid_out

pytestmark = pytest.mark.usefixtures("one_thread")

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
WIDTH = 4
NEVER = Layout(unseen_from=1 << 60)


@pytest.fixture(params=[1, 3], ids=["one piece", "parts"], autouse=True)
def layout(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every memory is long."""
    with laid_out(Layout(merged_from=2, parts=request.param, unseen_from=0)):
        yield


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of rows of everything looked at."""
    seen: list[int] = []
    look: Callable[[Tensor], float] = _plain.magnitude

    def counted(rows: Tensor) -> float:
        seen.append(rows.shape[0])
        return look(rows)

    monkeypatch.setattr(_plain, "magnitude", counted)
    return seen


def unseen(query: Tensor, memory: Tensor, beta: float) -> tuple[Tensor, Tensor] | None:
    size = float(query.abs().max())
    return _unseen.ask_unseen(query[None, None], memory[None, None], beta, size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("queries", [1, 5])
@pytest.mark.parametrize("beta", [0.0, -0.7, 3.0, 1e-30])
def test_the_same_bits_without_a_look(
    dtype: torch.dtype, queries: int, beta: float, looks: list[int], request: pytest.FixtureRequest
) -> None:
    query, memory = draw(1, queries, WIDTH, dtype=dtype), draw(2, 530, WIDTH, dtype=dtype)
    state, log = (function(query, memory, beta=beta) for function in (retrieve, log_normalizer))
    assert looks == [queries, queries]
    parts = request.node.callspec.params["layout"]
    with laid_out(NEVER._replace(merged_from=2, parts=parts)):
        assert torch.equal(state, retrieve(query, memory, beta=beta))
        assert torch.equal(log, log_normalizer(query, memory, beta=beta))
    assert looks[2:] == [530, queries, 530, queries]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("count", [1, 17, 600, 1040])
def test_what_is_not_finite_is_seen_wherever_it_is(dtype: torch.dtype, bad: float, count: int) -> None:
    clean = draw(3, count, WIDTH, dtype=dtype)
    for query in (draw(4, 2, WIDTH, dtype=dtype), torch.zeros(1, WIDTH, dtype=dtype)):
        # At the larger beta most weights are 0, that of the bad memory with luck too.
        for beta in (0.5, 1e4):
            assert count == 1 or unseen(query, clean, beta) is not None
            for row in {0, count // 3, 511 % count, count - 1}:
                memory = clean.clone()
                memory[row, row % WIDTH] = bad
                assert unseen(query, memory, beta) is None
                assert retrieve(query, memory, beta=beta).isnan().all()
                assert log_normalizer(query, memory, beta=beta).isnan().all()


def test_infinite_logits_of_the_wrong_kind_are_given_up() -> None:
    query = torch.tensor([[1.0, 0.0]])
    near, far = torch.tensor([[0.5, 1.0]]), torch.tensor([[-3e38, 2.0]])
    # All logits of the first part, or of the whole memory, are -inf; one is +inf.
    assert unseen(query, far.expand(9, 2).contiguous(), 1e3) is None
    assert unseen(query, -far.expand(9, 2).contiguous(), 1e3) is None
    mixed = torch.cat((far.expand(3, 2), near.expand(6, 2)))
    for memory in (mixed, mixed.flip(0)):
        assert torch.equal(retrieve(query, memory, beta=1e3), near)
        assert log_normalizer(query, memory, beta=1e3).item() == pytest.approx(500 + math.log(6))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_no_partial_sum_overflows(sign: float) -> None:
    # Added up from the left or from the right, the scores of the last memory pass through an infinity.
    query = torch.tensor([[1e20, 1e20, 1e20, 1e20]])
    last = sign * torch.tensor([-3e38, 3e38, 3e38, -3e38]) + torch.tensor([1e31, 0.0, 0.0, 0.0])
    memory = torch.cat((torch.tensor([1e30, 0.0, 0.0, 0.0]).expand(40, WIDTH), last[None]))
    found = unseen(query, memory, 1e-50)
    assert found is None or torch.equal(found[0][0, 0], retrieve(query, memory[None], beta=1e-50))
    assert retrieve(query, memory, beta=1e-50).isfinite().all()


@pytest.mark.parametrize(
    ("query", "beta"),
    [
        # Entries that the factor would round, beta below the normal range, a query or a beta out of bounds.
        ([1.0, 1e-45], 1.0),
        ([1.0, 1.0], 1e-39),
        ([1.0, math.nan], 1.0),
        ([3e38, 1.0], 1.0),
        ([1.0, 1.0], 1e30),
    ],
)
def test_queries_that_cannot_be_scaled_are_not_asked(query: list[float], beta: float) -> None:
    memory = draw(5, 30, 2)
    assert unseen(torch.tensor([query]), memory, beta) is None
    expected = retrieve(torch.tensor([query]), memory[None], beta=beta)[0]
    torch.testing.assert_close(retrieve(torch.tensor([query]), memory, beta=beta), expected, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1.0, 1e4, 1e30, 3e38])
@pytest.mark.parametrize("beta", [1e-38, 0.5, 1e20])
def test_a_prepared_memory_gives_the_same_bits(dtype: torch.dtype, size: float, beta: float) -> None:
    most = torch.finfo(dtype).max
    query = draw(6, 2, WIDTH, dtype=dtype)
    memory = (size * draw(7, 50, WIDTH, dtype=torch.float64)).clamp(-most, most).to(dtype)
    for asked in (query, query[:1], query * 2.0**-8):
        for function in (retrieve, log_normalizer):
            result = function(asked, memory, beta=beta)
            assert torch.equal(result, function(asked, Memory(memory), beta=beta))
            # The log-normalizer itself may be too large for its type.
            assert not result.isnan().any()
            assert function is log_normalizer or result.isfinite().all()


def test_a_right_result_given_up_has_the_same_bits() -> None:
    # The log-normalizer of one memory at score 0 is 0, which is also the mark.
    query, memory = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert unseen(query, memory, 1.0) is None
    assert torch.equal(retrieve(query, memory, beta=1.0), memory)
    assert torch.equal(retrieve(query, Memory(memory), beta=1.0), memory)


def test_masks_and_batch_invariance_are_not_asked_unseen(looks: list[int]) -> None:
    query, memory = draw(8, 2, WIDTH), draw(9, 40, WIDTH)
    keep = torch.ones(40, dtype=torch.bool)
    retrieve(query, memory, beta=1.0, keep=keep)
    retrieve(query, memory, beta=1.0, batch_invariant=True)
    assert looks == [40, 2] * 2
