"""The exact answer to a vector: correctly rounded, and enclosed in double-double numbers.

Both follow from the exact answer alone, not from how it was computed, so they are the same bits whatever
arithmetic library the reference runs on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from hopspec import reference
from hopspec.formats import FLOAT64, Format
from hopspec.properties.decision import as_fraction
from hopspec.properties.problem import Problem
from hopspec.types import Exact

__all__ = ["correctly_rounded", "double_double", "exactly"]

# Working precisions tried, in bits.
PRECISIONS = (160, 320, 640, 1280, 2560, 5120)
Triple = tuple[float, float, float]

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "update": reference.update,
    "log_normalizer": reference.log_normalizer,
    "energy": reference.energy,
    "association": reference.association,
}


def _leaves(nested: Any) -> Iterator[Any]:
    for entry in nested:
        if isinstance(entry, list):
            yield from _leaves(entry)
        else:
            yield entry


def _ask(problem: Problem, quantity: str, to: Format | int) -> list[Any]:
    options: dict[str, Any] = {"beta": problem.beta, "keep": problem.keep, "to": to}
    if quantity == "update":
        options["values"] = problem.values
    return list(_leaves(_FUNCTIONS[quantity](problem.query, problem.memory, **options)))


def correctly_rounded(problem: Problem, quantity: str, fmt: Format) -> list[float]:
    """Every component of the answer rounded once to ``fmt``, flat.

    Args:
        problem: the inputs.
        quantity: update, log_normalizer, energy or association.
        fmt: format of the answer.
    """
    return [float(leaf) for leaf in _ask(problem, quantity, fmt)]


def exactly(problem: Problem, quantity: str, bits: int) -> list[Exact]:
    """Every component of the answer to ``bits`` bits with its radius, flat."""
    return _ask(problem, quantity, bits)


def _nearest(low: Fraction, high: Fraction) -> float | None:
    """The float64 that both ends round to, or None."""
    first, last = (reference.round_ratio(end.numerator, end.denominator, FLOAT64) for end in (low, high))
    return float(first) if first == last else None


def _triple(leaf: Exact) -> Triple | None:
    value = float(leaf.value)
    if math.isnan(value) or (leaf.exact and math.isinf(value)):
        return value, 0.0, 0.0
    centre, radius = as_fraction(leaf.value), as_fraction(leaf.radius)
    hi = _nearest(centre - radius, centre + radius)
    if hi is None:
        return None
    if math.isinf(hi):
        return hi, 0.0, 0.0
    rest = centre - Fraction(hi)
    lo = _nearest(rest - radius, rest + radius)
    if lo is None:
        return None
    if radius == 0 and rest == Fraction(lo):
        return hi, lo, 0.0
    # Half the distance between float64s as large as lo, or what is next to it where that is no number.
    half_ulp = math.ldexp(1.0, max(math.frexp(lo)[1] - 1 - FLOAT64.precision, FLOAT64.least_exponent))
    return hi, lo, half_ulp if lo else math.ldexp(1.0, FLOAT64.least_exponent)


def double_double(problem: Problem, quantity: str) -> list[Triple]:
    """Every component of the answer as ``(hi, lo, radius)``, flat.

    ``hi`` is the float64 nearest to the exact number and ``lo`` the one nearest to what is left. ``radius``
    is 0 where their sum is exact, and otherwise half the distance between float64s as large as ``lo``.

    Raises:
        ArithmeticError: if 5120 bits do not decide a rounding.
    """
    found: list[Triple | None] = []
    for bits in PRECISIONS:
        leaves = exactly(problem, quantity, bits)
        before = found or [None] * len(leaves)
        found = [t if t is not None else _triple(leaf) for t, leaf in zip(before, leaves, strict=True)]
        decided = [t for t in found if t is not None]
        if len(decided) == len(found):
            return decided
    raise ArithmeticError(f"{quantity} could not be rounded to a double-double with {PRECISIONS[-1]} bits")
