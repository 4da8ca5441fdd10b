"""What it takes to name one gate of a table, the values of the function included."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from circuit_samples import Counted, steps

from hopspec.pbit import PBit, PBits
from hopspec.reference import exponential
from hopspec.reference.circuits import Block, Copies
from hopspec.reference.circuits.floats import divide, unary
from hopspec.reference.pbit import Arithmetic, arithmetic

BITS = (8, 16, 32, 64, 128)


def _isqrt(n: int) -> int:
    """Newton's iteration, so that its steps are counted."""
    if not n:
        return n
    root = 1 << (n.bit_length() + 1) // 2
    while (less := (root + n // root) // 2) < root:
        root = less
    return root


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Integers made inside the arithmetic are counted, and nothing is remembered from before."""
    monkeypatch.setattr(exponential, "int", Counted, raising=False)
    monkeypatch.setattr(arithmetic, "math", SimpleNamespace(isqrt=_isqrt))
    _forget()
    yield
    _forget()


def _forget() -> None:
    exponential.log_two.cache_clear()
    exponential._tables.cache_clear()


def _exp(fmt: PBits) -> Block:
    return unary(fmt, "exp", Arithmetic(fmt).exp)


def _sqrt(fmt: PBits) -> Block:
    return unary(fmt, "square root", Arithmetic(fmt).sqrt, signed=False)


def _quotient(fmt: PBits) -> Block:
    # Not the one kept for this set, whose integers may not be counted.
    table = divide.__wrapped__(fmt).stages[2]
    assert isinstance(table, Copies)
    return table.block


def most_steps(table: Callable[[PBits], Block], bits: int, samples: int = 5) -> tuple[int, int]:
    """Most steps that one drawn connection of an output of a table takes, and the digits of the table's size.

    An output is connected to a gate for every value, with a weight that needs the function at two points.
    """
    p = Counted(bits)
    block = table(PBits(p, 1 - p - 20, 12 - p))
    draw, found = random.Random(bits), []
    for _ in range(samples):
        gate = block.size - 1 - draw.randrange(bits - 1)
        fan_in = int(block.gate(gate).fan_in)
        _forget()
        found.append(steps(block, int(gate), draw.randrange(fan_in)))
    return max(found), int.bit_length(block.size)


@pytest.mark.parametrize("table", [_exp, _sqrt, _quotient])
@pytest.mark.usefixtures("counting")
def test_a_gate_of_a_table_takes_steps_polynomial_in_the_digits_of_its_size(
    table: Callable[[PBits], Block],
) -> None:
    found = [most_steps(table, bits) for bits in BITS]
    print(f"p, steps, digits of the size: {[(p, *each) for p, each in zip(BITS, found, strict=True)]}")
    for (few, short), (many, long) in itertools.pairwise(found):
        # Schoolbook products of integers of so many digits, and fewer than one for each digit.
        assert many / few <= (long / short) ** 3


@pytest.mark.usefixtures("counting")
def test_a_table_that_is_searched_takes_too_many_steps() -> None:
    def searched(fmt: PBits) -> Block:
        def found(x: PBit) -> PBit:
            # The root by trying significands one after the other.
            m = 1 << fmt.bits - 1
            while m < 1 << fmt.bits and m * m < x.m << fmt.bits:
                m = m + 1
            return PBit(min(m, (1 << fmt.bits) - 1), x.e)

        return unary(fmt, "search", found, signed=False)

    (few, short), (many, long) = (most_steps(searched, bits, 2) for bits in (8, 16))
    assert many / few > (long / short) ** 3
