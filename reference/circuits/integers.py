"""Circuits for integers of any width: sums, products, comparison, shifts, leading ones and rounding.

Numbers are little-endian bits. Every function returns a description (:class:`Block`), whose depth does not
depend on the widths or on how many numbers there are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from hopspec.clauses import implements
from hopspec.reference.circuits.blocks import INPUT, ZERO, Block, Copies, Gates, Kind, Wire

__all__ = [
    "block_width",
    "carry_lookahead",
    "comparison",
    "iterated_sum",
    "leading_one",
    "pair_at",
    "pair_index",
    "product",
    "rounding",
    "shift",
    "sum_table",
]


def at_least(value: int) -> Callable[[int, int], int]:
    """The same threshold for every gate."""
    return lambda _row, _which: value


def bit(value: int, position: int) -> int:
    """One binary digit of a number that is not negative."""
    return value >> position & 1


@implements("MHN-CIR-4")
def sum_table(
    name: str,
    inputs: int,
    weight: Callable[[int], int],
    low: int,
    high: int,
    outputs: int,
    function: Callable[[int], int],
) -> Block:
    """A function of a weighted sum of bits that lies between ``low`` and ``high``: depth 2.

    Gate ``c`` of the first layer is 1 if the sum exceeds ``low + c``; output ``j`` adds the changes of digit
    ``j`` of the function from one value to the next, up to the sum. Clause MHN-CIR-4.

    Args:
        name: what it computes.
        inputs: number of bits.
        weight: of a bit.
        low: least value of the sum.
        high: largest value.
        outputs: number of binary digits of the function's values.
        function: from the sum to an integer that is not negative.

    >>> square = sum_table("square", 2, lambda k: 1 << k, 0, 3, 4, lambda v: v * v)
    >>> square.size
    7
    """
    steps = high - low

    def change(j: int, c: int) -> int:
        return bit(function(low + c + 1), j) - bit(function(low + c), j)

    return Block(
        name,
        inputs,
        outputs,
        (
            Gates(
                Kind.THRESHOLD,
                1,
                lambda _: inputs,
                lambda _, k: Wire(INPUT, k),
                lambda _, k: weight(k),
                per=steps,
                threshold=lambda _, c: low + c + 1,
            ),
            Gates(
                Kind.THRESHOLD,
                outputs,
                lambda _: steps,
                lambda _, c: Wire(0, c),
                change,
                threshold=lambda j, _: 1 - bit(function(low), j),
            ),
        ),
        lambda j: Wire(1, j),
    )


def pair_at(index: int, n: int) -> tuple[int, int]:
    """Pair number ``index`` of the pairs ``(k, j)`` with ``1 <= k <= n`` and ``0 <= j < k``.

    The row of ``k`` and a row as much longer as that is shorter are put in one, so that a division finds it.

    >>> sorted(pair_at(i, 3) for i in range(6))
    [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
    """
    odd = n & 1
    folded, j = divmod(index, n + 1 - odd)
    small = folded + 1 - odd
    return (small, j) if j < small else (n - folded, j - small)


def pair_index(k: int, j: int, n: int) -> int:
    """The number of a pair, see :func:`pair_at`."""
    odd = n & 1
    if 2 * k <= n:
        return (k - 1 + odd) * (n + 1 - odd) + j
    folded = n - k
    return folded * (n + 1 - odd) + folded + 1 - odd + j


@functools.cache
@implements("MHN-CIR-2")
def carry_lookahead(width: int) -> Block:
    """The sum of two numbers, modulo ``2**width``: depth 5. Clause MHN-CIR-2.

    Bits ``j`` and above carry into bit ``k`` if bit ``j`` generates and all between propagate.

    Args:
        width: of the numbers and of the sum.
    """
    n = width - 1
    generate, propagate, chain, carry, most, total = range(6)

    def into(k: int) -> Wire:
        return Wire(carry, k - 1) if k else ZERO

    def three(k: int, j: int) -> Wire:
        return into(k) if j == 2 else Wire(INPUT, k + j * width)

    def chained(row: int, i: int) -> Wire:
        _, j = pair_at(row, n)
        return Wire(propagate if i else generate, j + i)

    return Block(
        f"carry-lookahead adder of {width} bits",
        2 * width,
        width,
        (
            Gates(Kind.AND, width, lambda _: 2, lambda k, j: Wire(INPUT, k + j * width)),
            Gates(Kind.OR, width, lambda _: 2, lambda k, j: Wire(INPUT, k + j * width)),
            Gates(Kind.AND, n * (n + 1) // 2, lambda row: pair_at(row, n)[0] - pair_at(row, n)[1], chained),
            Gates(Kind.OR, n, lambda k: k + 1, lambda k, j: Wire(chain, pair_index(k + 1, j, n))),
            Gates(Kind.THRESHOLD, width, lambda _: 3, three, threshold=at_least(2)),
            Gates(
                Kind.THRESHOLD,
                width,
                lambda _: 4,
                lambda k, j: Wire(most, k) if j == 3 else three(k, j),
                lambda _, j: -2 if j == 3 else 1,
                threshold=at_least(1),
            ),
        ),
        lambda k: Wire(total, k),
    )


def block_width(numbers: int, extra: int = 0) -> int:
    """The least ``b`` with which ``numbers`` blocks of ``b`` bits, and ``extra`` bits, add to ``2 b`` bits.

    Without ``extra`` it is the least with ``numbers <= 2**b + 1``, at most ``max(1, ceil(log2 numbers))``.

    >>> [block_width(m) for m in (1, 2, 3, 4, 5, 6, 8, 9, 10)]
    [1, 1, 1, 2, 2, 3, 3, 3, 4]
    """
    b = 1
    while numbers * ((1 << b) - 1) + extra >= 1 << 2 * b:
        b += 1
    return b


@functools.cache
@implements("MHN-CIR-2")
def iterated_sum(
    numbers: int, width: int, total: int, *, signed: bool = False, columns: int | None = None
) -> Block:
    """The sum of many numbers, modulo ``2**total``: depth 7. Clause MHN-CIR-2.

    Blocks of columns are added with threshold gates; the low and the high halves of their sums are two
    numbers, which are added with carry-lookahead.

    Args:
        numbers: how many, at least 1.
        width: of each.
        total: width of the sum.
        signed: each number is followed by a sign bit; a set sign says that the number is the complement
            of what it stands for, which is ``-value`` modulo ``2**total`` once the sign is added as 1.
        columns: of a block; by default as few as :func:`block_width` says, with fewer the sum is wrong.
    """
    b = columns or block_width(numbers, numbers if signed else 0)
    pitch = width + signed
    top = numbers * ((1 << b) - 1) + (numbers if signed else 0)
    blocks = -(-total // b)
    extra = numbers * b
    table = sum_table(
        f"sum of {numbers} blocks of {b} bits",
        extra + (numbers if signed else 0),
        lambda x: 1 << x % b if x < extra else 1,
        0,
        top,
        2 * b,
        lambda v: v,
    )

    def column(block: int, x: int) -> Wire:
        if x >= extra:
            return ZERO if block else Wire(INPUT, (x - extra) * pitch + width)
        number, k = divmod(x, b)
        k += block * b
        if k < width:
            return Wire(INPUT, number * pitch + k)
        return Wire(INPUT, number * pitch + width) if signed else ZERO

    def halves(_: int, x: int) -> Wire:
        high, k = divmod(x, total)
        block, j = divmod(k, b)
        if not high:
            return Wire(0, block * 2 * b + j)
        return Wire(0, (block - 1) * 2 * b + b + j) if block else ZERO

    return Block(
        f"sum of {numbers} numbers of {width} bits",
        numbers * pitch,
        total,
        (Copies(table, blocks, column), Copies(carry_lookahead(total), 1, halves)),
        lambda k: Wire(1, k),
    )


@functools.cache
@implements("MHN-CIR-3")
def product(first: int, second: int) -> Block:
    """The product of two numbers: depth 8. Clause MHN-CIR-3.

    Args:
        first: width of the first number.
        second: width of the second.
    """
    total = first + second

    def row(_: int, x: int) -> Wire:
        number, k = divmod(x, total)
        k -= number
        return Wire(0, number * first + k) if 0 <= k < first else ZERO

    return Block(
        f"product of {first} and {second} bits",
        total,
        total,
        (
            Gates(
                Kind.AND,
                first * second,
                lambda _: 2,
                lambda x, j: Wire(INPUT, first + x // first if j else x % first),
            ),
            Copies(iterated_sum(second, total, total), 1, row),
        ),
        lambda k: Wire(1, k),
    )


@functools.cache
@implements("MHN-CIR-3")
def comparison(width: int) -> Block:
    """Whether a > b, and whether a >= b: depth 3. Clause MHN-CIR-3.

    Args:
        width: of both numbers.
    """

    def both(k: int, j: int) -> Wire:
        return Wire(INPUT, k + j * width)

    def sign(_: int, j: int) -> int:
        return -1 if j else 1

    def higher(k: int, j: int) -> Wire:
        # Row ``width`` says that no bit of a is below that of b.
        return Wire(0, k) if k < width and not j else Wire(1, k + j if k < width else j)

    return Block(
        f"comparison of {width} bits",
        2 * width,
        2,
        (
            Gates(Kind.THRESHOLD, width, lambda _: 2, both, sign, threshold=at_least(1)),
            Gates(Kind.THRESHOLD, width, lambda _: 2, both, sign, threshold=at_least(0)),
            Gates(Kind.AND, width + 1, lambda k: width - k if k < width else width, higher),
            Gates(Kind.OR, 2, lambda which: width + which, lambda _, k: Wire(2, k)),
        ),
        lambda which: Wire(3, which),
    )


@functools.cache
@implements("MHN-CIR-3")
def shift(width: int, amount: int) -> Block:
    """A number shifted to the left by a variable amount: depth 3. Clause MHN-CIR-3.

    Args:
        width: of the number.
        amount: width of the amount; the result has ``width + 2**amount - 1`` bits.
    """
    places = 1 << amount

    def source(k: int, e: int) -> Wire:
        return Wire(1, e * width + k - e) if 0 <= k - e < width else ZERO

    return Block(
        f"shift of {width} bits by {amount} bits",
        width + amount,
        width + places - 1,
        (
            decoder(amount, places, width),
            Gates(
                Kind.AND,
                places * width,
                lambda _: 2,
                lambda x, j: Wire(INPUT, x % width) if j else Wire(0, x // width),
            ),
            Gates(Kind.OR, width + places - 1, lambda _: places, source),
        ),
        lambda k: Wire(2, k),
    )


def decoder(bits: int, places: int, first: int) -> Gates:
    """Gates ``e`` that are 1 if the inputs from ``first`` on are the digits of ``e``."""
    return Gates(
        Kind.THRESHOLD,
        places,
        lambda _: max(1, bits),
        lambda _, i: Wire(INPUT, first + i) if bits else ZERO,
        lambda e, i: 1 if bit(e, i) else -1,
        threshold=lambda e, _: e.bit_count(),
    )


@functools.cache
@implements("MHN-CIR-3")
def leading_one(width: int) -> Block:
    """The place of the leading one, as one bit set among ``width``, none for 0: depth 1. Clause MHN-CIR-3.

    Args:
        width: of the number.
    """
    return Block(
        f"leading one of {width} bits",
        width,
        width,
        (
            Gates(
                Kind.THRESHOLD,
                width,
                lambda k: width - k,
                lambda k, j: Wire(INPUT, k + j),
                lambda _, j: -1 if j else 1,
                threshold=at_least(1),
            ),
        ),
        lambda k: Wire(0, k),
    )


@functools.cache
@implements("MHN-CIR-3")
def rounding(width: int, bits: int) -> Block:
    """A number rounded to ``bits`` binary digits from its leading one, ties to even: depth 7.

    Clause MHN-CIR-3. Input ``width`` is a sticky bit: something less than 1 is to be added.

    Outputs, in this order: the ``bits - 1`` digits below the leading one; whether rounding carried into a new
    leading one (then all digits are 0); whether the number was no power of two; ``width`` bits of which the
    one at the place of the leading one, before rounding, is set.

    Args:
        width: of the number.
        bits: number of digits kept, at least 2.
    """
    lead, pick, rest, kept, sticky, up, carry, both, digit, more = range(10)
    heavy = width + 1

    def picked(x: int, j: int) -> Wire:
        # Column 0 is the guard bit, the first that is dropped.
        k, column = divmod(x, bits)
        if not j:
            return Wire(lead, k)
        place = k - bits + column
        return Wire(INPUT, place) if place >= 0 else ZERO

    def remaining(k: int, j: int) -> Wire:
        return (Wire(lead, k), Wire(INPUT, width))[j] if j < 2 else Wire(INPUT, j - 2)

    def carried(i: int, j: int) -> Wire:
        return Wire(kept, j) if j else Wire(up, 0)

    def sum_of(i: int, j: int) -> Wire:
        return (Wire(kept, 1 + i), Wire(carry, i), Wire(both, i))[j]

    def output(k: int) -> Wire:
        if k < bits - 1:
            return Wire(digit, k)
        if k == bits - 1:
            return Wire(carry, bits - 1)
        return Wire(more, 0) if k == bits else Wire(lead, k - bits - 1)

    return Block(
        f"rounding of {width} bits to {bits}",
        width + 1,
        width + bits + 1,
        (
            Copies(leading_one(width), 1, lambda _, k: Wire(INPUT, k)),
            Gates(Kind.AND, width * bits, lambda _: 2, picked),
            Gates(
                Kind.THRESHOLD,
                width,
                lambda k: 2 + max(0, k - bits),
                remaining,
                lambda _, j: 1 if j else heavy,
                threshold=at_least(heavy + 1),
            ),
            Gates(Kind.OR, bits, lambda _: width, lambda column, k: Wire(pick, k * bits + column)),
            Gates(Kind.OR, 1, lambda _: width, lambda _, k: Wire(rest, k)),
            Gates(
                Kind.THRESHOLD,
                1,
                lambda _: 3,
                lambda _, j: (Wire(kept, 0), Wire(sticky, 0), Wire(kept, 1))[j],
                lambda _, j: 1 if j else 2,
                threshold=at_least(3),
            ),
            Gates(Kind.AND, bits, lambda i: 1 + i, carried),
            Gates(Kind.AND, bits - 1, lambda _: 2, sum_of),
            Gates(
                Kind.THRESHOLD,
                bits - 1,
                lambda _: 3,
                sum_of,
                lambda _, j: -2 if j == 2 else 1,
                threshold=at_least(1),
            ),
            Gates(
                Kind.OR, 1, lambda _: bits + 1, lambda _, j: Wire(kept, j) if j < bits else Wire(sticky, 0)
            ),
        ),
        output,
    )
