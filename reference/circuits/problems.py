"""Networks of Hopfield layers with the bits a circuit wants, and with what it has to give (MHN-CIR-5)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from hopspec.pbit import PBit, PBits
from hopspec.reference.circuits.encoding import decode, encode, width
from hopspec.reference.networks import Hopfield, Network, evaluate
from hopspec.reference.pbit import Arithmetic

__all__ = ["draw", "evaluated"]

Bits = NDArray[np.uint8]


def draw(fmt: PBits, layers: int, states: int, stored: int, d: int, rng: np.random.Generator) -> Bits:
    """[inputs] Bits of normally distributed states, stored patterns and matrices, and of moderate betas.

    Args:
        fmt: the set F_p.
        layers: number of layers.
        states: number of state patterns.
        stored: number of stored patterns.
        d: their length.
        rng: source of randomness.
    """
    arithmetic = Arithmetic(fmt)
    numbers = [*rng.normal(size=(states + stored) * d)]
    for _ in range(layers):
        numbers += [*rng.normal(size=3 * d * d), rng.choice([0.5, 1.0, 3.0])]
    return encode([arithmetic.number(float(x)) for x in numbers], fmt).ravel()


def evaluated(bits: Bits, fmt: PBits, layers: int, states: int, stored: int, d: int) -> Bits:
    """[outputs] What the circuit of a network has to give: its evaluation in F_p (MHN-NET-1, MHN-NET-2).

    Args:
        bits: [inputs] of the circuit.
        fmt: the set F_p.
        layers: number of layers.
        states: number of state patterns.
        stored: number of stored patterns.
        d: their length.
    """
    numbers = iter(decode(bits.reshape(-1, width(fmt)), fmt))

    def matrix(rows: int) -> Sequence[Sequence[Fraction]]:
        return [[next(numbers).fraction for _ in range(d)] for _ in range(rows)]

    state, patterns = matrix(states), matrix(stored)

    def hopfield() -> Hopfield:
        query, key, value = matrix(d), matrix(d), matrix(d)
        return Hopfield(query, key, value, next(numbers).fraction, patterns)

    found: list[list[PBit]] = evaluate(Network(tuple(hopfield() for _ in range(layers))), state, fmt)
    return encode(chain.from_iterable(found), fmt).ravel()
