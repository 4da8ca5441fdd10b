"""Correctly rounded Jacobian and gradients: against the definitions, exact cases, next to boundaries."""

import math
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from hopspec.formats import FLOAT8_E4M3FN, FORMATS, Format
from hopspec.precision import Precision
from hopspec.reference import Gradients, definitions, gradients, jacobian, round_ratio
from hopspec.reference.dyadic import exact_number

BITS = 400
KINDS = ("normal", "integers", "duplicates", "symmetric", "wide", "offset", "sharp", "tiny")


def problems(seed: int, count: int) -> Iterator[dict[str, Any]]:
    """Arguments of one query for :func:`gradients`, in float32 numbers."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        n, d = int(rng.integers(1, 8)), int(rng.integers(1, 4))
        kind = KINDS[index % len(KINDS)]
        memory, query = rng.standard_normal((n, d)), rng.standard_normal(d)
        if kind == "integers":
            memory, query = np.round(2 * memory), np.round(2 * query)
        elif kind == "duplicates":
            memory = memory[rng.integers(0, max(1, n // 2), n)]
        elif kind == "symmetric":
            memory = np.concatenate([memory, -memory])
        elif kind == "wide":
            memory = memory * 2.0 ** rng.integers(-25, 5, size=memory.shape)
        elif kind == "offset":
            memory = memory + 1000
        elif kind == "sharp":
            memory, query = 6 * memory, 2 * query
        elif kind == "tiny":
            memory, query = memory * 2.0**-130, query * 2.0**-20
        n = len(memory)
        values = None if index % 3 else rng.standard_normal((n, 2)).astype(np.float32)
        yield {
            "query": query.astype(np.float32),
            "memory": memory.astype(np.float32),
            "cotangent": np.round(4 * rng.standard_normal(d if values is None else 2)),
            "beta": float(rng.choice([1.0, 0.5, -1.0, 0.0, 0.1])),
            "values": values,
            "keep": None if index % 4 else (rng.random(n) < 0.7).tolist(),
        }


def flat(leaves: Any) -> Iterator[Any]:
    if isinstance(leaves, list | tuple):
        for entry in leaves:
            yield from flat(entry)
    elif leaves is not None:
        yield leaves


def fraction(x: Any) -> Fraction:
    number = exact_number(x, "x")
    assert number is not None
    return number.fraction()


def rounded(true: Any, fmt: Format) -> Any:
    """A number of 400 bits, rounded; an error of its last bits is taken for 0."""
    x = fraction(true)
    if abs(x) < Fraction(2) ** -(BITS // 2 + 150):
        return 0.0
    return round_ratio(x.numerator, x.denominator, fmt)


def definitions_of(problem: dict[str, Any]) -> tuple[Any, Any]:
    slopes = definitions.gradients(**problem, bits=BITS)
    shorter = {name: problem[name] for name in ("query", "memory", "beta", "keep")}
    return definitions.jacobian(**shorter, bits=BITS), slopes


def found_of(problem: dict[str, Any], to: Any) -> tuple[Any, Any]:
    shorter = {name: problem[name] for name in ("query", "memory", "beta", "keep")}
    return jacobian(**shorter, to=to), gradients(**problem, to=to)


def test_agrees_with_the_definitions_in_every_format() -> None:
    compared = 0
    for problem in problems(seed=1, count=64):
        expected = list(flat(definitions_of(problem)))
        for fmt in FORMATS.values():
            got = list(flat(found_of(problem, fmt)))
            assert len(got) == len(expected)
            for value, true in zip(got, expected, strict=True):
                wanted = rounded(true, fmt)
                assert value == wanted or (math.isnan(value) and math.isnan(wanted)), (
                    problem,
                    fmt,
                    value,
                    true,
                )
                compared += 1
    assert compared > 5000


def test_enclosures_hold_the_definitions() -> None:
    for problem in problems(seed=2, count=40):
        expected = list(flat(definitions_of(problem)))
        for to, bits in ((20, 20), (90, 90), (Precision.fixed(200), 200)):
            for leaf, true in zip(flat(found_of(problem, to)), expected, strict=True):
                assert leaf.bits == bits
                error = abs(fraction(leaf.value) - fraction(true))
                # The definitions err themselves, relative to the largest term they add.
                assert error <= fraction(leaf.radius) + Fraction(2) ** (-BITS + 60)
                assert leaf.exact == (leaf.radius == 0)
                assert fraction(leaf.radius) <= abs(fraction(leaf.value)) / 2**bits * Fraction(1001, 1000)


def test_several_queries_are_summed_and_rounded_once() -> None:
    rng = np.random.default_rng(4)
    for trial in range(12):
        query, memory = rng.standard_normal((3, 2)), rng.standard_normal((5, 2))
        values = rng.standard_normal((5, 3)) if trial % 2 else None
        cotangent = rng.standard_normal((3, 2 if values is None else 3))
        keep = rng.random((3, 5)) < 0.7
        keep[trial % 3] = True
        found = gradients(query, memory, cotangent, beta=0.8, values=values, keep=keep)
        single = [
            definitions.gradients(q, memory, g, beta=0.8, values=values, keep=k, bits=BITS)
            for q, g, k in zip(query, cotangent, keep, strict=True)
        ]
        assert found.query == [[float(x) for x in one.query] for one in single]
        assert found.beta == float(sum(one.beta for one in single))
        for name in ("memory", "values") if values is not None else ("memory",):
            parts = [list(flat(getattr(one, name))) for one in single]
            assert list(flat(getattr(found, name))) == [float(sum(x)) for x in zip(*parts, strict=True)]
        shape = np.shape(found.memory)
        assert shape == memory.shape
        assert jacobian(query, memory, beta=0.8, keep=keep) == [
            jacobian(q, memory, beta=0.8, keep=k) for q, k in zip(query, keep, strict=True)
        ]


class TestExactCases:
    """Rational results, found by comparing exponential sums."""

    @pytest.mark.parametrize("to", ["float64", "bfloat16", "float8_e4m3fn", 70])
    def test_zero_though_no_column_is_constant(self, to: Any) -> None:
        # The second component is odd under a reflection that changes no logit, so covariances with it vanish.
        memory = [[1.0, 1.0], [1.0, -1.0], [0.5, 2.0], [0.5, -2.0]]
        found = jacobian([1.0, 0.0], memory, beta=1.0, to=to)
        for leaf in (found[0][1], found[1][0]):
            assert leaf == 0 if isinstance(to, str) else (leaf.exact and leaf.value == 0)
        assert found[0][0] != 0 if isinstance(to, str) else not found[0][0].exact

    def test_a_covariance_that_is_the_same_in_and_between_all_groups(self) -> None:
        # Every group of equal logits has the same mean and the same variance 1 in the second column.
        memory = [[2.0, 6.0], [2.0, 8.0], [1.0, 6.0], [1.0, 8.0], [0.0, 8.0], [0.0, 6.0]]
        leaf = jacobian([1.0, 0.0], memory, beta=0.5, to=60)[1][1]
        assert leaf.exact
        assert leaf.value == 0.5
        assert jacobian([1.0, 0.0], memory, beta=1.0 + 2.0**-10, to="float8_e5m2")[1][1] == 1.0
        third = [[row[0], x] for row in memory[::2] for x in (0.0, 3.0, 3.0)]
        leaf = jacobian([1.0, 0.0], third, beta=1.0, to=60)[1][1]
        assert leaf.exact
        assert leaf.value == 2.0

    def test_a_rational_gradient_that_is_no_float(self) -> None:
        found = gradients([0.0], [[1.0], [2.0], [3.0]], [1.0], beta=1.0, values=[[0.0], [0.0], [1.0]])
        assert found.values == [[1 / 3]] * 3
        assert found.query == [1 / 3]
        assert found.memory == [[0.0]] * 3

    def test_equal_logits(self) -> None:
        memory = [[1.0, 0.0], [1.0, 3.0], [1.0, 3.0]]
        assert jacobian([7.0, 0.0], memory, beta=0.5) == [[0.0, 0.0], [0.0, 1.0]]
        assert jacobian([7.0, 0.0], memory, beta=0.5, to=30)[1][1].exact
        found = gradients([7.0, 0.0], memory, [0.0, 1.0], beta=0.5)
        assert found == Gradients([0.0, 1.0], [[-7 / 3, 1 / 3], [7 / 6, 1 / 3], [7 / 6, 1 / 3]], None, 0.0)

    def test_one_memory_and_beta_zero(self) -> None:
        assert jacobian([0.3], [[0.1]], beta=7.0) == [[0.0]]
        assert jacobian([0.3], [[0.1], [5.0]], beta=0) == [[0.0]]
        assert gradients([0.3], [[0.1]], [0.7], beta=7.0) == Gradients([0.0], [[0.7]], None, 0.0)
        found = gradients([2.0], [[1.0], [3.0]], [1.0], beta=0)
        assert found == Gradients([0.0], [[0.5], [0.5]], None, 2.0)

    def test_opposite_queries_cancel(self) -> None:
        # The gradient of beta is odd in the query here, and each half of the sum irrational.
        memory = [[1.0, 1.0], [1.0, -1.0], [-2.0, 0.0]]
        mirrored = [[-x, y] for x, y in memory]
        for to in ("float64", "float16", 80):
            found = gradients(
                [[0.0, 1.0], [0.0, -1.0]], [*memory, *mirrored], [[0.0, 1.0]] * 2, beta=1.0, to=to
            )
            one = gradients([0.0, 1.0], [*memory, *mirrored], [0.0, 1.0], beta=1.0, to=to)
            both, single = (x if isinstance(to, str) else float(x.value) for x in (found.beta, one.beta))
            assert single > 0.4
            assert abs(both) < 1e-6
            assert both == 0 if isinstance(to, str) else found.beta.exact


class TestNextToBoundaries:
    """Numbers closer to a rounding boundary, or to 0, than any affordable precision resolves."""

    def test_a_saturated_softmax_gives_zero_at_once(self) -> None:
        rng = np.random.default_rng(0)
        memory, query = np.round(300 * rng.standard_normal((24, 6))), np.round(50 * rng.standard_normal(6))
        started = time.perf_counter()
        assert not np.any(jacobian(query, memory, beta=1e6))
        found = gradients(query, memory, [1.0] * 6, beta=1e6)
        assert not np.any(found.query)
        assert np.count_nonzero(found.memory) == 6
        for leaf in flat(jacobian(query, memory, beta=1e6, to=60)):
            assert leaf.value == 0
            assert 0 < leaf.radius < 2.0**-1000
        assert time.perf_counter() - started < 5

    def test_tiny_results_are_rounded_not_dropped(self) -> None:
        # Variance of two memories 1 apart whose logits differ by t: e**-t / (1 + e**-t)**2.
        for t in (1, 30, 700, 740, 744, 745, 746, 1e4, 1e300):
            expected = math.exp(-t) / (1 + math.exp(-t)) ** 2
            got = jacobian([1.0], [[1.0], [0.0]], beta=t)[0][0] / t
            assert got == pytest.approx(expected, rel=1e-13, abs=2.0**-1074)
        assert jacobian([1.0], [[1.0], [0.0]], beta=750)[0][0] > 0
        least = jacobian([1.0], [[1.0], [0.0]], beta=751.5)[0][0]
        assert least == 2.0**-1074  # 751.5 e**-751.5 is 0.53 of it

    def test_a_variance_next_to_a_midpoint(self) -> None:
        # The two best memories give beta, midway between bfloat16 neighbours; the third moves it off.
        beta, best = 257 / 256, [[2.0**30, 0.0], [2.0**30, 2.0]]
        assert jacobian([2.0**30, 0.0], best, beta=beta, to="bfloat16")[1][1] == 1.0
        for third, expected in ((1.0, 1.0), (40.0, 1.0078125)):
            memory = [*best, [0.0, third]]
            assert jacobian([2.0**30, 0.0], memory, beta=beta, to="bfloat16")[1][1] == expected
            assert jacobian([2.0**30, 0.0], memory, beta=-beta, to="bfloat16")[1][1] == 0.0
        beta = 259 / 256
        for third, expected in ((1.0, 1.0078125), (40.0, 1.015625), (-4.0, 1.015625)):
            memory = [*best, [0.0, third]]
            assert jacobian([2.0**30, 0.0], memory, beta=beta, to="bfloat16")[1][1] == expected

    def test_weighted_differences_next_to_a_midpoint(self) -> None:
        # The value gradient of the best memory is g less e**-1e40.
        values, g = [[0.0, 0.0], [0.0, 0.0]], [259.0, 257.0]
        found = gradients([1.0], [[1e40], [0.0]], g, beta=1.0, values=values, to="bfloat16")
        assert found.values == [[258.0, 256.0], [0.0, 0.0]]
        exact = gradients([1.0], [[1e40]], g, beta=1.0, values=values[:1], to="bfloat16")
        assert exact.values == [[260.0, 256.0]]

    def test_sums_over_queries_next_to_a_midpoint(self) -> None:
        queries, memory = [[1.0], [1.0]], [[1e40], [0.0]]
        values = [[0.0], [0.0]]
        found = gradients(queries, memory, [[258.0], [1.0]], beta=1.0, values=values, to="bfloat16")
        assert found.values == [[258.0], [0.0]]
        # The second query keeps only the first memory: rational, but the sum is not.
        keep = [[True, True], [True, False]]
        found = gradients(
            queries, memory, [[-258.0], [517.0]], beta=1.0, values=values, keep=keep, to="bfloat16"
        )
        assert found.values == [[260.0], [0.0]]

    def test_terms_below_the_least_element_still_count(self) -> None:
        # Each query gives its own memory a weight of about e**-110: together they reach the least float32.
        rng = np.random.default_rng(6)
        for _ in range(60):
            depths = rng.uniform(102, 112, 3)
            memory = [[0.0], [1.0]]
            queries = [[-depth] for depth in depths]
            values, g = [[0.0], [0.0]], [[1.0]] * 3
            found = gradients(queries, memory, g, beta=1.0, values=values, to="float32")
            weights = [definitions.association(q, memory, beta=1.0, bits=BITS)[1] for q in queries]
            assert found.values is not None
            assert found.values[1][0] == rounded(sum(weights), FORMATS["float32"])


class TestMasksAndNonFinite:
    def test_masked_is_removed_and_may_be_nan(self) -> None:
        rng = np.random.default_rng(5)
        query, memory, g = rng.standard_normal(3), rng.standard_normal((5, 3)), rng.standard_normal(3)
        keep = np.array([True, False, True, True, False])
        spoiled = memory.copy()
        spoiled[~keep] = [[np.nan, np.inf, 0.0], [-np.inf, 1.0, 2.0]]
        assert jacobian(query, spoiled, beta=1.5, keep=keep) == jacobian(query, memory[keep], beta=1.5)
        found = gradients(query, spoiled, g, beta=1.5, keep=keep)
        rest = gradients(query, memory[keep], g, beta=1.5)
        assert (found.query, found.beta) == (rest.query, rest.beta)
        assert [row for row, flag in zip(found.memory, keep, strict=True) if flag] == rest.memory
        assert found.memory[1] == found.memory[4] == [0.0] * 3

    @pytest.mark.parametrize("query", [[1.0, 2.0], [math.nan, math.inf]])
    def test_empty_rows_contribute_nothing(self, query: list[float]) -> None:
        for memory, keep in ((np.zeros((0, 2)), None), ([[1.0, 2.0]], [False]), ([[math.nan, 0.0]], [False])):
            assert jacobian(query, memory, beta=1.0, keep=keep) == [[0.0, 0.0], [0.0, 0.0]]
            found = gradients(query, memory, [1.0, math.nan], beta=1.0, keep=keep)
            assert found == Gradients([0.0, 0.0], [[0.0, 0.0]] * len(memory), None, 0.0)

    def test_no_queries(self) -> None:
        assert jacobian(np.zeros((0, 2)), [[1.0, 2.0]], beta=1.0) == []
        found = gradients(np.zeros((0, 2)), [[1.0, 2.0]], np.zeros((0, 2)), beta=1.0)
        assert found == Gradients([], [[0.0, 0.0]], None, 0.0)

    def test_what_is_not_finite_spoils_what_it_reaches(self) -> None:
        query, memory, g = [[1.0], [2.0]], [[1.0], [-1.0], [3.0]], [[1.0], [1.0]]
        keep = [[True, True, False], [False, True, True]]
        clean = gradients(query, memory, g, beta=1.0, keep=keep)
        for change in ({"query": [[1.0], [math.inf]]}, {"cotangent": [[1.0], [math.nan]]}):
            given: dict[str, Any] = {"query": query, "memory": memory, "cotangent": g} | change
            found = gradients(**given, beta=1.0, keep=keep)
            assert math.isnan(found.beta)
            assert found.query[0] == clean.query[0]
            assert math.isnan(found.query[1][0])
            assert [math.isnan(row[0]) for row in found.memory] == [False, True, True]
            assert found.memory[0] == clean.memory[0]
        spoiled = gradients(query, [[1.0], [-1.0], [math.nan]], g, beta=1.0, keep=keep)
        assert [math.isnan(row[0]) for row in spoiled.memory] == [False, True, True]
        values = [[1.0], [2.0], [math.inf]]
        spoiled = gradients(query, memory, g, beta=1.0, keep=keep, values=values)
        assert [math.isnan(row[0]) for row in spoiled.values or []] == [False, True, True]
        assert all(math.isnan(x) for x in flat(jacobian([math.nan], memory, beta=1.0)))
        leaf = gradients([math.nan], [[1.0]], [1.0], beta=1.0, to=50).beta
        assert leaf.value != leaf.value
        assert leaf.radius == math.inf

    @pytest.mark.parametrize(
        ("cotangent", "message"),
        [
            ([1.0], r"cotangent must have shape \[2\], got \[1\]"),
            ([[1.0, 2.0]], r"cotangent must have shape \[2\], got \[1, 2\]"),
            ([["a", 1.0]], "cotangent must hold real numbers"),
        ],
    )
    def test_errors(self, cotangent: Any, message: str) -> None:
        with pytest.raises((ValueError, TypeError), match=message):
            gradients([1.0, 2.0], [[1.0, 2.0]], cotangent, beta=1.0)

    def test_errors_of_the_problem(self) -> None:
        with pytest.raises(ValueError, match=r"cotangent must have shape \[1, 3\], got \[2, 3\]"):
            gradients([[1.0]], [[1.0]], [[1.0] * 3] * 2, beta=1.0, values=[[1.0] * 3])
        with pytest.raises(ValueError, match="beta must be finite"):
            jacobian([1.0], [[1.0]], beta=math.inf)
        with pytest.raises(ValueError, match="no format named 'float31'"):
            jacobian([1.0], [[1.0]], beta=1.0, to="float31")


def test_overflow_follows_the_format() -> None:
    memory = [[100.0], [-100.0]]
    assert jacobian([0.0], memory, beta=1.0, to="float16") == [[10000.0]]
    assert jacobian([0.0], memory, beta=10.0, to="float16") == [[math.inf]]
    assert jacobian([0.0], memory, beta=-10.0, to="float16") == [[-math.inf]]
    assert math.isnan(jacobian([0.001], memory, beta=1.0, to=FLOAT8_E4M3FN)[0][0])
