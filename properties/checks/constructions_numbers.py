"""Arithmetic in F_p: every operation of an implementation gives the numbers of the reference."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from hopspec.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from hopspec.pbit import PBit, PBits, Underflow
from hopspec.properties.hardware import as_pbit, as_pbits
from hopspec.properties.judgement import Judgement, all_of, require
from hopspec.properties.problem import round_to
from hopspec.properties.trials import Trial, trial
from hopspec.reference.pbit import Arithmetic

POLICIES: tuple[Underflow, ...] = ("nearest", "zero", "least", "gradual")
# Results asked for in one call.
BATCH = 48
WIDTHS = (2, 3, 4, 5, 8, 11, 16, 24, 30, 53, 64, 113, 500)


def drawn_format(t: Trial) -> PBits:
    """A set F_p, small for small draws: with the default range, or one whose ends are near 1."""
    bits = WIDTHS[min(t.number // 4, int(t.rng.integers(len(WIDTHS))))]
    policy = POLICIES[t.number % 4]
    if t.rng.random() < 0.4:
        return PBits(bits, underflow=policy)
    reach = int(t.rng.integers(2, 3 * bits + 4))
    return PBits(bits, -bits - reach, -bits + reach, policy)


def number(t: Trial, fmt: PBits, positive: bool = False, large: bool = True) -> PBit:
    """An element: often one with few bits set or unset, next to 1 or at an end of the range."""
    form, p = t.rng.integers(8), fmt.bits
    if form == 0:
        return fmt.zero
    low, high = 1 << (p - 1), (1 << p) - 1
    m = int.from_bytes(t.rng.bytes(p // 8 + 1)) % (high - low + 1) + low
    if form == 1:
        m = (low, high, low + 1, high - 1)[t.rng.integers(4)]
    elif form == 2:
        # Few bits: sums and products that are ties.
        m = max(low, (m >> (p - 1 - p // 2)) << (p - 1 - p // 2))
    near = int(t.rng.integers(-p - 2, p + 3)) - p + 1
    ends = (fmt.least + int(t.rng.integers(0, p + 3)), fmt.greatest - int(t.rng.integers(0, p + 3)))
    e = ends[t.rng.integers(2)] if form in (3, 4) and large else near
    e = min(max(e, fmt.least), fmt.greatest)
    if form == 5 and fmt.underflow == "gradual" and large:
        m, e = m >> int(t.rng.integers(1, p)), fmt.least
    if not positive and t.rng.random() < 0.5:
        m = -m
    return PBit(m, e)


def judged(t: Trial, operation: str, fmt: PBits, operands: Sequence[Sequence[Any]]) -> Judgement | None:
    """One call, compared with the reference bit for bit."""
    exact = getattr(Arithmetic(fmt), operation)
    expected = [exact(*each) for each in zip(*operands, strict=True)]
    got = t.ask("operate", operation, fmt, [list(column) for column in operands])
    return compared(operation, fmt, operands, [PBit(*x) for x in got], expected)


def compared(
    operation: str,
    fmt: PBits,
    operands: Sequence[Sequence[Any]],
    got: Sequence[PBit],
    expected: Sequence[PBit],
) -> Judgement | None:
    """Judge results that must be equal bit for bit."""
    if len(got) != len(expected):
        return require(f"results of {operation}", False, len(got), len(expected))
    found = []
    for k, (mine, right) in enumerate(zip(got, expected, strict=True)):
        if mine != right:
            where = ", ".join(str(column[k]) for column in operands)
            return require(f"{operation}({where}) in {fmt}", False, mine, right)
        found.append(require(operation, True, mine, right))
    return all_of(*found)


def supported(t: Trial, fmt: PBits) -> bool:
    """Whether the implementation offers this set."""
    return bool(t.ask("supports", fmt))


@trial("MHN-FPN-6", "arithmetic", cases=60)
def sums_of_two_are_rounded_once(t: Trial) -> Judgement | None:
    """Sums and differences of two numbers are the exact ones, rounded once."""
    fmt = drawn_format(t)
    if not supported(t, fmt):
        return None
    x = [number(t, fmt) for _ in range(BATCH)]
    y = [number(t, fmt) for _ in range(BATCH)]
    # The largest and the least distances at which a term still decides.
    for k in range(0, BATCH, 3):
        e = x[k].e - int(t.rng.integers(0, fmt.bits + 4))
        if y[k].m and fmt.least <= e:
            full = PBit(y[k].m, e)
            y[k] = full if fmt.contains(full) else y[k]
    return all_of(judged(t, "add", fmt, (x, y)), judged(t, "subtract", fmt, (x, y)))


@trial("MHN-FPN-6", "arithmetic", cases=60)
def products_and_quotients_are_rounded_once(t: Trial) -> Judgement | None:
    """Products and quotients of two numbers are the exact ones, rounded once."""
    fmt = drawn_format(t)
    if not supported(t, fmt):
        return None
    x = [number(t, fmt) for _ in range(BATCH)]
    y = [number(t, fmt) for _ in range(BATCH)]
    divisors = [b if b.m else fmt.least_element for b in y]
    return all_of(judged(t, "multiply", fmt, (x, y)), judged(t, "divide", fmt, (x, divisors)))


@trial("MHN-FPN-6", "arithmetic", cases=40)
def floors_and_roots_are_rounded_once(t: Trial) -> Judgement | None:
    """Floors and square roots are the exact ones, rounded once."""
    fmt = drawn_format(t)
    if not supported(t, fmt):
        return None
    x = [number(t, fmt) for _ in range(BATCH)]
    roots = [number(t, fmt, positive=True) for _ in range(BATCH)]
    return all_of(judged(t, "floor", fmt, (x,)), judged(t, "sqrt", fmt, (roots,)))


@trial("MHN-FPN-6", "arithmetic", cases=40)
def exponentials_are_rounded_once(t: Trial) -> Judgement | None:
    """Exponentials are the exact ones, rounded once."""
    fmt = drawn_format(t)
    if not supported(t, fmt):
        return None
    few = BATCH if fmt.bits <= 64 else 4
    return judged(t, "exp", fmt, ([number(t, fmt, large=k % 4 == 0) for k in range(few)],))


@trial("MHN-FPN-6", "arithmetic", cases=40)
def sums_are_exact_and_rounded_once(t: Trial) -> Judgement | None:
    """Iterated sums, products and dot products are the exact ones, rounded once."""
    fmt = drawn_format(t)
    if not supported(t, fmt):
        return None
    length = int(t.rng.integers(0, 9))
    columns = [[number(t, fmt, large=False) for _ in range(length)] for _ in range(BATCH // 2)]
    others = [[number(t, fmt, large=False) for _ in range(length)] for _ in range(BATCH // 2)]
    # Terms that cancel leave the small ones.
    cancelling = [[*row, *(PBit(-x.m, x.e) for x in row[:-1])] for row in columns]
    return all_of(
        judged(t, "sum", fmt, (columns,)),
        judged(t, "sum", fmt, (cancelling,)),
        judged(t, "product", fmt, (columns,)),
        judged(t, "dot", fmt, (columns, others)),
    )


@trial("MHN-FPN-8", "arithmetic", cases=80)
def far_terms_decide_as_a_sign(t: Trial) -> Judgement | None:
    """Terms far below a partial sum that is an element, a boundary or zero count by their sign."""
    bits = WIDTHS[int(t.rng.integers(min(t.number + 2, len(WIDTHS))))]
    reach = 64 * bits + 200
    fmt = PBits(bits, -reach, reach)
    if not supported(t, fmt):
        return None
    low, high = 1 << (bits - 1), (1 << bits) - 1

    def any_significand() -> int:
        m = int.from_bytes(t.rng.bytes(bits // 8 + 1)) % (high - low + 1) + low
        return int(t.rng.choice((-1, 1))) * m

    rows = []
    for _ in range(BATCH):
        top = int(t.rng.integers(-bits, bits))
        m = any_significand()
        # What is left of the highest terms: nothing, one unit, half a unit more than an element.
        highest = (
            [PBit(m, top), PBit(-m, top)],
            [PBit(low + 1, top), PBit(-low, top)],
            [PBit(m, top), PBit(low, top - bits)],
            [PBit(m, top), PBit(-low, top - bits)],
        )[t.rng.integers(4)]
        gap = 9 * bits + 60 if t.rng.random() < 0.2 else int(t.rng.integers(1, 2 * bits + 9))
        below = top - gap - int(t.rng.integers(0, 3))
        many = [PBit(any_significand(), below) for _ in range(int(t.rng.integers(1, 6)))]
        last = [PBit(any_significand(), below - 3 * bits - 20)]
        if t.rng.random() < 0.3:
            many = [*many, *(PBit(-x.m, x.e) for x in many)]
        row = [*highest, *many, *last]
        rows.append([row[k] for k in t.rng.permutation(len(row))])
    return judged(t, "sum", fmt, (rows,))


HARDWARE: tuple[tuple[Format, Any], ...] = (
    (FLOAT16, np.float16),
    (BFLOAT16, np.float32),
    (FLOAT32, np.float32),
    (FLOAT64, np.float64),
)


@trial("MHN-FPN-9", "arithmetic", cases=40)
def operations_agree_with_hardware(t: Trial) -> Judgement | None:
    """With the exponents of an IEEE format, operations give what the processor gives."""
    fmt, kind = HARDWARE[t.number % len(HARDWARE)]
    own = as_pbits(fmt)
    if not supported(t, own):
        return None
    span = (fmt.least_exponent - 2, fmt.emax + 2) if t.rng.random() < 0.5 else (-4, 5)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = t.rng.standard_normal((2, BATCH)) * np.ldexp(1.0, t.rng.integers(*span, (2, BATCH)))
        x, y = round_to(raw, fmt)
        y = np.where(y == 0, 1.0, y)
        a, b = x.astype(kind), y.astype(kind)
        results = {"add": a + b, "subtract": a - b, "multiply": a * b, "divide": a / b}
        # From twice the bits and two more on, rounding to these first changes nothing.
        right = {
            name: round_to(r.astype(np.float64), fmt) if fmt is BFLOAT16 else r for name, r in results.items()
        }
        root = np.sqrt(np.abs(a))
        right["sqrt"] = round_to(root.astype(np.float64), fmt) if fmt is BFLOAT16 else root
    columns = [[as_pbit(v, own) for v in array.tolist()] for array in (x, y)]
    positive = [PBit(abs(v.m), v.e) for v in columns[0]]
    found = []
    for name, values in right.items():
        operands = [positive] if name == "sqrt" else columns
        got = [PBit(*v) for v in t.ask("operate", name, own, operands)]
        expected = [as_pbit(v, own) for v in values.astype(np.float64).tolist()]
        found.append(compared(name, own, operands, got, expected))
    return all_of(*found)
