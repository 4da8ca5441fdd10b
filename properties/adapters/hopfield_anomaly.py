"""``ContinuousHopfieldNetwork`` of qriton-hopfield-anomaly: its energy and its attention."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
from hopfield_anomaly import ContinuousHopfieldNetwork

from hopspec.properties.adapters.convention import constants
from hopspec.types import Capabilities, Implementation

__all__ = ["ANOMALY"]


def network(memory: Any, beta: float) -> ContinuousHopfieldNetwork:
    """A network that holds the rows of ``memory``.

    It is restored and not trained: training takes patterns in [-1, 1] only, but what is judged here is said
    of every pattern.
    """
    state = {"size": memory.shape[1], "beta": beta, "patterns": memory.tolist(), "trained": True}
    return ContinuousHopfieldNetwork.from_dict(state)


def association(query: Any, memory: Any, *, beta: float) -> Any:
    """Its attention, ``[L, N]``."""
    made = network(memory, beta)
    return np.array([made.get_attention(row) for row in query.tolist()])


def retrieve(query: Any, memory: Any, *, beta: float) -> Any:
    """The patterns weighted by its attention, ``[L, d]``; the sums are ours, for it has small steps only."""
    weights = association(query, memory, beta=beta)
    return np.array(
        [[math.fsum(w * x for w, x in zip(row, c, strict=True)) for c in memory.T] for row in weights]
    )


def energy(query: Any, memory: Any, *, beta: float) -> Any:
    """The energy of each query, ``[L]``, to which the constants that the package leaves out are added."""
    made = network(memory, beta)
    constant = constants(memory, beta)
    return np.array([float(mpmath.mpf(float(made.energy(row))) + constant) for row in query.tolist()])


ANOMALY: Implementation[Any] = Implementation(
    name="qriton-hopfield-anomaly",
    retrieve=retrieve,
    association=association,
    energy=energy,
    capabilities=Capabilities(dtypes=("float64",), max_size=20_000),
    to_array=lambda array, dtype: np.array(array, dtype=dtype),
    from_array=np.asarray,
)
