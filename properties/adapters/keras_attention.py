"""``keras.layers.Attention`` on its PyTorch backend."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import lru_cache
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import torch

from hopspec.properties.adapters.shapes import POSITIVE
from hopspec.properties.forms import attention_implementation
from hopspec.types import Capabilities, Implementation

__all__ = ["KERAS"]


@lru_cache(maxsize=8)
def layer(dtype: str) -> Any:
    """A layer that multiplies its scores by a weight, of one dtype."""
    made = keras.layers.Attention(use_scale=True, dtype=dtype)
    made.build([(1, 1, 1), (1, 1, 1)])
    return made


def attend(q: Any, k: Any, v: Any, scale: float) -> Any:
    """Output and weights over ``[..., L, d]``; the layer takes one leading dimension."""
    lead = q.shape[:-2]
    q, k, v = (x.reshape(-1, *x.shape[-2:]) for x in (q, k, v))
    attending = layer(str(q.dtype).removeprefix("torch."))
    attending.scale.assign(scale)
    with torch.no_grad():
        found = attending([q, v, k], return_attention_scores=True)
    return [x.reshape(*lead, *x.shape[-2:]) for x in found]


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, scale: float) -> Any:
    """Output ``[B, H, L, dv]``."""
    return attend(q, k, v, scale)[0]


def association(query: torch.Tensor, memory: torch.Tensor, *, beta: float) -> Any:
    """The scores that the layer returns when asked to, ``[..., L, N]``."""
    return attend(query, memory, memory, beta)[1]


# Its masks are one for all queries, and the clauses on masks have one for each as well. The weight that holds
# beta has the dtype of the layer, and the largest float16 is 65504.
KERAS: Implementation[torch.Tensor] = replace(
    attention_implementation(
        attention,
        "keras",
        capabilities=Capabilities(
            dtypes=("float32", "float64", "bfloat16", "float16"),
            values=True,
            batch=True,
            strides=True,
            beta_range=(0.0, 65504.0),
            shapes=POSITIVE,
        ),
    ),
    association=association,
)
