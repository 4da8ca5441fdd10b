"""What circuits can be asked for by name: the circuit, inputs to try it on, and what it has to give."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, product

import numpy as np
from numpy.typing import NDArray

from hopspec.pbit import PBit, PBits
from hopspec.reference.circuits import (
    compiling,
    floats,
    integers,
    layers,
    problems,
    products,
    remainders,
)
from hopspec.reference.circuits.blocks import Block
from hopspec.reference.circuits.encoding import decode, encode, width
from hopspec.reference.networks import Network, evaluate, random_network
from hopspec.reference.pbit import Arithmetic, elements

__all__ = ["FUNCTIONS", "Function", "format_of"]

Bits = NDArray[np.uint8]
Sizes = Mapping[str, int]
# Inputs in one piece of all there are.
PIECE = 4096


@dataclass(frozen=True, slots=True)
class Function:
    """A family of circuits.

    Args:
        sizes: names of its sizes, all of them integers.
        block: the circuit for some sizes.
        draw: [cases, inputs] Bits to try it on, from sizes, a source of randomness and a number of cases.
        expected: [cases, outputs] What it has to give on some bits, computed without a circuit.
        every: how many inputs there are in its domain, and all of them in pieces [cases, inputs].
    """

    sizes: tuple[str, ...]
    block: Callable[[Sizes], Block]
    draw: Callable[[Sizes, np.random.Generator, int], Bits]
    expected: Callable[[Sizes, Bits], Bits]
    every: Callable[[Sizes], tuple[int, Iterator[Bits]]]


def format_of(sizes: Sizes) -> PBits:
    """The set F_p of the sizes ``bits``, ``least`` and ``greatest``.

    >>> format_of({"bits": 4, "least": -8, "greatest": 7}).largest
    PBit(m=15, e=7)
    """
    return PBits(sizes["bits"], sizes["least"], sizes["greatest"])


def _to_numbers(bits: Bits, wide: int) -> list[list[int]]:
    """Rows of numbers of ``wide`` bits each."""
    rows = bits.reshape(len(bits), -1, wide).tolist()
    return [[sum(b << k for k, b in enumerate(number)) for number in row] for row in rows]


def _to_bits(numbers: Sequence[int], wide: int) -> Bits:
    rows = [[x >> k & 1 for k in range(wide)] for x in numbers]
    return np.array(rows, np.uint8).reshape(len(numbers), wide)


def _drawn_numbers(count: int, wide: int, rng: np.random.Generator, cases: int) -> Bits:
    """Some numbers are zero, some all ones, some have few bits set: carries then run far."""
    shape = (cases, count, 1)
    density = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0], shape, p=[0.05, 0.2, 0.45, 0.2, 0.1])
    return (rng.random((cases, count, wide)) < density).reshape(cases, -1).astype(np.uint8)


def _every_number(inputs: int) -> tuple[int, Iterator[Bits]]:
    places = np.arange(inputs)
    starts = range(0, 1 << inputs, PIECE)
    pieces = (np.arange(k, min(k + PIECE, 1 << inputs))[:, None] >> places & 1 for k in starts)
    return 1 << inputs, (piece.astype(np.uint8) for piece in pieces)


def _every_element(
    fmt: PBits, count: int, allowed: Callable[[PBits, list[PBit]], list[PBit]]
) -> tuple[int, Iterator[Bits]]:
    """All rows of ``count`` elements that are allowed, and how many there are before some are left out."""
    there = list(elements(fmt))
    rows = (row for row in map(list, product(there, repeat=count)) if allowed(fmt, row) == row)

    def pieces() -> Iterator[Bits]:
        while piece := list(islice(rows, PIECE)):
            yield encode(chain.from_iterable(piece), fmt).reshape(len(piece), -1)

    return len(there) ** count, pieces()


def _of_integers(
    names: tuple[str, ...],
    block: Callable[[Sizes], Block],
    count: Callable[[Sizes], int],
    wide: Callable[[Sizes], int],
    total: Callable[[Sizes], int],
    value: Callable[[Sizes, list[int]], int],
) -> Function:
    def draw(sizes: Sizes, rng: np.random.Generator, cases: int) -> Bits:
        return _drawn_numbers(count(sizes), wide(sizes), rng, cases)

    def expected(sizes: Sizes, inputs: Bits) -> Bits:
        outputs = total(sizes)
        values = [value(sizes, row) for row in _to_numbers(inputs, wide(sizes))]
        return _to_bits([x % (1 << outputs) for x in values], outputs)

    return Function(names, block, draw, expected, lambda s: _every_number(count(s) * wide(s)))


def _sum_width(sizes: Sizes) -> int:
    return sizes["width"] + sizes["numbers"].bit_length()


def _elements(fmt: PBits, rng: np.random.Generator, count: int) -> list[PBit]:
    """Elements with exponents that are often near each other, so that sums cancel and products are ties."""
    reach = fmt.greatest - fmt.least + 1
    near = int(rng.integers(reach))
    spread = int(rng.integers(1, reach + 1))
    found = []
    for _ in range(count):
        e = fmt.least + min(max(near + int(rng.integers(-spread, spread + 1)), 0), reach - 1)
        m = int(rng.integers(1 << fmt.bits - 1, 1 << fmt.bits))
        sign = int(rng.choice([-1, 0, 1], p=[0.45, 0.1, 0.45]))
        found.append(PBit(sign * m, e) if sign else fmt.zero)
    return found


def _factors(fmt: PBits, rng: np.random.Generator, count: int) -> list[PBit]:
    """Elements whose product lies in the range of exponents or next to it, wherever that is possible."""
    half = 1 << fmt.bits - 1
    # Powers of two among them make ties.
    sizes = np.where(rng.random(count) < rng.random(), half, rng.integers(half, 2 * half, count)).tolist()
    exponents = rng.integers(fmt.least, fmt.greatest + 1, count).tolist()
    goal = int(rng.integers(fmt.least - 2, fmt.greatest + 3)) + fmt.bits - math.prod(sizes).bit_length()
    for i, e in enumerate(exponents):
        exponents[i] = min(max(e + goal - sum(exponents), fmt.least), fmt.greatest)
    signs = rng.choice([-1, 1], count).tolist()
    found = [PBit(s * m, e) for s, m, e in zip(signs, sizes, exponents, strict=True)]
    if not rng.integers(16):
        found[int(rng.integers(count))] = fmt.zero
    return found


def _of_elements(
    block: Callable[[PBits, int], Block],
    count: Callable[[int], int],
    value: Callable[[Arithmetic, list[PBit]], PBit],
    names: tuple[str, ...] = ("bits", "least", "greatest"),
    allowed: Callable[[PBits, list[PBit]], list[PBit]] = lambda _, xs: xs,
    drawn: Callable[[PBits, np.random.Generator, int], list[PBit]] = _elements,
) -> Function:
    def terms(sizes: Sizes) -> int:
        return sizes.get("terms", 1)

    def draw(sizes: Sizes, rng: np.random.Generator, cases: int) -> Bits:
        fmt = format_of(sizes)
        rows = [allowed(fmt, drawn(fmt, rng, count(terms(sizes)))) for _ in range(cases)]
        return np.array([encode(row, fmt).ravel() for row in rows], np.uint8)

    def expected(sizes: Sizes, inputs: Bits) -> Bits:
        fmt = format_of(sizes)
        arithmetic = Arithmetic(fmt)
        numbers = decode(inputs.reshape(-1, width(fmt)), fmt)
        n = count(terms(sizes))
        rows = [numbers[i : i + n] for i in range(0, len(numbers), n)]
        return encode([value(arithmetic, row) for row in rows], fmt)

    def every(sizes: Sizes) -> tuple[int, Iterator[Bits]]:
        return _every_element(format_of(sizes), count(terms(sizes)), allowed)

    return Function(names, lambda sizes: block(format_of(sizes), terms(sizes)), draw, expected, every)


def _not_zero_divisor(fmt: PBits, xs: list[PBit]) -> list[PBit]:
    x, y = xs
    return [x, y if y.m else fmt.largest]


def _not_negative(_: PBits, xs: list[PBit]) -> list[PBit]:
    return [PBit(abs(x.m), x.e) for x in xs]


def _format_and_shape(sizes: Sizes) -> tuple[PBits, int, int, int, int]:
    return format_of(sizes), sizes["layers"], sizes["states"], sizes["stored"], sizes["d"]


def _network_block(sizes: Sizes) -> Block:
    return layers.network(*_format_and_shape(sizes))


def _network_draw(sizes: Sizes, rng: np.random.Generator, cases: int) -> Bits:
    return np.array([problems.draw(*_format_and_shape(sizes), rng) for _ in range(cases)])


def _network_expected(sizes: Sizes, inputs: Bits) -> Bits:
    return np.array([problems.evaluated(row, *_format_and_shape(sizes)) for row in inputs])


def _full_network(sizes: Sizes, seed: int = 0) -> Network:
    return random_network(sizes["layers"], sizes["hidden"], sizes["d"], seed)


def _full_block(sizes: Sizes) -> Block:
    return compiling.compiled(_full_network(sizes), sizes["states"], sizes["d"], format_of(sizes))


def _full_draw(sizes: Sizes, rng: np.random.Generator, cases: int) -> Bits:
    fmt, shape = format_of(sizes), (sizes["states"], sizes["d"])
    return np.array(
        [
            compiling.inputs_of(
                _full_network(sizes, int(rng.integers(1 << 32))), rng.normal(size=shape).tolist(), fmt
            )
            for _ in range(cases)
        ]
    )


def _full_expected(sizes: Sizes, inputs: Bits) -> Bits:
    fmt, like = format_of(sizes), _full_network(sizes)
    found = []
    for row in inputs:
        numbers = (x.fraction for x in decode(row.reshape(-1, width(fmt)), fmt))
        state, network = compiling.with_weights(like, numbers, sizes["states"], sizes["d"])
        found.append(encode(chain.from_iterable(evaluate(network, state, fmt)), fmt).ravel())
    return np.array(found, np.uint8)


def _every_network(block: Callable[[Sizes], Block]) -> Callable[[Sizes], tuple[int, Iterator[Bits]]]:
    def every(sizes: Sizes) -> tuple[int, Iterator[Bits]]:
        fmt = format_of(sizes)
        return _every_element(fmt, block(sizes).inputs // width(fmt), lambda _, xs: xs)

    return every


def _rounded(sizes: Sizes, numbers: list[int]) -> int:
    """The outputs of the rounding of one number, as one number; the sticky bit is its first digit."""
    x, bits = numbers[0], sizes["bits"]
    sticky, x = x >> sizes["width"], x & (1 << sizes["width"]) - 1
    if not x:
        return 0
    lead = x.bit_length() - 1
    # Without room below the last digit kept, the sticky bit stands for less than half of it.
    scaled = (x << bits + 2) + sticky
    shift = lead + 3
    quotient, rest = divmod(scaled, 1 << shift)
    half = 1 << shift - 1
    quotient += rest > half or (rest == half and quotient & 1)
    carried = quotient >> bits
    digits = 0 if carried else quotient - (1 << bits - 1)
    more = sticky or x & (x - 1) != 0
    return digits | carried << bits - 1 | more << bits | 1 << bits + 1 + lead


_TERMS = ("bits", "least", "greatest", "terms")

FUNCTIONS: dict[str, Function] = {
    "addition": _of_integers(
        ("width",),
        lambda s: integers.carry_lookahead(s["width"]),
        lambda s: 2,
        lambda s: s["width"],
        lambda s: s["width"],
        lambda s, xs: sum(xs),
    ),
    "iterated-sum": _of_integers(
        ("numbers", "width"),
        lambda s: integers.iterated_sum(s["numbers"], s["width"], _sum_width(s)),
        lambda s: s["numbers"],
        lambda s: s["width"],
        _sum_width,
        lambda s, xs: sum(xs),
    ),
    "product": _of_integers(
        ("width",),
        lambda s: integers.product(s["width"], s["width"]),
        lambda s: 2,
        lambda s: s["width"],
        lambda s: 2 * s["width"],
        lambda s, xs: math.prod(xs),
    ),
    "comparison": _of_integers(
        ("width",),
        lambda s: integers.comparison(s["width"]),
        lambda s: 2,
        lambda s: s["width"],
        lambda s: 2,
        lambda s, xs: (xs[0] > xs[1]) + 2 * (xs[0] >= xs[1]),
    ),
    "rounding": _of_integers(
        ("width", "bits"),
        lambda s: integers.rounding(s["width"], s["bits"]),
        lambda s: 1,
        lambda s: s["width"] + 1,
        lambda s: s["width"] + s["bits"] + 1,
        _rounded,
    ),
    "iterated-product": _of_integers(
        ("numbers", "width"),
        lambda s: remainders.iterated_product(s["numbers"], s["width"]),
        lambda s: s["numbers"],
        lambda s: s["width"],
        lambda s: s["numbers"] * s["width"],
        lambda s, xs: math.prod(xs),
    ),
    "sum": _of_elements(floats.sum_of, lambda n: n, lambda f, xs: f.sum(xs), _TERMS),
    "product-of-elements": _of_elements(
        products.product_of, lambda n: n, lambda f, xs: f.product(xs), _TERMS, drawn=_factors
    ),
    "maximum": _of_elements(floats.maximum, lambda n: n, lambda f, xs: f.maximum(xs), _TERMS),
    "dot": _of_elements(
        floats.dot,
        lambda n: 2 * n,
        lambda f, xs: f.dot(xs[: len(xs) // 2], xs[len(xs) // 2 :]),
        _TERMS,
    ),
    "multiply": _of_elements(lambda fmt, _: floats.multiply(fmt), lambda _: 2, lambda f, xs: f.multiply(*xs)),
    "subtract": _of_elements(lambda fmt, _: floats.subtract(fmt), lambda _: 2, lambda f, xs: f.subtract(*xs)),
    "divide": _of_elements(
        lambda fmt, _: floats.divide(fmt),
        lambda _: 2,
        lambda f, xs: f.divide(*xs),
        allowed=_not_zero_divisor,
    ),
    "exp": _of_elements(lambda fmt, _: floats.exp(fmt), lambda _: 1, lambda f, xs: f.exp(*xs)),
    "sqrt": _of_elements(
        lambda fmt, _: floats.sqrt(fmt), lambda _: 1, lambda f, xs: f.sqrt(*xs), allowed=_not_negative
    ),
    "network": Function(
        ("bits", "least", "greatest", "layers", "states", "stored", "d"),
        _network_block,
        _network_draw,
        _network_expected,
        _every_network(_network_block),
    ),
    "full-network": Function(
        ("bits", "least", "greatest", "layers", "states", "d", "hidden"),
        _full_block,
        _full_draw,
        _full_expected,
        _every_network(_full_block),
    ),
}
