"""Circuits for integers: right on every input where those are few, and by search beyond."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from circuit_samples import all_inputs, assert_uniform, operations, to_bits, to_numbers
from hypothesis import given, settings
from hypothesis import strategies as st

from hopspec.reference.circuits import Block, build, measure
from hopspec.reference.circuits.integers import (
    block_width,
    carry_lookahead,
    comparison,
    iterated_sum,
    leading_one,
    pair_at,
    pair_index,
    product,
    rounding,
    shift,
    sum_table,
)
from hopspec.reference.circuits.remainders import iterated_product, moduli


@pytest.mark.parametrize("width", [1, 2, 3, 6])
def test_two_numbers_are_added(width: int) -> None:
    inputs = all_inputs(2 * width)
    a, b = to_numbers(inputs[:, :width]), to_numbers(inputs[:, width:])
    got = to_numbers(build(carry_lookahead(width)).evaluate(inputs))
    assert got == [(x + y) % (1 << width) for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize(
    ("numbers", "width"), [(1, 4), (2, 5), (3, 4), (4, 3), (5, 2), (6, 2), (9, 1), (12, 1)]
)
def test_many_numbers_are_added(numbers: int, width: int) -> None:
    inputs = all_inputs(numbers * width)
    total = width + numbers.bit_length()
    got = to_numbers(build(iterated_sum(numbers, width, total)).evaluate(inputs))
    parts = [to_numbers(inputs[:, i * width : (i + 1) * width]) for i in range(numbers)]
    assert got == [sum(row) for row in zip(*parts, strict=True)]


@pytest.mark.parametrize(("numbers", "width"), [(1, 4), (2, 3), (3, 2), (4, 2)])
def test_complements_are_added(numbers: int, width: int) -> None:
    inputs = all_inputs(numbers * (width + 1))
    total = width + numbers.bit_length() + 1
    got = to_numbers(build(iterated_sum(numbers, width, total, signed=True)).evaluate(inputs))
    parts = []
    for i in range(numbers):
        mine = inputs[:, i * (width + 1) : (i + 1) * (width + 1)]
        sizes, signs = to_numbers(mine[:, :width]), mine[:, width].tolist()
        parts.append([x - s * ((1 << width) - 1) for x, s in zip(sizes, signs, strict=True)])
    assert got == [sum(row) % (1 << total) for row in zip(*parts, strict=True)]


@settings(max_examples=10)
@given(st.integers(1, 24), st.integers(1, 40), st.integers(0, 2**32))
def test_many_wide_numbers_are_added(numbers: int, width: int, seed: int) -> None:
    total = width + numbers.bit_length()
    rng = np.random.default_rng(seed)
    inputs = (rng.random((64, numbers * width)) < rng.choice([0.5, 0.97])).astype(np.uint8)
    got = to_numbers(build(iterated_sum(numbers, width, total)).evaluate(inputs))
    parts = [to_numbers(inputs[:, i * width : (i + 1) * width]) for i in range(numbers)]
    assert got == [sum(row) for row in zip(*parts, strict=True)]


def test_the_width_of_blocks_is_the_least() -> None:
    for numbers in range(1, 200):
        b = block_width(numbers)
        assert numbers * ((1 << b) - 1) < 1 << 2 * b
        assert b == 1 or numbers * ((1 << b - 1) - 1) >= 1 << 2 * (b - 1)
        assert b <= max(1, math.ceil(math.log2(numbers)))


@pytest.mark.parametrize(("first", "second"), [(1, 1), (3, 2), (2, 6), (5, 5)])
def test_two_numbers_are_multiplied(first: int, second: int) -> None:
    inputs = all_inputs(first + second)
    a, b = to_numbers(inputs[:, :first]), to_numbers(inputs[:, first:])
    got = to_numbers(build(product(first, second)).evaluate(inputs))
    assert got == [x * y for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("width", [1, 2, 5])
def test_two_numbers_are_compared(width: int) -> None:
    inputs = all_inputs(2 * width)
    pairs = zip(to_numbers(inputs[:, :width]), to_numbers(inputs[:, width:]), strict=True)
    assert build(comparison(width)).evaluate(inputs).tolist() == [[x > y, x >= y] for x, y in pairs]


@pytest.mark.parametrize(("width", "amount"), [(3, 2), (1, 3), (4, 1), (3, 0)])
def test_numbers_are_shifted(width: int, amount: int) -> None:
    inputs = all_inputs(width + amount)
    pairs = zip(to_numbers(inputs[:, :width]), to_numbers(inputs[:, width:]), strict=True)
    assert to_numbers(build(shift(width, amount)).evaluate(inputs)) == [x << s for x, s in pairs]


def test_the_leading_one_is_found() -> None:
    got = to_numbers(build(leading_one(6)).evaluate(all_inputs(6)))
    assert got == [1 << x.bit_length() - 1 if x else 0 for x in range(64)]


@pytest.mark.parametrize(("width", "bits"), [(1, 2), (4, 2), (6, 3), (9, 3), (9, 4)])
def test_numbers_are_rounded_to_even_with_a_sticky_bit(width: int, bits: int) -> None:
    inputs = all_inputs(width + 1)
    outputs = build(rounding(width, bits)).evaluate(inputs)
    checked = 0
    for bits_in, out in zip(inputs, outputs, strict=True):
        x, sticky = to_numbers(bits_in[None, :width])[0], int(bits_in[width])
        if not x or (sticky and x.bit_length() < bits):
            continue
        exact = x + Fraction(sticky, 3)
        lead = x.bit_length() - 1
        rounded = round(exact / Fraction(2) ** (lead - bits + 1))
        carried = rounded == 1 << bits
        kept = 0 if carried else rounded - (1 << bits - 1)
        assert to_numbers(out[None, : bits - 1]) == [kept]
        assert out[bits - 1] == carried
        assert out[bits] == (sticky or x.bit_count() > 1)
        assert to_numbers(out[None, bits + 1 :]) == [1 << lead]
        checked += 1
    assert checked >= 1 << width - 1


@pytest.mark.parametrize(("numbers", "width"), [(1, 1), (1, 5), (2, 2), (2, 4), (3, 3), (4, 3)])
def test_many_numbers_are_multiplied(numbers: int, width: int) -> None:
    inputs = all_inputs(numbers * width)
    got = to_numbers(build(iterated_product(numbers, width)).evaluate(inputs))
    parts = [to_numbers(inputs[:, i * width : (i + 1) * width]) for i in range(numbers)]
    assert got == [math.prod(row) for row in zip(*parts, strict=True)]


@settings(max_examples=6)
@given(st.lists(st.integers(0, 2**6 - 1), min_size=2, max_size=5))
def test_many_wide_numbers_are_multiplied(factors: list[int]) -> None:
    inputs = to_bits(factors, 6).reshape(1, -1)
    block = iterated_product(len(factors), 6)
    assert to_numbers(build(block).evaluate(inputs)) == [math.prod(factors)]
    assert math.prod(moduli(6 * len(factors))) >= 1 << 6 * len(factors)


def test_pairs_are_numbered() -> None:
    for n in range(1, 12):
        pairs = [pair_at(i, n) for i in range(n * (n + 1) // 2)]
        assert sorted(pairs) == [(k, j) for k in range(1, n + 1) for j in range(k)]
        assert [pair_index(k, j, n) for k, j in pairs] == list(range(len(pairs)))


SMALL = [
    carry_lookahead(5),
    carry_lookahead(6),
    iterated_sum(3, 4, 6),
    iterated_sum(2, 3, 5, signed=True),
    product(3, 4),
    comparison(4),
    shift(3, 2),
    rounding(6, 3),
    iterated_product(2, 3),
    sum_table("cube", 3, lambda k: 1 << k, 0, 7, 9, lambda v: v**3),
]


@pytest.mark.parametrize("block", SMALL, ids=lambda block: block.name)
def test_every_gate_is_found_from_its_number(block: Block) -> None:
    assert_uniform(block, build(block))


@pytest.mark.parametrize("block", SMALL, ids=lambda block: block.name)
def test_a_description_is_measured_as_it_is_built(block: Block) -> None:
    circuit, measured = build(block), measure(block)
    assert (measured.depth, measured.gates) == (circuit.depth(), circuit.size)
    assert (measured.wires, measured.stored) == (circuit.wires(), len(circuit.wire))
    assert measured.kinds == circuit.count()
    assert measured.largest_weight == abs(circuit.weight).max()
    assert 2 * (circuit.wire.nbytes + circuit.weight.nbytes) <= measured.bytes


def test_depth_does_not_depend_on_the_numbers() -> None:
    sizes = (2, 3, 4, 7, 8, 16, 33)
    pairs = [*itertools.product((2, 3, 8, 17), repeat=2), (64, 3), (3, 64)]
    assert {measure(carry_lookahead(w)).depth for w in sizes} == {5}
    assert {measure(iterated_sum(m, w, w + 7)).depth for m, w in pairs} == {7}
    assert {measure(product(w, w)).depth for w in sizes} == {8}
    assert {measure(comparison(w)).depth for w in sizes} == {3}
    assert {measure(shift(w, a)).depth for w in sizes for a in (1, 3, 6)} == {3}
    assert {measure(rounding(2 * w + 2, w)).depth for w in sizes} == {7}
    assert {measure(iterated_product(m, 3)).depth for m in (2, 3, 4, 7)} == {20}


def test_gates_are_found_with_as_many_operations_however_large_the_circuit() -> None:
    def most(block: Block) -> int:
        step = max(1, block.size // 50)
        return max(operations(block, g) for g in range(0, block.size, step))

    def sums(w: int) -> Block:
        return iterated_sum(w, w, w + w.bit_length(), signed=True)

    for family in (carry_lookahead, sums, lambda w: product(w, w)):
        few, many = most(family(8)), most(family(1024))
        assert many <= few + 8
        assert many <= 80
    assert product(1024, 1024).size > 1 << 27
