"""Exact attention, and the error bounds of a bias and of logarithms to the base 2."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hopspec.formats import FORMATS
from hopspec.properties import assert_within, retrieval_problem
from hopspec.properties.attention_problems import biased_problem, causal_problem
from hopspec.properties.models import MODELS
from hopspec.properties.problem import Problem, round_to
from hopspec.properties.reducer import reduce_problem
from hopspec.reference import attention, attention_log_normalizer, bounds, causal_mask, update
from hopspec.reference.arithmetic import arithmetic
from hopspec.reference.attention_form import key_head, solve_attention
from hopspec.reference.biased import biased_logit_error
from hopspec.types import AccuracyModel

Array = NDArray[np.float64]
DRAWS = 60
SAMPLES = 20000


def by_definition(p: Problem, row: int) -> tuple[list[Any], Any]:
    """One row of attention and its log-normalizer, as the definition says, in 60 digits."""
    with mpmath.workdps(60):
        read = p.memory if p.values is None else p.values
        weights, total = [], mpmath.mpf(0)
        for i, x in enumerate(p.memory):
            t = mpmath.mpf(p.beta) * mpmath.fdot(map(mpmath.mpf, x), map(mpmath.mpf, p.query[row]))
            t += 0 if p.bias is None or not p.kept[row, i] else mpmath.mpf(p.bias[row, i])
            weights.append(mpmath.exp(t) if p.kept[row, i] else mpmath.mpf(0))
            total += weights[-1]
        return [mpmath.fdot(weights, map(mpmath.mpf, v)) / total for v in read.T], mpmath.log(total)


@pytest.mark.parametrize("draw", [biased_problem, causal_problem])
def test_the_exact_side_agrees_with_the_definition(draw: Callable[..., Problem]) -> None:
    for number in range(8):
        p = draw(np.random.default_rng((1, number)))
        p = p.but(causal=("", "top-left", "bottom-right")[number % 3])
        for row in np.flatnonzero(p.kept.any(axis=1))[:3].tolist():
            state, log = by_definition(p, row)
            found, exact = p.solution.state, p.solution.log_normalizer
            for j, right in enumerate(state):
                assert (
                    abs(right - mpmath.mpf(found.hi[row, j]) - found.lo[row, j])
                    <= found.radius[row, j] + abs(right) * 2.0**-100
                )
            assert (
                abs(log - mpmath.mpf(exact.hi[row]) - exact.lo[row])
                <= exact.radius[row] + abs(log) * 2.0**-100
            )


def test_attention_without_a_bias_is_the_read_out() -> None:
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((2, 3)), rng.standard_normal((4, 3)), rng.standard_normal((4, 2))
    assert attention(q, k, v, scale=0.5) == update(q, k, beta=0.5, values=v)
    assert attention(q, k, v, scale=0.5, bias=np.zeros((1, 4))) == update(q, k, beta=0.5, values=v)
    mask = causal_mask(2, 4, "bottom-right")
    assert attention(q, k, v, scale=0.5, causal="bottom-right") == update(q, k, beta=0.5, values=v, keep=mask)


def test_a_bias_of_minus_infinity_removes_a_key_and_an_empty_row_is_zero() -> None:
    k, hidden = [[1.0], [2.0], [3.0]], [0.25, -math.inf, 0.0]
    got = attention([1.0], k, k, scale=1.0, bias=hidden)
    assert got == attention([1.0], [[1.0], [3.0]], [[1.0], [3.0]], scale=1.0, bias=[0.25, 0.0])
    assert attention([[1.0]], k, k, scale=1.0, bias=[[-math.inf] * 3]) == [[0.0]]
    assert attention_log_normalizer([[1.0]], k, scale=1.0, bias=[[-math.inf] * 3]) == [-math.inf]


def test_heads_share_keys_in_groups() -> None:
    rng = np.random.default_rng(1)
    q, k, v = (rng.standard_normal((2, heads, 3, 2)) for heads in (4, 2, 2))
    whole = np.array(attention(q, k, v, scale=1.0, bias=rng.standard_normal((2, 4, 3, 3)) * 0, to="float64"))
    assert whole.shape == (2, 4, 3, 2)
    for head in range(4):
        right = attention(q[1, head], k[1, head // 2], v[1, head // 2], scale=1.0)
        np.testing.assert_array_equal(whole[1, head], right)
    with pytest.raises(ValueError, match=r"key_heads must divide the number of heads 4, got 3"):
        key_head(0, 4, 3)
    with pytest.raises(ValueError, match=r"head must be from 0 to 3, got 4"):
        key_head(4, 4, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bias": [0.0, math.nan]}, "bias must be finite, or -inf"),
        ({"bias": [0.0, math.inf]}, "bias must be finite, or -inf"),
        ({"bias": [0.0, 0.0, 0.0]}, r"bias must broadcast to \[1, 2\]"),
        ({"scale": math.nan, "bias": [0.0, 0.0]}, "scale must be finite"),
        ({"causal": "left"}, "alignment must be 'top-left' or 'bottom-right', got 'left'"),
    ],
)
def test_malformed_calls_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attention([1.0], [[1.0], [2.0]], [[1.0], [2.0]], **({"scale": 1.0} | arguments))


def test_causal_masks_of_every_aspect() -> None:
    for queries, keys in ((1, 1), (3, 3), (2, 5), (5, 2), (4, 0)):
        top, bottom = (causal_mask(queries, keys, a) for a in ("top-left", "bottom-right"))
        whole = torch.ones(queries, keys, dtype=torch.bool)
        np.testing.assert_array_equal(top, whole.tril().numpy())
        np.testing.assert_array_equal(bottom, whole.tril(keys - queries).numpy())


def eager(p: Problem, dtype: torch.dtype) -> tuple[Array, Array]:
    """What PyTorch's operations give, one after the other: products, scale and sum rounded to storage."""
    q, k = (torch.tensor(x, dtype=dtype) for x in (p.query, p.memory))
    v = k if p.values is None else torch.tensor(p.values, dtype=dtype)
    assert p.bias is not None
    logits = (q @ k.mT) * p.beta + torch.tensor(p.bias, dtype=dtype)
    log = torch.logsumexp(logits.double() if dtype == torch.float64 else logits.float(), -1)
    return (torch.softmax(logits, -1) @ v).double().numpy(), log.double().numpy()


