"""Descriptors of arithmetic in F_p: the reference, one number at a time, and its vectorised twin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hopspec.pbit import PBit, PBits
from hopspec.reference.pbit import Arithmetic
from hopspec.reference.pbit.arrays import ArrayArithmetic
from hopspec.types import Construction

__all__ = ["ARRAYS", "REFERENCE", "ScalarArithmetic"]


class ScalarArithmetic:
    """Arithmetic in F_p through :class:`~hopspec.reference.pbit.Arithmetic`."""

    Kind: type[Arithmetic] = Arithmetic

    def supports(self, format: PBits) -> bool:
        """Every set."""
        return True

    def operate(self, operation: str, format: PBits, operands: Sequence[Sequence[Any]]) -> list[PBit]:
        """The results, one by one."""
        function = getattr(self.Kind(format), operation)
        return [function(*each) for each in zip(*operands, strict=True)]

    def construction(self, name: str) -> Construction:
        """The descriptor."""
        return Construction(name, arithmetic=self)


REFERENCE = ScalarArithmetic().construction("pbit-reference")
ARRAYS = Construction("pbit-arrays", arithmetic=ArrayArithmetic())
