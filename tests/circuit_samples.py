"""Inputs of circuits, and integers that count what is done with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.reference.circuits import Block, Circuit

Bits = NDArray[np.uint8]


def all_inputs(width: int) -> Bits:
    """[2**width, width] Every input."""
    return (np.arange(1 << width)[:, None] >> np.arange(width) & 1).astype(np.uint8)


def to_bits(numbers: list[int], width: int) -> Bits:
    """[numbers, width] Binary digits, the last one first."""
    return np.array([[x >> k & 1 for k in range(width)] for x in numbers], np.uint8).reshape(-1, width)


def to_numbers(bits: Bits) -> list[int]:
    """The numbers whose binary digits are the rows."""
    return [sum(b << k for k, b in enumerate(row)) for row in bits.tolist()]


class Counted(int):
    """An integer whose arithmetic and comparisons are counted, in ``steps`` also by the digits they take.

    A product or a quotient takes as many steps as the product of its operands' lengths, and anything else as
    many as operands and result have digits.
    """

    operations = 0
    steps = 0


def _counting(name: str) -> Callable[..., Any]:
    plain = getattr(int, name)
    multiplies = any(part in name for part in ("mul", "div", "mod"))

    def counted(self: int, *others: Any) -> Any:
        Counted.operations += 1
        found = plain(self, *others)
        lengths = [1 + int.bit_length(x) for x in (self, *others)]
        Counted.steps += math.prod(lengths) if multiplies else sum(lengths)
        if type(found) is int:
            Counted.steps += int.bit_length(found)
        if isinstance(found, tuple):
            return tuple(Counted(x) for x in found)
        return Counted(found) if type(found) is int else found

    return counted


for _name in (
    *("add", "sub", "mul", "floordiv", "mod", "divmod", "lshift", "rshift", "and", "or", "xor"),
    *("radd", "rsub", "rmul", "rfloordiv", "rmod", "rdivmod", "rlshift", "rrshift", "rand", "ror", "rxor"),
    *("neg", "abs", "lt", "le", "gt", "ge", "eq", "ne"),
):
    setattr(Counted, f"__{_name}__", _counting(f"__{_name}__"))
Counted.__hash__ = int.__hash__  # type: ignore[method-assign]
Counted.bit_length = _counting("bit_length")  # type: ignore[method-assign]


def operations(block: Block, gate: int) -> int:
    """Operations that kind, threshold and the last connection of a gate take."""
    Counted.operations = 0
    found = block.gate(Counted(gate))
    if found.fan_in:
        block.connection(Counted(gate), Counted(found.fan_in - 1))
    return Counted.operations


def steps(block: Block, gate: int, connection: int) -> int:
    """Steps that kind, threshold and one connection of a gate take."""
    Counted.steps = 0
    block.gate(Counted(gate))
    block.connection(Counted(gate), Counted(connection))
    return Counted.steps


def assert_uniform(block: Block, circuit: Circuit) -> None:
    """Every gate found from its number is the gate that was built."""
    for number in range(block.size):
        kind, threshold, connections = circuit.gate(number)
        gate = block.gate(number)
        found = [block.connection(number, j) for j in range(gate.fan_in)]
        assert (gate.kind, gate.threshold) == (kind, threshold), number
        assert [pair for pair in found if pair[1]] == connections, number
    assert [block.code(block.output(k)) for k in range(block.outputs)] == circuit.outputs.tolist()
