"""Faults of attention kernels ``f(q, k, v, *, scale, attn_mask=None, is_causal=False)``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from hopspec.properties.faults.kernel import DTYPES, output_dtype
from hopspec.properties.faults.registry import plant
from hopspec.properties.forms import attention_implementation
from hopspec.properties.models import MODELS
from hopspec.types import Capabilities, Implementation

__all__ = ["Attending", "AttendingTwo", "Tile"]

LONG = 1024


@dataclass(frozen=True)
class Tile:
    """What one tile of the keys is given.

    Args:
        columns: the keys of the tile.
        scores: inner products, ``[B, H, L, tile]``.
        bias: added to the logits, or None, ``[B, H, L, tile]``.
        kept: which keys take part.
        scale: the scale.
    """

    columns: slice
    scores: Tensor
    bias: Tensor | None
    kept: Tensor
    scale: float


class Attending:
    """A right attention kernel in small overridable pieces, one tile of keys after the other, in float64."""

    block: ClassVar[int] = 16
    base: ClassVar[float] = math.e

    def shared(self, x: Tensor, heads: int) -> Tensor:
        """Keys or values, one head for each of the queries' (clause MHN-ATT-4)."""
        return x.repeat_interleave(heads // x.shape[-3], dim=-3)

    def scale(self, scale: float, width: int) -> float:
        """The scale that is used; ``width`` is d."""
        return scale

    def values(self, k: Tensor, v: Tensor) -> Tensor:
        """What is read out."""
        return v

    def causal(self, queries: int, columns: slice, keys: int) -> Tensor:
        """The causal mask of one tile (clause MHN-ATT-2), aligned top-left."""
        return torch.arange(keys)[columns] <= torch.arange(queries)[:, None]

    def allowed(self, keep: Tensor | None, causal: Tensor | None, shape: torch.Size) -> Tensor:
        """Which keys of a tile take part, ``[B, H, L, tile]``."""
        whole = torch.ones(shape, dtype=torch.bool)
        for part in (keep, causal):
            whole = whole if part is None else whole & part
        return whole

    def heads_of(self, mask: Tensor | None) -> Tensor | None:
        """A mask or bias ``[B, H, L, N]``, as each head sees it."""
        return mask

    def logits(self, tile: Tile) -> Tensor:
        """``scale * score + bias``, ``-inf`` where a key takes no part."""
        logits = tile.scale * tile.scores
        if tile.bias is not None:
            logits = logits + tile.bias
        return logits.masked_fill(~tile.kept, -math.inf)

    def reference(self, top: Tensor) -> Tensor:
        """What is subtracted from the logits."""
        return top.masked_fill(top.isinf(), 0.0)

    def logarithm(self, top: Tensor, total: Tensor) -> Tensor:
        """The log-normalizer to the base that is claimed, ``[B, H, L, 1]``."""
        return (top + total.log()) / math.log(self.base)

    def quotient(self, weighted: Tensor, total: Tensor) -> Tensor:
        """The weighted mean; 0 in an empty row."""
        return (weighted / total).masked_fill(total == 0, 0.0)

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        scale: float,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Attention ``[B, H, L, dv]`` and its log-normalizers ``[B, H, L]``."""
        heads, queries, keys = q.shape[-3], q.shape[-2], k.shape[-2]
        wide, long, read = (x.double() for x in (q, self.shared(k, heads), self.values(k, v)))
        read = self.shared(read, heads)
        mask = self.heads_of(attn_mask)
        boolean = mask is not None and mask.dtype == torch.bool
        keep, bias = (mask, None) if boolean else (None, None if mask is None else mask.double())
        used = self.scale(scale, q.shape[-1])
        rows = (*q.shape[:-1], 1)
        top = torch.full(rows, -math.inf, dtype=torch.float64)
        total, weighted = (
            torch.zeros_like(top),
            torch.zeros((*rows[:-1], read.shape[-1]), dtype=torch.float64),
        )
        # Many keys in tiles of 16 would take too long.
        width = self.block if keys <= LONG else LONG
        for start in range(0, keys, width):
            columns = slice(start, min(start + width, keys))
            scores = wide @ long[..., columns, :].mT
            own = None if keep is None else keep[..., columns]
            causal = self.causal(queries, columns, keys) if is_causal else None
            allowed = self.allowed(own, causal, scores.shape)
            added = None if bias is None else bias[..., columns]
            logits = self.logits(Tile(columns, scores, added, allowed, used))
            old, top = top, torch.maximum(top, logits.amax(-1, keepdim=True))
            weights = (logits - self.reference(top)).exp()
            factor = (old - self.reference(top)).exp()
            total = total * factor + weights.sum(-1, keepdim=True)
            weighted = weighted * factor + weights @ read[..., columns, :]
        logarithm = self.logarithm(self.reference(top), total)[..., 0].to(output_dtype(q.dtype))
        return self.quotient(weighted, total).to(q.dtype), logarithm

    def implementation(self, name: str) -> Implementation[Any]:
        """The descriptor of this kernel, claiming all of attention."""
        claimed = Capabilities(
            dtypes=DTYPES,
            masks=True,
            values=True,
            batch=True,
            beta_range=(-math.inf, math.inf),
            empty_rows=True,
            strides=True,
            causal="top-left",
            grouped=True,
            bias=True,
            log_base=self.base,
        )
        return attention_implementation(
            self,
            name,
            capabilities=claimed,
            accuracy=tuple(MODELS[f"flash-{d}"] for d in DTYPES),
            returns_log_normalizer=True,
        )


class AttendingTwo(Attending):
    """The right kernel with log-normalizers to the base 2."""

    base: ClassVar[float] = 2.0


@plant("attention", "causal_call_is_a_mask")
class CausalOffByOne(Attending):
    """A query does not see the key of its own position, except the first."""

    def causal(self, queries: int, columns: slice, keys: int) -> Tensor:
        position = (torch.arange(queries)[:, None] - 1).clamp(min=0)
        return torch.arange(keys)[columns] <= position


@plant("attention", "causal_call_is_a_mask")
class CausalSeesTheNext(Attending):
    """A query also sees the key after its own position."""

    def causal(self, queries: int, columns: slice, keys: int) -> Tensor:
        return torch.arange(keys)[columns] <= torch.arange(queries)[:, None] + 1


@plant("attention", "causal_call_is_a_mask")
class CausalBottomRight(Attending):
    """The causal mask is aligned bottom-right, but claimed to be aligned top-left."""

    def causal(self, queries: int, columns: slice, keys: int) -> Tensor:
        return torch.arange(keys)[columns] <= torch.arange(queries)[:, None] + keys - queries


@plant("attention", "causal_call_is_a_mask")
class CausalIgnoredInTail(Attending):
    """The last, incomplete tile of keys is not compared with the queries' positions."""

    def causal(self, queries: int, columns: slice, keys: int) -> Tensor:
        mask = super().causal(queries, columns, keys)
        incomplete = columns.stop - columns.start < self.block
        return torch.ones_like(mask) if incomplete else mask


@plant("attention", "causal_call_is_a_mask")
class CausalByTile(Attending):
    """Tiles on the diagonal are taken whole."""

    def causal(self, queries: int, columns: slice, keys: int) -> Tensor:
        tile = torch.arange(keys)[columns] // self.block
        return tile <= torch.arange(queries)[:, None] // self.block


@plant("attention", "causal_and_mask_both_hold")
class MaskIgnoredWhenCausal(Attending):
    """A causal call forgets the mask."""

    def allowed(self, keep: Tensor | None, causal: Tensor | None, shape: torch.Size) -> Tensor:
        return super().allowed(None if causal is not None else keep, causal, shape)


@plant("attention", "causal_and_mask_both_hold")
class CausalIgnoredWhenMasked(Attending):
    """A call with a mask is not causal."""

    def allowed(self, keep: Tensor | None, causal: Tensor | None, shape: torch.Size) -> Tensor:
        return super().allowed(keep, causal if keep is None else None, shape)


@plant("attention", "causal_and_bias_both_hold")
class MaskedWithZero(Attending):
    """Where a bias is given, a causal mask sets logits to 0 instead of -inf."""

    def logits(self, tile: Tile) -> Tensor:
        logits = super().logits(tile)
        hidden = ~tile.kept & (tile.bias is not None)
        return logits.masked_fill(hidden, 0.0)


@plant("attention", "heads_share_keys_in_groups")
class HeadsInterleaved(Attending):
    """Query head h of H reads key head h modulo G."""

    def shared(self, x: Tensor, heads: int) -> Tensor:
        return x.repeat(*[1] * (x.ndim - 3), heads // x.shape[-3], 1, 1)


@plant("attention", "heads_share_keys_in_groups")
class FirstGroupForAll(Attending):
    """All query heads read the first key head where they share keys."""

    def shared(self, x: Tensor, heads: int) -> Tensor:
        return super().shared(x if x.shape[-3] == heads else x[..., :1, :, :], heads)


@plant("attention", "biased_attention_within_bound", "biased_log_normalizer_within_bound")
class BiasTimesScale(Attending):
    """The bias is multiplied by the scale."""

    def logits(self, tile: Tile) -> Tensor:
        added = tile.scores if tile.bias is None else tile.scores + tile.bias
        return (tile.scale * added).masked_fill(~tile.kept, -math.inf)


@plant("attention", "biased_attention_within_bound", "biased_log_normalizer_within_bound")
class BiasInFirstTile(Attending):
    """The bias is added in the first tile of keys only."""

    def logits(self, tile: Tile) -> Tensor:
        if tile.bias is None or tile.columns.start == 0:
            return super().logits(tile)
        lacking = ~tile.kept | tile.bias.isneginf()
        return (tile.scale * tile.scores).masked_fill(lacking, -math.inf)


@plant("attention", "each_head_has_its_bias")
class BiasOfFirstHead(Attending):
    """The bias, or the mask, of the first head is used for all."""

    def heads_of(self, mask: Tensor | None) -> Tensor | None:
        return None if mask is None else mask[:, :1].expand_as(mask)


@plant("attention", "biased_attention_within_bound")
class BiasOfFirstQuery(Attending):
    """The bias of the first query is used for all."""

    def heads_of(self, mask: Tensor | None) -> Tensor | None:
        return mask if mask is None or mask.dtype == torch.bool else mask[..., :1, :].expand_as(mask)


@plant("attention", "biased_attention_within_bound")
class EmptyTileNaN(Attending):
    """Where nothing has taken part so far, -inf is subtracted from -inf."""

    def reference(self, top: Tensor) -> Tensor:
        return top


@plant("attention", "biased_attention_within_bound")
class BiasInHalf(Attending):
    """The sum of logit and bias is rounded to bfloat16."""

    def logits(self, tile: Tile) -> Tensor:
        logits = super().logits(tile)
        return logits if tile.bias is None else logits.bfloat16().double()


@plant("attention", "biased_attention_within_bound")
class SmallBiasForgotten(Attending):
    """A bias below -10 removes its key."""

    def logits(self, tile: Tile) -> Tensor:
        logits = super().logits(tile)
        return logits if tile.bias is None else logits.masked_fill(tile.bias < -10, -math.inf)


@plant("attention", "biased_log_normalizer_within_bound")
class LogNormalizerWithoutBias(Attending):
    """The log-normalizer is that of the call without the bias."""

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        scale: float,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor]:
        state, log = super().__call__(q, k, v, scale=scale, attn_mask=attn_mask, is_causal=is_causal)
        if attn_mask is not None and attn_mask.dtype != torch.bool:
            taken = attn_mask > -math.inf
            _, log = super().__call__(q, k, v, scale=scale, attn_mask=taken, is_causal=is_causal)
        return state, log


@plant("attention", "read_out_within_bound")
class KeysReadOut(Attending):
    """The keys are read out instead of the values."""

    def values(self, k: Tensor, v: Tensor) -> Tensor:
        return k if k.shape == v.shape else v


@plant("attention", "update_within_bound", "any_finite_beta")
class DefaultScale(Attending):
    """The scale that is given is ignored in favour of the usual default."""

    def scale(self, scale: float, width: int) -> float:
        return 1 / math.sqrt(width)


@plant("attention", "beta_zero_is_the_mean")
class ZeroScaleIsDefault(Attending):
    """A scale of 0 is taken for none, and the default is used."""

    def scale(self, scale: float, width: int) -> float:
        return scale or 1 / math.sqrt(width)


@plant("attention", "binary_log_normalizer_within_bound")
class NaturalForBinary(AttendingTwo):
    """The natural log-normalizer is returned, but claimed to be to the base 2."""

    def logarithm(self, top: Tensor, total: Tensor) -> Tensor:
        return top + total.log()


@plant("attention", "log_normalizer_within_bound")
class BinaryForNatural(Attending):
    """The log-normalizer to the base 2 is returned, but claimed to be the natural one."""

    def logarithm(self, top: Tensor, total: Tensor) -> Tensor:
        return (top + total.log()) / math.log(2.0)


@plant("attention", "binary_log_normalizer_within_bound")
class HalfBinary(AttendingTwo):
    """The maximum is converted to the base 2, the logarithm of the sum is not."""

    def logarithm(self, top: Tensor, total: Tensor) -> Tensor:
        return top / math.log(2.0) + total.log()
