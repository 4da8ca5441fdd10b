"""Faults of keep masks and empty rows."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from hopspec.properties.faults.kernel import Inputs, Kernel, Sums
from hopspec.properties.faults.registry import plant


@plant(
    "mask",
    "strides_of_masks_do_not_matter",
    "masked_update_is_that_of_the_kept",
    "masking_is_removing",
    "masked_association",
)
class MaskInverted(Kernel):
    """True removes a memory."""

    def mask(self, keep: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        return super().mask(None if keep is None else ~keep, shape)


@plant("mask", "masked_update_is_that_of_the_kept")
class MaskOfFirstQuery(Kernel):
    """The mask of the first query is used for all."""

    def mask(self, keep: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        whole = super().mask(keep, shape)
        return whole[..., :1, :].expand(shape) if whole.shape[-2] else whole


@plant("mask", "sizes_that_are_all_the_same")
class MaskPerQueryInSquare(Kernel):
    """A mask of each memory is taken for one of each query where there are as many."""

    def mask(self, keep: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        if keep is not None and keep.ndim == 1 and shape[-1] == shape[-2]:
            keep = keep[:, None]
        return super().mask(keep, shape)


@plant("mask", "masks_broadcast_over_leading_dimensions")
class MaskOfFirstSlice(Kernel):
    """The mask of the first slice is used for all leading indices."""

    def mask(self, keep: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        if keep is None or keep.ndim < 3:
            return super().mask(keep, shape)
        return super().mask(keep.flatten(0, -3)[0], shape)


@plant("mask", "masking_is_removing")
class MaskIgnoredInTail(Kernel):
    """The mask of a last, incomplete tile is ignored."""

    def hide(self, scores: Tensor, kept: Tensor) -> Tensor:
        some = kept.any(-1, keepdim=True) & (kept.shape[-1] < self.block)
        return super().hide(scores, kept | some)


@plant("mask", "empty_rows")
class EmptyRowNaN(Kernel):
    """An empty row is 0 / 0."""

    def quotient(self, weighted: Tensor, total: Tensor) -> Tensor:
        return weighted / total


@plant("mask", "empty_rows")
class FiniteSentinel(Kernel):
    """Masked scores are the least float32 instead of -inf, so that an empty row is the mean of the masked."""

    def hide(self, scores: Tensor, kept: Tensor) -> Tensor:
        return torch.where(kept, scores, torch.finfo(torch.float32).min)


@plant("mask", "empty_rows", "masked_update_at_common_levels")
class SmallSentinel(Kernel):
    """Masked scores are -10000 instead of -inf."""

    def hide(self, scores: Tensor, kept: Tensor) -> Tensor:
        return torch.where(kept, scores, -1e4)


@plant("mask", "masked_association")
class AdditivePenalty(Kernel):
    """Masking subtracts 30 from the score."""

    def hide(self, scores: Tensor, kept: Tensor) -> Tensor:
        return torch.where(kept, scores, torch.where(kept.any(-1, keepdim=True), scores - 30.0, -math.inf))


@plant("mask", "masked_energy")
class MaskedStillCounted(Kernel):
    """Masked memories are counted in the energy's number of memories."""

    def number(self, inputs: Inputs) -> Tensor:
        return torch.full(inputs.kept.shape[:-1], float(inputs.kept.shape[-1]), dtype=torch.float64)


@plant("mask", "masked_energy")
class MaskedStillLargest(Kernel):
    """Masked memories take part in the energy's largest norm."""

    def largest_square(self, inputs: Inputs) -> Tensor:
        return super().largest_square(replace(inputs, kept=torch.ones_like(inputs.kept)))


@plant("mask", "masked_memory_may_hold_anything")
class MaskedNaNLeaks(Kernel):
    """Masked memories are multiplied by a weight of 0, so that a NaN among them spreads."""

    def clean(self, patterns: Tensor, bad: Tensor) -> Tensor:
        return patterns


@plant("mask", "masked_log_normalizer")
class MaskedInLogNormalizer(Kernel):
    """The log-normalizer sums over masked memories too."""

    def log_normalizer(
        self, query: Tensor, memory: Tensor, *, beta: float | Tensor, keep: Tensor | None = None
    ) -> Tensor:
        whole = super().log_normalizer(query, memory, beta=beta)
        masked = super().log_normalizer(query, memory, beta=beta, keep=keep)
        return torch.where(masked.isfinite() & whole.isfinite(), whole, masked)


@plant("mask", "masked_association")
class MaskedInAssociation(Kernel):
    """The association shows masked memories too."""

    def weights(self, inputs: Inputs) -> Tensor:
        some = inputs.kept.any(-1, keepdim=True)
        return super().weights(replace(inputs, kept=inputs.kept | some))


@plant("mask", "empty_rows")
class EmptyLogNormalizerZero(Kernel):
    """The log-normalizer of an empty row is 0."""

    def logarithm(self, sums: Sums, inputs: Inputs) -> Tensor:
        return torch.where(sums.total[..., 0] == 0, 0.0, super().logarithm(sums, inputs))


@plant("mask", "empty_rows")
class EmptyEnergyZero(Kernel):
    """The energy of an empty row is 0."""

    empty_energy = 0.0


@plant("mask", "retrieval_error")
class CausalWhenSquare(Kernel):
    """With as many queries as memories the mask is taken to be causal."""

    def mask(self, keep: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        whole = super().mask(keep, shape)
        return whole.tril() if shape[-1] == shape[-2] > 1 else whole


@plant("mask", "masked_steps_are_applications", "masked_state_is_that_of_the_steps")
class MaskForgottenInSteps(Kernel):
    """The mask is forgotten where several steps are made."""

    def again(self, state: Tensor, memory: Tensor, beta: float | Tensor, keep: Tensor | None) -> Tensor:
        return super().again(state, memory, beta, None)
