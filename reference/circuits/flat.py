"""Circuits written down: arrays of gates, their evaluation on many inputs at once, and their files."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import implements
from hopspec.reference.circuits.blocks import INPUT, ZERO, Block, Copies, Gates, Kind, Wire
from hopspec.reference.circuits.measuring import measure

__all__ = ["Circuit", "TooLargeError", "build", "load"]

Array = NDArray[Any]

# Elements of one intermediate array of an evaluation.
_CHUNK = 1 << 22
_FIELDS = ("kind", "row", "threshold", "start", "wire", "weight", "step", "outputs")


class TooLargeError(ValueError):
    """A circuit would not fit; the message gives its predicted size."""


@dataclass(frozen=True, eq=False)
class Circuit:
    """A threshold circuit as arrays.

    Codes of wires: 0 is the constant 0, 1 to ``inputs`` are the inputs, ``1 + inputs + g`` is gate ``g``.
    Gates may share a row, that is a weighted sum. Gate ``g`` is 1 if the sum of row ``row[g]`` is at least
    ``threshold[g]``; ``kind[g]`` says which of NOT, AND, OR and THRESHOLD that is. Clause MHN-CIR-1.

    Args:
        inputs: number of inputs.
        kind: [gates] of 0 to 3, see :class:`Kind`.
        row: [gates], row of each gate.
        threshold: [gates].
        start: [rows + 1], where each row's connections begin; none is empty.
        wire: [stored connections], codes.
        weight: [stored connections].
        step: [rows], an order of evaluation: what a row reads belongs to rows of lower steps.
        outputs: [outputs], codes.
    """

    inputs: int
    kind: Array
    row: Array
    threshold: Array
    start: Array
    wire: Array
    weight: Array
    step: Array
    outputs: Array

    @property
    def size(self) -> int:
        """Number of gates."""
        return len(self.kind)

    def gate(self, gate: int) -> tuple[Kind, int, list[tuple[int, int]]]:
        """Kind, threshold and connections (code and weight) of a gate."""
        row = self.row[gate]
        span = slice(self.start[row], self.start[row + 1])
        pairs = zip(self.wire[span].tolist(), self.weight[span].tolist(), strict=True)
        return Kind(int(self.kind[gate])), int(self.threshold[gate]), [pair for pair in pairs if pair[1]]

    def count(self) -> dict[Kind, int]:
        """Number of gates of each kind."""
        return {kind: int(np.count_nonzero(self.kind == kind)) for kind in Kind}

    def wires(self) -> int:
        """Number of connections of all gates, those of weight 0 left out."""
        present = np.add.reduceat((self.weight != 0).astype(np.int64), self.start[:-1])
        return int(present[self.row].sum())

    def depths(self) -> Array:
        """[1 + inputs + gates] Longest path from the inputs, one for every gate on it."""
        depth = np.zeros(1 + self.inputs + self.size, dtype=np.int32)
        for plan in self._plans:
            here = np.where(plan.weight != 0, depth[plan.wire], 0)
            depth[plan.gates] = 1 + np.maximum.reduceat(here, plan.start)[plan.row]
        return depth

    def depth(self) -> int:
        """The longest path from an input to an output. Clause MHN-CIR-1."""
        return int(self.depths()[self.outputs].max(initial=0))

    @implements("MHN-CIR-1")
    def evaluate(self, inputs: Array) -> Array:
        """The outputs on many inputs at once. Clause MHN-CIR-1.

        Args:
            inputs: [cases, inputs] of 0 and 1.

        Returns:
            [cases, outputs] of 0 and 1, uint8.

        Raises:
            ValueError: if the shape is wrong.
        """
        if inputs.ndim != 2 or inputs.shape[1] != self.inputs:
            raise ValueError(f"inputs must have shape [cases, {self.inputs}], got {inputs.shape}")
        cases = len(inputs)
        bits = np.packbits(inputs.astype(bool).T, axis=1, bitorder="little")
        values = np.zeros((1 + self.inputs + self.size, bits.shape[1]), dtype=np.uint8)
        values[1 : 1 + self.inputs] = bits
        for plan in self._plans:
            for part in plan.parts(max(1, _CHUNK // (8 * bits.shape[1]))):
                part.run(values)
        found = np.unpackbits(values[self.outputs], axis=1, bitorder="little", count=cases)
        return np.ascontiguousarray(found.T)

    @functools.cached_property
    def _plans(self) -> list[_Plan]:
        """The gates by step: all of one step are evaluated together."""
        plans = []
        kinds_of_rows = np.zeros(len(self.step), dtype=np.uint8)
        kinds_of_rows[self.row] = self.kind
        # Gates of one row are of one kind, so that a row has one.
        group = self.step.astype(np.int64) * 4 + kinds_of_rows
        order = np.argsort(group, kind="stable")
        gates = np.argsort(group[self.row], kind="stable")
        bounds = np.flatnonzero(np.diff(group[order], prepend=-1, append=1 << 60))
        counts = np.bincount(self.row, minlength=len(self.step))
        position = 0
        for low, high in itertools.pairwise(bounds):
            rows = order[low:high]
            number = int(counts[rows].sum())
            mine = gates[position : position + number]
            position += number
            lengths = self.start[rows + 1] - self.start[rows]
            start = np.cumsum(lengths) - lengths
            index = np.repeat(self.start[rows] - start, lengths) + np.arange(lengths.sum())
            renumbered = np.empty(len(self.step), dtype=np.int64)
            renumbered[rows] = np.arange(len(rows))
            plans.append(
                _Plan(
                    Kind(int(kinds_of_rows[rows[0]])),
                    start,
                    self.wire[index],
                    self.weight[index],
                    renumbered[self.row[mine]],
                    1 + self.inputs + mine,
                    self.threshold[mine],
                )
            )
        return plans

    def save(self, path: Path | str) -> None:
        """Write the circuit to an ``.npz`` file: the arrays named in the class, and ``inputs``."""
        np.savez_compressed(path, inputs=np.int64(self.inputs), **{n: getattr(self, n) for n in _FIELDS})


@dataclass(frozen=True, eq=False)
class _Plan:
    """Gates that are evaluated together: rows numbered from 0, and for each gate its row."""

    kind: Kind
    start: Array
    wire: Array
    weight: Array
    row: Array
    gates: Array
    threshold: Array

    def parts(self, most: int) -> Iterator[_Plan]:
        """Pieces with at most ``most`` connections, and of at least a row."""
        ends = np.append(self.start[1:], len(self.wire))
        low = 0
        while low < len(self.start):
            high = max(low + 1, int(np.searchsorted(ends, self.start[low] + most, side="right")))
            if low == 0 and high == len(self.start):
                yield self
                return
            first, last = np.searchsorted(self.row, (low, high))
            span = slice(self.start[low], ends[high - 1])
            yield _Plan(
                self.kind,
                self.start[low:high] - self.start[low],
                self.wire[span],
                self.weight[span],
                self.row[first:last] - low,
                self.gates[first:last],
                self.threshold[first:last],
            )
            low = high

    @property
    def _holding(self) -> Any:
        """The narrowest type that holds every partial sum and every bit."""
        largest = int(np.add.reduceat(np.abs(self.weight.astype(np.int64)), self.start).max())
        return next(t for t in (np.int16, np.int32, np.int64) if largest <= np.iinfo(t).max)

    def run(self, values: Array) -> None:
        """Set the gates' packed values."""
        read = values[self.wire]
        if self.kind == Kind.NOT:
            values[self.gates] = ~read
        elif self.kind == Kind.AND:
            values[self.gates] = np.bitwise_and.reduceat(read, self.start, axis=0)[self.row]
        elif self.kind == Kind.OR:
            values[self.gates] = np.bitwise_or.reduceat(read, self.start, axis=0)[self.row]
        else:
            bits = np.unpackbits(read, axis=1, bitorder="little")
            weight = self.weight.astype(self._holding)
            sums = np.add.reduceat(bits * weight[:, None], self.start, axis=0, dtype=weight.dtype)
            # Gates of a row are many, and each needs only a comparison.
            reached = sums[self.row] >= self.threshold[:, None]
            values[self.gates] = np.packbits(reached, axis=1, bitorder="little")