def pre_scaled(p: Problem, dtype: torch.dtype) -> tuple[Array, Array]:
    """Queries and keys are scaled and rounded first."""
    q, k = (torch.tensor(x, dtype=dtype) * math.sqrt(p.beta) for x in (p.query, p.memory))
    v = torch.tensor(p.memory if p.values is None else p.values, dtype=dtype)
    assert p.bias is not None
    logits = q @ k.mT + torch.tensor(p.bias, dtype=dtype)
    return (torch.softmax(logits, -1) @ v).double().numpy(), np.full(len(p.query), np.nan)


def binary(p: Problem, dtype: torch.dtype) -> tuple[Array, Array]:
    """Logits and bias are converted to the base 2 in float32 before they are added."""
    q, k = (torch.tensor(x, dtype=dtype).float() for x in (p.query, p.memory))
    v = torch.tensor(p.memory if p.values is None else p.values, dtype=dtype)
    assert p.bias is not None
    factor = torch.tensor(math.log2(math.e), dtype=torch.float32)
    beta = torch.tensor(p.beta, dtype=torch.float32)
    logits = (q @ k.mT) * beta * factor + torch.tensor(p.bias, dtype=dtype).float() * factor
    top = logits.amax(-1, keepdim=True)
    weights = (logits - top).exp2()
    total = weights.sum(-1, keepdim=True)
    log = (top + total.log2())[:, 0] / factor
    return (weights.to(dtype).float() @ v.float() / total).to(dtype).double().numpy(), log.double().numpy()


