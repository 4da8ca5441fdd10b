"""A prepared memory for the short route of :mod:`hopspec.fastpath._plain`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from hopspec.fastpath._flags import any_along
from hopspec.fastpath._stored import Stored, lasting
from hopspec.fastpath._visible import Prepared

# Largest number of the type in which products are summed, over four: room for rounding.
LIMIT = {torch.float64: torch.finfo(torch.float64).max / 4} | dict.fromkeys(
    (torch.float32, torch.bfloat16, torch.float16), torch.finfo(torch.float32).max / 4
)
# Results rounded to half precision cannot pass the largest number if the memory stays below this.
ROOM = {dtype: torch.finfo(dtype).max / 2 for dtype in LIMIT}


class Entries(NamedTuple):
    """How large the entries of a memory are.

    Args:
        largest: no less than any absolute entry.
        finite: whether finite queries certainly give finite outputs.
    """

    largest: float
    finite: bool


# What a memory in half precision can hold; no score of such numbers leaves the range of single precision.
ANY_HALF = Entries(torch.finfo(torch.float16).max, finite=False)


def entries(largest: float, count: int, dtype: torch.dtype) -> Entries | None:
    """What the largest absolute entry of ``count`` rows tells; None if it is NaN or out of the ordinary."""
    # Weights of up to 1 each: the sum of all rows must stay in range. NaN fails every comparison.
    if largest * count < LIMIT[dtype] and largest < ROOM[dtype]:
        return Entries(largest, finite=True)
    return ANY_HALF if dtype is torch.float16 and math.isfinite(largest) else None


@dataclass(frozen=True)
class PlainMask:
    """A mask of which every row keeps a memory.

    Args:
        keep: boolean ``[L or 1, N]``, contiguous.
        dtype: that of the memory.
    """

    keep: Tensor
    dtype: torch.dtype

    @cached_property
    def logits(self) -> Tensor:
        """What PyTorch's flash kernel adds to the logits, ``[1, 1, L or 1, N]``: 0 where kept, else -inf."""
        with lasting():
            return torch.where(self.keep, 0.0, -math.inf).to(self.dtype).view(1, 1, *self.keep.shape)


@dataclass(frozen=True, slots=True)
class PlainMemory:
    """One matrix on the CPU, and its mask, as PyTorch's flash kernel takes them.

    Args:
        rows: ``[1, 1, N, d]``, contiguous, N and d at least 1; without a gradient.
        entries: how large they are; None if out of the ordinary.
        mask: which memories take part, or None for all.
        prepared: the same, with what is computed of rows and mask when first asked for.
    """

    rows: Tensor
    entries: Entries | None
    mask: PlainMask | None
    prepared: Prepared

    @property
    def stored(self) -> Stored:
        """The rows as ``[N, d]``, with what is computed of them alone."""
        return self.prepared.stored


def plain_mask(keep: object, memories: int, dtype: torch.dtype) -> PlainMask | None:
    """``keep`` for the short route, or None where it is anything but one contiguous mask on the CPU.

    Args:
        keep: boolean, ``[N]`` or ``[L, N]``, at least one True in every row.
        memories: N.
        dtype: that of the memory.
    """
    if type(keep) is not Tensor or keep.dtype is not torch.bool or not keep.is_cpu:
        return None
    if keep.dim() not in (1, 2) or keep.shape[-1] != memories or not keep.is_contiguous():
        return None
    if not any_along(keep, -1).all().item():
        return None
    return PlainMask(keep.view(-1, memories), dtype)


def plain_memory(patterns: Tensor, prepared: Prepared, keep: Tensor | None) -> PlainMemory | None:
    """A memory for the short route, or None where it is anything but one contiguous matrix on the CPU.

    Args:
        patterns: as they were given.
        prepared: the same and the mask, prepared.
        keep: the mask as it was given.
    """
    if type(patterns) is not Tensor or not patterns.is_cpu or patterns.dim() != 2 or not patterns.numel():
        return None
    mask = None if keep is None else plain_mask(keep, patterns.shape[0], patterns.dtype)
    if not patterns.is_contiguous() or (keep is not None and mask is None):
        return None
    stored = prepared.stored
    found = entries(stored.peak, patterns.shape[0], patterns.dtype)
    return PlainMemory(stored.rows.view(1, 1, *patterns.shape), found, mask, prepared)
