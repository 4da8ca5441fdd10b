"""Circuits described without being built: blocks, made of stages of gates and of copies of smaller blocks.

A block is a circuit whose gates are numbered, and whose every gate can be found from its number alone, with
a few operations on integers per level of nesting (clause MHN-CIR-8). :func:`hopspec.reference.circuits.build`
writes the same gates down in arrays, :func:`hopspec.reference.circuits.measure` counts them.

Codes of wires inside a block: 0 is the constant 0, 1 to ``inputs`` are the inputs, and ``1 + inputs + g`` is
gate ``g``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from hopspec.clauses import implements

__all__ = ["INPUT", "ZERO", "Block", "Copies", "Gate", "Gates", "Kind", "Wire"]


class Kind(IntEnum):
    """What a gate computes."""

    NOT = 0
    AND = 1
    OR = 2
    THRESHOLD = 3


class Wire(NamedTuple):
    """One wire inside a block.

    Args:
        stage: number of the stage that drives it, :data:`INPUT` for an input of the block, or -2 for 0.
        number: of a stage of gates, the gate; of a stage of copies, ``copy * outputs + output``; of an input,
            its number.
    """

    stage: int
    number: int


INPUT = -1
ZERO = Wire(-2, 0)
"""The constant 0."""


class Gate(NamedTuple):
    """What one gate is: it is 1 if the sum of its weighted inputs is at least the threshold.

    Args:
        kind: its kind.
        fan_in: number of connections, those of weight 0 included.
        threshold: of an OR 1, of an AND the number of inputs, of a NOT 0 (its one weight is -1).
    """

    kind: Kind
    fan_in: int
    threshold: int


def _one(_row: int, _j: int) -> int:
    return 1


def _minus(_row: int, _j: int) -> int:
    return -1


@dataclass(frozen=True, eq=False)
class Gates:
    """A stage of gates; those of one row see the same weighted sum and differ in their thresholds.

    Args:
        kind: the kind of all of them.
        rows: number of weighted sums.
        fan_in: of a row, its number of connections, at least 1.
        wire: of a row and a connection, what is connected.
        weight: of a row and a connection; by default 1, for a NOT -1. Connections of weight 0 are absent.
        per: number of gates in a row.
        threshold: of a row and a gate in it; only for the kind THRESHOLD.
    """

    kind: Kind
    rows: int
    fan_in: Callable[[int], int]
    wire: Callable[[int, int], Wire]
    weight: Callable[[int, int], int] = _one
    per: int = 1
    threshold: Callable[[int, int], int] | None = None

    def __post_init__(self) -> None:
        """Check that the kind and what was given belong together."""
        if (self.kind == Kind.THRESHOLD) != (self.threshold is not None):
            raise ValueError(f"threshold must be given for THRESHOLD alone, got kind {self.kind.name}")
        if self.kind == Kind.NOT:
            object.__setattr__(self, "weight", _minus)

    @property
    def size(self) -> int:
        """Number of gates."""
        return self.rows * self.per

    def limit(self, row: int, which: int) -> int:
        """The threshold of a gate."""
        if self.threshold is not None:
            return self.threshold(row, which)
        if self.kind == Kind.AND:
            return self.fan_in(row)
        return 1 if self.kind == Kind.OR else 0


@dataclass(frozen=True, eq=False)
class Copies:
    """A stage of copies of one block.

    Args:
        block: what is copied.
        count: how often.
        wire: of a copy and one of its inputs, what is connected.
    """

    block: Block
    count: int
    wire: Callable[[int, int], Wire]

    @property
    def size(self) -> int:
        """Number of gates."""
        return self.count * self.block.size


@dataclass(frozen=True, eq=False)
class Block:
    """A circuit as a description.

    Args:
        name: what it computes.
        inputs: number of inputs.
        outputs: number of outputs.
        stages: each sees the inputs and the stages before it.
        output: of an output, what drives it.

    >>> parts = (Wire(INPUT, 0), Wire(INPUT, 1), Wire(0, 0))
    >>> both = Gates(Kind.AND, 1, lambda _: 2, lambda _, j: parts[j])
    >>> one = Gates(Kind.THRESHOLD, 1, lambda _: 3, lambda _, j: parts[j],
    ...             lambda _, j: -2 if j == 2 else 1, threshold=lambda _, __: 1)
    >>> half = Block("half adder", 2, 2, (both, one), lambda k: Wire(1 - k, 0))
    >>> half.size, half.gate(1), [half.connection(1, j) for j in range(3)]
    (2, Gate(kind=<Kind.THRESHOLD: 3>, fan_in=3, threshold=1), [(1, 1), (2, 1), (3, -2)])
    """

    name: str
    inputs: int
    outputs: int
    stages: tuple[Gates | Copies, ...]
    output: Callable[[int], Wire]
    size: int = field(init=False)
    starts: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Number the gates: stage by stage."""
        start, starts = 0, []
        for stage in self.stages:
            starts.append(start)
            start += stage.size
        object.__setattr__(self, "starts", tuple(starts))
        object.__setattr__(self, "size", start)

    def stage_of(self, gate: int) -> int:
        """The stage that holds a gate.

        Raises:
            IndexError: if there is no such gate.
        """
        if not 0 <= gate < self.size:
            raise IndexError(f"gate must be from 0 to {self.size - 1}, got {gate}")
        found = len(self.stages) - 1
        while gate < self.starts[found]:
            found -= 1
        return found

    @implements("MHN-CIR-8")
    def gate(self, gate: int) -> Gate:
        """What gate number ``gate`` is, computed from the number. Clause MHN-CIR-8.

        Raises:
            IndexError: if there is no such gate.
        """
        at = self.stage_of(gate)
        stage, local = self.stages[at], gate - self.starts[at]
        if isinstance(stage, Copies):
            return stage.block.gate(local % stage.block.size)
        row, which = divmod(local, stage.per)
        return Gate(stage.kind, stage.fan_in(row), stage.limit(row, which))

    @implements("MHN-CIR-8")
    def connection(self, gate: int, j: int) -> tuple[int, int]:
        """Code of the wire and weight of connection ``j`` of a gate, computed from the numbers.

        Clause MHN-CIR-8. Weight 0 says that there is no such connection.

        Raises:
            IndexError: if there is no such gate.
        """
        at = self.stage_of(gate)
        stage, local = self.stages[at], gate - self.starts[at]
        if isinstance(stage, Copies):
            copy, inner = divmod(local, stage.block.size)
            code, weight = stage.block.connection(inner, j)
            return self._lifted(at, copy, code), weight
        row = local // stage.per
        return self.code(stage.wire(row, j)), stage.weight(row, j)

    def code(self, wire: Wire) -> int:
        """The code of a wire."""
        if wire.stage < 0:
            return 1 + wire.number if wire.stage == INPUT else 0
        stage = self.stages[wire.stage]
        if isinstance(stage, Gates):
            return 1 + self.inputs + self.starts[wire.stage] + wire.number
        copy, output = divmod(wire.number, stage.block.outputs)
        return self._lifted(wire.stage, copy, stage.block.code(stage.block.output(output)))

    def _lifted(self, at: int, copy: int, code: int) -> int:
        """What a code inside a copy is outside."""
        stage = self.stages[at]
        assert isinstance(stage, Copies)
        if not code:
            return 0
        if code <= stage.block.inputs:
            return self.code(stage.wire(copy, code - 1))
        inner = code - 1 - stage.block.inputs
        return 1 + self.inputs + self.starts[at] + copy * stage.block.size + inner
