"""Exponentials and logarithms in integers, with proved error bounds.

The exponential is the only inexact operation of an update (and one logarithm that of an energy), so these few
functions carry the whole proof of the reference. Only integer arithmetic is used. ``mpmath.iv`` is not: its
``exp`` misses the true value for one argument in some thousands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from hopspec.reference.integers import LONG, long_integer

__all__ = ["exp_fixed", "exps_fixed", "log_fixed", "log_two"]

# Bits of working precision beyond the result's.
_GUARD = 16


class _Tables(NamedTuple):
    log_two: int
    index_bits: int
    powers: list[list[int]]
    coefficients: list[int]


@lru_cache(maxsize=64)
def log_two(bits: int) -> int:
    """An integer within 1 of ``2**bits * log(2)``.

    Machin's formula ``log 2 = 18 atanh(1/26) - 2 atanh(1/4801) + 8 atanh(1/8749)``, summed at ``bits + 32``
    bits. A sum of ``K`` terms rounded down twice each errs by at most ``2 K`` plus a tail below 1, and
    ``28 (2 K + 1) < 2**31`` as long as ``bits < 2**20``; the final rounding adds 1/2.

    >>> log_two(20)
    726817
    """
    precision = bits + 32
    total = sum(c * _atanh_inverse(n, precision) for c, n in ((18, 26), (-2, 4801), (8, 8749)))
    return (total + (1 << 31)) >> 32


def exp_fixed(numerator: int, exponent: int, denominator: int, bits: int) -> int:
    """An integer within 1 of ``2**bits * e**t``, where ``t = numerator * 2**exponent / denominator <= 0``.

    It is ``2**bits`` exactly if ``t == 0``. See :func:`exps_fixed`.

    >>> exp_fixed(-1, 0, 1, 30)
    395007542
    """
    return exps_fixed((numerator,), exponent, denominator, bits)[0]


def exps_fixed(numerators: Iterable[int], exponent: int, denominator: int, bits: int) -> list[int]:
    """:func:`exp_fixed` of many numerators that share ``exponent`` and ``denominator``.

    Proof of the error bound. Let ``a = -t``, ``w = bits + 16`` and one unit be ``2**-w``.

    1. If ``a >= bits`` then ``2**bits e**-a <= 1`` and ``W = 0`` will do.
    2. ``A = floor(2**w a)`` is short of ``2**w a`` by less than one unit. With the integer ``l`` within one
       unit of ``log 2`` and ``A = n l + r``, ``0 <= r < l``, the number ``e**-a`` equals ``2**-n e**-(r
       2**-w)`` up to a factor ``e**h``, ``|h| <= (n + 1) 2**-w``. As ``n <= 2 bits``, this is at most ``n +
       2`` units of a number below 1.
    3. With tables for ``b`` bits each write ``r 2**-w = j_1 2**-b + ... + j_T 2**-bT + s 2**-bT``, where ``0
       <= j_m < 2**b`` and ``0 <= s < 1`` has ``w - b T`` bits. Table ``m`` holds ``e**-(j 2**-bm)`` within
       one unit.
    4. Horner's rule for ``e**-(s 2**-bT) = sum_k (-s)**k c_k``, ``c_k = 2**-bTk / k!``, is ``v_k = c_k - s
       v_(k+1)``, with ``c_k`` and the product both rounded down. These two errors have opposite signs, so
       that a step adds less than one unit, and ``s < 1`` does not enlarge those before. The series is cut
       where its alternating tail is below one unit: within ``K + 1`` units for ``K`` coefficients.
    5. The ``T`` products with table entries, of numbers at most 1 and each rounded down, make that ``2 T +
       K + 1`` units. With those of step 2 it is ``n + 2 T + K + 3``, scaled by ``2**-n``: at most ``2 T + K
       + 3``. That is below 64 for ``bits <= 1000``, and below ``2**13`` for ``bits < 2**20``.
    6. Rounding to nearest adds 1/2 to ``2**-16`` of that: ``|W - 2**bits e**t| < 0.501`` for ``bits <=
       1000``, and below 0.63 for ``bits < 2**20``.

    Raises:
        ValueError: if a numerator is positive.
    """
    working = bits + _GUARD
    l2, index_bits, powers, coefficients = _tables(working)
    shift = working + exponent
    largest = bits << working
    # a.bit_length() + shift - denominator.bit_length() beyond this means a > bits.
    longest = largest.bit_length() + 1 + denominator.bit_length()
    rest = working - index_bits * len(powers)
    low, index = (1 << rest) - 1, (1 << index_bits) - 1
    last, others = coefficients[-1], coefficients[-2::-1]
    finest_first = powers[::-1]
    integer = long_integer if working >= LONG else int
    one = 1 << bits
    result = []
    for numerator in numerators:
        if numerator == 0:
            result.append(one)
            continue
        a = -numerator
        if a < 0:
            raise ValueError(f"the exponent must be at most 0, got numerator {numerator}")
        if a.bit_length() + shift > longest:
            result.append(0)
            continue
        a = a << shift if shift >= 0 else a >> -shift
        if denominator != 1:
            a //= denominator
        if a >= largest:
            result.append(0)
            continue
        a = integer(a)
        n, r = divmod(a, l2)
        s = r & low
        value = last
        for c in others:
            value = c - ((s * value) >> rest)
        r >>= rest
        for table in finest_first:
            value = (value * table[r & index]) >> working
            r >>= index_bits
        drop = n + _GUARD
        result.append(int((value + (1 << (drop - 1))) >> drop))
    return result


def log_fixed(numerator: int, denominator: int, bits: int) -> int:
    """An integer within 1 of ``2**bits * log(numerator / denominator)``, both positive; 0 if they are equal.

    The libm logarithm is only a first guess ``y``; the proof comes from the rigorous exponential. With ``x
    = 2**k z``, ``1/2 < z < 2`` (inverted if ``log z < 0``), and ``W`` within 1 of ``2**w e**-y``, the
    number ``D = z W - 2**w``, rounded down, is within 3 units of ``2**w (z e**-y - 1)``; ``log z = y +
    log(1 + D 2**-w)`` then follows from the power series, whose ``K`` terms err by at most 3 units each.
    That ``|D| <= 2**(w - 40)`` (or 8 units) is checked, so the tail after ``K = w // 40 + 1`` terms is
    below one unit. With ``k`` times ``log 2`` the total is below ``3 K + |k| + 6`` units, and ``w`` is
    chosen to make that less than 1/4 of the result's last place.

    Raises:
        ValueError: if one of them is not positive.

    >>> log_fixed(10, 1, 60) / 2**60, log_fixed(3, 3, 20)
    (2.302585092994046, 0)
    """
    if numerator <= 0 or denominator <= 0:
        raise ValueError(f"the logarithm needs positive numbers, got {numerator} / {denominator}")
    if numerator == denominator:
        return 0
    k = numerator.bit_length() - denominator.bit_length()
    numerator, denominator = (numerator, denominator << k) if k >= 0 else (numerator << -k, denominator)
    guess = math.log(numerator / denominator)
    sign = 1
    if guess < 0:
        numerator, denominator, guess, sign = denominator, numerator, -guess, -1
    terms = (bits + 64) // 40 + 2
    guard = (3 * terms + abs(k) + 6).bit_length() + 2
    working = bits + guard
    guess_numerator, guess_denominator = guess.as_integer_ratio()
    guess_exponent = 1 - guess_denominator.bit_length()
    power = exp_fixed(-guess_numerator, guess_exponent, 1, working)
    defect = numerator * power // denominator - (1 << working)
    if abs(defect) > 1 << max(working - 40, 3):
        raise ArithmeticError(
            f"log({numerator / denominator!r}) from libm is off by {defect / (1 << working):.3g}"
        )
    total = 0
    term = defect
    for n in range(1, working // 40 + 2):
        total += term // n if n % 2 else -(term // n)
        term = (term * defect) >> working
        if not term:
            break
    shift = working + guess_exponent
    total += guess_numerator << shift if shift >= 0 else guess_numerator >> -shift
    total = sign * total + k * log_two(working)
    return (total + (1 << (guard - 1))) >> guard


def _atanh_inverse(n: int, precision: int) -> int:
    power = (1 << precision) // n
    total = 0
    k = 1
    while power:
        total += power // k
        power //= n * n
        k += 2
    return total


@lru_cache(maxsize=32)
def _tables(working: int) -> _Tables:
    # The entries are powers of one exponential taken with 32 more bits. It errs by at most 3 units per Taylor
    # term, and each of at most 255 products adds that much and one unit: less than 2**31, half a unit of the
    # result.
    integer = long_integer if working >= LONG else int
    precision = working + 32
    half = 1 << 31

    def powers(step: int) -> list[int]:
        base = term = integer(1) << precision
        k = 0
        while term:
            k += 1
            term = (term >> step) // k
            base += -term if k % 2 else term
        entries = [integer(1) << precision]
        for _ in range((1 << index_bits) - 1):
            entries.append((entries[-1] * base) >> precision)
        return [(entry + half) >> 32 for entry in entries]

    # A table costs a product and saves some terms of the series; this many are close to the best (measured).
    # Short ones keep set-up and memory within bounds where numbers are long.
    index_bits = 8 if working < 2048 else 4
    tables = min(16, max(1, (math.isqrt(working) + 2) // 4)) * (8 // index_bits)
    coefficients = []
    term = integer(1) << working
    while term:
        coefficients.append(term)
        term = (term >> (index_bits * tables)) // len(coefficients)
    steps = range(index_bits, index_bits * tables + 1, index_bits)
    return _Tables(integer(log_two(working)), index_bits, list(map(powers, steps)), coefficients)
