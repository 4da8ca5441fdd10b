r"""Many queries of one memory in float64, and the ways in which all of them can be wrong (clause MHN-STA-1).

The exact solution of hundreds of queries would cost more than everything else a run does. Errors that are
averaged over hundreds of roundings of ``2**-24`` or more are measured well enough against float64, whose own
error is bounded here and allowed for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import implements
from hopspec.reference.arithmetic import gamma
from hopspec.reference.solution import Enclosed, Solution

__all__ = ["Crowd", "Direction", "directions_of"]

Array = NDArray[np.float64]
U64 = 2.0**-53
# A memory whose weight is this factor below the largest is a far one.
FAR = 4.0


@dataclass(frozen=True)
class Crowd:
    """Many queries of one memory, all memories kept, ``beta > 0``.

    Args:
        query: ``[L, d]``.
        memory: ``[N, d]``.
        beta: inverse temperature.

    >>> crowd = Crowd(np.array([[1.0], [2.0]]), np.array([[1.0], [-1.0]]), beta=0.5)
    >>> crowd.solution.state.hi[:, 0].round(6).tolist()  # tanh(1/2), tanh(1)
    [0.462117, 0.761594]
    """

    query: Array
    memory: Array
    beta: float

    @cached_property
    def solution(self) -> Solution:
        """Every quantity in float64, the radii left at 0: see :attr:`doubt`."""
        logits = self.beta * (self.query @ self.memory.T)
        top = logits.max(axis=1, keepdims=True)
        weights = np.exp(logits - top)
        total = weights.sum(axis=1, keepdims=True)
        weights /= total
        state = weights @ self.memory
        log = (top + np.log(total))[:, 0]
        norms = np.square(self.query).sum(axis=1) + np.square(self.memory).sum(axis=1).max()
        energy = norms / 2 + (np.log(len(self.memory)) - log) / self.beta
        return Solution(
            kept=np.ones(logits.shape, dtype=np.bool_),
            logits=logits,
            weights=weights,
            magnitudes=np.abs(self.query) @ np.abs(self.memory).T,
            state=_known(state),
            log_normalizer=_known(log),
            energy=_known(energy),
        )

    @cached_property
    def distinct(self) -> bool:
        """Whether the associations of all queries differ, rounded to multiples of ``2**-20``."""
        rounded = np.rint(self.solution.weights * 2.0**20).astype(np.int32)
        return len({row.tobytes() for row in rounded}) == len(rounded)

    @cached_property
    def doubt(self) -> float:
        """A bound on the relative error of every weight in float64, up to a factor common to the row.

        That of MHN-BND-2 with ``u = 2**-53``, an exponential within ``4u`` and no refinement, at the largest
        logit and magnitude; doubled, for the quantities it is computed from are float64 themselves.
        """
        n, d = self.memory.shape
        s = self.solution
        logit, magnitude = float(np.abs(s.logits).max()), float(s.magnitudes.max())
        tau = 2 * gamma(d, U64) * self.beta * magnitude + 4 * U64 * logit
        return 2 * (tau + U64 * (2 * logit + 2 * tau) + 8 * U64 + gamma(n + 4, U64))

    @cached_property
    def mean_logit(self) -> Array:
        """``[L, 1]``, the mean of the logits under the association."""
        s = self.solution
        return np.asarray((s.weights * s.logits).sum(axis=1, keepdims=True))

    @cached_property
    def far(self) -> Array:
        """``[L, N]``, 1 where a weight is less than ``exp(-4)`` of the largest, else 0."""
        logits = self.solution.logits
        return np.asarray(logits.max(axis=1, keepdims=True) - logits > FAR, dtype=np.float64)

    @cached_property
    def nearest(self) -> Array:
        """``[L, N]``, 1 at the largest weight, else 0."""
        logits = self.solution.logits
        return np.asarray(logits == logits.max(axis=1, keepdims=True), dtype=np.float64)

    def only(self, index: int) -> Array:
        """``[1, N]``, 1 at one memory, else 0."""
        return np.asarray(np.arange(len(self.memory)) == index % len(self.memory), dtype=np.float64)[None, :]

    @cached_property
    def position(self) -> Array:
        """``[1, N]``, from -1 at the first memory to 1 at the last."""
        return np.linspace(-1.0, 1.0, len(self.memory))[None, :]

    @cached_property
    def order(self) -> Array:
        """``[L, 1]``, from -1 at the first query to 1 at the last."""
        return np.linspace(-1.0, 1.0, len(self.query))[:, None]


def _known(values: Array) -> Enclosed:
    return Enclosed(values, np.zeros(values.shape), np.zeros(values.shape))


@dataclass(frozen=True, slots=True)
class Direction:
    """One way in which a computed quantity can be wrong everywhere (clause MHN-STA-1).

    Args:
        name: short name.
        above: what results look like whose coefficient is positive; ``{}`` stands for its size.
        below: the same for a negative one.
        slope: of a crowd, the change of the quantity per unit of the coefficient.
    """

    name: str
    above: str
    below: str
    slope: Callable[[Crowd], Array]


def _reweighed(by: Callable[[Crowd], Array]) -> Callable[[Crowd], Array]:
    """The change of the update where the weight of memory i is multiplied by ``1 + c w_i``."""

    def slope(crowd: Crowd) -> Array:
        p, w = crowd.solution.weights, by(crowd)
        mean = (p * w).sum(axis=1, keepdims=True)
        return np.asarray((p * (w - mean)) @ crowd.memory)

    return slope


def _redistributed(by: Callable[[Crowd], Array]) -> Callable[[Crowd], Array]:
    """The same for the association."""

    def slope(crowd: Crowd) -> Array:
        p, w = crowd.solution.weights, by(crowd)
        return np.asarray(p * (w - (p * w).sum(axis=1, keepdims=True)))

    return slope


def _raised(by: Callable[[Crowd], Array]) -> Callable[[Crowd], Array]:
    """The same for the log-normalizer."""
    return lambda crowd: np.asarray((crowd.solution.weights * by(crowd)).sum(axis=1))


def _logits(crowd: Crowd) -> Array:
    return crowd.solution.logits


def _bend(crowd: Crowd) -> Array:
    return np.asarray(np.square(crowd.solution.logits - crowd.mean_logit))


def _of_weight(
    name: str, which: str, by: Callable[[Crowd], Array]
) -> tuple[str, str, str, Callable[[Crowd], Array]]:
    text = f"the weight of {which} looks {{}} too "
    return name, text + "large", text + "small", by


# How the weights can be wrong, whatever is computed from them: weight i is multiplied by 1 + c w_i.
_WEIGHTS: tuple[tuple[str, str, str, Callable[[Crowd], Array]], ...] = (
    ("beta", "beta looks {} too large", "beta looks {} too small", _logits),
    (
        "curvature",
        "logits look bent up by {} of the square of their distance from the mean",
        "logits look bent down by {} of the square of their distance from the mean",
        _bend,
    ),
    (
        "trend",
        "the weight of the last memories looks {} too large, that of the first too small",
        "the weight of the first memories looks {} too large, that of the last too small",
        lambda crowd: crowd.position,
    ),
    _of_weight("first", "the first memory", lambda crowd: crowd.only(0)),
    _of_weight("last", "the last memory", lambda crowd: crowd.only(-1)),
    _of_weight("far", "memories far from the query", lambda crowd: crowd.far),
    _of_weight("nearest", "the memory nearest to the query", lambda crowd: crowd.nearest),
)


def _state(crowd: Crowd) -> Array:
    return crowd.solution.state.hi


def _over_total(crowd: Crowd) -> Array:
    """``-o / S`` with ``S`` the sum of the exponentials relative to the largest."""
    return np.asarray(-_state(crowd) * crowd.solution.weights.max(axis=1, keepdims=True))


def _entropy_lost(crowd: Crowd) -> Array:
    """The change of the energy with ``log beta``: entropy of the weights less ``log N``, over beta."""
    entropy = crowd.solution.log_normalizer.hi - crowd.mean_logit[:, 0]
    return np.asarray((entropy - np.log(len(crowd.memory))) / crowd.beta)


def _constant(size: Callable[[Crowd], float]) -> Callable[[Crowd], Array]:
    return lambda crowd: np.full(len(crowd.query), size(crowd))


def _toward(name: str, target: str, point: Callable[[Crowd], Array]) -> Direction:
    """A damped update: drawn to something else."""
    looks = f"the update looks drawn {{}} {target} {{{{}}}} of the way"
    return Direction(
        name, looks.format("to"), looks.format("away from"), lambda crowd: point(crowd) - _state(crowd)
    )


_OF: dict[str, tuple[Direction, ...]] = {
    "retrieve": (
        *(Direction(name, above, below, _reweighed(by)) for name, above, below, by in _WEIGHTS),
        Direction("scale", "the update looks {} too long", "the update looks {} too short", _state),
        Direction(
            "upward",
            "the update looks rounded up by {} of its size",
            "the update looks rounded down by {} of its size",
            lambda crowd: np.abs(_state(crowd)),
        ),
        _toward("mean", "the mean of the memory", lambda crowd: crowd.memory.mean(axis=0)),
        _toward("query", "the query", lambda crowd: crowd.query),
        Direction(
            "denominator",
            "the sum of exponentials looks too large by {} of the largest",
            "the sum of exponentials looks too small by {} of the largest",
            _over_total,
        ),
        Direction(
            "later",
            "the update of the last queries looks {} too long, that of the first too short",
            "the update of the first queries looks {} too long, that of the last too short",
            lambda crowd: crowd.order * _state(crowd),
        ),
    ),
    "association": (
        *(Direction(name, above, below, _redistributed(by)) for name, above, below, by in _WEIGHTS),
        Direction(
            "scale", "weights look {} too large", "weights look {} too small", lambda c: c.solution.weights
        ),
        Direction(
            "offset",
            "every weight looks too large by {} of their mean",
            "every weight looks too small by {} of their mean",
            lambda crowd: np.full(crowd.solution.weights.shape, 1 / len(crowd.memory)),
        ),
    ),
    "log_normalizer": (
        *(
            Direction(name, above, below, _raised(by))
            for name, above, below, by in _WEIGHTS
            if name in ("beta", "last", "far")
        ),
        Direction(
            "offset",
            "the sum of exponentials looks {} too large",
            "the sum of exponentials looks {} too small",
            _constant(lambda crowd: 1.0),
        ),
        Direction(
            "scale",
            "the log-normalizer looks {} too large",
            "the log-normalizer looks {} too small",
            lambda crowd: crowd.solution.log_normalizer.hi,
        ),
    ),
    "energy": (
        Direction("beta", "beta looks {} too large", "beta looks {} too small", _entropy_lost),
        Direction(
            "offset",
            "the energy looks too large by {} of 1 / beta",
            "the energy looks too small by {} of 1 / beta",
            _constant(lambda crowd: 1 / crowd.beta),
        ),
        Direction(
            "lse",
            "the lse looks {} too large",
            "the lse looks {} too small",
            lambda crowd: -crowd.solution.log_normalizer.hi / crowd.beta,
        ),
        Direction(
            "square",
            "the squared norm of the query looks {} too large",
            "the squared norm of the query looks {} too small",
            lambda crowd: np.square(crowd.query).sum(axis=1) / 2,
        ),
    ),
}


@implements("MHN-STA-1")
def directions_of(quantity: str) -> tuple[Direction, ...]:
    """The directions in which a quantity is tested (clause MHN-STA-1).

    Args:
        quantity: ``"retrieve"``, ``"association"``, ``"log_normalizer"`` or ``"energy"``.

    Raises:
        ValueError: if it is none of these.

    >>> [direction.name for direction in directions_of("energy")]
    ['beta', 'offset', 'lse', 'square']
    """
    if quantity not in _OF:
        raise ValueError(f"quantity must be one of {', '.join(_OF)}, got {quantity!r}")
    return _OF[quantity]
