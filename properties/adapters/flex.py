"""PyTorch's FlexAttention, compiled for CPU.

``torch.compile`` makes one program per shape, dtype and constant; after eight it would silently run the
uncompiled function, another kernel. So the shapes are few, the scale is an argument of the program and not a
constant, and running uncompiled is an error.
"""

from __future__ import annotations

import shutil
from typing import Any

import torch
from torch._dynamo.utils import counters
from torch.nn.attention.flex_attention import flex_attention

from hopspec.properties.adapters.kernels import OtherKernelError
from hopspec.properties.adapters.shapes import SHAPES
from hopspec.properties.forms import attention_implementation
from hopspec.types import Capabilities, Implementation

__all__ = ["FLEX"]

DTYPES = ("float32", "bfloat16", "float16")


def scaled(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: torch.Tensor) -> Any:
    """FlexAttention whose scores are multiplied by ``scale``."""

    def score(s: torch.Tensor, _b: Any, _h: Any, _i: Any, _j: Any) -> torch.Tensor:
        return s * scale

    return flex_attention(q, k, v, score_mod=score, scale=1.0)


compiled = torch.compile(scaled, dynamic=False, fullgraph=True)
made: set[tuple[Any, ...]] = set()


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, scale: float) -> Any:
    """Attention by a program that was compiled for these shapes, or an error."""
    key = (q.dtype, q.shape, k.shape, v.shape, q.stride(), k.stride(), v.stride())
    before = counters["stats"]["unique_graphs"]
    with torch.no_grad(), torch._dynamo.config.patch(recompile_limit=256, fail_on_recompile_limit_hit=True):
        out = compiled(q, k, v, torch.as_tensor(scale, dtype=torch.float32))
    if key not in made and counters["stats"]["unique_graphs"] == before:
        raise OtherKernelError(f"nothing was compiled for {key}, so another kernel ran")
    made.add(key)
    return out


if shutil.which("g++") is None and shutil.which("clang++") is None:
    raise ImportError("compiling FlexAttention needs a C++ compiler, g++ or clang++")

FLEX: Implementation[torch.Tensor] = attention_implementation(
    attention,
    "flex-attention",
    capabilities=Capabilities(dtypes=DTYPES, values=True, shapes=SHAPES),
)
