"""The energy of a settled state from what its last step has computed, without another pass over the memory.

The association of the last step belongs to the state ``x`` before it, not to the state ``y`` returned. By the
three-point identity (clause MHN-ENE-3), with ``b >= |y - T(x)|`` and ``r = |y - x|``,

    -(r b + L r**2 / 2)  <=  E(y) - (E(x) - r**2 / 2)  <=  r b,        L = beta diam(X)**2 / 4,

so ``E(x) - r**2 / 2`` will do for ``E(y)`` if r is 0, or so small that the energy stays within its bound
(clause MHN-BND-4). For float32 that bound has room: it allows for squared lengths and sums in float32, which
here are in float64, so that at least ``(d + 6) u M**2 / 2`` of it is unused, ``u = 2**-24``. This has to hold

- ``r b + L r**2 / 2``, where ``L <= beta M**2``, and
- the amount by which the bound on the log-normalizer, over beta, is larger at x than at y.

Let W bound the errors of all log-weights, ``M = max |x_i|``. Where ``W <= 1/16`` and ``r <= M/4``, no state
involved is longer than ``3 M / 2``. With 512 memories to a block, exponentials to within 16 u, and one more
where parts of the memory are merged, clause MHN-BND-2 gives ``W <= 2 beta M**2 (d + 8) u + (N + 64) u`` and
``b <= 9 M W``. Between x and y weights change by a factor of at most ``exp(2 beta M r)`` (clause MHN-FIX-3),
errors of log-weights by ``beta M r (d + 8) u``, up to terms of higher order; where ``2 beta M r <= 1/4``, the
bound of MHN-BND-3 over beta changes by at most ``M r (4 W + 3 (d + 11) u)``, all of those included, as is the
rounding of r. Numbers that underflow play no part from ``M >= 2**-60``. Hence the condition
``A r**2 + B r <= C`` with

    A = beta M / 2,        B = 13 W + 3 (d + 11) u,        C = (d + 6) u M / 2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hopspec.fastpath._attend import Problem
from hopspec.fastpath._energy import LARGE_ENTRY, SMALL_LOGITS, energy_of
from hopspec.fastpath._iterate import Ended
from hopspec.fastpath._plain import PlainProblem

_UNIT = 2.0**-24


def settled_energy(problem: Problem, ended: Ended) -> Tensor:
    """Energy of every state returned, ``[..., L]``."""
    memory = problem.memory
    if not ended.residual.numel() or not memory.rows.shape[-2]:
        return energy_of(problem, ended.state)
    memories = memory.rows.shape[-2]
    log_count = math.log(memories) if memory.keep is None else memory.kept.count.log()
    energy, precise = _carried(
        ended,
        ended.log_normalizer.double() - log_count,
        memories,
        memory.kept.half_farthest,
        memory.largest.unsqueeze(-1),
        problem.reach.unsqueeze(-1),
        problem.beta.double().unsqueeze(-1) if isinstance(problem.beta, Tensor) else problem.beta,
    )
    if problem.any_kept is not None:
        energy, precise = energy.masked_fill(~problem.any_kept, math.inf), precise | ~problem.any_kept
    if bool(precise.all()):
        return energy
    if not problem.shared:
        return torch.where(precise, energy, energy_of(problem, ended.state))
    rows = precise.logical_not().nonzero().squeeze(-1)
    return energy.index_copy(0, rows, energy_of(problem.select(rows), ended.state.index_select(0, rows)))


def carried_energy(problem: PlainProblem, ended: Ended) -> tuple[Tensor, Tensor]:
    """Energies of the states returned, and which of them are precise enough, both ``[L]``."""
    excess = ended.log_normalizer.double() - problem.log_count()
    return _carried(
        ended,
        excess,
        problem.memory.shape[2],
        problem.half_farthest(),
        problem.largest,
        problem.reach,
        problem.beta,
    )


def _carried(
    ended: Ended,
    excess: Tensor,
    memories: int,
    half_farthest: Tensor,
    largest: float | Tensor,
    reach: float | Tensor,
    beta: float | Tensor,
) -> tuple[Tensor, Tensor]:
    """The same for every route, each row by itself: its bits depend on nothing else."""
    dtype, width = ended.state.dtype, ended.state.shape[-1]
    before = 0.5 * ended.length.square() + half_farthest - excess / beta
    energy = before - 0.5 * ended.residual.double().square()
    longest = longest_step(dtype, memories, width, beta, half_farthest)
    # The largest entry of a state lies between its length over the root of d and its length.
    entry = ended.length / math.sqrt(max(1, width))
    precise = (ended.residual <= longest) & (ended.length < reach)
    precise &= entry * (largest * width * beta) >= SMALL_LOGITS
    if dtype == torch.float64:
        precise &= (ended.length < LARGE_ENTRY) & (half_farthest < LARGE_ENTRY**2)
    return energy.to(ended.residual.dtype), precise


def longest_step(
    dtype: torch.dtype, memories: int, width: int, beta: float | Tensor, half_farthest: Tensor
) -> Tensor:
    """The longest step over which an energy may be carried, see above; 0 where there is no room for any.

    Args:
        dtype: type of the states.
        memories: their number N, those that are masked out included.
        width: their dimension d.
        beta: inverse temperature, positive.
        half_farthest: half the squared length M**2 of the longest memory kept, float64.

    >>> longest_step(torch.float32, 4096, 64, 0.35, torch.tensor(50.0, dtype=torch.float64))
    tensor(0.0020, dtype=torch.float64)
    """
    if dtype != torch.float32:
        return torch.zeros_like(half_farthest)
    length = (2 * half_farthest).sqrt()
    error = 2 * beta * length.square() * ((width + 8) * _UNIT) + (memories + 64) * _UNIT
    a, b = 0.5 * beta * length, 13 * error + 3 * (width + 11) * _UNIT
    c = 0.5 * (width + 6) * _UNIT * length
    root = 2 * c / (b + (b.square() + 4 * a * c).sqrt())
    longest = torch.minimum(root, length / 4).minimum(1 / (8 * beta * length))
    return longest.where((error <= 1 / 16) & (length >= 2.0**-60), 0.0)
