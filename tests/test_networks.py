"""Networks over F_p: twins agree, enclosures hold, and the provisos of the retrieval theorem are needed."""

from __future__ import annotations

import doctest
import importlib
import random
from fractions import Fraction

import numpy as np
import pytest

from hopspec.pbit import PBit, PBits
from hopspec.precision import Precision
from hopspec.reference import update
from hopspec.reference.networks import (
    Hopfield,
    evaluate,
    evaluate_arrays,
    evaluate_exactly,
    format_for,
    kernel_layer,
    pbit_bound,
    random_network,
    retrieval_bits,
    retrieve_bits,
    separation,
    smallest_bits,
)
from hopspec.reference.networks.fields import ArrayField, PBitField
from hopspec.reference.networks.retrieval import read_out
from hopspec.reference.networks.truncation import first_order
from hopspec.reference.pbit import Arithmetic
from hopspec.reference.pbit.arrays import Arrays, PBitArray

CONFUSABLE = [[1.0, 0.25], [1.0, 0.0]]


def states(n: int, width: int, seed: int) -> list[list[Fraction]]:
    draw = random.Random(seed)
    return [[Fraction(draw.randint(-15, 15), 16) for _ in range(width)] for _ in range(n)]


@pytest.mark.parametrize("bits", [4, 11, 24])
@pytest.mark.parametrize("depth", [1, 2])
def test_arrays_give_the_bits_of_the_definition(bits: int, depth: int) -> None:
    network, given = random_network(depth, 5, 3, seed=bits), states(4, 3, bits)
    assert evaluate(network, given, PBits(bits)) == evaluate_arrays(network, given, PBits(bits)).tolist()


def test_a_network_approaches_its_enclosure() -> None:
    network, given = random_network(2, 4, 3), states(3, 3, 1)
    exact = evaluate_exactly(network, given, radius=Fraction(1, 2**60))
    errors = []
    for policy in (Precision.logarithmic(6), Precision.polynomial(3), Precision.fixed(80)):
        found = evaluate(network, given, format_for(policy, 3))
        pairs = [
            (x, y) for row, other in zip(found, exact, strict=True) for x, y in zip(row, other, strict=True)
        ]
        errors.append(float(max(abs(x.fraction - y.middle) for x, y in pairs)))
    # 10, 27 and 80 bits; the last is as near as the enclosure can tell.
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < 2.0**-18
    assert errors[2] < 2.0**-59


def test_enclosures_hold_the_reference() -> None:
    memory = [[0.5, -1.0], [1.5, 0.25], [-0.75, 2.0]]
    one = [[1.0, 0.0], [0.0, 1.0]]
    layer = Hopfield(one, one, beta=2.0, stored=memory)
    found = evaluate_exactly(layer, [[0.5, 0.5]], radius=Fraction(1, 10**25))
    exact = update([[0.5, 0.5]], memory, beta=2.0, to=200)
    for enclosure, value in zip(found[0], exact[0], strict=True):
        true = Fraction(int(value.value.man)) * Fraction(2) ** int(value.value.exp)
        assert enclosure.low.fraction < true < enclosure.high.fraction


def test_the_feature_map_rounds_once_more() -> None:
    feature, weight = states(3, 2, 5), states(2, 2, 6)
    given, fmt = states(4, 3, 7), PBits(4)
    both = [
        [
            sum((f * w for f, w in zip(row, column, strict=True)), Fraction())
            for column in zip(*weight, strict=True)
        ]
        for row in feature
    ]
    kernel = kernel_layer(feature, weight)
    plain = Hopfield(both, both)
    assert evaluate(kernel, given, fmt) != evaluate(plain, given, fmt)
    near, far = (evaluate_exactly(x, given, radius=Fraction(1, 2**40)) for x in (kernel, plain))
    assert all(
        abs(a.middle - b.middle) < 2.0**-38
        for r, s in zip(near, far, strict=True)
        for a, b in zip(r, s, strict=True)
    )


def test_the_error_is_near_its_first_order() -> None:
    rng = np.random.default_rng(3)
    worst = 0.0
    for bits in (12, 16, 20, 24):
        grid = 2.0**-4
        query, memory = (np.rint(rng.standard_normal((n, 4)) / grid) * grid for n in (1, 8))
        exact = np.array([[float(x.value) for x in update(query, memory, beta=1.0, to=80)[0]]])
        got = np.array([[float(x) for x in retrieve_bits(query[0].tolist(), memory, 1.0, PBits(bits))]])
        error = np.abs(got - exact) * 2.0**bits
        worst = max(worst, float((error / first_order(query.tolist(), memory.tolist(), 1.0)).max()))
        assert (np.abs(got - exact) <= pbit_bound(query.tolist(), memory.tolist(), 1.0, PBits(bits))).all()
    assert 0.02 < worst < 1


def test_smallest_bits_stay_below_the_theorem() -> None:
    for k in (2, 5, 9):
        memory, beta, error = [[1.0, 2.0**-k], [1.0, 0.0]], 2.0 ** (k + 6), 2.0 ** -(k + 2)
        bits = retrieval_bits(separation([1.0, 1.0], memory), beta, error)
        assert bits is not None
        _, since = smallest_bits([1.0, 1.0], memory, beta, error, bits)
        # MHN-NET-7: not with k bits; the theorem asks for six more here, for so small an error.
        assert since == k + 1
        assert bits == k + 6


