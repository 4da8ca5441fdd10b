"""Products of many elements of F_p (clause MHN-CIR-10)."""

from __future__ import annotations

import functools

from hopspec.clauses import implements
from hopspec.pbit import PBits
from hopspec.reference.circuits.blocks import INPUT, ZERO, Block, Copies, Gates, Kind, Wire
from hopspec.reference.circuits.encoding import exponent_width, width
from hopspec.reference.circuits.floats import exponents_of
from hopspec.reference.circuits.integers import at_least, bit, comparison, iterated_sum, rounding, sum_table
from hopspec.reference.circuits.remainders import iterated_product

__all__ = ["product_of"]


@functools.cache
@implements("MHN-CIR-10")
def product_of(fmt: PBits, terms: int) -> Block:
    """The exact product of elements, rounded once: depth 37. Clause MHN-CIR-10.

    The significands are multiplied through Chinese remainders and the exponents are added as integers: the
    size is polynomial in p and in the number of digits of an exponent, for no table lists values of either.

    Args:
        fmt: the set F_p.
        terms: how many.

    Raises:
        ValueError: if ``terms`` is less than 1, or ``fmt.underflow`` is "gradual".

    >>> from hopspec.reference.circuits import measure
    >>> [measure(product_of(PBits(3), n)).depth for n in (2, 3, 5)]
    [37, 37, 37]
    """
    if terms < 1:
        raise ValueError(f"terms must be at least 1, got {terms}")
    p, count, q, wide = fmt.bits, exponents_of(fmt), exponent_width(fmt), width(fmt)
    places = terms * p
    # The encoded exponent of the result is the sum of those of the factors, of the place of the leading one
    # of the significands' product, of the carry of rounding, and of this.
    offset = (terms - 1) * fmt.least - (p - 1)
    highest = terms * (count - 1) + places + offset
    digits_of_sum = 1 + max(highest.bit_length(), offset.bit_length(), q, 1)
    parity, times, rounded, place, summed, one, compared, minus, there, edge, present, over = range(12)
    exponent, digit, signed = range(12, 15)
    negative = Wire(summed, digits_of_sum - 1)
    carry, more, lead = Wire(rounded, p - 1), Wire(rounded, p), p + 1

    def added(_: int, x: int) -> Wire:
        which, k = divmod(x, digits_of_sum)
        if which < terms:
            return Wire(INPUT, which * wide + 1 + p + k) if k < q else ZERO
        return Wire(place, k) if which == terms else ZERO if k else carry

    def with_largest(_: int, k: int) -> Wire:
        if k < digits_of_sum - 1:
            return Wire(summed, k)
        return Wire(one, 0) if bit(count - 1, k - digits_of_sum + 1) else ZERO

    # What makes a result with a negative encoded exponent the least element: under "nearest" the exponent -1,
    # when the number is no power of two and was not rounded up to that exponent.
    nearly = {
        "nearest": (Wire(minus, 0), more, carry),
        "zero": (ZERO, ZERO, ZERO),
        "least": (negative, negative, ZERO),
    }[fmt.underflow]

    def output(k: int) -> Wire:
        if k in (0, p):
            return Wire(present if k else signed, 0)
        return Wire(digit, k - 1) if k < p else Wire(exponent, k - p - 1)

    def one_gate(wires: tuple[Wire, ...], weights: tuple[int, ...], least: int) -> Gates:
        return Gates(
            Kind.THRESHOLD,
            1,
            lambda _: len(wires),
            lambda _, j: wires[j],
            lambda _, j: weights[j],
            threshold=at_least(least),
        )

    return Block(
        f"product of {terms} elements",
        terms * wide,
        wide,
        (
            Copies(
                sum_table(f"parity of {terms} bits", terms, lambda _: 1, 0, terms, 1, lambda v: v & 1),
                1,
                lambda _, i: Wire(INPUT, i * wide),
            ),
            Copies(iterated_product(terms, p), 1, lambda _, x: Wire(INPUT, x // p * wide + 1 + x % p)),
            Copies(rounding(places, p), 1, lambda _, k: Wire(times, k) if k < places else ZERO),
            Gates(
                Kind.THRESHOLD,
                digits_of_sum,
                lambda _: places,
                lambda _, k: Wire(rounded, lead + k),
                lambda j, k: bit((k + offset) % (1 << digits_of_sum), j),
                threshold=at_least(1),
            ),
            Copies(iterated_sum(terms + 2, digits_of_sum, digits_of_sum), 1, added),
            Gates(Kind.NOT, 1, lambda _: 1, lambda _, __: ZERO),
            Copies(comparison(digits_of_sum - 1), 1, with_largest),
            Gates(Kind.AND, 1, lambda _: digits_of_sum, lambda _, k: Wire(summed, k)),
            Gates(Kind.AND, 1, lambda _: terms, lambda _, i: Wire(INPUT, i * wide + p)),
            one_gate(nearly, (1, 1, -1), 2),
            one_gate((Wire(there, 0), negative, Wire(edge, 0)), (2, -1, 1), 2),
            one_gate((Wire(there, 0), negative, Wire(compared, 0)), (1, -1, 1), 2),
            # Beyond the largest element all digits are those of its, below the least all are zeros.
            Gates(
                Kind.THRESHOLD,
                q,
                lambda _: 4,
                lambda k, j: (Wire(summed, k), Wire(there, 0), negative, Wire(over, 0))[j],
                lambda k, j: (1, 1, -1, 2 if bit(count - 1, k) else -1)[j],
                threshold=at_least(2),
            ),
            Gates(
                Kind.THRESHOLD,
                p - 1,
                lambda _: 4,
                lambda i, j: (Wire(rounded, i), Wire(there, 0), negative, Wire(over, 0))[j],
                lambda _, j: (1, 1, -1, 2)[j],
                threshold=at_least(2),
            ),
            Gates(Kind.AND, 1, lambda _: 2, lambda _, j: Wire(present if j else parity, 0)),
        ),
        output,
    )
