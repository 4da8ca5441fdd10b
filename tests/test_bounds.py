"""The error bounds: sound for simulated arithmetic, ordered by their models, uniform on balls."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from hopspec.formats import FLOAT32
from hopspec.properties.models import MODELS, loosest, model_named, standard_models
from hopspec.reference import Solution, bounds, rounded_update, solve
from hopspec.reference.arithmetic import arithmetic
from hopspec.types import AccuracyModel

Array = NDArray[np.float64]


def problem(seed: int, n: int = 12, d: int = 5, beta: float = 0.5) -> tuple[Array, Array, float, Solution]:
    rng = np.random.default_rng(seed)
    memory = np.rint(rng.standard_normal((n, d)) * 16) / 16
    query = np.rint(rng.standard_normal((3, d)) * 16) / 16
    return query, memory, beta, solve(query, memory, beta=beta)


@pytest.mark.parametrize("name", ["flash", "eager"])
def test_float32_simulation_stays_within(name: str) -> None:
    model = MODELS[f"{name}-float32"]
    for seed in range(60):
        query, memory, beta, exact = problem(seed, n=1 + seed)
        q, x = query.astype(np.float32), memory.astype(np.float32)
        logits = np.float32(beta) * (q @ x.T)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        total = weights.sum(axis=1, keepdims=True)
        state = (weights / total) @ x if name == "eager" else (weights @ x) / total
        error, slack = exact.state.error(state)
        assert (error - slack <= bounds.update_bound(query, memory, beta, exact, model)).all()


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_models_are_ordered_from_tight_to_loose(dtype: str) -> None:
    query, memory, beta, exact = problem(1)
    sizes = [bounds.update_bound(query, memory, beta, exact, m).max() for m in standard_models(dtype)]
    assert sizes[0] == min(sizes)
    assert sizes[-1] == max(sizes)
    assert loosest(dtype) is standard_models(dtype)[-1]


def test_bound_is_about_the_size_of_the_rounding() -> None:
    query, memory, beta, exact = problem(2)
    bound = bounds.update_bound(query, memory, beta, exact, MODELS["eager-float32"])
    assert (bound > 2.0**-26).all()
    assert (bound < 2.0**-14).all()
    weights = bounds.association_bound(query, memory, beta, exact, MODELS["eager-float32"])
    assert (weights > 2.0**-25 * exact.weights).all()
    assert (weights < 2.0**-14).all()


def test_saturated_bound_is_refined() -> None:
    memory = np.eye(4)
    query = memory[:1]
    exact = solve(query, memory, beta=64.0)
    model = MODELS["eager-float32"]
    refined = bounds.update_bound(query, memory, 64.0, exact, model)
    plain = bounds.update_bound(query, memory, 64.0, exact, replace(model, exp_zero_is_one=False))
    assert refined.max() < 1e-20
    assert plain.max() > 1e-8


def test_ball_bound_covers_every_query_in_the_ball() -> None:
    rng = np.random.default_rng(0)
    for seed in range(20):
        query, memory, beta, _ = problem(seed)
        model = MODELS["flash-float32"]
        kept = np.ones(len(memory), dtype=np.bool_)
        whole = bounds.update_bound_on_ball(query[0], memory, beta, 0.5, kept, model)
        step = rng.standard_normal(query.shape[1])
        near = query[:1] + 0.5 * step / np.linalg.norm(step)
        local = bounds.update_bound(near, memory, beta, solve(near, memory, beta=beta), model)
        assert np.linalg.norm(local) <= whole


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_bound_on_a_ball_without_radius_is_about_that_of_its_centre(dtype: str) -> None:
    for model in standard_models(dtype):
        for seed in range(5):
            query, memory, beta, _ = problem(seed)
            kept = np.ones(len(memory), dtype=np.bool_)
            whole = bounds.update_bound_on_ball(query[0], memory, beta, 0.0, kept, model)
            exact = solve(query[:1], memory, beta=beta)
            local = np.linalg.norm(bounds.update_bound(query[:1], memory, beta, exact, model))
            assert local <= whole <= 32 * local


def test_bound_on_a_ball_is_infinite_where_a_scaled_query_may_overflow() -> None:
    query, memory, kept = np.array([2.0**15]), np.array([[2.0**-10]]), np.ones(1, dtype=np.bool_)
    assert np.isinf(bounds.update_bound_on_ball(query, memory, 1.0, 0.0, kept, MODELS["any-float16"]))
    assert np.isfinite(bounds.update_bound_on_ball(query, memory, 1.0, 0.0, kept, MODELS["any-float32"]))


def test_every_product_may_underflow() -> None:
    # Each of a hundred products is 0.51 of the least number, and rounds to it.
    least = 2.0**-149
    query, memory = np.zeros((1, 1)), np.full((100, 1), 51 * least)
    exact = solve(query, memory, beta=1.0)
    weights = np.full((1, 100), np.float32(0.01))
    state = (weights * memory[:, 0].astype(np.float32)).sum(axis=1, keepdims=True)
    assert state == 100 * least
    error, slack = exact.state.error(state.astype(np.float64))
    assert (error + slack >= 49 * least).all()
    allowed = bounds.update_bound(query, memory, 1.0, exact, MODELS["eager-float32"])
    assert (error - slack <= allowed).all()


@pytest.mark.parametrize("name", ["eager-float32", "flash-float32"])
def test_weights_of_which_nothing_is_known_may_be_all_wrong(name: str) -> None:
    rng = np.random.default_rng(0)
    query, memory = (np.rint(rng.standard_normal((n, 8)) * 16) * 2.0**8 for n in (2, 200))
    exact = solve(query, memory, beta=1.0)
    assert (bounds.association_bound(query, memory, 1.0, exact, MODELS[name]) >= 1).all()


def test_bound_is_infinite_where_a_score_may_overflow() -> None:
    query, memory = np.full((1, 2), 2.0**70), np.full((3, 2), 2.0**70)
    exact = solve(query, memory, beta=1.0)
    assert np.isinf(bounds.update_bound(query, memory, 1.0, exact, MODELS["flash-float32"])).all()
    assert np.isfinite(bounds.update_bound(query, memory, 1.0, exact, MODELS["flash-float64"])).all()


def test_empty_rows_have_no_error() -> None:
    query, memory, beta, _ = problem(0)
    exact = solve(query, memory, beta=beta, keep=np.zeros(len(memory), dtype=np.bool_))
    model = MODELS["flash-float32"]
    assert (bounds.update_bound(query, memory, beta, exact, model) == 0).all()
    assert (bounds.log_normalizer_bound(query, memory, beta, exact, model) == 0).all()
    assert (bounds.energy_bound(query, memory, beta, exact, model) == 0).all()


@pytest.mark.parametrize("bits", [4, 8, 13, 24, 53])
def test_truncation_bound_holds(bits: int) -> None:
    for seed in range(30):
        query, memory, beta, exact = problem(seed, n=1 + seed % 7, d=3)
        query, memory = np.rint(query * 2) / 2, np.rint(memory * 2) / 2
        exact = solve(query, memory, beta=beta)
        state = np.array(rounded_update(query.tolist(), memory.tolist(), beta=beta, bits=bits))
        error, slack = exact.state.error(state)
        assert (error - slack <= bounds.truncation_bound(query, memory, beta, exact, bits)).all()


def test_error_of_representing_beta() -> None:
    model = AccuracyModel("plain", FLOAT32, FLOAT32, exp_error=0.0)
    for beta in (0.1, 1 / 3, 1e-30, 2.0**-140, 1.1 * 2.0**-145, 7e37):
        exact = arithmetic(model, beta).beta_error
        assert math.isclose(exact, abs(float(np.float32(beta)) - beta) / beta, rel_tol=1e-9, abs_tol=1e-18)


def test_roundoff_of_float64_is_not_lost() -> None:
    # In float64, 1 + 2**-53 is 1: two roundings must not come out as none.
    of = arithmetic(MODELS["eager-float64"], 1.0)
    assert math.isclose(of.output_rounding, 3 * 2.0**-53)
    assert math.isclose(of.widening, 2 * 2.0**-53)
    one = np.ones((1, 1))
    moved = bounds.perturbation(one, one, 1.0, solve(one, one, beta=1.0), MODELS["wide-float64"])
    # One rounding of the score, one of the product with beta.
    assert moved.tau >= 2 * 2.0**-53


def test_models_are_found_by_name() -> None:
    assert model_named("flash", "float16") is MODELS["flash-float16"]
    assert model_named("flash-float16", "float16") is MODELS["flash-float16"]
    with pytest.raises(ValueError, match="expected one of tree-float32"):
        model_named("flush", "float32")
