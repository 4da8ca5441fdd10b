"""Numbers as bit patterns and back, for every format of :data:`hopspec.formats.FORMATS`.

A pattern is written as hexadecimal digits, most significant first, as many as the format has bits divided by
four; an array is one string, row after row, without separators.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from hopspec.formats import FLOAT64, Format
from hopspec.properties.problem import Array

__all__ = ["digits_of", "from_bits", "has_infinity", "pack", "pack_one", "to_bits", "unpack"]


def _exponent_bits(fmt: Format) -> int:
    # The exponent field is biased by 1 - emin = 2**(bits - 1) - 1.
    return (1 - fmt.emin).bit_length() + 1


def width_of(fmt: Format) -> int:
    """Number of bits of one element.

    >>> from hopspec.formats import FORMATS
    >>> [width_of(FORMATS[name]) for name in ("float64", "float32", "bfloat16", "float16")]
    [64, 32, 16, 16]
    """
    return _exponent_bits(fmt) + fmt.precision


def digits_of(fmt: Format) -> int:
    """Number of hexadecimal digits of one element."""
    return width_of(fmt) // 4


def has_infinity(fmt: Format) -> bool:
    """Whether the largest exponent field means infinity or NaN, as in IEEE 754.

    The 8-bit format e4m3fn uses it for numbers, all but the pattern of all ones, which is its only NaN.
    """
    return fmt.emax == 1 - fmt.emin


def to_bits(x: float, fmt: Format) -> int:
    """The bit pattern of an element of ``fmt``; NaN is the quiet NaN without payload.

    Raises:
        ValueError: if ``x`` is not an element.

    >>> hex(to_bits(-1.5, FLOAT64))
    '0xbff8000000000000'
    """
    fraction = fmt.precision - 1
    sign = int(math.copysign(1.0, x) < 0) << (width_of(fmt) - 1)
    top = (1 << (width_of(fmt) - 1)) - 1
    if math.isnan(x):
        return (top >> fraction << fraction) | (1 << (fraction - 1)) if has_infinity(fmt) else top
    if math.isinf(x):
        if not has_infinity(fmt):
            raise ValueError(f"{fmt.name} has no infinity")
        return sign | (top >> fraction << fraction)
    if x == 0:
        return sign
    mantissa, exponent = math.frexp(abs(x))
    grid = max(exponent - fmt.precision, fmt.least_exponent)
    steps = math.ldexp(mantissa, exponent - grid)
    if steps != int(steps) or abs(x) > fmt.largest:
        raise ValueError(f"{x!r} is not an element of {fmt.name}")
    # A subnormal number has no hidden bit, and field 0 instead of 1.
    return sign | (int(steps) + ((grid - fmt.least_exponent) << fraction))


def from_bits(bits: int, fmt: Format) -> float:
    """The number that a bit pattern of ``fmt`` stands for.

    >>> from_bits(0x7fc00000, Format("float32", 24, -126, 127))
    nan
    """
    fraction = fmt.precision - 1
    magnitude = bits & ((1 << (width_of(fmt) - 1)) - 1)
    sign = -1.0 if bits >> (width_of(fmt) - 1) else 1.0
    field, rest = magnitude >> fraction, magnitude & ((1 << fraction) - 1)
    all_ones = (1 << _exponent_bits(fmt)) - 1
    if field == all_ones:
        if has_infinity(fmt):
            return math.nan if rest else sign * math.inf
        if rest == (1 << fraction) - 1:
            return math.nan
    if field == 0:
        return sign * math.ldexp(rest, fmt.least_exponent)
    return sign * math.ldexp(rest | (1 << fraction), field - 1 + fmt.least_exponent)


def pack_one(x: float, fmt: Format = FLOAT64) -> str:
    """The digits of one number.

    >>> pack_one(1.0)
    '3ff0000000000000'
    """
    return f"{to_bits(x, fmt):0{digits_of(fmt)}x}"


def pack(numbers: Iterable[float], fmt: Format = FLOAT64) -> str:
    """The digits of several numbers, one after the other."""
    if fmt is FLOAT64:
        # The machine's own patterns are these, and most of a vector is float64.
        wide = np.array([float(x) for x in numbers], dtype=">f8")
        wide[np.isnan(wide)] = np.nan
        return wide.tobytes().hex()
    return "".join(pack_one(float(x), fmt) for x in numbers)


def unpack(text: str, fmt: Format = FLOAT64) -> Array:
    """The numbers whose digits ``text`` holds, in float64.

    Raises:
        ValueError: if there is anything but hexadecimal digits, or not a whole number of elements.

    >>> unpack("3ff0000000000000c000000000000000")
    array([ 1., -2.])
    """
    digits = digits_of(fmt)
    if len(text) % digits:
        raise ValueError(f"expected groups of {digits} digits for {fmt.name}, got {len(text)} digits")
    if not set(text) <= set("0123456789abcdefABCDEF"):
        raise ValueError(f"expected hexadecimal digits only, got {text[:40]!r}")
    if fmt is FLOAT64:
        return np.frombuffer(bytes.fromhex(text), dtype=">f8").astype(np.float64)
    words = (text[i : i + digits] for i in range(0, len(text), digits))
    return np.array([from_bits(int(word, 16), fmt) for word in words], dtype=np.float64)
