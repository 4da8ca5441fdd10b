"""What a layer does with matrices, over numbers of several kinds."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from hopspec.pbit import PBit
from hopspec.reference.pbit import Arithmetic
from hopspec.reference.pbit.arrays import Arrays, PBitArray

__all__ = ["ArrayField", "Field", "PBitField", "Rows", "ScalarField", "Scalars"]

Rows = Sequence[Sequence[float | Fraction]]
"""A matrix of exact real numbers."""

M = TypeVar("M")
T = TypeVar("T")


class Scalars(Protocol[T]):
    """Numbers of one kind."""

    def number(self, x: float | Fraction) -> T: ...
    def add(self, x: T, y: T) -> T: ...
    def subtract(self, x: T, y: T) -> T: ...
    def multiply(self, x: T, y: T) -> T: ...
    def divide(self, x: T, y: T) -> T: ...
    def sqrt(self, x: T) -> T: ...
    def exp(self, x: T) -> T: ...
    def maximum(self, xs: Sequence[T]) -> T: ...
    def sum(self, terms: Sequence[T]) -> T: ...
    def dot(self, xs: Sequence[T], ys: Sequence[T]) -> T: ...


class Field(Protocol[M]):
    """Matrices over numbers of one kind; every operation rounds as the numbers do."""

    def matrix(self, rows: Rows) -> M:
        """A matrix of the numbers nearest to ``rows``."""
        ...

    def products(self, x: M, y: M) -> M:
        """``[a, b]``: dot products of the rows of ``x`` ``[a, k]`` and of ``y`` ``[b, k]``."""
        ...

    def turned(self, x: M) -> M:
        """The transposed matrix."""
        ...

    def scaled(self, x: M, factor: float | Fraction) -> M:
        """Every entry times one number."""
        ...

    def weights(self, logits: M, shift: bool) -> M:
        """Exponentials; if ``shift``, of the differences from the largest entry of the row."""
        ...

    def averages(self, weights: M, values: M) -> M:
        """``[a, v]``: sums over the rows of ``values`` ``[b, v]``, weighted, over the sums of the weights."""
        ...

    def plus(self, x: M, row: M) -> M:
        """A row ``[1, k]`` added to every row."""
        ...

    def times(self, x: M, row: M) -> M:
        """Every row times a row ``[1, k]``, entry by entry."""
        ...

    def rectified(self, x: M) -> M:
        """``max(x, 0)``."""
        ...

    def standardized(self, x: M, epsilon: float | Fraction) -> M:
        """Rows less their mean, over the root of their mean square plus ``epsilon``."""
        ...


class ScalarField(Generic[T]):
    """Matrices as lists of rows, over any numbers.

    Args:
        of: the numbers.
    """

    def __init__(self, of: Scalars[T]) -> None:
        self.of = of

    def matrix(self, rows: Rows) -> list[list[T]]:
        return [[self.of.number(x) for x in row] for row in rows]

    def products(self, x: list[list[T]], y: list[list[T]]) -> list[list[T]]:
        return [[self.of.dot(row, other) for other in y] for row in x]

    def turned(self, x: list[list[T]]) -> list[list[T]]:
        return [list(column) for column in zip(*x, strict=True)]

    def scaled(self, x: list[list[T]], factor: float | Fraction) -> list[list[T]]:
        c = self.of.number(factor)
        return [[self.of.multiply(c, entry) for entry in row] for row in x]

    def weights(self, logits: list[list[T]], shift: bool) -> list[list[T]]:
        found = []
        for row in logits:
            if shift:
                top = self.of.maximum(row)
                row = [self.of.subtract(t, top) for t in row]  # noqa: PLW2901
            found.append([self.of.exp(t) for t in row])
        return found

    def averages(self, weights: list[list[T]], values: list[list[T]]) -> list[list[T]]:
        columns = self.turned(values)
        found = []
        for row in weights:
            total = self.of.sum(row)
            found.append([self.of.divide(self.of.dot(row, column), total) for column in columns])
        return found

    def plus(self, x: list[list[T]], row: list[list[T]]) -> list[list[T]]:
        return [[self.of.add(a, b) for a, b in zip(each, row[0], strict=True)] for each in x]

    def times(self, x: list[list[T]], row: list[list[T]]) -> list[list[T]]:
        return [[self.of.multiply(a, b) for a, b in zip(each, row[0], strict=True)] for each in x]

    def rectified(self, x: list[list[T]]) -> list[list[T]]:
        zero = self.of.number(0)
        return [[self.of.maximum([a, zero]) for a in row] for row in x]

    def standardized(self, x: list[list[T]], epsilon: float | Fraction) -> list[list[T]]:
        of, found = self.of, []
        for row in x:
            count = of.number(len(row))
            mean = of.divide(of.sum(row), count)
            centred = [of.subtract(a, mean) for a in row]
            square = of.divide(of.dot(centred, centred), count)
            root = of.sqrt(of.add(square, of.number(epsilon)))
            found.append([of.divide(a, root) for a in centred])
        return found


class PBitField(ScalarField[PBit]):
    """Matrices over F_p, one number at a time.

    Args:
        arithmetic: the numbers.
    """

    def __init__(self, arithmetic: Arithmetic) -> None:
        super().__init__(arithmetic)


class ArrayField:
    """Matrices over F_p as NumPy arrays, bit for bit those of :class:`PBitField`.

    Args:
        arrays: the numbers.
    """

    def __init__(self, arrays: Arrays) -> None:
        self.of = arrays

    def matrix(self, rows: Rows) -> PBitArray:
        given: object = rows
        if isinstance(given, np.ndarray) or all(isinstance(x, float) for row in rows for x in row):
            return self.of.numbers(given)
        return self.of.of([[self.of.exact.number(x) for x in row] for row in rows])

    def products(self, x: PBitArray, y: PBitArray) -> PBitArray:
        return self.of.products(x, y)

    def turned(self, x: PBitArray) -> PBitArray:
        return PBitArray(x.m.T, x.e.T)

    def scaled(self, x: PBitArray, factor: float | Fraction) -> PBitArray:
        return self.of.multiply(self._one(factor), x)

    def weights(self, logits: PBitArray, shift: bool) -> PBitArray:
        if shift:
            top = self.of.maximum(logits)
            logits = self.of.subtract(logits, top.at(slice(None), None))
        return self.of.exp(logits)

    def averages(self, weights: PBitArray, values: PBitArray) -> PBitArray:
        sums = self.products(weights, self.turned(values))
        return self.of.divide(sums, self.of.sum(weights).at(slice(None), None))

    def plus(self, x: PBitArray, row: PBitArray) -> PBitArray:
        return self.of.add(x, row)

    def times(self, x: PBitArray, row: PBitArray) -> PBitArray:
        return self.of.multiply(x, row)

    def rectified(self, x: PBitArray) -> PBitArray:
        kept = x.m > 0
        return PBitArray(np.where(kept, x.m, 0), np.where(kept, x.e, self.of.format.least))

    def standardized(self, x: PBitArray, epsilon: float | Fraction) -> PBitArray:
        of, column = self.of, (slice(None), None)
        count = self._one(x.shape[1])
        mean = of.divide(of.sum(x), count)
        centred = of.subtract(x, mean.at(*column))
        square = of.divide(of.dot(centred, centred), count)
        root = of.sqrt(of.add(square, self._one(epsilon)))
        return of.divide(centred, root.at(*column))

    def _one(self, x: Any) -> PBitArray:
        return self.of.of(self.of.exact.number(x))
