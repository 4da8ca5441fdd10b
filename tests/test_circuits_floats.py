"""Circuits for F_p: bit for bit its operations, on every pair of elements where those are few."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from circuit_samples import assert_uniform, operations
from hypothesis import given, settings
from hypothesis import strategies as st

from hopspec.pbit import PBit, PBits
from hopspec.reference.circuits import Block, build, measure
from hopspec.reference.circuits.encoding import decode, encode, width
from hopspec.reference.circuits.floats import (
    compare,
    divide,
    dot,
    exp,
    maximum,
    multiply,
    sqrt,
    subtract,
    sum_of,
    unary,
)
from hopspec.reference.pbit import Arithmetic, elements

FORMATS = [
    PBits(2, -3, 2),
    PBits(2, -2, -2),
    PBits(2, 0, 3),
    PBits(3, -4, 3),
    PBits(3, -6, 0, "zero"),
    PBits(3, -9, -4),
    PBits(3, -5, 2, "least"),
    PBits(2, 1, 3, "least"),
]


def run(block: Block, columns: Sequence[Sequence[PBit]], fmt: PBits) -> list[PBit]:
    inputs = np.concatenate([encode(column, fmt) for column in columns], axis=1)
    return decode(build(block).evaluate(inputs), fmt)


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_every_pair_of_elements(fmt: PBits) -> None:
    f = Arithmetic(fmt)
    xs, ys = zip(*itertools.product(elements(fmt), repeat=2), strict=True)
    for block, operation in (
        (multiply(fmt), f.multiply),
        (sum_of(fmt, 2), f.add),
        (subtract(fmt), f.subtract),
    ):
        assert run(block, (xs, ys), fmt) == [operation(x, y) for x, y in zip(xs, ys, strict=True)]
    inputs = np.concatenate([encode(xs, fmt), encode(ys, fmt)], axis=1)
    wanted = [[f.compare(x, y) > 0, f.compare(x, y) >= 0] for x, y in zip(xs, ys, strict=True)]
    assert build(compare(fmt)).evaluate(inputs).tolist() == wanted
    xs, ys = zip(*[(x, y) for x, y in zip(xs, ys, strict=True) if y.m], strict=True)
    assert run(divide(fmt), (xs, ys), fmt) == [f.divide(x, y) for x, y in zip(xs, ys, strict=True)]


@pytest.mark.parametrize("fmt", [*FORMATS, PBits(5, -12, 4)], ids=str)
def test_every_element_in_tables(fmt: PBits) -> None:
    f, all_of_them = Arithmetic(fmt), list(elements(fmt))
    assert run(exp(fmt), [all_of_them], fmt) == [f.exp(x) for x in all_of_them]
    assert run(unary(fmt, "floor", f.floor), [all_of_them], fmt) == [f.floor(x) for x in all_of_them]
    below = [x for x in all_of_them if x.m <= 0]
    assert run(exp(fmt, signed=False), [below], fmt) == [f.exp(x) for x in below]
    above = [x for x in all_of_them if x.m >= 0]
    assert run(sqrt(fmt), [above], fmt) == [f.sqrt(x) for x in above]


def test_every_triple_of_elements() -> None:
    fmt = PBits(2, -1, 1)
    triples = list(itertools.product(elements(fmt), repeat=3))
    columns = list(zip(*triples, strict=True))
    f = Arithmetic(fmt)
    assert run(sum_of(fmt, 3), columns, fmt) == [f.sum(xs) for xs in triples]
    assert run(maximum(fmt, 3), columns, fmt) == [f.maximum(xs) for xs in triples]


@settings(max_examples=12)
@given(st.integers(2, 7), st.integers(-20, 2), st.integers(0, 24), st.integers(1, 9), st.integers(0, 2**32))
def test_many_elements_of_larger_formats(bits: int, least: int, reach: int, terms: int, seed: int) -> None:
    fmt = PBits(bits, least, least + reach)
    f, rng = Arithmetic(fmt), np.random.default_rng(seed)

    def drawn() -> list[PBit]:
        # Few exponents, so that terms cancel.
        exponents = rng.integers(0, rng.integers(1, reach + 2), size=24)
        sizes = rng.integers(1 << bits - 1, 1 << bits, size=24)
        signs = rng.choice([-1, 0, 1], size=24, p=[0.45, 0.1, 0.45])
        return [
            PBit(s * m, least + e) if s else fmt.zero
            for s, m, e in zip(*map(np.ndarray.tolist, (signs, sizes, exponents)), strict=True)
        ]

    columns = [drawn() for _ in range(2 * terms)]
    cases: list[tuple[Block, list[list[PBit]], Callable[[list[PBit]], PBit]]] = [
        (sum_of(fmt, terms), columns[:terms], f.sum),
        (maximum(fmt, terms), columns[:terms], f.maximum),
        (dot(fmt, terms), columns, lambda xs: f.dot(xs[:terms], xs[terms:])),
    ]
    for block, mine, operation in cases:
        assert run(block, mine, fmt) == [operation(list(xs)) for xs in zip(*mine, strict=True)]


def test_formats_and_terms_a_circuit_does_not_have() -> None:
    with pytest.raises(ValueError, match=r"fmt\.underflow must be 'nearest', 'zero' or 'least'"):
        sum_of(PBits(3, 0, 3, "gradual"), 2)
    with pytest.raises(ValueError, match="terms must be at least 1, got 0"):
        sum_of(PBits(3, 0, 3), 0)
    with pytest.raises(ValueError, match="xs must be elements"):
        encode([PBit(1, 0)], PBits(3, 0, 3))


def test_elements_are_written_and_read() -> None:
    fmt = PBits(3, -2, 4)
    bits = encode(elements(fmt), fmt)
    assert bits.shape == (57, width(fmt))
    assert decode(bits, fmt) == list(elements(fmt))
    assert len({row.tobytes() for row in bits}) == len(bits)


SMALL = PBits(2, -2, 1)


@pytest.mark.parametrize(
    "block",
    [
        multiply(SMALL),
        sum_of(SMALL, 3),
        subtract(SMALL),
        divide(SMALL),
        exp(SMALL),
        maximum(SMALL, 3),
        dot(SMALL, 2),
    ],
    ids=lambda block: block.name,
)
def test_every_gate_is_found_from_its_number_and_measured(block: Block) -> None:
    circuit, measured = build(block), measure(block)
    assert_uniform(block, circuit)
    assert (measured.depth, measured.gates) == (circuit.depth(), circuit.size)
    assert (measured.wires, measured.kinds) == (circuit.wires(), circuit.count())


def test_depth_depends_neither_on_bits_nor_on_terms() -> None:
    formats = [PBits(p, -reach, reach) for p in (3, 4, 6) for reach in (4, 9)]
    for fmt in formats:
        assert measure(multiply(fmt)).depth == 16
        assert measure(subtract(fmt)).depth == 22
        assert measure(divide(fmt)).depth == 6
        assert measure(exp(fmt)).depth == 2
        for terms in (2, 3, 8, 13):
            assert measure(sum_of(fmt, terms)).depth == 21
            assert measure(dot(fmt, terms)).depth == 37
            assert measure(maximum(fmt, terms)).depth == 8


def test_gates_of_sums_and_products_take_as_many_operations_however_large() -> None:
    def most(block: Block) -> int:
        return max(operations(block, g) for g in range(0, block.size, max(1, block.size // 60)))

    assert most(sum_of(PBits(24, -300, 300), 500)) <= most(sum_of(PBits(4, -8, 7), 4)) + 8 <= 200
    assert most(multiply(PBits(100, -300, 300))) <= most(multiply(PBits(4, -8, 7))) + 8 <= 200


def test_gates_of_tables_take_as_many_operations_and_values_of_the_function() -> None:
    def most(bits: int, fixed: PBit) -> int:
        # A constant function: what is counted is the numbering.
        block = unary(PBits(bits, -bits - 20, 11 - bits), "constant", lambda _: fixed)
        return max(operations(block, g) for g in range(0, block.size, max(1, block.size // 60)))

    assert most(20, PBit(1 << 19, -19)) <= most(4, PBit(8, -3)) + 8 <= 80
    quotients = divide(PBits(24, -44, -13))
    assert quotients.size > 1 << 45
    last_table = quotients.size - 1000
    assert max(operations(quotients, g) for g in range(last_table, quotients.size)) <= 100
