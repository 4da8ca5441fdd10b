"""Two of the attention functions that the models of transformers share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.models.llama.modeling_llama import eager_attention_forward

from hopspec.properties.adapters.shapes import POSITIVE
from hopspec.properties.forms import attention_implementation
from hopspec.types import Capabilities, Implementation

__all__ = ["EAGER", "SDPA"]

# All that the functions read of the layer they belong to.
LAYER = SimpleNamespace(num_key_value_groups=1, training=False, is_causal=False)


CLAIMS = Capabilities(
    dtypes=("float32", "bfloat16", "float16"),
    masks=True,
    values=True,
    batch=True,
    strides=True,
    shapes=POSITIVE,
)


def eager(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, scale: float, attn_mask: Any = None) -> Any:
    """The eager function, given what its callers make of a mask: the least number of the dtype, added."""
    if attn_mask is not None and attn_mask.dtype is torch.bool:
        kept = torch.zeros(attn_mask.shape, dtype=q.dtype, device=q.device)
        attn_mask = kept.masked_fill(~attn_mask, torch.finfo(q.dtype).min)
    return eager_attention_forward(LAYER, q, k, v, attn_mask, scaling=scale)[0].transpose(1, 2)


def sdpa(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, scale: float, attn_mask: Any = None) -> Any:
    """The function that hands over to PyTorch's."""
    return sdpa_attention_forward(LAYER, q, k, v, attn_mask, scaling=scale)[0].transpose(1, 2)


EAGER: Implementation[torch.Tensor] = attention_implementation(
    eager, "transformers-eager", capabilities=CLAIMS
)
SDPA: Implementation[torch.Tensor] = attention_implementation(sdpa, "transformers-sdpa", capabilities=CLAIMS)
