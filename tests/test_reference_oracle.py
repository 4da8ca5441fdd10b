"""The correctly rounded functions against ball arithmetic, the definitions, and exact cases."""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from flint import arb, ctx, fmpq

from hopspec.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Format
from hopspec.precision import Precision
from hopspec.reference import (
    association,
    definitions,
    energy,
    log_normalizer,
    lse,
    round_ratio,
    update,
)
from hopspec.types import Exact

KINDS = ("normal", "integers", "duplicates", "symmetric", "wide", "offset", "saturated", "tiny")
BETAS = (0.0, 1.0, 0.5, -1.0, 0.1, 8.0, 1e-20, 1e-3, 300.0)


@pytest.fixture(autouse=True)
def precision() -> None:
    ctx.prec = 3000


def problems(seed: int, count: int) -> Iterator[tuple[Any, Any, float]]:
    """Queries ``[d]`` and memories ``[N, d]`` in float32, degenerate ones included."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        n, d = int(rng.integers(1, 9)), int(rng.integers(1, 4))
        kind = KINDS[index % len(KINDS)]
        memory, query = rng.standard_normal((n, d)), rng.standard_normal(d)
        if kind == "integers":
            memory, query = np.round(2 * memory), np.round(2 * query)
        elif kind == "duplicates":
            memory = memory[rng.integers(0, max(1, n // 2), n)]
        elif kind == "symmetric":
            memory = np.concatenate([memory, -memory])
        elif kind == "wide":
            memory = memory * 2.0 ** rng.integers(-25, 25, size=memory.shape)
        elif kind == "offset":
            memory = memory + 1000
        elif kind == "saturated":
            memory, query = np.round(300 * memory), 8 * query
        elif kind == "tiny":
            memory, query = memory * 2.0**-130, query * 2.0**-20
        yield query.astype(np.float32), memory.astype(np.float32), float(rng.choice(BETAS))


def ball(x: Fraction) -> arb:
    return arb(fmpq(x.numerator, x.denominator))


def ends(value: arb, fmt: Format) -> set[float]:
    """Both ends of the ball, rounded."""
    found = set()
    for end in (value.lower(), value.upper()):
        mantissa, exponent = end.man_exp()
        found.add(round_ratio(int(mantissa), 1, fmt, int(exponent)))
    return found


def ball_results(query: Any, memory: Any, beta: float) -> dict[str, list[arb]]:
    """Everything the oracle gives, in ball arithmetic: scores are exact fractions, all else is flint's."""
    xi = [Fraction(x) for x in query.astype(float).tolist()]
    patterns = [[Fraction(x) for x in row] for row in memory.astype(float).tolist()]
    scores = [sum((x * y for x, y in zip(row, xi, strict=True)), Fraction(0)) for row in patterns]
    logits = [Fraction(beta) * score for score in scores]
    largest = max(logits)
    weights = [ball(t - largest).exp() for t in logits]
    total = sum(weights, arb(0))
    results = {
        "update": [
            sum((w * ball(row[j]) for w, row in zip(weights, patterns, strict=True)), arb(0)) / total
            for j in range(len(xi))
        ],
        "association": [w / total for w in weights],
        "log_normalizer": [ball(largest) + total.log()],
    }
    if beta > 0:
        squares = sum((x * x for x in xi), Fraction(0)) + max(sum(x * x for x in row) for row in patterns)
        rest = ball(squares / 2 - largest / Fraction(beta))
        results["energy"] = [rest - (total / len(patterns)).log() / ball(Fraction(beta))]
        results["lse"] = [(ball(largest) + total.log()) / ball(Fraction(beta))]
    return results


