"""Circuits for the operations of F_p (clauses MHN-CIR-4 and MHN-CIR-5).

An element is a sign, p bits of the significand and the exponent less the least one, see
:func:`hopspec.reference.circuits.encoding.encode`. Every function returns a description whose depth depends
neither on p, nor on the range of exponents, nor on how many numbers there are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from hopspec.clauses import implements
from hopspec.pbit import PBit, PBits
from hopspec.reference.circuits.blocks import INPUT, ZERO, Block, Copies, Gates, Kind, Wire
from hopspec.reference.circuits.encoding import exponent_width, width
from hopspec.reference.circuits.integers import (
    at_least,
    bit,
    comparison,
    iterated_sum,
    product,
    rounding,
    sum_table,
)
from hopspec.reference.pbit import Arithmetic

__all__ = [
    "compare",
    "divide",
    "dot",
    "exp",
    "exponents_of",
    "maximum",
    "multiply",
    "sqrt",
    "subtract",
    "sum_of",
    "unary",
]


def exponents_of(fmt: PBits) -> int:
    """Number of exponents of a set that circuits can compute in.

    Raises:
        ValueError: if underflow is gradual, so that some significands have no leading one.
    """
    if fmt.underflow == "gradual":
        raise ValueError(
            "fmt.underflow must be 'nearest', 'zero' or 'least' in circuits, which read a significand's "
            f"leading one, got {fmt.underflow!r}"
        )
    return fmt.greatest - fmt.least + 1


def _ceil_log2(n: int) -> int:
    return (n - 1).bit_length()


def _clipped(value: int, count: int) -> int:
    return min(max(value, 0), count - 1)


@functools.cache
def _aligned(fmt: PBits) -> Block:
    """A number as a multiple of ``2**least``: if negative, its complement. Depth 3."""
    p, count, q = fmt.bits, exponents_of(fmt), exponent_width(fmt)
    places = p + count - 1

    def field(x: int, i: int) -> Wire:
        return Wire(INPUT, 1 + p + i) if i < q else Wire(INPUT, 0)

    def shifted(x: int, j: int) -> Wire:
        case, i = divmod(x, p)
        return Wire(INPUT, 1 + i) if j else Wire(0, case)

    def source(k: int, x: int) -> Wire:
        negative, i = divmod(x, p)
        if negative == 2:
            return Wire(INPUT, 0)
        e = k - i
        return Wire(1, (negative * count + e) * p + i) if 0 <= e < count else ZERO

    return Block(
        "alignment",
        width(fmt),
        places + 1,
        (
            Gates(
                Kind.THRESHOLD,
                2 * count,
                lambda _: q + 1,
                field,
                lambda x, i: 1 if bit(x % count if i < q else x // count, i if i < q else 0) else -1,
                threshold=lambda x, _: (x % count).bit_count() + x // count,
            ),
            Gates(Kind.AND, 2 * count * p, lambda _: 2, shifted),
            Gates(
                Kind.THRESHOLD,
                places,
                lambda _: 2 * p + 1,
                source,
                lambda _, x: -1 if p <= x < 2 * p else 1,
                threshold=at_least(1),
            ),
        ),
        lambda k: Wire(2, k) if k < places else Wire(INPUT, 0),
    )


@functools.cache
def _magnitude(places: int) -> Block:
    """The absolute value of a number in two's complement, of one bit less, and its sign. Depth 3."""
    sign = places - 1

    def flip(k: int, j: int) -> Wire:
        return Wire(INPUT, j - 1 if j else sign)

    def parts(k: int, j: int) -> Wire:
        return (Wire(INPUT, k), Wire(0, k), Wire(1, k))[j]

    return Block(
        "absolute value",
        places,
        places,
        (
            # Bits above the lowest one change.
            Gates(
                Kind.THRESHOLD,
                sign,
                lambda k: k + 1,
                flip,
                lambda _, j: 1 if j else places,
                threshold=at_least(places + 1),
            ),
            Gates(Kind.AND, sign, lambda _: 2, parts),
            Gates(
                Kind.THRESHOLD,
                sign,
                lambda _: 3,
                parts,
                lambda _, j: -2 if j == 2 else 1,
                threshold=at_least(1),
            ),
        ),
        lambda k: Wire(2, k) if k < sign else Wire(INPUT, sign),
    )


