"""Updates of many queries, each until it has ended by itself (clauses MHN-SET-1 to MHN-SET-5).

A step looks at its results once, to learn how many queries go on; everything else stays on the device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from hopspec.fastpath._attend import Attended, Problem, accumulation_dtype, attend, hull_is_safe
from hopspec.fastpath._plain import PlainProblem, attend_plain
from hopspec.types import Status


@dataclass(frozen=True, slots=True)
class Ended:
    """What the queries have come to.

    Args:
        state: ``[..., L, d]``, in the dtype of the query.
        residual: length of the last step, ``[..., L]``, at least float32.
        length: that of the state before the last step, float64 ``[..., L]``.
        log_normalizer: that of the state before the last step, ``[..., L]``, at least float32.
        steps: number of updates, int64 ``[..., L]``.
        status: codes of :class:`Status`, int64 ``[..., L]``.
    """

    state: Tensor
    residual: Tensor
    length: Tensor
    log_normalizer: Tensor
    steps: Tensor
    status: Tensor


@dataclass(frozen=True, slots=True)
class _Step:
    """One step of the queries still in the work.

    Args:
        number: how many updates that makes.
        old: the states before.
        new: the states after.
        log_normalizer: that of the states before.
        residual: length of the step.
        gap: 0 exactly where the state has come back to an earlier one, or None where that would be the one
            before.
    """

    number: int
    old: Tensor
    new: Tensor
    log_normalizer: Tensor
    residual: Tensor
    gap: Tensor | None

    def goes_on(self, eps: float) -> Tensor:
        """Which queries need another step; a state that is not finite has made its residual NaN."""
        goes_on = self.residual > eps
        return goes_on if self.gap is None else goes_on & (self.gap != 0)


def iterate(problem: Problem | PlainProblem, start: Tensor, eps: float, max_steps: int) -> Ended:
    """Update every query until it has converged, come back to an earlier state, or used up its steps.

    Args:
        problem: the memory; of a plain one every state must be known to be within reach.
        start: the queries, as :meth:`Problem.rows` gives them, ``[..., L, d]``.
        eps: length of a step that ends the iteration.
        max_steps: the most updates, at least 1.
    """
    accumulation = accumulation_dtype(start.dtype)
    if not start.shape[:-1].numel():
        numbers = start.new_zeros(start.shape[:-1], dtype=accumulation)
        codes = numbers.to(torch.int64)
        return Ended(start.clone(), numbers, numbers.double(), numbers, codes, codes)
    eps = at_most(eps, accumulation)
    # Where all queries share one memory, those that ended leave the work; elsewhere they are only masked.
    shared = isinstance(problem, PlainProblem) or problem.shared
    last = (_leaving if shared else _masked)(_Walk(problem, start), eps, max_steps)
    status = status_of(last.residual, last.steps, eps, max_steps)
    return Ended(last.state, last.residual, last.length, last.log_normalizer, last.steps, status)


def status_of(residual: Tensor, steps: Tensor, eps: float, max_steps: int) -> Tensor:
    """How each query has ended: codes of :class:`Status`, int64.

    Args:
        residual: length of its last step.
        steps: how many it took.
        eps: as :func:`at_most` gives it for the type of ``residual``.
        max_steps: the most steps.
    """
    # A query that ended before its time, and neither way below, has come back to an earlier state.
    status = torch.full_like(steps, int(Status.STALLED))
    status.masked_fill_(steps == max_steps, int(Status.MAX_STEPS))
    status.masked_fill_(~(residual < math.inf), int(Status.NONFINITE))
    status.masked_fill_(residual <= eps, int(Status.CONVERGED))
    return status


class _Last(NamedTuple):
    """The last steps of queries; fields as in :class:`Ended`."""

    state: Tensor
    residual: Tensor
    length: Tensor
    log_normalizer: Tensor
    steps: Tensor


def _leaving(walk: _Walk, eps: float, max_steps: int) -> _Last:
    rows = walk.rows()
    left: list[Tensor] = []
    parts: list[_Last] = []
    remaining = rows.shape[0]
    while remaining:
        step = walk.step()
        goes_on = step.goes_on(eps)
        count, remaining = remaining, int(goes_on.sum()) if step.number < max_steps else 0
        if remaining == count:
            continue
        # Those that end come first.
        order = goes_on.to(torch.uint8).argsort(stable=True)
        gone, stay = order[: count - remaining], order[count - remaining :]
        left.append(rows.index_select(0, gone))
        parts.append(
            _Last(
                step.new.index_select(0, gone),
                step.residual.index_select(0, gone),
                walk.length(step.old.index_select(0, gone)),
                step.log_normalizer.index_select(0, gone),
                torch.full_like(gone, step.number),
            )
        )
        rows = rows.index_select(0, stay)
        walk.keep(stay)
    ended = torch.cat(left)
    place = torch.empty_like(ended).index_copy_(0, ended, torch.arange(len(ended), device=ended.device))
    return _Last(*(torch.cat(fields).index_select(0, place) for fields in zip(*parts, strict=True)))


def _masked(walk: _Walk, eps: float, max_steps: int) -> _Last:
    def made(step: _Step) -> _Last:
        steps = torch.full_like(step.residual, step.number, dtype=torch.int64)
        return _Last(step.new, step.residual, walk.length(step.old), step.log_normalizer, steps)

    step = walk.step()
    last = made(step)
    active = step.goes_on(eps)
    while step.number < max_steps and bool(active.any()):
        step = walk.step()
        chosen = (active.unsqueeze(-1), *(active,) * (len(last) - 1))
        last = _Last(*map(torch.where, chosen, made(step), last))
        active &= step.goes_on(eps)
    return last


class _Walk:
    """The states of the queries still in the work, and Brent's watch for states that come back.

    The state of each is compared with an anchor, which is moved to where the query is at every power of two.
    A trajectory that enters a cycle of P states with step m is caught by the anchor of step a, the first
    power of two that is at least max(m, P, 1): it lies on the cycle and stays for a round. That is at step
    a + P, before step 3 max(m, P, 1). Where the last bits of an update depend on how many rows there are, m
    counts from the last time that this number changed.
    """

    def __init__(self, problem: Problem | PlainProblem, start: Tensor) -> None:
        self._problem = problem
        self._state = self._anchor = start
        self._number = 0
        # Large tensors made and freed in every step cost as much again as what is done with them.
        self._scratch = torch.empty_like(start, memory_format=torch.contiguous_format)
        self._wide = torch.empty_like(self._scratch, dtype=torch.float64)
        # From the second step on a state lies in the hull of the memory, so one look serves all steps.
        self._safe = isinstance(problem, PlainProblem) or hull_is_safe(problem)

    def rows(self) -> Tensor:
        """The numbers of all rows."""
        return torch.arange(self._state.shape[0], device=self._state.device)

    def step(self) -> _Step:
        """Update all states."""
        self._number += 1
        old = self._state
        new, log_normalizer = self._update(old)
        residual = self._residual(new, old)
        # Differences of equal states only are 0, and unlike their squares none vanishes in a sum of sizes.
        gap = None
        if self._anchor is not old:
            # Their norm takes ten times as long.
            gap = torch.sub(new, self._anchor, out=self._scratch).abs_().sum(-1)
        self._state = new
        if self._number & (self._number - 1) == 0:
            self._anchor = new
        return _Step(self._number, old, new, log_normalizer, residual, gap)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only."""
        anchored = self._anchor is self._state
        self._state = self._state.index_select(0, rows)
        self._anchor = self._state if anchored else self._anchor.index_select(0, rows)
        self._scratch, self._wide = self._scratch[: rows.shape[0]], self._wide[: rows.shape[0]]
        self._problem = self._problem.select(rows)

    def length(self, states: Tensor) -> Tensor:
        """Euclidean length of some of the states, float64 ``[..., L]``; inf where squares are too large."""
        wide = self._wide if self._wide.dim() > 2 else self._wide[: states.shape[0]]
        length: Tensor = torch.linalg.vector_norm(wide.copy_(states), dim=-1)
        return length

    def _update(self, state: Tensor) -> Attended:
        if not isinstance(self._problem, PlainProblem):
            return attend(self._problem, state, certified=self._safe and self._number > 1)
        attended = attend_plain(self._problem, state, certified=True)
        assert attended is not None
        return attended

    def _residual(self, new: Tensor, old: Tensor) -> Tensor:
        residual = _distance(new, old, self._scratch, self._wide)
        if isinstance(self._problem, PlainProblem):
            return residual
        if self._problem.memory.rows.shape[-2] == 0:
            return torch.zeros_like(residual)
        kept = self._problem.any_kept
        return residual if kept is None else residual.masked_fill(~kept, 0.0)


