"""Inputs as the exact rational numbers they are (clause MHN-DOM-1).

Every binary float is an integer times a power of two, so a matrix of floats is a matrix of integers with one
common exponent. Fractions whose denominator is no power of two add one common odd denominator. From here on
the reference computes with integers only: scores, logits, norms and column ranges carry no rounding error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from operator import itemgetter, or_
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from hopspec.clauses import implements

__all__ = ["Matrix", "Rational", "exact_matrix", "exact_number", "keep_mask", "nested", "pick"]

# Up to this many entries Python's floats are converted faster than NumPy's (measured).
_FEW = 32

T = TypeVar("T")

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rational:
    """The number ``numerator * 2**exponent / denominator`` with an odd positive ``denominator``."""

    numerator: int
    exponent: int
    denominator: int

    def fraction(self) -> Fraction:
        """The same number as a :class:`fractions.Fraction`."""
        return Fraction(self.numerator, self.denominator) * Fraction(2) ** self.exponent


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix of rationals with one common exponent and denominator.

    Entry ``(i, j)`` is ``rows[i][j] * 2**exponent / denominator``. Entries that are NaN or infinite are
    listed in ``undefined``, hold 0 in ``rows``, and make ``finite[i]`` False.
    """

    rows: list[list[int]]
    exponent: int
    denominator: int
    width: int
    finite: list[bool]
    undefined: tuple[tuple[int, int], ...] = ()

    def fraction(self, i: int, j: int) -> Fraction:
        """Entry ``(i, j)`` as a :class:`fractions.Fraction`."""
        return Rational(self.rows[i][j], self.exponent, self.denominator).fraction()


@implements("MHN-DOM-1")
def exact_number(value: Any, name: str) -> Rational | None:
    """The rational that ``value`` is, or None for a NaN or an infinity.

    Formula: ``value = numerator * 2**exponent / denominator``, no rounding anywhere. Clause MHN-DOM-1.

    Args:
        value: an int, float, Fraction, mpmath number, NumPy scalar, or a 0-d array or tensor of one.
        name: the argument's name, for error messages.

    Raises:
        TypeError: if ``value`` is no real number.

    >>> exact_number(0.75, "beta")
    Rational(numerator=3, exponent=-2, denominator=1)
    >>> exact_number(Fraction(5, 6), "beta")
    Rational(numerator=5, exponent=-1, denominator=3)
    >>> exact_number(float("nan"), "beta") is None
    True
    """
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        numerator, denominator = value.as_integer_ratio()
        return Rational(numerator, 1 - denominator.bit_length(), 1)
    if isinstance(value, int):
        return Rational(int(value), 0, 1)
    if hasattr(value, "_mpf_"):
        sign, mantissa, exponent, _ = value._mpf_
        if not mantissa and exponent:
            return None
        return Rational(-int(mantissa) if sign else int(mantissa), int(exponent), 1)
    if isinstance(value, np.integer | np.bool_) or getattr(value, "shape", None) == ():
        inner = value.item() if hasattr(value, "item") else value.tolist()
        if type(inner) is not type(value):
            return exact_number(inner, name)
    if hasattr(value, "as_integer_ratio"):
        try:
            numerator, denominator = map(int, value.as_integer_ratio())
        except (OverflowError, ValueError):
            return None
        twos = (denominator & -denominator).bit_length() - 1
        return Rational(numerator, -twos, denominator >> twos)
    raise TypeError(f"{name} must hold real numbers, got {type(value).__name__} {value!r}")


def exact_matrix(value: Any, name: str, width: int | None = None) -> tuple[Matrix, bool]:
    """The matrix of rationals that ``value`` is, and whether it was given as one row ``[d]``.

    Args:
        value: ``[d]`` or ``[rows, d]``: nested sequences, a NumPy array, or anything with ``tolist()``.
        name: the argument's name, for error messages.
        width: the number of columns an empty sequence (which cannot tell) is taken to have.

    Raises:
        TypeError: if an entry is no real number.
        ValueError: if the shape is neither ``[d]`` nor ``[rows, d]``.

    >>> matrix, single = exact_matrix([[0.5, 1.0], [2.0, -1.5]], "memory")
    >>> matrix.rows, matrix.exponent, single
    ([[1, 2], [4, -3]], -1, False)
    """
    shape = tuple(int(n) for n in value.shape) if hasattr(value, "shape") else None
    if isinstance(value, np.ndarray) and value.dtype in (np.float64, np.float32, np.float16):
        if value.ndim not in (1, 2):
            raise ValueError(f"{name} must have shape [d] or [rows, d], got {list(value.shape)}")
        single = value.ndim == 1
        if value.size <= _FEW:
            few = [value.tolist()] if single else value.tolist()
            if (matrix := _from_few_floats(few, int(value.shape[-1]))) is not None:
                return matrix, single
        return _from_floats(np.atleast_2d(value.astype(np.float64))), single
    rows = nested(value)
    if not isinstance(rows, list):
        raise TypeError(f"{name} must be an array of shape [d] or [rows, d], got {type(value).__name__}")
    if not rows:
        if shape is not None and len(shape) == 2:
            width = shape[1]
        return Matrix([], 0, 1, width or 0, []), shape is not None and len(shape) == 1
    single = not isinstance(rows[0], list)
    if single:
        rows = [rows]
    width = len(rows[0]) if isinstance(rows[0], list) else 0
    types: set[type] = set()
    for i, row in enumerate(rows):
        inside = set(map(type, row)) if isinstance(row, list) else {list}
        if list in inside:
            raise ValueError(f"{name} must have shape [d] or [rows, d], got another depth at row {i}")
        if len(row) != width:
            raise ValueError(f"{name} must have rows of one length {width}, got {len(row)} at row {i}")
        types |= inside
    if types == {float}:
        if len(rows) * width <= _FEW and (matrix := _from_few_floats(rows, width)) is not None:
            return matrix, single
        return _from_floats(np.array(rows, dtype=np.float64).reshape(len(rows), width)), single
    return _from_numbers([[exact_number(entry, name) for entry in row] for row in rows], width), single


