"""A batched kernel for many heads: flattened leading dimensions, strides passed by hand, one beta a head."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hopspec.types import Capabilities, Implementation

from .variants import Variants

__all__ = ["KERNELS"]

FAULTS = {
    "memory_of_first_batch": "a memory without leading dimensions is taken to have the batch's stride",
    "heads_by_modulo": "a memory of fewer leading dimensions is read by the flat number modulo theirs",
    "beta_of_first_head": "beta is read once, for the first slice",
    "beta_by_batch": "an array beta is read by the first leading dimension alone",
    "mask_of_first_slice": "a mask with leading dimensions is read for the first slice",
    "mask_without_leading": "a mask of one row serves the first query only",
    "three_leading_dimensions": "beyond two leading dimensions the last is taken for one",
    "last_slice_missing": "the last of more than two slices is not computed",
    "values_of_first_slice": "values with leading dimensions are read for the first slice",
    "stride_of_rows_ignored": "rows are taken to lie one behind the other",
    "stride_of_columns_ignored": "entries of a row are taken to lie one behind the other",
    "offset_ignored": "the array is taken to start where its storage starts",
    "stride_zero": "an expanded array is read as if it had as many rows as its storage",
    "strided_mask": "the mask is read as if it lay contiguously",
    "transposed_wide": "a transposed memory wider than 16 is read as contiguous",
    "aligned_down": "a start that is no multiple of 16 bytes is moved to the one before",
    "values_strides_of_memory": "values are read with the strides of the memory",
    "one_slice_squeezed": "leading dimensions of length one are squeezed from the result",
    "slices_beyond_8": "slices beyond the eighth repeat the first",
    "query_broadcast": "a query without leading dimensions is zero for all slices but the first",
}


class Heads:
    """The kernel; ``bug`` names its fault."""

    def __init__(self, bug: str) -> None:
        self.bug = bug

    def __call__(
        self,
        query: Tensor,
        memory: Tensor,
        *,
        beta: float | Tensor,
        keep: Tensor | None = None,
        values: Tensor | None = None,
    ) -> Tensor:
        bug = self.bug
        source = memory if values is None else values
        lead = torch.broadcast_shapes(  # type: ignore[no-untyped-call]
            query.shape[:-2],
            memory.shape[:-2],
            source.shape[:-2],
            beta.shape if isinstance(beta, Tensor) else (),
            () if keep is None or keep.ndim < 3 else keep.shape[:-2],
        )
        flat = math.prod(lead)
        wide = torch.float64 if query.dtype == torch.float64 else torch.float32
        own = query.ndim > 2
        q = self._slices(query, lead, flat)
        k = self._slices(memory, lead, flat)
        v = k if values is None else self._slices(values, lead, flat, memory)
        betas = torch.as_tensor(beta, dtype=wide)
        if bug == "beta_of_first_head" and betas.ndim:
            betas = betas.flatten()[:1].reshape([1] * betas.ndim)
        if bug == "beta_by_batch" and betas.ndim > 1:
            betas = betas[..., :1]
        betas = betas.expand(lead).reshape(flat, 1, 1)
        logits = betas * (q.to(wide) @ k.to(wide).mT)
        rows, count = logits.shape[1:]
        if keep is not None:
            if bug == "strided_mask" and not keep.is_contiguous() and keep.ndim == 2:
                keep = torch.as_strided(keep, keep.shape, (keep.shape[1], 1))
            if bug == "mask_of_first_slice" and keep.ndim > 2:
                keep = keep.flatten(0, -3)[:1].expand(flat, *keep.shape[-2:]).reshape(*lead, *keep.shape[-2:])
            kept = keep.expand(*lead, rows, count).reshape(flat, rows, count)
            if bug == "mask_without_leading" and keep.ndim == 1:
                kept = kept.clone()
                kept[:, 1:] = True
            logits = logits.masked_fill(~kept, -torch.inf)
        weights = torch.softmax(logits, -1)
        weights = torch.where(torch.isneginf(logits), torch.zeros_like(weights), weights)
        if bug == "query_broadcast" and not own:
            weights[1:] = 0
        result = weights @ v.to(wide)
        if bug == "last_slice_missing" and flat > 2:
            result[-1] = 0
        if bug == "slices_beyond_8" and flat > 8:
            result[8:] = result[:1]
        shaped = result.to(query.dtype).reshape(*lead, *result.shape[1:])
        if bug == "one_slice_squeezed" and 1 in lead:
            shaped = shaped.reshape(*[n for n in lead if n != 1], *result.shape[1:])
        return shaped

    def _slices(self, x: Tensor, lead: torch.Size, flat: int, memory: Tensor | None = None) -> Tensor:
        """``[flat, rows, width]``, read with the strides that this kernel believes in."""
        bug = self.bug
        rows, width = x.shape[-2:]
        if x.ndim == 2:
            x = self._read(x, memory)
        if bug == "memory_of_first_batch" and x.ndim == 2 and flat > 1 and rows % flat == 0 and rows > flat:
            part = x.reshape(flat, rows // flat, width)
            return part.repeat(1, flat, 1)
        if bug == "heads_by_modulo" and 2 < x.ndim < len(lead) + 2:
            mine = x.flatten(0, -3)
            return mine[torch.arange(flat) // max(flat // len(mine), 1) % len(mine)]
        if bug == "values_of_first_slice" and memory is not None and x.ndim > 2:
            x = x.flatten(0, -3)[:1].reshape([1] * (x.ndim - 2) + [rows, width])
        if bug == "three_leading_dimensions" and len(lead) > 2 and x.ndim > 4:
            x = x[..., :1, :, :]
        return x.expand(*lead, rows, width).reshape(flat, rows, width)

    def _read(self, x: Tensor, memory: Tensor | None) -> Tensor:
        bug = self.bug
        rows, width = x.shape
        row, column = x.stride()
        offset = x.storage_offset()
        if bug == "stride_of_rows_ignored" and column == 1:
            row = width
        if bug == "stride_of_columns_ignored" and row > width:
            column = 1
        if bug == "offset_ignored":
            offset = 0
        if bug == "stride_zero" and 0 in (row, column):
            row, column = min(width, len(x.untyped_storage()) // x.element_size() // rows), 1
        if bug == "transposed_wide" and row == 1 and width > 16:
            row, column = width, 1
        if bug == "aligned_down":
            offset -= offset * x.element_size() % 16 // x.element_size()
        if bug == "values_strides_of_memory" and memory is not None and memory.shape == x.shape:
            row, column = memory.stride()
        size = len(x.untyped_storage()) // x.element_size()
        if rows and width and offset + (rows - 1) * row + (width - 1) * column >= size:
            return x
        return torch.as_strided(x, (rows, width), (row, column), offset)


def _build(bug: str) -> Implementation[Tensor]:
    return Implementation(
        name=f"heads {bug}",
        retrieve=Heads(bug),
        capabilities=Capabilities(
            dtypes=("float32", "float64", "bfloat16"),
            masks=True,
            values=True,
            batch=True,
            tensor_beta=True,
            strides=True,
            empty_rows=True,
            beta_range=(-math.inf, math.inf),
        ),
    )


KERNELS = Variants(_build, FAULTS)
