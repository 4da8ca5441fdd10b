"""The plain case, in as few operations as it can be done: two matrices on the CPU, numbers of ordinary size.

For small inputs nearly all the time of a call goes into starting operations, microseconds each, so
what :mod:`hopspec.fastpath._arguments` and :mod:`hopspec.fastpath._attend` establish with tensors of any
shape is established here with a few Python floats. Whatever does not certainly belong here is left to them:
:func:`plain_problem` or :func:`attend_plain` returns None, having done nothing else.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from hopspec.fastpath import _attend, _flash
from hopspec.fastpath._flash import available, faster_twice, flash, in_one, layout
from hopspec.fastpath._plain_memory import LIMIT, entries, plain_mask
from hopspec.fastpath._route import is_forced
from hopspec.fastpath._stored import Stored, half_squares
from hopspec.fastpath._unseen import ask_unseen
from hopspec.fastpath._visible import Prepared
from hopspec.fastpath.memory import Memory

# Below this the kernel's float32 copy of beta loses precision or vanishes.
LEAST_BETA = torch.finfo(torch.float32).tiny
_UNKNOWN = (math.nan, math.nan)
# Up to this width Python is done with one row before an operation has started.
SHORT = 256


class PlainProblem(NamedTuple):
    """A memory of which every finite query below ``reach`` can be asked.

    Args:
        memory: ``[1, 1, N, d]``.
        mask: 0 where a memory takes part and -inf elsewhere, ``[1, 1, L or 1, N]``, or None.
        keep: the same as booleans, ``[L or 1, N]``.
        beta: the inverse temperature.
        largest: largest absolute entry of the memory; NaN as long as nobody has looked.
        reach: queries whose entries stay below this are safe; NaN likewise.
        stored: what is known of the rows, where they were prepared.
        prepared: what is known of them under this mask, where both were prepared.
        batch_invariant: whether the bits of a row must not depend on the others.
        in_one: whether the kernel is called once, as it is, for all queries and memories.
    """

    memory: Tensor
    mask: Tensor | None
    keep: Tensor | None
    beta: float
    largest: float
    reach: float
    stored: Stored | None = None
    prepared: Prepared | None = None
    batch_invariant: bool = False
    in_one: bool = False

    def log_count(self) -> float | Tensor:
        """Logarithm of the number of memories each query keeps; a tensor is float64 ``[L or 1]``."""
        if self.keep is None:
            return math.log(self.memory.shape[2])
        if self.prepared is not None:
            return self.prepared.visible.kept.count.log()
        return self.keep.sum(-1, dtype=torch.float64).log()

    def half_farthest(self) -> Tensor:
        """Half the squared length of the longest memory each query keeps, float64 ``[L or 1]``."""
        if self.prepared is not None:
            return self.prepared.visible.kept.half_farthest
        halves = half_squares(self.memory[0, 0]) if self.stored is None else self.stored.half_squares
        return halves.amax(-1, keepdim=True) if self.keep is None else halves.where(self.keep, 0.0).amax(-1)

    @property
    def unseen(self) -> bool:
        """Whether nobody has looked at the memory, which may then hold anything."""
        return math.isnan(self.reach)

    def looked_at(self) -> PlainProblem | None:
        """The same with what a look at the memory tells, or None if its numbers are too large."""
        extent = _extent(self.memory[0, 0], self.stored, abs(self.beta))
        return None if extent is None else self._replace(largest=extent[0], reach=extent[1])

    @property
    def hull_is_safe(self) -> bool:
        """Whether every query in the convex hull of the memory, or just outside by rounding, is safe."""
        return 2 * self.largest < self.reach

    def select(self, chosen: Tensor) -> PlainProblem:
        """The same problem for the given rows only."""
        if self.keep is None or self.mask is None or self.keep.shape[0] == 1:
            return self
        return self._replace(keep=self.keep[chosen], mask=self.mask[:, :, chosen], prepared=None)


def plain_problem(
    query: object,
    memory: object,
    beta: object,
    keep: object = None,
    batch_invariant: bool = False,
    *,
    unseen: bool = False,
) -> PlainProblem | None:
    """The memory as the kernel takes it, or None if anything about the arguments is out of the ordinary.

    Args:
        query: ``[L, d]``.
        memory: ``[N, d]``, or a :class:`Memory` of such patterns, whose values play no part here.
        beta: a finite number.
        keep: boolean, ``[N]`` or ``[L or 1, N]``, at least one True in every row; or None.
        batch_invariant: whether the bits of a row must not depend on the others.
        unseen: whether a long memory need not be looked at yet, see :attr:`PlainProblem.unseen`.
    """
    if type(query) is not Tensor or is_forced():
        return None
    if not query.is_cpu or not available() or type(batch_invariant) is not bool:
        return None
    stored, masked, prepared, rows, whole = None, None, None, memory, None
    if type(rows) is not Tensor:
        plain = memory.plain if type(memory) is Memory else None
        if plain is None:
            return None
        stored, masked, prepared = plain.stored, plain.mask, plain.prepared
        rows, whole = stored.rows, plain.rows
    if not (rows.is_cpu and rows.is_contiguous() and query.is_contiguous()):
        return None
    dtype, shape, size = query.dtype, query.shape, rows.shape
    if dtype is not rows.dtype or dtype not in LIMIT or len(shape) != 2 or len(size) != 2:
        return None
    (queries, width), (count, wide) = shape, size
    if width != wide or not (width and count and queries):
        return None
    if (query.requires_grad or rows.requires_grad) and torch.is_grad_enabled():
        return None
    limit = LIMIT[dtype]
    if type(beta) is not float and (type(beta) is not int or not -limit < beta < limit):
        return None
    scale = abs(float(beta))
    # NaN fails every comparison.
    if not scale < limit or torch.is_autocast_enabled("cpu"):
        return None
    if keep is not None:
        given = plain_mask(keep, count, dtype)
        if given is not None and masked is not None:
            fitting = {given.keep.shape[0], masked.keep.shape[0]} <= {1, queries}
            given = plain_mask(given.keep & masked.keep, count, dtype) if fitting else None
        if given is None:
            return None
        masked, prepared = given, None
    seen = mask = None
    if masked is not None:
        seen = masked.keep
        if seen.shape[0] not in (1, queries) or seen.numel() * query.element_size() > _attend.CHUNK_BYTES:
            return None
        mask = masked.logits
    extent: tuple[float, float] | None = _UNKNOWN
    if not unseen or seen is not None or batch_invariant or count * width < layout().unseen_from:
        extent = _extent(rows, stored, scale)
    if extent is None:
        return None
    # By position: names take twice as long.
    return PlainProblem(
        rows.view(1, 1, count, width) if whole is None else whole,
        mask,
        seen,
        float(beta),
        extent[0],
        extent[1],
        stored,
        prepared,
        batch_invariant,
        not batch_invariant and in_one(queries, count, width) and not faster_twice(count, width, dtype),
    )


def _extent(rows: Tensor, stored: Stored | None, scale: float) -> tuple[float, float] | None:
    """``largest`` and ``reach`` of a :class:`PlainProblem`, or None if a number is too large.

    Args:
        rows: the memory, ``[N, d]``.
        stored: what is known of it.
        scale: the size of beta.
    """
    count, width = rows.shape
    return _within(magnitude(rows) if stored is None else stored.peak, count, width, rows.dtype, scale)


def _within(
    largest: float, count: int, width: int, dtype: torch.dtype, scale: float
) -> tuple[float, float] | None:
    """What :func:`_extent` gives, for a number that no entry of ``[N, d]`` passes."""
    known, limit = entries(largest, count, dtype), LIMIT[dtype]
    if known is None or not known.finite:
        return None
    factor = largest * width
    steepest = max(factor, factor * scale)
    reach = limit / steepest if steepest else math.inf
    if scale < LEAST_BETA and dtype is not torch.float64:
        reach = min(reach, 2.0**-40 / (factor * scale)) if factor * scale else reach
    return largest, reach


def magnitude(rows: Tensor) -> float:
    """Largest absolute entry, or for one short row its length, which is no less; NaN where there is one."""
    if rows.shape[0] == 1 and rows.shape[1] <= SHORT:
        return math.hypot(*rows.tolist()[0])
    least, most = rows.aminmax()
    return max(-least.item(), most.item())


def attend_plain(problem: PlainProblem, query: Tensor, *, certified: bool = False) -> _attend.Attended | None:
    """One association with the whole memory (clause MHN-UPD-3), or None if the query may be out of reach.

    Args:
        problem: from :func:`plain_problem`.
        query: ``[L, d]``, contiguous.
        certified: whether the query is known to be within reach.
    """
    found = _ask(problem, query, certified=certified)
    return None if found is None else _attend.Attended(found[0].view_as(query), found[1].view(-1))


def update_plain(problem: PlainProblem, query: Tensor, *, certified: bool = False) -> Tensor | None:
    """The output of :func:`attend_plain` alone."""
    found = _ask(problem, query, certified=certified)
    return None if found is None else found[0].view_as(query)


def _ask(problem: PlainProblem, query: Tensor, *, certified: bool) -> tuple[Tensor, Tensor] | None:
    memory = problem.memory
    rows = query.view(1, 1, -1, memory.shape[3])
    if not certified and not (size := magnitude(query)) < problem.reach:
        if not problem.unseen:
            return None
        found, looked = _ask_long(problem, rows, size)
        if found is not None or looked is None or not size < looked.reach:
            return found
        problem = looked
    # Scores within reach are finite, hence so are output and log-normalizer: nothing need be looked at after.
    if problem.in_one and _flash.FLASH is not None:
        return _flash.FLASH(rows, memory, memory, attn_mask=problem.mask, scale=problem.beta)
    return flash(rows, memory, memory, problem.mask, problem.beta, problem.batch_invariant)


def _ask_long(
    problem: PlainProblem, rows: Tensor, size: float
) -> tuple[tuple[Tensor, Tensor] | None, PlainProblem | None]:
    """What :func:`ask_unseen` finds, and otherwise the problem after a look at the memory."""
    memory, beta = problem.memory, problem.beta
    looked = None if problem.stored is None else problem.looked_at()
    within_reach = looked is not None and size < looked.reach
    found = ask_unseen(rows, memory, beta, size, within_reach=within_reach)
    if found is None and problem.stored is None:
        looked = problem.looked_at()
        if looked is not None and size < looked.reach:
            # A right result may have been given up for its looks; a prepared memory gives its bits.
            found = ask_unseen(rows, memory, beta, size, within_reach=True)
    return found, looked
