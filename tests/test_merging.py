"""Merged parts: their bounds hold for PyTorch's kernel, and grow only where parts may be merged."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from hopspec.fastpath.descriptor import ACCURACY
from hopspec.formats import FLOAT32, FLOAT64, FORMATS
from hopspec.properties.faults import RIGHT, RIGHT_MERGING
from hopspec.properties.problem import round_to
from hopspec.reference import bounds, solve
from hopspec.types import AccuracyModel

Array = NDArray[np.float64]
MODELS = {m.storage.name: m for m in ACCURACY}
FLASH = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
SPREADS = (0.02, 2.5, 14.0, 60.0, 1e4, 1e6)


def drawn(rng: np.random.Generator, dtype: str) -> tuple[Array, Array, float, NDArray[np.bool_]]:
    """Query, memory, beta and mask: mixed weights, near ties across parts, one part ahead, huge logits."""
    n, d = int(rng.integers(2, 40)), int(rng.integers(1, 7))
    direction = rng.standard_normal((1, d))
    memory = rng.standard_normal((n, d)) * rng.choice([1.0, 2.0**-6])
    memory += rng.choice([0.0, 1.0, 32.0]) * direction
    if rng.random() < 0.3:
        memory[n // 2 :] = memory[: n - n // 2]
    if rng.random() < 0.3:
        memory[: n // 2] *= 0.01
    query = direction + 0.1 * rng.standard_normal((2, d))
    memory, query = round_to(memory, FORMATS[dtype]), round_to(query, FORMATS[dtype])
    scores = query @ memory.T
    width = float((scores.max(axis=1) - scores.min(axis=1)).max())
    beta = float(np.float32(rng.choice(SPREADS) / (width or 1.0)))
    keep = np.ones((2, n), dtype=np.bool_)
    if rng.random() < 0.4:
        keep = rng.random((2, n)) < rng.choice([0.1, 0.5])
        keep[:, rng.integers(0, n)] = True
    return query, memory, beta, keep


def merged(query: Tensor, memory: Tensor, beta: float, keep: Tensor, cuts: list[int]) -> tuple[Array, Array]:
    """Results of PyTorch's kernel on the parts between ``cuts``, merged in float64 and rounded once."""
    outputs, logs = [], []
    for start, stop in pairwise(cuts):
        part, kept = memory[None, None, start:stop], keep[:, start:stop]
        mask = torch.zeros(kept.shape, dtype=query.dtype).masked_fill_(~kept, -math.inf)[None, None]
        output, log = FLASH(query[None, None], part, part, 0.0, False, attn_mask=mask, scale=beta)
        outputs.append(output[0, 0].double())
        logs.append(log[0, 0].double().masked_fill(~kept.any(-1), -math.inf))
    stacked = torch.stack(logs)
    peak = stacked.amax(0)
    weights = (stacked - peak).exp()
    state = (weights[..., None] * torch.stack(outputs)).sum(0) / weights.sum(0)[..., None]
    wide = torch.promote_types(query.dtype, torch.float32)
    log_normalizer = (peak + weights.sum(0).log()).to(wide)
    return state.to(query.dtype).double().numpy(), log_normalizer.double().numpy()


@pytest.mark.parametrize("dtype", list(MODELS))
def test_parts_of_the_kernel_stay_within_the_merged_bounds(dtype: str) -> None:
    rng = np.random.default_rng(0)
    model = replace(MODELS[dtype], merged_from=2)
    kind = getattr(torch, dtype)
    compared = 0
    for _ in range(80):
        query, memory, beta, keep = drawn(rng, dtype)
        n = len(memory)
        inner = rng.choice(np.arange(1, n), int(rng.integers(1, min(n, 6))), replace=False)
        cuts = [0, *sorted(inner.tolist()), n]
        given = (torch.from_numpy(query).to(kind), torch.from_numpy(memory).to(kind))
        state, log_normalizer = merged(*given, beta, torch.from_numpy(keep), cuts)
        exact = solve(query, memory, beta=beta, keep=keep)
        for truth, got, bound in (
            (exact.state, state, bounds.update_bound(query, memory, beta, exact, model)),
            (
                exact.log_normalizer,
                log_normalizer,
                bounds.log_normalizer_bound(query, memory, beta, exact, model),
            ),
        ):
            error, slack = truth.error(got)
            assert (error - slack <= bound).all(), (dtype, memory.shape, beta, cuts)
            compared += int(np.isfinite(bound).sum())
    assert compared > 300


@pytest.mark.parametrize("dtype", list(MODELS))
def test_whole_memories_stay_within_the_bounds(dtype: str) -> None:
    rng = np.random.default_rng(1)
    kind = getattr(torch, dtype)
    model = replace(MODELS[dtype], merged_from=0)
    for _ in range(60):
        query, memory, beta, keep = drawn(rng, dtype)
        given = (torch.from_numpy(query).to(kind), torch.from_numpy(memory).to(kind))
        state, log_normalizer = merged(*given, beta, torch.from_numpy(keep), [0, len(memory)])
        exact = solve(query, memory, beta=beta, keep=keep)
        error, slack = exact.state.error(state)
        assert (error - slack <= bounds.update_bound(query, memory, beta, exact, model)).all()
        error, slack = exact.log_normalizer.error(log_normalizer)
        assert (error - slack <= bounds.log_normalizer_bound(query, memory, beta, exact, model)).all()


