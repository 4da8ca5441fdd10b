r"""Fixed-point certificates in float64 with every rounding accounted for (clause MHN-FIX-10).

The inequalities are those of clauses MHN-FIX-4 and MHN-FIX-5. What they ask for is computed in float64
together with a bound on its error; $u = 2^{-53}$, $\gamma_n = n u / (1 - n u)$, hats mark computed numbers.
Nothing is assumed about the order of sums, about fused operations or about how eigenvectors are found; of
``exp`` and ``expm1`` a relative error of at most $2^{-50}$.

*Offsets.* Everything is computed from $y_i = x_i - x$, the memories seen from the state, whose entries carry
one rounding. Since $\langle x_i, x\rangle = \langle y_i, x\rangle + |x|^2$, the logits $\beta \langle y_i,
x\rangle$ give the same association, and a large common offset of all memories costs no accuracy.

*Weights.* A computed weight is $\hat w_i = e^{\theta_i}$ times the true one, up to one common factor, with

$$|\theta_i| \le \Theta_i = \beta \gamma_{d+2} |y_i| |x| + 2u|\hat t_i| + 2u|\hat t_i - \hat t_{max}| +
  2^{-50}$$

(dot product, product with beta, difference from the largest, exponential). Let $p'_i = \hat w_i / \sum \hat
w_k$ exactly and $o' = \sum p'_i x_i$. Then $p_i = p'_i e^{-\theta_i} / Z$, $Z = \sum p'_i e^{-\theta_i}$, and
because $\sum p'_i (x_i - o') = 0$,

$$o - o' = \frac1Z \sum_i p'_i (e^{-\theta_i} - 1)(x_i - o'), \qquad
  |o - o'| \le \frac{\sum p'_i E_i |x_i - o'|}{1 - \bar E}, \quad E_i = e^{\Theta_i} - 1, \quad
  \bar E = \sum p'_i E_i .$$

*Step.* $\hat g = \sum \hat p_i \hat y_i$ is within $\gamma_{2N+8} \sum p'_i |y_i|$ of $o' - x$: the sum and
the division behind $\hat p_i$, one rounding in $\hat y_i$, and the sum.

*Jacobian.* With $C = \sum p_i y_i y_i^{\mathsf T}$ and $g = o - x$ the Jacobian is $\beta (C - g
g^{\mathsf T})$. The computed $\hat C$ is within $\gamma_{2N+12} \sum p'_i |y_i|^2$ of the sum over $p'$,
by the same count, and that within $\sum p'_i (E_i + \bar E) |y_i|^2 / (1 - \bar E)$ of $C$, since
$|e^{-\theta_i} - Z| \le E_i + \bar E$. The computed $\hat g \hat g^{\mathsf T}$ is off by $2 |g|$ times
the error of $\hat g$.

*Spectrum.* With the computed eigenvectors $V$ and eigenvalues $\Sigma$ let $\varphi \ge \|V^{\mathsf T} V -
I\|$ and $G \ge \|J - V \Sigma V^{\mathsf T}\|$, Frobenius norms of computed residuals plus the rounding of
the two products, $\gamma_{d+2} \|V\|_F^2$ each (times $\max|\Sigma_k|$ in $G$). By the theorems of
Ostrowski and Weyl the largest eigenvalue of $J$ is that of $\Sigma$ times a factor in $1 \pm \varphi$, give
or take $G$.

*Inverse.* $A = V D V^{\mathsf T}$, $D_k \approx 1 / (1 - \Sigma_k)$, is never formed: $\|A\| \le (1 +
\varphi) \max|D_k|$ and $\|I - A (I - J)\| \le \varphi + (1 + \varphi) 4u + \|A\| (\varphi \max|\Sigma_k| +
G)$.

*The bounds themselves* are sums and products of non-negative numbers, computed with at most $N + d^2 +
64$ roundings one after another; the factor ``up`` is more than these can take away. Underflow and flushing
to zero are paid for by terms of $2^{-500}$ beside lengths and $2^{-1000}$ beside products.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hopspec.fastpath._arguments import check_arguments
from hopspec.fastpath._flags import any_along
from hopspec.fastpath.memory import Memory
from hopspec.types import Certificate, Proof

# Bytes of the largest tensor of a piece; a few temporaries of this size live at a time.
_CHUNK_BYTES = 1 << 22
_U = 2.0**-53
# What squares and products below the normal range may be short of.
_TINY_LENGTH = 2.0**-500
_TINY_PRODUCT = 2.0**-1000
# Rounding of a handful of operations; errors of exp and expm1.
_FEW = 1 + 2.0**-45
_EXP = 1 + 2.0**-45
# A proposed radius is widened by this much, so that rounding does not fail a check that holds with room.
_ROOM = 1 + 2.0**-20
# Most steps of Newton's method for a radius.
_ROUNDS = 12


def certify(
    state: Tensor, memory: Tensor | Memory, *, beta: float | Tensor, keep: Tensor | None = None
) -> Certificate[Tensor]:
    """Prove that exactly one fixed point lies near each state, and whether it attracts (clause MHN-FIX-10).

    Computed in float64 whatever the dtype of the state, with a bound on every rounding, so that what is
    returned is true of the exact update. Both forms of the certificate are tried, MHN-FIX-4 (Banach) and
    MHN-FIX-5 (Newton), and the smaller of the two balls is returned. A state that has not come near a fixed
    point is not certified; settle it first. Every state costs a product of ``[d, N]`` and ``[N, d]`` matrices
    and the eigenvectors of a ``[d, d]`` one.

    Args:
        state: states, for example those that :func:`hopspec.settle` returns, ``[..., L, d]``; float64,
            float32, bfloat16 or float16.
        memory: stored patterns, ``[..., N, d]``, or a :class:`hopspec.Memory`, whose values play no part.
        beta: inverse temperature, positive: a number, or a tensor that broadcasts to the leading dimensions.
        keep: boolean, broadcasts to ``[..., L, N]``; False removes a memory.

    Returns:
        A :class:`hopspec.Certificate` of tensors ``[..., L]``: booleans, float64 for radius and rate, int64
        codes of :class:`hopspec.Proof`. Not certified where no ball is found, or where the state or a memory
        it sees is not finite. Where nothing is kept the update is 0 everywhere (clause MHN-MSK-4), and the
        radius is the length of the state.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: shapes, dtypes or devices do not fit, or beta is not positive and finite.

    >>> import torch
    >>> memory = torch.tensor([[2.0], [-2.0]])
    >>> near = certify(torch.tensor([[1.9986], [0.0]]), memory, beta=1.0)
    >>> near.certified.tolist(), near.attracts.tolist(), near.repels.tolist()
    ([True, True], [True, False], [False, True])
    >>> bool(near.radius[0] < 1e-4)
    True
    """
    arguments = check_arguments(state, memory, beta, keep, positive_beta=True, name="state")
    with torch.no_grad(), torch.autocast(state.device.type, enabled=False):
        lead, count = arguments.lead, arguments.query.shape[-2]
        device = arguments.query.device
        patterns = arguments.memory.stored.rows
        scale = torch.as_tensor(arguments.beta, dtype=torch.float64, device=device)[..., None, None]
        parts = [
            (
                piece,
                _certify_piece(
                    piece.of(arguments.query, lead)[:, piece.rows].double(),
                    piece.of(patterns, lead).double(),
                    None if arguments.keep is None else piece.mask(arguments.keep, lead),
                    piece.of(scale, lead)[:, 0],
                ),
            )
            for piece in _pieces(lead, count, max(patterns.shape[-2:]) * patterns.shape[-1])
        ]
        whole = (math.prod(lead), count)
        if len(parts) == 1:
            results = Certificate(*(field.expand(whole) for field in parts[0][1]))
        else:
            results = _blank(whole, device)
            for piece, part in parts:
                for field, new in zip(results, part, strict=True):
                    field[piece.groups, piece.rows] = new
        return Certificate(*(field.reshape(*lead, count).contiguous() for field in results))


def _blank(shape: tuple[int, ...], device: torch.device) -> Certificate[Tensor]:
    """Certificates that say nothing."""

    def full(value: float, dtype: torch.dtype) -> Tensor:
        return torch.full(shape, value, dtype=dtype, device=device)

    false = full(False, torch.bool)
    infinite = full(math.inf, torch.float64)
    none = full(int(Proof.NONE), torch.int64)
    return Certificate(false, infinite, false.clone(), false.clone(), infinite.clone(), none)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some states of some groups, a group being one combination of leading indices."""

    groups: slice
    rows: slice

    def of(self, tensor: Tensor, lead: tuple[int, ...]) -> Tensor:
        """The groups' matrices, ``[G, rows, columns]``, or ``[1, ...]`` where all groups share one."""
        trailing = tensor.shape[-2:]
        if math.prod(tensor.shape[:-2]) == 1:
            return tensor.reshape(1, *trailing)
        if not lead:
            return tensor.reshape(1, *trailing)
        numbers = torch.arange(self.groups.start, self.groups.stop, device=tensor.device)
        # Only the groups of this piece are copied, however the tensor repeats along leading dimensions.
        chosen: Tensor = tensor.expand(*lead, *trailing)[torch.unravel_index(numbers, lead)]
        return chosen

    def mask(self, keep: Tensor, lead: tuple[int, ...]) -> Tensor:
        """The groups' rows of the mask, ``[G or 1, rows or 1, N or 1]``."""
        own = self.of(keep, lead)
        return own if own.shape[-2] == 1 else own[:, self.rows]


