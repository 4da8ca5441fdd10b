"""The oracle for production sizes: exact where it says so, and its enclosures contain the truth."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hopspec.properties.families import FAMILIES, LARGE, problems
from hopspec.properties.problem import Problem
from hopspec.reference import Enclosed, Solution, large_pass, large_problem, large_sums, solve
from hopspec.reference.extended_exp import (
    DIGIT_ERROR,
    EXP_ERROR,
    digits_of,
    exp_pairs,
    rough_exp,
    two_product,
    two_sum,
)
from hopspec.reference.production import solve_large
from hopspec.reference.slices import Grid, choose_grid, exponents, level_sums, split

Array = NDArray[np.float64]

QUICK = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


def apart(one: Enclosed, two: Enclosed) -> float:
    """Largest distance of two enclosures' centres over the sum of their radii; 0 where that is decided."""
    worst = 0.0
    columns = (one.hi, one.lo, one.radius, two.hi, two.lo, two.radius)
    for hi, lo, radius, other_hi, other_lo, other_radius in zip(
        *(c.ravel().tolist() for c in columns), strict=True
    ):
        if math.isinf(radius) or math.isinf(other_radius):
            continue
        if not (math.isfinite(hi) and math.isfinite(other_hi)):
            assert hi == other_hi or (math.isnan(hi) and math.isnan(other_hi))
            continue
        distance = abs(Fraction(hi) + Fraction(lo) - Fraction(other_hi) - Fraction(other_lo))
        allowed = Fraction(radius) + Fraction(other_radius)
        assert distance <= allowed, (hi, lo, other_hi, other_lo, float(distance), float(allowed))
        if allowed:
            worst = max(worst, float(distance / allowed))
    return worst


def agree(exact: Solution, large: Solution) -> None:
    assert np.array_equal(exact.kept, large.kept)
    apart(exact.state, large.state)
    apart(exact.log_normalizer, large.log_normalizer)
    assert (exact.energy is None) == (large.energy is None)
    if exact.energy is not None and large.energy is not None:
        apart(exact.energy, large.energy)
    decided = np.isfinite(large.log_normalizer.radius)[:, None] & exact.kept
    seen = decided & (exact.weights > 1e-300)
    assert np.allclose(large.weights[seen], exact.weights[seen], rtol=2.0**-40, atol=0)
    assert (large.weights[~exact.kept] == 0).all()
    sure = decided & (exact.magnitudes > 1e-290) & (exact.magnitudes < 1e290)
    assert np.allclose(large.magnitudes[sure], exact.magnitudes[sure], rtol=1e-13, atol=0)


def both(query: object, memory: object, **keywords: object) -> Solution:
    """The large solution, after comparing it with the exact one."""
    large = solve_large(query, memory, **keywords)  # type: ignore[arg-type]
    agree(solve(query, memory, **keywords), large)  # type: ignore[arg-type]
    return large


# Slices


