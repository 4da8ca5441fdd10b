"""One update of a small problem: one call of the kernel, and as little around it as can be done in Python.

With a few hundred memories the kernel takes some twenty microseconds, as long as a dozen operations take to
start. What :mod:`hopspec.fastpath._plain` establishes for every kind of call is established here for one: one
update, nothing masked, one call of the kernel. Whatever else it may be is left to others, by None.

The kernel is called as they call it, so the bits are the same, whoever does it and whether or not the memory
is prepared. One case needs care. Numbers in half precision are too small for a score to leave the range of
single precision, so that such a memory need not be looked at before: a NaN or an infinity in it shows in the
output (the argument is in :mod:`hopspec.fastpath._unseen`), which is smaller. A prepared memory that is known
to hold numbers too large for the other way is asked in this one too.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hopspec.fastpath import _flash
from hopspec.fastpath._plain import LEAST_BETA, SHORT, magnitude
from hopspec.fastpath._plain_memory import ANY_HALF, LIMIT, Entries, entries
from hopspec.fastpath._route import is_forced
from hopspec.fastpath.memory import Memory

# One product of a vector with itself takes half the time of a look for the largest entry. With up to so many
# numbers its rounding changes the length by less than 1 %, nor can the squares below the range of the type.
_DOTTED, _DOTTED_TO, _LEAST_SQUARE = (torch.float32, torch.float64), 1 << 17, 2.0**-80


def update_at_once(query: object, memory: object, beta: object) -> Tensor | None:
    """One update of every query with all of the memory, or None if that is not a matter of one call.

    Args:
        query: ``[L, d]``.
        memory: ``[N, d]``, or a :class:`Memory` of such patterns, without values and mask.
        beta: a finite number.
    """
    kernel = _flash.FLASH
    if type(query) is not Tensor or type(beta) is not float or kernel is None or is_forced():
        return None
    known = None
    if type(memory) is Memory:
        held = memory.plain
        if held is None or held.mask is not None or memory.values is not None or held.entries is None:
            return None
        known, rows = held.entries, held.rows
        _, _, count, wide = rows.shape
    elif type(memory) is Tensor and memory.dim() == 2 and memory.is_cpu and memory.is_contiguous():
        rows = memory
        count, wide = rows.shape
    else:
        return None
    dtype, shape = query.dtype, query.shape
    limit = LIMIT.get(dtype)
    if limit is None or rows.dtype is not dtype or len(shape) != 2:
        return None
    queries, width = shape
    if wide != width or not (queries and count and width) or not query.is_cpu or not query.is_contiguous():
        return None
    if not _flash.in_one(queries, count, width) or torch.is_autocast_enabled("cpu"):
        return None
    if (query.requires_grad or rows.requires_grad) and torch.is_grad_enabled():
        return None
    if known is None:
        known = _look(rows, count, width, dtype)
        if known is None:
            return None
        rows = rows.view(1, 1, count, width)
    largest, finite = known
    # An output larger than the memory is not looked at in less time.
    if not (finite or queries <= count):
        return None
    size = math.hypot(*query.tolist()[0]) if queries == 1 and width <= SHORT else magnitude(query)
    scale = abs(beta)
    # NaN fails every comparison.
    if not scale < limit or not size * largest * width * max(1.0, scale) < limit or 0 < scale < LEAST_BETA:
        return None
    asked = query.view(1, 1, queries, width)
    if queries == 1 and _flash.faster_twice(count, width, dtype):
        twice, _ = kernel(torch.cat((asked, asked), 2), rows, rows, scale=beta)
        output = twice.as_strided((1, width), (width, 1))
    else:
        output = kernel(asked, rows, rows, scale=beta)[0].view(queries, width)
    return output if finite or _is_finite(output) else None


def _look(rows: Tensor, count: int, width: int, dtype: torch.dtype) -> Entries | None:
    """How large the entries of a memory ``[N, d]`` are, or None if they are out of the ordinary."""
    if dtype is torch.float16:
        return ANY_HALF
    if dtype not in _DOTTED or count * width > _DOTTED_TO:
        return entries(magnitude(rows), count, dtype)
    numbers = rows.view(-1)
    square: float = numbers.dot(numbers).item()
    # The length of all rows as one vector is no less than any entry.
    return entries(1.01 * math.sqrt(square), count, dtype) if _LEAST_SQUARE < square < math.inf else None


def _is_finite(output: Tensor) -> bool:
    if output.shape[0] == 1:
        return math.isfinite(math.hypot(*output.tolist()[0]))
    return math.isfinite(output.sum(dtype=torch.float32).item())
