"""``Attend`` of x-transformers, without and with its flash option."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from x_transformers.attend import Attend

from hopspec.properties.adapters.shapes import POSITIVE
from hopspec.properties.forms import attention_implementation
from hopspec.types import Capabilities, Implementation

__all__ = ["EINSUM", "FLASH"]


# The weights are taken in float32 whatever the dtype, which leaves nothing to claim in float64.
CLAIMS = Capabilities(
    dtypes=("float32", "bfloat16", "float16"),
    masks=True,
    values=True,
    batch=True,
    strides=True,
    shapes=POSITIVE,
)


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    scale: float,
    attn_mask: torch.Tensor | None = None,
    flash: bool,
) -> Any:
    """Attention by a layer made for this scale."""
    return Attend(scale=scale, flash=flash).eval()(q, k, v, mask=attn_mask)[0]


EINSUM: Implementation[torch.Tensor] = attention_implementation(
    partial(attention, flash=False), "x-transformers", capabilities=CLAIMS
)
FLASH: Implementation[torch.Tensor] = attention_implementation(
    partial(attention, flash=True), "x-transformers-flash", capabilities=CLAIMS
)