@given(st.integers(0, 2**32), st.integers(8, 22), st.integers(1, 6))
@QUICK
def test_slices_give_back_the_array(seed: int, bits: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    array = np.ldexp(rng.standard_normal((3, 4)), rng.integers(-60, 3, (3, 4)))
    exponent = int(exponents(array))
    parts, whole = split(array, exponent, bits, count)
    unit = Fraction(2) ** (exponent - (bits - 1))
    for at in np.ndindex(array.shape):
        total = sum((Fraction(int(p[at])) / 2 ** (bits * a) for a, p in enumerate(parts)), Fraction(0))
        left = Fraction(float(array[at])) / unit - total
        assert abs(left) <= Fraction(2) ** (bits - 1 - bits * count)
        assert not (whole and left)
    assert all(np.abs(p).max() <= 2 ** (bits - 1) for p in parts)


def test_slices_lost_below_the_least_float_are_not_whole() -> None:
    parts, whole = split(np.array([[2.0**1000, 2.0**-1000]]), 1001, 20, 4)
    assert len(parts) == 1
    assert not whole


@given(st.integers(1, 5000), st.integers(-60, 64))
@QUICK
def test_every_level_sum_is_exact(width: int, size: int) -> None:
    grid = choose_grid(width, size)
    assert grid.bits >= 8
    assert grid.levels * width * 4 ** (grid.bits - 1) <= 2**52
    assert size + math.log2(2 * (grid.levels + 3)) - grid.bits * grid.levels <= -90


def test_level_sums_are_exact() -> None:
    rng = np.random.default_rng(0)
    grid = choose_grid(128, 10)
    largest = 2 ** (grid.bits - 1)
    query = [rng.choice([-largest, largest - 1], (2, 128)).astype(np.float64) for _ in range(3)]
    memory = [rng.choice([-largest, largest], (5, 128)).astype(np.float64) for _ in range(4)]
    sums = level_sums(query, memory, grid.levels)
    for k, found in enumerate(sums):
        expected = sum(
            query[c].astype(object) @ memory[k - c].astype(object).T for c in range(3) if 0 <= k - c < 4
        )
        assert (found.astype(object) == expected).all()


# Exponentials


def test_error_free_operations() -> None:
    rng = np.random.default_rng(1)
    a, b = (np.ldexp(rng.standard_normal(200), rng.integers(-80, 80, 200)) for _ in range(2))
    for operation, exact in ((two_sum, Fraction.__add__), (two_product, Fraction.__mul__)):
        s, e = operation(a, b)
        for x, y, high, low in zip(*(v.tolist() for v in (a, b, s, e)), strict=True):
            assert exact(Fraction(x), Fraction(y)) == Fraction(high) + Fraction(low)


def arguments(seed: int, count: int = 400) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    high = np.concatenate(
        [
            -90 * rng.random(count),
            -rng.exponential(1.0, count),
            -np.ldexp(1.0, rng.integers(-300, 0, count)),
            np.linspace(-1e-3, 2.0**-25, count),
            np.rint(-4096 * rng.random(count)) / 8192,
        ]
    )
    low = np.clip(rng.uniform(-3, 3, high.size) * 2.0**-53 * np.abs(high), -(2.0**-44), 2.0**-44)
    return high, low


def test_exponentials_are_within_their_proved_error() -> None:
    high, low = arguments(2)
    w1, w2, n = exp_pairs(high, low)
    digits = digits_of(w1, w2, n)
    assert max(np.abs(d).max() for d in digits) <= 2**19 + 2**6
    worst = Fraction(0)
    with mpmath.workprec(220):
        for k in range(high.size):
            true = mpmath.exp(mpmath.mpf(float(high[k])) + mpmath.mpf(float(low[k])))
            _, mantissa, exponent, _ = true._mpf_
            exact = Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
            pair = (Fraction(float(w1[k])) + Fraction(float(w2[k]))) / 2 ** int(n[k])
            worst = max(worst, abs(pair / exact - 1))
            written = sum(Fraction(int(d[k]), 2 ** (19 + 20 * i)) for i, d in enumerate(digits))
            assert abs(written - pair) <= DIGIT_ERROR
    assert worst <= EXP_ERROR
    # Loose by some bits, as proofs are, but not by many.
    assert worst >= EXP_ERROR / 256


def test_exponential_of_zero_is_one_and_of_less_vanishes() -> None:
    zero = np.zeros(1)
    w1, w2, n = exp_pairs(zero, zero)
    assert (float(w1[0]), float(w2[0]), int(n[0])) == (1.0, 0.0, 0)
    far = digits_of(*exp_pairs(np.array([-90.5, -1e300, -np.inf]), np.zeros(3)))
    assert not np.any(far)


def test_rough_exponentials() -> None:
    high = np.concatenate([-700 * np.random.default_rng(10).random(500), [-1e-300, 0.0, -1e9, -np.inf]])
    found = rough_exp(high)
    with mpmath.workprec(120):
        for h, w in zip(high.tolist(), found.tolist(), strict=True):
            assert abs(w - mpmath.exp(h)) <= 2.0**-47 * mpmath.exp(h) + mpmath.mpf(2) ** -1022


# The oracle


# The large oracle takes no bias, which causal problems may have too.
@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"single", "biased", "causal", *LARGE}))
def test_contains_the_exact_answer_to_drawn_problems(family: str) -> None:
    # A crowd is hundreds of queries.
    @settings(QUICK, max_examples=3 if family == "crowd" else 25)
    @given(problems(family, 7))
    def contained(p: Problem) -> None:
        large = solve_large(p.query, p.memory, beta=p.beta, keep=p.kept, values=p.values)
        agree(p.solution, large)
        if family not in ("extreme", "any-beta"):
            assert np.isfinite(large.state.radius).all()

    contained()


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("shape", [(4, 1024, 64), (3, 257, 17), (1, 600, 3)])
def test_contains_the_exact_answer_to_random_problems(dtype: str, shape: tuple[int, int, int]) -> None:
    count, n, d = shape
    rng = np.random.default_rng(n)
    query, memory = rng.standard_normal((count, d)), rng.standard_normal((n, d))
    if dtype == "bfloat16":
        query, memory = (np.ldexp(np.rint(np.ldexp(a, 6)), -6) for a in (query, memory))
    elif dtype != "float64":
        query, memory = query.astype(dtype), memory.astype(dtype)
    for beta in (1 / math.sqrt(d), 8 / math.sqrt(d)):
        large = both(query, memory, beta=beta)
        assert large.state.radius.max() <= 2.0**-76 * float(np.abs(memory).max())


