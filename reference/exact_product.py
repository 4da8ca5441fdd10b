"""Products of integer matrices, exact, by floating-point hardware.

An integer of 62 bits is a sum of three slices of about 20. Products of slices, and sums of ``n`` of them,
are integers below ``2**53`` if a slice has ``(53 - log2 n) / 2`` bits: float64 computes them exactly, in
any order of summation, fused or not. The slices' products are put together as Python integers.
"""

from __future__ import annotations

from operator import mul

import numpy as np
import numpy.typing as npt

__all__ = ["Integers", "gram"]

Integers = npt.NDArray[np.int64]

# Below this many multiplications plain Python is faster.
_FEW = 3000


def gram(left: Integers, right: Integers) -> list[list[int]]:
    """``left.T @ right`` without rounding.

    Args:
        left: ``[n, p]``, entries below ``2**62`` in absolute value.
        right: ``[n, q]``, likewise.

    >>> big = np.array([[2**61], [3]])
    >>> gram(big, big) == [[2**122 + 9]]
    True
    """
    if left.size * right.shape[1] <= _FEW:
        return _plainly(left, right)
    count = left.shape[0]
    bits = (53 - max(count - 1, 1).bit_length()) // 2
    ours, theirs = _slices(left, bits), _slices(right, bits)
    total = np.zeros((left.shape[1], right.shape[1]), dtype=object)
    for place in range(len(ours) + len(theirs) - 1):
        terms = [
            (ours[k].T @ theirs[place - k]).astype(np.int64)
            for k in range(len(ours))
            if 0 <= place - k < len(theirs)
        ]
        total += np.sum(terms, axis=0, dtype=np.int64).astype(object) * (1 << (bits * place))
    rows: list[list[int]] = total.tolist()
    return rows


def _plainly(left: Integers, right: Integers) -> list[list[int]]:
    columns = right.T.tolist()
    return [[sum(map(mul, row, column)) for column in columns] for row in left.T.tolist()]


def _slices(matrix: Integers, bits: int) -> list[npt.NDArray[np.float64]]:
    """Slices of ``bits`` bits each, the last with signs, that make ``sum(slice_k * 2**(bits * k))``."""
    top = int(np.abs(matrix).max(initial=0)).bit_length()
    count = max(1, -(-top // bits))
    lower = [(matrix >> (bits * k)) & ((1 << bits) - 1) for k in range(count - 1)]
    return [part.astype(np.float64) for part in (*lower, matrix >> (bits * (count - 1)))]
