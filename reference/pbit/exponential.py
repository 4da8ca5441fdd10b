"""Enclosures of the exponential of numbers of any size (clause MHN-FPN-5)."""

from __future__ import annotations

from hopspec.reference.exponential import exp_fixed, log_two

__all__ = ["exp_ratio"]


def exp_ratio(numerator: int, exponent: int, bits: int) -> tuple[int, int, int]:
    """Integers ``(low, high, k)``, ``low * 2**k < e**x < high * 2**k``, for ``x = numerator * 2**exponent``.

    Both have at least ``bits - 2`` bits, and ``high - low <= 6``.

    Proof. Let ``|x| < 2**n`` with ``n >= 0``, ``w = bits + n + 2`` and one unit be ``2**-w``. The integers
    ``X`` and ``l`` are within one unit of ``x`` and ``log 2``. Dividing, ``X = k' l - a`` with ``0 <= a <
    l``; as ``|k'| <= 2**(n + 1)``, the number ``x`` is within ``2**(n + 1) + 1`` units of ``k' log 2 - a``,
    which is less than ``2**-bits``. Thus ``e**x = 2**k' e**-a e**h`` with ``|h| < 2**-bits``. ``W`` is
    within 1 of ``2**bits`` times the middle factor, which is at most 1, and ``|e**h - 1| < 2 |h|`` moves it
    by less than 2: together by less than 3.

    Args:
        numerator: any integer.
        exponent: any integer.
        bits: at least 8.

    >>> exp_ratio(1, 0, 20)
    (712578, 712584, -18)
    """
    whole = max(0, numerator.bit_length() + exponent)
    working = bits + whole + 2
    shift = working + exponent
    scaled = numerator << shift if shift >= 0 else numerator >> -shift
    l2 = log_two(working)
    a = -scaled % l2
    k = (scaled + a) // l2
    w = exp_fixed(-a, -working, 1, bits)
    return w - 3, w + 3, k - bits
