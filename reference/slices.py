r"""Matrices of floats as sums of matrices of small integers, whose library products are exact.

An array with $|x| \le 2^e$ is split into *slices*, integers $X_a$ with $|X_a| \le 2^{b-1}$ and

$$ x = 2^{e-(b-1)} \Bigl(\sum_{a<K} 2^{-ba} X_a + R\Bigr), \qquad |R| \le 2^{b-1-bK} . $$

A product of two matrices of slices is a matrix of integers. As long as the sum of the sizes of all its terms
is at most $2^{53}$, every partial sum in every order is an integer that float64 holds, so the library's
product is exact. Clause MHN-BIG-1 has the proofs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import implements

__all__ = ["Grid", "choose_grid", "exponents", "level_sums", "split"]

Array = NDArray[np.float64]

MOST_BITS = 22
MOST_LEVELS = 12
# The slices stop where what they leave out moves no logit by more than this.
RESOLUTION = -92


@dataclass(frozen=True, slots=True)
class Grid:
    """How finely a problem is sliced.

    Args:
        bits: ``b``, the bits of one slice.
        levels: ``K``; products of slices ``a`` and ``c`` with ``a + c >= K`` are left out.
    """

    bits: int
    levels: int


def choose_grid(width: int, size: int) -> Grid:
    """The least number of levels, and the most bits, for which all products are exact.

    Args:
        width: ``d``, how many terms an inner product has.
        size: no logit exceeds ``2**size``.

    >>> choose_grid(128, 12)
    Grid(bits=22, levels=5)
    """
    for levels in range(1, MOST_LEVELS + 1):
        bits = min(MOST_BITS, (52 - (levels * width).bit_length()) // 2 + 1)
        if size + 1 + (levels + 3).bit_length() - bits * levels <= RESOLUTION:
            break
    return Grid(bits, levels)


def exponents(array: Array, axis: int | None = None) -> NDArray[np.int64]:
    """Least ``e`` with ``|x| < 2**e`` for all entries, or for each row with ``axis=1``; 0 where all are 0.

    >>> exponents(np.array([[0.75, -4.0], [0.0, 0.0]]), axis=1)
    array([3, 0])
    """
    largest = np.abs(array).max(axis=axis, initial=0.0)
    return np.asarray(np.frexp(largest)[1], dtype=np.int64)


@implements("MHN-BIG-1")
def split(array: Array, exponent: Any, bits: int, count: int) -> tuple[list[Array], bool]:
    """At most ``count`` slices of ``array``, and whether they are all of it.

    Formula: the one of the module's description; clause MHN-BIG-1.

    Args:
        array: ``[n, d]``, finite.
        exponent: ``e``, for all of it or ``[n, 1]``.
        bits: ``b``.
        count: the most slices wanted.

    >>> parts, exact = split(np.array([[0.8125]]), 0, 3, 5)
    >>> [int(part[0, 0]) for part in parts], exact  # 13/16 = (3 + 2/8) / 4
    ([3, 2], True)
    """
    shift = bits - 1 - exponent
    rest = np.ldexp(array, shift)
    # Scaling down can push an entry below the least float.
    whole = bool(np.all(shift >= 0)) or bool(np.array_equal(np.ldexp(rest, -shift), array))
    parts: list[Array] = []
    for _ in range(count):
        part = np.rint(rest)
        parts.append(part)
        rest -= part
        if not rest.any():
            return parts, whole
        rest *= 2.0**bits
    return parts, False


@implements("MHN-BIG-1")
def level_sums(query: list[Array], memory: list[Array], levels: int) -> list[Array]:
    r"""The integers $C_k = \sum_{a + c = k} X_a Q_c^{\mathsf T}$, transposed, for $k <$ ``levels``.

    Args:
        query: slices ``[L, d]``.
        memory: slices ``[n, d]``.
        levels: ``K``.

    Returns:
        At most ``levels`` arrays ``[L, n]`` of exact integers.

    >>> level_sums([np.array([[2.0]]), np.array([[1.0]])], [np.array([[3.0]])], 5)
    [array([[6.]]), array([[3.]])]
    """
    rows = len(query[0])
    stacked = np.concatenate(query)
    sums: list[Array] = []
    for a, part in enumerate(memory[:levels]):
        count = min(len(query), levels - a)
        products = stacked[: count * rows] @ part.T
        for c in range(count):
            product = products[c * rows : (c + 1) * rows]
            if a + c < len(sums):
                sums[a + c] += product
            else:
                sums.append(product)
    return sums
