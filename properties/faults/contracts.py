"""Faults of what every call promises: purity, strides, types, shapes, errors, determinism."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from hopspec.properties.faults.kernel import Inputs, Kernel, Sums
from hopspec.properties.faults.registry import plant


@plant("contract", "strides_of_values_do_not_matter")
class StridesIgnored(Kernel):
    """Patterns are read as if they lay row after row."""

    def read(self, patterns: Tensor) -> Tensor:
        available = (
            patterns.untyped_storage().nbytes() // max(patterns.element_size(), 1) - patterns.storage_offset()
        )
        if available < patterns.numel():
            return super().read(patterns)
        dense = torch.empty(patterns.shape, device="meta").stride()
        return super().read(torch.as_strided(patterns, patterns.shape, dense, patterns.storage_offset()))


@plant("contract", "strides_of_values_do_not_matter")
class StorageOffsetIgnored(Kernel):
    """A view is read from the start of its storage."""

    def read(self, patterns: Tensor) -> Tensor:
        return super().read(torch.as_strided(patterns, patterns.shape, patterns.stride(), 0))


@plant("contract", "strides_of_masks_do_not_matter")
class MaskStridesIgnored(Kernel):
    """The mask is read as if it lay row after row."""

    def mask(self, keep: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        if keep is not None and keep.untyped_storage().nbytes() - keep.storage_offset() >= keep.numel():
            dense = torch.empty(keep.shape, device="meta").stride()
            keep = torch.as_strided(keep, keep.shape, dense, keep.storage_offset())
        return super().mask(keep, shape)


@plant("contract", "inputs_are_not_modified")
class QueryScaledInPlace(Kernel):
    """The query is multiplied by beta in place and divided again afterwards."""

    def retrieve(self, query: Tensor, memory: Tensor, **options: Any) -> Tensor:
        result = super().retrieve(query, memory, **options)
        beta = options["beta"]
        if isinstance(beta, float) and beta and query.ndim > 1:
            query.mul_(beta).div_(beta)
        return result


@plant("contract", "masked_inputs_are_not_modified", "masks_broadcast_over_leading_dimensions")
class MaskedZeroedInPlace(Kernel):
    """Memories that no query keeps are set to zero in place."""

    def retrieve(self, query: Tensor, memory: Tensor, **options: Any) -> Tensor:
        result = super().retrieve(query, memory, **options)
        keep = options.get("keep")
        if keep is not None and memory.ndim == 2:
            memory[~torch.broadcast_to(keep, (query.shape[-2], memory.shape[0])).any(0)] = 0
        return result


@plant("contract", "same_inputs_same_bits", "permuting_queries_permutes_updates")
class StaleElement(Kernel):
    """An output buffer is used again, and its last element is not written."""

    def __init__(self) -> None:
        self.buffer = torch.zeros(())

    def store(self, state: Tensor, dtype: torch.dtype) -> Tensor:
        stored = super().store(state, dtype)
        if stored.shape[-1:] and stored.numel():
            stored[..., -1, -1] = self.buffer.to(dtype)
            self.buffer = super().store(state, dtype)[..., -1, -1].flatten()[0].clone()
        return stored


@plant("contract", "same_inputs_same_bits")
class OrderOfArrival(Kernel):
    """Tiles are added in float32 in an order that changes from call to call."""

    def __init__(self) -> None:
        self.calls = 0

    def visited(self, inputs: Inputs) -> list[slice]:
        self.calls += 1
        whole = super().visited(inputs)
        return whole if self.calls % 2 else whole[::-1]

    def tiles(self, n: int) -> list[slice]:
        return [slice(i, i + 1) for i in range(n)]

    def grow_weighted(self, weighted: Tensor, factor: Tensor, weights: Tensor, values: Tensor) -> Tensor:
        return super().grow_weighted(weighted, factor, weights, values).float().double()


@plant("contract", "results_have_the_type_of_the_clause")
class ResultInDouble(Kernel):
    """The result is left in float64."""

    def store(self, state: Tensor, dtype: torch.dtype) -> Tensor:
        return state.to(dtype).double()


@plant("contract", "results_have_the_type_of_the_clause", dtype="bfloat16")
class LogNormalizerInStorage(Kernel):
    """The log-normalizer of bfloat16 inputs is bfloat16."""

    def log_normalizer(self, query: Tensor, memory: Tensor, **options: Any) -> Tensor:
        return super().log_normalizer(query, memory, **options).to(query.dtype)


@plant("contract", "other_quantities_broadcast_too")
class FirstMemoryForAll(Kernel):
    """The memory of the first slice serves all."""

    def prepare(self, query: Tensor, memory: Tensor, *arguments: Any, **options: Any) -> Inputs:
        if memory.ndim > 2:
            memory = (
                memory.flatten(0, -3)[:1].expand(memory.shape)
                if memory.ndim == 3
                else memory[..., :1, :, :].expand(memory.shape)
            )
        return super().prepare(query, memory, *arguments, **options)


@plant("contract", "beta_per_head")
class FirstBetaForAll(Kernel):
    """The beta of the first slice serves all."""

    def temperature(self, beta: Tensor, width: int) -> Tensor:
        return beta.flatten()[0].expand(beta.shape) if beta.numel() else beta


@plant("contract", "sizes_that_are_all_the_same")
class BetaPerQueryInSquare(Kernel):
    """One beta for each slice is taken for one for each query where there are as many."""

    def logits(self, scores: Tensor, base: Tensor, sharpness: Tensor) -> Tensor:
        if sharpness.ndim > 2 and sharpness.shape[-3] == scores.shape[-2]:
            sharpness = sharpness.movedim(-3, -2)
        return super().logits(scores, base, sharpness)


@plant("contract", "sizes_that_are_all_the_same")
class SquareMemoryTransposed(Kernel):
    """A memory of as many patterns as numbers in each is taken to have its patterns in columns."""

    def prepare(self, query: Tensor, memory: Tensor, *rest: Any, **options: Any) -> Inputs:
        square = memory.ndim >= 2 and memory.shape[-1] == memory.shape[-2]
        return super().prepare(query, memory.mT if square else memory, *rest, **options)


@plant("contract", "no_queries_no_results")
class NoQueriesRaise(Kernel):
    """A call without queries raises."""

    def check(self, query: Tensor, memory: Tensor, values: Tensor | None, keep: Tensor | None) -> None:
        super().check(query, memory, values, keep)
        query[..., :1, :].amax(-2)


@plant("contract", "no_queries_no_results")
class NoMemoriesRaise(Kernel):
    """A call without memories raises."""

    def check(self, query: Tensor, memory: Tensor, values: Tensor | None, keep: Tensor | None) -> None:
        super().check(query, memory, values, keep)
        memory.amax(-2)


@plant("contract", "malformed_calls_are_refused")
class MaskNotChecked(Kernel):
    """A mask that is not boolean is accepted."""

    def check(self, query: Tensor, memory: Tensor, values: Tensor | None, keep: Tensor | None) -> None:
        super().check(query, memory, values, keep if keep is None else keep.bool())

    def mask(self, keep: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        return super().mask(keep if keep is None else keep.bool(), shape)


@plant("contract", "malformed_calls_are_refused")
class BetaNotChecked(Kernel):
    """A beta that is not finite is accepted."""

    def check_beta(self, beta: float | Tensor, *, positive: bool = False) -> Tensor:
        return super().check_beta(torch.as_tensor(beta).nan_to_num(), positive=positive)


@plant("contract", "batch_mates_do_not_matter", "batch_mates_do_not_stop_a_query")
class ScalePerTensor(Kernel):
    """The query is quantised to 12 bits with one scale for all its rows."""

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        if not query.numel():
            return super().scores(query, keys)
        unit = query.abs().amax() / 2048 + torch.finfo(torch.float64).tiny
        return super().scores((query / unit).round() * unit, keys)


@plant("contract", "permuting_queries_permutes_updates")
class RowsOfMateMixed(Kernel):
    """Of an odd number of queries, the last gets a 4096th of its neighbour's sum of exponentials."""

    def sums(self, inputs: Inputs) -> Sums:
        sums = super().sums(inputs)
        rows = inputs.query.shape[-2]
        if rows < 3 or rows % 2 == 0:
            return sums
        total = sums.total.clone()
        total[..., -1, :] += 2.0**-12 * total[..., -2, :]
        return Sums(sums.base, total, sums.weighted)


@plant("contract", "scaling", "orthogonal_maps_commute")
class CacheByShape(Kernel):
    """Patterns of the first call are used again for all calls with the same shape."""

    def __init__(self) -> None:
        self.widths: dict[tuple[int, ...], Tensor] = {}

    def read(self, patterns: Tensor) -> Tensor:
        wide = super().read(patterns)
        if patterns.ndim == 2 and patterns.shape[0] > self.block:
            return self.widths.setdefault(tuple(patterns.shape), wide.clone())
        return wide


@plant("contract", "update_within_bound", isolated=True)
class CrashesOnLongMemory(Kernel):
    """The process ends where the memory is longer than 64."""

    def check(self, query: Tensor, memory: Tensor, values: Tensor | None, keep: Tensor | None) -> None:
        super().check(query, memory, values, keep)
        if memory.shape[-2] > 64:
            os._exit(3)
