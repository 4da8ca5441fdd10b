"""Masks, empty rows, values that are not finite, and finite ones of any size."""

import math
import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from mpmath import MPContext
from torch import Tensor

from hopspec.fastpath import _flash, association, energy, log_normalizer, retrieve

pytestmark = pytest.mark.usefixtures("one_thread")

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
UNIT = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}
LEAST = {torch.float64: -1074, torch.float32: -149, torch.bfloat16: -133, torch.float16: -24}

mp = MPContext()
mp.prec = 300


KERNELS = {
    "flash": _flash.Layout(),
    "unseen": _flash.Layout(unseen_from=0),
    "unseen in parts": _flash.Layout(merged_from=2, parts=2, unseen_from=0),
}


@pytest.fixture(params=["flash", "eager"], autouse=True)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name: str = request.param
    if name == "eager":
        monkeypatch.setattr(_flash, "FLASH", None)
    with _flash.laid_out(KERNELS.get(name, _flash.Layout())):
        yield name


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 5, 40])
def test_empty_rows(dtype: torch.dtype, count: int) -> None:
    query, memory = draw(1, 2, 3, 4, dtype=dtype), draw(2, count, 4, dtype=dtype)
    query[0, 1] = math.nan
    none = torch.zeros(count, dtype=torch.bool)
    for keep in (none, none.expand(2, 3, count), None) if count == 0 else (none, none.expand(2, 3, count)):
        assert torch.equal(retrieve(query, memory, beta=1.0, keep=keep), torch.zeros_like(query))
        values = draw(3, count, 7, dtype=dtype)
        assert torch.equal(
            retrieve(query, memory, beta=1.0, keep=keep, values=values, steps=2), query.new_zeros(2, 3, 7)
        )
        assert torch.equal(association(query, memory, beta=1.0, keep=keep), query.new_zeros(2, 3, count))
        assert (log_normalizer(query, memory, beta=1.0, keep=keep) == -math.inf).all()
        assert (energy(query, memory, beta=1.0, keep=keep) == math.inf).all()


@pytest.mark.parametrize("shape", [(0, 4), (2, 0, 4), (0, 3, 4)])
def test_no_queries(shape: tuple[int, ...]) -> None:
    query, memory = torch.zeros(shape), draw(1, 5, 4)
    assert retrieve(query, memory, beta=1.0).shape == shape
    assert retrieve(query, memory, beta=1.0, values=draw(2, 5, 2)).shape == (*shape[:-1], 2)
    assert association(query, memory, beta=1.0).shape == (*shape[:-1], 5)
    assert log_normalizer(query, memory, beta=1.0).shape == shape[:-1]
    assert energy(query, memory, beta=1.0).shape == shape[:-1]


def test_patterns_without_components() -> None:
    query, memory, values = torch.zeros(2, 0), torch.zeros(3, 0), torch.eye(3)
    assert retrieve(query, memory, beta=1.0).shape == (2, 0)
    assert torch.allclose(retrieve(query, memory, beta=1.0, values=values), torch.full((2, 3), 1 / 3))
    assert retrieve(draw(1, 2, 4), draw(2, 3, 4), beta=1.0, values=torch.zeros(3, 0)).shape == (2, 0)
    assert torch.allclose(log_normalizer(query, memory, beta=1.0), torch.tensor(3.0).log().expand(2))
    assert torch.equal(energy(query, memory, beta=1.0), torch.zeros(2))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, None])
