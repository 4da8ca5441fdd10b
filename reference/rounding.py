"""Rounding exact ratios to binary formats (clause MHN-PRC-1).

Only integer division is used: ``float(mpf)`` rounds twice in the subnormal range, and no library rounds to
bfloat16 or to a format of one's own.
"""

from __future__ import annotations

import math

from hopspec.clauses import implements
from hopspec.formats import Format
from hopspec.reference.context import Real, context

__all__ = ["inside_float64", "round_bits", "round_ratio", "significand"]

# Its numbers are made exactly, so its precision matters only when they are printed.
_CONTEXT = context(53)


def significand(
    numerator: int, denominator: int, exponent: int, precision: int, least: int | None
) -> tuple[int, int]:
    """Integers ``(m, e)``, ``m * 2**e`` nearest to ``numerator / denominator * 2**exponent``, ties to even.

    Args:
        numerator: any integer.
        denominator: a positive integer.
        exponent: any integer.
        precision: the most bits ``m`` may have.
        least: the least ``e`` allowed (gradual underflow), or None.

    >>> significand(5, 1, 0, 2, None)
    (2, 1)
    """
    magnitude = abs(numerator)
    if not magnitude:
        return 0, 0
    lead = magnitude.bit_length() - denominator.bit_length()
    if (magnitude < denominator << lead) if lead >= 0 else (magnitude << -lead < denominator):
        lead -= 1
    e = lead + exponent - precision + 1
    if least is not None and e < least:
        if lead + exponent < least - 1:  # below 2**(least - 1), half the least element
            return 0, 0
        e = least
    shift = exponent - e
    if shift >= 0:
        magnitude <<= shift
    else:
        denominator <<= -shift
    m, rest = divmod(magnitude, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and m & 1):
        m += 1
        if m >> precision:
            m, e = m >> 1, e + 1
    return (-m if numerator < 0 else m), e


def inside_float64(fmt: Format) -> bool:
    """Whether every element of ``fmt`` is a float64.

    >>> from hopspec.formats import BFLOAT16, Format
    >>> inside_float64(BFLOAT16), inside_float64(Format("binary128", 113, -16382, 16383))
    (True, False)
    """
    return fmt.precision <= 53 and fmt.emax <= 1023 and fmt.least_exponent >= -1074


@implements("MHN-PRC-1")
def round_ratio(numerator: int, denominator: int, fmt: Format, exponent: int = 0) -> Real:
    r"""The element of ``fmt`` nearest to ``numerator / denominator * 2**exponent``, ties to even.

    Formula: $\mathrm{RN}(x)$ with gradual underflow; infinite from $2^{e_{max}} (2 - 2^{-p})$ on.
    Clause MHN-PRC-1, IEEE 754.

    Args:
        numerator: any integer.
        denominator: a positive integer.
        fmt: the format.
        exponent: a power of two to multiply by.

    Returns:
        A float if all elements of ``fmt`` are float64s, else an ``mpmath`` number. Zero has no sign.

    Raises:
        ValueError: if ``denominator`` is not positive.

    >>> from hopspec.formats import BFLOAT16, FLOAT16, FLOAT64
    >>> round_ratio(1, 3, BFLOAT16)
    0.333984375
    >>> round_ratio(1, 10, FLOAT64) == 0.1
    True
    >>> round_ratio(65520, 1, FLOAT16), round_ratio(65519, 1, FLOAT16)
    (inf, 65504.0)
    """
    if denominator <= 0:
        raise ValueError(f"denominator must be positive, got {denominator}")
    m, e = significand(numerator, denominator, exponent, fmt.precision, fmt.least_exponent)
    overflow = m != 0 and e + abs(m).bit_length() > fmt.emax + 1
    if inside_float64(fmt):
        if overflow:
            return math.copysign(math.inf, m)
        return math.ldexp(float(m), e)
    if overflow:
        return _CONTEXT.ninf if m < 0 else _CONTEXT.inf
    return _CONTEXT.make_mpf(_raw(m, e))


def round_bits(numerator: int, denominator: int, bits: int, exponent: int = 0) -> Real:
    """The number of at most ``bits`` significant bits nearest to the ratio, with no limit on the exponent.

    >>> round_bits(1, 3, 4)
    mpf('0.34375')
    """
    return _CONTEXT.make_mpf(_raw(*significand(numerator, denominator, exponent, bits, None)))


def _raw(m: int, e: int) -> tuple[int, int, int, int]:
    # mpmath's normal form of an exact number: sign, odd mantissa, exponent, bits.
    if not m:
        return (0, 0, 0, 0)
    twos = (m & -m).bit_length() - 1
    magnitude = abs(m) >> twos
    return (int(m < 0), magnitude, e + twos, magnitude.bit_length())
