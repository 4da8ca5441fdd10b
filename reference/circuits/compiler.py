"""The compiler as something to put questions to, with plain data for answers."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.reference.circuits.blocks import Block
from hopspec.reference.circuits.flat import Circuit, build
from hopspec.reference.circuits.functions import FUNCTIONS
from hopspec.reference.circuits.measuring import measure
from hopspec.types import Construction

__all__ = ["CIRCUITS", "ReferenceCompiler"]


class ReferenceCompiler:
    """Circuits for the functions of :data:`hopspec.reference.circuits.functions.FUNCTIONS`.

    >>> compiler = ReferenceCompiler()
    >>> compiler.measure("addition", {"width": 64})["depth"]
    5
    >>> compiler.gate("addition", {"width": 4}, 0)
    ('AND', 2, [(1, 1), (5, 1)])
    """

    def block(self, function: str, sizes: Mapping[str, int]) -> Block:
        """The circuit as a description.

        Raises:
            ValueError: if there is no such function, or its sizes are others.
        """
        if function not in FUNCTIONS:
            raise ValueError(f"function must be one of {', '.join(FUNCTIONS)}, got {function!r}")
        family = FUNCTIONS[function]
        if {*sizes} != {*family.sizes}:
            raise ValueError(f"sizes of {function} must be {', '.join(family.sizes)}, got {', '.join(sizes)}")
        return family.block(sizes)

    def measure(self, function: str, sizes: Mapping[str, int]) -> dict[str, Any]:
        """Depth, gates, inputs, outputs, gates by kind, and codes of the outputs, nothing being built."""
        block = self.block(function, sizes)
        measured = measure(block)
        return {
            "depth": measured.depth,
            "size": measured.gates,
            "inputs": block.inputs,
            "outputs": [int(block.code(block.output(k))) for k in range(block.outputs)],
            "kinds": {kind.name: number for kind, number in measured.kinds.items()},
        }

    def evaluate(
        self, function: str, sizes: Mapping[str, int], inputs: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """[cases, outputs] for inputs [cases, inputs]."""
        return self._built(function, tuple(sorted(sizes.items()))).evaluate(inputs)

    def gate(
        self, function: str, sizes: Mapping[str, int], number: int
    ) -> tuple[str, int, list[tuple[int, int]]]:
        """Kind, threshold and connections (code of a wire, weight) of one gate, from its number alone."""
        block = self.block(function, sizes)
        gate = block.gate(number)
        connections = [block.connection(number, j) for j in range(gate.fan_in)]
        return gate.kind.name, gate.threshold, [pair for pair in connections if pair[1]]

    def construction(self, name: str) -> Construction:
        """The descriptor under which it is verified."""
        return Construction(name, circuits=self)

    @functools.lru_cache(maxsize=8)  # noqa: B019  (there is one of these in a process)
    def _built(self, function: str, sizes: tuple[tuple[str, int], ...]) -> Circuit:
        return build(self.block(function, dict(sizes)))


CIRCUITS = ReferenceCompiler().construction("circuits")