def test_agrees_with_ball_arithmetic() -> None:
    formats = (FLOAT64, FLOAT32, BFLOAT16, FLOAT16)
    compared = undecided = 0
    for index, (query, memory, beta) in enumerate(problems(seed=7, count=240)):
        fmt = formats[index % 4] if index % 8 < 4 else formats[(index + 1) % 4]
        found = {
            "update": update(query, memory, beta=beta, to=fmt),
            "association": association(query, memory, beta=beta, to=fmt),
            "log_normalizer": [log_normalizer(query, memory, beta=beta, to=fmt)],
        }
        if beta > 0:
            found["energy"] = [energy(query, memory, beta=beta, to=fmt)]
            found["lse"] = [lse(query, memory, beta=beta, to=fmt)]
        for name, balls in ball_results(query, memory, beta).items():
            for value, true in zip(found[name], balls, strict=True):
                rounded = ends(true, fmt)
                assert value in rounded, (name, fmt.name, query, memory, beta)
                compared += 1
                undecided += len(rounded) > 1
    assert compared > 2000
    # Only exact results that are midpoints leave the balls undecided.
    assert undecided < 40


def test_agrees_with_the_definitions() -> None:
    bits = 300
    for query, memory, beta in problems(seed=11, count=48):
        state = definitions.update(query, memory, beta=beta, bits=bits)
        for fmt in FORMATS.values():
            values = update(query, memory, beta=beta, to=fmt)
            for value, true in zip(values, state, strict=True):
                if math.isnan(value):
                    assert fmt.overflow == "nan"
                    assert abs(true) > fmt.largest
                else:
                    assert abs(value - true) <= spacing(float(true), fmt) * (0.5 + 2.0**-40)
        if beta > 0:
            true = definitions.energy(query, memory, beta=beta, bits=bits)
            value = energy(query, memory, beta=beta)
            assert abs(value - true) <= spacing(float(true), FLOAT64) * (0.5 + 2.0**-40)


def spacing(x: float, fmt: Format) -> float:
    """The distance between elements of the format around x; infinite beyond its range."""
    if abs(x) > fmt.largest:
        return math.inf
    exponent = math.frexp(x)[1] - fmt.precision if x else fmt.least_exponent
    return math.ldexp(1.0, max(exponent, fmt.least_exponent))


class TestExactCases:
    """Rational results are found by an integer test, and rounded by integer division."""

    def test_one_memory(self) -> None:
        assert update([0.3], [[0.1]], beta=7.0) == [0.1]
        assert log_normalizer([0.5], [[0.25]], beta=3) == 0.375
        assert energy([0.5], [[0.25]], beta=3) == 0.03125
        assert association([0.5], [[0.25]], beta=3) == [1.0]

    def test_equal_logits_give_the_mean(self) -> None:
        memory = [[1.0, 0.0], [1.0, 0.5], [1.0, 0.5]]
        assert update([1.0, 0.0], memory, beta=5.0) == [1.0, 1 / 3]
        assert association([1.0, 0.0], memory, beta=5.0) == [1 / 3] * 3
        assert energy([1.0, 0.0], memory, beta=5.0) == 0.125

    def test_equal_group_means_with_unequal_logits(self) -> None:
        memory = [[3.0, 1.0], [3.0, 5.0], [-1.0, 3.0]]
        assert update([1.0, 0.0], memory, beta=1.0)[1] == 3.0
        leaf = update([1.0, 0.0], memory, beta=1.0, to=80)[1]
        assert leaf.exact
        assert leaf.radius == 0

    def test_exact_midpoints_round_to_even(self) -> None:
        # 257 and 259 lie midway between neighbouring bfloat16 numbers.
        assert update([1.0], [[257.0]], beta=1.0, to="bfloat16") == [256.0]
        assert update([1.0], [[259.0]], beta=1.0, to="bfloat16") == [260.0]

    def test_beta_zero_is_the_mean(self) -> None:
        assert update([5.0], [[1.0], [2.0], [4.0]], beta=0) == [7 / 3]
        assert log_normalizer([5.0], [[1.0], [2.0], [4.0]], beta=0) == math.log(3)

    def test_a_rational_that_is_no_float_is_not_exact(self) -> None:
        leaf = update([0.0], [[1.0], [0.0], [0.0]], beta=1.0, to=64)[0]
        assert not leaf.exact
        assert 0 < leaf.radius < 2.0**-65


