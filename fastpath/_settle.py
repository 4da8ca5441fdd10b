"""Iteration to a fixed point (chapters 05 and 06)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hopspec.fastpath._arguments import check_arguments, check_count, check_eps
from hopspec.fastpath._attend import Problem, accumulation_dtype, attend, hull_is_safe, prepare
from hopspec.fastpath._energy import energy_of
from hopspec.fastpath.memory import Memory
from hopspec.types import Settled, Status

_RUNNING = -1
_METHODS = ("picard",)


def settle(
    query: Tensor,
    memory: Tensor | Memory,
    *,
    beta: float | Tensor,
    keep: Tensor | None = None,
    eps: float | None = None,
    max_steps: int = 1000,
    method: str = "picard",
) -> Settled[Tensor]:
    """Apply the update to each query until its own step is at most ``eps`` long (clause MHN-SET-1).

    Each query stops after its first update with ``|T(xi) - xi|_2 <= eps``, whatever the others do (clause
    MHN-SET-4); its state is then no longer touched. A query whose state returns exactly to an earlier one,
    with steps longer than ``eps``, can never stop and is reported stalled (clause MHN-SET-5). A query that
    keeps no memory converges after one step at state 0; its residual is 0 by convention, since no further
    step would move it. Results carry no gradient.

    Args:
        query: state patterns, ``[..., L, d]``.
        memory: stored patterns, ``[..., N, d]``, or a :class:`Memory`, whose values play no part here.
        beta: inverse temperature, positive, in units of one over a squared length; see
            :func:`hopspec.retrieve`.
        keep: boolean, broadcasts to ``[..., L, N]``; False removes a memory.
        eps: a length; 0 stops on equality only. None stands for 2**-26 (float64), 1e-4 (float32), 2**-8
            (float16) or 2**-6 (bfloat16).
        max_steps: updates after which to give up, at least 1.
        method: ``"picard"``, plain iteration: the state is ``T^steps`` of the query (clause MHN-SET-3).

    Returns:
        State ``[..., L, d]`` in the dtype of the query; energy and residual ``[..., L]``, float64 for float64
        inputs and else float32; steps and status ``[..., L]``, int64, the latter codes of
        :class:`hopspec.types.Status`. A query is converged exactly if its residual is at most ``eps``
        (clause MHN-SET-2). Rows spoiled by a NaN or infinity end after one step as nonfinite (clause
        MHN-SET-6).

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: shapes, dtypes or devices do not fit, beta is not finite and positive, eps is negative or
            NaN, max_steps is below 1, or the method is unknown.

    >>> import torch
    >>> settled = settle(torch.tensor([[0.9, 0.2]]), torch.eye(2), beta=10.0)
    >>> settled.state.round(decimals=3)
    tensor([[1., 0.]])
    >>> [Status(code).name for code in settled.status.tolist()]
    ['CONVERGED']
    """
    limit = check_count("max_steps", max_steps, 1)
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(_METHODS)}, got {method!r}")
    with torch.no_grad():
        arguments = check_arguments(query, memory, beta, keep, positive_beta=True)
        tolerance = check_eps(eps, arguments.query.dtype)
        problem = prepare(arguments)
        start = problem.rows(arguments.query)
        if not problem.shared:
            start = start.expand(*problem.lead, *start.shape[-2:])
        ended = _iterate(problem, start, tolerance, limit)
        return Settled(
            state=arguments.shaped(ended.state, (start.shape[-1],)),
            energy=arguments.shaped(energy_of(problem, ended.state)),
            residual=arguments.shaped(ended.residual),
            steps=arguments.shaped(ended.steps),
            status=arguments.shaped(ended.status),
        )


@dataclass(slots=True)
class _Ended:
    state: Tensor
    residual: Tensor
    steps: Tensor
    status: Tensor

    def record(
        self,
        *,
        rows: Tensor | None,
        active: Tensor,
        state: Tensor,
        residual: Tensor,
        step: int,
        status: Tensor,
    ) -> None:
        """Enter what the rows still in the work have come to."""
        if rows is None:
            self.state = torch.where(active.unsqueeze(-1), state, self.state)
            self.residual = torch.where(active, residual, self.residual)
            self.steps = self.steps.masked_fill(active, step)
            self.status = torch.where(active, status, self.status)
        else:
            self.state[rows] = state
            self.residual[rows] = residual
            self.steps[rows] = step
            self.status[rows] = status


def _iterate(problem: Problem, start: Tensor, eps: float, max_steps: int) -> _Ended:
    shape, device = start.shape[:-1], start.device
    ended = _Ended(
        state=start.clone(),
        residual=torch.zeros(shape, dtype=accumulation_dtype(start.dtype), device=device),
        steps=torch.zeros(shape, dtype=torch.int64, device=device),
        status=torch.full(shape, int(Status.CONVERGED), dtype=torch.int64, device=device),
    )
    if start.numel() == 0 and ended.steps.numel() == 0:
        return ended
    nothing_stored = problem.memory.rows.shape[-2] == 0
    # A look at the results costs nothing on CPU and a synchronisation elsewhere.
    safe = device.type != "cpu" and hull_is_safe(problem)
    # Where all queries share one memory, those that ended leave the work; elsewhere they are only masked.
    rows = torch.arange(shape[0], device=device) if problem.shared else None
    active = torch.ones(shape, dtype=torch.bool, device=device)
    state = anchor = start
    for step in range(1, max_steps + 1):
        # From the second step on a state lies in the hull of the memory, so one certificate serves all steps.
        new = attend(problem, state, certified=safe and step > 1).output
        residual = _distance(new, state)
        if nothing_stored:
            residual = torch.zeros_like(residual)
        elif problem.any_kept is not None:
            residual = residual.masked_fill(~problem.any_kept, 0.0)
        unfinished = int(Status.MAX_STEPS) if step == max_steps else _RUNNING
        status = torch.full(residual.shape, unfinished, dtype=torch.int64, device=device)
        # Brent's cycle detection: compare with a state refreshed at every power of two.
        status = status.masked_fill((new == anchor).all(-1), int(Status.STALLED))
        status = status.masked_fill(residual.double() <= eps, int(Status.CONVERGED))
        status = status.masked_fill(~new.isfinite().all(-1), int(Status.NONFINITE))
        if step & (step - 1) == 0:
            anchor = new
        running = status == _RUNNING
        if rows is None:
            ended.record(rows=None, active=active, state=new, residual=residual, step=step, status=status)
            active = active & running
            if not bool(active.any()):
                break
        else:
            alive = running.nonzero().squeeze(-1)
            if alive.numel() < running.numel():
                ended.record(rows=rows, active=active, state=new, residual=residual, step=step, status=status)
                if alive.numel() == 0:
                    break
                rows, new, anchor, problem = rows[alive], new[alive], anchor[alive], problem.select(alive)
        state = new
    return ended


def _distance(new: Tensor, old: Tensor) -> Tensor:
    """Euclidean distance of each pair of rows, ``[..., L]``, without overflow on the way."""
    accumulation = accumulation_dtype(new.dtype)
    difference = new.to(accumulation) - old.to(accumulation)
    if accumulation != torch.float64:
        length: Tensor = torch.linalg.vector_norm(difference, dim=-1, dtype=torch.float64)
        return length.to(accumulation)
    if difference.shape[-1] == 0:
        return difference.sum(-1)
    largest = difference.abs().amax(-1, keepdim=True)
    unit = torch.where((largest > 0) & largest.isfinite(), largest, 1.0)
    relative: Tensor = torch.linalg.vector_norm(difference / unit, dim=-1)
    return relative * unit.squeeze(-1)
