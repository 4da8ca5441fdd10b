"""Networks of Hopfield layers, affine maps and LayerNorms as circuits (clauses MHN-CIR-5 and MHN-CIR-6)."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import implements
from hopspec.pbit import PBit, PBits
from hopspec.reference.circuits.blocks import INPUT, ZERO, Block, Copies, Gates, Kind, Wire
from hopspec.reference.circuits.encoding import encode, width
from hopspec.reference.circuits.floats import divide, dot, multiply, sqrt, subtract, sum_of
from hopspec.reference.circuits.integers import at_least
from hopspec.reference.circuits.layers import layer
from hopspec.reference.networks import Dense, Hopfield, LayerNorm, Network
from hopspec.reference.pbit import Arithmetic

__all__ = ["compiled", "dense", "inputs_of", "layer_norm", "with_weights"]


class _Shape(NamedTuple):
    """One layer: its circuit, the number of its parameters, and the length of the states it returns."""

    block: Block
    parameters: int
    out: int


@functools.cache
@implements("MHN-CIR-5")
def dense(fmt: PBits, states: int, d: int, k: int, *, rectify: bool) -> Block:
    """An affine map, rectified or not: depth 59 or 58. Clause MHN-CIR-5.

    Inputs: R [states, d], the matrix [d, k], the bias [k]. Outputs: [states, k].

    Args:
        fmt: the set F_p.
        states: number of states.
        d: their length.
        k: length of the results.
        rectify: whether negative results become 0.
    """
    wide = width(fmt)
    matrix, bias = states * d, states * d + d * k

    def factors(c: int, x: int) -> Wire:
        (i, a), (element, bit) = divmod(c, k), divmod(x, wide)
        second, j = divmod(element, d)
        return Wire(INPUT, (matrix + j * k + a if second else i * d + j) * wide + bit)

    def terms(c: int, x: int) -> Wire:
        return Wire(0, c * wide + x) if x < wide else Wire(INPUT, (bias + c % k) * wide + x - wide)

    stages: list[Gates | Copies] = [Copies(dot(fmt, d), states * k, factors)]
    stages.append(Copies(sum_of(fmt, 2), states * k, terms))
    if rectify:
        stages.append(
            # A negative number loses all its bits.
            Gates(
                Kind.THRESHOLD,
                states * k * wide,
                lambda _: 2,
                lambda x, j: Wire(1, x - x % wide if j else x),
                lambda _, j: -1 if j else 1,
                threshold=at_least(1),
            )
        )
    last = len(stages) - 1
    return Block(
        f"affine map of {states} states from {d} to {k}",
        (bias + k) * wide,
        states * k * wide,
        tuple(stages),
        lambda x: Wire(last, x),
    )


@functools.cache
@implements("MHN-CIR-5")
def layer_norm(fmt: PBits, states: int, d: int, epsilon: Fraction) -> Block:
    """LayerNorm of every state: depth 157. Clause MHN-CIR-5.

    Inputs: R [states, d], gain [d], bias [d]; the length and epsilon are constants. Outputs: [states, d].

    Args:
        fmt: the set F_p.
        states: number of states.
        d: their length.
        epsilon: added under the root.

    Raises:
        ValueError: if epsilon rounds to 0, so that the root could be 0.
    """
    wide, row = width(fmt), d * width(fmt)
    arithmetic = Arithmetic(fmt)
    if arithmetic.number(epsilon).m <= 0:
        raise ValueError(f"epsilon must round to a positive element of {fmt}, got {epsilon}")
    one, total, mean, centred, squares, variance, moved, root, scaled, gained, out = range(11)
    gain = states * d
    count, small = (encode([arithmetic.number(x)], fmt)[0].tolist() for x in (d, epsilon))

    def constant(bits: Sequence[int], k: int) -> Wire:
        return Wire(one, 0) if bits[k] else ZERO

    def after(stage: int, bits: Sequence[int]) -> Copies:
        block = divide(fmt) if bits is count else sum_of(fmt, 2)
        return Copies(
            block, states, lambda i, k: Wire(stage, i * wide + k) if k < wide else constant(bits, k - wide)
        )

    def with_row(block: Block, first: int, second: int) -> Copies:
        """Every entry with a number of its state."""
        return Copies(
            block,
            states * d,
            lambda c, k: Wire(first, c * wide + k) if k < wide else Wire(second, c // d * wide + k - wide),
        )

    def with_column(block: Block, first: int, start: int) -> Copies:
        """Every entry with a parameter of its column."""
        return Copies(
            block,
            states * d,
            lambda c, k: (
                Wire(first, c * wide + k) if k < wide else Wire(INPUT, (start + c % d) * wide + k - wide)
            ),
        )

    return Block(
        f"LayerNorm of {states} states of length {d}",
        (gain + 2 * d) * wide,
        states * row,
        (
            Gates(Kind.NOT, 1, lambda _: 1, lambda _, __: ZERO),
            Copies(sum_of(fmt, d), states, lambda i, k: Wire(INPUT, i * row + k)),
            after(total, count),
            with_row(subtract(fmt), INPUT, mean),
            Copies(dot(fmt, d), states, lambda i, k: Wire(centred, i * row + k % row)),
            after(squares, count),
            after(variance, small),
            Copies(sqrt(fmt), states, lambda i, k: Wire(moved, i * wide + k)),
            with_row(divide(fmt), centred, root),
            with_column(multiply(fmt), scaled, gain),
            with_column(sum_of(fmt, 2), gained, gain + d),
        ),
        lambda k: Wire(out, k),
    )


def _shape(of: Hopfield | Dense | LayerNorm, fmt: PBits, states: int, d: int) -> _Shape:
    """The circuit of a layer; only the sizes of the layer are looked at, and the epsilon of a LayerNorm."""
    if isinstance(of, Dense):
        k = len(of.bias)
        return _Shape(dense(fmt, states, d, k, rectify=of.rectify), d * k + k, k)
    if isinstance(of, LayerNorm):
        return _Shape(layer_norm(fmt, states, d, Fraction(of.epsilon)), 2 * d, d)
    sizes = {len(of.query[0]), len(of.key[0]), len(of.key), *({len(of.value[0])} if of.value else {d})}
    if of.value is None or not of.shift or sizes != {d}:
        raise ValueError(
            "a Hopfield layer in a circuit must have square matrices, a value matrix and a shift"
        )
    if of.stored is None:
        return _Shape(_on_itself(layer(fmt, states, states, d), states * d * width(fmt)), 3 * d * d + 1, d)
    stored = len(of.stored)
    return _Shape(layer(fmt, states, stored, d), stored * d + 3 * d * d + 1, d)


@functools.cache
def _on_itself(block: Block, shared: int) -> Block:
    """A block whose second ``shared`` inputs are the first ones."""
    return Block(
        f"{block.name}, stored in itself",
        block.inputs - shared,
        block.outputs,
        (Copies(block, 1, lambda _, k: Wire(INPUT, k if k < shared else k - shared)),),
        lambda k: Wire(0, k),
    )


@implements("MHN-CIR-6")
def compiled(network: Network, states: int, d: int, fmt: PBits) -> Block:
    """The circuit of a network of this shape. Clauses MHN-CIR-5 and MHN-CIR-6.

    Weights are inputs, and not looked at: the circuit is the same for all networks of one shape.

    Args:
        network: Hopfield layers with square matrices, affine maps and LayerNorms, in any order.
        states: number of states.
        d: their length at first.
        fmt: the set F_p.

    Raises:
        ValueError: if a Hopfield layer has no value matrix, matrices that are not square, or no shift.

    >>> from hopspec.reference.circuits import measure
    >>> from hopspec.reference.networks import random_network
    >>> fmt = PBits(3, -19, 1)
    >>> [measure(compiled(random_network(1, n, 2), n, 2, fmt)).depth for n in (2, 3)]
    [438, 438]
    """
    wide = width(fmt)
    start = states * d * wide
    stages: list[Copies] = []

    def stage(shape: _Shape, at: int, states_wide: int, start: int) -> Copies:
        def source(_: int, k: int) -> Wire:
            if k < states_wide:
                return Wire(at - 1, k)
            return Wire(INPUT, start + k - states_wide)

        return Copies(shape.block, 1, source)

    length = d
    for at, of in enumerate(network.layers):
        shape = _shape(of, fmt, states, length)
        # Stage -1 is the inputs, which begin with the states.
        stages.append(stage(shape, at, states * length * wide, start))
        start += shape.parameters * wide
        length = shape.out
    return Block(
        f"network of {len(stages)} layers on {states} states of length {d}, p = {fmt.bits}",
        start,
        states * length * wide,
        tuple(stages),
        lambda k: Wire(len(stages) - 1, k),
    )


def inputs_of(network: Network, state: Sequence[Sequence[float | Fraction]], fmt: PBits) -> NDArray[np.uint8]:
    """[inputs] The bits of states [L, d] and of the weights of a network, for its circuit."""
    arithmetic = Arithmetic(fmt)
    numbers: list[float | Fraction] = [x for row in state for x in row]

    def append(rows: Iterable[Iterable[float | Fraction]]) -> None:
        numbers.extend(x for row in rows for x in row)

    for of in network.layers:
        if isinstance(of, Dense):
            append([*of.weight, of.bias])
        elif isinstance(of, LayerNorm):
            append([of.gain, of.bias])
        else:
            append([*(of.stored or ()), *of.query, *of.key, *(of.value or ()), [of.beta]])
    elements: list[PBit] = [arithmetic.number(x) for x in numbers]
    return encode(elements, fmt).ravel()


def with_weights(
    network: Network, numbers: Iterator[Fraction], states: int, d: int
) -> tuple[list[list[Fraction]], Network]:
    """States [states, d] and a network of the shape of ``network``, from what :func:`inputs_of` encodes."""

    def matrix(like: Sequence[Sequence[object]]) -> list[list[Fraction]]:
        return [[next(numbers) for _ in row] for row in like]

    def filled(of: Hopfield | Dense | LayerNorm) -> Hopfield | Dense | LayerNorm:
        if isinstance(of, Dense):
            return replace(of, weight=matrix(of.weight), bias=matrix([of.bias])[0])
        if isinstance(of, LayerNorm):
            return replace(of, gain=matrix([of.gain])[0], bias=matrix([of.bias])[0])
        stored = matrix(of.stored) if of.stored is not None else None
        query, key = matrix(of.query), matrix(of.key)
        value = matrix(of.value) if of.value is not None else None
        return replace(of, stored=stored, query=query, key=key, value=value, beta=next(numbers))

    state = [[next(numbers) for _ in range(d)] for _ in range(states)]
    return state, Network(tuple(filled(of) for of in network.layers))
