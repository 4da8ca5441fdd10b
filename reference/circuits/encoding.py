"""Elements of F_p as bits (clause MHN-CIR-1)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import implements
from hopspec.pbit import PBit, PBits

__all__ = ["decode", "encode", "exponent_width", "width"]


def exponent_width(fmt: PBits) -> int:
    """Number of bits of an exponent."""
    return (fmt.greatest - fmt.least).bit_length()


def width(fmt: PBits) -> int:
    """Number of bits of an element: a sign, p bits of the significand, the exponent.

    >>> width(PBits(6, -16, 15))
    12
    """
    return 1 + fmt.bits + exponent_width(fmt)


@implements("MHN-CIR-1")
def encode(xs: Iterable[PBit], fmt: PBits) -> NDArray[np.uint8]:
    """[count, width] The bits of some elements. Clause MHN-CIR-1.

    First the sign, then the significand's size from its last bit on, then the exponent less the least one.

    Raises:
        ValueError: if a number is no element.

    >>> encode([PBit(-5, 1)], PBits(3, 0, 3)).tolist()
    [[1, 1, 0, 1, 1, 0]]
    """
    there = list(xs)
    for x in there:
        if not fmt.contains(x):
            raise ValueError(f"xs must be elements of {fmt}, got {x}")
    codes = [(x.e - fmt.least << fmt.bits | abs(x.m)) << 1 | (x.m < 0) for x in there]
    places = range(width(fmt))
    return np.array([[code >> k & 1 for k in places] for code in codes], np.uint8).reshape(-1, width(fmt))


def decode(bits: NDArray[np.uint8], fmt: PBits) -> list[PBit]:
    """The elements that bits [count, width] stand for, see :func:`encode`."""
    found = []
    for row in bits.tolist():
        code = sum(b << k for k, b in enumerate(row))
        size, exponent = code >> 1 & (1 << fmt.bits) - 1, code >> 1 + fmt.bits
        found.append(PBit(-size if code & 1 else size, fmt.least + exponent))
    return found