class TestNextToBoundaries:
    """The true number is closer to a rounding boundary than any affordable precision resolves."""

    def test_update_below_and_above_a_midpoint(self) -> None:
        # The second logit is 1e200 below the first: the exact update is 259 -+ e**-1e200.
        query, beta = [1.0, 0.0], 1e200
        for other, expected in ((0.0, 258.0), (300.0, 260.0)):
            memory = [[1.0, 259.0], [0.0, other]]
            assert update(query, memory, beta=beta, to="bfloat16")[1] == expected
        for other, expected in ((0.0, 256.0), (300.0, 258.0)):
            memory = [[1.0, 257.0], [0.0, other]]
            assert update(query, memory, beta=beta, to="bfloat16")[1] == expected

    def test_the_next_group_decides_the_side(self) -> None:
        # The mean of the second group deviates by 0, that of the third decides.
        memory = [[2.0, 257.0], [1.0, 250.0], [1.0, 264.0], [0.0, 258.0]]
        assert update([1.0, 0.0], memory, beta=1e100, to="bfloat16")[1] == 258.0

    def test_zero_is_approached_from_either_side(self) -> None:
        fmt = Format("tiny", 2, -1, 1)
        for other in (1.0, -1.0):
            assert update([1.0, 0.0], [[1.0, 0.0], [0.0, other]], beta=1e100, to=fmt)[1] == 0.0

    def test_log_normalizer_above_a_midpoint(self) -> None:
        boundary = 1 + 2.0**-24
        assert log_normalizer([1.0], [[boundary]], beta=1, to="float32") == 1.0
        assert log_normalizer([1.0], [[boundary], [-1e9]], beta=1, to="float32") == 1 + 2.0**-23
        assert lse([1.0], [[boundary], [-1e9]], beta=2, to="float32") == 1 + 2.0**-23

    def test_weight_below_a_boundary(self) -> None:
        # With least element 1/4 the boundary next to 0 is 1/8; the weight of each of 8 is a little less.
        fmt = Format("tiny", 2, -1, 1)
        memory = [[1.0]] * 8
        assert association([1.0], [[1.0]] * 4, beta=1e9, to=fmt) == [0.25] * 4
        assert association([1.0], memory, beta=1e9, to=fmt) == [0.0] * 8
        assert association([1.0], [*memory[:3], [0.0]], beta=1e9, to=fmt) == [0.25, 0.25, 0.25, 0.0]

    def test_bits_give_a_radius_instead(self) -> None:
        leaf = update([1.0], [[1.0], [-1.0]], beta=1e9, to=40)[0]
        assert leaf.value == 1
        assert not leaf.exact
        assert 0 < leaf.radius < 2.0**-40


