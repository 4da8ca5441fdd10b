"""Calls served by the Triton kernels look at no result on the host; their energies are the right ones."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from looks import Looks
from torch import Tensor

from hopspec.fastpath import Memory
from hopspec.fastpath.descriptor import DESCRIPTOR
from hopspec.fastpath.triton.source import available
from hopspec.types import Status

if not available():
    pytest.skip("Triton is not installed: it is for Linux", allow_module_level=True)

from hopspec.fastpath.triton.interpreted import INTERPRETED

pytestmark = pytest.mark.usefixtures("one_thread")

KERNELS: Any = INTERPRETED
OTHER: Any = DESCRIPTOR
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def some_rows_out_of_range() -> tuple[Tensor, Tensor, Tensor]:
    """Queries of which some are not finite, or have scores beyond float32; memories; a mask."""
    query, memory = drawn(5, 3), drawn(9, 3, seed=1)
    query[1], query[2, 0], memory[4] = 3e38, math.nan, 1e30
    keep = drawn(5, 9, seed=2) < 0.6
    keep[0] = False
    return query, memory, keep


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("call", ["retrieve", "log_normalizer", "energy", "evaluate", "settle"])
def test_no_result_is_looked_at(call: str, masked: bool) -> None:
    query, memory, keep = some_rows_out_of_range()
    function: Any = getattr(KERNELS, call)
    options = {"beta": 0.7, "keep": keep if masked else None}
    # What depends on shapes alone is prepared on the host by the first call.
    function(query, memory, **options)
    with Looks() as looks:
        function(query, memory, **options)
    assert looks.now == 0


def test_looking_is_noticed() -> None:
    query, memory, _ = some_rows_out_of_range()
    with Looks() as looks:
        OTHER.energy(query, memory, beta=0.7)
    assert looks.now > 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("beta", [1e-40, 1e-4, 0.4, 1e30])
def test_energies_are_those_of_float64(dtype: torch.dtype, beta: float) -> None:
    """Up to the rounding of float32, also where beta is so small that the log-normalizer says nothing."""
    query, memory = drawn(2, 5, 3).to(dtype), drawn(2, 19, 3, seed=1).to(dtype)
    keep = drawn(2, 5, 19, seed=2) < 0.5
    keep[1, 2] = False
    energy = KERNELS.energy(query, memory, beta=beta, keep=keep)
    expected = OTHER.energy(query.double(), memory.double(), beta=beta, keep=keep)
    rest = 5e-2 if dtype is not torch.float32 and 1e-3 < beta < 1e3 else 1e-4
    torch.testing.assert_close(energy.double(), expected, rtol=0, atol=rest)
    assert energy[1, 2] == math.inf
    held = Memory(memory, keep=keep)
    assert torch.equal(KERNELS.energy(query, held, beta=beta), energy)
    assert torch.equal(KERNELS.evaluate(query, held, beta=beta).energy, energy)


def test_rows_out_of_range_settle_by_themselves() -> None:
    memory = torch.tensor([[3e38, 0.0], [-3e38, 1e38], [1.0, 2.0]])
    query = torch.tensor([[1e38, 0.0], [math.nan, 0.0], [-1e38, 1e38], [2.0, 3.0]])
    keep = torch.tensor([[True, True, True], [True, True, True], [False, True, True], [False, False, True]])
    settled = KERNELS.settle(query, memory, beta=1.0, keep=keep)
    assert torch.equal(settled.state[[0, 2, 3]], memory)
    assert settled.steps.tolist() == [2, 1, 2, 2]
    assert settled.status.tolist() == [
        Status.CONVERGED,
        Status.NONFINITE,
        Status.CONVERGED,
        Status.CONVERGED,
    ]
    limited = KERNELS.settle(query, memory, beta=1.0, keep=keep, max_steps=1)
    assert limited.status.tolist() == [
        Status.MAX_STEPS,
        Status.NONFINITE,
        Status.MAX_STEPS,
        Status.MAX_STEPS,
    ]
