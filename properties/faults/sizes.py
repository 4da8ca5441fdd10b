"""Faults that show at certain sizes only: beyond a tile, a counter, a grid, or a first part."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from hopspec.properties.faults.kernel import Inputs, Kernel, Sums
from hopspec.properties.faults.registry import plant


@plant("forward", "update_at_tile_edges")
class LastQueryTileDropped(Kernel):
    """A last tile of queries is not computed where it is not full."""

    tile: ClassVar[int] = 32

    def store(self, state: Tensor, dtype: torch.dtype) -> Tensor:
        count = state.shape[-2]
        if count > self.tile and count % self.tile:
            state[..., count // self.tile * self.tile :, :] = 0.0
        return super().store(state, dtype)


@plant("forward", "update_at_tile_edges", "log_normalizer_at_tile_edges", "energy_at_tile_edges")
class WidthBeyondTileNotCompared(Kernel):
    """Of patterns wider than 64 the first 64 columns are compared."""

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return super().scores(query[..., :64], keys[..., :64])


@plant("forward", "update_of_many")
class MemoriesBeyondGrid(Kernel):
    """The grid has 65,535 places, and later memories are never looked at."""

    def visited(self, inputs: Inputs) -> list[slice]:
        return [slice(t.start, min(t.stop, 65535)) for t in super().visited(inputs) if t.start < 65535]


@plant("forward", "update_of_many_queries")
class QueriesBeyondThreads(Kernel):
    """There is one thread for each query, and at most 1024."""

    def store(self, state: Tensor, dtype: torch.dtype) -> Tensor:
        state[..., 1024:, :] = 0.0
        return super().store(state, dtype)


@plant("forward", "log_normalizer_of_many", "update_of_many")
class WeightsCountedInHalf(Kernel):
    """The sum of the weights is kept in half precision, so that it stops growing at 2048."""

    def sums(self, inputs: Inputs) -> Sums:
        found = super().sums(inputs)
        return Sums(found.base, found.total.clamp(max=2048.0), found.weighted)


@plant("energy", "energy_of_many")
class MemoriesCountedInSixteenBits(Kernel):
    """N is a sixteen-bit number in the energy."""

    def number(self, inputs: Inputs) -> Tensor:
        return (inputs.kept.sum(-1) % 2**16).clamp(min=1).double()


@plant("forward", "association_at_tile_edges")
class AssociationOfFirstTile(Kernel):
    """Rows of the association beyond 16 are those of the first 16 again."""

    def weights(self, inputs: Inputs) -> Tensor:
        found = super().weights(inputs)
        return found[..., torch.arange(found.shape[-2]) % 16, :]


@plant("forward", "read_out_at_tile_edges")
class ValuesBeyondTileLost(Kernel):
    """Columns of the values beyond 32 are not read out."""

    def update(self, inputs: Inputs) -> Tensor:
        found = super().update(inputs)
        if inputs.values.shape != inputs.memory.shape:
            found[..., 32:] = 0.0
        return found


@plant("contract", "strides_at_tile_edges")
class WideTransposedAsContiguous(Kernel):
    """A transposed array wider than 32 is read as if it lay row after row."""

    def read(self, patterns: Tensor) -> Tensor:
        if patterns.ndim == 2 and patterns.shape[1] > 32 and patterns.stride(0) == 1 and len(patterns) > 1:
            patterns = patterns.T.reshape(patterns.shape)
        return super().read(patterns)


@plant("mask", "masks_at_tile_edges")
class MaskInWholeBytes(Kernel):
    """The mask is packed into bytes, and the memories beyond the last full one are lost."""

    def mask(self, keep: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        kept = super().mask(keep, shape).clone()
        if keep is not None and shape[-1] > 8:
            kept[..., shape[-1] // 8 * 8 :] = False
        return kept


@plant("mask", "masks_at_tile_edges")
class LoopEndsAtMaskedBlock(Kernel):
    """The loop over blocks ends at the first one that is masked altogether."""

    block: ClassVar[int] = 8

    def visited(self, inputs: Inputs) -> list[slice]:
        tiles = super().visited(inputs)
        for number, tile in enumerate(tiles):
            if number and not bool(inputs.kept[..., tile].any()):
                return tiles[:number]
        return tiles


@plant("mask", "masks_of_many")
class MaskIndexInFifteenBits(Kernel):
    """The mask is read with an index of fifteen bits."""

    def mask(self, keep: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        kept = super().mask(keep, shape)
        return kept[..., torch.arange(shape[-1]) % 2**15]


@plant("forward", "update_at_tile_edges")
class MaximumStartsFarBelow(Kernel):
    """The running maximum starts at -1000, and is above all scores where they are lower."""

    def tile_top(self, scores: Tensor, sign: Tensor) -> Tensor:
        return super().tile_top(scores, sign).clamp(min=-1e3)


@plant("forward", "update_at_tile_edges")
class ZeroMemoriesArePadding(Kernel):
    """A memory of zeros is taken for padding."""

    def prepare(self, *arguments: Any, **options: Any) -> Inputs:
        found = super().prepare(*arguments, **options)
        kept = found.kept & (found.memory != 0).any(-1)[..., None, :]
        return Inputs(**{**vars(found), "kept": torch.where(kept.any(-1, keepdim=True), kept, found.kept)})


@plant("contract", "arguments_broadcast_each_in_its_way")
class MemoryOfFirstHead(Kernel):
    """A memory with some of the leading dimensions is read for its first head only."""

    def prepare(self, query: Tensor, memory: Tensor, *rest: Any, **options: Any) -> Inputs:
        if 2 < memory.ndim < query.ndim:
            memory = memory[..., :1, :, :].expand_as(memory)
        return super().prepare(query, memory, *rest, **options)