def _pieces(lead: tuple[int, ...], count: int, size: int) -> list[_Piece]:
    """All states, in pieces within the budget; ``size`` numbers are needed for each."""
    groups = math.prod(lead)
    room = max(1, _CHUNK_BYTES // (8 * max(1, size)))
    rows = min(count, room)
    together = max(1, room // max(1, count)) if rows == count else 1
    return [
        _Piece(slice(first, min(first + together, groups)), slice(start, min(start + rows, count)))
        for first in range(0, groups, together)
        for start in range(0, count, max(1, rows))
    ]


def _gamma(n: int) -> float:
    return n * _U / (1 - n * _U)


def _length(vectors: Tensor, dim: int | tuple[int, int] = -1) -> Tensor:
    """Euclidean (Frobenius) lengths, too small by no more than the roundings that ``up`` covers."""
    count = vectors.numel() and math.prod(vectors.shape[d] for d in ([dim] if isinstance(dim, int) else dim))
    length: Tensor = torch.linalg.vector_norm(vectors, dim=dim)
    return length + count * _TINY_LENGTH


class _Local(NamedTuple):
    """What is known about the update at each state; one entry per state, ``[G, L]``.

    Args:
        step: computed ``T(x) - x``, ``[G, L, d]``.
        length: bound on ``|T(x) - x|``.
        error: bound on the error of ``step``.
        extent: bound on ``max_i |x_i - T(x)|``.
        jacobian: computed, symmetric, ``[G, L, d, d]``; 0 where it is not finite.
        doubt: bound on its error.
    """

    step: Tensor
    length: Tensor
    error: Tensor
    extent: Tensor
    jacobian: Tensor
    doubt: Tensor


def _certify_piece(state: Tensor, patterns: Tensor, keep: Tensor | None, beta: Tensor) -> Certificate[Tensor]:
    """Certificates of states ``[G, L, d]`` for patterns ``[G or 1, N, d]``, beta ``[G or 1, 1]``."""
    count, width = patterns.shape[-2:]
    if count == 0 or width == 0:
        keep = torch.zeros((), dtype=torch.bool, device=state.device).expand(1, 1, max(1, count))
    up = 1 + (count + width**2 + 64) * 2.0**-50
    away = _length(state) * up if width else state.sum(-1)
    if count == 0 or width == 0 or not state.numel():
        found = _blank(tuple(away.shape), state.device)
    else:
        found = _balls(_linearize(state, patterns, keep, beta, away, up), beta, up)
    if keep is None:
        return found
    # The update is 0 everywhere, and so it is where states have no components.
    empty = ~any_along(keep, -1)
    alone = empty & away.isfinite()
    return Certificate(
        certified=torch.where(empty, alone, found.certified),
        radius=torch.where(empty, torch.where(alone, away, math.inf), found.radius),
        attracts=torch.where(empty, alone, found.attracts),
        repels=found.repels & ~empty,
        rate=torch.where(empty, torch.where(alone, 0.0, math.inf), found.rate),
        proof=torch.where(empty, torch.where(alone, int(Proof.BANACH), int(Proof.NONE)), found.proof),
    )


def _linearize(
    state: Tensor, patterns: Tensor, keep: Tensor | None, beta: Tensor, away: Tensor, up: float
) -> _Local:
    count, width = patterns.shape[-2:]
    offsets = patterns.unsqueeze(-3) - state.unsqueeze(-2)
    if keep is not None:
        offsets = offsets.masked_fill(~keep.unsqueeze(-1), 0.0)
    lengths = _length(offsets) * up
    logits = (offsets @ state.unsqueeze(-1)).squeeze(-1) * beta.unsqueeze(-1)
    seen = logits if keep is None else logits.masked_fill(~keep, -math.inf)
    below = seen - seen.amax(-1, keepdim=True)
    weights = below.exp()
    weights = weights / weights.sum(-1, keepdim=True)
    if keep is not None:
        below = below.masked_fill(~keep, 0.0)
    # Perturbation of the log-weights, and of the weights.
    theta = beta.unsqueeze(-1) * (_gamma(width + 2) * lengths * away.unsqueeze(-1) + width * _TINY_PRODUCT)
    theta = (theta + 2 * _U * (logits.abs() + below.abs()) + 2.0**-50) * up
    grown = torch.where(theta < 1, theta / (1 - theta / 2), math.inf) * up
    mean_grown = (weights * grown).sum(-1) * up
    left = 1 / (1 - mean_grown).clamp(min=0) * up
    # The step.
    step = (weights.unsqueeze(-2) @ offsets).squeeze(-2)
    reach = lengths.amax(-1)
    rounding = (_gamma(2 * count + 8) * (weights * lengths).sum(-1) + count * _TINY_PRODUCT * reach) * up
    length = _length(step) * up
    moved = (weights * grown * lengths).sum(-1) + mean_grown * (length + rounding)
    error = (rounding + moved * left + count * _TINY_PRODUCT * reach) * up
    length = (length + error) * up
    extent = (reach + length) * up
    # The Jacobian.
    moments = (weights.unsqueeze(-1) * offsets).mT @ offsets
    squares = lengths.square()
    trace = (weights * squares).sum(-1) * up
    drift = ((weights * grown * squares).sum(-1) + mean_grown * trace) * left
    floor = count * width * _TINY_PRODUCT * (1 + reach.square())
    squared = (2 * error + _gamma(4) * length) * length
    doubt = beta * (_gamma(2 * count + 12) * trace + drift + floor + squared) * up
    centred = (moments + moments.mT) / 2 - step.unsqueeze(-1) * step.unsqueeze(-2)
    jacobian = beta[..., None, None] * centred
    usable = jacobian.isfinite().all(-1).all(-1) & doubt.isfinite()
    jacobian = jacobian.masked_fill(~usable[..., None, None], 0.0)
    return _Local(step, length, error, extent, jacobian, torch.where(usable, doubt, math.inf))


def _balls(local: _Local, beta: Tensor, up: float) -> Certificate[Tensor]:
    """The smaller of the two balls about each state, if any."""
    width = local.jacobian.shape[-1]
    values, vectors = torch.linalg.eigh(local.jacobian)
    top, bent = values[..., -1], values.abs().amax(-1)
    frame = _length(vectors, (-2, -1)) * up
    rounding = _gamma(width + 2) * frame.square()
    identity = torch.eye(width, dtype=torch.float64, device=values.device)
    phi = (_length(vectors.mT @ vectors - identity, (-2, -1)) + rounding) * up
    residual = local.jacobian - (vectors * values.unsqueeze(-2)) @ vectors.mT
    doubt = (_length(residual, (-2, -1)) + rounding * bent + local.doubt) * up
    largest = (top.clamp(min=0) * (1 + phi) + doubt) * up
    least = top.clamp(min=0) * (1 - phi) * (2 - up) - doubt
    slope = beta * local.extent * up
    sound = (beta > 0) & (phi < 1) & slope.isfinite() & doubt.isfinite()
    banach = _banach_radius(local.length, largest, slope)
    # The inverse of I - J.
    factors = 1 / (1 - values)
    norm = factors.abs().amax(-1) * (1 + phi) * up
    defect = (phi + (1 + phi) * 4 * _U + norm * (phi * bent + doubt)) * up
    along = _length(factors * (local.step.unsqueeze(-2) @ vectors).squeeze(-2))
    shift = (1 + phi) * along + norm * (local.error + _gamma(width + 2) * frame * local.length)
    newton = _newton_radius((shift + norm * width * _TINY_LENGTH) * up, defect, norm * largest * up, slope)
    radius = torch.where(sound, torch.minimum(banach, newton), math.inf)
    certified = radius.isfinite()
    turn = slope * radius * _FEW
    rate = largest * turn.exp() * _EXP
    attracts = certified & (rate < 1)
    repels = certified & (2 * least > (1 + (2 * turn).exp()) * _EXP * _FEW)
    proof = torch.where(banach <= newton, int(Proof.BANACH), int(Proof.NEWTON))
    return Certificate(
        certified=certified,
        radius=radius,
        attracts=attracts,
        repels=repels,
        rate=torch.where(attracts, rate, math.inf),
        proof=torch.where(certified, proof, int(Proof.NONE)),
    )


def _banach_radius(length: Tensor, largest: Tensor, slope: Tensor) -> Tensor:
    """A radius that satisfies clause MHN-FIX-4, infinite where none was found."""
    rate = slope * length

    def excess(g: Tensor) -> tuple[Tensor, Tensor]:
        grown = (rate * g).expm1()
        return g - 1 - largest * torch.where(rate > 0, grown / rate, g), 1 - largest * (grown + 1)

    radius = _least_zero(excess, 1 / (1 - largest)) * length * _ROOM
    turn = slope * radius * _FEW
    inside = (length + largest * radius * _growth(turn)) * _FEW <= radius
    holds = inside & (largest * turn.exp() * _EXP < 1) & (largest < 1)
    return torch.where(holds, radius, math.inf)


def _newton_radius(shift: Tensor, defect: Tensor, bend: Tensor, slope: Tensor) -> Tensor:
    """A radius that satisfies clause MHN-FIX-5, infinite where none was found; ``bend`` is ``|A| lam``."""
    rate = slope * shift

    def excess(g: Tensor) -> tuple[Tensor, Tensor]:
        turn = rate * g
        grown = turn.expm1()
        kappa = defect + bend * grown
        return g - 1 - kappa * g, 1 - kappa - bend * turn * (grown + 1)

    radius = _least_zero(excess, 1 / (1 - defect)) * shift * _ROOM
    turn = slope * radius * _FEW
    kappa = (defect + bend * turn * _growth(turn)) * _FEW
    holds = ((shift + kappa * radius) * _FEW <= radius) & (kappa < 1)
    return torch.where(holds, radius, math.inf)


def _least_zero(excess: Callable[[Tensor], tuple[Tensor, Tensor]], start: Tensor) -> Tensor:
    """The least zero of a concave function, which returns its derivative too, from the left of it.

    Newton's method stays on the left and converges quadratically to a simple zero. Where the function does
    not rise there is none, and what is returned does not matter: it will be checked.
    """
    g = start
    for _ in range(_ROUNDS):
        value, slope = excess(g)
        change = -value / slope
        change = torch.where(change > 0, change, 0.0)
        g = g + change
        if not bool((change > 1e-8 * g).any()):
            break
    return g


def _growth(turn: Tensor) -> Tensor:
    """A bound on ``(e**turn - 1) / turn``, of which ``1 / (1 - turn / 2)`` is one up to 2."""
    return torch.where(turn < 2.0**-6, 1 / (1 - turn / 2), turn.expm1() / turn) * _EXP
