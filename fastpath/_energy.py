"""Log-normalizer and energy (chapters 03 and 04)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hopspec.fastpath._arguments import check_arguments
from hopspec.fastpath._attend import (
    CHUNK_BYTES,
    Problem,
    accumulation_dtype,
    attend,
    largest_logits,
    prepare,
    rescue_rows,
)
from hopspec.fastpath._plain import PlainProblem, attend_plain, plain_problem
from hopspec.fastpath.memory import Memory, row_magnitudes

# Below this bound on the logits, (log N - log-normalizer) / beta is mostly rounding error.
_SMALL_LOGITS = 2.0**-10
# Squares of numbers below this, and sums of many of them, stay far inside float64.
_LARGE_ENTRY = 2.0**480


def log_normalizer(
    query: Tensor, memory: Tensor | Memory, *, beta: float | Tensor, keep: Tensor | None = None
) -> Tensor:
    """``log sum_i exp(beta <x_i, xi>)``, the natural logarithm, not divided by beta (clause MHN-LSE-1).

    Args:
        query: state patterns, ``[..., L, d]``.
        memory: stored patterns, ``[..., N, d]``, or a :class:`Memory`, whose values play no part here.
        beta: inverse temperature, in units of one over a squared length; see :func:`retrieve`.
        keep: boolean, broadcasts to ``[..., L, N]``; False removes a memory.

    Returns:
        ``[..., L]``; float64 for float64 inputs, else float32. -inf where nothing is kept (clause MHN-MSK-4),
        NaN where the query or a memory it sees is not finite.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: shapes, dtypes or devices do not fit, or beta is not finite.
        NotImplementedError: a gradient is wanted where scores leave the range of their type.

    >>> import torch
    >>> log_normalizer(torch.zeros(1, 2), torch.eye(2), beta=1.0)
    tensor([0.6931])
    """
    if plain := plain_problem(query, memory, beta, keep):
        attended = attend_plain(plain, query)
        if attended is not None:
            return attended.log_normalizer
    arguments = check_arguments(query, memory, beta, keep)
    problem = prepare(arguments)
    rows = problem.rows(arguments.query)
    result = attend(problem, rows, differentiable_log_normalizer=True).log_normalizer
    return arguments.shaped(result)


def energy(
    query: Tensor, memory: Tensor | Memory, *, beta: float | Tensor, keep: Tensor | None = None
) -> Tensor:
    """Energy ``-lse(beta, xi) + |xi|^2/2 + (log N)/beta + M^2/2`` of every query (clause MHN-ENE-1).

    N counts and M bounds the lengths of the memories the query keeps (clause MHN-MSK-2).

    Args:
        query: state patterns, ``[..., L, d]``.
        memory: stored patterns, ``[..., N, d]``, or a :class:`Memory`, whose values play no part here.
        beta: inverse temperature, positive, in units of one over a squared length; see :func:`retrieve`.
        keep: boolean, broadcasts to ``[..., L, N]``; False removes a memory.

    Returns:
        ``[..., L]``, a squared length; summed in float64, rounded to float64 for float64 inputs, else to
        float32. +inf where nothing is kept (clause MHN-MSK-4) and where it is too large for its type (clause
        MHN-ENE-6), NaN where the query or a memory it sees is not finite.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: shapes, dtypes or devices do not fit, or beta is not finite and positive.
        NotImplementedError: a gradient is wanted where scores leave the range of their type.

    >>> import torch
    >>> energy(torch.zeros(1, 2), torch.eye(2), beta=1.0)
    tensor([0.5000])
    """
    if plain := plain_problem(query, memory, beta, keep):
        result = energy_of_plain(plain, query)
        if result is not None:
            return result
    arguments = check_arguments(query, memory, beta, keep, positive_beta=True)
    problem = prepare(arguments)
    return arguments.shaped(energy_of(problem, problem.rows(arguments.query)))


def energy_of_plain(problem: PlainProblem, query: Tensor) -> Tensor | None:
    """Energy of the rows of a matrix, ``[L]``, or None where :func:`energy_of` has to take a closer look."""
    if not problem.beta > 0:
        return None
    smallest, largest = (bound.item() for bound in row_magnitudes(query).aminmax())
    memory = problem.memory[0, 0]
    if not (
        largest < problem.reach
        and smallest * problem.largest * memory.shape[-1] * problem.beta >= _SMALL_LOGITS
        and max(largest, problem.largest) < _LARGE_ENTRY
    ):
        return None
    attended = attend_plain(problem, query, certified=True)
    if attended is None:
        return None
    wide, halves = attended.log_normalizer.double(), _half_squares(memory)
    if problem.keep is None:
        spread, half_farthest = math.log(memory.shape[0]) - wide, halves.amax()
    else:
        spread = problem.keep.sum(-1, dtype=torch.float64).log() - wide
        half_farthest = halves.where(problem.keep, 0.0).amax(-1)
    result = spread / problem.beta + (_half_squares(query) + half_farthest)
    return result.to(attended.log_normalizer.dtype)


def energy_of(problem: Problem, query: Tensor) -> Tensor:
    """Energy of rows as :meth:`Problem.rows` gives them, ``[..., L]``."""
    normalizer = attend(problem, query, differentiable_log_normalizer=True).log_normalizer
    if normalizer.numel() == 0 or problem.memory.rows.shape[-2] == 0:
        return torch.full_like(normalizer, math.inf)
    beta = problem.beta.unsqueeze(-1) if isinstance(problem.beta, Tensor) else problem.beta
    count, half_farthest = _kept(problem)
    wide = normalizer.double()
    result = (count.log() - wide) / beta + (_half_squares(query) + half_farthest)
    magnitude = row_magnitudes(query).double()
    safe = magnitude < problem.reach.unsqueeze(-1)
    ordinary = safe & (largest_logits(problem, query) >= _SMALL_LOGITS)
    if query.dtype == torch.float64:
        largest = torch.maximum(magnitude, problem.memory.largest.unsqueeze(-1))
        ordinary = ordinary & (largest < _LARGE_ENTRY)
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


def _half_squares(rows: Tensor) -> Tensor:
    """Half the squared length of each row in float64, ``[..., L]``."""
    return 0.5 * rows.double().square().sum(-1)


def _kept(problem: Problem) -> tuple[Tensor, Tensor]:
    """How many memories each row keeps, and half of M^2, both float64 ``[..., L or 1]``."""
    halves = _half_squares(problem.memory.rows).unsqueeze(-2)
    keep = problem.keep
    if keep is None:
        return halves.new_full((), halves.shape[-1]), halves.amax(-1)
    step = max(1, CHUNK_BYTES // (8 * keep[..., :1, :].numel()))
    # Results come first: small ones allocated between large temporaries keep the heap from reusing those.
    count = halves.new_zeros(keep.shape[:-1])
    farthest = count + halves.detach()[..., 0]
    for start in range(0, keep.shape[-2], step):
        rows = slice(start, start + step)
        part = keep[..., rows, :]
        count[..., rows] = part.sum(-1)
        farthest[..., rows] = halves.where(part, 0.0).amax(-1)
    return count, farthest
