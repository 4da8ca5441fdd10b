"""``torch.nn.MultiheadAttention`` with one head and projections that change nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch

from hopspec.properties.forms import attention_implementation
from hopspec.types import Capabilities, Implementation

__all__ = ["MULTIHEAD"]


@lru_cache(maxsize=64)
def layer(width: int, dtype: torch.dtype) -> torch.nn.MultiheadAttention:
    """A layer whose projections are identities, so that it attends to what it is given."""
    made = torch.nn.MultiheadAttention(width, 1, bias=False, batch_first=True, dtype=dtype).eval()
    with torch.no_grad():
        for weight in (*made.in_proj_weight.chunk(3), made.out_proj.weight):
            weight.copy_(torch.eye(width, dtype=dtype))
    return made


def attend(q: Any, k: Any, v: Any, scale: float, mask: Any, need_weights: bool) -> tuple[Any, Any]:
    """Output and weights over ``[B, H, L, d]``, every head an item of the layer's batch.

    The layer divides its scores by the root of the width, which the projections make up for.
    """
    width = q.shape[-1]
    made = layer(width, q.dtype)
    lead = q.shape[:2]
    q, k, v = (x.flatten(0, 1) for x in (q, k, v))
    if mask is not None:
        mask = mask.flatten(0, 1)
        mask = ~mask if mask.dtype is torch.bool else mask
    # Divided between the two projections, so that neither overflows; a power of two is exact.
    mantissa, exponent = math.frexp(scale * math.sqrt(width))
    half = exponent // 2
    one = torch.eye(width, dtype=torch.float64)
    with torch.no_grad():
        made.in_proj_weight[:width].copy_(one * math.ldexp(mantissa, exponent - half))
        made.in_proj_weight[width : 2 * width].copy_(one * math.ldexp(1.0, half))
        out, weights = made(q, k, v, attn_mask=mask, need_weights=need_weights)
    return out.unflatten(0, lead), None if weights is None else weights.unflatten(0, lead)


def attention(q: Any, k: Any, v: Any, *, scale: float, attn_mask: Any = None) -> Any:
    """Output ``[B, H, L, d]``."""
    return attend(q, k, v, scale, attn_mask, need_weights=False)[0]


def association(query: Any, memory: Any, *, beta: float, keep: Any = None) -> Any:
    """The weights the layer returns when asked to, which it takes another route for."""
    mask = None if keep is None else keep.expand(query.shape[-2], memory.shape[-2])[None, None]
    q, k = (x[(None,) * (4 - x.ndim)] for x in (query, memory))
    return attend(q, k, k, beta, mask, need_weights=True)[1][0, 0]


MULTIHEAD: Implementation[torch.Tensor] = replace(
    attention_implementation(
        attention,
        "multihead-attention",
        capabilities=Capabilities(
            dtypes=("float32", "float64", "bfloat16", "float16"),
            masks=True,
            values=True,
            strides=True,
            bias=True,
            shapes=((0, 0, 0),),
        ),
    ),
    association=association,
)
