"""Circuits for products of many elements: bit for bit those of F_p, at one depth."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from circuit_samples import assert_uniform
from hypothesis import given, settings
from hypothesis import strategies as st

from hopspec.pbit import PBit, PBits
from hopspec.reference.circuits import build, measure
from hopspec.reference.circuits.encoding import decode, encode
from hopspec.reference.circuits.functions import FUNCTIONS
from hopspec.reference.circuits.products import product_of
from hopspec.reference.pbit import Arithmetic, elements


def products(fmt: PBits, rows: Sequence[Sequence[PBit]]) -> list[PBit]:
    inputs = np.array([encode(row, fmt).ravel() for row in rows])
    return decode(build(product_of(fmt, len(rows[0]))).evaluate(inputs), fmt)


@pytest.mark.parametrize(
    ("fmt", "terms"),
    [
        (PBits(2, -1, 1), 4),
        (PBits(2, -2, -1, "zero"), 4),
        (PBits(2, -3, -2, "least"), 4),
        (PBits(3, -4, 2), 2),
        (PBits(3, -4, 0, "least"), 2),
        (PBits(3, -3, -1), 3),
        (PBits(4, -4, -2, "zero"), 2),
        (PBits(2, 3, 3), 5),
        (PBits(5, -6, -3), 1),
    ],
    ids=str,
)
def test_every_row_of_factors(fmt: PBits, terms: int) -> None:
    rows = list(itertools.product(elements(fmt), repeat=terms))
    f = Arithmetic(fmt)
    assert products(fmt, rows) == [f.product(row) for row in rows]


@settings(max_examples=6)
@given(st.integers(2, 9), st.integers(-40, 5), st.integers(0, 60), st.integers(2, 7), st.integers(0, 2**32))
def test_many_factors_of_larger_formats(bits: int, least: int, reach: int, terms: int, seed: int) -> None:
    family = FUNCTIONS["product-of-elements"]
    sizes = {"bits": bits, "least": least, "greatest": least + reach, "terms": terms}
    inputs = family.draw(sizes, np.random.default_rng(seed), 200)
    assert (build(family.block(sizes)).evaluate(inputs) == family.expected(sizes, inputs)).all()


def test_drawn_products_are_of_every_kind() -> None:
    fmt, terms = PBits(4, -12, 3), 6
    sizes = {"bits": 4, "least": -12, "greatest": 3, "terms": terms}
    inputs = FUNCTIONS["product-of-elements"].draw(sizes, np.random.default_rng(0), 2000)
    numbers = decode(inputs.reshape(-1, inputs.shape[1] // terms), fmt)
    f, wide = Arithmetic(fmt), Arithmetic(PBits(4, -400, 400))
    seen: Counter[str] = Counter()
    for row in (numbers[i : i + terms] for i in range(0, len(numbers), terms)):
        got, exact = f.product(row), wide.product(PBit(x.m, x.e if x.m else -400) for x in row)
        kind = "zero" if not exact.m else "over" if exact.e > 3 else "under" if exact.e < -12 else "within"
        seen[kind] += 1
        seen["least"] += kind == "under" and got.m != 0
        seen["chain differs"] += got != _one_by_one(f, row)
    assert min(seen[kind] for kind in ("zero", "over", "under", "within", "least", "chain differs")) > 40


def _one_by_one(f: Arithmetic, row: Sequence[PBit]) -> PBit:
    found = row[0]
    for x in row[1:]:
        found = f.multiply(found, x)
    return found


def test_three_nines_are_rounded_once() -> None:
    fmt = PBits(4, -8, 12)
    nine = Arithmetic(fmt).number(9)
    assert [float(x) for x in products(fmt, [[nine] * 3])] == [704]


def test_precision_and_exponents_may_grow_with_the_number_of_factors() -> None:
    for n in (2, 4, 5):
        # Exponents have n + 1 digits.
        fmt, rng = PBits(n), np.random.default_rng(n)
        rows = [
            [PBit(int(m), int(e)) for m, e in zip(rng.integers(1 << n - 1, 1 << n, n), es, strict=True)]
            for es in rng.integers(-1 << n, 1 << n, (64, n))
        ]
        f = Arithmetic(fmt)
        assert products(fmt, rows) == [f.product(row) for row in rows]
    assert measure(product_of(PBits(40), 2)).gates < 100_000


def test_depth_is_the_same_for_every_size() -> None:
    formats = [
        PBits(p, least, greatest) for p in (2, 3, 6) for least, greatest in ((0, 0), (-5, 1), (-90, 80))
    ]
    assert {measure(product_of(fmt, n)).depth for fmt in formats for n in (2, 5)} == {37}
    assert {measure(product_of(PBits(4, -23, 8), n)).depth for n in (3, 10)} == {37}


def test_every_gate_is_found_from_its_number_and_measured() -> None:
    block = product_of(PBits(2, -2, 1), 3)
    circuit, measured = build(block), measure(block)
    assert_uniform(block, circuit)
    assert (measured.depth, measured.gates) == (circuit.depth(), circuit.size)
    assert (measured.wires, measured.kinds) == (circuit.wires(), circuit.count())


def test_products_a_circuit_does_not_have() -> None:
    with pytest.raises(ValueError, match=r"must be 'nearest', 'zero' or 'least' in circuits"):
        product_of(PBits(3, 0, 3, "gradual"), 2)
    with pytest.raises(ValueError, match="terms must be at least 1, got 0"):
        product_of(PBits(3, 0, 3), 0)
