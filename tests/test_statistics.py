"""The statistical tier: it measures what it says, catches what bounds cannot, and accuses nobody else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hopspec.fastpath.descriptor import DESCRIPTOR
from hopspec.formats import FORMATS
from hopspec.properties.checks import CHECKS
from hopspec.properties.crowds import MOST, crowd_problem
from hopspec.properties.faults import FAULTS, RIGHT
from hopspec.properties.faults.statistics import (
    RIGHT_HALF_SCORES,
    RIGHT_HALF_WEIGHTS,
    RIGHT_HALF_WEIGHTS_16,
)
from hopspec.properties.models import MODELS
from hopspec.properties.peers import TORCH_EAGER, TORCH_SDPA
from hopspec.properties.problem import Problem, round_to
from hopspec.properties.results import Report
from hopspec.properties.runner import Options, verify
from hopspec.reference import bounds, crowd, solve, tendencies
from hopspec.reference.crowd import Crowd, directions_of
from hopspec.reference.tendencies import DEVIATIONS, Plan, Tendency, allowance
from hopspec.types import Implementation

Array = NDArray[np.float64]
CLAUSES = ("MHN-STA-2", "MHN-STA-3")
QUANTITIES = ("retrieve", "association", "log_normalizer", "energy")
# What is right, with the formats it is right in.
RIGHT_ONES: list[tuple[Implementation[torch.Tensor], tuple[str, ...]]] = [
    (RIGHT, ("float32", "bfloat16", "float16")),
    (RIGHT_HALF_WEIGHTS, ("bfloat16",)),
    (RIGHT_HALF_WEIGHTS_16, ("float16",)),
    (RIGHT_HALF_SCORES, ("bfloat16",)),
    (TORCH_SDPA, ("float32", "bfloat16", "float16")),
    (TORCH_EAGER, ("float32", "bfloat16", "float16")),
    (DESCRIPTOR, ("float32", "bfloat16", "float16")),
]


@lru_cache(maxsize=64)
def drawn(number: int) -> Problem:
    return crowd_problem(np.random.default_rng((7, number)))


def crowd_of(p: Problem) -> Crowd:
    return Crowd(p.query, p.memory, p.beta)


def computed(of: Implementation[torch.Tensor], quantity: str, p: Problem, dtype: str) -> Array:
    """What an implementation answers, as float64."""
    query, memory = (torch.tensor(x, dtype=getattr(torch, dtype)) for x in (p.query, p.memory))
    answer: torch.Tensor = getattr(of, quantity)(query, memory, beta=p.beta)
    return answer.double().numpy()


def found(
    of: Implementation[torch.Tensor], quantity: str, p: Problem, dtype: str, model: str = ""
) -> dict[str, Tendency]:
    """The tendencies of an implementation, by direction, under its own model unless another is named."""
    own = [m for m in of.accuracy if m.storage.name == dtype]
    plan = Plan(quantity, crowd_of(p))
    may = allowance(plan.crowd, MODELS[f"{model}-{dtype}"] if model else own[0])
    assert may is not None
    return {t.direction.name: t for t in tendencies.tendencies(plan, may, computed(of, quantity, p, dtype))}


def wrong(name: str) -> Implementation[torch.Tensor]:
    return FAULTS[name].implementation


# What is measured


def perturbed(c: Crowd, quantity: str, weights: Array) -> Array:
    """A quantity from exponentials that have been tampered with, ``[L, N]``."""
    total = weights.sum(axis=1, keepdims=True)
    log = np.log(total)[:, 0]
    if quantity == "retrieve":
        return np.asarray(weights @ c.memory / total)
    return np.asarray(weights / total) if quantity == "association" else log


@pytest.mark.parametrize("quantity", QUANTITIES[:3])
def test_directions_of_weights_are_derivatives(quantity: str) -> None:
    c = crowd_of(drawn(0))
    logits, step = c.solution.logits, 1e-6
    places = np.arange(len(c.memory))
    multiplied = {
        "beta": logits,
        "curvature": (logits - (c.solution.weights * logits).sum(axis=1, keepdims=True)) ** 2,
        "trend": np.broadcast_to(2 * places / places[-1] - 1, logits.shape),
        "first": np.broadcast_to(places == 0, logits.shape),
        "last": np.broadcast_to(places == places[-1], logits.shape),
        "far": logits < logits.max(axis=1, keepdims=True) - 4,
        "nearest": logits == logits.max(axis=1, keepdims=True),
    }
    for direction in directions_of(quantity):
        if direction.name in multiplied:
            factor = step * np.asarray(multiplied[direction.name], dtype=np.float64)
            up, down = (perturbed(c, quantity, np.exp(logits) * (1 + s * factor)) for s in (1, -1))
            assert np.allclose(direction.slope(c), (up - down) / (2 * step), rtol=1e-5, atol=1e-7)


def test_other_directions_are_derivatives() -> None:
    c, step = crowd_of(drawn(1)), 1e-6
    by_name = {d.name: d.slope(c) for d in directions_of("retrieve")}
    exponentials = np.exp(c.solution.logits - c.solution.logits.max(axis=1, keepdims=True))
    total = exponentials.sum(axis=1, keepdims=True)
    state = exponentials @ c.memory / total
    more = exponentials @ c.memory / (total + step)
    assert np.allclose(by_name["denominator"], (more - state) / step, rtol=1e-4, atol=1e-6)
    assert np.allclose(by_name["scale"], state)
    assert np.allclose(state + by_name["query"], c.query)
    assert np.allclose(state + by_name["mean"], c.memory.mean(axis=0))
    hotter, colder = (Crowd(c.query, c.memory, c.beta * (1 + s * step)).solution.energy for s in (1, -1))
    assert hotter is not None
    assert colder is not None
    slope = directions_of("energy")[0].slope(c)
    assert np.allclose(slope, (hotter.hi - colder.hi) / (2 * step), rtol=1e-4, atol=1e-5)


def test_an_unknown_quantity_has_no_directions() -> None:
    with pytest.raises(ValueError, match="got 'settle'"):
        directions_of("settle")


@pytest.mark.parametrize("number", range(3))
def test_float64_is_as_near_to_exact_as_is_allowed_for(number: int) -> None:
    p = drawn(number)
    c, few = crowd_of(p), slice(0, 12)
    exact = solve(p.query[few], p.memory, beta=p.beta)
    s = c.solution
    distances = (s.weights @ np.abs(p.memory))[few] + np.abs(s.state.hi)[few]
    assert (np.abs(s.state.hi[few] - exact.state.hi) <= 2 * c.doubt * distances).all()
    assert (np.abs(s.weights[few] - exact.weights) <= 2 * c.doubt * exact.weights + 2.0**-60).all()
    log = np.abs(s.log_normalizer.hi[few] - exact.log_normalizer.hi)
    assert (log <= 8 * (c.doubt + 2.0**-53 * (np.abs(s.logits[few]).max(axis=1) + 1 + math.log(48)))).all()
    assert c.doubt < 1e-11


# The rule


def chance_by_trying(terms: Array, allowed: Array, rng: np.random.Generator) -> float:
    """The largest ``sum b + x |g - b|`` that random ends and insides of the intervals give."""
    ends = rng.choice([-1.0, 1.0], size=(4000, len(terms))) * allowed
    tried = np.concatenate([ends, ends * rng.random((4000, 1)), [allowed, -allowed, 0 * allowed]])
    return float((tried.sum(axis=1) + DEVIATIONS * np.linalg.norm(terms - tried, axis=1)).max())


@pytest.mark.parametrize("drift", [0.0, 0.3, 3.0])
def test_no_allowed_error_exceeds_what_is_taken_for_chance(drift: float) -> None:
    rng = np.random.default_rng(3)
    for count in (1, 2, 6, 200):
        terms = rng.standard_normal(count) * rng.random(count) ** 3 + drift
        allowed = np.abs(rng.standard_normal(count)) * rng.choice([0.0, 0.1, 1.0])
        taken = float(tendencies._largest_chance(terms[None], allowed[None])[0])
        least = chance_by_trying(terms, allowed, rng)
        assert taken >= least * (1 - 1e-12)
        assert taken <= least + 2.5 * (allowed.sum() + DEVIATIONS * np.linalg.norm(allowed)) + 1e-9


@pytest.mark.parametrize("heavy", [False, True], ids=["normal", "heavy tails"])
def test_alarms_are_as_rare_as_stated(heavy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # With x = 2 in place of 7 the stated rate is large enough to be seen.
    monkeypatch.setattr(tendencies, "DEVIATIONS", 2.0)
    rng = np.random.default_rng(11)
    noise = rng.standard_normal((4000, 160))
    if heavy:
        noise = noise / rng.random((4000, 160)) ** 2
    allowed = np.abs(rng.standard_normal((4000, 160))) * np.median(np.abs(noise))
    for systematic in (0 * allowed, allowed, allowed * np.sign(rng.standard_normal((4000, 1)))):
        terms = noise + systematic
        total = terms.sum(axis=1)
        chance = tendencies._largest_chance(terms * np.sign(total)[:, None], allowed)
        alarms = float((np.abs(total) > chance).mean())
        assert alarms <= 2 * math.exp(-2.0)
    if not heavy:
        # Without allowances there are alarms, so that the test above could fail.
        assert float((np.abs(noise.sum(axis=1)) > 2 * np.linalg.norm(noise, axis=1)).mean()) > 0.01


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_rounding_is_as_random_as_assumed(dtype: str) -> None:
    """Sums of rounding errors over their length are spread as sums with random signs are."""
    ratios = []
    for number in range(40):
        plan = Plan("retrieve", crowd_of(drawn(number)))
        error = round_to(plan.exact, FORMATS[dtype]) - plan.exact
        terms = np.einsum("klm,lm->kl", plan.factors, error)
        ratios.append(terms.sum(axis=1) / np.linalg.norm(terms, axis=1))
    z = np.array(ratios).ravel()
    assert 0.85 < z.std() < 1.15
    for x in (1.0, 2.0, 3.0):
        assert (np.abs(z) > x).mean() <= 2 * math.exp(-x * x / 2)
    assert np.abs(z).max() < 5


# Who is accused


@pytest.mark.parametrize(
    ("of", "dtypes", "quantity"),
    [
        pytest.param(of, dtypes, quantity, id=f"{of.name}-{quantity}")
        for of, dtypes in RIGHT_ONES
        for quantity in QUANTITIES
        if getattr(of, quantity) is not None
    ],
)
def test_right_ones_are_not_accused(
    of: Implementation[torch.Tensor], dtypes: tuple[str, ...], quantity: str
) -> None:
    for dtype in dtypes:
        model = "" if any(m.storage.name == dtype for m in of.accuracy) else "flash"
        worst = max(
            (t for number in range(3) for t in found(of, quantity, drawn(number), dtype, model).values()),
            key=lambda t: t.ratio,
        )
        assert worst.ratio < 0.7, (dtype, worst)


@pytest.mark.parametrize("quantity", ["retrieve", "association", "log_normalizer"])
def test_the_worst_exponential_that_is_allowed_is_not_accused(quantity: str) -> None:
    """Errors of weights that all point in one direction nearly use up what is allowed, and no more."""
    model = replace(MODELS["wide-float32"], exp_error=1e-3, block=0)
    for number in range(2):
        c = crowd_of(drawn(number))
        plan, may = Plan(quantity, c), allowance(c, model)
        assert may is not None
        for k, direction in enumerate(plan.directions):
            if quantity == "log_normalizer":
                moved = np.sign(plan.factors[k])
            elif quantity == "association":
                moved = plan.factors[k] - (plan.factors[k] * c.solution.weights).sum(axis=1, keepdims=True)
            else:
                moved = plan.factors[k] @ c.memory.T
                moved = moved - (plan.factors[k] * plan.exact).sum(axis=1, keepdims=True)
            for size, accused in ((1e-3, False), (4e-3, True)):
                weights = np.exp(c.solution.logits) * (1 + size * np.sign(moved))
                one = tendencies.tendencies(plan, may, perturbed(c, quantity, weights))[k]
                assert one.direction is direction
                assert (one.ratio > 1) is accused or (accused and one.ratio > 0.9), (direction.name, one)
                assert one.ratio > 0.4


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({"nearest": False}, 30 * 2.0**-23),
        ({"base2": True, "exp_error": 2.0**-40}, 0.0),
        ({"read_bits": 8, "nearest": False}, 2.0**-7),
    ],
    ids=["truncating sums", "base 2", "truncated weights"],
)
def test_other_systematic_errors_that_are_allowed(changes: dict[str, bool | int], factor: float) -> None:
    """Sums that all fall short, and logits that are all too large by what ``log2 e`` may be off."""
    model = replace(MODELS["wide-float32"], **changes)  # type: ignore[arg-type]
    c = crowd_of(drawn(1))
    plan, may = Plan("retrieve", c), allowance(c, model)
    assert may is not None
    beta = c.beta * (1 + 2.0**-24 if model.base2 else 1.0)
    off = Crowd(c.query, c.memory, beta).solution.state.hi * (1 - factor)
    worst = max(tendencies.tendencies(plan, may, off), key=lambda t: t.ratio)
    assert 0.01 < worst.ratio < 1
    strict = allowance(c, replace(MODELS["wide-float32"], exp_error=2.0**-30))
    assert strict is not None
    stricter = max(tendencies.tendencies(plan, strict, off), key=lambda t: t.ratio)
    assert stricter.ratio > 1


def test_scores_rounded_twice_are_not_accused() -> None:
    """Eight bits times 1 + 2**-9 are nearly always rounded down: beta is 0.2 % smaller for every score."""
    p = next(drawn(n) for n in range(40) if "power of four" in drawn(n).regimes)
    p = p.but(beta=p.beta * (1 + 2.0**-9))
    for model, accused in (("eager", False), ("wide", True)):
        one = found(TORCH_EAGER, "retrieve", p, "bfloat16", model)["beta"]
        assert one.coefficient < -1e-3
        assert one.coefficient / one.deviation < -5
        assert (one.ratio > 1) is accused


@pytest.mark.parametrize("number", range(6))
def test_a_thousandth_of_beta_is_seen_in_every_crowd(number: int) -> None:
    one = found(wrong("beta-thousandth-too-large"), "retrieve", drawn(number), "bfloat16")["beta"]
    assert one.ratio > 1
    assert abs(one.coefficient - 1e-3) < 5 * one.deviation
    assert one.deviation < 1e-4
    same = found(RIGHT_HALF_WEIGHTS, "retrieve", drawn(number), "bfloat16")["beta"]
    assert same.ratio < 0.5
    assert abs(same.coefficient) < 5 * same.deviation


@pytest.mark.parametrize(("dtype", "factor"), [("bfloat16", 1.03), ("float16", 1.01)])
def test_what_is_seen_of_a_kernel_that_claims_nothing(dtype: str, factor: float) -> None:
    numbers = [n for n in range(40) if "power of four" in drawn(n).regimes][:6]

    def hot(query: torch.Tensor, memory: torch.Tensor, *, beta: float) -> torch.Tensor:
        update: torch.Tensor = TORCH_SDPA.retrieve(query, memory, beta=factor * beta)
        return update

    of: Implementation[torch.Tensor] = Implementation("hot", hot)
    caught = [found(of, "retrieve", drawn(n), dtype, "any")["beta"].ratio > 1 for n in numbers]
    assert sum(caught) >= 3


@pytest.mark.parametrize(
    ("name", "quantity", "direction", "size"),
    [
        ("result-thousandth-too-long", "retrieve", "scale", 1e-3),
        ("slightly-damped", "retrieve", "query", 1e-3),
        ("mixed-with-mean", "retrieve", "mean", 1e-3),
        ("nearest-memory-too-light", "retrieve", "nearest", -3e-3),
        ("small-number-added-to-total", "retrieve", "denominator", 3e-3),
        ("last-memory-hundredth-too-heavy", "association", "last", 1e-2),
        ("log-normalizer-hundredth-too-large", "log_normalizer", "offset", 1e-2),
        ("square-thousandth-too-large", "energy", "square", 1e-3),
    ],
)
def test_what_is_wrong_is_estimated(name: str, quantity: str, direction: str, size: float) -> None:
    one = found(wrong(name), quantity, drawn(2), "bfloat16")[direction]
    # A small number added to a total is diluted by its square.
    assert abs(one.coefficient - size) < 5 * one.deviation + 0.02 * abs(size)
    assert one.explained > 0 or one.ratio <= 1


def judged(target: str, dtype: str, clauses: tuple[str, ...], **options: int | bool) -> Report:
    settings = Options((target,), (dtype,), profile="quick", clauses=clauses, in_process=True, shrink=False)
    return verify(replace(settings, **options))  # type: ignore[arg-type]


def test_a_failure_says_what_looks_wrong_and_by_how_much() -> None:
    report = judged("fault:beta-thousandth-too-large", "bfloat16", ("MHN-STA-2",))
    failure = report.broken[0].failure
    assert failure is not None
    assert "queries: beta looks 0.0" in failure.what or "queries: beta looks 0.1" in failure.what
    assert " too large, +- 0.00" in failure.what
    assert failure.ratio == pytest.approx(abs(float(failure.got)) / failure.bound, rel=0.01)


def test_results_that_are_not_finite_are_no_statistic() -> None:
    report = judged("tests.test_statistics:BROKEN", "bfloat16", ("MHN-STA-2",))
    failure = report.broken[0].failure
    assert failure is not None
    assert math.isinf(failure.ratio)
    assert failure.got == "a number that is not finite"


BROKEN: Implementation[torch.Tensor] = Implementation(
    "one-nan",
    lambda query, memory, *, beta: TORCH_EAGER.retrieve(query, memory, beta=beta).index_fill(
        0, torch.tensor([5]), math.nan
    ),
    capabilities=replace(TORCH_EAGER.capabilities, dtypes=("bfloat16",)),
)


def test_what_cannot_be_asked_hundreds_of_queries_claims_nothing() -> None:
    mine = [c for c in CHECKS if c.clause in CLAUSES]
    of = judged("hopspec.properties.faults:RIGHT", "float32", ("MHN-STA-2",), examples=1)
    assert of.exit_status == 0
    slow = judged("reference", "float32", ("MHN-STA-2",), examples=1)
    assert [c.verdict.value for c in slow.cells] == ["not claimed"] * 2
    assert {c.family for c in mine} == {"crowd"}
    assert all("float64" not in c.dtypes for c in mine)


# Domain


def changed(p: Problem, **changes: Array) -> Crowd:
    return crowd_of(p.but(**changes))


@pytest.mark.parametrize(
    "change",
    [
        lambda p: changed(p, query=p.query[:100]),
        lambda p: changed(p, query=np.repeat(p.query[:120], 2, axis=0)),
        lambda p: changed(p, query=p.query * 0),
        lambda p: changed(p, memory=p.memory[:1]),
        lambda p: changed(p, query=p.query * 2.0**12),
    ],
    ids=["few", "repeated", "zero", "one memory", "saturated"],
)
def test_outside_the_domain_nothing_is_said(change: Callable[[Problem], Crowd]) -> None:
    assert allowance(change(drawn(0)), MODELS["flash-bfloat16"]) is None


def test_scaling_by_the_root_of_beta_must_be_exact() -> None:
    model = MODELS["any-bfloat16"]
    assert model.pre_scale
    exact = next(drawn(n) for n in range(40) if "power of four" in drawn(n).regimes)
    assert allowance(crowd_of(exact), model) is not None
    for factor in (2.0, 1.5):
        assert allowance(crowd_of(exact.but(beta=factor * exact.beta)), model) is None
    fine = exact.but(query=exact.query + 2.0**-12)
    assert allowance(crowd_of(fine), replace(model, pre_scale=False, score_bits=8)) is None


def test_crowds_are_what_the_clause_asks_for() -> None:
    taken, mixed = [], []
    for number in range(40):
        p = drawn(number)
        assert p.query.shape[0] * p.memory.size <= MOST
        assert set(p.formats) == {"float64", "float32", "bfloat16", "float16"}
        c = crowd_of(p)
        assert c.distinct
        weights = c.solution.weights
        may = allowance(c, MODELS["wide-float32"])
        assert may is not None
        assert (may.taken == (weights.max(axis=1) <= 0.9)).all()
        taken.append(may.taken.mean())
        mixed.append(((weights > 0.05).sum(axis=1) >= 2).mean())
    assert min(taken) > 0.6
    assert np.mean(mixed) > 0.8


def test_the_smallest_failing_problem_is_still_a_crowd() -> None:
    report = judged("fault:beta-hundredth-too-small", "bfloat16", ("MHN-STA-2",), shrink=True, examples=6)
    failure = report.broken[0].failure
    assert failure is not None
    smallest = crowd_of(failure.problem)
    assert len(smallest.query) >= tendencies.LEAST_QUERIES
    assert allowance(smallest, MODELS["eager-bfloat16"]) is not None
    assert failure.ratio > 1


# What bounds cannot see


def within_bounds(name: str, numbers: range) -> bool:
    """Whether every component of a fault's updates, a few queries at a time, is within its bound."""
    of = wrong(name)
    model = next(m for m in of.accuracy if m.storage.name == "bfloat16")
    for number in numbers:
        p = drawn(number)
        few = p.but(query=p.query[:6])
        exact = solve(few.query, few.memory, beta=few.beta)
        bound = bounds.update_bound(few.query, few.memory, few.beta, exact, model)
        if (np.abs(computed(of, "retrieve", few, "bfloat16") - exact.state.hi) > bound).any():
            return False
    return True


def test_bounds_do_not_see_most_of_what_crowds_show() -> None:
    names = [n for n, f in FAULTS.items() if f.killed_by == ("update_has_no_tendency",)]
    names = [n for n in names if FAULTS[n].dtype == "bfloat16"]
    hidden = [n for n in names if within_bounds(n, range(5))]
    assert len(names) >= 12
    assert len(hidden) >= 0.8 * len(names)
    assert {"beta-thousandth-too-large", "result-thousandth-too-long", "beta-in-storage"} <= set(hidden)


def test_the_tables_speak_of_the_same_directions() -> None:
    counts = {q: len(directions_of(q)) for q in QUANTITIES}
    assert counts == {"retrieve": 13, "association": 9, "log_normalizer": 5, "energy": 4}
    assert all(d.above.format("1 %") != d.below.format("1 %") for q in QUANTITIES for d in directions_of(q))
    assert crowd.directions_of is directions_of