def keep_mask(keep: Any, queries: int, memories: int) -> BoolArray:
    """The keep mask broadcast to ``[queries, memories]``; all True for None (clause MHN-MSK-1).

    Raises:
        TypeError: if an entry is not a bool.
        ValueError: if the shape does not broadcast.

    >>> keep_mask([True, False], 1, 2)
    array([[ True, False]])
    """
    if keep is None:
        return np.ones((queries, memories), dtype=np.bool_)
    array = keep if isinstance(keep, np.ndarray) else np.array(nested(keep))
    if array.size == 0:
        array = array.astype(np.bool_)
    if array.dtype != np.bool_:
        raise TypeError(f"keep must hold bools, got {array.dtype}")
    expected = f"keep must broadcast to [L, N] = [{queries}, {memories}]"
    if array.ndim > 2:
        raise ValueError(f"{expected}, got {list(array.shape)}")
    try:
        return np.array(np.broadcast_to(array, (queries, memories)))
    except ValueError:
        raise ValueError(f"{expected}, got {list(array.shape)}") from None


def nested(value: Any) -> Any:
    """``value`` as nested lists of numbers; a number itself stays as it is."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if type(value) is list and set(map(type, value)) == {float}:
        return value
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [nested(entry) for entry in value]
    return value


def _from_floats(array: npt.NDArray[np.float64]) -> Matrix:
    finite = np.isfinite(array)
    undefined: list[tuple[int, int]] = []
    if not finite.all():
        undefined = [(int(i), int(j)) for i, j in np.argwhere(~finite)]
        array = np.where(finite, array, 0.0)
    mantissas, exponents = np.frexp(array)
    integers = (mantissas * 2.0**53).astype(np.int64)
    # Entries are integers * 2**(exponents - 53), and trailing zeros go into the exponent: float32 data then
    # need 24 bits and not 53. frexp of the lowest bit gives one more than the number of trailing zeros.
    lowest = (exponents + np.frexp(integers & -integers)[1])[integers != 0]
    if not lowest.size:
        return _matrix(integers.tolist(), 0, 1, array.shape[1], undefined)
    common = int(lowest.min()) - 54
    with np.errstate(over="ignore"):
        scaled = np.ldexp(array, -common)
        largest = float(np.abs(scaled).max())
    if largest < 2.0**62:
        rows = scaled.astype(np.int64).tolist()
    elif largest < math.inf:
        rows = [list(map(int, row)) for row in scaled.tolist()]
    else:
        shifts = (exponents - 53 - common).tolist()
        rows = [
            [m << s if s >= 0 else m >> -s for m, s in zip(row, row_shifts, strict=True)]
            for row, row_shifts in zip(integers.tolist(), shifts, strict=True)
        ]
    return _matrix(rows, common, 1, array.shape[1], undefined)


def _from_few_floats(rows: list[list[float]], width: int) -> Matrix | None:
    """:func:`_from_floats` without NumPy, whose calls cost more than a few numbers; finite ones only."""
    entries = [x for row in rows for x in row]
    if not all(map(math.isfinite, entries)):
        return None
    ratios = [x.as_integer_ratio() for x in entries]
    denominator = max([n for _, n in ratios], default=1)
    integers = [m * (denominator // n) for m, n in ratios]
    bits = reduce(or_, integers, 0)
    zeros = (bits & -bits).bit_length() - 1 if bits else 0
    if zeros:
        integers = [m >> zeros for m in integers]
    exponent = zeros + 1 - denominator.bit_length() if bits else 0
    whole = [integers[i : i + width] for i in range(0, len(integers), width)] if width else [[] for _ in rows]
    return _matrix(whole, exponent, 1, width, [])


def _from_numbers(numbers: list[list[Rational | None]], width: int) -> Matrix:
    present = [n for row in numbers for n in row if n is not None and n.numerator]
    denominator = math.lcm(*(n.denominator for n in present))
    exponent = min((n.exponent for n in present), default=0)

    def integer(n: Rational | None) -> int:
        if n is None or not n.numerator:
            return 0
        return (n.numerator * (denominator // n.denominator)) << (n.exponent - exponent)

    undefined = [(i, j) for i, row in enumerate(numbers) for j, n in enumerate(row) if n is None]
    return _matrix([[integer(n) for n in row] for row in numbers], exponent, denominator, width, undefined)


def _matrix(
    rows: list[list[int]], exponent: int, denominator: int, width: int, undefined: list[tuple[int, int]]
) -> Matrix:
    finite = [True] * len(rows)
    for i, _ in undefined:
        finite[i] = False
    return Matrix(rows, exponent, denominator, width, finite, tuple(undefined))


def pick(indices: Sequence[int], entries: Sequence[T]) -> Sequence[T]:
    """``[entries[i] for i in indices]``, ``entries`` itself where that is all of them.

    >>> pick([0, 2], "abc")
    ('a', 'c')
    """
    if len(indices) == len(entries):
        return entries
    if len(indices) > 1:
        chosen: tuple[T, ...] = itemgetter(*indices)(entries)
        return chosen
    return [entries[i] for i in indices]
