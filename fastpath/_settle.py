"""Iteration to a fixed point (chapters 05 and 06)."""

from __future__ import annotations

import torch
from torch import Tensor

from hopspec.fastpath._arguments import Arguments, check_arguments, check_count, check_eps, check_flag
from hopspec.fastpath._attend import prepare
from hopspec.fastpath._carry import carried_energy, settled_energy
from hopspec.fastpath._energy import energy, energy_served
from hopspec.fastpath._iterate import at_most, iterate, status_of
from hopspec.fastpath._plain import PlainProblem, magnitude, plain_problem
from hopspec.fastpath._route import Route, route
from hopspec.fastpath.memory import Memory
from hopspec.types import Settled

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
    batch_invariant: bool = False,
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
        batch_invariant: whether a query's result must have the same bits whatever other queries it is given
            with (clause MHN-DOM-9), for about twice the time; on CPU only.

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
    >>> from hopspec.types import Status
    >>> settled = settle(torch.tensor([[0.9, 0.2]]), torch.eye(2), beta=10.0)
    >>> settled.state.round(decimals=3)
    tensor([[1., 0.]])
    >>> [Status(code).name for code in settled.status.tolist()]
    ['CONVERGED']
    """
    limit = check_count("max_steps", max_steps, 1)
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(_METHODS)}, got {method!r}")
    check_flag("batch_invariant", batch_invariant)
    with torch.no_grad():
        if plain := plain_problem(query, memory, beta, keep, batch_invariant=batch_invariant):
            settled = _settle_plain(plain, query, memory, check_eps(eps, query.dtype), limit)
            if settled is not None:
                return settled
        arguments = check_arguments(query, memory, beta, keep, positive_beta=True)
        tolerance = check_eps(eps, arguments.query.dtype)
        if served := route(arguments, "settle", batch_invariant=batch_invariant):
            return _settle_served(served, arguments, tolerance, limit)
        problem = prepare(arguments, batch_invariant=batch_invariant)
        start = problem.rows(arguments.query)
        if not problem.shared:
            start = start.expand(*problem.lead, *start.shape[-2:])
        ended = iterate(problem, start, tolerance, limit)
        return Settled(
            state=arguments.shaped(ended.state, (start.shape[-1],)),
            energy=arguments.shaped(settled_energy(problem, ended)),
            residual=arguments.shaped(ended.residual),
            steps=arguments.shaped(ended.steps),
            status=arguments.shaped(ended.status),
        )


def _settle_plain(
    problem: PlainProblem, query: Tensor, memory: Tensor | Memory, eps: float, max_steps: int
) -> Settled[Tensor] | None:
    """Settle the rows of a matrix; None where scores might leave the range of their type."""
    reachable = problem.hull_is_safe and magnitude(query) < problem.reach
    if not (reachable and problem.beta > 0):
        return None
    ended = iterate(problem, query, eps, max_steps)
    energies, precise = carried_energy(problem, ended)
    if not bool(precise.all()):
        rows = precise.logical_not().nonzero().squeeze(-1)
        # A mask that a Memory holds is for all queries, and these are some of them.
        masked = isinstance(memory, Memory) and memory.keep is not None
        energies[rows] = energy(
            ended.state.index_select(0, rows),
            problem.memory[0, 0] if masked else memory,
            beta=problem.beta,
            keep=problem.select(rows).keep,
            batch_invariant=problem.batch_invariant,
        )
    return Settled(ended.state, energies, ended.residual, ended.steps, ended.status)


def _settle_served(served: Route, arguments: Arguments, eps: float, max_steps: int) -> Settled[Tensor]:
    """Settle in one kernel, without a look at any result."""
    eps = at_most(eps, torch.float32)
    walked = served.walk(eps, max_steps)
    there = served.at(walked.state)
    return Settled(
        state=arguments.shaped(walked.state, (walked.state.shape[-1],)),
        energy=arguments.shaped(energy_served(there, arguments, there.attend())),
        residual=arguments.shaped(walked.residual),
        steps=arguments.shaped(walked.steps),
        status=arguments.shaped(status_of(walked.residual, walked.steps, eps, max_steps)),
    )
