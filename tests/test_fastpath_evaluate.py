"""Update, log-normalizer and energy in one pass: each as good as by itself, and one pass it is."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hopspec import reference
from hopspec.fastpath import (
    DESCRIPTOR,
    Memory,
    _evaluate,
    _flash,
    energy,
    evaluate,
    log_normalizer,
    retrieve,
)
from hopspec.reference import bounds
from hopspec.types import Evaluated

pytestmark = pytest.mark.usefixtures("one_thread")

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
MODELS = {model.storage.name: model for model in DESCRIPTOR.accuracy}


@pytest.fixture(params=["flash", "eager"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    if name == "eager":
        monkeypatch.setattr(_flash, "FLASH", None)
    return name


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def same(got: Evaluated[Tensor], expected: Evaluated[Tensor]) -> bool:
    """Whether two evaluations have the same bits, any NaN being equal to any other."""
    return all(torch.equal(a.isnan(), b.isnan()) for a, b in zip(got, expected, strict=True)) and all(
        torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0)) for a, b in zip(got, expected, strict=True)
    )


def apart(
    query: Tensor, memory: Tensor, beta: float | Tensor, values: Tensor | None, keep: Tensor | None
) -> Evaluated[Tensor]:
    """The same three from three calls."""
    state = retrieve(query, memory, beta=beta, values=values, keep=keep)
    normalizer = log_normalizer(query, memory, beta=beta, keep=keep)
    return Evaluated(state, normalizer, energy(query, memory, beta=beta, keep=keep))


def assert_within_bounds(
    query: Tensor,
    memory: Tensor,
    beta: float | Tensor,
    values: Tensor | None = None,
    keep: Tensor | None = None,
) -> None:
    """Each slice of each of the three results against its exact value and its proved bound."""
    got = evaluate(query, memory, beta=beta, values=values, keep=keep)
    empty = Evaluated(0.0, -math.inf, math.inf)
    wide = torch.float64 if query.dtype == torch.float64 else torch.float32
    read = memory if values is None else values
    betas = torch.as_tensor(beta, dtype=torch.float64)
    masks = torch.ones(1, 1, dtype=torch.bool) if keep is None else keep
    lead = torch.broadcast_shapes(  # type: ignore[no-untyped-call]
        query.shape[:-2], memory.shape[:-2], read.shape[:-2], betas.shape
    )
    length, count = query.shape[-2], memory.shape[-2]
    assert (got.state.shape, got.state.dtype) == ((*lead, length, read.shape[-1]), query.dtype)
    for scalar in (got.log_normalizer, got.energy):
        assert (scalar.shape, scalar.dtype) == ((*lead, length), wide)
    spread = [t.expand(*lead, *t.shape[-2:]) for t in (query, memory, read)]
    betas, masks = betas.expand(lead), masks.expand(*lead, length, count)
    model = MODELS[str(query.dtype).removeprefix("torch.")]
    for index in itertools.product(*map(range, lead)):
        q, x, v = (t[index].double().numpy() for t in spread)
        b, shown = float(betas[index]), masks[index].numpy()
        exact = reference.solve(q, x, beta=b, keep=shown, values=None if values is None else v)
        assert exact.energy is not None
        own = None if values is None else v
        judged = (
            (exact.state, bounds.update_bound(q, x, b, exact, model, own)),
            (exact.log_normalizer, bounds.log_normalizer_bound(q, x, b, exact, model)),
            (exact.energy, bounds.energy_bound(q, x, b, exact, model)),
        )
        full = shown.any(1)
        for part, nothing, (right, bound) in zip(got, empty, judged, strict=True):
            said = part[index].double().numpy()
            error, radius = right.error(said)
            assert np.isfinite(bound[full]).all()
            assert (error[full] - radius[full] <= bound[full]).all()
            assert (said[~full] == nothing).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("length", "count", "width"), [(1, 1, 1), (3, 7, 5), (2, 700, 8)])
def test_all_three_are_within_their_bounds(
    kernel: str, dtype: torch.dtype, length: int, count: int, width: int
) -> None:
    query, memory = draw(1, length, width, dtype=dtype), draw(2, count, width, dtype=dtype)
    assert_within_bounds(query, memory, 0.75)
    assert same(evaluate(query, memory, beta=0.75), apart(query, memory, 0.75, None, None))
    for wide in (1, width, width + 3):
        assert_within_bounds(query, memory, 0.75, draw(3, count, wide, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(9,), (1, 9), (5, 9), (5, 1), (2, 1, 9), (2, 5, 9), (5, 90), (2, 5, 90)])
def test_masks_and_empty_rows(kernel: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    keep = draw(5, *shape) > 0
    lead, count = shape[:-2], max(shape[-1], 9)
    query, values = draw(1, *lead, 5, 6, dtype=dtype), draw(3, count, 4, dtype=dtype)
    memory = draw(2, count, 6, dtype=dtype)
    # The longest memory is one that some queries do not see.
    memory[int((~keep).nonzero()[0, -1])] *= 3
    assert_within_bounds(query, memory, 1.0, keep=keep)
    if len(shape) > 1:
        keep[..., -1, :] = False
        # One query sees the shortest memory alone.
        keep[..., 0, :] = torch.arange(shape[-1]) == memory.double().square().sum(-1)[: shape[-1]].argmin()
    assert_within_bounds(query, memory, 1.0, keep=keep)
    assert_within_bounds(query, memory, 1.0, values, keep)
    assert same(evaluate(query, memory, beta=1.0, keep=keep), apart(query, memory, 1.0, None, keep))


@pytest.mark.parametrize(
    ("query_lead", "memory_lead", "values_lead", "beta_lead"),
    [((3,), (), (), ()), ((), (3,), (3,), (3,)), ((), (), (3,), ()), ((2, 1), (1, 3), (2, 3), (2, 1))],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_leading_dimensions_and_beta_per_head(
    kernel: str,
    dtype: torch.dtype,
    query_lead: tuple[int, ...],
    memory_lead: tuple[int, ...],
    values_lead: tuple[int, ...],
    beta_lead: tuple[int, ...],
) -> None:
    query, memory = draw(1, *query_lead, 5, 6, dtype=dtype), draw(2, *memory_lead, 9, 6, dtype=dtype)
    beta = draw(4, *beta_lead).abs() + 0.25
    assert_within_bounds(query, memory, beta, draw(3, *values_lead, 9, 4, dtype=dtype))
    assert_within_bounds(query, memory, beta)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_prepared_memory_gives_the_same_bits(kernel: str, dtype: torch.dtype) -> None:
    query, patterns, values = draw(1, 4, 6), draw(2, 9, 6), draw(3, 9, 3)
    query, patterns, values = query.to(dtype), patterns.to(dtype), values.to(dtype)
    keep = draw(4, 9) > -0.5
    given: list[dict[str, Any]] = [
        {},
        {"values": values},
        {"keep": keep},
        {"values": values, "keep": keep},
    ]
    for options in given:
        expected = evaluate(query, patterns, beta=1.0, **options)
        assert same(evaluate(query, Memory(patterns, **options), beta=1.0), expected)
        assert same(evaluate(query, Memory(patterns), beta=1.0, **options), expected)
    with pytest.raises(ValueError, match="memory holds values already"):
        evaluate(query, Memory(patterns, values=values), beta=1.0, values=values)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("beta", [0.5, 2.0**-30])
def test_what_is_not_finite_spoils_whole_rows_and_no_others(
    kernel: str, dtype: torch.dtype, bad: float, beta: float
) -> None:
    query, memory, values = draw(1, 5, 4, dtype=dtype), draw(2, 9, 4, dtype=dtype), draw(3, 9, 3, dtype=dtype)
    keep = torch.ones(5, 9, dtype=torch.bool)
    keep[:2, 6] = False
    clean = evaluate(query, memory, beta=beta, values=values, keep=keep)
    spoilt_query, spoilt_memory, spoilt_values = query.clone(), memory.clone(), values.clone()
    spoilt_query[3, 2] = spoilt_memory[6, 1] = spoilt_values[6, 1] = bad
    rows = torch.arange(5)
    for q, m, hit in ((spoilt_query, memory, rows == 3), (query, spoilt_memory, rows >= 2)):
        for got, expected in zip(evaluate(q, m, beta=beta, values=values, keep=keep), clean, strict=True):
            assert got[hit].isnan().all()
            assert torch.equal(got[~hit], expected[~hit])
    read = evaluate(query, memory, beta=beta, values=spoilt_values, keep=keep)
    assert (~read.state[2:, 1].isfinite()).all()
    assert torch.equal(read.state[:2], clean.state[:2])
    assert torch.equal(read.log_normalizer, clean.log_normalizer)
    assert torch.equal(read.energy, clean.energy)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("query_size", "memory_size", "beta"),
    [
        ("top", "top", 1.0),
        ("top", 1.0, 1.0),
        (1.0, "top", 1.0),
        (1.0, 1.0, 1e300),
        # Here (log N - log-normalizer) / beta is mostly rounding error.
        (1.0, 1.0, 1e-9),
        (1.0, 1.0, 1e-300),
        ("low", "low", 1.0),
    ],
)
def test_finite_inputs_of_any_size(
    kernel: str, dtype: torch.dtype, query_size: str | float, memory_size: str | float, beta: float
) -> None:
    sizes = {"top": torch.finfo(dtype).max / 8, "low": torch.finfo(dtype).tiny, 1.0: 1.0}
    query = (draw(1, 4, 6, dtype=torch.float64) * sizes[query_size]).to(dtype)
    memory = (draw(2, 9, 6, dtype=torch.float64) * sizes[memory_size]).to(dtype)
    got = evaluate(query, memory, beta=beta)
    assert same(got, apart(query, memory, beta, None, None))
    assert got.state.isfinite().all()
    assert (got.energy >= 0).all()
    values = draw(3, 9, 3, dtype=dtype)
    read = evaluate(query, memory, beta=beta, values=values)
    assert torch.equal(read.state, retrieve(query, memory, beta=beta, values=values))
    assert torch.equal(read.energy.isinf(), got.energy.isinf())


@pytest.mark.parametrize(("query", "memory"), [((0, 4), (5, 4)), ((2, 0, 4), (5, 4)), ((3, 4), (0, 4))])
def test_empty_shapes(kernel: str, query: tuple[int, ...], memory: tuple[int, ...]) -> None:
    got = evaluate(torch.ones(query), torch.ones(memory), beta=1.0, values=torch.ones(memory[0], 2))
    assert torch.equal(got.state, torch.zeros(*query[:-1], 2))
    assert torch.equal(got.log_normalizer, torch.full(query[:-1], -math.inf))
    assert torch.equal(got.energy, torch.full(query[:-1], math.inf))


def mask(*shape: int) -> Tensor:
    keep = draw(9, *shape) > -0.4
    keep[..., 0] = True
    return keep


@pytest.mark.parametrize(
    ("query_shape", "memory_shape", "keep"),
    [((3, 4), (5, 4), None), ((2, 3, 4), (5, 4), mask(2, 3, 5)), ((2, 3, 4), (2, 5, 4), mask(2, 1, 5))],
)
@pytest.mark.parametrize("width", [None, 3])
def test_gradients_are_the_derivatives(
    query_shape: tuple[int, ...], memory_shape: tuple[int, ...], keep: Tensor | None, width: int | None
) -> None:
    double = {"dtype": torch.float64}
    inputs = [draw(1, *query_shape, **double), draw(2, *memory_shape, **double)]
    inputs.append(draw(3, *query_shape[:-2], **double).abs() + 0.5)
    if width is not None:
        inputs.append(draw(4, *memory_shape[:-1], width, **double))

    def run(query: Tensor, memory: Tensor, beta: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        return tuple(evaluate(query, memory, beta=beta, keep=keep, values=next(iter(values), None)))

    # One argument at a time too: which of them wants a gradient selects the kernel.
    for wanted in ([True] * len(inputs), *np.eye(len(inputs), dtype=bool).tolist()):
        for tensor, on in zip(inputs, wanted, strict=True):
            tensor.requires_grad_(on)
        assert torch.autograd.gradcheck(run, inputs)


def test_the_gradient_of_the_energy_is_the_step() -> None:
    query, memory = draw(1, 3, 4).double().requires_grad_(), draw(2, 5, 4).double()
    state, _, ground = evaluate(query, memory, beta=1.3)
    (gradient,) = torch.autograd.grad(ground.sum(), query)
    assert torch.allclose(gradient, query - state, atol=1e-12)


def test_gradients_out_of_range_are_refused_and_not_invented() -> None:
    query, memory = torch.full((1, 2), 1e20).requires_grad_(), torch.eye(2) * 1e20
    with pytest.raises(NotImplementedError, match="gradients of such rows"):
        evaluate(query, memory, beta=1.0)
    with torch.no_grad():
        assert evaluate(query, memory, beta=1.0).state.isfinite().all()


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every call of PyTorch's flash kernel from now on."""
    calls: list[Any] = []
    flash = _flash.FLASH
    assert flash is not None

    def counting(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        return flash(*arguments, **options)

    monkeypatch.setattr(_flash, "FLASH", counting)
    return calls


@pytest.mark.parametrize("options", [{}, {"values": draw(3, 9, 3)}, {"keep": mask(4, 9)}])
@pytest.mark.parametrize("prepared", [False, True])
def test_the_kernel_runs_once(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], *, prepared: bool
) -> None:
    memory = Memory(draw(2, 9, 6)) if prepared else draw(2, 9, 6)
    calls = counted(monkeypatch)
    evaluate(draw(1, 4, 6), memory, beta=1.0, **options)
    assert len(calls) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_plain_matrices_take_the_short_route(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    query, memory, keep = draw(1, 4, 6, dtype=dtype), draw(2, 9, 6, dtype=dtype), mask(4, 9)
    with monkeypatch.context() as changed:
        changed.setattr(_evaluate, "plain_problem", lambda *_: None)
        long = [evaluate(query, memory, beta=1.0, keep=k) for k in (None, keep)]
    monkeypatch.setattr(_evaluate, "prepare", None)
    for k, expected in zip((None, keep), long, strict=True):
        got = evaluate(query, memory, beta=1.0, keep=k)
        assert isinstance(got, Evaluated)
        assert same(got, expected)


def test_inputs_are_left_alone() -> None:
    query, memory, values, keep = draw(1, 4, 6), draw(2, 9, 6), draw(3, 9, 3), mask(4, 9)
    before = [tensor.clone() for tensor in (query, memory, values, keep)]
    memory[3] = before[1][3] = math.inf
    evaluate(query, memory, beta=1.0, values=values, keep=keep)
    for tensor, copy in zip((query, memory, values, keep), before, strict=True):
        assert torch.equal(tensor, copy)
