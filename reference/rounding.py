"""Rounding exact ratios to binary formats (clause MHN-PRC-1).

Only integer division is used: ``float(mpf)`` rounds twice in the subnormal range, and no library rounds to
bfloat16 or to a format of one's own.
"""

from __future__ import annotations

import math
from typing import Any

from mpmath.libmp import MPZ

from hopspec.clauses import implements
from hopspec.formats import Format
from hopspec.reference.context import Real, context

__all__ = [
    "inside_float64",
    "raw",
    "round_bits",
    "round_ratio",
    "settled_significand",
    "significand",
    "undefined",
]

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


def settled_significand(
    numerator: int, denominator: int, exponent: int, error: int, precision: int
) -> tuple[int, int, int, int] | None:
    """What a whole enclosure rounds to, if one division tells: integers ``(m, e, away, unit)``, or None.

    All numbers within ``error`` of ``numerator``, over ``denominator``, times ``2**exponent``, round to ``m *
    2**e`` with ``precision`` bits, ``|m| > 2**(precision - 1)``; none is further from it than ``away / unit *
    2**e``, and one is as far.

    Proof. The division gives the magnitude as ``(m + rest / unit) 2**e``, where ``m`` has just ``precision``
    bits. Where ``|rest - unit / 2| > error``, in the same units, neither end reaches the boundary ``m +
    1/2``, and ``error < unit / 2`` keeps both above ``m - 1/2`` and below ``m + 3/2``. Those are the next
    boundaries, or nearer than they are, unless ``m`` is the power of two below which numbers lie denser:
    that case is left open.

    >>> settled_significand(1, 3, 0, 0, 4)  # 11 / 32, off by 1/3 of 1/32
    (11, -5, 1, 3)
    """
    magnitude = abs(numerator)
    shift = precision + denominator.bit_length() - magnitude.bit_length()
    e = exponent - shift
    if shift >= 0:
        m, rest = divmod(magnitude << shift, denominator)
        error <<= shift
        unit = denominator
    else:
        unit = denominator << -shift
        m, rest = divmod(magnitude, unit)
    if m >> precision:
        if m & 1:
            rest += unit
        m, e, unit = m >> 1, e + 1, unit << 1
    excess = 2 * rest - unit
    if abs(excess) <= 2 * error or m <= 1 << (precision - 1):
        return None
    if excess > 0:
        m, rest = m + 1, unit - rest
    return (-m if numerator < 0 else m), e, rest + error, unit


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

    Formula: $\mathrm{RN}(x)$ with gradual underflow. What rounds beyond the largest element becomes what
    ``fmt.overflow`` says: an infinity in all formats but float8_e4m3fn, there NaN. Clause MHN-PRC-1, IEEE
    754.

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
    >>> from hopspec.formats import FLOAT8_E4M3FN
    >>> round_ratio(464, 1, FLOAT8_E4M3FN), round_ratio(465, 1, FLOAT8_E4M3FN)
    (448.0, nan)
    """
    if denominator <= 0:
        raise ValueError(f"denominator must be positive, got {denominator}")
    m, e = significand(numerator, denominator, exponent, fmt.precision, fmt.least_exponent)
    top = fmt.emax - fmt.precision + 1
    if m and (e > top or (e == top and abs(m) > fmt.largest_significand)):
        if fmt.overflow != "saturate":
            return _beyond(m, fmt)
        m, e = (-fmt.largest_significand if m < 0 else fmt.largest_significand), top
    if inside_float64(fmt):
        return math.ldexp(float(m), e)
    return _CONTEXT.make_mpf(raw(m, e))


def undefined(fmt: Format) -> Real:
    """NaN, of the type of the elements of ``fmt``."""
    return math.nan if inside_float64(fmt) else _CONTEXT.nan


def _beyond(m: int, fmt: Format) -> Real:
    if fmt.overflow == "nan":
        return undefined(fmt)
    if inside_float64(fmt):
        return math.copysign(math.inf, m)
    return _CONTEXT.ninf if m < 0 else _CONTEXT.inf


def round_bits(numerator: int, denominator: int, bits: int, exponent: int = 0) -> Real:
    """The number of at most ``bits`` significant bits nearest to the ratio, with no limit on the exponent.

    >>> round_bits(1, 3, 4)
    mpf('0.34375')
    """
    return _CONTEXT.make_mpf(raw(*significand(numerator, denominator, exponent, bits, None)))


def raw(m: int, e: int) -> tuple[int, Any, int, int]:
    """The normal form that mpmath keeps of ``m * 2**e``: sign, odd mantissa, exponent, bits."""
    if not m:
        return (0, MPZ(0), 0, 0)
    twos = (m & -m).bit_length() - 1
    magnitude = abs(m) >> twos
    return (int(m < 0), MPZ(magnitude), e + twos, magnitude.bit_length())
