"""Faults of fixed-point certificates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hopspec.properties.faults.kernel import Inputs, Kernel, Linear
from hopspec.properties.faults.registry import plant
from hopspec.types import Certificate


@plant("fixed-point", "certificates_are_true")
class JacobianDoesNotGrow(Kernel):
    """The Jacobian at the state is taken for that on the whole ball."""

    def grown(self, turn: Tensor) -> Tensor:
        return torch.ones_like(turn)


@plant("fixed-point", "certificates_are_true")
class HalfTheResidual(Kernel):
    """The residual that enters a certificate is half as long as it is."""

    def length(self, residual: Tensor) -> Tensor:
        return super().length(residual) / 2


@plant("fixed-point", "certificates_are_true")
class ResidualNotInflated(Kernel):
    """The rounding error of the update is left out of the residual, and the step is computed in storage."""

    def linearize(self, inputs: Inputs) -> Linear:
        near = super().linearize(inputs)
        coarse = (inputs.query - near.residual).to(inputs.storage).double()
        return Linear(
            inputs.query - coarse,
            torch.zeros_like(near.error),
            near.slope,
            near.jacobian,
            near.largest,
            near.least,
        )


@plant("fixed-point", "certificates_are_true")
class RadiusOfTheResidual(Kernel):
    """The residual is taken for the distance from the fixed point."""

    def banach(self, near: Linear, radius: Tensor) -> Tensor:
        return (near.largest < 1) & (radius < float("inf"))

    def certify(self, state: Tensor, memory: Tensor, **options: Any) -> Certificate[Tensor]:
        found = super().certify(state, memory, **options)
        inputs = self.prepare(state, memory, options["beta"], options.get("keep"))
        residual = self.length(self.linearize(inputs).residual)
        return found._replace(radius=torch.where(found.certified, residual, found.radius))


@plant("fixed-point", "certificates_are_true")
class EverythingAttracts(Kernel):
    """Every certified fixed point is said to attract."""

    def certify(self, state: Tensor, memory: Tensor, **options: Any) -> Certificate[Tensor]:
        found = super().certify(state, memory, **options)
        return found._replace(
            attracts=found.certified,
            repels=torch.zeros_like(found.repels),
            rate=torch.where(found.certified & ~found.attracts, 0.999, found.rate),
        )


@plant("fixed-point", "certificates_are_true")
class HalfTheRate(Kernel):
    """The rate is half as large as it is."""

    def certify(self, state: Tensor, memory: Tensor, **options: Any) -> Certificate[Tensor]:
        found = super().certify(state, memory, **options)
        return found._replace(rate=found.rate / 2)


@plant("fixed-point", "certificates_are_true")
class NaNCertified(Kernel):
    """A state that is not finite is certified at the origin."""

    def certify(self, state: Tensor, memory: Tensor, **options: Any) -> Certificate[Tensor]:
        return super().certify(torch.nan_to_num(state), memory, **options)
