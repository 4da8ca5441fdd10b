"""Faults of the energy."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hopspec.properties.faults.kernel import Inputs, Kernel
from hopspec.properties.faults.registry import plant


@plant("energy", "energy_within_bound")
class LseNotOverBeta(Kernel):
    """The lse in the energy is not divided by beta."""

    def assemble(self, square: Tensor, largest: Tensor, number: Tensor, log: Tensor, beta: Tensor) -> Tensor:
        return super().assemble(square, largest, number, log * beta, beta)


@plant("energy", "energy_within_bound")
class CountNotOverBeta(Kernel):
    """log N is not divided by beta."""

    def assemble(self, square: Tensor, largest: Tensor, number: Tensor, log: Tensor, beta: Tensor) -> Tensor:
        return 0.5 * square + 0.5 * largest + number.log() - log / beta


@plant("energy", "three_point_identity", "gradient_is_state_minus_update")
class NoHalfBeforeSquare(Kernel):
    """The squared length of the state is not halved."""

    def assemble(self, square: Tensor, largest: Tensor, number: Tensor, log: Tensor, beta: Tensor) -> Tensor:
        return super().assemble(2 * square, largest, number, log, beta)


@plant("energy", "energy_within_bound")
class NoCount(Kernel):
    """log N / beta is left out."""

    def assemble(self, square: Tensor, largest: Tensor, number: Tensor, log: Tensor, beta: Tensor) -> Tensor:
        return super().assemble(square, largest, torch.ones_like(number), log, beta)


@plant("energy", "energy_in_range")
class NoLargestNorm(Kernel):
    """M**2 / 2 is left out."""

    def largest_square(self, inputs: Inputs) -> Tensor:
        return torch.zeros_like(super().largest_square(inputs))


@plant("energy", "energy_within_bound")
class MeanNormForLargest(Kernel):
    """The mean of the squared norms stands for their maximum."""

    def largest_square(self, inputs: Inputs) -> Tensor:
        squares = torch.where(inputs.kept, inputs.memory.square().sum(-1)[..., None, :], 0.0).sum(-1)
        return squares / inputs.kept.sum(-1).clamp(min=1)


@plant("energy", "reported_energy_decreases")
class LseWithWrongSign(Kernel):
    """The lse is added instead of subtracted."""

    def assemble(self, square: Tensor, largest: Tensor, number: Tensor, log: Tensor, beta: Tensor) -> Tensor:
        return super().assemble(square, largest, number, -log, beta)


@plant("energy", "energy_within_bound")
class LseInHalf(Kernel):
    """The lse in the energy is rounded to bfloat16."""

    def assemble(self, square: Tensor, largest: Tensor, number: Tensor, log: Tensor, beta: Tensor) -> Tensor:
        return super().assemble(square, largest, number, log.bfloat16().double(), beta)


@plant("energy", "masked_memory_may_hold_anything")
class SquareInHalf(Kernel):
    """The squared length of the state is rounded to float16, and overflows there."""

    def assemble(self, square: Tensor, largest: Tensor, number: Tensor, log: Tensor, beta: Tensor) -> Tensor:
        return super().assemble(square.half().double(), largest, number, log, beta)


@plant("energy", "too_large_energy_is_infinite")
class TermsInSingle(Kernel):
    """The terms of the energy are added in float32: two that are too large for it cancel to NaN."""

    def assemble(self, square: Tensor, largest: Tensor, number: Tensor, log: Tensor, beta: Tensor) -> Tensor:
        parts = (0.5 * square + 0.5 * largest).float(), (log / beta - number.log() / beta).float()
        return (parts[0] - parts[1]).double()


@plant("energy", "too_large_energy_is_infinite")
class OverflowIsLargest(Kernel):
    """An energy too large for its dtype is the largest finite number."""

    def floor(self, energy: Tensor) -> Tensor:
        return super().floor(energy).clamp(max=torch.finfo(torch.float32).max)


@plant("energy", "translating_memories")
class CappedByQuery(Kernel):
    """The energy is cut off at |xi|**2 / 2 + M**2 / 2, as if lse were never below its constant."""

    def assemble(self, square: Tensor, largest: Tensor, number: Tensor, log: Tensor, beta: Tensor) -> Tensor:
        whole = super().assemble(square, largest, number, log, beta)
        return torch.minimum(whole, 0.5 * square + 0.5 * largest)


@plant("energy", "masked_energy")
class EnergyOfUnitState(Kernel):
    """The state is scaled to unit length before its energy is taken."""

    def energy(
        self, query: Tensor, memory: Tensor, *, beta: float | Tensor, keep: Tensor | None = None
    ) -> Tensor:
        unit = (torch.nn.functional.normalize(query.double(), dim=-1)).to(query.dtype)
        return super().energy(unit if query.ndim > 1 else query, memory, beta=beta, keep=keep)


@plant("energy", "energy_within_bound")
class LogarithmToTheBaseTwo(Kernel):
    """log N is a logarithm to the base 2."""

    def assemble(self, square: Tensor, largest: Tensor, number: Tensor, log: Tensor, beta: Tensor) -> Tensor:
        return super().assemble(square, largest, number, log, beta) + number.log() / beta * (
            1 / math.log(2) - 1
        )


@plant("energy", "other_quantities_broadcast_too")
class BetaOfFirstSlice(Kernel):
    """The energy divides by the beta of the first slice."""

    def assemble(self, square: Tensor, largest: Tensor, number: Tensor, log: Tensor, beta: Tensor) -> Tensor:
        first = beta.flatten()[:1] if beta.numel() else beta
        return super().assemble(square, largest, number, log, first if beta.ndim > 1 else beta)
