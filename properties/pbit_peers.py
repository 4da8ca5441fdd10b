"""Descriptors of arithmetic in F_p: the reference, one number at a time, and its vectorised twin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hopspec.pbit import PBit, PBits
from hopspec.reference.networks.fields import ArrayField, PBitField
from hopspec.reference.networks.retrieval import read_out
from hopspec.reference.pbit import Arithmetic
from hopspec.reference.pbit.arrays import ArrayArithmetic, Arrays
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

    def update(
        self, format: PBits, query: Sequence[Sequence[float]], memory: Sequence[Sequence[float]], beta: float
    ) -> list[list[PBit]]:
        """One update, one number at a time."""
        return read_out(self.field(format), query, memory, beta, shift=True)

    def field(self, format: PBits) -> PBitField:
        """Matrices of such numbers."""
        return PBitField(self.Kind(format))

    def construction(self, name: str) -> Construction:
        """The descriptor."""
        return Construction(name, arithmetic=self)


class ArrayUpdates(ArrayArithmetic):
    """The vectorised twin, with updates of whole matrices."""

    def update(
        self, format: PBits, query: Sequence[Sequence[float]], memory: Sequence[Sequence[float]], beta: float
    ) -> list[list[PBit]]:
        """One update on arrays."""
        found: list[list[PBit]] = read_out(
            ArrayField(Arrays(format)), query, memory, beta, shift=True
        ).tolist()
        return found


REFERENCE = ScalarArithmetic().construction("pbit-reference")
ARRAYS = Construction("pbit-arrays", arithmetic=ArrayUpdates())
