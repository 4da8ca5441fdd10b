"""PyTorch's flash kernel for the CPU, with its work laid out for all threads.

The kernel hands each thread blocks of at least 32 queries of one batch entry and head, so few queries on a
long memory leave threads idle. There the memory is cut into parts that take the place of batch entries, and
their outputs are merged by their log-normalizers (clause MHN-BND-8). One query alone is
slower than two in bfloat16 (five times, measured), so it is asked twice.

How the products inside are computed depends on the number of queries in a block, and with it the last bits of
the result. For results that do not depend on it, blocks of a fixed number of queries take the place of batch
entries.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad


class _Flash(Protocol):
    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        attn_mask: Tensor | None = None,
        scale: float | None = None,
    ) -> tuple[Tensor, Tensor]: ...


# The binding, where there is one, starts microseconds sooner than the operator of the same name.
FLASH: _Flash | None = getattr(
    torch,
    "_scaled_dot_product_flash_attention_for_cpu",
    getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None),
)


class Layout(NamedTuple):
    """What is done with a long memory.

    Args:
        merged_from: from how many memories on it is cut into parts; from the default on a merge costs less
            than idle threads.
        parts: how many parts, or 0 for as many as keep all threads busy.
        unseen_from: from how many numbers on it is asked without a look at them, see
            :mod:`hopspec.fastpath._unseen`; from the default on they do not stay in the caches.
    """

    merged_from: int = 1 << 13
    parts: int = 0
    unseen_from: int = 1 << 20


# Queries of one block of the kernel, at the least.
_BLOCK = 32
# From so many memories, or numbers in them, on two queries take less time than one (measured).
_ASKED_TWICE_FROM = {torch.float32: 1 << 13, torch.float16: 1 << 13}
_ASKED_TWICE_FROM_NUMBERS = {torch.bfloat16: 1 << 13}
# From so many queries on its blocks are the largest, with this number.
_WIDE_FROM, _WIDE_BLOCK = 768, 256
# Queries of one block where results must not depend on how many there are: the fastest of 4, 8, 16 and 32.
_FIXED_BLOCK = 8
# Of fewer memories the products of one query depend on its place in the block (seen with 1 to 3 of them).
_FEWEST_MEMORIES = 4
_HALVES = (torch.bfloat16, torch.float16)

_layout = Layout()


@contextmanager
def laid_out(layout: Layout) -> Iterator[None]:
    """Cut the memory as ``layout`` says, in this process; for verification on small problems."""
    global _layout  # noqa: PLW0603  (an argument would have to pass through every function in between)
    before, _layout = _layout, layout
    try:
        yield
    finally:
        _layout = before


def layout() -> Layout:
    """What is done with a long memory at present."""
    return _layout


def available() -> bool:
    """Whether this PyTorch has the kernel."""
    return FLASH is not None


def in_one(queries: int, memories: int, width: int) -> bool:
    """Whether a memory that is looked at is asked in one call of the kernel, given two matrices.

    A single query may have to be asked twice, see :func:`faster_twice`.
    """
    merged_from, _, unseen_from = _layout
    return memories < merged_from and queries < _WIDE_FROM and memories * width < unseen_from


def flash(
    query: Tensor,
    memory: Tensor,
    read: Tensor,
    mask: Tensor | None,
    beta: float,
    batch_invariant: bool = False,
    *,
    marked: bool = False,
) -> tuple[Tensor, Tensor]:
    """Output ``[B, H, L, w]`` and log-normalizer ``[B, H, L]`` of four-dimensional inputs.

    Args:
        query: ``[B, H, L, w]``.
        memory: ``[B, H, N, w]``, N at least 1.
        read: what is read out, ``[B, H, N, w]``.
        mask: 0 where a memory takes part and -inf elsewhere, broadcastable to ``[B, H, L, N]``.
        beta: inverse temperature.
        batch_invariant: whether the bits of a row must not depend on how many others there are.
        marked: whether a row is to have something that is not finite in the output or the log-normalizer if
            it has in any part of the memory, or if all its logits in a part are -inf; without a mask, and
            not with ``batch_invariant``.
    """
    if batch_invariant:
        return _in_fixed_blocks(query, memory, read, mask, beta)
    assert FLASH is not None
    batch, heads, queries, width = query.shape
    memories = memory.shape[2]
    alone = batch == heads == 1
    if queries == 1 and alone and faster_twice(memories, width, memory.dtype):
        output, log_normalizer = flash(torch.cat((query, query), 2), memory, read, mask, beta, marked=marked)
        return output[:, :, :1], log_normalizer[:, :, :1]
    if alone and memories >= _layout.merged_from:
        parts = _parts(queries, memories)
        if parts > 1 and not _wants_gradient(query, memory, read):
            return _in_parts(query, memory, read, mask, beta, parts, marked)
    wide = queries >= _WIDE_FROM and _leaves_threads_idle(query, mask)
    if wide and not _wants_gradient(query, memory, read):
        output, log_normalizer = _in_shares(query, memory, read, mask, beta, torch.get_num_threads())
    else:
        output, log_normalizer = FLASH(query, memory, read, attn_mask=mask, scale=beta)
    return output, _with_marks(log_normalizer) if marked else log_normalizer


def _with_marks(log_normalizer: Tensor) -> Tensor:
    """NaN for rows whose logits are all -inf: the kernel says 0, which is hardly ever another row's."""
    return log_normalizer.masked_fill(log_normalizer == 0, math.nan)


