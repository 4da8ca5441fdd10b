"""Faults of batch invariance: how a query is computed depends on the others of the call."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from hopspec.properties.faults.kernel import Kernel
from hopspec.properties.faults.registry import plant
from hopspec.types import Implementation

__all__ = ["BatchInvariant"]


class BatchInvariant(Kernel):
    """The right kernel with sums whose order does not depend on the number of queries (clause MHN-DOM-9)."""

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return (query.unsqueeze(-2) * keys.unsqueeze(-3)).sum(-1)

    def grow_weighted(self, weighted: Tensor, factor: Tensor, weights: Tensor, values: Tensor) -> Tensor:
        return weighted * factor + (weights.unsqueeze(-1) * values.unsqueeze(-3)).sum(-2)

    def implementation(self, name: str) -> Implementation[Tensor]:
        whole = super().implementation(name)
        return replace(whole, capabilities=replace(whole.capabilities, batch_invariant=True))


@plant(
    "contract",
    "batch_mates_leave_the_bits",
    "batch_mates_leave_the_bits_of_masked_updates",
    "batch_mates_leave_the_bits_of_settling",
)
class ShortcutForOneQuery(BatchInvariant):
    """A query alone takes a route of its own, on which scores are one part in a million larger."""

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        scores = super().scores(query, keys)
        return scores * (1 + 2.0**-20) if query.shape[-2] == 1 else scores


@plant("contract", "batch_mates_leave_the_bits")
class SplitSumsForManyQueries(BatchInvariant):
    """From 64 queries on scores are summed in two halves, in float32."""

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        if query.shape[-2] < 64:
            return super().scores(query, keys)
        half = query.shape[-1] // 2
        first = super().scores(query[..., :half], keys[..., :half])
        second = super().scores(query[..., half:], keys[..., half:])
        return (first.float() + second.float()).double()
