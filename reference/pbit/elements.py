"""All elements of a small F_p (clause MHN-FPN-1)."""

from __future__ import annotations

from collections.abc import Iterator

from hopspec.clauses import implements
from hopspec.pbit import PBit, PBits

__all__ = ["elements"]


@implements("MHN-FPN-1")
def elements(format: PBits) -> Iterator[PBit]:
    """The elements of F_p in ascending order. Clause MHN-FPN-1.

    There are ``2**p (greatest - least + 1) + 1``, and with gradual underflow ``2**p - 2`` more.

    >>> [float(x) for x in elements(PBits(2, -1, 0))]
    [-3.0, -2.0, -1.5, -1.0, 0.0, 1.0, 1.5, 2.0, 3.0]
    """
    full = range(1 << (format.bits - 1), 1 << format.bits)
    short = range(1, full.start) if format.underflow == "gradual" else range(0)
    for e in range(format.greatest, format.least - 1, -1):
        yield from (PBit(-m, e) for m in reversed(full))
    yield from (PBit(-m, format.least) for m in reversed(short))
    yield format.zero
    yield from (PBit(m, format.least) for m in short)
    for e in range(format.least, format.greatest + 1):
        yield from (PBit(m, e) for m in full)