# Kept, since the same number is asked for again and again and a tensor is made for it.
@lru_cache(maxsize=16)
def at_most(number: float, dtype: torch.dtype) -> float:
    """The largest number of ``dtype`` that is at most ``number``: comparisons with a tensor round it."""
    rounded = torch.tensor(number, dtype=dtype)
    if rounded.item() > number:
        rounded = torch.nextafter(rounded, torch.zeros((), dtype=dtype))
    return rounded.item()


def _distance(new: Tensor, old: Tensor, scratch: Tensor, wide: Tensor) -> Tensor:
    """Euclidean distance of each pair of rows, ``[..., L]``, without overflow on the way."""
    accumulation = accumulation_dtype(new.dtype)
    if accumulation == new.dtype:
        difference = torch.sub(new, old, out=scratch)
    else:
        difference = new.to(accumulation) - old.to(accumulation)
    if accumulation != torch.float64:
        length: Tensor = torch.linalg.vector_norm(wide.copy_(difference), dim=-1)
        return length.to(accumulation)
    if difference.shape[-1] == 0:
        return difference.sum(-1)
    largest = difference.abs().amax(-1, keepdim=True)
    unit = torch.where((largest > 0) & largest.isfinite(), largest, 1.0)
    relative: Tensor = torch.linalg.vector_norm(difference / unit, dim=-1)
    return relative * unit.squeeze(-1)
