"""A kernel for half precision as one writes it in Triton: tiles, float32 sums, rounded weights."""

from __future__ import annotations

import torch
from torch import Tensor

from hopspec.types import Capabilities, Implementation

from .variants import Variants

__all__ = ["KERNELS"]

TILE = 32

FAULTS = {
    "accumulator_in_storage": "the accumulator is kept in the type of the inputs",
    "sum_in_storage": "the sum of the weights is kept in the type of the inputs",
    "sum_of_eight_bits": "the sum of the weights is kept in bfloat16, so that counting stops at 256",
    "sum_stops_at_2048": "the sum of the weights is kept in float16, so that counting stops at 2048",
    "rescale_in_storage": "the factors by which earlier tiles are rescaled are rounded to bfloat16",
    "scores_in_float16": "scores pass through float16 and overflow beyond 65,504",
    "query_scaled_first": "the query is multiplied by beta and rounded, and small products are lost",
    "weights_not_shifted": "weights are taken relative to the first tile's maximum and overflow in float16",
    "result_truncated": "the result is truncated and not rounded",
    "weights_truncated": "weights are truncated to the type of the inputs and the sum is not",
    "weights_in_eight_bits": "weights are rounded to seven bits",
    "subnormals_flushed": "subnormal inputs are flushed to zero",
    "beta_in_storage": "beta is rounded to the type of the inputs",
    "tail_in_storage": "the last tile takes a path that accumulates in the type of the inputs",
    "second_tile_late": "the second of two tiles is rescaled once more",
    "rows_in_sixteens": "rows of the result beyond the last multiple of 16 come from the row 16 before",
    "columns_in_sixteens": "for d > 16, columns beyond the last multiple of 16 are zero",
    "denominator_of_last_tile": "where there are more than four tiles the denominator leaves out the first",
    "saturates": "results are clamped to 448",
    "nearest_ties_away": "results are rounded with ties away from zero",
}


def _truncated(x: Tensor, dtype: torch.dtype) -> Tensor:
    rounded = x.to(dtype)
    over = rounded.float().abs() > x.abs()
    return torch.where(over, torch.nextafter(rounded, torch.zeros_like(rounded)), rounded)


class Half:
    """The kernel; ``bug`` names its fault."""

    def __init__(self, bug: str) -> None:
        self.bug = bug

    def __call__(self, query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
        bug = self.bug
        store = query.dtype
        q, k = query.float(), memory.float()
        if bug == "subnormals_flushed":
            least = torch.finfo(store).tiny
            q, k = (torch.where(a.abs() < least, torch.zeros_like(a), a) for a in (q, k))
        if bug == "beta_in_storage":
            beta = float(torch.tensor(beta).to(store))
        if bug == "query_scaled_first":
            q = (q * beta).to(store).float()
        top = torch.full((len(q), 1), -torch.inf)
        total = torch.zeros(len(q), 1)
        acc = torch.zeros(len(q), k.shape[1])
        tiles = range(0, len(k), TILE)
        for first in tiles:
            tile = k[first : first + TILE]
            s = q @ tile.T
            if bug == "scores_in_float16":
                s = s.half().float()
            s = s if bug == "query_scaled_first" else s * beta
            new = torch.maximum(top, s.amax(-1, keepdim=True))
            if bug == "weights_not_shifted" and first:
                new = top
            alpha = torch.exp(top - new)
            if bug == "rescale_in_storage":
                alpha = alpha.bfloat16().float()
            if bug == "second_tile_late" and first == TILE and len(k) <= 2 * TILE:
                alpha = alpha * alpha
            p = torch.exp(s - new)
            total = alpha * total + p.sum(-1, keepdim=True)
            if bug == "denominator_of_last_tile" and first == 4 * TILE:
                total = total - alpha * torch.exp(q @ k[:TILE].T * beta - top).sum(-1, keepdim=True)
            total = self._sum(total, store)
            acc = alpha * acc + self._weights(p, store).float() @ tile
            if bug == "accumulator_in_storage" or (bug == "tail_in_storage" and len(tile) < TILE and first):
                acc = acc.to(store).float()
            top = new
        return self._result(acc / total, store)

    def _sum(self, total: Tensor, store: torch.dtype) -> Tensor:
        if self.bug == "sum_in_storage":
            return total.to(store).float()
        if self.bug == "sum_of_eight_bits":
            return total.bfloat16().float().clamp(max=256)
        if self.bug == "sum_stops_at_2048":
            return total.half().float().clamp(max=2048)
        return total

    def _weights(self, p: Tensor, store: torch.dtype) -> Tensor:
        if self.bug == "weights_truncated":
            return _truncated(p, store)
        if self.bug == "weights_in_eight_bits":
            mantissa, exponent = torch.frexp(p)
            return torch.ldexp(torch.round(mantissa * 2**7) / 2**7, exponent)
        return p.to(store)

    def _result(self, state: Tensor, store: torch.dtype) -> Tensor:
        bug = self.bug
        if bug == "result_truncated":
            return _truncated(state, store)
        if bug == "saturates":
            state = state.clamp(-448, 448)
        if bug == "nearest_ties_away":
            down = _truncated(state, store)
            up = torch.nextafter(down, torch.full_like(down, torch.inf) * torch.sign(down))
            middle = (down.float() + up.float()) / 2
            return torch.where((state.abs() >= middle.abs()) & torch.isfinite(up), up, down)
        if bug == "rows_in_sixteens" and len(state) > 16:
            full = len(state) // 16 * 16
            state[full:] = state[full - 16 :][: len(state) - full].clone()
        if bug == "columns_in_sixteens" and state.shape[1] > 16:
            state[:, state.shape[1] // 16 * 16 :] = 0
        return state.to(store)


def _build(bug: str) -> Implementation[Tensor]:
    return Implementation(
        name=f"half {bug}", retrieve=Half(bug), capabilities=Capabilities(dtypes=("bfloat16", "float16"))
    )


KERNELS = Variants(_build, FAULTS)