@dataclass(frozen=True, eq=False)
class _Flat:
    """A block's gates, with its own codes; kept, for blocks are copied often."""

    kind: Array
    row: Array
    threshold: Array
    length: Array
    wire: Array
    weight: Array
    step: Array
    steps: int
    outputs: Array


def build(block: Block, *, most_bytes: int = 1 << 31) -> Circuit:
    """Write down every gate of a block.

    Args:
        block: what to build.
        most_bytes: refuse above this size in memory.

    Raises:
        TooLargeError: if the arrays would be larger; the message gives the predicted size.

    >>> from hopspec.reference.circuits.integers import carry_lookahead
    >>> adder = build(carry_lookahead(2))
    >>> adder.evaluate(np.array([[1, 1, 1, 0]])).tolist()  # 3 + 1, modulo 4
    [[0, 0]]
    """
    predicted = measure(block)
    # Codes of wires and weights are 32-bit integers.
    if predicted.bytes > most_bytes or block.inputs + block.size >= 1 << 31:
        raise TooLargeError(
            f"the circuit {block.name} has {predicted.gates:,} gates and {predicted.wires:,} wires and needs "
            f"{predicted.bytes:,} bytes, more than the {most_bytes:,} allowed"
        )
    flat = _flatten(block, {})
    start = np.concatenate([[0], np.cumsum(flat.length)])
    return Circuit(
        block.inputs,
        flat.kind,
        flat.row,
        flat.threshold,
        start,
        flat.wire,
        flat.weight,
        flat.step,
        flat.outputs,
    )