@pytest.mark.parametrize("count", [3, 20, 600])
def test_a_masked_memory_may_hold_anything(dtype: torch.dtype, junk: float | None, count: int) -> None:
    query, memory, values = (
        draw(1, 6, 4, dtype=dtype),
        draw(2, count, 4, dtype=dtype),
        draw(3, count, 3, dtype=dtype),
    )
    keep = torch.arange(count) % 3 != 1
    filled, filled_values = memory.clone(), values.clone()
    filled[~keep] = torch.finfo(dtype).max if junk is None else junk
    filled_values[~keep] = torch.finfo(dtype).max if junk is None else junk
    clean = retrieve(query, memory.masked_fill(~keep[:, None], 0), beta=1.0, keep=keep, values=values)
    assert torch.equal(retrieve(query, filled, beta=1.0, keep=keep, values=filled_values), clean)
    for function in (retrieve, association, log_normalizer, energy):
        expected = function(query, memory.masked_fill(~keep[:, None], 0), beta=1.0, keep=keep)
        assert torch.equal(function(query, filled, beta=1.0, keep=keep), expected)
    # Masked for one query only: the other rows must not notice either.
    per_query = keep.expand(6, count).clone()
    per_query[2] = True
    if junk is not None:
        got = retrieve(query, filled, beta=1.0, keep=per_query)
        expected = retrieve(query, memory, beta=1.0, keep=per_query)
        others = torch.arange(6) != 2
        assert got[2].isnan().all()
        assert got[others].isfinite().all()
        assert torch.allclose(got[others].double(), expected[others].double(), rtol=0, atol=4 * UNIT[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("count", [1, 15, 16, 40])
def test_what_is_not_finite_spoils_whole_rows_and_no_others(
    dtype: torch.dtype, bad: float, count: int
) -> None:
    query, memory = draw(1, 2, 5, 4, dtype=dtype), draw(2, 2, count, 4, dtype=dtype)
    clean = [f(query, memory, beta=0.5) for f in (retrieve, association, log_normalizer, energy)]
    spoilt_query = query.clone()
    spoilt_query[1, 3, 2] = bad
    hit = torch.zeros(2, 5, dtype=torch.bool)
    hit[1, 3] = True
    spoilt_memory = memory.clone()
    spoilt_memory[1, -1, 0] = bad
    whole = torch.zeros(2, 5, dtype=torch.bool)
    whole[1] = True
    for q, m, rows in ((spoilt_query, memory, hit), (query, spoilt_memory, whole)):
        for function, expected in zip((retrieve, association, log_normalizer, energy), clean, strict=True):
            got = function(q, m, beta=0.5)
            assert got[rows].isnan().all()
            assert torch.equal(got[~rows], expected[~rows])
    values = draw(3, count, 3, dtype=dtype)
    values[0, 1] = bad
    assert retrieve(query, memory, beta=0.5, values=values).isnan().all()
    if count > 1:
        hidden = torch.arange(count) > 0
        assert retrieve(query, memory, beta=0.5, values=values, keep=hidden).isfinite().all()


def near(got: float, exact: Any, tolerance: Any, dtype: torch.dtype) -> bool:
    """Whether ``got`` is within ``tolerance``; infinities where the exact number may round to them."""
    if math.isinf(got):
        return bool(math.copysign(1, got) * exact + tolerance >= torch.finfo(dtype).max)
    return bool(abs(mp.mpf(got) - exact) <= tolerance)


def judge(
    query: Tensor, memory: Tensor, beta: float, values: Tensor | None = None, keep: Tensor | None = None
) -> None:
    """Compare every quantity with its exact value, by the forward error analysis times four."""
    dtype = query.dtype
    accumulation = torch.float64 if dtype == torch.float64 else torch.float32
    u, ua = UNIT[dtype], UNIT[accumulation]
    exp_error = 1.5e-4 if u > ua else 16 * ua
    output = retrieve(query, memory, beta=beta, values=values, keep=keep)
    weights = association(query, memory, beta=beta, keep=keep)
    normalizer = log_normalizer(query, memory, beta=beta, keep=keep)
    ground = energy(query, memory, beta=beta, keep=keep) if beta > 0 else None
    assert normalizer.dtype == accumulation
    b, width = mp.mpf(beta), query.shape[1]
    rows = [[mp.mpf(v) for v in row] for row in memory.tolist()]
    read = rows if values is None else [[mp.mpf(v) for v in row] for row in values.tolist()]
    for line in range(query.shape[0]):
        xi = [mp.mpf(v) for v in query[line].tolist()]
        shown = [True] * len(rows) if keep is None else keep.expand(query.shape[0], -1)[line].tolist()
        kept = [i for i, take in enumerate(shown) if take]
        scores = [mp.fdot(rows[i], xi) for i in kept]
        logits = [b * s for s in scores]
        top = max(logits)
        total = mp.fsum(mp.exp(t - top) for t in logits)
        p = [mp.exp(t - top) / total for t in logits]
        exact_normalizer = top + mp.log(total)
        eta = mp.ldexp(1, LEAST[accumulation])
        theta = [
            abs(b)
            * (ua * (width + 4) * mp.fdot([abs(v) for v in rows[i]], [abs(v) for v in xi]) + 2 * width * eta)
            + 4 * ua * abs(t)
            + ua * (top - t)
            + exp_error
            + 2 * ua * len(rows)
            for i, t in zip(kept, logits, strict=True)
        ]
        moved = [min(mp.expm1(min(h, mp.mpf(1))), mp.mpf(1)) for h in theta]
        for j in range(len(read[0])):
            column = [read[i][j] for i in kept]
            exact = mp.fdot(p, column)
            largest = max(abs(c) for c in column)
            if mp.fdot(p, moved) > 0.4:
                tolerance = max(column) - min(column) + (10 * u + 4 * exp_error) * largest
            else:
                tolerance = 4 * mp.fsum(
                    w * e * abs(c - exact) for w, e, c in zip(p, moved, column, strict=True)
                ) + (8 * u + 2 * ua * (len(rows) + 4)) * mp.fdot(p, [abs(c) for c in column])
                lost = mp.ldexp(1, -24) if dtype == torch.float16 else mp.ldexp(1, -120)
                tolerance += len(rows) * lost * largest
            tolerance += mp.ldexp(1, LEAST[dtype] + 1)
            assert near(output[line, j].item(), exact, tolerance, dtype), (line, j, output[line, j], exact)
            assert output[line, j].isfinite()
        for index, i in enumerate(kept):
            tolerance = 4 * p[index] * (moved[index] + max(moved)) + 4 * u * p[index]
            tolerance = (
                mp.mpf(1)
                if max(moved) > 0.4
                else tolerance + mp.ldexp(1, -23 if dtype == torch.float16 else -120)
            )
            assert near(weights[line, i].item(), p[index], tolerance, dtype)
        tolerance = 2 * max(theta) + 4 * ua * abs(exact_normalizer) + 8 * ua
        assert near(normalizer[line].item(), exact_normalizer, tolerance, accumulation)
        if ground is not None:
            own, far = mp.fdot(xi, xi) / 2, max(mp.fdot(rows[i], rows[i]) for i in kept) / 2
            exact = (mp.log(len(kept)) - exact_normalizer) / b + own + far
            tolerance = (tolerance + 8 * ua * (1 + mp.log(len(kept)))) / b
            tolerance += 8 * ua * abs(exact) + 2.0**-49 * (width + 4) * (own + far)
            tolerance += mp.ldexp(1, LEAST[accumulation] + 4)
            assert not ground[line].isnan()
            assert near(ground[line].item(), exact, tolerance, accumulation), (line, ground[line], exact)


# float64 1e307, the others short of their largest number, so that a random normal number fits.
TOP = {torch.float64: 306.5, torch.float32: 37.5, torch.bfloat16: 37.5, torch.float16: 3.9}


@pytest.mark.parametrize("kernel", [*KERNELS, "eager"], indirect=True)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["huge", "tiny", "mixed", "largest", "ordinary"])
def test_finite_inputs_of_any_size(dtype: torch.dtype, kind: str) -> None:
    rng = random.Random(f"{dtype} {kind}")
    top = TOP[dtype]

    def sized(rows: int, columns: int) -> Tensor:
        numbers = torch.tensor(
            [[rng.gauss(0, 1) for _ in range(columns)] for _ in range(rows)], dtype=torch.float64
        )
        if kind == "huge":
            numbers *= 10.0 ** rng.uniform(top / 2, top)
        elif kind == "tiny":
            numbers *= 10.0 ** -rng.uniform(top / 2, top)
        elif kind == "mixed":
            powers = [[rng.uniform(-top, top) for _ in range(columns)] for _ in range(rows)]
            numbers *= 10.0 ** torch.tensor(powers, dtype=torch.float64)
        elif kind == "largest":
            numbers = numbers.sign() * torch.finfo(dtype).max
        return numbers.to(dtype)

    betas = [0.0, 5e-324, -1e-310, 1e-40, 1.0, -1.0, 1e30, 1e308, -1e308]
    for beta in betas:
        count, width = rng.choice([1, 3, 17]), rng.choice([1, 2, 5])
        query, memory = sized(2, width), sized(count, width)
        judge(query, memory, beta)
        # A beta for which some logits are neither equal nor far apart.
        size = float((query.double() @ memory.double().T).abs().max())
        if 0 < size < math.inf:
            judge(query, memory, max(-1.7e308, min(1.7e308, rng.uniform(0.5, 5) / size)))
        keep = torch.tensor([rng.random() < 0.6 for _ in range(count)])
        keep[rng.randrange(count)] = True
        judge(query, memory, beta, sized(count, 3), keep)


@pytest.mark.parametrize("kernel", [*KERNELS, "eager"], indirect=True)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_beyond_the_type_are_not_dropped(dtype: torch.dtype) -> None:
    # The first score overflows to -inf in float32 while the log-normalizer stays finite.
    query = torch.tensor([[1e20, 1.0]], dtype=dtype)
    memory = torch.tensor([[-1e20, 1.0], [0.0, 2.0]], dtype=dtype)
    judge(query, memory, 1e-40)
    # Both overflow.
    judge(query, torch.tensor([[-1e20, 1.0], [-1.0001e20, 2.0]], dtype=dtype), 1e-44)
    # Intermediate sums overflow, scores do not.
    judge(
        torch.tensor([[1e20, 1e20, 1.0]], dtype=dtype),
        torch.tensor([[1e20, -1e20, 1.0], [0, 0, 2]], dtype=dtype),
        1.0,
    )


def test_only_rows_out_of_range_change() -> None:
    query, memory = draw(1, 2, 3, 4), draw(2, 2, 9, 4)
    expected = retrieve(query, memory, beta=1.0)
    query[0, 1] *= 1e38
    got = retrieve(query, memory, beta=1.0)
    others = torch.ones(2, 3, dtype=torch.bool)
    others[0, 1] = False
    assert torch.equal(got[others], expected[others])
    assert got.isfinite().all()
    beta = torch.tensor([1.0, 1e300], dtype=torch.float64)
    sharp = retrieve(draw(1, 2, 3, 4), memory, beta=beta)
    assert torch.equal(sharp[0], expected[0])
    best = (draw(1, 2, 3, 4)[1] @ memory[1].T).argmax(-1)
    assert torch.equal(sharp[1], memory[1][best])


def test_energy_of_small_beta_keeps_its_digits() -> None:
    query, memory = draw(1, 4, 6), draw(2, 9, 6)
    q, x = query.double(), memory.double()
    # To first order in beta, lse - log(N)/beta is the mean score.
    expected = q.square().sum(-1) / 2 + x.square().sum(-1).max() / 2 - (q @ x.T).mean(-1)
    for beta in (1e-9, 1e-30, 1e-300):
        assert torch.allclose(energy(query, memory, beta=beta).double(), expected, rtol=1e-6)
