"""Iterated products of integers of any width, through Chinese remainders (clause MHN-CIR-9)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from hopspec.clauses import implements
from hopspec.reference.circuits.blocks import INPUT, ZERO, Block, Copies, Gates, Kind, Wire
from hopspec.reference.circuits.integers import bit, carry_lookahead, comparison, iterated_sum, sum_table

__all__ = ["iterated_product", "moduli"]


@functools.cache
def moduli(bits: int) -> tuple[int, ...]:
    """The first primes, as many as make a product of at least ``2**bits``, and at least two.

    >>> moduli(7)
    (2, 3, 5, 7)
    """
    found: list[int] = []
    candidate = 2
    while len(found) < 2 or math.prod(found) < 1 << bits:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return tuple(found)


@functools.cache
def _powers(prime: int) -> tuple[int, ...]:
    """The powers 0 to ``prime - 2`` of the least generator modulo a prime."""
    for generator in range(1, prime):
        powers = [1]
        while (following := powers[-1] * generator % prime) != 1:
            powers.append(following)
        if len(powers) == prime - 1:
            return tuple(powers)
    raise ValueError(f"prime must be a prime number, got {prime}")


def _log_bits(prime: int) -> int:
    return (prime - 2).bit_length()


@functools.cache
def _logarithm(prime: int, width: int) -> Block:
    """The discrete logarithm of a number modulo a prime, and a bit that says that the prime divides it."""
    powers, digits = _powers(prime), _log_bits(prime)
    log = {power: k for k, power in enumerate(powers)}

    def entry(v: int) -> int:
        rest = v % prime
        return log[rest] if rest else 1 << digits

    weights = [pow(2, i, prime) for i in range(width)]
    return sum_table(
        f"logarithm modulo {prime}", width, weights.__getitem__, 0, sum(weights), digits + 1, entry
    )


@functools.cache
def _share(prime: int, numbers: int, modulus: int) -> Block:
    """What a prime contributes to the sum from which the product is recovered, from the logarithms."""
    powers, digits = _powers(prime), _log_bits(prime)
    cofactor = modulus // prime
    inverse = pow(cofactor, -1, prime)
    # One factor that the prime divides outweighs all logarithms.
    divided = numbers * (prime - 2) + 1

    @functools.cache
    def entry(v: int) -> int:
        return powers[v % (prime - 1)] * inverse % prime * cofactor if v < divided else 0

    def weight(k: int) -> int:
        return divided if k % (digits + 1) == digits else 1 << k % (digits + 1)

    return sum_table(
        f"share of {prime}",
        numbers * (digits + 1),
        weight,
        0,
        divided,
        modulus.bit_length(),
        entry,
    )


def _of_stage(at: int) -> Callable[[int, int], Wire]:
    return lambda _, k: Wire(at, k)


@functools.cache
@implements("MHN-CIR-9")
def iterated_product(numbers: int, width: int, primes: tuple[int, ...] | None = None) -> Block:
    """The product of many numbers: depth 20. Clause MHN-CIR-9.

    Modulo each of some small primes, tables turn the numbers to discrete logarithms, and the sum of these to
    the share of the prime. The shares add to the product plus a multiple, less than the number of primes, of
    the primes' product M. That multiple is found by comparison with all of them and subtracted.

    Args:
        numbers: how many, at least 1.
        width: of each; the product has ``numbers * width`` bits.
        primes: by default :func:`moduli`; with a smaller product M, products are right modulo M alone.
    """
    primes = primes or moduli(numbers * width)
    modulus, count = math.prod(primes), len(primes)
    wide = modulus.bit_length()
    total = wide + (count - 1).bit_length()
    summed, one, reached, multiple, out = range(2 * count, 2 * count + 5)

    def shared(_: int, x: int) -> Wire:
        which, k = divmod(x, wide)
        return Wire(count + which, k)

    def compared(copy: int, k: int) -> Wire:
        if k < total:
            return Wire(summed, k)
        return Wire(one, 0) if bit((copy + 1) * modulus, k - total) else ZERO

    @functools.cache
    def less(times: int) -> int:
        return -times * modulus % (1 << total)

    def change(j: int, i: int) -> int:
        return bit(less(i + 1), j) - bit(less(i), j)

    return Block(
        f"product of {numbers} numbers of {width} bits",
        numbers * width,
        numbers * width,
        (
            *(
                Copies(_logarithm(prime, width), numbers, lambda i, k: Wire(INPUT, i * width + k))
                for prime in primes
            ),
            *(Copies(_share(prime, numbers, modulus), 1, _of_stage(at)) for at, prime in enumerate(primes)),
            Copies(iterated_sum(count, wide, total), 1, shared),
            Gates(Kind.NOT, 1, lambda _: 1, lambda _, __: ZERO),
            Copies(comparison(total), count - 1, compared),
            Gates(
                Kind.THRESHOLD,
                total,
                lambda _: count - 1,
                lambda _, i: Wire(reached, 2 * i + 1),
                change,
                threshold=lambda _, __: 1,
            ),
            Copies(
                carry_lookahead(total),
                1,
                lambda _, k: Wire(summed, k) if k < total else Wire(multiple, k - total),
            ),
        ),
        lambda k: Wire(out, k),
    )
