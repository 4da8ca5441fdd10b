"""The settling workloads, and two other ways to do them: a loop over PyTorch's attention, and hflayers.

Queries are stored patterns with Gaussian noise added. Every way has the same update, the same threshold and
the same limit of steps; what each compares with the threshold, and when it lets go of a query, is its own.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

__all__ = [
    "EPS",
    "MAX_STEPS",
    "WORKLOADS",
    "Workload",
    "draw",
    "has_hflayers",
    "hflayers_settle",
    "sdpa_loop",
]

EPS = 1e-4
MAX_STEPS = 100


@dataclass(frozen=True)
class Workload:
    """Noisy stored patterns to be settled.

    Args:
        beta: inverse temperature.
        noise: standard deviation of what is added to each component of a stored pattern, itself N(0, 1).
        queries: how many, L.
        memories: how many, N.
        width: their dimension, d.
    """

    beta: float
    noise: float
    queries: int = 2048
    memories: int = 4096
    width: int = 64

    @property
    def size(self) -> str:
        """The sizes in one word.

        >>> Workload(beta=1.0, noise=0.8).size
        '2048x4096x64'
        """
        return f"{self.queries}x{self.memories}x{self.width}"

    @property
    def name(self) -> str:
        """What sets the workload apart.

        >>> Workload(beta=0.35, noise=1.5).name
        'beta 0.35, noise 1.5'
        """
        return f"beta {self.beta:g}, noise {self.noise:g}"


# At beta 1 nearly all queries are back at their pattern after two or three updates. At 0.35 a few take many
# more, and with more noise some of them end in a mean of several patterns.
WORKLOADS = (Workload(1.0, 0.8), Workload(0.35, 0.8), Workload(0.35, 1.5))


def draw(workload: Workload, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Queries ``[L, d]`` and memory ``[N, d]``, both float32.

    >>> query, memory = draw(Workload(beta=1.0, noise=0.8, queries=3, memories=5, width=2))
    >>> query.shape, memory.shape
    (torch.Size([3, 2]), torch.Size([5, 2]))
    """
    source = torch.Generator().manual_seed(seed)
    memory = torch.randn(workload.memories, workload.width, generator=source)
    chosen = torch.randint(workload.memories, (workload.queries,), generator=source)
    noise = torch.randn(workload.queries, workload.width, generator=source)
    return memory[chosen] + workload.noise * noise, memory


def sdpa_loop(
    query: Tensor, memory: Tensor, *, beta: float, eps: float = EPS, max_steps: int = MAX_STEPS
) -> tuple[Tensor, int]:
    """Update all queries by ``scaled_dot_product_attention`` until each moves by at most ``eps``.

    Args:
        query: ``[L, d]``.
        memory: ``[N, d]``.
        beta: inverse temperature.
        eps: a length.
        max_steps: the most updates.

    Returns:
        The states ``[L, d]`` and the number of updates made.

    >>> sdpa_loop(torch.tensor([[0.9, 0.2]]), torch.eye(2), beta=10.0)[1]
    3
    """
    # In two dimensions PyTorch takes its slower path.
    state, stored = query[None, None], memory[None, None]
    with torch.no_grad():
        for step in range(1, max_steps + 1):
            new = scaled_dot_product_attention(state, stored, stored, scale=beta)
            done = torch.linalg.vector_norm(new - state, dim=-1).amax().item() <= eps
            state = new
            if done:
                return state[0, 0], step
    return state[0, 0], max_steps


def has_hflayers() -> bool:
    """Whether hflayers, the library of Ramsauer et al., can be imported."""
    return importlib.util.find_spec("hflayers") is not None


def hflayers_settle(
    query: Tensor, memory: Tensor, *, beta: float, eps: float = EPS, max_steps: int = MAX_STEPS
) -> Tensor:
    """Settle by ``hflayers.Hopfield`` with everything switched off that is not the update.

    No projections, no normalization, no dropout, one head. It compares with ``eps`` the change of all weights
    of all queries together, so a call stops them all at once. Its first association is not counted among its
    update steps. With every query in a batch element of its own, which would compare them one by one, it
    copies the memory for each of them.

    Args:
        query: ``[L, d]``.
        memory: ``[N, d]``.
        beta: inverse temperature.
        eps: the threshold.
        max_steps: the most updates.

    Returns:
        The states ``[L, d]``.
    """
    module = (
        importlib.import_module("hflayers")
        .Hopfield(
            scaling=float(beta),
            update_steps_max=max_steps - 1,
            update_steps_eps=float(eps),
            normalize_stored_pattern=False,
            normalize_stored_pattern_affine=False,
            normalize_state_pattern=False,
            normalize_state_pattern_affine=False,
            normalize_pattern_projection=False,
            normalize_pattern_projection_affine=False,
            stored_pattern_as_static=True,
            state_pattern_as_static=True,
            pattern_projection_as_static=True,
            disable_out_projection=True,
        )
        .eval()
    )
    stored = memory[None]
    with torch.no_grad():
        states: Tensor = module((stored, query[None], stored))
    return states[0]
