"""``Hopfield`` of difflayers, the layer of Ramsauer et al., with nothing learned in it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from difflayers import Hopfield

from hopspec.properties.adapters.shapes import POSITIVE
from hopspec.types import Capabilities, Implementation

__all__ = ["HOPFIELD"]


def layer(beta: float, steps: int) -> Any:
    """A layer that only associates: no projection, no normalization, one head.

    ``update_steps_max`` counts the updates after the first, and the least threshold lets all of them happen.
    """
    return Hopfield(
        scaling=float(beta),
        update_steps_max=steps - 1,
        update_steps_eps=sys.float_info.min,
        normalize_stored_pattern=False,
        normalize_stored_pattern_affine=False,
        normalize_state_pattern=False,
        normalize_state_pattern_affine=False,
        normalize_pattern_projection=False,
        normalize_pattern_projection_affine=False,
        stored_pattern_as_static=True,
        state_pattern_as_static=True,
        pattern_projection_as_static=True,
        input_bias=False,
        disable_out_projection=True,
    ).eval()


def retrieve(
    query: torch.Tensor,
    memory: torch.Tensor,
    *,
    beta: float,
    steps: int = 1,
    values: Any = None,
    keep: Any = None,
) -> Any:
    """``steps`` updates, ``[..., L, d]``, the last of which reads out of the values."""
    if steps == 0:
        # A negative update_steps_max means without a limit.
        return query
    source = memory if values is None else values
    lead = np.broadcast_shapes(query.shape[:-2], memory.shape[:-2], source.shape[:-2])
    if keep is not None:
        lead = np.broadcast_shapes(lead, keep.shape[:-2])
    q, k, v = (x.expand(*lead, *x.shape[-2:]).reshape(-1, *x.shape[-2:]) for x in (query, memory, source))
    seen = (*lead, q.shape[-2], k.shape[-2])
    mask = None if keep is None else ~keep.expand(seen).reshape(-1, *seen[-2:])
    out = layer(beta, steps)((k, q, v), association_mask=mask)
    return out.reshape(*lead, *out.shape[-2:])


def association(query: torch.Tensor, memory: torch.Tensor, *, beta: float, keep: Any = None) -> Any:
    """The association matrix, ``[L, N]``."""
    mask = None if keep is None else ~keep.expand(query.shape[-2], memory.shape[-2])
    found = layer(beta, 1).get_association_matrix(
        (memory[None], query[None], memory[None]), association_mask=mask
    )
    return found[0, 0]


HOPFIELD: Implementation[torch.Tensor] = Implementation(
    name="difflayers",
    retrieve=retrieve,
    association=association,
    capabilities=Capabilities(
        dtypes=("float32", "float64"), masks=True, values=True, steps=True, batch=True, shapes=POSITIVE
    ),
)
