"""A problem: the inputs of one retrieval, as exact float64 images of narrower formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec import reference
from hopspec.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Format
from hopspec.properties.repeats import solve_repeated
from hopspec.reference import Enclosed, Solution, solve
from hopspec.reference.attention_form import (
    attention,
    attention_log_normalizer,
    causal_mask,
    solve_attention,
)
from hopspec.reference.bounds import Extent, extent
from hopspec.reference.frame import Frame
from hopspec.types import Exact

__all__ = ["Array", "Mask", "Problem", "fits", "remember_solutions", "round_to"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Entries of an array up to which problems derived from another are kept with it.
INTERNED = 4096

_SOLVED: dict[tuple[Any, ...], Solution] = {}
_remembered = 512


def remember_solutions(count: int) -> None:
    """Keep the last ``count`` solutions of this process, for runs that meet the same problems again."""
    global _remembered  # noqa: PLW0603  (a cache belongs to the process)
    _remembered = count


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
        bias: what is added to the logits, ``[L, N]``, ``-inf`` where a memory takes no part; None for
            nothing. A problem with a bias is one of attention (clause MHN-ATT-1).
        causal: alignment of a causal mask (clause MHN-ATT-2), "" for none.
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
    bias: Array | None = None
    causal: str = ""

    @cached_property
    def formats(self) -> tuple[str, ...]:
        """Names of the formats in which every input is exact."""
        arrays = [a for a in (self.query, self.memory, self.values, self.bias) if a is not None]
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
        kept = np.ones(shape, dtype=np.bool_) if self.keep is None else np.broadcast_to(self.keep, shape)
        if self.causal:
            kept = kept & causal_mask(*shape, self.causal)
        return kept if self.bias is None else kept & (self.bias > -np.inf)

    @cached_property
    def solution(self) -> Solution:
        """The exact solution, computed once."""
        # Every dtype and implementation derives the same problems (permuted, scaled, ...) anew.
        arrays = (self.query, self.memory, self.keep, self.values, self.bias)
        key = (self.beta, self.causal, *((None if a is None else (a.shape, a.tobytes())) for a in arrays))
        found = _SOLVED.get(key)
        if found is None:
            found = self._solve()
            if len(_SOLVED) >= _remembered:
                _SOLVED.pop(next(iter(_SOLVED)))
            _SOLVED[key] = found
        return found

    def _solve(self) -> Solution:
        if self.bias is not None:
            return self._solve_attention(self.bias)
        keep = self.kept if self.causal else self.keep
        found = solve_repeated(self.query, self.memory, self.beta, keep, self.values)
        if found is None:
            found = solve(self.query, self.memory, beta=self.beta, keep=keep, values=self.values)
        return replace(
            found,
            state=self._with_more_bits(found.state, reference.update, values=self.values),
            log_normalizer=self._with_more_bits(found.log_normalizer, reference.log_normalizer),
            energy=found.energy and self._with_more_bits(found.energy, reference.energy),
        )

    def _solve_attention(self, bias: Array) -> Solution:
        found = solve_attention(
            self.query, self.memory, beta=self.beta, bias=bias, keep=self.kept, values=self.values
        )
        masks: dict[str, Any] = {"scale": self.beta, "bias": bias, "keep": self.kept}
        read = self.memory if self.values is None else self.values
        state = partial(_leaves, attention, (self.query, self.memory, read), masks)
        log = partial(_leaves, attention_log_normalizer, (self.query, self.memory), masks)
        return replace(
            found,
            state=replace(found.state, exactly=state),
            log_normalizer=replace(found.log_normalizer, exactly=log),
        )

    def _with_more_bits(self, found: Enclosed, definition: Callable[..., Any], **options: Any) -> Enclosed:
        arguments = {"beta": self.beta, "keep": self.kept if self.causal else self.keep, **options}
        return replace(found, exactly=partial(_leaves, definition, (self.query, self.memory), arguments))

    @cached_property
    def frame(self) -> Frame:
        """What its error bounds have in common under every accuracy model."""
        return Frame(self.query, self.memory, self.beta, self.solution, self.bias, self.values)

    @cached_property
    def extents(self) -> list[Extent]:
        """The extent of the memories that each query sees."""
        known: dict[bytes, Extent] = {}
        for kept in self.kept:
            key = kept.tobytes()
            if key not in known:
                known[key] = extent(self.memory, kept)
        return [known[kept.tobytes()] for kept in self.kept]

    @cached_property
    def spread(self) -> float:
        """Largest difference between two logits that one query sees."""
        logits = self.solution.logits
        if self.keep is None and self.bias is None and not self.causal:
            return float(np.ptp(logits, axis=1).max(initial=0.0)) if logits.size else 0.0
        seen = self.kept.any(axis=1)
        highest = np.where(self.kept, logits, -np.inf)[seen].max(axis=1, initial=-np.inf)
        lowest = np.where(self.kept, logits, np.inf)[seen].min(axis=1, initial=np.inf)
        return float((highest - lowest).max(initial=0.0))

    @cached_property
    def widest(self) -> float:
        """The square of the largest distance between two memories, in float64."""
        gaps = self.memory[:, None, :] - self.memory[None, :, :]
        return float(np.square(gaps).sum(axis=2).max())

    @cached_property
    def largest_entry(self) -> float:
        """What an entry of the update is at most, for it lies in the convex hull of what is read out."""
        source = self.memory if self.values is None else self.values
        return float(max(source.max(initial=0.0), -source.min(initial=0.0)))

    @cached_property
    def largest_energy(self) -> float:
        """What the energy is at most (clause MHN-ENE-2)."""
        squares = [np.einsum("ij,ij->i", x, x).max(initial=0.0) for x in (self.query, self.memory)]
        return float(np.sqrt(squares).sum() ** 2 / 2)

    @property
    def size(self) -> tuple[int, float]:
        """Order used when looking for the smallest failing problem."""
        cells = self.query.size + self.memory.size
        arrays = [self.query, self.memory] + ([] if self.bias is None else [self.bias])
        finite = np.concatenate([a.ravel() for a in arrays])
        finite = finite[np.isfinite(finite)]
        return cells, float(np.count_nonzero(finite)) + float(np.count_nonzero(finite != np.rint(finite))) / 2

    def but(self, **changes: Any) -> Problem:
        """A copy with some fields replaced: the same object for the same changes, bit for bit.

        So what is known of it, its solution above all, is known to every property and dtype that derives it.
        """
        if any(isinstance(x, np.ndarray) and x.size > INTERNED for x in changes.values()):
            return replace(self, **changes)
        key = tuple((name, _content(value)) for name, value in changes.items())
        if key not in self._derived:
            same = all(_content(getattr(self, name)) == content for name, content in key)
            self._derived[key] = self if same else replace(self, **changes)
        return self._derived[key]

    @cached_property
    def _derived(self) -> dict[tuple[object, ...], Problem]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        # What has been computed of it would be many times as much to send.
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def rng(self) -> np.random.Generator:
        """A fresh generator from ``seed``."""
        return np.random.default_rng(self.seed)


def _content(value: Any) -> object:
    """Equal for values that cannot be told apart."""
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.char, value.tobytes()
    return value.hex() if isinstance(value, float) else value


def _leaves(
    definition: Callable[..., Any], arrays: tuple[Array, ...], arguments: dict[str, Any], bits: int
) -> list[Exact]:
    return list(np.array(definition(*arrays, to=bits, **arguments), dtype=object).ravel())
