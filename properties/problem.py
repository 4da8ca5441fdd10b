"""A problem: the inputs of one retrieval, as exact float64 images of narrower formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec import reference
from hopspec.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Format
from hopspec.reference import Enclosed, Solution, solve
from hopspec.types import Exact

__all__ = ["Array", "Mask", "Problem", "fits", "round_to"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

REMEMBERED = 512
_SOLVED: dict[tuple[Any, ...], Solution] = {}


def round_to(x: Array, fmt: Format) -> Array:
    """Round to the nearest element of ``fmt``, ties to even, saturating at its largest element."""
    with np.errstate(under="ignore"):
        mantissa, exponent = np.frexp(x)
        grid = np.maximum(exponent - fmt.precision, fmt.least_exponent)
        rounded = np.ldexp(np.rint(np.ldexp(mantissa, exponent - grid)), grid)
    limit = float(fmt.largest)
    return np.asarray(np.clip(rounded, -limit, limit), dtype=np.float64)


def fits(x: Array, fmt: Format) -> bool:
    """Whether every finite entry of ``x`` is an element of ``fmt``."""
    finite = x[np.isfinite(x)]
    return bool(np.array_equal(round_to(finite, fmt), finite))


@dataclass(frozen=True)
class Problem:
    """One retrieval problem.

    Args:
        query: state patterns, ``[L, d]``.
        memory: stored patterns, ``[N, d]``.
        beta: inverse temperature.
        keep: True where a memory takes part, ``[N]`` or ``[L, N]``; None keeps all.
        values: what the last association reads out, ``[N, dv]``; None reads the memory.
        regimes: names of the regimes the problem was drawn from, counted in the report.
        eps: stop threshold, for settling.
        max_steps: largest number of updates, for settling.
        steps: number of updates, for several steps.
        seed: seed of whatever else a property draws (permutations, rotations, directions).
    """

    query: Array
    memory: Array
    beta: float
    keep: Mask | None = None
    values: Array | None = None
    regimes: tuple[str, ...] = ()
    eps: float = 0.0
    max_steps: int = 100
    steps: int = 1
    seed: int = 0
    origin: str = field(default="drawn", compare=False)

    @cached_property
    def formats(self) -> tuple[str, ...]:
        """Names of the formats in which every input is exact."""
        arrays = [self.query, self.memory] + ([] if self.values is None else [self.values])
        order = (FLOAT64, FLOAT32, BFLOAT16, FLOAT16)
        return tuple(f.name for f in order if all(fits(a, f) for a in arrays))

    @cached_property
    def grain(self) -> Format:
        """The format of the numbers that all of ``formats`` share, so that one oracle serves every dtype."""
        shared = [FORMATS[name] for name in self.formats]
        precision, emin = min(f.precision for f in shared), max(f.emin for f in shared)
        return Format("shared", precision, emin, min(f.emax for f in shared))

    @cached_property
    def kept(self) -> Mask:
        """Which memories each query sees, ``[L, N]``."""
        shape = (self.query.shape[0], self.memory.shape[0])
        return np.ones(shape, dtype=np.bool_) if self.keep is None else np.broadcast_to(self.keep, shape)

    @cached_property
    def solution(self) -> Solution:
        """The exact solution, computed once."""
        # Every dtype and implementation derives the same problems (permuted, scaled, ...) anew.
        arrays = (self.query, self.memory, self.keep, self.values)
        key = (self.beta, *((None if a is None else (a.shape, a.tobytes())) for a in arrays))
        found = _SOLVED.get(key)
        if found is None:
            found = self._solve()
            if len(_SOLVED) >= REMEMBERED:
                _SOLVED.pop(next(iter(_SOLVED)))
            _SOLVED[key] = found
        return found

    def _solve(self) -> Solution:
        found = solve(self.query, self.memory, beta=self.beta, keep=self.keep, values=self.values)
        return replace(
            found,
            state=self._with_more_bits(found.state, reference.update, values=self.values),
            log_normalizer=self._with_more_bits(found.log_normalizer, reference.log_normalizer),
            energy=found.energy and self._with_more_bits(found.energy, reference.energy),
        )

    def _with_more_bits(self, found: Enclosed, definition: Callable[..., Any], **options: Any) -> Enclosed:
        arguments = {"beta": self.beta, "keep": self.keep, **options}
        return replace(found, exactly=partial(_leaves, definition, self.query, self.memory, arguments))

    @property
    def size(self) -> tuple[int, float]:
        """Order used when looking for the smallest failing problem."""
        cells = self.query.size + self.memory.size
        finite = np.concatenate([self.query.ravel(), self.memory.ravel()])
        finite = finite[np.isfinite(finite)]
        return cells, float(np.count_nonzero(finite)) + float(np.count_nonzero(finite != np.rint(finite))) / 2

    def but(self, **changes: Any) -> Problem:
        """A copy with some fields replaced."""
        return replace(self, **changes)

    @property
    def rng(self) -> np.random.Generator:
        """A fresh generator from ``seed``."""
        return np.random.default_rng(self.seed)

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready form with every number as a hexadecimal float, so that nothing is lost."""
        record: dict[str, Any] = {
            "query": hexadecimal(self.query),
            "memory": hexadecimal(self.memory),
            "beta": float(self.beta).hex(),
        }
        if self.keep is not None:
            record["keep"] = self.keep.tolist()
        if self.values is not None:
            record["values"] = hexadecimal(self.values)
        return record


def _leaves(
    definition: Callable[..., Any], query: Array, memory: Array, arguments: dict[str, Any], bits: int
) -> list[Exact]:
    return list(np.array(definition(query, memory, to=bits, **arguments), dtype=object).ravel())


def hexadecimal(x: Array) -> Any:
    """Nested lists of ``float.hex`` strings."""
    if x.ndim == 0:
        return float(x).hex()
    return [hexadecimal(row) for row in x]
