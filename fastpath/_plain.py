"""The plain case, in as few operations as it can be done: two matrices on the CPU, numbers of ordinary size.

For small inputs nearly all the time of a call goes into starting operations, microseconds each, so
what :mod:`hopspec.fastpath._arguments` and :mod:`hopspec.fastpath._attend` establish with tensors of any
shape is established here with a few Python floats. Whatever does not certainly belong here is left to them:
:func:`plain_problem` or :func:`attend_plain` returns None, having done nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hopspec.fastpath import _attend

# Largest number of the type in which products are summed, over four: room for rounding.
_LIMIT = {torch.float64: torch.finfo(torch.float64).max / 4} | dict.fromkeys(
    (torch.float32, torch.bfloat16, torch.float16), torch.finfo(torch.float32).max / 4
)
# Below this the kernel's float32 copy of beta loses precision or vanishes.
_LEAST_BETA = torch.finfo(torch.float32).tiny
# Results rounded to half precision cannot pass the largest number if the memory stays below this.
_ROOM = {dtype: torch.finfo(dtype).max / 2 for dtype in _LIMIT}


@dataclass(frozen=True, slots=True)
class PlainProblem:
    """A memory of which every finite query below ``reach`` can be asked.

    Args:
        memory: ``[1, 1, N, d]``.
        mask: 0 where a memory takes part and -inf elsewhere, ``[1, 1, L or 1, N]``, or None.
        keep: the same as booleans, ``[L or 1, N]``.
        beta: the inverse temperature.
        largest: largest absolute entry of the memory.
        reach: queries whose entries stay below this are safe.
    """

    memory: Tensor
    mask: Tensor | None
    keep: Tensor | None
    beta: float
    largest: float
    reach: float

    @property
    def hull_is_safe(self) -> bool:
        """Whether every query in the convex hull of the memory, or just outside by rounding, is safe."""
        return 2 * self.largest < self.reach

    def select(self, chosen: Tensor) -> PlainProblem:
        """The same problem for the given rows only."""
        if self.keep is None or self.mask is None or self.keep.shape[0] == 1:
            return self
        return replace(self, keep=self.keep[chosen], mask=self.mask[:, :, chosen])


def plain_problem(query: object, memory: object, beta: object, keep: object = None) -> PlainProblem | None:
    """The memory as the kernel takes it, or None if anything about the arguments is out of the ordinary.

    Args:
        query: ``[L, d]``.
        memory: ``[N, d]``.
        beta: a finite number.
        keep: boolean, ``[N]`` or ``[L or 1, N]``, at least one True in every row; or None.
    """
    if type(query) is not Tensor or type(memory) is not Tensor or _attend._FLASH is None:
        return None
    dtype = query.dtype
    if dtype is not memory.dtype or dtype not in _LIMIT or not (query.is_cpu and memory.is_cpu):
        return None
    shape, stored = query.shape, memory.shape
    if len(shape) != 2 or len(stored) != 2:
        return None
    width, count = shape[1], stored[0]
    if width != stored[1] or not (width and count and shape[0]):
        return None
    if not (query.is_contiguous() and memory.is_contiguous()):
        return None
    if (query.requires_grad or memory.requires_grad) and torch.is_grad_enabled():
        return None
    if type(beta) is not float and type(beta) is not int:
        return None
    limit = _LIMIT[dtype]
    scale = abs(float(beta)) if -limit < beta < limit else math.inf
    if not scale < limit or torch.is_autocast_enabled("cpu"):
        return None
    largest = torch.linalg.vector_norm(memory, math.inf).item()
    # Weights of up to 1 each: the sum of all rows must stay in range. NaN fails every comparison.
    if not largest * count < limit or not largest < _ROOM[dtype]:
        return None
    factor = largest * width
    steepest = max(factor, factor * scale)
    reach = limit / steepest if steepest else math.inf
    if scale < _LEAST_BETA and dtype is not torch.float64:
        reach = min(reach, 2.0**-40 / (factor * scale)) if factor * scale else reach
    mask = None
    if keep is not None:
        keep = _plain_mask(keep, shape[0], count)
        if keep is None or keep.numel() * query.element_size() > _attend.CHUNK_BYTES:
            return None
        mask = torch.where(keep, 0.0, -math.inf).to(dtype).view(1, 1, -1, count)
    return PlainProblem(memory.view(1, 1, count, width), mask, keep, float(beta), largest, reach)


def _plain_mask(keep: object, queries: int, memories: int) -> Tensor | None:
    if type(keep) is not Tensor or keep.dtype is not torch.bool or not keep.is_cpu:
        return None
    if tuple(keep.shape) not in ((memories,), (1, memories), (queries, memories)):
        return None
    if not keep.any(-1).all().item():
        return None
    return keep.view(-1, memories) if keep.is_contiguous() else None


def attend_plain(problem: PlainProblem, query: Tensor, *, certified: bool = False) -> _attend.Attended | None:
    """One association with the whole memory (clause MHN-UPD-3), or None if the query may be out of reach.

    Args:
        problem: from :func:`plain_problem`.
        query: ``[L, d]``, contiguous.
        certified: whether the query is known to be within reach.
    """
    # Scores within reach are finite, hence so are output and log-normalizer: nothing need be looked at after.
    if not certified and not torch.linalg.vector_norm(query, math.inf).item() < problem.reach:
        return None
    assert _attend._FLASH is not None
    output, log_normalizer = _attend._FLASH(
        query.view(1, 1, *query.shape),
        problem.memory,
        problem.memory,
        0.0,
        False,
        attn_mask=problem.mask,
        scale=problem.beta,
    )
    return _attend.Attended(output.view(query.shape), log_normalizer.view(-1))
