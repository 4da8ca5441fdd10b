"""Which queries of a large problem deserve a look: plain floating point over all of them.

It decides nothing. It only chooses, among thousands of rows, some for the certified oracle to judge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hopspec.properties.problem import Array
from hopspec.properties.production_problem import REGIMES, ProblemAtSize

__all__ = ["Scout", "scout"]

# Logits held at a time: a library that shares its products among threads wants large ones.
WORKING = 1 << 25


@dataclass(frozen=True)
class Scout:
    """What plain floating point gives for every query.

    Args:
        results: by quantity, ``[L, dv]`` or ``[L]``.
        regimes: of every query.
    """

    results: dict[str, Array]
    regimes: NDArray[np.int64]

    def suspects(self, quantity: str, answer: Array, count: int) -> NDArray[np.int64]:
        """Of every regime, the ``count`` rows that differ most from these; NaN differs most."""
        with np.errstate(invalid="ignore"):
            apart = np.abs(answer - self.results[quantity]).reshape(len(answer), -1).max(axis=1)
        apart = np.where(np.isnan(apart), np.inf, apart)
        chosen = [
            members[np.argsort(apart[members], kind="stable")[-count:]]
            for members in (np.flatnonzero(self.regimes == regime) for regime in range(len(REGIMES)))
        ]
        return np.concatenate(chosen)


def scout(problem: ProblemAtSize) -> Scout:
    """Update, log-normalizer and energy of every query, in the floating-point type of the arrays."""
    memory, values, beta = problem.memory, problem.values, problem.beta
    keep = np.ones(len(memory), dtype=np.bool_) if problem.keep is None else problem.keep
    kept = memory[keep] if problem.keep is not None else memory
    source = kept if values is None else values[keep]
    states, normalizers = [], []
    step = max(1, WORKING // len(memory))
    for start in range(0, len(problem.query), step):
        logits = problem.query[start : start + step] @ kept.T
        logits *= beta
        top = logits.max(axis=1, keepdims=True)
        logits -= top
        weights = np.exp(logits, out=logits)
        total = weights.sum(axis=1, keepdims=True)
        states.append((weights @ source) / total)
        normalizers.append((top + np.log(total))[:, 0])
    normalizer = np.concatenate(normalizers).astype(np.float64)
    squares = np.square(problem.query.astype(np.float64)).sum(axis=1)
    largest = float(np.einsum("ij,ij->i", kept, kept).max())
    energy = (squares + largest) / 2 - (normalizer - np.log(len(kept))) / beta
    results = {"retrieve": np.concatenate(states), "log_normalizer": normalizer, "energy": energy}
    return Scout(results, problem.regimes)