def load(path: Path | str) -> Circuit:
    """Read a circuit that :meth:`Circuit.save` wrote, and check that it is one.

    Raises:
        ValueError: if an array is missing, or the arrays describe no circuit.
    """
    with np.load(path, allow_pickle=False) as there:
        missing = [name for name in ("inputs", *_FIELDS) if name not in there.files]
        if missing:
            raise ValueError(
                f"{path} must hold {', '.join(_FIELDS)} and inputs, {', '.join(missing)} missing"
            )
        found = Circuit(int(there["inputs"]), **{name: there[name] for name in _FIELDS})
    _check(found, str(path))
    return found


def _check(circuit: Circuit, path: str) -> None:
    """Refuse what is no circuit: codes out of range, cycles, kinds that disagree with the weights."""
    lengths = np.diff(circuit.start)
    wires = 1 + circuit.inputs + circuit.size
    if lengths.min(initial=1) < 1 or circuit.start[0] or circuit.start[-1] != len(circuit.wire):
        raise ValueError(f"{path}: start must rise from 0 to the {len(circuit.wire)} connections")
    for name, codes in (("wire", circuit.wire), ("outputs", circuit.outputs)):
        if codes.min(initial=0) < 0 or codes.max(initial=0) >= wires:
            raise ValueError(f"{path}: {name} must hold codes from 0 to {wires - 1}")
    if circuit.size and (circuit.row.min() < 0 or circuit.row.max() >= len(lengths)):
        raise ValueError(f"{path}: row must hold numbers from 0 to {len(lengths) - 1}")
    step = np.zeros(wires, dtype=np.int64) - 1
    step[1 + circuit.inputs :] = circuit.step[circuit.row]
    if (step[circuit.wire] >= np.repeat(circuit.step, lengths)).any():
        raise ValueError(f"{path}: every gate must read gates of lower steps only")
    low = np.minimum.reduceat(circuit.weight, circuit.start[:-1])[circuit.row]
    high = np.maximum.reduceat(circuit.weight, circuit.start[:-1])[circuit.row]
    fan_in, t, kind = lengths[circuit.row], circuit.threshold, circuit.kind
    ones = (low == 1) & (high == 1)
    right = np.select(
        [kind == Kind.NOT, kind == Kind.AND, kind == Kind.OR, kind == Kind.THRESHOLD],
        [(fan_in == 1) & (low == -1) & (t == 0), ones & (t == fan_in), ones & (t == 1), True],
        False,
    )
    if not right.all():
        raise ValueError(f"{path}: gate {int(np.argmin(right))} is not of the kind it is said to be")


