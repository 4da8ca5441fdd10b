"""Positions as digits, and the least precision that keeps them apart (clauses MHN-COT-3 and MHN-COT-5)."""

from __future__ import annotations

from hopspec.clauses import implements
from hopspec.reference.hardness.drawing import at_least

__all__ = ["base_for", "digits_of", "least_bits"]


@implements("MHN-COT-3")
def base_for(length: int, digits: int) -> int:
    """The least base, from 2, in which ``length`` positions have ``digits`` digits (clause MHN-COT-3).

    Args:
        length: number of positions, at least 1.
        digits: at least 1.

    Raises:
        TypeError: if an argument is no int.
        ValueError: if one is smaller than 1.

    >>> [base_for(10_000, digits) for digits in (1, 2, 3, 4, 14)]
    [10000, 100, 22, 10, 2]
    """
    at_least("length", length, 1)
    at_least("digits", digits, 1)
    below, enough = 1, 2
    while enough**digits < length:
        below, enough = enough, 2 * enough
    while enough - below > 1:
        middle = (below + enough) // 2
        if middle**digits < length:
            below = middle
        else:
            enough = middle
    return enough


@implements("MHN-COT-3")
def digits_of(position: int, base: int, digits: int) -> tuple[int, ...]:
    """The digits of a position, the least significant one first (clause MHN-COT-3).

    Raises:
        ValueError: if the position has more digits.

    >>> digits_of(9_876, 100, 2)
    (76, 98)
    """
    found = []
    rest = position
    for _ in range(digits):
        rest, digit = divmod(rest, base)
        found.append(digit)
    if rest:
        raise ValueError(f"position must have at most {digits} digits to the base {base}, got {position}")
    return tuple(found)


@implements("MHN-COT-5")
def least_bits(length: int, digits: int = 1) -> int:
    r"""The least p at which every letter is told from every other one (clause MHN-COT-5).

    Formula: $\max(2, \lfloor\log_2 a^2\rfloor + 1)$, where a is the largest odd digit.

    Args:
        length: number of letters, at least 1.
        digits: of a position, at least 1.

    Raises:
        TypeError: if an argument is no int.
        ValueError: if one is smaller than 1.

    >>> [least_bits(10_000, digits) for digits in (1, 2, 3, 4, 14)]
    [27, 14, 9, 7, 2]
    """
    base = base_for(length, digits)
    odd = base - 1 if base % 2 == 0 else base - 2
    return max(2, (odd * odd).bit_length())