KERNELS: list[tuple[Callable[[Problem, torch.dtype], tuple[Array, Array]], str]] = [
    (eager, "eager-float32"),
    (eager, "eager-bfloat16"),
    (eager, "eager-float16"),
    (eager, "eager-float64"),
    (pre_scaled, "any-bfloat16"),
    (pre_scaled, "any-float16"),
    (binary, "any-float32"),
    (binary, "any-bfloat16"),
]


def ratios(kernel: Callable[..., tuple[Array, Array]], model: AccuracyModel, p: Problem) -> list[float]:
    """Error over bound of every number inside the domain."""
    some = np.asarray(p.kept.any(axis=1))
    moved = bounds.perturbation(p.query, p.memory, p.beta, p.solution, model, p.bias)
    shared = (p.query, p.memory, p.beta, p.solution, model)
    limits = (bounds.update_bound(*shared, p.values, moved), bounds.log_normalizer_bound(*shared, moved))
    found: list[float] = []
    results = kernel(p, getattr(torch, model.storage.name))
    for got, exact, bound in zip(results, (p.solution.state, p.solution.log_normalizer), limits, strict=True):
        inside = some[:, None] & np.isfinite(bound) if bound.ndim == 2 else some & np.isfinite(bound)
        inside &= ~np.isnan(got)
        error, slack = exact.error(np.where(inside, got, 0.0))
        found += (np.maximum(error - slack, 0)[inside] / bound[inside]).tolist()
    return found


@pytest.mark.parametrize(("kernel", "name"), KERNELS, ids=[f"{k.__name__}-{n}" for k, n in KERNELS])
def test_kernels_that_have_the_model_keep_the_bound_of_a_bias(
    kernel: Callable[[Problem, torch.dtype], tuple[Array, Array]], name: str
) -> None:
    model, found = MODELS[name], []
    for number in range(DRAWS):
        p = biased_problem(np.random.default_rng((7, number)))
        if model.storage.name in p.formats:
            found += ratios(kernel, model, p)
    assert len(found) > 100
    assert max(found) <= 1
    # A bound that nothing comes near shows no fault.
    assert max(found) > 0.02


def rounded(x: Array, dtype: torch.dtype) -> Array:
    """To the nearest element of a dtype."""
    return np.asarray(torch.tensor(x).to(dtype).double().numpy())


def stored_each_time(q: Array, k: Array, beta: Array, b: Array) -> Array:
    """Score, logit and sum are rounded to bfloat16."""
    logit = rounded(rounded(q * k, torch.bfloat16) * beta, torch.bfloat16)
    return rounded(logit + b, torch.bfloat16)


def wide_throughout(q: Array, k: Array, beta: Array, b: Array) -> Array:
    """Score, logit and sum are rounded to float32."""
    logit = rounded(rounded(q * k, torch.float32) * beta, torch.float32)
    return rounded(logit + b, torch.float32)


LOG2E = float(np.float32(math.log2(math.e)))


def converted_before(q: Array, k: Array, beta: Array, b: Array) -> Array:
    """Logit and bias are converted to the base 2, each rounded to float32, and added."""
    logit = rounded(rounded(q * k, torch.float32) * beta, torch.float32)
    both = (rounded(x * LOG2E, torch.float32) for x in (logit, b))
    return np.asarray(rounded(sum(both, np.zeros_like(q)), torch.float32) * math.log(2))


def converted_after(q: Array, k: Array, beta: Array, b: Array) -> Array:
    """The sum is converted to the base 2."""
    return np.asarray(rounded(wide_throughout(q, k, beta, b) * LOG2E, torch.float32) * math.log(2))


def scaled_first(q: Array, k: Array, beta: Array, b: Array) -> Array:
    """Query and key are multiplied by the root of the scale and rounded to bfloat16, score and sum too."""
    root = np.sqrt(beta)
    own, other = (rounded(x * root, torch.bfloat16) for x in (q, k))
    return rounded(rounded(own * other, torch.bfloat16) + b, torch.bfloat16)


