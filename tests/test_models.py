"""Accuracy models: right arithmetic passes, looser arithmetic fails, and what it behaves like is found."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from arithmetics import BY_NAME, case_of, climb, judged, problems, ratio_of

from hopspec.formats import FLOAT32
from hopspec.properties.likeness import Fit, at_most, claim_of, tightest
from hopspec.properties.models import EXPONENTIALS, MODELS, loosest, models_of, standard_models
from hopspec.properties.peers import TORCH_EAGER, TORCH_SDPA, TORCH_TREE
from hopspec.properties.results import Report
from hopspec.properties.simulated import Simulation, simulated
from hopspec.reference import bounds, solve
from hopspec.reference.arithmetic import additions
from hopspec.types import AccuracyModel, Implementation, Summation

ANY, HALVING = Summation(), Summation(chunk=1, halving=True)
LOOSER: list[tuple[str, dict[str, Any]]] = [
    ("tree-float64", {"weighted_sum": ANY, "weight_sum": ANY}),
    ("tree-float32", {"weighted_sum": ANY}),
    ("tree-float32", {"weight_sum": ANY}),
    ("tree-float32", {"score_sum": ANY}),
    ("wide-float64", {"exp_error": 64 * 2.0**-53}),
    ("wide-float32", {"exp_error": EXPONENTIALS["20 ulp"].error}),
    ("wide-float32", {"score_bits": 11}),
    ("wide-float32", {"read_bits": 11}),
    ("flash-float64", {"exp_error": 64 * 2.0**-53}),
    ("flash-float32", {"exp_error": 128 * 2.0**-24}),
    ("eager-float64", {"exp_error": 64 * 2.0**-53}),
    ("eager-float32", {"score_bits": 11}),
    ("merged-float64", {"exp_error": 256 * 2.0**-53}),
    ("merged-float32", {"read_bits": 11}),
    ("tf32-float32", {"score_bits": 8}),
    ("tf32-float32", {"read_bits": 8}),
    ("any-float64", {"exp_error": 1e-13}),
    ("any-float32", {"score_bits": 11}),
    *(
        step
        for half in ("bfloat16", "float16")
        for step in (
            (f"wide-{half}", {"round_weights": True, "rounded_denominator": True}),
            (f"paired-{half}", {"rounded_denominator": False}),
            (f"tensor-{half}", {"exp_error": 1e-2}),
            (f"flash-{half}", {"exp_error": 1e-2}),
            (f"eager-{half}", {"exp_error": 1e-1}),
            (f"merged-{half}", {"exp_error": 2e-2}),
            (f"any-{half}", {"exp_error": 1e-1}),
        )
    ),
]


@pytest.mark.parametrize("name", MODELS)
def test_exactly_its_arithmetic_passes_and_behaves_like_it_or_a_tighter_model(name: str) -> None:
    claim, alive = judged(simulated(MODELS[name]))
    assert claim.worst <= 1
    assert name in alive
    assert claim.like == name or claim.tighter >= 1
    assert claim.too_loose == (claim.like != name and claim.tighter > 1)


@pytest.mark.parametrize(("name", "changes"), LOOSER, ids=lambda x: x if isinstance(x, str) else "-".join(x))
def test_one_step_looser_is_too_tight_a_claim(name: str, changes: dict[str, Any]) -> None:
    model = MODELS[name]
    ours = simulated(model, replace(model, **changes))
    # Some dozens of problems show each of them; most are shown by the first.
    claim, alive = next(found for seed in range(8) if (found := judged(ours, seed))[0].worst > 1)
    assert not claim.too_loose
    assert name not in alive
    assert not any(at_most(MODELS[tight], model) for tight in alive)


def test_every_built_in_model_has_a_step_that_is_caught() -> None:
    assert {name for name, _ in LOOSER} == set(MODELS)


@pytest.mark.parametrize("changes", [{"nearest": False}, {"exp_error": 16 * 2.0**-24}], ids=" ".join)
def test_small_steps_are_found_by_searching(changes: dict[str, Any]) -> None:
    model = MODELS["wide-float32"]
    looser = replace(model, **changes)
    climbs = ((seed, climb(model, looser, seed, 200)) for seed in range(8))
    seed, (_, problem) = next((seed, found) for seed, found in climbs if found[0] > 1)
    assert ratio_of(problem, Simulation(looser, seed), looser) <= 1


@pytest.mark.parametrize("name", MODELS)
def test_searching_finds_nothing_beyond_a_bound(name: str) -> None:
    ratio, problem = climb(MODELS[name], MODELS[name], seed=5, steps=40)
    assert 0.005 < ratio <= 1, problem


def test_too_loose_a_claim_is_told_by_how_much() -> None:
    ours = simulated(MODELS["any-float32"], MODELS["tree-float32"])
    claim, _ = judged(ours)
    assert claim.like == "tree-float32"
    assert claim.too_loose
    assert claim.tighter > 2
    assert claim.worst < claim.like_worst <= 1


def test_a_claim_of_ones_own_is_compared_too() -> None:
    own = replace(MODELS["flash-float32"], name="flash-float32", exp_error=2.0**-12)
    claim, alive = judged(simulated(own, MODELS["wide-float32"]))
    assert "wide-float32" in alive
    assert claim.model == "flash-float32"
    assert claim.too_loose
    assert claim.like in ("wide-float32", "eager-float32")


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_models_that_are_known_to_be_tighter_have_smaller_bounds(dtype: str) -> None:
    models = models_of(dtype)
    pairs = [(a, b) for a, b in permutations(models, 2) if at_most(a, b)]
    assert len(pairs) >= 5
    for family in ("general", "telling"):
        for p in problems(family, 1, 4, dtype):
            found = {
                m.name: bounds.update_bound(p.query, p.memory, p.beta, p.solution, m, p.values)
                for m in models
            }
            for tight, loose in pairs:
                assert (found[tight.name] <= found[loose.name]).all(), (tight.name, loose.name)


def test_being_tighter_is_an_order() -> None:
    models = list(MODELS.values())
    for a in models:
        assert at_most(a, a)
        for b in models:
            for c in models:
                assert not (at_most(a, b) and at_most(b, c)) or at_most(a, c)


def test_the_tightest_are_those_with_none_below_from_small_to_large() -> None:
    fits = {
        "wide-bfloat16": Fit(8, 0.5, Counter({8: 8})),
        "eager-bfloat16": Fit(8, 0.5, Counter({-8: 8})),
        "flash-bfloat16": Fit(8, 0.5, Counter({0: 8})),
    }
    three = {"flash-bfloat16", "eager-bfloat16", "wide-bfloat16"}
    assert tightest(three, fits) == ["wide-bfloat16", "eager-bfloat16"]
    assert tightest({"flash-bfloat16", "eager-bfloat16"}, fits) == ["flash-bfloat16", "eager-bfloat16"]
    assert tightest({"paired-bfloat16"}, fits) == []
    claim = claim_of("eager-bfloat16", {"flash-bfloat16", "eager-bfloat16"}, fits)
    assert (claim.like, claim.others, claim.tighter) == ("flash-bfloat16", ("eager-bfloat16",), 1.0)
    assert claim_of("eager-bfloat16", set(), fits).like == ""


def test_reports_of_two_processes_agree_on_what_neither_has_violated() -> None:
    first, second = (Report({}, models={"ours": {"float32": "any-float32"}}) for _ in range(2))
    first.alive = {"ours": {"float32": {"wide-float32", "any-float32"}}}
    first.fits = {"ours": {"float32": {"wide-float32": Fit(9, 0.5, Counter({8: 9}))}}}
    second.alive = {"ours": {"float32": {"any-float32"}}}
    seen = {"any-float32": Fit(3, 0.25, Counter({0: 3})), "wide-float32": Fit(1, 1.5, Counter({9: 1}))}
    second.fits = {"ours": {"float32": seen}}
    assert first.behaves_like("ours", "float32") == "wide-float32"
    first.absorb(second)
    assert first.behaves_like("ours", "float32") == "any-float32"
    assert first.fits["ours"]["float32"]["wide-float32"] == Fit(10, 1.5, Counter({8: 9, 9: 1}))


def test_median_of_sizes() -> None:
    fit = Fit()
    assert fit.tighter == 1
    for factor in (1.0, 2.0, 64.0):
        fit.compare(1.0, factor)
    fit.compare(0.0, 1.0)
    assert fit.sizes.total() == 3
    assert fit.tighter == 2


@pytest.mark.parametrize("order", [ANY, HALVING, Summation(lanes=4, extra=2), Summation(3, 2, 7, True)])
def test_no_term_passes_through_more_additions_than_counted(order: Summation) -> None:
    # Adding one to every number at each addition counts the additions above it.
    class Depths(Simulation):
        def add(self, a: Any, b: Any) -> Any:
            return np.maximum(a, b) + 1

        def in_turn(self, terms: Any) -> Any:
            total = terms[0]
            for term in terms[1:]:
                total = self.add(total, term)
            return total

    depths = Depths(MODELS["wide-float32"])
    for n in range(1, 70):
        deepest = float(depths.total(np.zeros((n, 1)), order)[0])
        assert deepest <= additions(order, n) <= n - 1
    assert additions(order, 0) == 0


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"lanes": 0}, ValueError),
        ({"extra": -1}, ValueError),
        ({"chunk": 2.0}, TypeError),
        ({"halving": True}, ValueError),
    ],
)
def test_orders_that_are_none(fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{next(iter(fields))}"):
        Summation(**fields)


@pytest.mark.parametrize(("field", "value"), [("score_bits", -1), ("read_bits", True)])
def test_bits_are_a_number(field: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=f"{field} must be"):
        AccuracyModel("wrong", FLOAT32, FLOAT32, exp_error=0.0, **{field: value})


def test_standard_models_come_from_tight_to_loose() -> None:
    for dtype in ("float64", "float32", "bfloat16", "float16"):
        assert [m.name for m in standard_models(dtype)] == [
            f"{kind}-{dtype}" for kind in ("wide", "flash", "eager", "any")
        ]
        assert loosest(dtype) is models_of(dtype)[-1] is standard_models(dtype)[-1]


@pytest.mark.parametrize("peer", [TORCH_EAGER, TORCH_SDPA], ids=lambda peer: peer.name)
def test_kernels_of_a_library_break_an_order_one_might_guess(
    peer: Implementation[torch.Tensor], one_thread: None
) -> None:
    # Registers have 16 lanes, which hold 16 numbers of a result rather than 16 terms of a sum.
    lanes = Summation(lanes=16, extra=4)
    model = replace(MODELS["any-float32"], name="guessed", weighted_sum=lanes, weight_sum=lanes)

    def update(query: np.ndarray, memory: np.ndarray, *, beta: float, values: None = None) -> np.ndarray:
        tensors = (torch.from_numpy(a).float() for a in (query, memory))
        return np.asarray(peer.retrieve(*tensors, beta=beta).double())

    guessed = replace(peer, retrieve=update, accuracy=(model,))
    longest = [p for p in problems("telling", 5, 60, "float32") if len(p.memory) == 513]
    check = BY_NAME["update_within_bound_where_models_differ"]
    found = [check.judge(case_of(p, guessed)) for p in longest]
    assert max(j.ratio for j in found if j is not None) > 1.2
    allowed = [check.judge(case_of(p, replace(guessed, accuracy=(loosest("float32"),)))) for p in longest]
    assert max(j.ratio for j in allowed if j is not None) < 1


def drawn_queries(seed: int, n: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Queries between memories, with mixed weights."""
    generator = torch.Generator().manual_seed(seed)
    memory = torch.randn(n, 64, generator=generator)
    query = memory[:4] / 2 + torch.randn(4, 64, generator=generator) / 2
    return query, memory, float(torch.rand((), generator=generator)) * 0.5 + 0.05


def test_bounds_of_a_kernel_that_owns_its_sums_are_far_closer_to_its_errors() -> None:
    ratios: dict[str, list[float]] = {"tree-float32": [], "wide-float32": []}
    for seed in range(4):
        query, memory, beta = drawn_queries(seed, 1024)
        q, x = query.double().numpy(), memory.double().numpy()
        exact = solve(q, x, beta=beta)
        error, slack = exact.state.error(TORCH_TREE.retrieve(query, memory, beta=beta).double().numpy())
        for name, so_far in ratios.items():
            bound = bounds.update_bound(q, x, beta, exact, MODELS[name])
            assert (error - slack <= bound).all()
            so_far.extend((bound.max(axis=1) / error.max(axis=1)).tolist())
    tree, any_order = (float(np.median(found)) for found in ratios.values())
    assert tree <= 50
    assert any_order >= 5 * tree
