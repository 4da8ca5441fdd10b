"""``ModernHopfieldNetwork`` of mhn-ai-agent-memory, with the temperature it is given."""

from __future__ import annotations

import warnings
from typing import Any

import mpmath
import numpy as np
from hopfield_memory.network import ModernHopfieldNetwork

from hopspec.properties.adapters.convention import constants
from hopspec.types import Capabilities, Implementation

__all__ = ["MEMORY"]


def network(memory: Any, beta: float) -> ModernHopfieldNetwork:
    """A network that has stored the rows of ``memory``."""
    made = ModernHopfieldNetwork(memory.shape[1], beta=beta, adaptive_beta=False)
    with warnings.catch_warnings():
        # It warns of memories that are many for their width.
        warnings.simplefilter("ignore")
        for pattern in memory:
            made.store(pattern)
    return made


def retrieve(query: Any, memory: Any, *, beta: float, steps: int = 1) -> Any:
    """``steps`` updates of each query, ``[L, d]``."""
    if steps == 0:
        # num_steps=0 raises an UnboundLocalError.
        return query
    made = network(memory, beta)
    return np.stack([made.retrieve(row, num_steps=steps)[0] for row in query])


def association(query: Any, memory: Any, *, beta: float) -> Any:
    """The attention weights that come with an update, ``[L, N]``."""
    made = network(memory, beta)
    return np.stack([made.retrieve(row)[1] for row in query])


def energy(query: Any, memory: Any, *, beta: float) -> Any:
    """The energy of each query, ``[L]``, to which the constants that the package leaves out are added."""
    made = network(memory, beta)
    constant = constants(memory, beta)
    return np.array(
        [float(mpmath.mpf(float(made.energy(row))) + constant) for row in query], dtype=query.dtype
    )


MEMORY: Implementation[Any] = Implementation(
    name="mhn-ai-agent-memory",
    retrieve=retrieve,
    association=association,
    energy=energy,
    capabilities=Capabilities(dtypes=("float64", "float32"), steps=True, max_size=20_000),
    to_array=lambda array, dtype: np.array(array, dtype=dtype),
    from_array=np.asarray,
)
