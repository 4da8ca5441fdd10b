"""What the error bounds of one problem have in common, whatever the arithmetic they are for."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hopspec.reference.solution import Solution

__all__ = ["Frame"]

Array = NDArray[np.float64]


class Frame:
    """Arrays of the formulas of chapter 10 in which no constant of an accuracy model occurs.

    An implementation is judged in several formats, each with a model of its own, on the same numbers. Every
    array is computed when it is first asked for.

    Args:
        query: ``[L, d]``.
        memory: ``[N, d]``; rows kept by no query may hold anything.
        beta: inverse temperature.
        exact: the exact solution of the same problem.
        bias: what is added to the logits, ``[L, N]``, ``-inf`` where masked; None for nothing.
        values: what is read out, ``[N, dv]``; None for the memory.
    """

    def __init__(
        self,
        query: Array,
        memory: Array,
        beta: float,
        exact: Solution,
        bias: Array | None = None,
        values: Array | None = None,
    ) -> None:
        self.query, self.memory, self.b = query, memory, abs(beta)
        self.exact, self.bias = exact, bias
        self.source = memory if values is None else values
        self.kept = exact.kept
        self.everything = bool(exact.kept.all())

    def where_kept(self, array: Array, otherwise: float = 0.0) -> Array:
        """``array`` for kept memories, another number for the others, ``[L, N]``."""
        if self.everything and array.shape == self.kept.shape:
            return array
        return np.where(self.kept, array, otherwise)

    @cached_property
    def count(self) -> NDArray[np.int64]:
        """Number of kept memories, ``[L]``."""
        return np.asarray(self.kept.sum(axis=1))

    @cached_property
    def logit(self) -> Array:
        """``|t_i|``, 0 where masked, ``[L, N]``."""
        return self.where_kept(np.abs(self.exact.logits))

    @cached_property
    def total(self) -> Array:
        """``t_i``, 0 where masked, ``[L, N]``."""
        return self.where_kept(self.exact.logits)

    @cached_property
    def signed(self) -> Array:
        """``t_i``, ``-inf`` where masked, ``[L, N]``."""
        return self.where_kept(self.exact.logits, -np.inf)

    @cached_property
    def added(self) -> Array:
        """``b_i``, 0 where masked, ``[L, N]``, for a problem with a bias."""
        assert self.bias is not None
        return self.where_kept(self.bias)

    @cached_property
    def magnitude(self) -> Array:
        """``A_i``, 0 where masked, ``[L, N]``."""
        return self.where_kept(self.exact.magnitudes)

    @cached_property
    def entries(self) -> Array:
        """``sum_j |xi_j| + |x_ij|``, that of the memory 0 where masked, ``[L, N]``."""
        memory = np.broadcast_to(np.abs(self.memory).sum(axis=1), self.kept.shape)
        return np.asarray(np.abs(self.query).sum(axis=1)[:, None] + self.where_kept(memory))

    @cached_property
    def largest_entry(self) -> Array:
        """The largest of ``|xi_j|`` and ``|x_ij|``, ``[L]``."""
        memory = np.broadcast_to(np.abs(self.memory).max(axis=1), self.kept.shape)
        return np.asarray(np.maximum(np.abs(self.query).max(axis=1), self.where_kept(memory).max(axis=1)))

    @cached_property
    def largest_score(self) -> Array:
        """The largest of ``A_i`` and ``|beta| A_i + |b_i|``, ``[L]``."""
        scores = np.maximum(self.magnitude, self.b * self.magnitude)
        if self.bias is not None:
            scores = np.maximum(self.magnitude, self.b * self.magnitude + np.abs(self.added))
        return np.asarray(scores.max(axis=1, initial=0.0))

    @cached_property
    def leaders(self) -> NDArray[np.intp]:
        """The memory with the largest logit, ``[L]``."""
        return np.asarray(self.signed.argmax(axis=1))

    @cached_property
    def off(self) -> Array:
        """How far the update may lie from its float64, ``[L, dv]``."""
        return np.abs(self.exact.state.lo) + self.exact.state.radius

    @cached_property
    def largest(self) -> Array:
        """What the update is at most in size, ``[L, dv]``."""
        return np.abs(self.exact.state.hi) + self.off

    @cached_property
    def seen(self) -> Array:
        """What is read out of memories that some query keeps, 0 for the others, ``[N, dv]``."""
        return np.where(np.asarray(self.kept.any(axis=0))[:, None], self.source, 0.0)

    @cached_property
    def size(self) -> Array:
        """``|v_ij|``, ``[N, dv]``."""
        return np.abs(self.seen)

    @cached_property
    def sizes(self) -> Array:
        """``sum_i |v_ij|`` over kept memories, ``[L, dv]``."""
        return np.asarray(self.kept.astype(np.float64) @ self.size)

    @cached_property
    def extremes(self) -> tuple[Array, Array]:
        """Largest and least kept entry of every column, ``[L, dv]`` each; infinite if there is none."""
        points = self.seen
        found: dict[bytes, tuple[Array, Array]] = {}
        for on in self.kept:
            key = on.tobytes()
            if key not in found:
                seen = points if on.all() else points[on]
                found[key] = seen.max(axis=0, initial=-np.inf), seen.min(axis=0, initial=np.inf)
        shape = (len(self.kept), points.shape[1])
        high, low = (np.array([found[on.tobytes()][k] for on in self.kept]).reshape(shape) for k in range(2))
        return high, low

    @cached_property
    def reach(self) -> Array:
        """``m_j``: the largest size of an entry of every column over the kept memories, ``[L, dv]``."""
        high, low = self.extremes
        return np.maximum(np.abs(high), np.abs(low))

    @cached_property
    def norms(self) -> Array:
        """``(|xi|**2 + M**2) / 2``, ``[L]``."""
        squares = np.broadcast_to(np.square(self.memory).sum(axis=1), self.kept.shape)
        longest = self.where_kept(squares).max(axis=1, initial=0.0)
        return np.asarray((np.square(self.query).sum(axis=1) + longest) / 2)
