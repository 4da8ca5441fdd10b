"""Faults with NaN, infinities and the ends of the range."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hopspec.properties.faults.kernel import Kernel
from hopspec.properties.faults.registry import plant


@plant("non-finite", "bad_query_spoils_its_row_only")
class NaNSwallowed(Kernel):
    """Rows with a NaN are computed as if it were 0."""

    def spoil(self, result: Tensor, spoilt: Tensor) -> Tensor:
        return result


@plant("non-finite", "bad_query_spoils_its_row_only")
class NaNSpoilsAll(Kernel):
    """A NaN in one query spoils all."""

    def spoilt(self, kept: Tensor, bad_query: Tensor, bad_memory: Tensor) -> Tensor:
        spoilt = super().spoilt(kept, bad_query, bad_memory)
        return spoilt | (bad_query.any(-1, keepdim=True) & kept.any(-1))


@plant("non-finite", "masked_memory_may_hold_anything")
class MaskedNaNSpoils(Kernel):
    """A NaN in a memory spoils rows that do not keep it."""

    def spoilt(self, kept: Tensor, bad_query: Tensor, bad_memory: Tensor) -> Tensor:
        return super().spoilt(kept.any(-1, keepdim=True).expand(kept.shape), bad_query, bad_memory)


@plant("non-finite", "bad_memory_spoils_log_normalizers", "bad_memory_spoils_rows_that_see_it")
class MemoryNaNSwallowed(Kernel):
    """A memory with a NaN is left out, as if it were masked."""

    def spoilt(self, kept: Tensor, bad_query: Tensor, bad_memory: Tensor) -> Tensor:
        return super().spoilt(kept, bad_query, torch.zeros_like(bad_memory))


@plant("non-finite", "masked_memory_may_hold_anything")
class InfinityTakenForNumber(Kernel):
    """Only NaN is looked for; an infinity is computed with."""

    def bad(self, patterns: Tensor) -> Tensor:
        return patterns.isnan().any(-1)


@plant("non-finite", "finite_in_finite_out")
class SinglePrecisionScores(Kernel):
    """Scores are float32 and overflow where norms are 1e20."""

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return (query.float() @ keys.mT.float()).double()


@plant("non-finite", "extreme_update_is_the_best_memory")
class BetaBeforeMax(Kernel):
    """Scores times beta are float32 before the maximum is subtracted, and overflow for a huge beta."""

    def logits(self, scores: Tensor, base: Tensor, sharpness: Tensor) -> Tensor:
        difference = (sharpness * scores).float() - (sharpness * base).float()
        return torch.where(scores == -math.inf, -math.inf, difference.double())


@plant("non-finite", "extreme_update_is_the_best_memory")
class OverflowIsZero(Kernel):
    """Where a score is beyond float32 the weights are those of equal scores."""

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        scores = super().scores(query, keys)
        return torch.where(scores.abs() > torch.finfo(torch.float32).max, 0.0, scores)


@plant("non-finite", "mean_of_extreme_memories", dtype="float16")
class WeightedSumInStorage(Kernel):
    """The weighted sum is float16 before it is divided, and overflows for large memories."""

    block = 1

    def grow_weighted(self, weighted: Tensor, factor: Tensor, weights: Tensor, values: Tensor) -> Tensor:
        return super().grow_weighted(weighted, factor, weights, values).half().double()


@plant("non-finite", "bad_query_spoils_its_log_normalizer")
class NoNaNInLogNormalizer(Kernel):
    """The log-normalizer of a row with a NaN is -inf."""

    def log_normalizer(
        self, query: Tensor, memory: Tensor, *, beta: float | Tensor, keep: Tensor | None = None
    ) -> Tensor:
        return (
            super()
            .log_normalizer(query, memory, beta=beta, keep=keep)
            .nan_to_num(nan=-math.inf, neginf=-math.inf)
        )


@plant("non-finite", "bad_query_spoils_its_log_normalizer")
class NoNaNInEnergy(Kernel):
    """The energy of a row with a NaN is +inf."""

    def energy(
        self, query: Tensor, memory: Tensor, *, beta: float | Tensor, keep: Tensor | None = None
    ) -> Tensor:
        whole = super().energy(query, memory, beta=beta, keep=keep)
        return torch.where(whole.isnan(), math.inf, whole)
