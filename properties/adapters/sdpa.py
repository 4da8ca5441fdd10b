"""PyTorch's ``scaled_dot_product_attention`` on CPU, one descriptor for each of its two kernels.

Left to itself the function chooses between them by dtype, shape and mask, and a model may run either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch.nn.attention import SDPBackend, sdpa_kernel

from hopspec.properties.adapters.kernels import running
from hopspec.properties.forms import attention_implementation
from hopspec.types import Capabilities, Implementation

__all__ = ["FLASH", "MATH"]


def forced(backend: SDPBackend, operator: str) -> Callable[..., Any]:
    """Attention by one backend, whose ``operator`` must run."""

    def attention(
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        *,
        scale: float,
        attn_mask: torch.Tensor | None = None,
        is_causal: bool = False,
        enable_gqa: bool = False,
    ) -> Any:
        options: dict[str, Any] = {"attn_mask": attn_mask, "is_causal": is_causal, "scale": scale}
        options["enable_gqa"] = enable_gqa
        with sdpa_kernel(backend):
            if not q.numel():
                # There is nothing to compute, and no kernel runs.
                return F.scaled_dot_product_attention(q, k, v, **options)
            return running(operator, F.scaled_dot_product_attention, q, k, v, **options)

    return attention


def claims(*shapes: tuple[int, ...], strides: bool) -> Capabilities:
    """What the documentation of the function says of every backend."""
    return Capabilities(
        dtypes=("float32", "float64", "bfloat16", "float16"),
        masks=True,
        values=True,
        batch=True,
        strides=strides,
        causal="top-left",
        grouped=True,
        bias=True,
        shapes=shapes,
    )


MATH: Implementation[torch.Tensor] = attention_implementation(
    forced(SDPBackend.MATH, "_safe_softmax"), "sdpa-math", capabilities=claims(strides=True)
)

# This kernel refuses values of another width than the keys', and rows that are not contiguous.
FLASH: Implementation[torch.Tensor] = attention_implementation(
    forced(SDPBackend.FLASH_ATTENTION, "_scaled_dot_product_flash_attention_for_cpu"),
    "sdpa-flash",
    capabilities=claims((0, 0, 0), strides=False),
)
