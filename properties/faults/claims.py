"""Faults of claims: arithmetic one step looser than the accuracy model that is claimed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from hopspec.properties.faults.registry import plant
from hopspec.properties.models import MODELS
from hopspec.properties.simulated import Simulation
from hopspec.types import AccuracyModel, Capabilities, Implementation, Summation

__all__ = ["Claiming", "ClaimingPairs", "ClaimingTree"]


class Claiming:
    """An update in exactly the arithmetic it claims."""

    claims: ClassVar[tuple[str, ...]]

    def arithmetic(self, model: AccuracyModel) -> AccuracyModel:
        """What is computed where ``model`` is claimed."""
        return model

    def retrieve(self, query: Tensor, memory: Tensor, *, beta: float, values: Tensor | None = None) -> Tensor:
        """One update."""
        named = {MODELS[c].storage.name: MODELS[c] for c in self.claims}
        own = named.get(str(query.dtype).removeprefix("torch."), MODELS[self.claims[0]])
        of = Simulation(self.arithmetic(own))
        read = None if values is None else values.double().numpy()
        state = of.update(query.double().numpy(), memory.double().numpy(), beta=beta, values=read)
        return torch.from_numpy(state).to(query.dtype)

    def implementation(self, name: str) -> Implementation[Any]:
        """Its descriptor."""
        models = tuple(MODELS[c] for c in self.claims)
        claimed = Capabilities(dtypes=tuple(m.storage.name for m in models), values=True)
        return Implementation(name=name, retrieve=self.retrieve, capabilities=claimed, accuracy=models)


class ClaimingTree(Claiming):
    """All sums are balanced binary trees."""

    claims = ("tree-float32", "tree-float64")


class ClaimingPairs(Claiming):
    """The weights that are summed are those that multiply the memories."""

    claims = ("paired-bfloat16", "paired-float16")


@plant("precision", "swamped_sums_within_bound")
class SumsInTurn(ClaimingTree):
    """Weights and weighted memories are added one after the other, although a tree is claimed."""

    def arithmetic(self, model: AccuracyModel) -> AccuracyModel:
        return replace(model, weighted_sum=Summation(), weight_sum=Summation())


@plant("precision", "swamped_sums_within_bound")
class ScoresInTurn(ClaimingTree):
    """Products of a score are added one after the other, although a tree is claimed."""

    def arithmetic(self, model: AccuracyModel) -> AccuracyModel:
        return replace(model, score_sum=Summation())


@plant("precision", "update_within_bound_where_models_differ", dtype="bfloat16")
class DenominatorUnrounded(ClaimingPairs):
    """The denominator sums the weights before they are rounded, although after is claimed."""

    def arithmetic(self, model: AccuracyModel) -> AccuracyModel:
        return replace(model, rounded_denominator=False)
