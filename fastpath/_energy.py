"""Log-normalizer and energy (chapters 03 and 04)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hopspec.fastpath._arguments import Arguments, check_arguments, check_flag
from hopspec.fastpath._attend import (
    Problem,
    accumulation_dtype,
    attend,
    largest_logits,
    prepare,
    rescue_rows,
)
from hopspec.fastpath._plain import PlainProblem, attend_plain, plain_problem
from hopspec.fastpath._route import Route, route
from hopspec.fastpath._stored import half_squares, row_magnitudes
from hopspec.fastpath.memory import Memory
from hopspec.types import Evaluated

if TYPE_CHECKING:
    from hopspec.fastpath.triton.launch import Attended

# Below this bound on the logits, (log N - log-normalizer) / beta is mostly rounding error.
SMALL_LOGITS = 2.0**-10
# Squares of numbers below this, and sums of many of them, stay far inside float64.
LARGE_ENTRY = 2.0**480


def log_normalizer(
    query: Tensor,
    memory: Tensor | Memory,
    *,
    beta: float | Tensor,
    keep: Tensor | None = None,
    batch_invariant: bool = False,
) -> Tensor:
    """``log sum_i exp(beta <x_i, xi>)``, the natural logarithm, not divided by beta (clause MHN-LSE-1).

    Args:
        query: state patterns, ``[..., L, d]``.
        memory: stored patterns, ``[..., N, d]``, or a :class:`Memory`, whose values play no part here.
        beta: inverse temperature, in units of one over a squared length; see :func:`retrieve`.
        keep: boolean, broadcasts to ``[..., L, N]``; False removes a memory.
        batch_invariant: whether a query's result must have the same bits whatever other queries it is given
            with (clause MHN-DOM-9), for about twice the time; on CPU only.

    Returns:
        ``[..., L]``; float64 for float64 inputs, else float32. -inf where nothing is kept (clause MHN-MSK-4),
        NaN where the query or a memory it sees is not finite.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: shapes, dtypes or devices do not fit, or beta is not finite.
        NotImplementedError: a gradient is wanted where scores leave the range of their type, or with
            ``batch_invariant``; or that elsewhere than on CPU.

    >>> import torch
    >>> log_normalizer(torch.zeros(1, 2), torch.eye(2), beta=1.0)
    tensor([0.6931])
    """
    if plain := plain_problem(query, memory, beta, keep, batch_invariant, unseen=True):
        attended = attend_plain(plain, query)
        if attended is not None:
            return attended.log_normalizer
    check_flag("batch_invariant", batch_invariant)
    arguments = check_arguments(query, memory, beta, keep)
    if served := route(arguments, "attend", batch_invariant=batch_invariant):
        return arguments.shaped(served.attend().log_normalizer)
    problem = prepare(arguments, batch_invariant=batch_invariant)
    rows = problem.rows(arguments.query)
    result = attend(problem, rows, differentiable_log_normalizer=True).log_normalizer
    return arguments.shaped(result)


def energy(
    query: Tensor,
    memory: Tensor | Memory,
    *,
    beta: float | Tensor,
    keep: Tensor | None = None,
    batch_invariant: bool = False,
) -> Tensor:
    """Energy ``-lse(beta, xi) + |xi|^2/2 + (log N)/beta + M^2/2`` of every query (clause MHN-ENE-1).

    N counts and M bounds the lengths of the memories the query keeps (clause MHN-MSK-2).

    Args:
        query: state patterns, ``[..., L, d]``.
        memory: stored patterns, ``[..., N, d]``, or a :class:`Memory`, whose values play no part here.
        beta: inverse temperature, positive, in units of one over a squared length; see :func:`retrieve`.
        keep: boolean, broadcasts to ``[..., L, N]``; False removes a memory.
        batch_invariant: whether a query's result must have the same bits whatever other queries it is given
            with (clause MHN-DOM-9), for about twice the time; on CPU only.

    Returns:
        ``[..., L]``, a squared length; summed in float64, rounded to float64 for float64 inputs, else to
        float32. +inf where nothing is kept (clause MHN-MSK-4) and where it is too large for its type (clause
        MHN-ENE-6), NaN where the query or a memory it sees is not finite.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: shapes, dtypes or devices do not fit, or beta is not finite and positive.
        NotImplementedError: a gradient is wanted where scores leave the range of their type, or with
            ``batch_invariant``; or that elsewhere than on CPU.

    >>> import torch
    >>> energy(torch.zeros(1, 2), torch.eye(2), beta=1.0)
    tensor([0.5000])
    """
    if plain := plain_problem(query, memory, beta, keep, batch_invariant):
        result = energy_of_plain(plain, query)
        if result is not None:
            return result
    check_flag("batch_invariant", batch_invariant)
    arguments = check_arguments(query, memory, beta, keep, positive_beta=True)
    if served := route(arguments, "attend", batch_invariant=batch_invariant):
        return arguments.shaped(energy_served(served, arguments, served.attend()))
    problem = prepare(arguments, batch_invariant=batch_invariant)
    return arguments.shaped(energy_of(problem, problem.rows(arguments.query)))


def energy_of_plain(problem: PlainProblem, query: Tensor) -> Tensor | None:
    """Energy of the rows of a matrix, ``[L]``, or None where :func:`energy_of` has to take a closer look."""
    evaluated = evaluate_plain(problem, query)
    return None if evaluated is None else evaluated.energy


def evaluate_plain(problem: PlainProblem, query: Tensor) -> Evaluated[Tensor] | None:
    """Update, log-normalizer and energy of the rows of a matrix, or None as :func:`energy_of_plain`."""
    if not problem.beta > 0:
        return None
    smallest, largest = (bound.item() for bound in row_magnitudes(query).aminmax())
    if not (
        largest < problem.reach
        and smallest * problem.largest * query.shape[1] * problem.beta >= SMALL_LOGITS
        and max(largest, problem.largest) < LARGE_ENTRY
    ):
        return None
    attended = attend_plain(problem, query, certified=True)
    if attended is None:
        return None
    excess = attended.log_normalizer.double() - problem.log_count()
    result = half_squares(query) + problem.half_farthest() - excess / problem.beta
    return Evaluated(*attended, result.to(attended.log_normalizer.dtype))


def energy_served(served: Route, arguments: Arguments, attended: Attended) -> Tensor:
    """Energy of the queries of a route, float32 ``[..., L]``, without a look at any result.

    Rows that were flagged are computed anew, and so are those where the log-normalizer is so near to
    ``log N`` that little is left of it, among them all whose logits are below :data:`SMALL_LOGITS`. For the
    types that the kernels take, nothing else leaves the range of float64.

    Args:
        served: the route, with the queries whose energy it is.
        arguments: of the call.
        attended: what the route gave for these queries, without values or with them.
    """
    kept = arguments.memory.kept_under(arguments.keep)
    beta = served.operands.beta.unsqueeze(-1)
    excess = attended.log_normalizer.double() - kept.count.log()
    # Weights rounded to half precision move the log-normalizer by half of this at most.
    rounding = torch.finfo(served.operands.query.dtype).eps
    wanted = (attended.flagged != 0) | (excess.abs() < SMALL_LOGITS + rounding)
    excess = torch.where(wanted, served.excess(wanted.int()), excess / beta)
    result = half_squares(served.operands.query) + kept.half_farthest - excess
    # The energy is never negative; rounding of terms far larger than it must not make it -inf.
    result = result.clamp(min=0.0).masked_fill(kept.count == 0, math.inf)
    return result.float()


def energy_of(problem: Problem, query: Tensor) -> Tensor:
    """Energy of rows as :meth:`Problem.rows` gives them, ``[..., L]``."""
    attended = attend(problem, query, differentiable_log_normalizer=True)
    return energy_from(problem, query, attended.log_normalizer)


def energy_from(problem: Problem, query: Tensor, normalizer: Tensor) -> Tensor:
    """The same from log-normalizers already computed, ``[..., L]``."""
    if normalizer.numel() == 0 or problem.memory.rows.shape[-2] == 0:
        return torch.full_like(normalizer, math.inf)
    # A sum over columns that lie apart has other bits than one over a row.
    query = query.contiguous()
    beta = problem.beta.unsqueeze(-1) if isinstance(problem.beta, Tensor) else problem.beta
    wide = normalizer.double()
    memory = problem.memory
    result = (memory.kept.count.log() - wide) / beta + (half_squares(query) + memory.kept.half_farthest)
    magnitude = row_magnitudes(query).double()
    safe = magnitude < problem.reach.unsqueeze(-1)
    ordinary = safe & (largest_logits(problem, query) >= SMALL_LOGITS)
    if query.dtype == torch.float64:
        largest = torch.maximum(magnitude, problem.memory.largest.unsqueeze(-1))
        ordinary = ordinary & (largest < LARGE_ENTRY)
    wanting = ~ordinary & magnitude.isfinite()
    if problem.memory.spoiled is not None:
        wanting = wanting & ~problem.memory.spoiled
    if problem.any_kept is not None:
        wanting = wanting & problem.any_kept
    differentiated = result.requires_grad
    if differentiated:
        # The rescue has no gradient; rows with small logits are only less precise without it.
        wanting = wanting & ~safe
    for index, rows, rescued in rescue_rows(problem, query, wanting.expand(result.shape), energy=True):
        if differentiated or rescued.energy is None:
            raise NotImplementedError(
                "query or memory is so large that the energy leaves the range of its type; "
                "gradients of such rows are not available"
            )
        result[index][rows] = rescued.energy
    if problem.any_kept is not None:
        result = result.masked_fill(~problem.any_kept, math.inf)
    return result.to(accumulation_dtype(query.dtype))