def _flatten(block: Block, done: dict[Block, _Flat]) -> _Flat:
    """The gates of a block; what ``done`` holds already is copied."""
    if block not in done:
        done[block] = _Writer(block, done).written()
    return done[block]


class _Writer:
    """Writes down one block, stage by stage.

    Args:
        block: what is written down.
        done: blocks that are.
    """

    def __init__(self, block: Block, done: dict[Block, _Flat]) -> None:
        self.block, self.done = block, done
        # Codes of the outputs of the stages so far.
        self.driven: list[Array] = []

    def written(self) -> _Flat:
        """All gates of the block."""
        block, parts = self.block, []
        rows = steps = 0
        for stage, start in zip(block.stages, block.starts, strict=True):
            first = 1 + block.inputs + start
            part = self.gates(stage, first) if isinstance(stage, Gates) else self.copies(stage, first)
            self.driven.append(part.outputs)
            parts.append(replace(part, row=part.row + np.int32(rows), step=part.step + np.int32(steps)))
            rows += len(part.length)
            steps += part.steps
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts] or [np.zeros(0, np.int32)])
            for name in ("kind", "row", "threshold", "length", "wire", "weight", "step")
        }
        outputs = self.codes((block.output(k) for k in range(block.outputs)), block.outputs)
        return _Flat(**joined, steps=steps, outputs=outputs)

    def codes(self, wires: Iterable[Wire], number: int) -> Array:
        """[number] The codes of some wires."""
        flat = np.fromiter((x for wire in wires for x in wire), np.int64, 2 * number)
        stage, index = flat[::2], flat[1::2]
        found = np.where(stage == INPUT, 1 + index, 0).astype(np.int32)
        for at, codes in enumerate(self.driven):
            here = stage == at
            found[here] = codes[index[here]]
        return found

    def copies(self, stage: Copies, first: int) -> _Flat:
        """A stage of copies, whose gates have codes from ``first`` on."""
        inner = _flatten(stage.block, self.done)
        n, ports = stage.count, stage.block.inputs
        given = self.codes((stage.wire(i, k) for i in range(n) for k in range(ports)), n * ports)
        table = np.concatenate([np.zeros((n, 1), np.int32), given.reshape(n, ports)], axis=1)
        shift = (first - 1 - ports + np.arange(n, dtype=np.int32) * stage.block.size)[:, None]

        def lifted(inside: Array) -> Array:
            """Codes inside the block as they are outside, for all copies."""
            within = inside > ports
            return np.where(within, inside + shift, table[:, np.where(within, 0, inside)]).ravel()

        rows = np.repeat(np.arange(n, dtype=np.int32) * len(inner.length), len(inner.kind))
        return _Flat(
            np.tile(inner.kind, n),
            np.tile(inner.row, n) + rows,
            np.tile(inner.threshold, n),
            np.tile(inner.length, n),
            lifted(inner.wire),
            np.tile(inner.weight, n),
            np.tile(inner.step, n),
            inner.steps,
            lifted(inner.outputs),
        )

    def gates(self, stage: Gates, first: int) -> _Flat:
        """A stage of gates with codes from ``first`` on; connections of weight 0 are left out."""
        lengths, wires, weights = [], [], []
        for row in range(stage.rows):
            weighted = [(j, stage.weight(row, j)) for j in range(stage.fan_in(row))]
            present = [(stage.wire(row, j), weight) for j, weight in weighted if weight]
            # No row is empty, for the sake of ``reduceat``.
            for wire, weight in present or [(ZERO, 0)]:
                wires.append(wire)
                weights.append(weight)
            lengths.append(max(1, len(present)))
        thresholds = [stage.limit(row, which) for row in range(stage.rows) for which in range(stage.per)]
        return _Flat(
            np.full(stage.size, int(stage.kind), np.uint8),
            np.repeat(np.arange(stage.rows, dtype=np.int32), stage.per),
            np.array(thresholds, np.int32),
            np.array(lengths, np.int32),
            self.codes(wires, len(wires)),
            np.array(weights, np.int32),
            np.zeros(stage.rows, np.int32),
            1,
            first + np.arange(stage.size, dtype=np.int32),
        )
