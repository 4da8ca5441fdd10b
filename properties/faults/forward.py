"""Faults of the forward pass: scores, exponentials, tiles, rescaling."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from hopspec.properties.faults.kernel import Inputs, Kernel, Sums
from hopspec.properties.faults.registry import plant


@plant("forward", "extreme_update_is_the_best_memory")
class NoMaxSubtraction(Kernel):
    """Exponentials of the logits themselves, which overflow for large ones."""

    def reference(self, top: Tensor) -> Tensor:
        return torch.zeros_like(top)


@plant("forward", "any_finite_beta")
class BetaAfterMax(Kernel):
    """The maximum is taken before beta multiplies the scores, so it is the minimum where beta is negative."""

    def tile_top(self, scores: Tensor, sign: Tensor) -> Tensor:
        least = torch.where(scores.isinf(), math.inf, scores).amin(-1, keepdim=True)
        return torch.where((sign < 0) & least.isfinite(), least, super().tile_top(scores, sign))


@plant("forward", "extreme_update_is_the_best_memory")
class MaxPerTile(Kernel):
    """One maximum for all rows of a tile: the exponentials of rows far below it vanish."""

    def tile_top(self, scores: Tensor, sign: Tensor) -> Tensor:
        top = super().tile_top(scores, sign)
        return top.amax(-2, keepdim=True).expand(top.shape) if top.numel() else top


@plant("forward", "update_at_common_levels")
class ScoresClampedBelow(Kernel):
    """Scores below -10000 are raised to it, as if nothing that low could be the largest."""

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return super().scores(query, keys).clamp(min=-1e4)


@plant("forward", "update_at_common_levels")
class ScoresClampedToHalf(Kernel):
    """Scores are clamped to the range of float16."""

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return super().scores(query, keys).clamp(-65504.0, 65504.0)


@plant("forward", "update_at_levels_in_tiles")
class MaxOfFirstQuery(Kernel):
    """Queries beyond the 64th take the maximum of the first one."""

    def tile_top(self, scores: Tensor, sign: Tensor) -> Tensor:
        top = super().tile_top(scores, sign)
        if top.shape[-2] <= 64:
            return top
        return torch.cat([top[..., :64, :], top[..., :1, :].expand_as(top[..., 64:, :])], -2)


@plant("forward", "blocks_merge_by_log_normalizers")
class TailTileDropped(Kernel):
    """The last, incomplete tile is left out."""

    def tiles(self, n: int) -> list[slice]:
        return super().tiles(n if n < self.block else n - n % self.block)


@plant("forward", "log_normalizer_within_bound")
class TailUnmasked(Kernel):
    """The last tile is filled up with keys of score 0 that take part."""

    def sums(self, inputs: Inputs) -> Sums:
        n = inputs.memory.shape[-2]
        more = -n % self.block
        if n < self.block or not more:
            return super().sums(inputs)
        padded = [torch.nn.functional.pad(a, (0, 0, 0, more)) for a in (inputs.memory, inputs.values)]
        kept = torch.nn.functional.pad(inputs.kept, (0, more), value=True)
        return super().sums(replace(inputs, memory=padded[0], values=padded[1], kept=kept))


@plant("forward", "jacobian_governs_the_ball")
class LastKeyDropped(Kernel):
    """Off by one: the last key is left out."""

    def tiles(self, n: int) -> list[slice]:
        return super().tiles(max(n - 1, min(n, 1)))


@plant("forward", "strides_do_not_matter")
class OverlappingTiles(Kernel):
    """Every tile but the first takes the last key of the one before once more."""

    def tiles(self, n: int) -> list[slice]:
        return [slice(max(t.start - 1, 0), t.stop) for t in super().tiles(n)]


@plant("forward", "update_within_bound", "strides_do_not_matter", "update_decreases_energy")
class ValuesOutOfStep(Kernel):
    """From the second tile on the values lag one behind the keys."""

    def value_tile(self, tile: slice, n: int) -> slice:
        return tile if tile.start == 0 else slice(tile.start - 1, tile.stop - 1)


@plant("forward", "blocks_merge_by_log_normalizers")
class TailValuesFromFirstTile(Kernel):
    """The values of a last, incomplete tile are read from the first tile."""

    def value_tile(self, tile: slice, n: int) -> slice:
        width = tile.stop - tile.start
        return tile if tile.start == 0 or width == self.block else slice(self.block - width, self.block)


@plant("forward", "well_separated_memory_attracts", "log_normalizer_within_bound")
class BetaTwice(Kernel):
    """Scores are multiplied by beta twice."""

    def temperature(self, beta: Tensor, width: int) -> Tensor:
        return beta * beta.abs()


@plant("forward", "jacobian_governs_the_ball")
class BetaForPaddedWidth(Kernel):
    """Beta is rescaled for a width rounded up to a multiple of 8."""

    def temperature(self, beta: Tensor, width: int) -> Tensor:
        return beta * math.sqrt(width / (width + -width % 8))


@plant("forward", "update_within_bound")
class BetaOnePerCentOff(Kernel):
    """Beta is one per cent too large."""

    def temperature(self, beta: Tensor, width: int) -> Tensor:
        return beta * 1.01


@plant("forward", "any_finite_beta")
class NegativeBetaFolded(Kernel):
    """A negative beta is taken for its absolute value."""

    def sign(self, beta: Tensor) -> Tensor:
        return super().sign(beta).abs()


@plant("forward", "update_within_bound")
class HugeBetaClamped(Kernel):
    """Beta is clamped at 10000."""

    def temperature(self, beta: Tensor, width: int) -> Tensor:
        return beta.clamp(max=1e4)


@plant("forward", "scaling")
class TinyBetaZeroed(Kernel):
    """A beta below 0.01 is taken for 0."""

    def temperature(self, beta: Tensor, width: int) -> Tensor:
        return torch.where(beta.abs() < 0.01, 0.0, beta)


@plant("forward", "beta_zero_is_the_mean")
class ZeroBetaIsDefault(Kernel):
    """A beta of 0 is taken for "not given" and replaced by one over the square root of the width."""

    def temperature(self, beta: Tensor, width: int) -> Tensor:
        return torch.where(beta == 0, 1 / math.sqrt(width), beta)


@plant("forward", "permuting_memories_changes_nothing")
class AccumulatorNotRescaled(Kernel):
    """The weighted sum of earlier tiles is not rescaled when the maximum grows."""

    def grow_weighted(self, weighted: Tensor, factor: Tensor, weights: Tensor, values: Tensor) -> Tensor:
        return weighted + weights @ values


@plant("forward", "permuting_memories_changes_nothing")
class NormaliserNotRescaled(Kernel):
    """The sum of exponentials of earlier tiles is not rescaled when the maximum grows."""

    def grow_total(self, total: Tensor, factor: Tensor, weights: Tensor) -> Tensor:
        return total + weights.sum(-1, keepdim=True)


@plant("forward", "permuting_memories_changes_nothing")
class RescaledTheWrongWay(Kernel):
    """Earlier tiles are rescaled by the inverse factor."""

    def factor(self, old: Tensor, new: Tensor, sharpness: Tensor) -> Tensor:
        return torch.where(old.isinf(), 0.0, self.exp(sharpness * (new - old)))


@plant("forward", "association_within_bound")
class SmallRescalingSkipped(Kernel):
    """Earlier tiles are not rescaled where the factor is within 2 per cent of 1."""

    def factor(self, old: Tensor, new: Tensor, sharpness: Tensor) -> Tensor:
        factor = super().factor(old, new, sharpness)
        return torch.where(factor > 0.98, 1.0, factor)


@plant("forward", "large_beta_is_the_best_memory")
class ExpToTheBaseTwo(Kernel):
    """Exponentials to the base 2, the factor log2(e) forgotten."""

    def exp(self, logits: Tensor) -> Tensor:
        return logits.exp2().float().double()


@plant("forward", "saturated_retrieval_is_bitwise")
class ExpClipped(Kernel):
    """Arguments of the exponential are clipped at -10."""

    def tile_weights(self, logits: Tensor) -> Tensor:
        return self.exp(torch.where(logits.isinf(), logits, logits.clamp(min=-10.0)))


@plant("forward", "blocks_merge_by_log_normalizers")
class ExpOffByOneInAThousand(Kernel):
    """Exponentials below exp(-1) are too large by one in a thousand."""

    def tile_weights(self, logits: Tensor) -> Tensor:
        return torch.where(logits < -1, 1.001, 1.0) * self.exp(logits)


@plant("forward", "leading_dimensions_broadcast")
class ExpByCubic(Kernel):
    """Exponentials by a cubic in the fractional part, good to one in ten thousand."""

    def exp(self, logits: Tensor) -> Tensor:
        t = torch.where(logits.isinf(), 0.0, logits * math.log2(math.e))
        whole = t.floor()
        f = t - whole
        cubic = 1 + f * (0.695556 + f * (0.226173 + f * 0.078271))
        return torch.where(logits.isinf(), 0.0, cubic * whole.exp2()).float().double()


@plant("forward", "saturated_retrieval_is_bitwise")
class ExpAtZeroBelowOne(Kernel):
    """The exponential of 0 is an ulp below 1, in the sum only."""

    def grow_total(self, total: Tensor, factor: Tensor, weights: Tensor) -> Tensor:
        return total * factor + torch.where(weights == 1, 1 - 2.0**-22, weights).sum(-1, keepdim=True)


@plant("forward", "log_normalizer_within_bound")
class FarTilesSkipped(Kernel):
    """A tile whose largest logit is 6 below the maximum so far is skipped."""

    def tile_weights(self, logits: Tensor) -> Tensor:
        weights = super().tile_weights(logits)
        return torch.where(weights.amax(-1, keepdim=True) < math.exp(-6), 0.0, weights)


@plant("forward", "update_within_bound")
class FarWeightsDropped(Kernel):
    """Weights below a thousandth of the largest are dropped."""

    def tile_weights(self, logits: Tensor) -> Tensor:
        weights = super().tile_weights(logits)
        return torch.where(weights < 1e-3, 0.0, weights)


@plant("forward", "one_memory_is_returned")
class EpsilonInTheDenominator(Kernel):
    """A millionth is added to the sum of exponentials against a division by zero."""

    def quotient(self, weighted: Tensor, total: Tensor) -> Tensor:
        return weighted / (total + 1e-6)


@plant("forward", "any_finite_beta", "certified_fixed_point_is_one")
class CoarseReciprocal(Kernel):
    """The reciprocal of the sum has 12 bits."""

    def quotient(self, weighted: Tensor, total: Tensor) -> Tensor:
        mantissa, exponent = torch.frexp(1 / total)
        coarse = torch.ldexp(torch.round(mantissa * 4096) / 4096, exponent)
        return torch.where(total == 0, 0.0, weighted * coarse)


@plant("forward", "masked_memory_may_hold_anything")
class LastCoordinatesIgnored(Kernel):
    """Scores ignore the coordinates beyond the last multiple of 8."""

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        width = query.shape[-1]
        whole = width if width < 8 else width - width % 8
        return super().scores(query[..., :whole], keys[..., :whole])


@plant("forward", "duplicating_memories")
class DuplicatesMerged(Kernel):
    """Equal memories count once."""

    def sums(self, inputs: Inputs) -> Sums:
        equal = (inputs.memory[..., :, None, :] == inputs.memory[..., None, :, :]).all(-1)
        first = ~equal.tril(-1).any(-1)
        return super().sums(replace(inputs, kept=inputs.kept & first[..., None, :]))


@plant("forward", "one_memory_is_returned")
class OneMemoryShortcut(Kernel):
    """With one memory the query is returned."""

    def update(self, inputs: Inputs) -> Tensor:
        shortcut = inputs.memory.shape[-2] == 1 and inputs.query.shape[-1] == inputs.values.shape[-1]
        return self.store(inputs.query, inputs.storage) if shortcut else super().update(inputs)


@plant("forward", "one_extreme_memory_is_returned")
class SubnormalsFlushed(Kernel):
    """Subnormal results are flushed to zero."""

    def store(self, state: Tensor, dtype: torch.dtype) -> Tensor:
        stored = super().store(state, dtype)
        return torch.where(stored.abs() < torch.finfo(dtype).tiny, torch.zeros_like(stored), stored)


@plant("forward", "duplicating_memories")
class LogNormalizerToTheBaseTwo(Kernel):
    """The log-normalizer is a logarithm to the base 2."""

    def log_normalizer(
        self, query: Tensor, memory: Tensor, *, beta: float | Tensor, keep: Tensor | None = None
    ) -> Tensor:
        return super().log_normalizer(query, memory, beta=beta, keep=keep) / math.log(2)


@plant("forward", "log_normalizer_within_bound", "blocks_merge_by_log_normalizers")
class LogNormalizerOverBeta(Kernel):
    """The log-normalizer is divided by beta."""

    def log_normalizer(
        self, query: Tensor, memory: Tensor, *, beta: float | Tensor, keep: Tensor | None = None
    ) -> Tensor:
        wide = torch.as_tensor(beta)[..., None]
        whole = super().log_normalizer(query, memory, beta=beta, keep=keep)
        return torch.where(wide == 0, whole, whole / wide).to(whole.dtype)


@plant("forward", "masked_log_normalizer")
class LogNormalizerWithoutMax(Kernel):
    """The maximum that was subtracted is not added back to the log-normalizer."""

    def logarithm(self, sums: Sums, inputs: Inputs) -> Tensor:
        return sums.total.log()[..., 0]


@plant("forward", "association_within_bound")
class AssociationSumRoundedUp(Kernel):
    """The sum of the exponentials is rounded up to a whole number in the association."""

    def normalise(self, weights: Tensor, total: Tensor) -> Tensor:
        return super().normalise(weights, torch.where(total > 0, total.ceil(), total))


@plant("forward", "association_within_bound")
class AssociationIgnoresSmallWeights(Kernel):
    """Weights below 2**-12 are reported as 0."""

    def normalise(self, weights: Tensor, total: Tensor) -> Tensor:
        whole = super().normalise(weights, total)
        return torch.where(whole < 2.0**-12, 0.0, whole)


@plant("forward", "values_are_read_out_last")
class ValuesIgnoredAtEqualWidth(Kernel):
    """Where values are as wide as the memory, the memory is read out instead."""

    def update(self, inputs: Inputs) -> Tensor:
        if inputs.values.shape[-1] == inputs.memory.shape[-1]:
            inputs = replace(inputs, values=inputs.memory)
        return super().update(inputs)


@plant("forward", "read_out_within_bound")
class WideValuesScaled(Kernel):
    """Values wider than the memory come out too large by 2**-9."""

    def sums(self, inputs: Inputs) -> Sums:
        wide = inputs.values.shape[-1] > inputs.memory.shape[-1]
        return super().sums(replace(inputs, values=inputs.values * (1 + 2.0**-9)) if wide else inputs)


@plant("forward", "one_memory_is_returned")
class DampedUpdate(Kernel):
    """The update goes 99 per cent of the way only."""

    def update(self, inputs: Inputs) -> Tensor:
        sums = self.sums(inputs)
        state = self.quotient(sums.weighted, sums.total)
        if state.shape == inputs.query.shape:
            state = 0.99 * state + 0.01 * torch.where(inputs.kept.any(-1, keepdim=True), inputs.query, 0.0)
        return self.store(self.spoil(state, inputs.spoilt[..., None]), inputs.storage)


@plant("forward", "update_in_convex_hull", "certified_ball_keeps_the_iteration")
class OverRelaxedUpdate(Kernel):
    """The update goes 2 per cent too far."""

    def update(self, inputs: Inputs) -> Tensor:
        sums = self.sums(inputs)
        state = self.quotient(sums.weighted, sums.total)
        if state.shape == inputs.query.shape:
            state = 1.02 * state - 0.02 * torch.where(inputs.kept.any(-1, keepdim=True), inputs.query, 0.0)
        return self.store(self.spoil(state, inputs.spoilt[..., None]), inputs.storage)


@plant("forward", "update_is_lipschitz", "blocks_merge_by_log_normalizers")
class TwoNearestOnly(Kernel):
    """Only the two largest logits of a tile take part."""

    def tile_weights(self, logits: Tensor) -> Tensor:
        weights = super().tile_weights(logits)
        if weights.shape[-1] < 3:
            return weights
        return torch.where(weights < weights.topk(2, dim=-1).values[..., -1:], 0.0, weights)


@plant("forward", "update_within_bound_where_models_differ")
class NearTiesBroken(Kernel):
    """Memories nearly level with the best one of their tile are dropped."""

    def tile_weights(self, logits: Tensor) -> Tensor:
        weights = super().tile_weights(logits)
        best = weights.amax(-1, keepdim=True)
        return torch.where((weights < best) & (weights > 0.999 * best), 0.0, weights)
