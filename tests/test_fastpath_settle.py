"""Settling: where each query stops, and what is reported of it."""

import math

import pytest
import torch
from torch import Tensor

from hopspec.fastpath import Memory, _arguments, _attend, _iterate, energy, retrieve, settle
from hopspec.types import Settled, Status

pytestmark = pytest.mark.usefixtures("one_thread")

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
FIELDS = ("state", "energy", "residual", "steps", "status")


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def by_hand(
    query: Tensor, memory: Tensor, beta: float, eps: float, max_steps: int
) -> list[tuple[Tensor, int, Status]]:
    """Each query on its own: apply the update until its step is at most eps, or its state comes back."""
    ended = []
    for line in range(query.shape[0]):
        state = query[line : line + 1]
        seen = [state]
        status = Status.MAX_STEPS
        steps = 0
        while steps < max_steps and status == Status.MAX_STEPS:
            new = retrieve(state, memory, beta=beta)
            steps += 1
            if float((new.double() - state.double()).norm()) <= eps:
                status = Status.CONVERGED
            elif any(torch.equal(new, earlier) for earlier in seen):
                status = Status.STALLED
            state = new
            seen.append(state)
        ended.append((state, steps, status))
    return ended


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("eps", [0.0, 1e-3, 0.3, None])
def test_one_query_alone(dtype: torch.dtype, eps: float | None) -> None:
    memory = draw(2, 9, 6, dtype=dtype)
    query = draw(1, 6, 6, dtype=dtype)
    limit = {torch.float64: 2.0**-26, torch.float32: 1e-4, torch.float16: 2.0**-8, torch.bfloat16: 2.0**-6}[
        dtype
    ]
    expected = by_hand(query, memory, 0.4, limit if eps is None else eps, 40)
    for line, (state, steps, status) in enumerate(expected):
        got = settle(query[line : line + 1], memory, beta=0.4, eps=eps, max_steps=40)
        if status == Status.STALLED:
            # The cycle is noticed at the latest two powers of two after it began.
            assert int(got.status) in (Status.STALLED, Status.MAX_STEPS)
            continue
        assert int(got.status) == status
        assert int(got.steps) == steps
        assert torch.equal(got.state, state)
        assert torch.equal(got.state, retrieve(query[line : line + 1], memory, beta=0.4, steps=steps))
        if float(got.residual) == 0:
            assert torch.equal(got.energy, energy(state, memory, beta=0.4))
        assert (float(got.residual) <= (limit if eps is None else eps)) == (status == Status.CONVERGED)


@pytest.mark.parametrize("dtype", DTYPES)
def test_types_and_shapes(dtype: torch.dtype) -> None:
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    for lead, memory_lead in (((), ()), ((2, 3), ()), ((2, 1), (3,)), ((), (2, 3))):
        got = settle(draw(1, *lead, 5, 4, dtype=dtype), draw(2, *memory_lead, 7, 4, dtype=dtype), beta=0.5)
        full = {(): memory_lead, (2, 3): (2, 3), (2, 1): (2, 3)}[lead]
        assert isinstance(got, Settled)
        assert got.state.shape == (*full, 5, 4)
        assert got.state.dtype == dtype
        for field in (got.energy, got.residual):
            assert field.dtype == wide
        for field in (got.steps, got.status):
            assert field.dtype == torch.int64
        for name in FIELDS[1:]:
            assert getattr(got, name).shape == (*full, 5)
    for shape in ((0, 4), (2, 0, 4)):
        assert settle(torch.zeros(shape), draw(2, 7, 4), beta=0.5).status.shape == shape[:-1]