class TestMasksAndNonFinite:
    def test_masked_is_removed_and_may_be_nan(self) -> None:
        rng = np.random.default_rng(0)
        query, memory = rng.standard_normal((3, 2)), rng.standard_normal((5, 2))
        keep = np.array([True, False, True, True, False])
        spoiled = memory.copy()
        spoiled[~keep] = [[np.nan, np.inf], [-np.inf, 1.0]]
        for function in (update, log_normalizer, energy, lse):
            assert function(query, spoiled, beta=1.5, keep=keep) == function(query, memory[keep], beta=1.5)
        weights = np.array(association(query, spoiled, beta=1.5, keep=keep))
        assert (weights[:, ~keep] == 0).all()
        assert weights[:, keep].tolist() == association(query, memory[keep], beta=1.5)

    @pytest.mark.parametrize("query", [[1.0, 2.0], [math.nan, math.inf]])
    def test_empty_rows(self, query: list[float]) -> None:
        for memory, keep in ((np.zeros((0, 2)), None), ([[1.0, 2.0]], [False]), ([[math.nan, 0.0]], [False])):
            assert update(query, memory, beta=1.0, keep=keep) == [0.0, 0.0]
            assert association(query, memory, beta=1.0, keep=keep) == [0.0] * len(memory)
            assert log_normalizer(query, memory, beta=1.0, keep=keep) == -math.inf
            assert lse(query, memory, beta=1.0, keep=keep) == -math.inf
            assert energy(query, memory, beta=1.0, keep=keep) == math.inf

    def test_no_queries(self) -> None:
        nothing: list[Any] = [[], np.zeros((0, 2))]
        for query in nothing:
            for function in (update, association, log_normalizer, energy):
                assert function(query, [[1.0, 2.0]], beta=1.0) == []

    def test_non_finite_query_spoils_its_row_only(self) -> None:
        memory = [[1.0, 2.0], [3.0, -1.0]]
        good = [0.5, 0.25]
        for bad in (math.nan, math.inf, -math.inf):
            both = update([good, [bad, 0.0]], memory, beta=1.0)
            assert both[0] == update(good, memory, beta=1.0)
            assert all(map(math.isnan, both[1]))
            assert math.isnan(energy([good, [bad, 0.0]], memory, beta=1.0)[1])

    def test_non_finite_memory_spoils_the_rows_that_see_it(self) -> None:
        memory = [[1.0, 2.0], [math.inf, -1.0], [0.0, 1.0]]
        keep = [[True, True, True], [True, False, True]]
        found = update([[1.0, 1.0]] * 2, memory, beta=1.0, keep=keep)
        assert all(map(math.isnan, found[0]))
        assert found[1] == update([1.0, 1.0], [memory[0], memory[2]], beta=1.0)
        weights = association([[1.0, 1.0]] * 2, memory, beta=1.0, keep=keep)
        assert all(map(math.isnan, weights[0]))
        assert weights[1][1] == 0.0

    def test_non_finite_value_spoils_its_component(self) -> None:
        values = [[1.0, math.nan, 0.0], [2.0, 5.0, 0.0]]
        found = update([1.0], [[1.0], [0.0]], beta=1.0, values=values)
        assert math.isnan(found[1])
        assert found[0] == update([1.0], [[1.0], [0.0]], beta=1.0, values=[[1.0], [2.0]])[0]
        assert update([1.0], [[1.0], [0.0]], beta=1.0, values=values, keep=[False, True]) == values[1]

    def test_exact_leaves_for_the_odd_cases(self) -> None:
        assert log_normalizer([1.0], [[1.0]], beta=1.0, keep=[False], to=50) == Exact(-math.inf, 0, 50, True)
        leaf = energy([math.nan], [[1.0]], beta=1.0, to=50)
        assert leaf.value != leaf.value
        assert leaf.radius == math.inf


class TestRange:
    def test_finite_in_finite_out(self) -> None:
        big = 2.0**1023
        assert update([big, big], [[big, big], [-big, big], [big, -big]], beta=big) == [big, big]
        assert update([big], [[big], [-big]], beta=0) == [0.0]
        assert energy([big], [[big / 2]], beta=1.0) == math.inf
        assert log_normalizer([big], [[-big]], beta=1.0) == -math.inf
        assert log_normalizer([big], [[-big], [big]], beta=1.0) == math.inf

    def test_float32_norms_of_1e20(self) -> None:
        memory = (np.array([[1.0, 2.0], [2.0, -1.0], [-3.0, 1.0]]) * 1e20).astype(np.float32)
        assert update(memory[1], memory, beta=1.0, to="float32") == memory[1].astype(float).tolist()

    def test_subnormal_results(self) -> None:
        least = 2.0**-1074
        assert update([0.0], [[least], [0.0]], beta=1.0) == [0.0]  # least / 2 ties to even
        assert update([0.0], [[3 * least], [0.0]], beta=1.0) == [2 * least]
        assert association([1.0], [[0.0], [745.0]], beta=1.0)[0] == least

    def test_overflow_to_a_narrow_format(self) -> None:
        assert update([1.0], [[1e6]], beta=1.0, to="float16") == [math.inf]


