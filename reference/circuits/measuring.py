"""Depth and size of a block without building it (clauses MHN-CIR-6 and MHN-CIR-7)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from hopspec.clauses import implements
from hopspec.reference.circuits.blocks import INPUT, Block, Gates, Kind, Wire

__all__ = ["Measure", "measure"]


@dataclass(frozen=True, slots=True)
class Measure:
    """What :func:`measure` found.

    Args:
        depth: gates on the longest path from an input to an output.
        gates: number of gates.
        wires: number of connections, those of weight 0 left out.
        kinds: number of gates of each kind.
        largest_weight: largest absolute value of a weight.
        largest_fan_in: most connections of one gate.
        rows: number of weighted sums, of which gates of one table share one.
        stored: number of connections of the rows.
    """

    depth: int
    gates: int
    wires: int
    kinds: Mapping[Kind, int]
    largest_weight: int
    largest_fan_in: int
    rows: int
    stored: int

    @property
    def bytes(self) -> int:
        """Memory of the arrays of a built circuit while it is built: 8 bytes a stored wire, twice."""
        return 2 * (8 * self.stored + 9 * self.gates + 12 * self.rows)


@dataclass(slots=True)
class _Tally:
    wires: int
    kinds: Counter[Kind]
    weight: int
    fan_in: int
    rows: int
    stored: int


@implements("MHN-CIR-6", "MHN-CIR-7")
def measure(block: Block) -> Measure:
    """Depth and size of a block, from its description.

    The work is that of one copy of every block in it, however many there are. Clauses MHN-CIR-6 and -7.

    >>> from hopspec.reference.circuits.integers import carry_lookahead
    >>> measure(carry_lookahead(64)).depth, measure(carry_lookahead(64)).gates
    (5, 2335)
    """
    tally = _tally(block, {})
    arrivals = _arrivals(block, (0,) * block.inputs, {})
    return Measure(
        depth=max(arrivals, default=0),
        gates=block.size,
        wires=tally.wires,
        kinds={kind: tally.kinds[kind] for kind in Kind},
        largest_weight=tally.weight,
        largest_fan_in=tally.fan_in,
        rows=tally.rows,
        stored=tally.stored,
    )


def _tally(block: Block, done: dict[Block, _Tally]) -> _Tally:
    if block in done:
        return done[block]
    total = _Tally(0, Counter(), 0, 0, 0, 0)
    for stage in block.stages:
        if isinstance(stage, Gates):
            total.kinds[stage.kind] += stage.size
            total.rows += stage.rows
            for row in range(stage.rows):
                weights = [abs(stage.weight(row, j)) for j in range(stage.fan_in(row))]
                present = sum(1 for w in weights if w)
                total.wires += present * stage.per
                total.stored += max(1, present)
                total.weight = max(total.weight, *weights)
                total.fan_in = max(total.fan_in, present)
        else:
            inner = _tally(stage.block, done)
            for kind, number in inner.kinds.items():
                total.kinds[kind] += number * stage.count
            total.wires += inner.wires * stage.count
            total.rows += inner.rows * stage.count
            total.stored += inner.stored * stage.count
            if stage.count:
                total.weight = max(total.weight, inner.weight)
                total.fan_in = max(total.fan_in, inner.fan_in)
    done[block] = total
    return total


_Seen = dict[tuple[Block, tuple[int, ...]], tuple[int, ...]]


def _arrivals(block: Block, given: tuple[int, ...], seen: _Seen) -> tuple[int, ...]:
    """Depths of the outputs when the inputs have the depths ``given``.

    Copies of one block with the same depths at their inputs have the same at their outputs, so that few are
    looked at.
    """
    key = (block, given)
    if key in seen:
        return seen[key]
    depths: list[list[int]] = []

    def depth(wire: Wire) -> int:
        if wire.stage < 0:
            return given[wire.number] if wire.stage == INPUT else 0
        return depths[wire.stage][wire.number]

    for stage in block.stages:
        found: list[int] = []
        if isinstance(stage, Gates):
            for row in range(stage.rows):
                present = (
                    depth(stage.wire(row, j)) for j in range(stage.fan_in(row)) if stage.weight(row, j)
                )
                found += [1 + max(present, default=0)] * stage.per
        else:
            ports = range(stage.block.inputs)
            for copy in range(stage.count):
                there = tuple([depth(stage.wire(copy, k)) for k in ports])
                found += _arrivals(stage.block, there, seen)
        depths.append(found)
    seen[key] = tuple(depth(block.output(k)) for k in range(block.outputs))
    return seen[key]