PLAIN = AccuracyModel("plain", FORMATS["float32"], FORMATS["float32"], exp_error=0.0)
HALF = replace(PLAIN, storage=FORMATS["bfloat16"])
# How near to its bound an error comes: nearer than it would be to a bound that forgot one rounding.
FLOWS = [
    (stored_each_time, replace(HALF, score_roundings=2), 0.8),
    (wide_throughout, PLAIN, 0.8),
    (converted_before, replace(PLAIN, base2=True), 0.5),
    (converted_after, replace(PLAIN, base2=True), 0.5),
    (scaled_first, replace(HALF, pre_scale=True, score_roundings=1), 0.8),
]


@pytest.mark.parametrize(("flow", "model", "near"), FLOWS, ids=[f.__name__ for f, _, _ in FLOWS])
def test_the_bound_of_a_biased_logit_is_kept_and_nearly_reached(
    flow: Callable[..., Array], model: AccuracyModel, near: float
) -> None:
    rng = np.random.default_rng(13)
    dtype = getattr(torch, model.storage.name)
    worst = {"near": 0.0, "cancelling": 0.0, "any": 0.0}
    for beta in (1.013, 1.021, 1.9, 3.3):
        scale = float(np.float32(beta))
        # Just above 1 a rounding errs most, by its unit roundoff.
        q, k = (rounded(rng.uniform(1, 1.06 if beta < 1.5 else 2, SAMPLES), dtype) for _ in range(2))
        product = scale * q * k
        for name, drawn in (
            ("near", rng.uniform(0, 0.06, SAMPLES)),
            ("cancelling", -product * (1 + rng.uniform(-0.2, 0.2, SAMPLES))),
            ("any", rng.uniform(-9, 9, SAMPLES)),
        ):
            b = rounded(drawn, dtype)
            exact, of = product + b, arithmetic(model, scale)
            tau = biased_logit_error(of, model, scale, 1, np.abs(q * k), exact, b, np.abs(q) + np.abs(k))
            # The doubles this is computed in err by far less than the last bit of the formats judged.
            error = np.abs(flow(q, k, np.full(SAMPLES, scale), b) - exact) - 2.0**-48 * (1 + np.abs(b))
            worst[name] = max(worst[name], float((error / tau).max()))
    assert max(worst.values()) <= 1
    assert worst["near"] > near


def test_the_sum_with_the_bias_must_be_allowed_for() -> None:
    """Where logit and bias nearly cancel, the rounding of their sum is beyond what MHN-BND-2 allows."""
    model = MODELS["eager-bfloat16"]
    query, memory = np.array([[200.0]]), np.array([[0.5], [1.0]])
    bias = np.array([[-101.0, -200.0]])
    p = Problem(query, memory, 1.0, bias=bias)
    assert max(ratios(eager, model, p)) <= 1
    allowed = bounds.perturbation(query, memory, 1.0, p.solution, model, bias).tau
    without = bounds.perturbation(query, memory, 1.0, p.solution, model).tau
    assert (allowed > without).all()
    # The sum -1 and 0 of numbers near 100 and 200, each of which had been rounded.
    assert (allowed[0] >= FORMATS["bfloat16"].unit_roundoff * np.array([100.0, 200.0])).all()


def test_logits_beyond_the_range_are_outside_the_domain() -> None:
    model = MODELS["eager-float16"]
    p = Problem(np.ones((1, 1)), np.ones((2, 1)), 1.0, bias=np.array([[30000.0, 0.0]]))
    moved = bounds.perturbation(p.query, p.memory, p.beta, p.solution, model, p.bias)
    assert not moved.inside.any()
    wide = bounds.perturbation(p.query, p.memory, p.beta, p.solution, MODELS["flash-float16"], p.bias)
    assert wide.inside.all()