class TestTargets:
    def test_single_and_many_queries(self) -> None:
        query, memory = [[1.0, 2.0], [0.0, 1.0]], [[1.0, 0.0], [0.5, 1.5]]
        assert update(query, memory, beta=1.0) == [update(row, memory, beta=1.0) for row in query]
        assert energy(query, memory, beta=1.0) == [energy(row, memory, beta=1.0) for row in query]

    def test_values_are_read_out(self) -> None:
        query, memory, values = [1.0, 2.0], [[1.0, 0.0], [0.5, 1.5]], [[1.0, 0.0, 4.0], [0.0, 1.0, 4.0]]
        assert update(query, memory, beta=1.0, values=values) == [*association(query, memory, beta=1.0), 4.0]

    def test_steps_are_applications(self) -> None:
        query, memory, values = [1.0, 2.0], [[1.0, 0.0], [0.5, 1.5]], [[1.0], [0.0]]
        once = update(query, memory, beta=2.0)
        assert update(query, memory, beta=2.0, steps=2) == update(once, memory, beta=2.0)
        assert update(query, memory, beta=2.0, steps=2, values=values) == update(
            once, memory, beta=2.0, values=values
        )
        assert update([0.1, math.inf], memory, beta=2.0, steps=0, to="bfloat16") == [0.10009765625, math.inf]
        leaves = update(query, memory, beta=2.0, steps=3, to=200)
        assert float(leaves[0].value) == pytest.approx(update(query, memory, beta=2.0, steps=3)[0])

    def test_precisions_and_bits(self) -> None:
        query, memory = [1.0, 0.5], [[0.3, 0.1], [-1.0, 2.0], [0.7, 0.1]]
        for to, bits in ((100, 100), (Precision.fixed(70), 70), (Precision.polynomial(4), 81)):
            true = definitions.update(query, memory, beta=1.0, bits=400)
            for leaf, exact in zip(update(query, memory, beta=1.0, to=to), true, strict=True):
                assert leaf.bits == bits
                assert leaf.value._mpf_[3] <= bits
                assert abs(leaf.value - exact) <= leaf.radius < abs(leaf.value) * 2.0**-bits * 1.001
            true = definitions.energy(query, memory, beta=1.0, bits=400)
            leaf = energy(query, memory, beta=1.0, to=to)
            assert abs(leaf.value - true) <= leaf.radius

    def test_wide_formats(self) -> None:
        quad = Format("binary128", 113, -16382, 16383)
        value = log_normalizer([1.0], [[1.0], [0.5]], beta=1.0, to=quad)
        true = definitions.log_normalizer([1.0], [[1.0], [0.5]], beta=1.0)
        assert abs(value - true) <= 2.0**-113

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"to": "float31"}, ValueError, "no format named 'float31'"),
            ({"to": 1}, ValueError, "bits must be at least 2"),
            ({"to": 1.5}, TypeError, "to must be a format, its name, an int or a Precision, got float"),
            ({"to": True}, TypeError, "to must be a format"),
            ({"steps": -1}, ValueError, "steps must be at least 0, got -1"),
            ({"steps": 0, "values": [[1.0]]}, ValueError, "steps must be at least 1, got 0"),
            ({"steps": 1.0}, TypeError, "steps must be an int, got float"),
        ],
    )
    def test_errors(self, arguments: dict[str, Any], error: Any, message: str) -> None:
        with pytest.raises(error, match=message):
            update([1.0], [[1.0]], beta=1.0, **arguments)

    @pytest.mark.parametrize("beta", [0, -1.0])
    def test_energy_and_lse_need_positive_beta(self, beta: float) -> None:
        for function in (energy, lse):
            with pytest.raises(ValueError, match=f"beta must be positive, got {beta}"):
                function([1.0], [[1.0]], beta=beta)