@pytest.mark.parametrize("shared", [True, False])
def test_others_do_not_matter(shared: bool) -> None:
    # float64 and a coarse eps: no residual comes within rounding of it.
    query = draw(1, 3, 8, 5, dtype=torch.float64)
    memory = draw(2, *(() if shared else (3,)), 11, 5, dtype=torch.float64)
    keep = draw(3, *(() if shared else (3,)), 1, 11) > -0.7
    keep[..., 0] = True
    together = settle(query, memory, beta=0.35, keep=keep, eps=1e-3)
    assert len(set(together.steps.flatten().tolist())) > 3
    for group in range(3):
        for line in range(8):
            rows, mask = (memory, keep) if shared else (memory[group], keep[group])
            alone = settle(query[group, line : line + 1], rows, beta=0.35, keep=mask, eps=1e-3)
            for name in FIELDS:
                got, expected = getattr(together, name)[group, line], getattr(alone, name)[0]
                assert torch.allclose(got, expected, rtol=0, atol=1e-12), name


def test_mask_per_query_follows_its_query() -> None:
    query, memory = draw(1, 20, 5, dtype=torch.float64), draw(2, 11, 5, dtype=torch.float64)
    keep = draw(3, 20, 11) > 0
    keep[4] = False
    together = settle(query, memory, beta=0.5, keep=keep, eps=1e-3)
    for line in range(20):
        alone = settle(query[line : line + 1], memory, beta=0.5, keep=keep[line], eps=1e-3)
        assert int(together.steps[line]) == int(alone.steps)
        assert torch.allclose(together.state[line], alone.state[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("count", [0, 6])
def test_empty_rows_converge_after_one_step(shared: bool, count: int) -> None:
    query = draw(1, 2, 4, 5)
    query[1, 1] = math.nan
    memory = draw(2, *(() if shared else (2,)), count, 5)
    keep = torch.ones(2, 4, count, dtype=torch.bool)
    keep[:, 1] = False
    got = settle(query, memory, beta=0.5, keep=keep, max_steps=50)
    rows = (slice(None), 1) if count else (...,)
    assert (got.status[rows] == Status.CONVERGED).all()
    assert (got.steps[rows] == 1).all()
    assert (got.residual[rows] == 0).all()
    assert (got.state[rows] == 0).all()
    assert (got.energy[rows] == math.inf).all()
    if count == 0:
        plain = settle(query, memory, beta=0.5)
        assert (plain.status == Status.CONVERGED).all()
        assert (plain.residual == 0).all()


@pytest.mark.parametrize("shared", [True, False])
def test_rows_that_are_not_finite(shared: bool) -> None:
    query = draw(1, 2, 4, 5)
    memory = draw(2, *(() if shared else (2,)), 6, 5)
    expected = settle(query, memory, beta=0.5)
    query[0, 2, 1] = math.nan
    query[1, 0, 0] = -math.inf
    got = settle(query, memory, beta=0.5)
    hit = torch.zeros(2, 4, dtype=torch.bool)
    hit[0, 2] = hit[1, 0] = True
    assert (got.status[hit] == Status.NONFINITE).all()
    assert (got.steps[hit] == 1).all()
    assert got.state[hit].isnan().all()
    assert got.residual[hit].isnan().all()
    assert got.energy[hit].isnan().all()
    assert torch.equal(got.status[~hit], expected.status[~hit])
    assert torch.allclose(got.state[~hit], expected.state[~hit], rtol=0, atol=1e-5)
    spoilt = memory.clone()
    spoilt[..., 3, 3] = math.nan
    assert (settle(query, spoilt, beta=0.5).status == Status.NONFINITE).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_cycles_at_rounding_level_are_reported(dtype: torch.dtype) -> None:
    stalled = 0
    for seed in range(60):
        got = settle(
            draw(seed, 40, 6, dtype=dtype),
            draw(seed + 100, 9, 6, dtype=dtype),
            beta=0.3 + 0.02 * seed,
            eps=0.0,
        )
        assert set(got.status.tolist()) <= {int(Status.CONVERGED), int(Status.STALLED)}
        assert ((got.residual == 0) == (got.status == Status.CONVERGED)).all()
        stalled += int((got.status == Status.STALLED).sum())
        if stalled:
            return
    pytest.fail("no query stalled, so nothing was tested")


def test_a_cycle_is_found_wherever_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    # Query n walks n states into a cycle of three.
    tail = torch.tensor([[0.0], [1.0], [5.0], [12.0]])

    def walk(problem: object, state: Tensor, *, certified: bool) -> _attend.Attended:
        ring = torch.where(state <= -2, torch.zeros_like(state), state - 1)
        return _attend.Attended(torch.where(state <= 0, ring, state - 1), state[:, 0])

    monkeypatch.setattr(_iterate, "attend_plain", walk)
    got = settle(tail, torch.ones(2, 1), beta=1.0, eps=0.5, max_steps=100)
    assert got.status.tolist() == [Status.STALLED] * 4
    assert (got.residual >= 1).all()
    assert all(
        length + 3 <= steps < 3 * max(length, 3)
        for length, steps in zip((0, 1, 5, 12), got.steps.tolist(), strict=True)
    )


def test_a_cycle_is_found_though_others_leave_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    # The first query runs around a cycle of three, each other one reaches 100 one step after the one before.
    start = torch.cat((torch.zeros(1), torch.arange(100.0, 120.0))).unsqueeze(-1)

    def walk(problem: object, state: Tensor, *, certified: bool) -> _attend.Attended:
        ring = torch.where(state <= -2, torch.zeros_like(state), state - 1)
        return _attend.Attended(torch.where(state <= 0, ring, (state - 1).clamp(min=100)), state[:, 0])

    monkeypatch.setattr(_iterate, "attend_plain", walk)
    got = settle(start, torch.ones(2, 1), beta=1.0, eps=0.5)
    assert got.steps.tolist() == [7, *range(1, 21)]
    assert got.status.tolist() == [Status.STALLED] + [Status.CONVERGED] * 20


def test_max_steps() -> None:
    query, memory = draw(1, 6, 5, dtype=torch.float64), draw(2, 9, 5, dtype=torch.float64)
    for limit in (1, 2, 7):
        got = settle(query, memory, beta=0.35, eps=1e-12, max_steps=limit)
        assert (got.status == Status.MAX_STEPS).all()
        assert (got.steps == limit).all()
        assert torch.equal(got.state, retrieve(query, memory, beta=0.35, steps=limit))
        assert (got.residual > 1e-12).all()
    assert (settle(query, memory, beta=0.35, eps=math.inf).steps == 1).all()


@pytest.mark.parametrize(
    ("dtype", "size"), [(torch.float32, 1e20), (torch.bfloat16, 1e38), (torch.float64, 1e200)]
)
def test_residuals_of_huge_patterns(dtype: torch.dtype, size: float) -> None:
    query, memory = draw(1, 6, 4, dtype=dtype) * size, draw(2, 5, 4, dtype=dtype) * size
    got = settle(query, memory, beta=1.0, max_steps=1)
    step = (got.state.double() / size - query.double() / size).norm(dim=-1)
    assert torch.allclose(got.residual.double() / size, step, rtol=1e-5)
    again = settle(query, memory, beta=1.0)
    assert (again.status == Status.CONVERGED).all()
    assert (again.residual == 0).all()
    assert not again.energy.isnan().any()


def test_a_certified_step_is_the_same_step() -> None:
    memory, query = Memory(draw(2, 9, 5)), draw(1, 6, 5)
    arguments = _arguments.check_arguments(query, memory, 0.5, None, positive_beta=True)
    problem = _attend.prepare(arguments)
    assert _attend.hull_is_safe(problem)
    plain, certified = (_attend.attend(problem, query, certified=flag).output for flag in (False, True))
    assert torch.equal(plain, certified)
    arguments = _arguments.check_arguments(query, draw(2, 9, 5) * 1e20, 0.5, None, positive_beta=True)
    assert not _attend.hull_is_safe(_attend.prepare(arguments))


def test_results_carry_no_gradient_and_inputs_stay() -> None:
    query, memory = draw(1, 6, 5).requires_grad_(), draw(2, 9, 5).requires_grad_()
    before = query.detach().clone()
    got = settle(query, memory, beta=torch.tensor(0.5, requires_grad=True))
    assert not any(field.requires_grad for field in got)
    assert torch.equal(query, before)
    assert got.state.data_ptr() != query.data_ptr()
