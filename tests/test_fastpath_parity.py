"""The fast path against plain float64 formulas, on both of its kernels."""

import math

import pytest
import torch
from torch import Tensor

from hopspec.fastpath import Memory, _attend, _flash, association, energy, log_normalizer, retrieve

pytestmark = pytest.mark.usefixtures("one_thread")

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
# Relative to the largest stored number: storage, exponential and accumulation errors of each dtype together.
TOLERANCE = {torch.float64: 1e-13, torch.float32: 3e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}
LOG_TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-5, torch.bfloat16: 1e-3, torch.float16: 1e-3}


@pytest.fixture(params=["flash", "eager"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    if name == "eager":
        monkeypatch.setattr(_flash, "FLASH", None)
    return name


def dense(
    query: Tensor,
    memory: Tensor,
    beta: float | Tensor,
    values: Tensor | None = None,
    keep: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Update, weights, log-normalizer and energy by the definitions; every row keeps something."""
    q, x = query.double(), memory.double()
    b = torch.as_tensor(beta, dtype=torch.float64)
    logits = b[..., None, None] * (q @ x.mT)
    shown = torch.ones(logits.shape, dtype=torch.bool) if keep is None else keep.expand(logits.shape)
    logits = logits.masked_fill(~shown, -math.inf)
    weights, normalizer = logits.softmax(-1), logits.logsumexp(-1)
    longest = x.square().sum(-1).unsqueeze(-2).expand(logits.shape).masked_fill(~shown, 0).amax(-1)
    ground = (shown.sum(-1).double().log() - normalizer) / b[..., None] + q.square().sum(-1) / 2 + longest / 2
    return weights @ (x if values is None else values.double()), weights, normalizer, ground


def assert_near(got: Tensor, expected: Tensor, tolerance: float, scale: float | Tensor = 1.0) -> None:
    assert got.shape == expected.shape
    worst = float((got.double() - expected).abs().max()) if got.numel() else 0.0
    assert worst <= tolerance * float(scale), f"off by {worst}, expected at most {tolerance * float(scale)}"


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def check(
    query: Tensor,
    memory: Tensor,
    beta: float | Tensor,
    values: Tensor | None = None,
    keep: Tensor | None = None,
) -> None:
    dtype = query.dtype
    update, weights, normalizer, ground = dense(query, memory, beta, values, keep)
    got = retrieve(query, memory, beta=beta, values=values, keep=keep)
    assert got.dtype == dtype
    stored = memory if values is None else values
    assert_near(got, update, TOLERANCE[dtype], stored.abs().max())
    _, weights, normalizer, ground = dense(query, memory, beta, None, keep)
    assert_near(association(query, memory, beta=beta, keep=keep), weights, TOLERANCE[dtype])
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    got_normalizer = log_normalizer(query, memory, beta=beta, keep=keep)
    assert got_normalizer.dtype == wide
    assert_near(got_normalizer, normalizer, LOG_TOLERANCE[dtype], 1 + normalizer.abs().max())
    if bool((torch.as_tensor(beta) > 0).all()):
        got_energy = energy(query, memory, beta=beta, keep=keep)
        assert got_energy.dtype == wide
        scale = (1 + normalizer.abs().max()) / torch.as_tensor(beta).min() + ground.abs().max()
        assert_near(got_energy, ground, LOG_TOLERANCE[dtype], scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("beta", [0.3, 2.0, -0.7, 0.0])
@pytest.mark.parametrize(("length", "count", "width"), [(1, 1, 1), (3, 7, 5), (40, 70, 16), (5, 1100, 8)])
def test_plain(kernel: str, dtype: torch.dtype, beta: float, length: int, count: int, width: int) -> None:
    check(draw(1, length, width, dtype=dtype), draw(2, count, width, dtype=dtype), beta)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 3, 8, 20])
def test_values_of_any_width(kernel: str, dtype: torch.dtype, width: int) -> None:
    query, memory = draw(1, 6, 8, dtype=dtype), draw(2, 50, 8, dtype=dtype)
    check(query, memory, 1.0, draw(3, 50, width, dtype=dtype))


LEADS: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = [
    ((3,), (), ()),
    ((), (3,), (3,)),
    ((2, 3), (3,), (1,)),
    ((2, 1), (1, 3), (2, 1)),
    ((2, 3, 4), (4,), (3, 1)),
    ((2, 3, 4), (2, 1, 4), (2, 3, 4)),
    ((1,), (2, 3, 1, 2), (3, 1, 1)),
]


@pytest.mark.parametrize(("query_lead", "memory_lead", "beta_lead"), LEADS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_leading_dimensions_and_beta_per_head(
    kernel: str,
    dtype: torch.dtype,
    query_lead: tuple[int, ...],
    memory_lead: tuple[int, ...],
    beta_lead: tuple[int, ...],
) -> None:
    query, memory = draw(1, *query_lead, 5, 6, dtype=dtype), draw(2, *memory_lead, 9, 6, dtype=dtype)
    check(query, memory, 1.25)
    beta = draw(4, *beta_lead).abs() + 0.2
    check(query, memory, beta)
    check(query, memory, beta, draw(3, *memory_lead, 9, 4, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("lead", "shape"),
    [
        ((), (9,)),
        ((), (1, 9)),
        ((), (5, 9)),
        ((), (5, 1)),
        ((4,), (5, 9)),
        ((4,), (4, 1, 9)),
        ((4,), (4, 5, 9)),
        ((2, 4), (4, 1, 9)),
        ((2, 4), (2, 1, 5, 9)),
    ],
)
def test_masks(kernel: str, dtype: torch.dtype, lead: tuple[int, ...], shape: tuple[int, ...]) -> None:
    keep = draw(5, *shape) > -0.3
    keep[..., 0] = True
    query = draw(1, *lead, 5, 6, dtype=dtype)
    check(query, draw(2, 9, 6, dtype=dtype), 1.0, keep=keep)
    check(query, draw(2, *lead, 9, 6, dtype=dtype), 1.0, keep=keep)
    check(query, draw(2, 9, 6, dtype=dtype), 1.0, draw(3, 9, 10, dtype=dtype), keep)


def test_pieces_make_the_whole(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    query, memory = draw(1, 3, 2, 11, 4), draw(2, 2, 13, 4)
    keep = draw(3, 3, 1, 11, 13) > -0.5
    keep[..., 0] = True
    beta = torch.tensor([0.5, 2.0])
    for size in (1 << 24, 2000, 300, 1):
        monkeypatch.setattr(_attend, "CHUNK_BYTES", size)
        check(query, memory, beta, keep=keep)
        check(query, memory, beta)


@pytest.mark.parametrize("dtype", DTYPES)
def test_steps_are_applications(kernel: str, dtype: torch.dtype) -> None:
    query, memory, values = draw(1, 4, 6, dtype=dtype), draw(2, 9, 6, dtype=dtype), draw(3, 9, 3, dtype=dtype)
    twice = retrieve(retrieve(query, memory, beta=0.5), memory, beta=0.5)
    assert torch.equal(retrieve(query, memory, beta=0.5, steps=2), twice)
    read = retrieve(twice, memory, beta=0.5, values=values)
    assert torch.equal(retrieve(query, memory, beta=0.5, steps=3, values=values), read)
    same = retrieve(query, memory, beta=0.5, steps=0)
    assert torch.equal(same, query)
    assert same.data_ptr() != query.data_ptr()
    assert retrieve(query, memory.expand(2, 9, 6), beta=0.5, steps=0).shape == (2, 4, 6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_prepared_memory_gives_the_same_bits(dtype: torch.dtype) -> None:
    query, patterns, values = (
        draw(1, 4, 6, dtype=dtype),
        draw(2, 9, 6, dtype=dtype),
        draw(3, 9, 3, dtype=dtype),
    )
    keep = draw(4, 9) > -0.5
    plain, full = Memory(patterns), Memory(patterns, values=values, keep=keep)
    assert torch.equal(
        retrieve(query, plain, beta=1.0, steps=2), retrieve(query, patterns, beta=1.0, steps=2)
    )
    expected = retrieve(query, patterns, beta=1.0, values=values, keep=keep)
    assert torch.equal(retrieve(query, full, beta=1.0), expected)
    assert torch.equal(retrieve(query, Memory(patterns, values=values), beta=1.0, keep=keep), expected)
    for function in (association, log_normalizer, energy):
        assert torch.equal(function(query, full, beta=1.0), function(query, patterns, beta=1.0, keep=keep))
    both = draw(5, 4, 9) > 0
    both[:, int(keep.nonzero()[0])] = True
    combined = retrieve(query, patterns, beta=1.0, keep=both & keep)
    assert torch.equal(retrieve(query, Memory(patterns, keep=keep), beta=1.0, keep=both), combined)


@pytest.mark.parametrize("dtype", DTYPES)
def test_strides_do_not_matter(kernel: str, dtype: torch.dtype) -> None:
    query, memory, values = draw(1, 4, 6, dtype=dtype), draw(2, 9, 6, dtype=dtype), draw(3, 9, 3, dtype=dtype)
    keep = draw(4, 4, 9) > -0.5
    keep[:, 0] = True

    def odd(tensor: Tensor) -> list[Tensor]:
        spread = torch.zeros(2 * tensor.shape[0], 3 * tensor.shape[1], dtype=tensor.dtype)
        spread[::2, ::3] = tensor
        return [tensor.T.contiguous().T, spread[::2, ::3]]

    expected = retrieve(query, memory, beta=1.0, values=values, keep=keep)
    for q, m, v, k in zip(odd(query), odd(memory), odd(values), odd(keep), strict=True):
        assert torch.equal(retrieve(q, m, beta=1.0, values=v, keep=k), expected)
    for repeated in (memory[:1].expand(9, 6), memory[:, :1].expand(9, 6)):
        check(query[:1].expand(4, 6), repeated, 1.0)
    assert torch.equal(
        retrieve(query, memory.expand(3, 2, 9, 6), beta=1.0),
        retrieve(query, memory, beta=1.0).expand(3, 2, 4, 6),
    )
    overlapping = draw(5, 40, dtype=dtype).as_strided((9, 6), (1, 1))
    check(query, overlapping, 1.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_are_left_alone_and_results_repeat(kernel: str, dtype: torch.dtype) -> None:
    query, memory, values = draw(1, 4, 6, dtype=dtype), draw(2, 9, 6, dtype=dtype), draw(3, 9, 3, dtype=dtype)
    memory[3] = math.nan
    query[0] *= 200
    keep = draw(4, 4, 9) > -0.5
    beta = torch.tensor(1.5)
    inputs = (query, memory, values, keep, beta)
    before = [tensor.clone() for tensor in inputs]
    first = retrieve(query, memory, beta=beta, values=values, keep=keep)
    second = retrieve(query, memory, beta=beta, values=values, keep=keep)
    energy(query, memory, beta=beta, keep=keep)
    association(query, memory, beta=beta, keep=keep)
    assert torch.equal(first, second) or first.isnan().any()
    assert torch.equal(first.nan_to_num(7.0), second.nan_to_num(7.0))
    for tensor, copy in zip(inputs, before, strict=True):
        assert torch.equal(tensor.double().nan_to_num(7.0), copy.double().nan_to_num(7.0))


def test_autocast_and_default_dtype_change_nothing() -> None:
    query, memory = draw(1, 4, 6, dtype=torch.float32), draw(2, 9, 6, dtype=torch.float32)
    expected = [f(query, memory, beta=1.0) for f in (retrieve, association, log_normalizer, energy)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = [f(query, memory, beta=1.0) for f in (retrieve, association, log_normalizer, energy)]
    try:
        torch.set_default_dtype(torch.float64)
        got += [f(query, memory, beta=1.0) for f in (retrieve, association, log_normalizer, energy)]
    finally:
        torch.set_default_dtype(torch.float32)
    for value, reference in zip(got, expected * 2, strict=True):
        assert value.dtype == torch.float32
        assert torch.equal(value, reference)
