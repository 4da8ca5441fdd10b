"""Working precision as a policy (clause MHN-PRC-2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Precision"]


@dataclass(frozen=True, slots=True)
class Precision:
    """How many bits to compute with, as a function of the problem size ``n``.

    Build one with :meth:`fixed`, :meth:`logarithmic` or :meth:`polynomial`; the last two are the
    ``c log n`` and ``n**k`` policies under which the papers state their theorems (arXiv 2412.05562).

    >>> Precision.fixed(200).bits(10)
    200
    >>> Precision.logarithmic(4).bits(1024)
    40
    >>> Precision.polynomial(2).bits(30)
    900
    """

    kind: str
    parameter: float

    @classmethod
    def fixed(cls, bits: int) -> Precision:
        """``bits`` bits whatever the size."""
        if bits < 2:
            raise ValueError(f"bits must be at least 2, got {bits}")
        return cls("fixed", bits)

    @classmethod
    def logarithmic(cls, c: float) -> Precision:
        """``ceil(c * log2(n))`` bits, at least 2."""
        if not c > 0:
            raise ValueError(f"c must be positive, got {c}")
        return cls("logarithmic", c)

    @classmethod
    def polynomial(cls, k: float) -> Precision:
        """``ceil(n**k)`` bits, at least 2."""
        if not k > 0:
            raise ValueError(f"k must be positive, got {k}")
        return cls("polynomial", k)

    def bits(self, n: int) -> int:
        """Bits for a problem of size ``n >= 1``."""
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        if self.kind == "fixed":
            return int(self.parameter)
        raw = self.parameter * math.log2(n) if self.kind == "logarithmic" else n**self.parameter
        return max(2, math.ceil(raw))
