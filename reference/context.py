"""Private ``mpmath`` contexts: the global one is never read or changed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from mpmath import MPContext

from hopspec.clauses import implements
from hopspec.precision import Precision
from hopspec.reference.dyadic import exact_number

__all__ = ["Real", "context", "vector", "working_bits"]

Real = Any
"""An ``mpmath`` number; mpmath has no type annotations."""


@implements("MHN-PRC-2")
def working_bits(policy: int | Precision, n: int) -> int:
    r"""Bits that ``policy`` gives a problem of size ``n``.

    Formula: $b$, $\lceil c \log_2 n \rceil$ or $\lceil n^k \rceil$, and at least 2. Clause MHN-PRC-2, source
    arXiv 2412.05562.

    Args:
        policy: a number of bits, or a :class:`hopspec.Precision`.
        n: the size of the problem: here the number of memories, at least 1.

    Raises:
        TypeError: if ``policy`` is neither.
        ValueError: if fewer than 2 bits are asked for.

    >>> working_bits(Precision.logarithmic(4), 1024), working_bits(53, 7)
    (40, 53)
    """
    if isinstance(policy, Precision):
        return policy.bits(n)
    if isinstance(policy, bool) or not isinstance(policy, int):
        raise TypeError(f"bits must be an int or a Precision, got {type(policy).__name__}")
    if policy < 2:
        raise ValueError(f"bits must be at least 2, got {policy}")
    return policy


@lru_cache(maxsize=64)
def context(bits: int) -> Any:
    """The context whose operations round to ``bits`` bits. Callers must not change its precision."""
    private = MPContext()
    private.prec = bits
    return private


def number(bits: int, value: Any, name: str) -> Real:
    """``value`` as an ``mpmath`` number: exact unless it is a fraction that is no dyadic rational.

    Raises:
        TypeError: if ``value`` is no real number.
        ValueError: if it is not finite.
    """
    rational = exact_number(value, name)
    if rational is None:
        raise ValueError(f"{name} must be finite, got {value}")
    ctx = context(bits)
    # ldexp of an integer taken in whole does not round, however many bits it has.
    exact = ctx.ldexp(ctx.convert(rational.numerator), rational.exponent)
    return exact if rational.denominator == 1 else exact / rational.denominator


def vector(bits: int, values: Iterable[Any], name: str) -> list[Real]:
    """:func:`number` of every entry."""
    return [number(bits, value, name) for value in (values.tolist() if hasattr(values, "tolist") else values)]