# Without rounding of weights, so that one rounding is all that a result of one pass suffers.
EXACT_WEIGHTS = {
    dtype: AccuracyModel("exact weights", FORMATS[dtype], FLOAT64, exp_error=2.0**-50, output=FLOAT64)
    for dtype in ("bfloat16", "float16")
}


@pytest.mark.parametrize(("dtype", "base", "unit"), [("float16", 0.0, 2.0**-24), ("bfloat16", 1.0, 2.0**-7)])
def test_a_merged_result_may_break_the_bound_of_one_pass(dtype: str, base: float, unit: float) -> None:
    # In units: the mean of the first part, 1/2, becomes 0, and that of 0, 0 and 1 too. The exact one is 2/3.
    query, memory, cuts = np.zeros((1, 1)), base + np.array([[0.0], [1.0], [1.0]]) * unit, [0, 2, 3]
    exact = solve(query, memory, beta=1.0)
    kind = getattr(torch, dtype)
    given = (torch.from_numpy(query).to(kind), torch.from_numpy(memory).to(kind))
    state, _ = merged(*given, 1.0, torch.ones(1, 3, dtype=torch.bool), cuts)
    error, slack = exact.state.error(state)
    alone, merging = (
        bounds.update_bound(query, memory, 1.0, exact, replace(EXACT_WEIGHTS[dtype], merged_from=n))
        for n in (0, 2)
    )
    assert error - slack > alone
    assert error - slack <= merging


def test_log_weights_are_allowed_the_rounding_of_log_normalizers() -> None:
    query, memory = np.array([[100.0]]), np.array([[1.0], [0.5], [-1.0]])
    exact = solve(query, memory, beta=1.0)
    alone, merging = (
        bounds.perturbation(query, memory, 1.0, exact, replace(MODELS["float32"], merged_from=n)).theta
        for n in (0, 3)
    )
    # Twice the roundoff of the largest logit of the part, which is at least a memory's own, and at most 100.
    allowed = 2 * 2.0**-24 * np.array([[100.0, 100.0, 100.0]])
    assert (merging - alone >= allowed).all()
    assert (merging - alone <= 2 * allowed).all()


@pytest.mark.parametrize("dtype", list(MODELS))
def test_bounds_grow_only_where_parts_may_be_merged(dtype: str) -> None:
    rng = np.random.default_rng(2)
    whole = replace(MODELS[dtype], merged_from=0)
    for _ in range(40):
        query, memory, beta, keep = drawn(rng, dtype)
        exact = solve(query, memory, beta=beta, keep=keep)
        given = (query, memory, beta, exact)
        for bound in (bounds.update_bound, bounds.log_normalizer_bound, bounds.energy_bound):
            alone = bound(*given, whole)
            assert np.array_equal(bound(*given, replace(whole, merged_from=len(memory) + 1)), alone)
            merging = bound(*given, replace(whole, merged_from=len(memory)))
            assert ((merging > alone) | np.isinf(merging)).all()
        found, expected = (
            bounds.association_bound(*given, m) for m in (replace(whole, merged_from=2), whole)
        )
        assert np.array_equal(found, expected)


def test_merged_ball_bound_covers_every_query_in_the_ball() -> None:
    rng = np.random.default_rng(3)
    for dtype, alone in MODELS.items():
        model = replace(alone, merged_from=2)
        for _ in range(10):
            query, memory, beta, _ = drawn(rng, dtype)
            kept = np.ones(len(memory), dtype=np.bool_)
            radius = 0.5 * float(rng.random())
            whole = bounds.update_bound_on_ball(query[0], memory, beta, radius, kept, model)
            step = rng.standard_normal(query.shape[1])
            near = query[:1] + radius * step / np.linalg.norm(step)
            local = bounds.update_bound(near, memory, beta, solve(near, memory, beta=beta), model)
            assert np.linalg.norm(local) <= whole


def test_ball_bound_allows_for_rounded_log_normalizers() -> None:
    memory, kept = np.array([[1.0], [0.5], [-1.0]]), np.ones(3, dtype=np.bool_)
    alone, merging = (
        bounds.update_bound_on_ball(
            np.array([100.0]), memory, 1.0, 0.5, kept, replace(MODELS["float32"], merged_from=n)
        )
        for n in (0, 2)
    )
    assert merging - alone >= 2 * 2.0**-24 * 100.0


@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (2.0, TypeError), (True, TypeError)])
def test_merged_from_is_a_number_of_memories(value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="merged_from must be"):
        AccuracyModel("wrong", FLOAT32, FLOAT32, exp_error=0.0, merged_from=value)  # type: ignore[arg-type]


def test_right_merging_is_not_the_right_kernel() -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(3, 8, generator=generator)
    memory = torch.randn(60, 8, generator=generator)
    one, other = (i.retrieve(query, memory, beta=0.5) for i in (RIGHT, RIGHT_MERGING))
    assert not torch.equal(one, other)
    torch.testing.assert_close(one, other)
