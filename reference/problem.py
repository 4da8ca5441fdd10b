"""A retrieval problem in exact integers: arguments checked, logits and norms without rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hopspec.reference.dyadic import BoolArray, Matrix, Rational, exact_matrix, exact_number, keep_mask
from hopspec.reference.packing import Packed, Prepared

__all__ = ["Problem", "read_problem"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Query, memory, values, beta and keep mask of one call, as exact rationals.

    Args:
        query: ``[L, d]``.
        memory: ``[N, d]``.
        values: ``[N, dv]``, the memory itself where none were given.
        beta: the inverse temperature.
        keep: ``[L, N]``, True where a memory takes part.
        single: whether the query was given as ``[d]``.
        packed_memory: the memory packed, where it was given prepared.
        packed_values: the values packed, where they were given prepared.
    """

    query: Matrix
    memory: Matrix
    values: Matrix
    beta: Rational
    keep: BoolArray
    single: bool
    packed_memory: Packed | None = None
    packed_values: Packed | None = None

    @property
    def queries(self) -> int:
        """The number L of queries."""
        return len(self.query.rows)

    @property
    def memories(self) -> int:
        """The number N of memories, masked ones included."""
        return len(self.memory.rows)

    @property
    def score_exponent(self) -> int:
        """Scores are integers times two to this power over :attr:`score_denominator`."""
        return self.query.exponent + self.memory.exponent

    @property
    def score_denominator(self) -> int:
        """See :attr:`score_exponent`."""
        return self.query.denominator * self.memory.denominator

    @property
    def logit_exponent(self) -> int:
        """Logits are integers times two to this power over :attr:`logit_denominator`."""
        return self.score_exponent + self.beta.exponent

    @property
    def logit_denominator(self) -> int:
        """See :attr:`logit_exponent`."""
        return self.score_denominator * self.beta.denominator

    def kept(self, query: int) -> list[int]:
        """Indices of the memories that query number ``query`` sees."""
        found: list[int] = np.flatnonzero(self.keep[query]).tolist()
        return found


def read_problem(
    query: Any, memory: Any, *, beta: Any, keep: Any = None, values: Any = None, positive_beta: bool = False
) -> Problem:
    """Check the arguments and take them as exact rationals (clauses MHN-DOM-2 and MHN-DOM-4).

    Args:
        query: ``[d]`` or ``[L, d]``.
        memory: ``[N, d]``, or what :func:`hopspec.reference.prepare` made of it.
        beta: any finite number.
        keep: None, or bools that broadcast to ``[L, N]``.
        values: None, or ``[N, dv]``, prepared or not.
        positive_beta: whether ``beta`` must be positive, as for energies.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit or ``beta`` is out of range.
    """
    number = exact_number(beta, "beta")
    if number is None:
        raise ValueError(f"beta must be finite, got {beta}")
    if positive_beta and number.numerator <= 0:
        raise ValueError(f"beta must be positive, got {beta}")
    queries, single = exact_matrix(query, "query")
    packed_memory = packed_values = memory.packed if isinstance(memory, Prepared) else None
    patterns, one_row = _exact(memory, "memory", queries.width)
    if one_row:
        raise ValueError(f"memory must have shape [N, d], got [{patterns.width}]")
    if not queries.rows and not single and not queries.width:
        queries = Matrix([], 0, 1, patterns.width, [])
    if queries.width != patterns.width:
        raise ValueError(f"memory must have the query's width d = {queries.width}, got {patterns.width}")
    read_out = patterns
    if values is not None:
        packed_values = values.packed if isinstance(values, Prepared) else None
        read_out, one_row = _exact(values, "values")
        if one_row or len(read_out.rows) != len(patterns.rows):
            got = f"[{read_out.width}]" if one_row else f"[{len(read_out.rows)}, {read_out.width}]"
            raise ValueError(f"values must have shape [N, dv] with N = {len(patterns.rows)}, got {got}")
    mask = keep_mask(keep, len(queries.rows), len(patterns.rows))
    return Problem(queries, patterns, read_out, number, mask, single, packed_memory, packed_values)


def _exact(value: Any, name: str, width: int | None = None) -> tuple[Matrix, bool]:
    if not isinstance(value, Prepared):
        return exact_matrix(value, name, width)
    # Prepared from an empty list, which does not tell its width.
    return exact_matrix([], name, width) if value.shape == (0, 0) else (value.matrix, False)
