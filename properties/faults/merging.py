"""Faults of merging: the memory is divided into parts, whose results are merged by their log-normalizers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from hopspec.properties.faults.kernel import Inputs, Kernel, Sums, output_dtype
from hopspec.properties.faults.registry import plant
from hopspec.types import Implementation

__all__ = ["Merging", "Parts"]


@dataclass(frozen=True)
class Parts:
    """Results of the parts of a memory, stacked in front.

    Args:
        state: rounded to storage, ``[S, ..., L, dv]``, in float64.
        log: log-normalizers rounded to float32, -inf where nothing is kept, ``[S, ..., L, 1]``, in float64.
        kept: how many memories of a part each query keeps, ``[S, ..., L, 1]``.
    """

    state: Tensor
    log: Tensor
    kept: Tensor


class Merging(Kernel):
    """The right kernel on one part of the memory after the other, and the right way to merge (MHN-BND-8)."""

    width: ClassVar[int] = 24

    def cuts(self, n: int) -> list[slice]:
        """The memories of each part."""
        return [slice(start, min(start + self.width, n)) for start in range(0, n, self.width)]

    def part(self, inputs: Inputs, rows: slice) -> tuple[Tensor, Tensor]:
        """Update and log-normalizer of the memories ``rows``, as they leave the kernel."""
        own = replace(
            inputs,
            memory=inputs.memory[..., rows, :],
            values=inputs.values[..., rows, :],
            kept=inputs.kept[..., rows],
        )
        sums = self.sums(own)
        state = self.store(self.quotient(sums.weighted, sums.total), inputs.storage)
        log = super().logarithm(sums, own)[..., None]
        return state.double(), self.part_log(log, output_dtype(inputs.storage))

    def part_log(self, log: Tensor, dtype: torch.dtype) -> Tensor:
        """The log-normalizer of a part as it is kept."""
        return log.to(dtype).double()

    def empty(self, log: Tensor, kept: Tensor) -> Tensor:
        """Log-normalizers, with those of parts in which nothing is kept."""
        return torch.where(kept > 0, log, -math.inf)

    def divide(self, inputs: Inputs) -> Parts:
        """The results of all parts."""
        cuts = self.cuts(inputs.memory.shape[-2])
        states, logs = zip(*(self.part(inputs, rows) for rows in cuts), strict=True)
        kept = torch.stack([inputs.kept[..., rows].sum(-1, keepdim=True) for rows in cuts])
        return Parts(torch.stack(states), self.empty(torch.stack(logs), kept), kept)

    def peak(self, parts: Parts) -> Tensor:
        """What is subtracted from the log-normalizers, ``[..., L, 1]``."""
        return self.reference(parts.log.amax(0))

    def shares(self, parts: Parts) -> Tensor:
        """With which weight each part enters, ``[S, ..., L, 1]``."""
        return (parts.log - self.peak(parts)).exp()

    def recombine(self, parts: Parts) -> Tensor:
        """The log-normalizer of all parts together, ``[..., L]``."""
        return (self.peak(parts) + self.shares(parts).sum(0).log())[..., 0]

    def merge(self, parts: Parts) -> Tensor:
        """The update of all parts together, ``[..., L, dv]``."""
        shares = self.shares(parts)
        return self.quotient((shares * parts.state).sum(0), shares.sum(0))

    def merges(self, parts: Parts) -> Tensor:
        """In which rows all log-normalizers are within range, ``[..., L, 1]``; the others take one pass."""
        return ((parts.kept == 0) | parts.log.isfinite()).all(0)

    def update(self, inputs: Inputs) -> Tensor:
        whole = super().update(inputs)
        if inputs.memory.shape[-2] == 0:
            return whole
        parts = self.divide(inputs)
        merged = self.store(self.spoil(self.merge(parts), inputs.spoilt[..., None]), inputs.storage)
        return torch.where(self.merges(parts), merged, whole)

    def logarithm(self, sums: Sums, inputs: Inputs) -> Tensor:
        whole = super().logarithm(sums, inputs)
        if inputs.memory.shape[-2] == 0:
            return whole
        parts = self.divide(inputs)
        return torch.where(self.merges(parts)[..., 0], self.recombine(parts), whole)

    def implementation(self, name: str) -> Implementation[Any]:
        whole = super().implementation(name)
        models = tuple(replace(m, name=f"merging-{m.storage.name}", merged_from=2) for m in whole.accuracy)
        return replace(whole, accuracy=models)


@plant("forward", "merged_parts_within_bounds")
class PartsWithoutMaximum(Merging):
    """Parts are weighted by the exponentials of their log-normalizers themselves, in float32."""

    def shares(self, parts: Parts) -> Tensor:
        return parts.log.float().exp().double()


@plant("forward", "merged_parts_within_bounds", "update_within_bound")
class PartsAveraged(Merging):
    """The result is the mean of the results of the parts."""

    def shares(self, parts: Parts) -> Tensor:
        return (parts.kept > 0).double()


@plant("forward", "merged_parts_within_bounds", "blocks_merge_by_log_normalizers")
class PartsWeightedByCount(Merging):
    """Parts are weighted by how many memories they keep."""

    def shares(self, parts: Parts) -> Tensor:
        return parts.kept.double()


@plant("forward", "merged_parts_within_bounds", "update_within_bound")
class LastPartDropped(Merging):
    """A last, incomplete part is left out."""

    def cuts(self, n: int) -> list[slice]:
        return super().cuts(n if n < self.width else n - n % self.width)


@plant("forward", "merged_parts_within_bounds", "log_normalizer_within_bound")
class PartsToTheBaseTwo(Merging):
    """Parts are merged as if their log-normalizers were logarithms to the base 2."""

    def shares(self, parts: Parts) -> Tensor:
        return (parts.log - self.peak(parts)).exp2()


@plant("forward", "merged_parts_within_bounds", "energy_within_bound")
class LargestPartOnly(Merging):
    """The log-normalizer is the largest of those of the parts."""

    def recombine(self, parts: Parts) -> Tensor:
        return self.peak(parts)[..., 0]


@plant("mask", "merged_parts_within_bounds")
class EmptyPartTakesPart(Merging):
    """A part in which a query keeps nothing has log-normalizer 0 and so draws the result towards 0."""

    def empty(self, log: Tensor, kept: Tensor) -> Tensor:
        return torch.where((kept > 0) | (kept.sum(0) == 0), super().empty(log, kept), 0.0)


@plant("forward", "merged_parts_within_bounds", "log_normalizer_within_bound")
class PartLogNormalizersInHalf(Merging):
    """The log-normalizers of the parts are kept in bfloat16."""

    def part_log(self, log: Tensor, dtype: torch.dtype) -> Tensor:
        return log.to(torch.bfloat16).double()


@plant("forward", "merged_parts_within_bounds", "update_within_bound")
class PartsAddedUp(Merging):
    """The weighted results of the parts are divided by the largest weight instead of by their sum."""

    def merge(self, parts: Parts) -> Tensor:
        shares = self.shares(parts)
        return self.quotient((shares * parts.state).sum(0), shares.amax(0))
