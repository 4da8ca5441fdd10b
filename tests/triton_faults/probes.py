"""Problems made by hand, for faults that few of the problems show that properties draw."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hopspec.properties import assert_within, retrieval_problem
from hopspec.types import Implementation, Status

__all__ = ["PROBES"]

Probe = Callable[[Implementation[Tensor]], None]


def _drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def _within(
    result: Tensor, of: Implementation[Tensor], query: Tensor, memory: Tensor, **options: Any
) -> None:
    """A result obeys the bound of the model claimed."""
    name = str(query.dtype).removeprefix("torch.")
    model = next(model for model in of.accuracy if model.storage.name == name)
    assert_within(result, retrieval_problem(query, memory, **options), model)


def _holds(of: Implementation[Tensor], query: Tensor, memory: Tensor, **options: Any) -> None:
    """The update obeys the bound of the model claimed."""
    _within(of.retrieve(query, memory, **options), of, query, memory, **options)


def mask_in_columns(of: Implementation[Tensor]) -> None:
    """A mask of which the queries, not the memories, follow one another (MHN-DOM-6)."""
    keep = (_drawn(40, 20, seed=2) < 0.5).T
    _holds(of, _drawn(20, 6), _drawn(40, 6, seed=1), beta=0.7, keep=keep)


def beta_of_each_head(of: Implementation[Tensor]) -> None:
    """Every leading index has its own beta (MHN-DOM-2)."""
    query, memory, beta = _drawn(3, 4, 5), _drawn(20, 5, seed=1), torch.tensor([0.1, 1.0, 4.0])
    together = of.retrieve(query, memory, beta=beta)
    for i in range(3):
        _within(together[i], of, query[i], memory, beta=float(beta[i]))


def value_not_a_number(of: Implementation[Tensor]) -> None:
    """A NaN in one entry of a value spoils the whole row that reads it (MHN-NFI-2)."""
    values = _drawn(20, 3, seed=2)
    values[17, 1] = math.nan
    keep = torch.ones(2, 20, dtype=torch.bool)
    keep[1, 17] = False
    result = of.retrieve(_drawn(2, 4), _drawn(20, 4, seed=1), beta=1.0, values=values, keep=keep)
    assert result[0].isnan().all()
    assert result[1].isfinite().all()


def beta_beyond_float32(of: Implementation[Tensor]) -> None:
    """A beta that float32 cannot hold, of either sign (MHN-UPD-8)."""
    query, memory = torch.ones(1, 1), torch.tensor([[0.0], [2.0**-130]])
    result = float(of.retrieve(query, memory, beta=2.0**130))
    assert abs(result - 2.0**-130 / (1 + math.exp(-1.0))) <= 2.0**-149
    # So steep that one memory is all there is.
    assert float(of.retrieve(query, memory, beta=2.0**141)) == 2.0**-130
    assert float(of.retrieve(query, memory, beta=-(2.0**141))) == 0.0


def energy_at_small_beta(of: Implementation[Tensor]) -> None:
    """The limit of the energy as beta goes to 0, of the memories that are kept (MHN-BND-4)."""
    assert of.energy is not None
    query, memory = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 0.0], [0.0, 1.0], [9.0, 9.0]])
    keep = torch.tensor([True, True, False])
    # Half of the squared lengths 5 and 9, less the mean of the scores 3 and 2.
    assert float(of.energy(query, memory, beta=2.0**-140, keep=keep)) == 4.5


def comes_back(of: Implementation[Tensor]) -> None:
    """States that go round among a few, by rounding alone, are reported as stalled (MHN-SET-5)."""
    assert of.settle is not None
    memory = _drawn(4, 3, seed=2)
    states = [_drawn(16, 3)]
    for _ in range(44):
        states.append(of.retrieve(states[-1], memory, beta=0.75))
    some, later = states[24], torch.stack(states[26:])
    round_and_round = (later == some).all(-1).any(0) & (states[25] != some).any(-1)
    # Which queries do depends on the last bits of exponentials; where none does, nothing is shown.
    assert round_and_round.sum() >= 1
    # A cycle of P states that begins with step m is noticed before step 3 max(m, P).
    settled = of.settle(states[0], memory, beta=0.75, eps=0.0, max_steps=3 * 24)
    assert (settled.status[round_and_round] == Status.STALLED).all()


def settling_beyond_float32(of: Implementation[Tensor]) -> None:
    """Queries whose scores leave the range of float32 settle like others (MHN-SET-2)."""
    assert of.settle is not None
    memory = torch.tensor([[3e38, 0.0], [-3e38, 1e38]])
    settled = of.settle(torch.tensor([[1e38, 0.0], [-1e38, 1e38]]), memory, beta=1.0)
    assert torch.equal(settled.state, memory)
    assert settled.steps.tolist() == [2, 2]
    assert settled.status.tolist() == [Status.CONVERGED, Status.CONVERGED]


def wide(of: Implementation[Tensor]) -> None:
    """Patterns wider than a tile of 16 (MHN-BND-2)."""
    _holds(of, _drawn(3, 40), _drawn(20, 40, seed=1), beta=0.3)


def far_from_zero(of: Implementation[Tensor]) -> None:
    """Weights that are all rounded down, far from zero: the denominator has to be rounded too (MHN-BND-2)."""
    memory = torch.tensor([[0.0, 604.0], *39 * [[-1.0, 548.0]]]).bfloat16()
    # 0.5019 becomes 0.5.
    _holds(of, torch.tensor([[1.0, 0.0]]).bfloat16(), memory, beta=-math.log(0.5019))


def beyond_31_bits(of: Implementation[Tensor]) -> None:
    """Entries of a memory that lie more than 2**31 entries apart (MHN-DOM-6)."""
    # A file that is one hole: only what is written takes up room. Before the memory there is room for offsets
    # that have become negative.
    apart = 1 << 30
    size = 2 * (5 * apart + 1)
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(size)
        whole = torch.from_file(file.name, shared=True, size=size // 2, dtype=torch.float16)
        far = whole.as_strided((4, 1), (apart, 1), 2 * apart)
        far.copy_(torch.arange(1, 5, dtype=torch.float16)[:, None])
        query = torch.ones(1, 1, dtype=torch.float16)
        assert torch.equal(of.retrieve(query, far, beta=3.0), of.retrieve(query, far.clone(), beta=3.0))


PROBES: dict[str, tuple[str, Probe]] = {
    probe.__name__: (probe.__doc__.rpartition("(")[2].rstrip(")."), probe)
    for probe in (
        mask_in_columns,
        beta_of_each_head,
        value_not_a_number,
        beta_beyond_float32,
        comes_back,
        energy_at_small_beta,
        settling_beyond_float32,
        wide,
        far_from_zero,
        beyond_31_bits,
    )
    if probe.__doc__ is not None
}