def test_the_bound_to_the_base_2_is_in_its_own_units_and_no_smaller() -> None:
    for number in range(20):
        p = biased_problem(np.random.default_rng((3, number))).but(bias=None)
        for name in ("flash-float32", "any-float32", "wide-float64"):
            shared = (p.query, p.memory, p.beta, p.solution, MODELS[name])
            natural = bounds.log_normalizer_bound(*shared)
            two = bounds.log_normalizer_bound(*shared, base=2.0)
            finite = np.isfinite(natural)
            assert (two[finite] * math.log(2) >= natural[finite] * (1 - 1e-12)).all()
            assert (two[finite] * math.log(2) <= 2 * natural[finite] + 1e-30).all()


def test_binary_logarithms_keep_their_bound() -> None:
    worst = 0.0
    for number in range(DRAWS):
        p = biased_problem(np.random.default_rng((5, number))).but(bias=None)
        if "float32" not in p.formats:
            continue
        q, k = (torch.tensor(x, dtype=torch.float32) for x in (p.query, p.memory))
        log = torch.logsumexp(torch.tensor(p.beta, dtype=torch.float32) * (q @ k.mT), -1)
        got = (log * torch.tensor(math.log2(math.e), dtype=torch.float32)).double().numpy()
        bound = bounds.log_normalizer_bound(
            p.query, p.memory, p.beta, p.solution, MODELS["eager-float32"], base=2.0
        )
        error = np.abs(got - p.solution.log_normalizer.hi / math.log(2))
        worst = max(worst, float((error / bound)[np.isfinite(bound)].max(initial=0.0)))
    assert 0.02 < worst <= 1


def test_problems_with_a_bias_become_smaller() -> None:
    p = biased_problem(np.random.default_rng(11))
    assert p.bias is not None
    smaller = reduce_problem(p, lambda q: q.bias is not None and bool(q.kept.any()), 1.0)
    assert smaller.query.shape == (1, 1)
    assert smaller.memory.shape == (1, 1)
    assert smaller.bias is not None
    assert smaller.bias.shape == (1, 1)
    assert smaller.bias[0, 0] == 0


def test_the_solution_knows_bias_and_mask_apart() -> None:
    rng = np.random.default_rng(2)
    q, k = round_to(rng.standard_normal((2, 3)), FORMATS["float32"]), rng.standard_normal((4, 3))
    bias = np.zeros((2, 4))
    plain = Problem(q, k, 0.5).solution
    biased = solve_attention(q, k, beta=0.5, bias=bias)
    np.testing.assert_array_equal(plain.logits, biased.logits)
    np.testing.assert_array_equal(plain.magnitudes, biased.magnitudes)
    other = Problem(q, k, 0.5, bias=np.full((2, 4), 0.5) * np.arange(4)).solution
    assert not np.array_equal(other.state.hi, plain.state.hi)
    assert Problem(q, k, 0.5, causal="top-left").solution.kept.sum() == 3


def test_assert_within_takes_a_bias() -> None:
    p = next(p for p in map(biased_problem, map(np.random.default_rng, range(9))) if p.kept.any(axis=1).all())
    problem = retrieval_problem(p.query, p.memory, beta=p.beta, values=p.values, bias=p.bias)
    got, log = eager(problem, torch.float64)
    assert_within(got, problem, "eager")
    assert_within(log, problem, "eager", quantity="log_normalizer")
    with pytest.raises(AssertionError, match="MHN-BND-2"):
        assert_within(got + 1e-6, problem, "eager")
    with pytest.raises(ValueError, match="energy is not defined for attention with a bias"):
        assert_within(log, problem, "eager", quantity="energy")
    with pytest.raises(ValueError, match=r"bias must have shape \[1, 2\], got \[2\]"):
        retrieval_problem([[1.0]], [[1.0], [2.0]], beta=1.0, bias=[0.0, 0.0])