def faster_twice(memories: int, width: int, dtype: torch.dtype) -> bool:
    """Whether two queries take less time than one."""
    numbers = _ASKED_TWICE_FROM_NUMBERS.get(dtype)
    if numbers is not None:
        return memories * width >= numbers
    return memories >= _ASKED_TWICE_FROM.get(dtype, memories + 1)


def _parts(queries: int, memories: int) -> int:
    if _layout.parts:
        return min(_layout.parts, memories)
    blocks, threads = queries // _BLOCK, torch.get_num_threads()
    return -(-threads // max(1, blocks)) if blocks < threads else 1


def _leaves_threads_idle(query: Tensor, mask: Tensor | None) -> bool:
    """Whether blocks of many queries of one batch entry and head do not come out even."""
    batch, heads, queries, _ = query.shape
    same_mask = mask is None or mask.shape[2] == 1
    return same_mask and batch * heads == 1 and -(-queries // _WIDE_BLOCK) % torch.get_num_threads() != 0


def _in_shares(
    query: Tensor, memory: Tensor, read: Tensor, mask: Tensor | None, beta: float, shares: int
) -> tuple[Tensor, Tensor]:
    """One batch entry and head, with as many queries for each thread."""
    assert FLASH is not None
    queries = query.shape[2]
    size = -(-queries // shares)
    missing = size * shares - queries
    cut = (pad(query, (0, 0, 0, missing)) if missing else query).reshape(shares, 1, size, -1)
    output, log_normalizer = FLASH(
        cut, memory.expand(shares, -1, -1, -1), read.expand(shares, -1, -1, -1), attn_mask=mask, scale=beta
    )
    output = output.reshape(1, 1, size * shares, -1)[:, :, :queries]
    return output, log_normalizer.reshape(1, 1, -1)[..., :queries]


def _wants_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def _in_parts(
    query: Tensor,
    memory: Tensor,
    read: Tensor,
    mask: Tensor | None,
    beta: float,
    parts: int,
    marked: bool,
) -> tuple[Tensor, Tensor]:
    """One batch entry and head; the memory is cut into equal parts, what is left over makes another."""
    assert FLASH is not None
    length = memory.shape[2] // parts
    main = length * parts

    def cut(tensor: Tensor) -> Tensor:
        return tensor[0, 0, :main].view(parts, 1, length, tensor.shape[3])

    masks: tuple[Tensor | None, Tensor | None] = None, None
    if mask is not None:
        pieces = mask[0, 0, :, :main].view(-1, parts, length).transpose(0, 1).unsqueeze(1)
        masks = pieces, mask[..., main:]
    output, log_normalizer = FLASH(
        query.expand(parts, -1, -1, -1), cut(memory), cut(read), attn_mask=masks[0], scale=beta
    )
    log_normalizer = _without_empty(log_normalizer, masks[0])
    if main < memory.shape[2]:
        rest, rest_log = FLASH(query, memory[:, :, main:], read[:, :, main:], attn_mask=masks[1], scale=beta)
        output = torch.cat((output, rest))
        log_normalizer = torch.cat((log_normalizer, _without_empty(rest_log, masks[1])))
    if marked:
        return _merge(output, _with_marks(log_normalizer))
    if output.dtype in _HALVES:
        # A convex combination of the largest numbers may have been rounded to infinity, and 0 * inf is NaN.
        limit = torch.finfo(output.dtype).max
        output = output.clamp(-limit, limit)
    return _merge(output, log_normalizer)


def _without_empty(log_normalizer: Tensor, mask: Tensor | None) -> Tensor:
    """-inf where a row keeps nothing: the kernel says 0."""
    if mask is None:
        return log_normalizer
    return log_normalizer.masked_fill((mask == -math.inf).all(-1), -math.inf)


def _merge(output: Tensor, log_normalizer: Tensor) -> tuple[Tensor, Tensor]:
    """The results of parts of the memory, along the first dimension, as one; in float64, rounded once."""
    wide = log_normalizer.double()
    peak = wide.amax(0, keepdim=True)
    peak = peak.masked_fill(peak == -math.inf, 0.0)
    weights = (wide - peak).exp()
    total = weights.sum(0, keepdim=True)
    merged = (weights.unsqueeze(-1) * output.double()).sum(0, keepdim=True)
    merged = merged / total.masked_fill(total == 0, 1.0).unsqueeze(-1)
    return merged.to(output.dtype), (peak + total.log()).to(log_normalizer.dtype)


def _in_fixed_blocks(
    query: Tensor, memory: Tensor, read: Tensor, mask: Tensor | None, beta: float
) -> tuple[Tensor, Tensor]:
    batch, heads, queries, width = query.shape
    if (lacking := _FEWEST_MEMORIES - memory.shape[2]) > 0:
        if mask is None:
            mask = memory.new_zeros(1, 1, 1, memory.shape[2])
        memory, read = (pad(rows, (0, 0, 0, lacking)) for rows in (memory, read))
        mask = pad(mask, (0, lacking), value=-math.inf)
    if batch > 1:
        parts = []
        for i in range(batch):
            own = mask if mask is None or mask.shape[0] == 1 else mask[i : i + 1]
            parts.append(_in_fixed_blocks(query[i : i + 1], memory[i : i + 1], read[i : i + 1], own, beta))
        outputs, log_normalizers = zip(*parts, strict=True)
        return torch.cat(outputs), torch.cat(log_normalizers)
    assert FLASH is not None
    # A single task runs outside the kernel's threads, where the products inside use threads of their own.
    blocks = max(2, -(-queries // _FIXED_BLOCK))
    missing = blocks * _FIXED_BLOCK - queries

    def cut(tensor: Tensor) -> Tensor:
        filled = pad(tensor, (0, 0, 0, missing))[0]
        return filled.view(-1, blocks, _FIXED_BLOCK, tensor.shape[3]).transpose(0, 1)

    if mask is not None and mask.shape[2] > 1:
        mask = cut(mask)
    output, log_normalizer = FLASH(
        cut(query),
        memory.expand(blocks, -1, -1, -1),
        read.expand(blocks, -1, -1, -1),
        attn_mask=mask,
        scale=beta,
    )
    output = output.transpose(0, 1).reshape(1, heads, -1, width)
    return output[:, :, :queries], log_normalizer.transpose(0, 1).reshape(1, heads, -1)[:, :, :queries]
