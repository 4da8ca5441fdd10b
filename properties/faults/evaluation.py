"""Faults of evaluation: what one call shares between update, log-normalizer and energy, and should not."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hopspec.properties.faults.kernel import Inputs, Kernel, output_dtype
from hopspec.properties.faults.registry import plant
from hopspec.types import Evaluated


@plant("energy", "evaluation_within_bounds")
class EnergyOfNextState(Kernel):
    """Evaluation reports the energy of the update in place of the energy of the query."""

    def evaluated(self, inputs: Inputs, own: Inputs, log: Tensor) -> Evaluated[Tensor]:
        moved = replace(own, query=self.update(replace(own, values=own.memory)).double().nan_to_num())
        energy = self.ground(moved, self.logarithm(self.sums(moved), moved))
        return super().evaluated(inputs, own, log)._replace(energy=energy)


@plant("energy", "evaluation_within_bounds")
class StaleNormalizer(Kernel):
    """The energy of an evaluation is that of its log-normalizer before the last block was added."""

    def evaluated(self, inputs: Inputs, own: Inputs, log: Tensor) -> Evaluated[Tensor]:
        last = (own.memory.shape[-2] - 1) // self.block * self.block
        seen = torch.arange(own.memory.shape[-2]) < max(last, 1)
        stale = replace(own, kept=own.kept & seen)
        energy = self.ground(own, self.logarithm(self.sums(stale), stale))
        return super().evaluated(inputs, own, log)._replace(energy=energy)


@plant("energy", "evaluation_within_bounds", dtype="bfloat16")
class NormalizerInStorage(Kernel):
    """The log-normalizer of an evaluation is rounded to the type of the query on its way to the energy."""

    def evaluated(self, inputs: Inputs, own: Inputs, log: Tensor) -> Evaluated[Tensor]:
        narrow = log.to(inputs.storage).double()
        return super().evaluated(inputs, own, log)._replace(energy=self.ground(own, narrow))


@plant("energy", "evaluation_within_bounds")
class EvaluatesLse(Kernel):
    """The log-normalizer of an evaluation is divided by beta."""

    def evaluated(self, inputs: Inputs, own: Inputs, log: Tensor) -> Evaluated[Tensor]:
        whole = super().evaluated(inputs, own, log)
        scaled = whole.log_normalizer.double() / own.beta[..., None]
        return whole._replace(log_normalizer=scaled.to(whole.log_normalizer.dtype))


@plant("energy", "evaluation_reads_out_of_values")
class EvaluatesMemoryNotValues(Kernel):
    """The state of an evaluation is the update of the memory, not read out of the values, where both fit."""

    def evaluated(self, inputs: Inputs, own: Inputs, log: Tensor) -> Evaluated[Tensor]:
        whole = super().evaluated(inputs, own, log)
        if inputs.values.shape != inputs.memory.shape:
            return whole
        return whole._replace(state=self.update(replace(inputs, values=inputs.memory)))


@plant("energy", "evaluation_reads_out_of_values")
class LengthOfValues(Kernel):
    """The longest value stands for the longest memory in the energy of an evaluation."""

    def evaluated(self, inputs: Inputs, own: Inputs, log: Tensor) -> Evaluated[Tensor]:
        energy = self.ground(replace(own, memory=inputs.values), log)
        return super().evaluated(inputs, own, log)._replace(energy=energy)


@plant("energy", "masked_evaluation")
class EvaluatesLengthOfMasked(Kernel):
    """M in the energy of an evaluation is the length of the longest memory, masked or not."""

    def evaluated(self, inputs: Inputs, own: Inputs, log: Tensor) -> Evaluated[Tensor]:
        some = own.kept.any(-1, keepdim=True)
        shift = self.largest_square(replace(own, kept=some.expand(own.kept.shape))) - self.largest_square(own)
        whole = super().evaluated(inputs, own, log)
        energy = (whole.energy.double() + 0.5 * shift).to(whole.energy.dtype)
        return whole._replace(energy=energy)


@plant("mask", "masked_evaluation")
class EmptyRowsEvaluateToZero(Kernel):
    """An evaluation gives an empty row the log-normalizer 0."""

    def evaluated(self, inputs: Inputs, own: Inputs, log: Tensor) -> Evaluated[Tensor]:
        whole = super().evaluated(inputs, own, log)
        empty = ~own.kept.any(-1)
        return whole._replace(log_normalizer=whole.log_normalizer.masked_fill(empty, 0.0))


@plant("non-finite", "bad_rows_spoil_an_evaluation")
class EvaluationHidesNaN(Kernel):
    """The energy of a row with a NaN is +inf in an evaluation."""

    def evaluated(self, inputs: Inputs, own: Inputs, log: Tensor) -> Evaluated[Tensor]:
        whole = super().evaluated(inputs, own, log)
        return whole._replace(energy=whole.energy.nan_to_num(nan=math.inf, posinf=math.inf))


@plant("non-finite", "bad_value_spoils_the_read_out_alone")
class BadValueSpoilsEnergy(Kernel):
    """A NaN in a value makes the log-normalizer and the energy of an evaluation NaN too."""

    def evaluated(self, inputs: Inputs, own: Inputs, log: Tensor) -> Evaluated[Tensor]:
        return super().evaluated(inputs, replace(own, spoilt=inputs.spoilt), log)


@plant("non-finite", "extreme_evaluation")
class EvaluatesInSingle(Kernel):
    """The terms of the energy of an evaluation are float32: two that are too large for it cancel to NaN."""

    def evaluated(self, inputs: Inputs, own: Inputs, log: Tensor) -> Evaluated[Tensor]:
        whole = super().evaluated(inputs, own, log)
        beta = own.beta[..., None]
        squares = 0.5 * (own.query.square().sum(-1) + self.largest_square(own)).float()
        energy = squares - ((log - self.number(own).log()) / beta).float()
        energy = torch.where(whole.energy.isfinite(), whole.energy, energy.to(output_dtype(own.storage)))
        return whole._replace(energy=energy)


@plant("energy", "evaluations_broadcast")
class EvaluatesFirstBeta(Kernel):
    """The energies of an evaluation are all divided by the beta of the first slice."""

    def evaluated(self, inputs: Inputs, own: Inputs, log: Tensor) -> Evaluated[Tensor]:
        first: Any = own.beta.flatten()[:1] if own.beta.ndim else own.beta
        energy = self.ground(replace(own, beta=first.expand(own.beta.shape)), log)
        return super().evaluated(inputs, own, log)._replace(energy=energy)