def test_a_separation_too_small_has_no_number_of_bits() -> None:
    assert retrieval_bits(separation([1.0, 1.0], CONFUSABLE), 1.0, 2.0**-6) is None
    with pytest.raises(ValueError, match="beta and error must be positive"):
        retrieval_bits(separation([1.0, 1.0], CONFUSABLE), 0.0, 0.5)


def test_an_evaluation_that_would_not_fit_is_refused() -> None:
    network, given = random_network(1, 4, 2), states(4, 2, 0)
    assert evaluate(network, given, PBits(2000), most_bytes=100_000)
    with pytest.raises(ValueError, match=r"would take [\d,]+ bytes of memory, more than 10,000"):
        evaluate(network, given, PBits(2000), most_bytes=10_000)


def test_a_search_that_would_not_fit_is_refused() -> None:
    memory = np.zeros((100, 50))
    with pytest.raises(ValueError, match="would take 800,000 bytes of memory, more than 500,000"):
        smallest_bits([0.0] * 50, memory, 1.0, 0.5, 20, most_bytes=500_000)


class StepByStep(Arithmetic):
    """Rounds every partial sum."""

    def sum(self, terms):  # type: ignore[no-untyped-def]
        total = self.format.zero
        for x in terms:
            total = super().sum((total, x))
        return total


def test_sums_must_be_rounded_once() -> None:
    # Each of 256 terms of 1/4 after 64 is half a unit in the last place: rounded at every step, all are lost.
    d = 257
    query, memory = np.ones(d), np.zeros((2, d))
    memory[0, 0], memory[0, 1:], memory[1, 0] = 64.0, 0.25, 80.0
    of = separation(query.tolist(), memory)
    assert (of.winner, retrieval_bits(of, 1.0, 4.0)) == (0, 8)
    fmt = PBits(8, underflow="zero")
    exact = read_out(PBitField(Arithmetic(fmt)), [query.tolist()], memory.tolist(), 1.0, True)
    stepwise = read_out(PBitField(StepByStep(fmt)), [query.tolist()], memory.tolist(), 1.0, True)
    assert float(exact[0][0]) == 64.0
    assert float(stepwise[0][0]) == 80.0


def test_weights_must_not_become_the_least_element() -> None:
    memory = [[1.0], *[[-1.0]] * 3]
    got = {
        policy: float(retrieve_bits([1.0], memory, 512.0, PBits(8, -12, 200, policy))[0])
        for policy in ("zero", "least")
    }
    assert got["zero"] == 1.0
    # Three weights of 2**-5 in place of e**-1024.
    assert got["least"] < 0.85
    with pytest.raises(ValueError, match="must not round to the least"):
        pbit_bound([[1.0]], memory, 512.0, PBits(8, -12, 200, "least"))


def test_exponentials_must_not_overflow() -> None:
    # The second cliff: both exponentials are the largest element, and so is every sum of them.
    memory = [[1.0, 0.5], [0.5, 1.0]]
    of = separation([4.0, 2.0], memory)
    beta = 16.0
    few, many = 5, retrieval_bits(of, beta, 2.0**-2, shift=False)
    assert many is not None
    assert 2**many >= 1.5 * beta * float(of.size) + 8
    wrong = retrieve_bits([4.0, 2.0], memory, beta, PBits(few), shift=False)
    assert [float(x) for x in wrong] == [1.0, 1.0]
    right = retrieve_bits([4.0, 2.0], memory, beta, PBits(many), shift=False)
    assert max(abs(float(a) - b) for a, b in zip(right, memory[0], strict=True)) <= 0.25
    shifted = retrieve_bits([4.0, 2.0], memory, beta, PBits(few))
    assert [float(x) for x in shifted] == memory[0]


def test_scores_must_not_underflow() -> None:
    # Both scores are a quarter of the least element and become 0, though beta would tell them apart.
    tiny, beta, error = 2.0**-14, 2.0**35, 2.0**-15
    query, memory = [2.0**-16], [[tiny], [-tiny]]
    fmt = PBits(5, underflow="zero")
    assert query[0] * tiny == float(fmt.least_element.fraction) / 4
    assert retrieval_bits(separation(query, memory), beta, error) == 5
    assert abs(update([query], memory, beta=beta)[0][0] - tiny) < 2.0**-60
    assert retrieve_bits(query, memory, beta, fmt) == [0]
    # With more exponents the same bits retrieve.
    assert retrieve_bits(query, memory, beta, PBits(5, -64, 31, "zero")) == [Fraction(tiny)]


def test_long_sums_leave_the_fast_way() -> None:
    fmt = PBits(20)
    arrays, exact = Arrays(fmt), Arithmetic(fmt)
    draw = random.Random(2)
    for reach in (5, 60, 200, 3000):
        rows = [
            [
                PBit(draw.choice((-1, 1)) * draw.randrange(2**19, 2**20), draw.randint(-reach, reach))
                for _ in range(9)
            ]
            for _ in range(20)
        ]
        x = arrays.of(rows)
        right = [[exact.dot(row, other) for other in rows[:4]] for row in rows]
        assert arrays.products(x, PBitArray(x.m[:4], x.e[:4])).tolist() == right
        assert arrays.sum(x).tolist() == [exact.sum(row) for row in rows]
    field = ArrayField(arrays)
    assert field.matrix([[Fraction(1, 3)]]).tolist() == [[exact.number(Fraction(1, 3))]]
    with pytest.raises(ValueError, match="must have at most 29 bits"):
        Arrays(PBits(30))


@pytest.mark.parametrize("name", ["evaluation", "intervals", "retrieval", "truncation"])
def test_examples_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"hopspec.reference.networks.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
