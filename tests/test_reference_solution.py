"""Enclosures contain the truth, and are as narrow as promised."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hopspec.reference import Enclosed, Solution, definitions, solve
from hopspec.reference.context import context

Shape = tuple[int, int, int, int]
REGIMES = ("normal", "integers", "duplicates", "symmetric", "offset")
BETAS = (0.0, 1.0, -1.0, 0.1, 30.0, 1e-3, 1e-30, 1e-300, 5e-324, 1e30, 1e300)
EXTREMES = ("extreme", "huge", "subnormal")


def bits_for(regime: str, beta: float) -> int:
    """Bits with which the definitions err by less than ``2**-300`` of the scales below.

    Scores of float64 numbers span ``2**-2148`` to ``2**2048``, logits ``2**-3222`` to ``2**3072``.
    """
    if regime in EXTREMES:
        return 7000
    return 400 if beta == 0 or 1e-3 <= abs(beta) <= 30 else 2600


def draw(seed: int, regime: str, shape: Shape) -> tuple[Any, Any, Any, Any]:
    """Query ``[L, d]``, memory ``[N, d]``, values ``[N, dv]`` and keep mask ``[L, N]``."""
    queries, memories, width, columns = shape
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(s) for s in ((queries, width), (memories, width), (memories, columns))]
    if regime == "integers":
        arrays = [np.round(2 * a) for a in arrays]
    elif regime == "duplicates" and memories:
        arrays[1] = arrays[1][rng.integers(0, (memories + 1) // 2, memories)]
    elif regime == "symmetric":
        half = (memories + 1) // 2
        arrays[1] = np.concatenate([arrays[1][:half], -arrays[1][:half]])[:memories]
    elif regime == "extreme":
        arrays = [a * 10.0 ** rng.integers(-300, 300, size=a.shape) for a in arrays]
    elif regime == "huge":
        arrays = [a * scale for a, scale in zip(arrays, (1e-290, 1e300, 1e300), strict=True)]
    elif regime == "subnormal":
        arrays = [np.round(a * 4) * 2.0**-1074 for a in arrays]
    elif regime == "offset":
        arrays = [a + 1e4 for a in arrays]
    keep = rng.random((queries, memories)) < rng.choice([0.5, 0.9, 1.0])
    query, memory, values = (
        a.astype(np.float32) if rng.random() < 0.3 and abs(a).max(initial=0) < 1e30 else a for a in arrays
    )
    return query, memory, values, keep


def check(enclosed: Enclosed, index: Any, true: Any, scale: Any, ctx: Any) -> None:
    """``true`` is right to ``2**-300 scale``."""
    hi, lo, radius = (float(a[index]) for a in (enclosed.hi, enclosed.lo, enclosed.radius))
    assert radius >= 0
    if math.isinf(hi):
        assert true * hi > 0
        assert abs(true) >= 2.0**1023
        assert lo == radius == 0
        return
    distance = abs(true - ctx.convert(hi) - ctx.convert(lo))
    assert distance <= ctx.convert(radius) + scale * ctx.ldexp(1, -300)
    assert abs(lo) <= math.ulp(hi) / 2
    assert radius <= abs(hi) * 2.0**-105 + scale * ctx.ldexp(1, -90) + 2.0**-1073


SHAPES = st.tuples(st.integers(1, 3), st.integers(0, 5), st.integers(1, 3), st.integers(1, 2))


@settings(max_examples=100)
@given(
    seed=st.integers(0, 2**32 - 1),
    regime=st.sampled_from(REGIMES),
    beta=st.sampled_from(BETAS),
    shape=SHAPES,
)
def test_contains_the_definitions(seed: int, regime: str, beta: float, shape: Shape) -> None:
    check_problem(seed, regime, beta, shape)


# Few examples: mpmath takes 30 ms for the exponential of an integer of a thousand bits.
@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    regime=st.sampled_from(EXTREMES),
    beta=st.sampled_from(BETAS),
    shape=SHAPES,
)
def test_contains_the_definitions_at_the_ends_of_the_range(
    seed: int, regime: str, beta: float, shape: Shape
) -> None:
    check_problem(seed, regime, beta, shape)


def check_problem(seed: int, regime: str, beta: float, shape: Shape) -> None:
    query, memory, values, keep = draw(seed, regime, shape)
    solution = solve(query, memory, beta=beta, keep=keep, values=values)
    bits = bits_for(regime, beta)
    ctx = context(bits)
    assert (solution.energy is None) == (beta <= 0)
    for row, xi in enumerate(query.tolist()):
        problem: Any = {"keep": keep[row], "beta": beta, "bits": bits}
        kept = definitions.kept_memories(memory, keep[row])
        state = definitions.update(xi, memory, values=values, **problem)
        largest = max((abs(values[i]).max() for i in kept), default=0.0)
        for j, true in enumerate(state if kept else [0] * shape[3]):
            check(solution.state, (row, j), true, ctx.convert(float(largest)), ctx)
        normalizer = definitions.log_normalizer(xi, memory, **problem)
        if not kept:
            assert solution.log_normalizer.hi[row] == -math.inf
            assert solution.energy is None or solution.energy.hi[row] == math.inf
            continue
        check(solution.log_normalizer, row, normalizer, max(1, abs(normalizer)), ctx)
        if solution.energy is not None:
            energy = definitions.energy(xi, memory, **problem)
            norms = [sum(ctx.convert(float(x)) ** 2 for x in r) for r in (xi, *(memory[i] for i in kept))]
            check(solution.energy, row, energy, max(norms[0], *norms[1:]) / 2, ctx)
        check_entries(solution, row, xi, memory, problem)


def check_entries(solution: Solution, row: int, xi: Any, memory: Any, problem: Any) -> None:
    kept = definitions.kept_memories(memory, problem["keep"])
    logits = definitions.logits(xi, memory, **problem)
    weights = definitions.association(xi, memory, **problem)
    for i, logit in zip(kept, logits, strict=True):
        found = float(solution.logits[row, i])
        if math.isinf(found):
            assert abs(logit) >= 2.0**1023
        else:
            half_ulp = context(problem["bits"]).convert(math.ulp(found)) / 2
            assert abs(found - logit) <= half_ulp * (1 + 2.0**-40)
        assert abs(float(solution.weights[row, i]) - weights[i]) <= weights[i] * 2.0**-40 + 2.0**-1073
        magnitude = sum(
            (abs(Fraction(x) * Fraction(y)) for x, y in zip(xi, memory[i].tolist(), strict=True)), Fraction(0)
        )
        given_magnitude = float(solution.magnitudes[row, i])
        if math.isfinite(given_magnitude):
            error = abs(Fraction(given_magnitude) - magnitude)
            assert error <= magnitude * (len(xi) + 2) * Fraction(2) ** -53 + Fraction(2) ** -1074
        else:
            assert magnitude >= 2**1023


class TestRows:
    def test_shapes_and_masks(self) -> None:
        rng = np.random.default_rng(0)
        keep = np.array([[True, False, True], [False, False, False]])
        values = rng.standard_normal((3, 4))
        solution = solve(
            rng.standard_normal((2, 5)), rng.standard_normal((3, 5)), beta=1.0, keep=keep, values=values
        )
        assert solution.state.hi.shape == (2, 4)
        assert solution.log_normalizer.hi.shape == (2,)
        assert np.array_equal(solution.kept, keep)
        assert (solution.logits[~keep] == -np.inf).all()
        assert (solution.weights[~keep] == 0).all()
        assert (solution.magnitudes[~keep] == 0).all()
        assert (solution.state.hi[1] == 0).all()
        assert solution.log_normalizer.hi[1] == -np.inf
        assert solution.energy is not None
        assert solution.energy.hi[1] == np.inf
        assert solution.weights[0].sum() == pytest.approx(1.0)

    def test_one_query_is_a_row(self) -> None:
        assert solve([1.0, 2.0], [[1.0, 2.0]], beta=1.0).state.hi.tolist() == [[1.0, 2.0]]

    def test_no_queries_and_no_memories(self) -> None:
        nothing = solve(np.zeros((0, 3)), np.zeros((2, 3)), beta=1.0)
        assert nothing.state.hi.shape == (0, 3)
        assert nothing.kept.shape == (0, 2)
        empty = solve(np.zeros((2, 3)), np.zeros((0, 3)), beta=1.0)
        assert empty.state.hi.tolist() == [[0.0] * 3] * 2
        assert empty.log_normalizer.hi.tolist() == [-np.inf] * 2

    def test_non_finite_inputs(self) -> None:
        memory = np.array([[1.0, 2.0], [np.nan, 0.0], [3.0, 1.0]])
        query = np.array([[1.0, 1.0], [np.inf, 0.0], [1.0, 1.0]])
        keep = np.array([[True, False, True], [True, False, True], [True, True, True]])
        solution = solve(query, memory, beta=1.0, keep=keep)
        clean = solve(query[:1], memory[[0, 2]], beta=1.0)
        assert np.array_equal(solution.state.hi[0], clean.state.hi[0])
        assert np.isnan(solution.state.hi[1:]).all()
        assert np.isnan(solution.log_normalizer.hi[1:]).all()
        assert np.isnan(solution.weights[2]).all()
        assert (solution.weights[1][[0, 2]] != solution.weights[1][[0, 2]]).all()
        assert solution.weights[1, 1] == 0
        # An empty row does not depend on its query.
        assert solve([[np.nan]], [[1.0]], beta=1.0, keep=[[False]]).state.hi.tolist() == [[0.0]]

    def test_non_finite_values_spoil_their_column(self) -> None:
        values = np.array([[1.0, np.nan], [2.0, 3.0]])
        solution = solve([[1.0]], [[1.0], [0.0]], beta=1.0, values=values)
        assert np.isnan(solution.state.hi[0]).tolist() == [False, True]
        assert np.isfinite(solution.log_normalizer.hi).all()

    def test_exact_results_have_radius_zero(self) -> None:
        solution = solve([[0.1]], [[0.3]], beta=0.7)
        for enclosed in (solution.state, solution.log_normalizer, solution.energy):
            assert enclosed is not None
            assert (enclosed.radius <= 2.0**-106).all()
        assert (solve([[0.0, 0.0]], [[1.0, 0.5], [2.0, 0.5]], beta=1.0).state.radius == 0).all()


class TestError:
    enclosed = Enclosed(
        np.array([1.0, 1.0, np.inf, np.nan, 1e308]), np.array([2.0**-60, 0, 0, 0, 0]), np.zeros(5)
    )

    def test_brackets_the_distance(self) -> None:
        rng = np.random.default_rng(0)
        hi = rng.standard_normal(500) * 10.0 ** rng.integers(-300, 300, 500)
        lo = rng.uniform(-0.5, 0.5, 500) * np.spacing(np.abs(hi))
        radius = np.abs(hi) * 2.0 ** rng.integers(-110, -50, 500)
        near = hi * (1 + 2.0 ** -rng.integers(1, 60, 500).astype(float))
        actual = np.where(rng.random(500) < 0.5, near, rng.standard_normal(500))
        error, slack = Enclosed(hi, lo, radius).error(actual)
        for columns in zip(hi, lo, radius, actual, error, slack, strict=True):
            head, rest, r, a, e, s = (Fraction(float(x)) for x in columns)
            for true in (head + rest - r, head + rest, head + rest + r):
                assert e - s <= abs(a - true) <= e + s

    def test_odd_values(self) -> None:
        error, slack = self.enclosed.error([1.0, np.nan, np.inf, np.nan, -1e308])
        assert error.tolist() == [2.0**-60, np.inf, 0.0, 0.0, np.inf]
        assert slack[1:].tolist() == [0.0] * 4
        error, _ = self.enclosed.error([np.inf, -np.inf, 1e308, 0.0, np.inf])
        assert (error == np.inf).all()

    def test_exact_differences_have_no_slack(self) -> None:
        exact = Enclosed(np.array([1.0]), np.array([0.0]), np.array([0.0]))
        assert exact.error(np.array([0.75], dtype=np.float32)) == (np.array([0.25]), np.array([0.0]))

    def test_shape_is_checked(self) -> None:
        with pytest.raises(ValueError, match=r"actual must have shape \[5\], got \[1\]"):
            self.enclosed.error([1.0])
