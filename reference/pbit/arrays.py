"""Arithmetic in F_p on NumPy arrays, bit for bit that of :class:`~hopspec.reference.pbit.Arithmetic`.

Significands and exponents are int64, so p is at most 29: products and shifted quotients then fit. What int64
cannot hold, sums whose exponents lie hundreds apart and exponentials next to a boundary, goes through the
reference one number at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hopspec.pbit import PBit, PBits
from hopspec.reference.exponential import exp_fixed, log_two
from hopspec.reference.pbit.arithmetic import Arithmetic

__all__ = ["MOST_BITS", "ArrayArithmetic", "Arrays", "PBitArray"]

MOST_BITS = 29
"""Largest p for which int64 holds every intermediate result."""

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

# Bits of a limb of a long sum, and how many there are before the reference takes over.
LIMB = 32
LIMBS = 12
MASK = (1 << LIMB) - 1
# Proved relative error of the float64 exponential.
EXP_BITS = 48
# Products formed at a time: some hundred kilobytes of them.
PRODUCTS = 1 << 15
# Exponents up to this size leave products and sums in the range of float64.
FARTHEST = 400
# Table of exp(j / STEPS).
STEPS = 32


class PBitArray(NamedTuple):
    """Elements of F_p.

    Args:
        m: significands, int64.
        e: exponents, int64, of the same shape.
    """

    m: Integers
    e: Integers

    @property
    def shape(self) -> tuple[int, ...]:
        """The common shape."""
        return self.m.shape

    def at(self, *index: Any) -> PBitArray:
        """``[index]`` of both."""
        return PBitArray(self.m[index], self.e[index])

    def tolist(self) -> Any:
        """Nested lists of :class:`~hopspec.pbit.PBit`."""
        if self.m.ndim == 0:
            return PBit(int(self.m), int(self.e))
        if self.m.ndim == 1:
            return [PBit(m, e) for m, e in zip(self.m.tolist(), self.e.tolist(), strict=True)]
        return [PBitArray(m, e).tolist() for m, e in zip(self.m, self.e, strict=True)]


def bit_length(x: Integers) -> Integers:
    """``int.bit_length`` of every entry, none of them negative."""
    length = np.frexp(x.astype(np.float64))[1].astype(np.int64)
    if x.size and x.max() >> 53:
        # The conversion to float64 may have rounded up to the next power of two.
        length -= ((x >> np.maximum(length - 1, 0)) == 0) & (length > 0)
    return length


class Arrays:
    """Arithmetic in one F_p on arrays, which broadcast.

    Args:
        format: the set F_p, with at most 29 bits and exponents that leave room in int64.

    Raises:
        ValueError: if it has more bits or a wider range of exponents.

    >>> f8 = Arrays(PBits(8))
    >>> f8.multiply(f8.numbers([1.5, 0.1]), f8.numbers([3.0, 3.0])).tolist()
    [PBit(m=144, e=-5), PBit(m=154, e=-9)]
    """

    def __init__(self, format: PBits) -> None:
        if not fits(format):
            raise ValueError(
                f"format must have at most {MOST_BITS} bits, and bits + log2(greatest - least) at most 62 "
                f"in int64 (Arithmetic computes one number at a time in any F_p), got {format}"
            )
        self.format = format
        self.exact = Arithmetic(format)

    def numbers(self, values: Any) -> PBitArray:
        """The elements nearest to float64 numbers, in an array of the same shape.

        Raises:
            ValueError: if one is an infinity or NaN.
        """
        x = np.asarray(values, dtype=np.float64)
        if not np.isfinite(x).all():
            raise ValueError("values must be finite")
        mantissa, exponent = np.frexp(x)
        return self._rounded(np.ldexp(mantissa, 53).astype(np.int64), exponent.astype(np.int64) - 53)

    def of(self, nested: Any) -> PBitArray:
        """An array of elements given as nested sequences of pairs ``(m, e)``."""
        pairs = np.asarray(nested, dtype=np.int64)
        return PBitArray(pairs[..., 0].copy(), pairs[..., 1].copy())

    def floats(self, x: PBitArray) -> Floats:
        """The float64 numbers they are; infinite or zero where float64 does not reach."""
        return np.ldexp(x.m.astype(np.float64), np.clip(x.e, -4000, 4000).astype(np.int32))

    def zeros(self, shape: tuple[int, ...]) -> PBitArray:
        """An array of zeros."""
        return PBitArray(np.zeros(shape, np.int64), np.full(shape, self.format.least, np.int64))

    def negate(self, x: PBitArray) -> PBitArray:
        """``-x``."""
        return PBitArray(-x.m, x.e)

    def add(self, x: PBitArray, y: PBitArray) -> PBitArray:
        """``x + y``, rounded once."""
        if not self._in_float64(x, y):
            return self.sum(_stacked(x, y))
        a, b = np.broadcast_arrays(self.floats(x), self.floats(y))
        total = a + b
        # Knuth's error of an addition, which is exact.
        other = total - a
        inexact = (a - (total - other)) + (b - other) != 0
        found = self.numbers(total)
        if inexact.any():
            pair = _stacked(x, y)
            found.m[inexact], found.e[inexact] = self.sum(pair.at(inexact))
        return found

    def subtract(self, x: PBitArray, y: PBitArray) -> PBitArray:
        """``x - y``, rounded once."""
        return self.add(x, self.negate(y))

    def multiply(self, x: PBitArray, y: PBitArray) -> PBitArray:
        """``x * y``, rounded once."""
        return self._rounded(x.m * y.m, x.e + y.e)

    def divide(self, x: PBitArray, y: PBitArray) -> PBitArray:
        """``x / y``, rounded once.

        Raises:
            ZeroDivisionError: if a divisor is zero.
        """
        if not y.m.all():
            raise ZeroDivisionError("y must not hold zeros")
        x, y = self._full(x), self._full(y)
        divisor = np.abs(y.m)
        scaled = np.abs(x.m) << (self.format.bits + 1)
        quotient = scaled // divisor
        # The last bit says that something is left over.
        quotient = quotient << 1 | (quotient * divisor != scaled)
        sign = np.where((x.m < 0) != (y.m < 0), -1, 1)
        return self._rounded(sign * quotient, x.e - y.e - self.format.bits - 2)

    def floor(self, x: PBitArray) -> PBitArray:
        """The largest integer that does not exceed ``x``, rounded once."""
        down = x.m >> np.clip(-x.e, 0, 63)
        found = self._rounded(down, np.zeros_like(x.e))
        return PBitArray(np.where(x.e < 0, found.m, x.m), np.where(x.e < 0, found.e, x.e))

    def sqrt(self, x: PBitArray) -> PBitArray:
        """The square root, rounded once.

        Raises:
            ValueError: if a number is negative.
        """
        if (x.m < 0).any():
            raise ValueError("x must not hold negative numbers")
        x = self._full(x)
        shift = self.format.bits + 1 + ((x.e - self.format.bits - 1) & 1)
        scaled = x.m << shift
        root = np.sqrt(scaled.astype(np.float64)).astype(np.int64)
        root -= root * root > scaled
        root += (root + 1) * (root + 1) <= scaled
        return self._rounded(root << 1 | (root * root != scaled), ((x.e - shift) >> 1) - 1)

    def compare(self, x: PBitArray, y: PBitArray) -> Integers:
        """-1, 0 or 1 as ``x`` is below, equal to or above ``y``."""
        return np.asarray(np.sign(self._order(x) - self._order(y)))

    def maximum(self, x: PBitArray) -> PBitArray:
        """The largest over the last axis."""
        at = np.argmax(self._order(x), axis=-1)[..., None]
        return PBitArray(*(np.take_along_axis(part, at, axis=-1)[..., 0] for part in x))

    def dot(self, x: PBitArray, y: PBitArray) -> PBitArray:
        """The exact sum over the last axis of the rounded products, rounded once."""
        return self.sum(self.multiply(x, y))

    def products(self, x: PBitArray, y: PBitArray) -> PBitArray:
        """``[a, b]``: the :meth:`dot` of every row of ``x`` ``[a, k]`` with every row of ``y`` ``[b, k]``.

        Where float64 holds every product exactly and every sum of rounded ones too, it computes them.
        """
        if not (2 * self.format.bits <= 53 and self._in_float64(x, y)):
            rows = max(1, PRODUCTS // max(1, y.m.size))
            blocks = [
                self.dot(x.at(slice(k, k + rows), None), y.at(None)) for k in range(0, len(x.m), rows)
            ] or [self.zeros((0, len(y.m)))]
            return PBitArray(*(np.concatenate(part) for part in zip(*blocks, strict=True)))
        bits = 53 - self.format.bits
        left, right = self.floats(x), self.floats(y).T[:, None, :]
        # All partial sums are multiples of a unit of the least term, and below 2**53 of them.
        room = 2.0 ** (bits - 2 - len(right).bit_length())
        (least_x, most_x), (least_y, most_y) = _sizes(left), _sizes(right[:, 0].T)
        sums = np.empty((left.shape[0], right.shape[2]))
        wide = most_x[:, None] * most_y > least_x[:, None] * least_y * room
        rows = max(1, PRODUCTS // max(1, right.size))
        parts = []
        for k in range(0, len(left), rows):
            # The axis that is summed over comes first, so that NumPy adds whole matrices.
            exact = left[k : k + rows].T[:, :, None] * right
            _round_bits(exact, bits)
            sums[k : k + rows] = exact.sum(axis=0)
            if wide[k : k + rows].any():
                # Their own terms may be nearer to each other than the rows they come from suggest.
                terms = exact[:, wide[k : k + rows]].T
                least, most = _sizes(terms)
                there = most > least * room
                wide[k : k + rows][wide[k : k + rows]] = there
                parts.append(terms[there])
        found = self.numbers(sums)
        if wide.any():
            found.m[wide], found.e[wide] = self.sum(self.numbers(np.concatenate(parts)))
        return found

    def _in_float64(self, x: PBitArray, y: PBitArray) -> bool:
        """Whether products and sums of two stay in both ranges."""
        fmt = self.format
        if not x.m.size or not y.m.size:
            return False
        low = high = 0
        for part in (x, y):
            there = part.m != 0
            if fmt.underflow == "gradual" and (np.abs(part.m[there]) < 1 << (fmt.bits - 1)).any():
                return False
            exponents = part.e[there] if there.any() else np.zeros(1, np.int64)
            if max(-int(exponents.min()), int(exponents.max())) > FARTHEST:
                return False
            low, high = low + int(exponents.min()), high + int(exponents.max())
        return low + fmt.bits - 1 >= fmt.least and high + fmt.bits + 1 <= fmt.greatest

    def sum(self, x: PBitArray) -> PBitArray:
        """The exact sum over the last axis, rounded once."""
        m, e = np.broadcast_arrays(x.m, x.e)
        shape, count = m.shape[:-1], m.shape[-1]
        if not m.size:
            return self.zeros(shape)
        m, e = m.reshape(-1, count), e.reshape(-1, count)
        terms = PBitArray(m, e)
        if self._in_float64(terms, self.zeros((1,))):
            values = self.floats(terms)
            least, most = _sizes(values)
            near = self.numbers(values.sum(axis=1))
            # All partial sums are multiples of a unit of the least term, and below 2**53 of them.
            wide = np.flatnonzero(most > least * 2.0 ** (52 - self.format.bits - count.bit_length()))
            if wide.size:
                near.m[wide], near.e[wide] = self._integer_sums(terms.at(wide))
            found = near
        else:
            found = self._integer_sums(terms)
        return PBitArray(found.m.reshape(shape), found.e.reshape(shape))

    def _integer_sums(self, x: PBitArray) -> PBitArray:
        """:meth:`sum` of the rows of a matrix, in int64 or longer."""
        (m, e), count = x, x.m.shape[1]
        there = m != 0
        top = np.where(there, e, self.format.least).max(axis=1)
        low = np.where(there, e, self.format.greatest).min(axis=1)
        low = np.minimum(low, top)
        narrow = top - low <= 62 - self.format.bits - (count - 1).bit_length()
        # A zero may lie anywhere, but shifts must not.
        place = np.where(there, e - low[:, None], 0)
        total = (m << np.where(narrow[:, None], place, 0)).sum(axis=1)
        found = self._rounded(total, low)
        if not narrow.all():
            rows = np.flatnonzero(~narrow)
            wide = self._wide_sums(m[rows], e[rows], place[rows], low[rows])
            found.m[rows], found.e[rows] = wide
        return found

    def exp(self, x: PBitArray) -> PBitArray:
        """``e**x``, rounded once."""
        bits, least = self.format.bits, self.format.least
        value = self.floats(x)
        # The exponential of a tiny number rounds as 1 does; a large one would make the reduction inexact.
        tiny = np.abs(value) < 2.0 ** -(bits + 3)
        usual = np.abs(value) < 2.0**24
        m, e = _exp_float64(np.where(tiny | ~usual, 0.0, value))
        # e**x < 2**x: far below half of the least element, whatever the policy calls that.
        far = value <= least - 2
        m, e = np.where(far, 1, m), np.where(far, least - 2, e)
        half = 1 << (52 - bits)
        apart = np.abs((m & (2 * half - 1)) - half) > 1 << (54 - EXP_BITS)
        # In the range only midpoints are boundaries, and far enough below it there are none.
        decided = far | (usual & (tiny | (apart & (e + 53 - bits > least)) | (e + 53 < least - 1)))
        found = self._rounded(m, e)
        for at in np.argwhere(~decided):
            index = tuple(at)
            found.m[index], found.e[index] = self.exact.exp(PBit(int(x.m[index]), int(x.e[index])))
        return found

    def _full(self, x: PBitArray) -> PBitArray:
        """The same numbers with p bits each, whatever the exponents then are."""
        if self.format.underflow != "gradual":
            return x
        lift = np.where(x.m == 0, 0, self.format.bits - bit_length(np.abs(x.m)))
        return PBitArray(x.m << lift, x.e - lift)

    def _order(self, x: PBitArray) -> Integers:
        return np.asarray(np.sign(x.m) * (((x.e - self.format.least) << self.format.bits) + np.abs(x.m)))

    def _wide_sums(self, m: Integers, e: Integers, place: Integers, low: Integers) -> PBitArray:
        limbs = int(place.max()) // LIMB + 2
        if limbs > LIMBS:
            near = place.max(axis=1) // LIMB + 2 <= LIMBS
            found = self.zeros((len(m),))
            if near.any():
                found.m[near], found.e[near] = self._wide_sums(m[near], e[near], place[near], low[near])
            for row in np.flatnonzero(~near):
                terms = [PBit(a, b) for a, b in zip(m[row].tolist(), e[row].tolist(), strict=True)]
                found.m[row], found.e[row] = self.exact.sum(terms)
            return found
        index = place // LIMB
        shifted = m << (place % LIMB)
        lower, upper = shifted & MASK, shifted >> LIMB
        digits = np.zeros((limbs + 1, len(m)), np.int64)
        for k in range(limbs):
            here = index == k
            digits[k] += np.where(here, lower, 0).sum(axis=1)
            digits[k + 1] += np.where(here, upper, 0).sum(axis=1)
        _carry(digits)
        negative = digits[-1] < 0
        digits[:, negative] = -digits[:, negative]
        _carry(digits)
        # The highest limb that is not zero, 29 bits of the next, and whether anything is left below.
        used = digits != 0
        highest = np.where(used.any(axis=0), limbs - np.argmax(used[::-1], axis=0), 0)
        rows = np.arange(len(m))
        first = digits[highest, rows]
        second = np.where(highest > 0, digits[highest - 1, rows], 0)
        below = (used & (np.arange(limbs + 1)[:, None] < highest - 1)).any(axis=0) | (second & 7 != 0)
        value = (first << (LIMB - 3) | second >> 3) << 1 | below
        exponent = low + LIMB * (highest - 1) + 2
        return self._rounded(np.where(negative, -value, value), exponent)

    def _rounded(self, m: Integers, e: Integers) -> PBitArray:
        """``m * 2**e`` rounded; the last bit of more than p + 1 may stand for any number of them."""
        fmt = self.format
        shape = np.broadcast_shapes(m.shape, e.shape)
        m, e = np.broadcast_to(m, shape).reshape(-1), np.broadcast_to(e, shape).reshape(-1)
        magnitude = np.abs(m)
        length = bit_length(magnitude)
        # Every number gets one bit to lose at least.
        lift = np.maximum(fmt.bits + 1 - length, 0)
        shift = length + lift - fmt.bits
        exponent = e - lift
        if fmt.underflow == "gradual":
            shift = np.maximum(shift, fmt.least - exponent)
            lost = shift > length + lift
        cut = np.minimum(shift, 62)
        quotient = magnitude << lift
        # Half a unit less one, and one more where the last bit kept is odd: ties go to even.
        quotient += ((quotient >> cut) & 1) + ((1 << (cut - 1)) - 1)
        quotient >>= cut
        over = quotient >> fmt.bits
        quotient >>= over
        exponent += shift + over
        if fmt.underflow == "gradual":
            quotient[lost] = 0
        zero = quotient == 0
        exponent[zero] = fmt.least
        if exponent.size and exponent.max() > fmt.greatest:
            beyond = exponent > fmt.greatest
            quotient[beyond], exponent[beyond] = fmt.largest
        if exponent.size and exponent.min() < fmt.least:
            under = exponent < fmt.least
            quotient[under] = self._underflowed(magnitude[under], e[under], length[under])
            exponent[under] = fmt.least
        signed = np.where(m < 0, -quotient, quotient)
        return PBitArray(signed.reshape(shape), exponent.reshape(shape))

    def _underflowed(self, magnitude: Integers, e: Integers, length: Integers) -> Integers:
        fmt = self.format
        if fmt.underflow in ("zero", "gradual"):
            return np.zeros_like(magnitude)
        full = 1 << (fmt.bits - 1)
        up = magnitude != 0
        if fmt.underflow == "nearest":
            lead = length + e - (fmt.bits - 1 + fmt.least)
            up &= (lead > 0) | ((lead == 0) & (magnitude & (magnitude - 1) != 0))
        return np.where(up, full, 0)


def fits(format: PBits) -> bool:
    """Whether int64 is wide enough for a set F_p."""
    span = (format.greatest - format.least).bit_length()
    ends = max(abs(format.greatest), abs(format.least)).bit_length()
    return format.bits <= MOST_BITS and format.bits + max(span, ends) <= 62


def _stacked(x: PBitArray, y: PBitArray) -> PBitArray:
    return PBitArray(*(np.stack(np.broadcast_arrays(a, b), axis=-1) for a, b in zip(x, y, strict=True)))


def _round_bits(x: Floats, bits: int) -> None:
    """Round float64 numbers in place to ``53 - bits`` bits, ties to even."""
    pattern = x.view(np.int64)
    # Half a unit less one, and one more where the last bit kept is odd.
    last = pattern >> bits
    last &= 1
    last += (1 << (bits - 1)) - 1
    pattern += last
    pattern &= -1 << bits


def _sizes(x: Floats) -> tuple[Floats, Floats]:
    """The least size of an entry of a row that is not zero, 1 where there is none, and the largest."""
    size = np.abs(x)
    most = size.max(axis=1)
    least = np.where(size > 0, size, np.inf).min(axis=1)
    return np.where(most > 0, least, 1.0), most


def _carry(digits: Integers) -> None:
    for k in range(len(digits) - 1):
        digits[k + 1] += digits[k] >> LIMB
        digits[k] &= MASK


@lru_cache(maxsize=1)
def _exp_table() -> tuple[Floats, float, float]:
    """``exp(j / STEPS)`` for ``|j| <= STEPS``, and ``log 2`` in two parts, the first with 28 bits."""
    bits = 80
    falling = [math.ldexp(exp_fixed(-j, 0, STEPS, bits), -bits) for j in range(STEPS + 1)]
    # e**(j/S) = 2**128 / (2**128 e**-(j/S)), divided as integers and rounded once.
    rising = [math.ldexp((1 << 208) // exp_fixed(-j, 0, STEPS, 128), -80) for j in range(STEPS + 1)]
    high = log_two(120) >> (120 - 28)
    low = log_two(120) - (high << (120 - 28))
    return np.array(falling[:0:-1] + rising), math.ldexp(high, -28), math.ldexp(low, -120)


def _exp_float64(x: Floats) -> tuple[Integers, Integers]:
    """Integers ``(m, e)``, ``2**52 <= m < 2**53``; ``m * 2**e`` is ``e**x`` up to a relative ``2**-48``.

    ``x`` has at most 30 bits and ``|x| < 2**24``. Proof, in units of ``2**-53``.

    1. ``k = rint(x / log 2)`` is below ``2**25``, and ``x - k * high`` is exact: ``high`` has 28 bits, so the
       product has 53 at most; both numbers are multiples of ``2**-36`` at least where ``k`` is not 0, and
       their difference is below 1. ``k * low``, ``|low| < 2**-28``, is below ``2**-3``, its rounding and that
       of ``low`` below ``2**-56`` each and the last subtraction's below ``2**-54``: ``r`` is within one unit.
    2. ``r = j / 32 + s`` with ``|s| <= 1/64`` is exact, for ``|r| < 1``. The Taylor polynomial of degree 7 is
       within ``2**-63`` of ``e**s``; in Horner's rule the last step's addition errs by one unit (the sum is
       below 2), everything before by ``2**-5`` of that at most in each step: below 2 units.
    3. The table is within 1 unit of a number below 2, the product by one more rounding of 2 units at most:
       together below 8 units of a number that is at least 1/2: a relative error below ``2**-48``.
    """
    table, high, low = _exp_table()
    k = np.rint(x * (1 / math.log(2)))
    r = (x - k * high) - k * low
    j = np.rint(r * STEPS)
    s = r - j / STEPS
    series = np.full_like(s, 1 / 5040)
    for n in (720, 120, 24, 6, 2, 1, 1):
        series = series * s + 1 / n
    mantissa, power = np.frexp(table[j.astype(np.int64) + STEPS] * series)
    m = np.ldexp(mantissa, 53).astype(np.int64)
    return m, power.astype(np.int64) - 53 + k.astype(np.int64)


class ArrayArithmetic:
    """The operations of :class:`Arrays` under their names, for lists of numbers (clause MHN-FPN-6)."""

    def supports(self, format: PBits) -> bool:
        """Whether int64 is wide enough."""
        return fits(format)

    def operate(self, operation: str, format: PBits, operands: Sequence[Sequence[Any]]) -> list[PBit]:
        """The results of one operation, see :class:`~hopspec.types.PBitArithmetic`."""
        arrays = Arrays(format)
        if operation == "product":
            return [arrays.exact.product(row) for row in operands[0]]
        function: Callable[..., PBitArray] = getattr(arrays, operation)
        if operation in ("sum", "dot"):
            return list(function(*(self._padded(arrays, rows) for rows in operands)).tolist())
        return list(function(*(arrays.of(column) for column in operands)).tolist())

    def _padded(self, arrays: Arrays, rows: Sequence[Sequence[PBit]]) -> PBitArray:
        width = max((len(row) for row in rows), default=0)
        zero = arrays.format.zero
        full = [[*row, *[zero] * (width - len(row))] for row in rows]
        return arrays.of(full) if width else arrays.zeros((len(rows), 0))