def test_ties_duplicates_and_signs() -> None:
    rng = np.random.default_rng(3)
    signs = rng.choice([-1.0, 1.0], (300, 8))
    large = both(signs[:3], signs, beta=0.7)
    assert (large.state.radius < 2.0**-78).all()
    both(np.zeros((1, 4)), rng.standard_normal((100, 4)), beta=1.0)
    both(rng.standard_normal((1, 4)), np.ones((9, 4)), beta=1.0)
    one = both([[0.3, 0.1]], [[0.7, -0.2]], beta=0.9)
    assert not one.state.radius.any()


def test_cancelling_scores() -> None:
    rng = np.random.default_rng(4)
    half = rng.standard_normal((200, 8))
    memory = np.concatenate([half * 2.0**30, half * 2.0**30 + rng.standard_normal((200, 8))], axis=1)
    state = rng.standard_normal((3, 8))
    large = both(np.concatenate([state, -state], axis=1), memory, beta=1.0)
    assert large.state.radius.max() <= 2.0**-70 * float(np.abs(memory).max())


def test_saturated_rows_are_known_in_proportion_to_what_is_left() -> None:
    rng = np.random.default_rng(11)
    memory = rng.standard_normal((500, 32))
    query = memory[[3, 250, 499]]
    for beta in (10.0, 30.0, 100.0):
        large = both(query, memory, beta=beta)
        weights = np.sort(solve(query, memory, beta=beta).weights, axis=1)
        rest = weights[:, :-1].sum(axis=1)
        gathered = rest < 2.0**-50
        assert gathered.any()
        assert (large.state.radius[gathered].max(axis=1) <= 2.0**-35 * rest[gathered] + 1e-290).all()


def test_large_spread() -> None:
    rng = np.random.default_rng(5)
    memory = np.ldexp(rng.standard_normal((300, 6)), rng.integers(-100, 4, (300, 6)))
    large = both(rng.standard_normal((3, 6)), memory, beta=2.0)
    assert large.state.radius.max() <= 2.0**-70 * float(np.abs(memory).max())
    memory[:, 3] *= 2.0**500
    both(rng.standard_normal((3, 6)), memory, beta=2.0**-500)
    both(rng.standard_normal((3, 6)) * 2.0**-1060, memory, beta=2.0**400)


def test_logits_up_to_a_thousand_and_beyond() -> None:
    rng = np.random.default_rng(6)
    memory, query = rng.standard_normal((400, 16)), rng.standard_normal((3, 16))
    for beta in (60.0, -60.0, 1e4, 1e12):
        large = both(query, memory, beta=beta)
        assert np.isfinite(large.state.radius).all()
        if abs(beta) == 60:
            assert large.state.radius.max() <= 2.0**-70 * float(np.abs(memory).max())
    # One query out of reach does not stop the others.
    mixed = both(np.concatenate([query, 2.0**90 * query[:1]]), memory, beta=1.0)
    assert np.isinf(mixed.state.radius[3]).all()
    assert np.isinf(mixed.log_normalizer.radius[3])
    assert (mixed.state.radius[:3] < 2.0**-70).all()


