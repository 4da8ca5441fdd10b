"""Iteration to a fixed point (chapters 05 and 06)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hopspec.fastpath._arguments import check_arguments, check_count, check_eps
from hopspec.fastpath._attend import Problem, accumulation_dtype, attend, hull_is_safe, prepare
from hopspec.fastpath._energy import energy, energy_of
from hopspec.fastpath._plain import PlainProblem, attend_plain, plain_problem
from hopspec.fastpath.memory import Memory, row_magnitudes
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
        if plain := plain_problem(query, memory, beta, keep):
            settled = _settle_plain(plain, query, memory, check_eps(eps, query.dtype), limit)
            if settled is not None:
                return settled
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


def _settle_plain(
    problem: PlainProblem, query: Tensor, memory: Tensor | Memory, eps: float, max_steps: int
) -> Settled[Tensor] | None:
    """Settle the rows of a matrix; None where scores might leave the range of their type."""
    reachable = problem.hull_is_safe and row_magnitudes(query).amax().item() < problem.reach
    if not (reachable and problem.beta > 0):
        return None
    ended = _iterate(problem, query, eps, max_steps)
    return Settled(
        ended.state,
        energy(ended.state, memory, beta=problem.beta, keep=problem.keep),
        ended.residual,
        ended.steps,
        ended.status,
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


def _iterate(problem: Problem | PlainProblem, start: Tensor, eps: float, max_steps: int) -> _Ended:
    shape, device = start.shape[:-1], start.device
    ended = _Ended(
        state=start.clone(),
        residual=torch.zeros(shape, dtype=accumulation_dtype(start.dtype), device=device),
        steps=torch.zeros(shape, dtype=torch.int64, device=device),
        status=torch.full(shape, int(Status.CONVERGED), dtype=torch.int64, device=device),
    )
    if start.numel() == 0 and ended.steps.numel() == 0:
        return ended
    eps = _at_most(eps, ended.residual.dtype)
    # A look at the results costs nothing on CPU and a synchronisation elsewhere.
    safe = isinstance(problem, PlainProblem) or (device.type != "cpu" and hull_is_safe(problem))
    # Where all queries share one memory, those that ended leave the work; elsewhere they are only masked.
    shared = isinstance(problem, PlainProblem) or problem.shared
    rows = torch.arange(shape[0], device=device) if shared else None
    active = torch.ones(shape, dtype=torch.bool, device=device)
    state = anchor = start
    for step in range(1, max_steps + 1):
        # From the second step on a state lies in the hull of the memory, so one certificate serves all steps.
        new = _update(problem, state, certified=safe and step > 1)
        residual = _residual(problem, new, state)
        # Brent's cycle detection: compare with a state refreshed at every power of two.
        repeated = (new == anchor).all(-1)
        # A state that is not finite makes the residual NaN or infinite.
        running = (residual > eps) & (residual < math.inf) & ~repeated
        unaffected = running if shared else running | ~active
        if step & (step - 1) == 0:
            anchor = new
        if step == max_steps or not bool(unaffected.all()):
            unfinished = int(Status.MAX_STEPS) if step == max_steps else _RUNNING
            status = torch.full(residual.shape, unfinished, dtype=torch.int64, device=device)
            status = status.masked_fill(repeated, int(Status.STALLED))
            status = status.masked_fill(residual <= eps, int(Status.CONVERGED))
            status = status.masked_fill(~new.isfinite().all(-1), int(Status.NONFINITE))
            ended.record(rows=rows, active=active, state=new, residual=residual, step=step, status=status)
            running = status == _RUNNING
            if rows is None:
                active = active & running
                if not bool(active.any()):
                    break
            else:
                alive = running.nonzero().squeeze(-1)
                if alive.numel() == 0:
                    break
                rows, new, anchor = rows[alive], new[alive], anchor[alive]
                problem = problem.select(alive)
        state = new
    return ended


def _update(problem: Problem | PlainProblem, state: Tensor, *, certified: bool) -> Tensor:
    if not isinstance(problem, PlainProblem):
        return attend(problem, state, certified=certified).output
    attended = attend_plain(problem, state, certified=True)
    assert attended is not None
    return attended.output


def _residual(problem: Problem | PlainProblem, new: Tensor, old: Tensor) -> Tensor:
    residual = _distance(new, old)
    if isinstance(problem, PlainProblem):
        return residual
    if problem.memory.rows.shape[-2] == 0:
        return torch.zeros_like(residual)
    return residual if problem.any_kept is None else residual.masked_fill(~problem.any_kept, 0.0)


def _at_most(number: float, dtype: torch.dtype) -> float:
    """The largest number of ``dtype`` that is at most ``number``: comparisons with a tensor round it."""
    rounded = torch.tensor(number, dtype=dtype)
    if rounded.item() > number:
        rounded = torch.nextafter(rounded, torch.zeros((), dtype=dtype))
    return rounded.item()


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
