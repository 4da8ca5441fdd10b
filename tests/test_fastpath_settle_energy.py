"""The energy of a settled state, carried over its last step instead of computed anew."""

import math

import pytest
import torch
from torch import Tensor

from hopspec import reference
from hopspec.fastpath import Memory, _carry, energy, settle
from hopspec.fastpath._carry import longest_step
from hopspec.fastpath.descriptor import ACCURACY
from hopspec.reference import bounds

pytestmark = pytest.mark.usefixtures("one_thread")

MODEL = next(model for model in ACCURACY if model.name == "fastpath-float32")
WIDE = next(model for model in ACCURACY if model.name == "fastpath-float64")
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def longest(memory: Tensor, beta: float) -> float:
    half_farthest = 0.5 * memory.double().square().sum(-1).amax()
    return float(longest_step(memory.dtype, memory.shape[0], memory.shape[1], beta, half_farthest))


def within_bound(query: Tensor, memory: Tensor, beta: float, energies: Tensor) -> bool:
    """Whether energies obey MHN-BND-4."""
    rows, patterns = query.double().numpy(), memory.double().numpy()
    exact = reference.solve(rows, patterns, beta=beta)
    assert exact.energy is not None
    error, slack = exact.energy.error(energies.double().numpy())
    return bool((error - slack <= bounds.energy_bound(rows, patterns, beta, exact, MODEL)).all())


@pytest.mark.parametrize(
    ("n", "d", "beta", "size"), [(7, 3, 0.7, 1.0), (40, 24, 0.2, 1.0), (12, 5, 30.0, 0.2)]
)
def test_carried_energies_obey_the_bound(n: int, d: int, beta: float, size: float) -> None:
    carried = 0
    for seed in range(4):
        memory = draw(seed, n, d) * size
        eps = longest(memory, beta)
        got = settle(memory[:5] + 0.5 * size * draw(seed + 99, 5, d), memory, beta=beta, eps=eps)
        assert within_bound(got.state, memory, beta, got.energy)
        carried += int(((got.residual > eps / 8) & (got.residual <= eps)).sum())
    assert carried


def test_a_long_step_is_not_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, query = draw(1, 9, 6), draw(2, 20, 6)
    got = settle(query, memory, beta=0.5, eps=0.3)
    long = got.residual > longest(memory, 0.5)
    assert long.sum() > 10
    assert torch.equal(got.energy[long], energy(got.state[long], memory, beta=0.5))
    # What would come of carrying it all the same.
    monkeypatch.setattr(_carry, "longest_step", lambda *_: torch.tensor(math.inf))
    spoilt = settle(query, memory, beta=0.5, eps=0.3)
    assert not within_bound(spoilt.state, memory, 0.5, spoilt.energy)


def test_carrying_follows_the_three_point_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    # In float64, where rounding leaves the second order of the step to be seen.
    monkeypatch.setattr(_carry, "longest_step", lambda *_: torch.tensor(math.inf))
    memory, query = draw(1, 9, 6, dtype=torch.float64), draw(2, 40, 6, dtype=torch.float64)
    beta = 2 / float(torch.cdist(memory, memory).amax()) ** 2
    got = settle(query, memory, beta=beta, eps=0.1)
    missing = energy(got.state, memory, beta=beta) - got.energy
    rows, patterns = got.state.numpy(), memory.numpy()
    exact = reference.solve(rows, patterns, beta=beta)
    rounding = 2 * float(bounds.energy_bound(rows, patterns, beta, exact, WIDE).max())
    assert (got.residual > 1e-3).all()
    assert (missing <= rounding).all()
    # Here beta diam(X)**2 / 4 is one half.
    assert (missing >= -0.25 * got.residual.square() - rounding).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("masked", [False, True])
def test_every_route_carries_alike(dtype: torch.dtype, masked: bool) -> None:
    memory, query = draw(1, 11, 4, dtype=dtype), draw(2, 9, 4, dtype=dtype)
    keep = draw(3, 9, 11) > -0.5 if masked else None
    if keep is not None:
        keep[:, 0] = True
    plain = settle(query, memory, beta=0.8, keep=keep)
    strided = torch.stack((memory, memory), -1)[..., 0]
    lead = settle(
        query.expand(2, -1, -1),
        torch.stack((memory, memory)),
        beta=0.8,
        keep=None if keep is None else keep.expand(2, -1, -1),
    )
    assert torch.equal(plain.energy, settle(query, Memory(memory), beta=0.8, keep=keep).energy)
    assert torch.equal(plain.energy, settle(query, strided, beta=0.8, keep=keep).energy)
    for got in lead.energy:
        assert torch.equal(got, plain.energy)


def test_nothing_is_carried_where_there_is_no_room() -> None:
    half = torch.tensor(50.0, dtype=torch.float64)
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        assert float(longest_step(dtype, 100, 8, 0.5, half)) == 0
    # Logits with errors beyond 1/16, memories beyond 2**20, and numbers so small that squares vanish.
    assert float(longest_step(torch.float32, 100, 8, 1e5, half)) == 0
    assert float(longest_step(torch.float32, 1 << 21, 8, 0.5, half)) == 0
    assert float(longest_step(torch.float32, 100, 8, 0.5, torch.tensor(0.0, dtype=torch.float64))) == 0


def test_rows_without_an_ordinary_energy_are_computed_anew() -> None:
    memory, query = draw(1, 6, 4), draw(2, 5, 4)
    query[1, 2] = math.nan
    keep = torch.ones(5, 6, dtype=torch.bool)
    keep[3] = False
    got = settle(query, memory, beta=0.5, keep=keep)
    assert got.energy[1].isnan()
    assert got.energy[3] == math.inf
    assert got.energy[[0, 2, 4]].isfinite().all()
    small = settle(query[:1] * 1e-6, memory * 1e-6, beta=0.5, eps=0.0)
    assert float(small.residual) == 0
    assert torch.equal(small.energy, energy(small.state, memory * 1e-6, beta=0.5))