@functools.cache
def _from_multiple(fmt: PBits, places: int) -> Block:
    """A multiple of ``2**least``, and a sign, rounded to an element. Depth 9."""
    p, count, q = fmt.bits, exponents_of(fmt), exponent_width(fmt)
    last = p + count - 2
    rounded, raised, over, least, there, exponent, digits, sign = range(8)
    carry, more, lead = Wire(rounded, p - 1), Wire(rounded, p), p + 1

    def leads(k: int) -> Wire:
        return Wire(rounded, lead + k) if k < places else ZERO

    def beyond(_: int, j: int) -> Wire:
        k = last + j
        return leads(k) if j else Wire(raised, last) if last < places else ZERO

    def element(_: int, j: int) -> Wire:
        if j < 2:
            return Wire(least, 0) if j else Wire(raised, p - 2) if p - 2 < places else ZERO
        return leads(p - 3 + j)

    # What makes a number smaller than the least element that element.
    if fmt.underflow == "least":
        tiny = Gates(Kind.OR, 1, lambda _: p - 1, lambda _, k: leads(k))
    else:
        half = leads(p - 2) if fmt.underflow == "nearest" else ZERO
        tiny = Gates(Kind.AND, 1, lambda _: 2, lambda _, j: more if j else half)

    def place(j: int, x: int) -> Wire:
        return Wire(raised, x // 2) if x % 2 else leads(x // 2)

    def place_weight(j: int, x: int) -> int:
        k = x // 2
        here = bit(_clipped(k - p + 1, count), j)
        return bit(_clipped(k - p + 2, count), j) - here if x % 2 else here

    def digit(i: int, j: int) -> Wire:
        return (Wire(rounded, i), Wire(over, 0))[j] if j < 2 else leads(j - 2)

    def output(k: int) -> Wire:
        if k in (0, p):
            return Wire(there if k else sign, 0)
        return Wire(digits, k - 1) if k < p else Wire(exponent, k - p - 1)

    return Block(
        f"element from {places} bits",
        places + 1,
        width(fmt),
        (
            Copies(rounding(places, p), 1, lambda _, k: Wire(INPUT, k) if k < places else ZERO),
            Gates(Kind.AND, places, lambda _: 2, lambda k, j: carry if j else leads(k)),
            Gates(Kind.OR, 1, lambda _: 1 + max(0, places - 1 - last), beyond),
            tiny,
            Gates(Kind.OR, 1, lambda _: 2 + max(0, places - p + 1), element),
            Gates(Kind.THRESHOLD, q, lambda _: 2 * places, place, place_weight, threshold=at_least(1)),
            Gates(
                Kind.THRESHOLD,
                p - 1,
                lambda _: 2 + min(p - 1, places),
                digit,
                lambda _, j: (1, 2)[j] if j < 2 else -1,
                threshold=at_least(1),
            ),
            Gates(Kind.AND, 1, lambda _: 2, lambda _, j: Wire(there, 0) if j else Wire(INPUT, places)),
        ),
        output,
    )


@functools.cache
@implements("MHN-CIR-5")
def sum_of(fmt: PBits, terms: int) -> Block:
    """The exact sum of elements, rounded once: depth 21. Clause MHN-CIR-5.

    Raises:
        ValueError: if ``terms`` is less than 1, or ``fmt.underflow`` is "gradual".

    Args:
        fmt: the set F_p.
        terms: how many.
    """
    if terms < 1:
        raise ValueError(f"terms must be at least 1, got {terms}")
    places, wide = fmt.bits + exponents_of(fmt) - 1, width(fmt)
    total = places + 1 + _ceil_log2(terms)
    return Block(
        f"sum of {terms} elements",
        terms * wide,
        wide,
        (
            Copies(_aligned(fmt), terms, lambda i, k: Wire(INPUT, i * wide + k)),
            Copies(iterated_sum(terms, places, total, signed=True), 1, lambda _, x: Wire(0, x)),
            Copies(_magnitude(total), 1, lambda _, k: Wire(1, k)),
            Copies(_from_multiple(fmt, total - 1), 1, lambda _, k: Wire(2, k)),
        ),
        lambda k: Wire(3, k),
    )


@functools.cache
@implements("MHN-CIR-5")
def subtract(fmt: PBits) -> Block:
    """The difference of two elements, rounded once: depth 22. Clause MHN-CIR-5."""
    wide, p = width(fmt), fmt.bits
    return Block(
        "difference",
        2 * wide,
        wide,
        (
            # Zero has no sign to change.
            Gates(
                Kind.THRESHOLD,
                1,
                lambda _: 2,
                lambda _, j: Wire(INPUT, wide if j else wide + p),
                lambda _, j: -1 if j else 1,
                threshold=at_least(1),
            ),
            Copies(sum_of(fmt, 2), 1, lambda _, k: Wire(0, 0) if k == wide else Wire(INPUT, k)),
        ),
        lambda k: Wire(1, k),
    )


@functools.cache
def _finished(fmt: PBits, offset: int, quotient: bool) -> Block:
    """An element from a rounded significand and the exponent ``E1 +- E2 + high + carry + offset``. Depth 5.

    Inputs: E1, E2; high; carry; whether the exact result is no power of two; whether it is not zero; its
    sign; p - 1 digits.
    """
    p, count, q = fmt.bits, exponents_of(fmt), exponent_width(fmt)
    more, there, sign, digits = (Wire(INPUT, 2 * q + k) for k in range(2, 6))
    lowest = 1 - count if quotient else 0
    most = (count - 1 if quotient else 2 * count - 2) + 2
    reached, before, over, least, top, exponent, digit, signed = range(8)

    def exponent_sum(_: int, j: int) -> Wire:
        return Wire(INPUT, j)

    def weight(_: int, j: int) -> int:
        if j >= 2 * q:
            return 1
        return -(1 << j - q) if j >= q and quotient else 1 << j % q

    def value(v: int) -> int:
        return _clipped(v + offset, count)

    def with_top(j: int, c: int) -> Wire:
        return Wire(reached, c) if c < most - lowest else Wire(top, 0)

    def changes(j: int, c: int) -> int:
        if c == most - lowest:
            return 1
        return bit(value(lowest + c + 1), j) - bit(value(lowest + c), j)

    # What makes a number smaller than the least element that element.
    tiny = {"nearest": (Wire(before, 0), more), "zero": (ZERO, more), "least": (there, there)}[fmt.underflow]

    def present(_: int, j: int) -> Wire:
        return (there, Wire(before, 1), Wire(least, 0))[j]

    def kept(i: int, j: int) -> Wire:
        return (Wire(INPUT, digits.number + i), Wire(before, 2), there, Wire(over, 0))[j]

    def output(k: int) -> Wire:
        if k in (0, p):
            return Wire(top if k else signed, 0)
        return Wire(digit, k - 1) if k < p else Wire(exponent, k - p - 1)

    return Block(
        "element from a significand and exponents",
        2 * q + 6 + p - 2,
        width(fmt),
        (
            Gates(
                Kind.THRESHOLD,
                1,
                lambda _: 2 * q + 2,
                exponent_sum,
                weight,
                per=most - lowest,
                threshold=lambda _, c: lowest + c + 1,
            ),
            # Rows 0 and 2 leave the carry of rounding out: at least -1, and at least 0. Rows 1 and 3 do not:
            # at least 0, and too large.
            Gates(
                Kind.THRESHOLD,
                4,
                lambda row: 2 * q + 1 + row % 2,
                exponent_sum,
                weight,
                threshold=lambda row, _: (-1, 0, 0, count)[row] - offset,
            ),
            Gates(Kind.AND, 1, lambda _: 2, lambda _, j: there if j else Wire(before, 3)),
            Gates(Kind.AND, 1, lambda _: 2, lambda _, j: tiny[j]),
            Gates(
                Kind.THRESHOLD,
                1,
                lambda _: 3,
                present,
                lambda _, j: 1 if j else 2,
                threshold=at_least(3),
            ),
            Gates(
                Kind.THRESHOLD,
                q,
                lambda _: most - lowest + 1,
                with_top,
                changes,
                threshold=lambda j, _: 2 - bit(value(lowest), j),
            ),
            Gates(
                Kind.THRESHOLD,
                p - 1,
                lambda _: 4,
                kept,
                lambda _, j: 3 if j == 3 else 1,
                threshold=at_least(3),
            ),
            Gates(Kind.AND, 1, lambda _: 2, lambda _, j: Wire(top, 0) if j else sign),
        ),
        output,
    )


def _signs(first: int, second: int) -> tuple[Gates, Gates]:
    """Two stages, the first of which must be stage 0: whether two signs differ is ``Wire(1, 0)``."""

    def parts(_: int, j: int) -> Wire:
        return (Wire(INPUT, first), Wire(INPUT, second), Wire(0, 0))[j]

    return (
        Gates(Kind.AND, 1, lambda _: 2, parts),
        Gates(
            Kind.THRESHOLD,
            1,
            lambda _: 3,
            parts,
            lambda _, j: -2 if j == 2 else 1,
            threshold=at_least(1),
        ),
    )


@functools.cache
@implements("MHN-CIR-5")
def multiply(fmt: PBits) -> Block:
    """The product of two elements, rounded once: depth 16. Clause MHN-CIR-5."""
    p, q, wide = fmt.bits, exponent_width(fmt), width(fmt)
    times, rounded, there, finished = range(2, 6)
    lead = p + 1

    def finish(_: int, k: int) -> Wire:
        if k < 2 * q:
            return Wire(INPUT, k // q * wide + 1 + p + k % q)
        k -= 2 * q
        if k < 5:
            return (
                Wire(rounded, lead + 2 * p - 1),
                Wire(rounded, p - 1),
                Wire(rounded, p),
                Wire(there, 0),
                Wire(1, 0),
            )[k]
        return Wire(rounded, k - 5)

    return Block(
        "product",
        2 * wide,
        wide,
        (
            *_signs(0, wide),
            Copies(product(p, p), 1, lambda _, k: Wire(INPUT, k // p * wide + 1 + k % p)),
            Copies(rounding(2 * p, p), 1, lambda _, k: Wire(times, k) if k < 2 * p else ZERO),
            Gates(Kind.AND, 1, lambda _: 2, lambda _, j: Wire(INPUT, j * wide + p)),
            Copies(_finished(fmt, fmt.least + p - 1, False), 1, finish),
        ),
        lambda k: Wire(finished, k),
    )


@functools.cache
@implements("MHN-CIR-5")
def divide(fmt: PBits) -> Block:
    """The quotient of two elements, rounded once; of no meaning where the second is zero. Clause MHN-CIR-5.

    The significand comes from a table with ``4**(p - 1)`` entries.
    """
    p, q, wide = fmt.bits, exponent_width(fmt), width(fmt)
    half = 1 << p - 1

    @functools.cache
    def significand(v: int) -> int:
        """The digits below the leading one, whether x >= y, and whether x and y differ."""
        x, y = half + v // half, half + v % half
        high = x >= y
        quotient, rest = divmod(x << p - 1 if high else x << p, y)
        up = 2 * rest > y or (2 * rest == y and quotient & 1)
        return (quotient + up) % half | high << p - 1 | (x != y) << p

    table = sum_table(
        "quotient of significands",
        2 * p - 2,
        lambda k: 1 << (k + p - 1) % (2 * p - 2),
        0,
        half * half - 1,
        p + 1,
        significand,
    )

    def finish(_: int, k: int) -> Wire:
        if k < 2 * q:
            return Wire(INPUT, k // q * wide + 1 + p + k % q)
        k -= 2 * q
        if k < 5:
            return (Wire(2, p - 1), ZERO, Wire(2, p), Wire(INPUT, p), Wire(1, 0))[k]
        return Wire(2, k - 5)

    return Block(
        "quotient",
        2 * wide,
        wide,
        (
            *_signs(0, wide),
            Copies(table, 1, lambda _, k: Wire(INPUT, k // (p - 1) * wide + 1 + k % (p - 1))),
            Copies(_finished(fmt, -p - fmt.least, True), 1, finish),
        ),
        lambda k: Wire(3, k),
    )


def unary(fmt: PBits, name: str, function: Callable[[PBit], PBit], *, signed: bool = True) -> Block:
    """Any function of one element as a table of depth 2. Clause MHN-CIR-4.

    The elements are numbered in the order of their sizes, the negative ones behind the others.

    Args:
        fmt: the set F_p.
        name: what it computes.
        function: from an element to an element.
        signed: whether negative elements are in the table; otherwise their sign is not looked at.
    """
    p, q, count = fmt.bits, exponent_width(fmt), exponents_of(fmt)
    half = 1 << p - 1
    side = (count + 1) * half

    @functools.cache
    def entry(v: int) -> int:
        negative, size = divmod(v, side)
        x = fmt.zero
        if size >= half:
            e, m = divmod(size - half, half)
            x = PBit(-(half + m) if negative else half + m, fmt.least + e)
        y = function(x)
        return (y.e - fmt.least << p | abs(y.m)) << 1 | (y.m < 0)

    def weight(k: int) -> int:
        if not k:
            return side if signed else 0
        return 1 << k - 1 if k <= p else half << k - p - 1

    return sum_table(name, width(fmt), weight, 0, side * (1 + signed) - 1, 1 + p + q, entry)


@functools.cache
@implements("MHN-CIR-5")
def exp(fmt: PBits, *, signed: bool = True) -> Block:
    """The exponential, rounded once: depth 2. Clause MHN-CIR-5.

    Args:
        fmt: the set F_p.
        signed: with False, of minus the size of the element: for arguments known not to be positive.
    """
    arithmetic = Arithmetic(fmt)
    if signed:
        return unary(fmt, "exp", arithmetic.exp)
    return unary(fmt, "exp of minus", lambda x: arithmetic.exp(arithmetic.negate(x)), signed=False)


@functools.cache
@implements("MHN-CIR-5")
def sqrt(fmt: PBits) -> Block:
    """The square root of the size of an element, rounded once: depth 2. Clause MHN-CIR-5."""
    return unary(fmt, "square root", Arithmetic(fmt).sqrt, signed=False)


@functools.cache
@implements("MHN-CIR-5")
def dot(fmt: PBits, terms: int) -> Block:
    """The exact sum of rounded products, rounded once: depth 37. Clause MHN-CIR-5.

    Inputs: the elements of one vector, then those of the other.
    """
    wide = width(fmt)

    def pair(i: int, k: int) -> Wire:
        second, j = divmod(k, wide)
        return Wire(INPUT, (second * terms + i) * wide + j)

    return Block(
        f"inner product of {terms} elements",
        2 * terms * wide,
        wide,
        (
            Copies(multiply(fmt), terms, pair),
            Copies(sum_of(fmt, terms), 1, lambda _, k: Wire(0, k)),
        ),
        lambda k: Wire(1, k),
    )


@functools.cache
def _keys(fmt: PBits) -> Block:
    """Bits that order elements as unsigned integers. Depth 2."""
    wide = width(fmt)

    def parts(k: int, j: int) -> Wire:
        return (Wire(INPUT, 0), Wire(INPUT, 1 + k), Wire(1, k))[j]

    return Block(
        "order of an element",
        wide,
        wide,
        (
            Gates(Kind.NOT, 1, lambda _: 1, lambda _, __: Wire(INPUT, 0)),
            Gates(Kind.AND, wide - 1, lambda _: 2, parts),
            Gates(
                Kind.THRESHOLD,
                wide - 1,
                lambda _: 3,
                parts,
                lambda _, j: -2 if j == 2 else 1,
                threshold=at_least(1),
            ),
        ),
        lambda k: Wire(2, k) if k < wide - 1 else Wire(0, 0),
    )


@functools.cache
@implements("MHN-CIR-5")
def compare(fmt: PBits) -> Block:
    """Whether x > y, and whether x >= y: depth 5. Clause MHN-CIR-5."""
    wide = width(fmt)
    return Block(
        "comparison",
        2 * wide,
        2,
        (
            Copies(_keys(fmt), 2, lambda i, k: Wire(INPUT, i * wide + k)),
            Copies(comparison(wide), 1, lambda _, k: Wire(0, k)),
        ),
        lambda k: Wire(1, k),
    )


@functools.cache
@implements("MHN-CIR-5")
def maximum(fmt: PBits, terms: int) -> Block:
    """The largest of some elements: depth 8, all pairs compared at once. Clause MHN-CIR-5."""
    wide = width(fmt)

    def pair(c: int, k: int) -> Wire:
        second, j = divmod(k, wide)
        return Wire(0, (c % terms if second else c // terms) * wide + j)

    return Block(
        f"largest of {terms} elements",
        terms * wide,
        wide,
        (
            Copies(_keys(fmt), terms, lambda i, k: Wire(INPUT, i * wide + k)),
            Copies(comparison(wide), terms * terms, pair),
            Gates(Kind.AND, terms, lambda _: terms, lambda i, j: Wire(1, 2 * (i * terms + j) + 1)),
            Gates(
                Kind.AND,
                terms * wide,
                lambda _: 2,
                lambda x, j: Wire(INPUT, x) if j else Wire(2, x // wide),
            ),
            # Equal elements have equal bits, so that it does not matter if several are largest.
            Gates(Kind.OR, wide, lambda _: terms, lambda k, i: Wire(3, i * wide + k)),
        ),
        lambda k: Wire(4, k),
    )
