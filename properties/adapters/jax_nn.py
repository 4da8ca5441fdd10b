"""``jax.nn.dot_product_attention`` under ``jax.jit``, on arrays of JAX."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hopspec.properties.adapters.shapes import SHAPES
from hopspec.properties.forms import attention_implementation
from hopspec.types import Capabilities, Implementation

__all__ = ["JAX", "RESIDUAL"]


def to_array(array: Any, dtype: str) -> Any:
    """A JAX array on the default device."""
    return jnp.asarray(np.asarray(array), dtype=dtype)


def from_array(array: Any) -> Any:
    """A NumPy array of the same dtype; bfloat16 is the one of ml_dtypes."""
    return np.asarray(array)


def computed(q: Any, k: Any, v: Any, scale: float, mask: Any) -> Any:
    """Output ``[B, L, H, d]`` and residual ``[B, L, H]``."""
    return jax.nn.dot_product_attention(
        q, k, v, scale=scale, mask=mask, implementation="xla", return_residual=True
    )


compiled = jax.jit(computed)


def attention(q: Any, k: Any, v: Any, *, scale: float, attn_mask: Any = None) -> Any:
    """Output over ``[B, H, L, d]``; JAX has the heads behind the rows."""
    return with_residual(q, k, v, scale=scale, attn_mask=attn_mask)[0]


def with_residual(q: Any, k: Any, v: Any, *, scale: float, attn_mask: Any = None) -> tuple[Any, Any]:
    """Output and what JAX calls the residual, the log-normalizer."""
    rows_first = (jnp.swapaxes(x, 1, 2) for x in (q, k, v))
    out, residual = compiled(*rows_first, scale, attn_mask)
    return jnp.swapaxes(out, 1, 2), jnp.swapaxes(residual, 1, 2)


# Compiled once per shape, so there are few. The softmax is taken in float32 whatever the dtype, which leaves
# nothing to claim in float64; in float16 JAX refuses to compile for CPUs.
CLAIMS = Capabilities(dtypes=("float32", "bfloat16"), masks=True, values=True, batch=True, shapes=SHAPES)

JAX: Implementation[Any] = attention_implementation(
    attention, "jax-dpa", capabilities=CLAIMS, to_array=to_array, from_array=from_array
)

# The residual has the dtype of the inputs, and nothing is promised of its rounding: float32 alone.
RESIDUAL: Implementation[Any] = attention_implementation(
    with_residual,
    "jax-dpa-residual",
    capabilities=replace(CLAIMS, dtypes=("float32",)),
    returns_log_normalizer=True,
    to_array=to_array,
    from_array=from_array,
)
