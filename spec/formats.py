"""Binary floating-point formats (clause MHN-PRC-1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "BFLOAT16",
    "DEFAULT_EPS",
    "FLOAT8_E4M3FN",
    "FLOAT8_E5M2",
    "FLOAT16",
    "FLOAT32",
    "FLOAT64",
    "FORMATS",
    "Format",
    "Overflow",
    "format_named",
]

Overflow = Literal["infinite", "nan", "saturate"]
"""What a number that rounds beyond the largest element becomes: an infinity, NaN, or the largest element."""


@dataclass(frozen=True, slots=True)
class Format:
    """A binary floating-point format with round-to-nearest, ties-to-even and gradual underflow.

    Its finite elements are the numbers ``m * 2**e`` with integers ``|m| < 2**precision`` and
    ``emin - precision + 1 <= e <= emax - precision + 1``, less the ``reserved`` largest.

    Args:
        name: the name used on the command line and in reports, for example ``"float32"``.
        precision: significand bits, the hidden bit included (24 for float32).
        emin: exponent of the least positive normal number ``2**emin``.
        emax: exponent of the largest binade, ``2**emax <= largest < 2**(emax + 1)``.
        overflow: what a number that rounds beyond the largest element becomes.
        reserved: how many bit patterns of the largest binade stand for something else, as NaN does in
            float8_e4m3fn.

    Raises:
        TypeError: if a number of bits or an exponent is no int.
        ValueError: if ``precision < 2``, if there is no room for the exponents (``emin >= emax``), if
            ``overflow`` is no policy, or if ``reserved`` leaves nothing of the largest binade.

    >>> FLOAT32.unit_roundoff == 2**-24
    True
    >>> FLOAT8_E4M3FN.largest, FLOAT8_E5M2.largest
    (448, 57344)
    """

    name: str
    precision: int
    emin: int
    emax: int
    overflow: Overflow = "infinite"
    reserved: int = 0

    def __post_init__(self) -> None:
        for field in ("precision", "emin", "emax", "reserved"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{field} must be an int, got {type(value).__name__} {value!r}")
        if self.precision < 2:
            raise ValueError(f"precision must be at least 2 bits, got {self.precision}")
        if self.emin >= self.emax:
            raise ValueError(
                f"format {self.name!r} has no room for its exponents: emin must be below emax, got "
                f"emin={self.emin}, emax={self.emax}"
            )
        if self.overflow not in ("infinite", "nan", "saturate"):
            raise ValueError(f"overflow must be 'infinite', 'nan' or 'saturate', got {self.overflow!r}")
        if not 0 <= self.reserved < 1 << (self.precision - 1):
            raise ValueError(
                f"reserved must be at least 0 and below 2**(precision - 1) = {1 << (self.precision - 1)}, "
                f"got {self.reserved}"
            )

    @property
    def unit_roundoff(self) -> float:
        """Half the distance from 1 to the next larger element, ``2**-precision``."""
        return math.ldexp(1.0, -self.precision)

    @property
    def least_exponent(self) -> int:
        """Exponent of the least positive (subnormal) element."""
        return self.emin - self.precision + 1

    @property
    def largest_significand(self) -> int:
        """The ``m`` of the largest finite element ``m * 2**(emax - precision + 1)``."""
        return (1 << self.precision) - 1 - self.reserved

    @property
    def largest(self) -> int:
        """The largest finite element, as an exact integer.

        Raises:
            ValueError: if it need not be one, because ``emax < precision - 1``.
        """
        exponent = self.emax - self.precision + 1
        if exponent < 0:
            raise ValueError(
                f"the largest element of {self.name!r} is no integer: emax must be at least precision - 1 = "
                f"{self.precision - 1}, got {self.emax}"
            )
        return self.largest_significand << exponent


FLOAT64 = Format("float64", 53, -1022, 1023)
FLOAT32 = Format("float32", 24, -126, 127)
BFLOAT16 = Format("bfloat16", 8, -126, 127)
FLOAT16 = Format("float16", 11, -14, 15)
FLOAT8_E5M2 = Format("float8_e5m2", 3, -14, 15)
# Without infinities: where IEEE 754 has them, there are further numbers, and only the largest pattern is NaN.
FLOAT8_E4M3FN = Format("float8_e4m3fn", 4, -6, 8, overflow="nan", reserved=1)

# Stop threshold of settling where none is given (clause MHN-SET-1), by name of the format.
DEFAULT_EPS = {"float64": 2.0**-26, "float32": 1e-4, "float16": 2.0**-8, "bfloat16": 2.0**-6}

FORMATS: dict[str, Format] = {
    f.name: f for f in (FLOAT64, FLOAT32, BFLOAT16, FLOAT16, FLOAT8_E5M2, FLOAT8_E4M3FN)
}


def format_named(name: str) -> Format:
    """Return the built-in format called ``name``.

    Raises:
        ValueError: if there is no such format; the message lists those there are.

    >>> format_named("bfloat16").precision
    8
    """
    try:
        return FORMATS[name]
    except KeyError:
        raise ValueError(f"no format named {name!r}; expected one of {', '.join(FORMATS)}") from None
