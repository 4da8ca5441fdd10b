"""A network with its inputs: its evaluation in F_p, and its bits as the circuit wants them (MHN-CIR-5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import implements
from hopspec.pbit import PBit, PBits
from hopspec.reference.circuits.encoding import encode
from hopspec.reference.pbit import Arithmetic

__all__ = ["Layer", "Network", "draw"]

Matrix = Sequence[Sequence[PBit]]


@dataclass(frozen=True, slots=True)
class Layer:
    """The parameters of one layer.

    Args:
        query: W_Q, [d, d].
        key: W_K, [d, d].
        value: W_V, [d, d].
        beta: inverse temperature.
    """

    query: Matrix
    key: Matrix
    value: Matrix
    beta: PBit


@dataclass(frozen=True, slots=True)
class Network:
    """Layers with what they are applied to.

    Args:
        states: R, [states, d].
        stored: Y, [stored, d].
        layers: each is applied to the states the one before it returns, and to Y.
    """

    states: Matrix
    stored: Matrix
    layers: Sequence[Layer]

    @implements("MHN-CIR-5")
    def evaluated(self, arithmetic: Arithmetic) -> list[list[PBit]]:
        """The states after the last layer, [states, d]. Clause MHN-CIR-5.

        Every operation is one of F_p, rounded once: inner products, logits ``beta * score``, their difference
        from the largest, exponentials, their sum, weights divided by it, and inner products with the values.
        """
        f = arithmetic
        states = [list(row) for row in self.states]
        for layer in self.layers:
            queries = _times(f, states, layer.query)
            keys, values = _times(f, self.stored, layer.key), _times(f, self.stored, layer.value)
            states = []
            for query in queries:
                logits = [f.multiply(layer.beta, f.dot(query, key)) for key in keys]
                largest = f.maximum(logits)
                powers = [f.exp(f.subtract(logit, largest)) for logit in logits]
                norm = f.sum(powers)
                weights = [f.divide(power, norm) for power in powers]
                states.append([f.dot(weights, column) for column in zip(*values, strict=True)])
        return states

    @classmethod
    def of_elements(cls, xs: Sequence[PBit], layers: int, states: int, stored: int, d: int) -> Network:
        """The network whose numbers are ``xs``, in the order of :meth:`bits`."""
        there = iter(xs)

        def matrix(rows: int) -> list[list[PBit]]:
            return [[next(there) for _ in range(d)] for _ in range(rows)]

        first, second = matrix(states), matrix(stored)
        return cls(
            first, second, [Layer(matrix(d), matrix(d), matrix(d), next(there)) for _ in range(layers)]
        )

    def bits(self, fmt: PBits) -> NDArray[np.uint8]:
        """[inputs] The inputs of the circuit."""
        numbers = [x for row in (*self.states, *self.stored) for x in row]
        for layer in self.layers:
            numbers += [x for matrix in (layer.query, layer.key, layer.value) for row in matrix for x in row]
            numbers.append(layer.beta)
        return encode(numbers, fmt).ravel()


def _times(f: Arithmetic, rows: Matrix, matrix: Matrix) -> list[list[PBit]]:
    columns = list(zip(*matrix, strict=True))
    return [[f.dot(row, column) for column in columns] for row in rows]


def draw(fmt: PBits, layers: int, states: int, stored: int, d: int, rng: np.random.Generator) -> Network:
    """A network of normally distributed numbers, the weights of which are mixed.

    Args:
        fmt: the set F_p.
        layers: number of layers.
        states: number of state patterns.
        stored: number of stored patterns.
        d: their length.
        rng: source of randomness.
    """
    arithmetic = Arithmetic(fmt)

    def matrix(rows: int) -> list[list[PBit]]:
        return [[arithmetic.number(float(x)) for x in row] for row in rng.normal(size=(rows, d))]

    return Network(
        matrix(states),
        matrix(stored),
        [
            Layer(matrix(d), matrix(d), matrix(d), arithmetic.number(float(rng.choice([0.5, 1.0, 3.0]))))
            for _ in range(layers)
        ],
    )
