"""Binary floating-point formats (clause MHN-PRC-1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["BFLOAT16", "DEFAULT_EPS", "FLOAT16", "FLOAT32", "FLOAT64", "FORMATS", "Format", "format_named"]


@dataclass(frozen=True, slots=True)
class Format:
    """A binary floating-point format with round-to-nearest, ties-to-even and gradual underflow.

    Its finite elements are the numbers ``m * 2**e`` with integers ``|m| < 2**precision`` and
    ``emin - precision + 1 <= e <= emax - precision + 1``.

    Args:
        name: the name used on the command line and in reports, for example ``"float32"``.
        precision: significand bits, the hidden bit included (24 for float32).
        emin: exponent of the least positive normal number ``2**emin``.
        emax: exponent of the largest binade, ``2**emax <= largest < 2**(emax + 1)``.

    Raises:
        ValueError: if ``precision < 2`` or ``emin >= emax``.

    >>> FLOAT32.unit_roundoff == 2**-24
    True
    """

    name: str
    precision: int
    emin: int
    emax: int

    def __post_init__(self) -> None:
        if self.precision < 2:
            raise ValueError(f"precision must be at least 2 bits, got {self.precision}")
        if self.emin >= self.emax:
            raise ValueError(f"emin must be below emax, got emin={self.emin}, emax={self.emax}")

    @property
    def unit_roundoff(self) -> float:
        """Half the distance from 1 to the next larger element, ``2**-precision``."""
        return math.ldexp(1.0, -self.precision)

    @property
    def least_exponent(self) -> int:
        """Exponent of the least positive (subnormal) element."""
        return self.emin - self.precision + 1

    @property
    def largest(self) -> int:
        """The largest finite element, as an exact integer (formats with ``emax >= precision - 1``)."""
        return ((1 << self.precision) - 1) << (self.emax - self.precision + 1)


FLOAT64 = Format("float64", 53, -1022, 1023)
FLOAT32 = Format("float32", 24, -126, 127)
BFLOAT16 = Format("bfloat16", 8, -126, 127)
FLOAT16 = Format("float16", 11, -14, 15)

# Stop threshold of settling where none is given (clause MHN-SET-1), by name of the format.
DEFAULT_EPS = {"float64": 2.0**-26, "float32": 1e-4, "float16": 2.0**-8, "bfloat16": 2.0**-6}

FORMATS: dict[str, Format] = {f.name: f for f in (FLOAT64, FLOAT32, BFLOAT16, FLOAT16)}


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
