"""The same network on arrays, bit for bit (clause MHN-COT-3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hopspec.pbit import PBit, PBits
from hopspec.reference.pbit.arrays import Arrays, PBitArray
from hopspec.reference.thought.network import Matrix, WordNetwork

__all__ = ["ArrayMachine"]


class ArrayMachine:
    """A :class:`~hopspec.reference.thought.running.Machine` on arrays of int64, for p up to 29.

    As in :class:`~hopspec.reference.thought.running.PlainMachine`, what is multiplied by a weight of 0 is
    left out of sums, which are exact, and tokens are projected once.

    Args:
        network: the network.
        capacity: the most tokens.

    Raises:
        ValueError: if p is too large for int64.
    """

    def __init__(self, network: WordNetwork, capacity: int) -> None:
        self.arrays = Arrays(PBits(network.bits))
        weights = network.weights
        self.query, self.key, self.value, self.hidden, self.out = (
            _Sparse(matrix, self.arrays)
            for matrix in (weights.query, weights.key, weights.value, weights.hidden, weights.output)
        )
        self.bias = self.arrays.numbers(weights.bias)
        self.beta = self.arrays.numbers(weights.beta)
        self.keys = self.arrays.zeros((capacity, 3 * network.digits))
        self.values = self.arrays.zeros((capacity, len(weights.hidden)))
        self.last = self.arrays.zeros((len(weights.query),))
        self.count = 0

    def append(self, row: Sequence[int]) -> None:
        """Take one more token, its row rounded to F_p."""
        self.last = self.arrays.numbers(row)
        for store, made in ((self.keys, self.key), (self.values, self.value)):
            store.m[self.count], store.e[self.count] = made.product(self.last)
        self.count += 1

    def weights(self) -> PBitArray:
        """The weight of every token for the last one, before they are divided by their sum."""
        f = self.arrays
        scores = f.dot(self.query.product(self.last), self.keys.at(slice(self.count)))
        return f.exp(f.multiply(self.beta, scores))

    def output(self) -> list[PBit]:
        """The network's output for the last token, ``[25]``."""
        f = self.arrays
        weights = self.weights()
        total = f.sum(weights)
        there = np.flatnonzero(weights.m)
        products = f.multiply(weights.at(there, None), self.values.at(there))
        found = f.divide(f.sum(PBitArray(products.m.T, products.e.T)), total)
        inner = f.add(self.hidden.product(found), self.bias)
        fired = PBitArray(np.maximum(inner.m, 0), np.where(inner.m > 0, inner.e, f.format.least))
        cells: list[PBit] = self.out.product(fired).tolist()
        return cells


class _Sparse:
    """A matrix by the entries of its columns that are not 0, as many for each as the fullest one has."""

    def __init__(self, matrix: Matrix, arrays: Arrays) -> None:
        columns = [[(row, x) for row, x in enumerate(column) if x] for column in zip(*matrix, strict=True)]
        most = max(map(len, columns))
        full = [[*column, *[(0, 0)] * (most - len(column))] for column in columns]
        entries: NDArray[np.int64] = np.array(full, dtype=np.int64)
        self.rows, self.entries = entries[..., 0], arrays.numbers(entries[..., 1])
        self.arrays = arrays

    def product(self, row: PBitArray) -> PBitArray:
        """``row @ matrix``: every product rounded, every sum exact and rounded once."""
        return self.arrays.dot(row.at(self.rows), self.entries)
