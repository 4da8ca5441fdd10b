r"""Exponentials of many numbers at once, to 33 bits more than float64 holds.

A number is held as an unevaluated sum of two float64s. The error-free operations (Dekker, Knuth) give sums
and products of floats exactly as such pairs; clause MHN-BIG-2 proves what the exponential makes of them.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import implements
from hopspec.reference.exponential import exps_fixed, log_two

__all__ = [
    "DIGITS",
    "DIGIT_BITS",
    "DIGIT_ERROR",
    "EXP_ERROR",
    "WEIGHT_BITS",
    "digits_of",
    "exp_pairs",
    "rough_exp",
    "two_product",
    "two_sum",
]

Array = NDArray[np.float64]
Pair = tuple[Array, Array]

# Relative error of an exponential, and absolute error of one written in digits.
EXP_ERROR = Fraction(1, 1 << 87)
DIGIT_ERROR = Fraction(17, 1 << 104)
LEAST = -90.0
DIGITS = 5
DIGIT_BITS = 20
# The last digit counts units of 2**-99.
WEIGHT_BITS = DIGITS * DIGIT_BITS - 1
STEPS = 4096.0
# Veltkamp's constant: splits a float64 into two halves of at most 26 bits.
SPLITTER = 2.0**27 + 1


def two_sum(a: Array, b: Array) -> Pair:
    """The rounded sum and its error: ``s + e == a + b`` exactly.

    >>> two_sum(np.array([1.0]), np.array([2.0**-60]))
    (array([1.]), array([8.67361738e-19]))
    """
    s = a + b
    virtual = s - a
    return s, (a - (s - virtual)) + (b - virtual)


def fast_two_sum(a: Array, b: Array) -> Pair:
    """:func:`two_sum` where ``|a| >= |b|`` or ``a == 0``."""
    s = a + b
    return s, b - (s - a)


def two_product(a: Array, b: Array | float) -> Pair:
    """The rounded product and its error: ``p + e == a * b`` exactly, unless something under- or overflows.

    >>> p, e = two_product(np.array([1 + 2.0**-40]), 1 + 2.0**-40)
    >>> float(e[0]) == 2.0**-80
    True
    """
    p = a * b
    a1, a2 = _halves(a)
    b1, b2 = _halves(b)
    return p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2


def _halves(a: Array | float) -> tuple[Array | float, Array | float]:
    c = SPLITTER * a
    high = c - (c - a)
    return high, a - high


class _Constants(NamedTuple):
    log_two: tuple[float, float, float]
    high: Array
    low: Array
    powers: Array


@lru_cache(maxsize=1)
def _constants() -> _Constants:
    """``log 2`` in three pieces, pairs next to ``e**(j / 4096)``, and ``2**-n``, from the exact reference."""
    bits = 200
    rest = log_two(bits)
    pieces = []
    for grid in (44, 89):
        head = (rest + (1 << (bits - grid - 1))) >> (bits - grid)
        pieces.append(float(np.ldexp(float(head), -grid)))
        rest -= head << (bits - grid)
    # Index j from -2900 to 0, stored so that Python's negative indices find it.
    table = exps_fixed(range(-2900, 1), -12, 1, bits)
    table = table[-1:] + table[:-1]
    heads = [float(entry) for entry in table]
    tails = [float(entry - int(head)) for entry, head in zip(table, heads, strict=True)]
    return _Constants(
        (pieces[0], pieces[1], float(np.ldexp(float(rest), -bits))),
        np.ldexp(np.array(heads), -bits),
        np.ldexp(np.array(tails), -bits),
        np.ldexp(1.0, -np.arange(132)),
    )


@implements("MHN-BIG-2")
def exp_pairs(high: Array, low: Array) -> tuple[Array, Array, NDArray[np.int64]]:
    r"""Arrays with $w_1 + w_2 = 2^n e^{h + l} (1 + \epsilon)$, $|\epsilon| \le 2^{-87}$; clause MHN-BIG-2.

    Exact where ``h == l == 0``. An ``h`` below -90 counts as -90: its exponential is below ``2**-129``.

    Args:
        high: ``h``, at most ``2**-25``.
        low: ``l`` with ``|l| <= 2**-44`` wherever ``h >= -90``.

    Returns:
        ``w1``, ``w2`` with ``|w2| <= 2**-53 |w1|`` and ``0.49 < w1 <= 1 + 2**-24``, and the integers ``n``.

    >>> w1, w2, n = exp_pairs(np.array([-1.0]), np.array([0.0]))
    >>> float(w1[0]) / 2 ** int(n[0]), int(n[0])
    (0.36787944117144233, 1)
    """
    of = _constants()
    x = np.maximum(high, LEAST)
    low = np.clip(low, -(2.0**-44), 2.0**-44)
    scale = np.floor(np.maximum(x * (-1 / of.log_two[0]), 0.0))
    reduced = x + scale * of.log_two[0]
    low = (low + scale * of.log_two[2]) + scale * of.log_two[1]
    step = np.rint(reduced * STEPS)
    s = reduced - step / STEPS
    # e**(s + low) - 1 as q1 + q2
    z = s + low
    cubic = z * z * z * (1 / 6 + z * (1 / 24 + z * (1 / 120 + z / 720)))
    square, error = two_product(s, s)
    tail = low + ((error / 2 + low * (s + low / 2)) + cubic)
    q1, q2 = fast_two_sum(s, square / 2)
    q2 = q2 + tail
    # times the table's entry
    index = step.astype(np.int64)
    head, rest = of.high[index], of.low[index]
    product, error = two_product(head, q1)
    w1, left = fast_two_sum(head, product)
    w2 = ((error + rest) + rest * q1 + left) + head * q2
    w1, w2 = fast_two_sum(w1, w2)
    return w1, w2, scale.astype(np.int64)


@implements("MHN-BIG-2")
def rough_exp(high: Array) -> Array:
    """``e**h`` in float64 with relative error below ``2**-47``, absolute ``2**-1022`` where that is larger.

    Formula: the sixteenth power of ``e**(h / 16)`` as :func:`exp_pairs` gives it; clause MHN-BIG-2.

    >>> float(rough_exp(np.array([-700.0]))[0])
    9.859676543759...e-305
    """
    w1, _, n = exp_pairs(high / 16, np.zeros_like(high))
    weights = w1 * _constants().powers[n]
    for _ in range(4):
        weights = weights * weights
    return weights


@implements("MHN-BIG-2")
def digits_of(w1: Array, w2: Array, n: NDArray[np.int64]) -> list[Array]:
    r"""Integers $d_0, \dots, d_4$, $|d_k| \le 2^{19} + 2^6$, of $2^{-n}(w_1 + w_2)$.

    Formula: $\bigl|\sum_k 2^{-19 - 20k} d_k - 2^{-n}(w_1 + w_2)\bigr| \le 1.0625 \cdot 2^{-100}$, for pairs
    as :func:`exp_pairs` returns them; clause MHN-BIG-2.

    >>> [int(d[0]) for d in digits_of(np.array([0.75]), np.array([0.0]), np.array([1]))]
    [196608, 0, 0, 0, 0]
    """
    power = _constants().powers[n]
    step = 2.0**DIGIT_BITS
    rest = w1 * (power * 2.0 ** (DIGIT_BITS - 1))
    digits = []
    for k in range(DIGITS):
        digit = np.rint(rest)
        digits.append(digit)
        rest = (rest - digit) * step
        if k == 1:
            rest, left = two_sum(rest, w2 * (power * 2.0 ** (3 * DIGIT_BITS - 1)))
        elif k == 2:
            rest += left * step
    return digits