def test_masks_values_and_what_is_not_finite() -> None:
    rng = np.random.default_rng(7)
    query, memory, values = (rng.standard_normal(s) for s in ((5, 4), (300, 4), (300, 3)))
    keep = rng.random((5, 300)) < 0.5
    keep[2] = False
    keep[:, 10] = False
    memory[10] = np.nan
    values[10] = 1e300
    both(query, memory, beta=0.8, keep=keep, values=values)
    both(query, memory, beta=0.8, keep=keep)
    memory[20, 1] = np.inf
    values[30, 2] = np.nan
    keep[0, 20], keep[1, 20], keep[3, 30] = True, False, True
    query[4, 0] = np.nan
    large = both(query, memory, beta=0.8, keep=keep, values=values)
    assert np.isnan(large.state.hi[0]).all()
    assert not large.state.hi[2].any()
    assert np.isnan(large.state.hi[3, 2])
    assert np.isnan(large.state.hi[4]).all()
    both(query, memory, beta=-0.5, keep=keep)
    both(query[:1], np.zeros((0, 4)), beta=1.0)


def test_neither_blocks_nor_flushes_change_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    query, memory = rng.standard_normal((3, 8)), rng.standard_normal((1500, 8))
    whole = solve_large(query, memory, beta=1.0)
    monkeypatch.setattr(large_problem, "WORKING", 1)
    monkeypatch.setattr(large_sums, "FLUSH", 1)
    done: list[int] = []
    parts = solve_large(query, memory, beta=1.0, progress=lambda k, n: done.append(k))
    assert done == [256, 512, 768, 1024, 1280, 1500]
    for one, two in ((whole.state, parts.state), (whole.log_normalizer, parts.log_normalizer)):
        assert np.array_equal(one.hi, two.hi)
        assert np.array_equal(one.lo, two.lo)
        assert np.array_equal(one.radius, two.radius)


@pytest.mark.parametrize("levels", [2, 3])
def test_coarse_slices_widen_the_radius(levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_pass, "choose_grid", lambda width, size: Grid(22, levels))
    rng = np.random.default_rng(12)
    large = both(rng.standard_normal((3, 16)), rng.standard_normal((200, 16)), beta=0.2)
    assert large.state.radius.max() > 2.0 ** (-22 * levels)


def test_coarse_values_widen_the_radius(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_sums, "VALUE_BITS", 40)
    rng = np.random.default_rng(13)
    large = both(rng.standard_normal((3, 16)), rng.standard_normal((200, 16)), beta=0.2)
    assert large.state.radius.max() > 2.0**-45


@pytest.mark.parametrize("name", ["einsum", "matmul"])
def test_a_wrong_library_product_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    query, memory = rng.standard_normal((1, 8)), rng.standard_normal((50, 8))
    true = getattr(np, name)

    def wrong(*operands: object) -> Array:
        return np.asarray(true(*operands)) + 2.0**20

    monkeypatch.setattr(np, name, wrong)
    with pytest.raises(ArithmeticError, match="not exact"):
        solve_large(query, memory, beta=1.0)


def test_a_wrong_score_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(query: list[Array], memory: list[Array], levels: int) -> list[Array]:
        sums = level_sums(query, memory, levels)
        sums[-1] = sums[-1] + 1
        return sums

    monkeypatch.setattr(large_pass, "level_sums", wrong)
    rng = np.random.default_rng(9)
    with pytest.raises(ArithmeticError, match="not exact"):
        solve_large(rng.standard_normal((1, 8)), rng.standard_normal((50, 8)), beta=1.0)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"beta": math.inf}, ValueError, "beta must be a finite"),
        ({"beta": math.nan}, ValueError, "beta must be a finite"),
        ({"beta": 10**400}, ValueError, "beta must be a finite"),
        ({"beta": 2**80 + 1}, ValueError, "beta must be a finite"),
        ({"beta": "1"}, TypeError, "beta must be a float"),
        ({"query": np.ones((1, 3))}, ValueError, "width"),
        ({"query": np.ones((1, 1, 2))}, ValueError, "query must have shape"),
        ({"memory": np.ones(2)}, ValueError, "memory must have shape"),
        ({"memory": np.ones((3, 2), dtype=np.int64)}, TypeError, "memory must hold"),
        ({"values": np.ones((4, 2))}, ValueError, "N = 3"),
        ({"keep": np.ones(4, dtype=np.bool_)}, ValueError, "keep must broadcast"),
        ({"keep": np.ones(3)}, TypeError, "keep must hold bools"),
    ],
)
def test_errors_name_the_argument(change: dict[str, object], error: type[Exception], text: str) -> None:
    arguments = {"query": np.ones((1, 2)), "memory": np.ones((3, 2)), "beta": 1.0, **change}
    with pytest.raises(error, match=text):
        solve_large(arguments.pop("query"), arguments.pop("memory"), **arguments)  # type: ignore[arg-type]
