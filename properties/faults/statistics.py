"""Systematic faults that half precision hides from every bound: each errs the same way for every query."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from hopspec.properties.faults.kernel import DTYPES, Inputs, Kernel, Sums
from hopspec.properties.faults.registry import plant
from hopspec.properties.models import MODELS
from hopspec.types import Implementation

__all__ = ["RIGHT_HALF_SCORES", "RIGHT_HALF_WEIGHTS", "RIGHT_HALF_WEIGHTS_16"]

OTHERS = ("log_normalizer", "energy", "association", "settle", "certify", "evaluate", "prepare")


def cut(x: Tensor, bits: int) -> Tensor:
    """Finite numbers cut off after ``bits`` significant bits."""
    mantissa, exponent = torch.frexp(x)
    shorter = torch.ldexp(torch.trunc(mantissa * 2.0**bits) * 2.0**-bits, exponent)
    return torch.where(x.isfinite(), shorter, x)


class HalfWeights(Kernel):
    """Right: weights are rounded to bfloat16 before they multiply the values, as flash kernels do.

    Like most attention kernels it gives the update alone; a subclass may provide more.
    """

    narrow: ClassVar[torch.dtype] = torch.bfloat16

    provides: ClassVar[tuple[str, ...]] = ()

    def rounded(self, weights: Tensor) -> Tensor:
        """Weights as they multiply the values."""
        return weights.to(self.narrow).double()

    def grow_weighted(self, weighted: Tensor, factor: Tensor, weights: Tensor, values: Tensor) -> Tensor:
        return super().grow_weighted(weighted, factor, self.rounded(weights), values)

    def implementation(self, name: str) -> Implementation[Tensor]:
        # A log-normalizer is not stored in half precision, and tells what the update hides.
        left_out: dict[str, Any] = {q: None for q in OTHERS if q not in self.provides}
        return replace(super().implementation(name), **left_out)


class HalfScores(HalfWeights):
    """Right: scores are rounded to bfloat16 too, as kernels do that write them to memory."""

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return super().scores(query, keys).to(self.narrow).double()

    def implementation(self, name: str) -> Implementation[Tensor]:
        whole = super().implementation(name)
        # Scores overflow where they are stored.
        claimed = replace(whole.capabilities, finite_range=False)
        models = tuple(MODELS[f"eager-{dtype}"] for dtype in DTYPES)
        return replace(whole, capabilities=claimed, accuracy=models)


class HalfWeights16(HalfWeights):
    """Right: the same in float16."""

    narrow = torch.float16


RIGHT_HALF_WEIGHTS = HalfWeights().implementation("right-half-weights")
RIGHT_HALF_WEIGHTS_16 = HalfWeights16().implementation("right-half-weights-16")
RIGHT_HALF_SCORES = HalfScores().implementation("right-half-scores")


@plant("systematic", "update_has_no_tendency", dtype="bfloat16")
class BetaThousandthTooLarge(HalfWeights):
    """Beta is 0.1 % too large."""

    def temperature(self, beta: Tensor, width: int) -> Tensor:
        return beta * 1.001


@plant("systematic", "update_has_no_tendency", dtype="bfloat16")
class BetaHundredthTooSmall(HalfScores):
    """Beta is 1 % too small, and scores are rounded to bfloat16."""

    def temperature(self, beta: Tensor, width: int) -> Tensor:
        return beta * 0.99


@plant("systematic", "update_has_no_tendency", dtype="float16")
class BetaThousandthTooSmall(HalfWeights16):
    """In float16, beta is 0.1 % too small."""

    def temperature(self, beta: Tensor, width: int) -> Tensor:
        return beta * 0.999


@plant("systematic", "update_has_no_tendency", dtype="float32")
class BetaMillionthsTooLarge(Kernel):
    """In float32, beta is 20 millionths too large."""

    def temperature(self, beta: Tensor, width: int) -> Tensor:
        return beta * (1 + 2e-5)


@plant("systematic", "update_has_no_tendency", dtype="bfloat16")
class BetaInStorage(HalfWeights):
    """Beta is rounded to bfloat16."""

    def temperature(self, beta: Tensor, width: int) -> Tensor:
        return beta.to(self.narrow).double()


@plant("systematic", "update_has_no_tendency", dtype="bfloat16")
class LogarithmOfEInHalf(HalfWeights):
    """Exponentials are taken in base 2 with log2 e rounded to bfloat16."""

    def exp(self, logits: Tensor) -> Tensor:
        return (logits * 1.4453125).exp2().float().double()


@plant("systematic", "update_has_no_tendency", dtype="bfloat16")
class ResultThousandthTooLong(HalfWeights):
    """The result is 0.1 % too long."""

    def quotient(self, weighted: Tensor, total: Tensor) -> Tensor:
        return super().quotient(weighted, total) * 1.001


@plant("systematic", "update_has_no_tendency", dtype="float16")
class ResultCutOff(HalfWeights16):
    """In float16, the result is cut off after 11 bits instead of rounded."""

    def store(self, state: Tensor, dtype: torch.dtype) -> Tensor:
        return super().store(cut(state, 11), dtype)


@plant("systematic", "update_has_no_tendency", dtype="bfloat16")
class ResultRoundedUp(HalfWeights):
    """The result is rounded toward infinity."""

    def store(self, state: Tensor, dtype: torch.dtype) -> Tensor:
        mantissa, exponent = torch.frexp(state)
        up = torch.ldexp(torch.ceil(mantissa * 2.0**8) * 2.0**-8, exponent)
        return super().store(torch.where(state.isfinite(), up, state), dtype)


@plant("systematic", "update_has_no_tendency", dtype="bfloat16")
class WeightsCutOff(HalfWeights):
    """Weights are cut off after 8 bits, instead of rounded, before they multiply the values."""

    def rounded(self, weights: Tensor) -> Tensor:
        return cut(weights, 8)


@plant("systematic", "association_has_no_tendency", dtype="bfloat16")
class AssociationCutOff(HalfWeights):
    """Weights are cut off after 8 bits, instead of rounded, where they are returned."""

    provides = ("association",)

    def normalise(self, weights: Tensor, total: Tensor) -> Tensor:
        return cut(super().normalise(weights, total), 8)


@plant("systematic", "update_has_no_tendency", dtype="bfloat16")
class SlightlyDamped(HalfWeights):
    """The update is drawn to the query by 0.1 % of the way."""

    def update(self, inputs: Inputs) -> Tensor:
        state = super().update(replace(inputs, storage=torch.float64))
        if inputs.values.shape[-1] == inputs.query.shape[-1]:
            state = 0.999 * state + 0.001 * inputs.query
        return self.store(state, inputs.storage)


@plant("systematic", "update_has_no_tendency", dtype="bfloat16")
class SmallNumberAddedToTotal(HalfWeights):
    """0.003 is added to the sum of exponentials, lest it be zero."""

    def quotient(self, weighted: Tensor, total: Tensor) -> Tensor:
        return super().quotient(weighted, total + 0.003 * (total > 0))


@plant("systematic", "update_has_no_tendency", dtype="bfloat16")
class LastQueriesTooLong(HalfWeights):
    """Results of the queries that do not fill a tile of 128 are 0.3 % too long."""

    def quotient(self, weighted: Tensor, total: Tensor) -> Tensor:
        state = super().quotient(weighted, total)
        rows = torch.arange(state.shape[-2]) >= state.shape[-2] // 128 * 128
        return torch.where(rows[:, None], 1.003 * state, state)


class Reweighed(HalfWeights):
    """Right, until a subclass adds to the weights."""

    def more(self, weights: Tensor) -> Tensor:
        """What is added to the weights ``[..., L, N]``, which are relative to the largest."""
        return torch.zeros_like(weights)

    def sums(self, inputs: Inputs) -> Sums:
        sums = super().sums(inputs)
        scores = self.scores(inputs.query, inputs.memory) * self.sign(inputs.beta)
        scores = self.hide(scores, inputs.kept)
        more = self.more(self.exp(self.logits(scores, sums.base, inputs.sharpness)))
        return Sums(sums.base, sums.total + more.sum(-1, keepdim=True), sums.weighted + more @ inputs.values)

    def normalise(self, weights: Tensor, total: Tensor) -> Tensor:
        return super().normalise(weights + self.more(weights), total)


@plant("systematic", "association_has_no_tendency", dtype="bfloat16")
class LastMemoryHundredthTooHeavy(Reweighed):
    """The weight of the last memory is 1 % too large."""

    provides = ("association",)

    def more(self, weights: Tensor) -> Tensor:
        return weights * (torch.arange(weights.shape[-1]) == weights.shape[-1] - 1) * 0.01


@plant("systematic", "update_has_no_tendency", dtype="bfloat16")
class LaterMemoriesHeavier(Reweighed):
    """Weights grow with the position of their memory, by 0.5 % from the first to the last."""

    def more(self, weights: Tensor) -> Tensor:
        return weights * torch.linspace(0.0, 0.005, weights.shape[-1], dtype=weights.dtype)


@plant("systematic", "update_has_no_tendency", dtype="bfloat16")
class NearestMemoryTooLight(Reweighed):
    """The exponential of zero is 0.3 % too small."""

    def more(self, weights: Tensor) -> Tensor:
        return weights * (weights == 1) * -0.003


@plant("systematic", "update_has_no_tendency", dtype="bfloat16")
class SmallWeightsDropped(Reweighed):
    """Weights below 0.4 % of the largest are taken for zero."""

    def more(self, weights: Tensor) -> Tensor:
        return weights * (weights < 2.0**-8) * -1.0


@plant("systematic", "update_has_no_tendency", dtype="bfloat16")
class MixedWithMean(Reweighed):
    """Weights are mixed with equal ones, 0.1 % of their sum."""

    def more(self, weights: Tensor) -> Tensor:
        return 0.001 * weights.mean(-1, keepdim=True) * (weights > 0)


@plant("systematic", "update_has_no_tendency", dtype="bfloat16")
class LogitsSoftlyCapped(HalfWeights):
    """Differences of logits are bent by a soft cap of 50."""

    def logits(self, scores: Tensor, base: Tensor, sharpness: Tensor) -> Tensor:
        logits = super().logits(scores, base, sharpness)
        return torch.where(logits.isfinite(), 50 * torch.tanh(logits / 50), logits)


@plant("systematic", "log_normalizer_has_no_tendency", "energy_has_no_tendency", dtype="bfloat16")
class LogNormalizerHundredthTooLarge(HalfScores):
    """The log-normalizer is 0.01 too large."""

    provides = ("log_normalizer", "energy")

    def logarithm(self, sums: Sums, inputs: Inputs) -> Tensor:
        return super().logarithm(sums, inputs) + 0.01


@plant("systematic", "energy_has_no_tendency", dtype="bfloat16")
class SquareThousandthTooLarge(HalfScores):
    """The squared norm of the query is 0.1 % too large in the energy."""

    provides = ("energy",)

    def assemble(self, square: Tensor, largest: Tensor, number: Tensor, log: Tensor, beta: Tensor) -> Tensor:
        return super().assemble(1.001 * square, largest, number, log, beta)
