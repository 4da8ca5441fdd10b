"""Circuits for whole layers and networks (clauses MHN-CIR-5 and MHN-CIR-6)."""

from __future__ import annotations

import functools

from hopspec.clauses import implements
from hopspec.pbit import PBits
from hopspec.reference.circuits.blocks import INPUT, Block, Copies, Wire
from hopspec.reference.circuits.encoding import width
from hopspec.reference.circuits.floats import divide, dot, exp, maximum, multiply, subtract, sum_of

__all__ = ["layer", "network"]


@functools.cache
@implements("MHN-CIR-5")
def layer(fmt: PBits, states: int, stored: int, d: int) -> Block:
    """One layer of a modern Hopfield network, evaluated in F_p: depth 165. Clause MHN-CIR-5.

    Inputs, all of them elements: R [states, d], Y [stored, d], W_Q, W_K and W_V [d, d], and beta; matrices by
    rows. Outputs: [states, d].

    Args:
        fmt: the set F_p; it must hold 1.
        states: number of state patterns.
        stored: number of stored patterns.
        d: their length.
    """
    wide = width(fmt)
    query, key, value, score, logit, largest, below, power, norm, weighted, out = range(11)
    starts = [0, states * d, (states + stored) * d]
    starts += [starts[2] + (i + 1) * d * d for i in range(3)]
    beta = starts[5]

    def given(element: int, k: int) -> Wire:
        return Wire(INPUT, element * wide + k)

    def projected(first: int, matrix: int) -> Copies:
        def source(c: int, k: int) -> Wire:
            (i, a), (x, bit) = divmod(c, d), divmod(k, wide)
            second, j = divmod(x, d)
            return given(matrix + j * d + a if second else first + i * d + j, bit)

        return Copies(dot(fmt, d), (states if first == 0 else stored) * d, source)

    def scored(c: int, k: int) -> Wire:
        second, x = divmod(k, d * wide)
        return Wire(key, c % stored * d * wide + x) if second else Wire(query, c // stored * d * wide + x)

    def scaled(c: int, k: int) -> Wire:
        return Wire(score, c * wide + k - wide) if k >= wide else given(beta, k)

    def shifted(c: int, k: int) -> Wire:
        return Wire(logit, c * wide + k) if k < wide else Wire(largest, c // stored * wide + k - wide)

    def averaged(c: int, k: int) -> Wire:
        return Wire(weighted, c * wide + k) if k < wide else Wire(norm, c // d * wide + k - wide)

    def read(c: int, k: int) -> Wire:
        (i, a), (x, bit) = divmod(c, d), divmod(k, wide)
        second, j = divmod(x, stored)
        if second:
            return Wire(value, (j * d + a) * wide + bit)
        return Wire(power, (i * stored + j) * wide + bit)

    pairs, row = states * stored, stored * wide
    return Block(
        f"layer of {states} states, {stored} patterns, d = {d}, p = {fmt.bits}",
        (beta + 1) * wide,
        states * d * wide,
        (
            projected(0, starts[2]),
            projected(starts[1], starts[3]),
            projected(starts[1], starts[4]),
            Copies(dot(fmt, d), pairs, scored),
            Copies(multiply(fmt), pairs, scaled),
            Copies(maximum(fmt, stored), states, lambda i, k: Wire(logit, i * row + k)),
            Copies(subtract(fmt), pairs, shifted),
            Copies(exp(fmt, signed=False), pairs, lambda c, k: Wire(below, c * wide + k)),
            Copies(sum_of(fmt, stored), states, lambda i, k: Wire(power, i * row + k)),
            Copies(dot(fmt, stored), states * d, read),
            Copies(divide(fmt), states * d, averaged),
        ),
        lambda k: Wire(out, k),
    )


@functools.cache
@implements("MHN-CIR-6")
def network(fmt: PBits, layers: int, states: int, stored: int, d: int) -> Block:
    """Layers one after the other, on the same stored patterns. Clause MHN-CIR-6.

    Inputs: R, Y, and for every layer W_Q, W_K, W_V and beta.
    """
    wide = width(fmt)
    own = 3 * d * d + 1
    shared = (states + stored) * d

    def source(at: int, k: int) -> Wire:
        element, bit = divmod(k, wide)
        if element < states * d and at:
            return Wire(at - 1, k)
        if element >= shared:
            element += at * own
        return Wire(INPUT, element * wide + bit)

    def at_layer(at: int) -> Copies:
        return Copies(layer(fmt, states, stored, d), 1, lambda _, k: source(at, k))

    return Block(
        f"network with {layers} times {states} states, {stored} patterns, d = {d}, p = {fmt.bits}",
        (shared + layers * own) * wide,
        states * d * wide,
        tuple(at_layer(at) for at in range(layers)),
        lambda k: Wire(layers - 1, k),
    )
