"""Descriptors of implementations nobody here wrote, and of the reference itself, on PyTorch tensors.

They claim what their documentation says, no more; everything else is observed.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

from hopspec import reference
from hopspec.properties.models import MODELS
from hopspec.types import Capabilities, Implementation

__all__ = ["REFERENCE", "TORCH_EAGER", "TORCH_SDPA", "TORCH_TREE"]

DTYPES = ("float32", "float64", "bfloat16", "float16")
DEVICES = ("cpu", "cuda")


def sdpa(query: torch.Tensor, memory: torch.Tensor, *, beta: float, **options: Any) -> torch.Tensor:
    """One update through ``torch.nn.functional.scaled_dot_product_attention``.

    The tensors are given as [batch, head, L, d]: in two dimensions PyTorch takes its slower path.
    """
    keep, values = options.get("keep"), options.get("values")
    source = memory if values is None else values
    rank = max(2 if x is None else x.ndim for x in (query, memory, source, keep))
    full = max(rank, 4)
    q, k, v = (x[(None,) * (full - x.ndim)] for x in (query, memory, source))
    mask = None if keep is None else keep[(None,) * (full - keep.ndim)]
    out: torch.Tensor = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=beta)
    return out.reshape(out.shape[full - rank :])


def eager(query: torch.Tensor, memory: torch.Tensor, *, beta: float) -> torch.Tensor:
    """One update the way a person writes it: two matrix products around a softmax."""
    return torch.softmax(beta * (query @ memory.mT), dim=-1) @ memory


def eager_log_normalizer(query: torch.Tensor, memory: torch.Tensor, *, beta: float) -> torch.Tensor:
    """The logarithm of the sum of exponentials of the scores, in float32 at least."""
    wide = torch.promote_types(query.dtype, torch.float32)
    return torch.logsumexp(beta * (query.to(wide) @ memory.to(wide).mT), dim=-1)


def halved(terms: torch.Tensor) -> torch.Tensor:
    """Sum over the last dimension in pairs, pairs of pairs, and so on."""
    while terms.shape[-1] > 1:
        pairs = terms.shape[-1] // 2 * 2
        sums = terms[..., 0:pairs:2] + terms[..., 1:pairs:2]
        terms = torch.cat((sums, terms[..., pairs:]), dim=-1)
    return terms.squeeze(-1)


def _exponentials(
    query: torch.Tensor, memory: torch.Tensor, beta: float
) -> tuple[torch.Tensor, torch.Tensor]:
    logits = beta * halved(query.unsqueeze(-2) * memory.unsqueeze(-3))
    top = logits.amax(-1, keepdim=True)
    return torch.exp(logits - top), top.squeeze(-1)


def tree(
    query: torch.Tensor, memory: torch.Tensor, *, beta: float, values: torch.Tensor | None = None
) -> torch.Tensor:
    """One update whose sums are balanced binary trees, by operators that add elements one to one.

    No library chooses their order, so the order can be claimed.
    """
    weights, _ = _exponentials(query, memory, beta)
    source = memory if values is None else values
    weighted = halved(weights.unsqueeze(-2) * source.mT.unsqueeze(-3))
    return weighted / halved(weights).unsqueeze(-1)


def tree_log_normalizer(query: torch.Tensor, memory: torch.Tensor, *, beta: float) -> torch.Tensor:
    """The logarithm of the sum of exponentials that :func:`tree` divides by."""
    weights, top = _exponentials(query, memory, beta)
    return top + halved(weights).log()


def _name(x: torch.Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")


def _reference(function: Any) -> Any:
    def call(query: torch.Tensor, memory: torch.Tensor, *, beta: float, **options: Any) -> torch.Tensor:
        half = function is not reference.update and query.dtype in (torch.bfloat16, torch.float16)
        to = "float32" if half else _name(query)
        keywords = {k: v.tolist() if isinstance(v, torch.Tensor) else v for k, v in options.items()}
        rows = function(query.double().tolist(), memory.double().tolist(), beta=beta, to=to, **keywords)
        return torch.tensor(rows, dtype=torch.float64).to(getattr(torch, to))

    return call


def _rounded(query: torch.Tensor, memory: torch.Tensor, *, beta: float, bits: int) -> torch.Tensor:
    rows = reference.rounded_update(query.tolist(), memory.tolist(), beta=beta, bits=bits)
    return torch.tensor(rows, dtype=torch.float64)


REFERENCE: Implementation[torch.Tensor] = Implementation(
    name="reference",
    retrieve=_reference(reference.update),
    log_normalizer=_reference(reference.log_normalizer),
    energy=_reference(reference.energy),
    rounded=_rounded,
    capabilities=Capabilities(
        dtypes=DTYPES,
        masks=True,
        values=True,
        beta_range=(-float("inf"), float("inf")),
        empty_rows=True,
        nan_isolation=True,
        finite_range=True,
        strides=True,
        deterministic=True,
        correctly_rounded=True,
        max_size=3000,
    ),
    accuracy=tuple(MODELS[f"wide-{d}"] for d in DTYPES),
)

TORCH_SDPA: Implementation[torch.Tensor] = Implementation(
    name="torch-sdpa",
    retrieve=sdpa,
    capabilities=Capabilities(
        dtypes=DTYPES, devices=DEVICES, masks=True, values=True, batch=True, strides=True
    ),
)

TORCH_EAGER: Implementation[torch.Tensor] = Implementation(
    name="torch-eager",
    retrieve=eager,
    log_normalizer=eager_log_normalizer,
    capabilities=Capabilities(dtypes=DTYPES, devices=DEVICES, batch=True, strides=True),
    accuracy=tuple(MODELS[f"eager-{d}"] for d in DTYPES),
)

TORCH_TREE: Implementation[torch.Tensor] = Implementation(
    name="torch-tree",
    retrieve=tree,
    log_normalizer=tree_log_normalizer,
    capabilities=Capabilities(
        dtypes=("float32", "float64"), devices=DEVICES, values=True, batch=True, strides=True
    ),
    accuracy=tuple(MODELS[f"tree-{d}"] for d in ("float32", "float64")),
)
