"""Faults of prepared memories: something forgotten, or remembered too long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hopspec.properties.faults.kernel import Held, Inputs, Kernel, Sums
from hopspec.properties.faults.registry import plant


@plant("contract", "prepared_memories_give_the_same_bits")
class PreparedMaskForgotten(Kernel):
    """The mask of a prepared memory is forgotten where the call has none."""

    def opened(self, held: Held, keywords: dict[str, Any], *, reads_values: bool) -> dict[str, Any]:
        if keywords.get("keep") is None:
            held = held._replace(keep=None)
        return super().opened(held, keywords, reads_values=reads_values)


class AwareKernel(Kernel):
    """A right kernel that knows of which prepared memory a call is."""

    held: Held | None = None

    def accepting(self, function: Callable[..., Any], *, reads_values: bool = False) -> Callable[..., Any]:
        accepting = super().accepting(function, reads_values=reads_values)

        def call(query: Tensor, memory: Tensor | Held, **keywords: Any) -> Any:
            self.held = memory if isinstance(memory, Held) else None
            return accepting(query, memory, **keywords)

        return call


@plant("contract", "prepared_values_are_read_by_the_update_alone")
class PreparedValuesAsMemory(AwareKernel):
    """Energies of a prepared memory with values take the lengths of the values."""

    def largest_square(self, inputs: Inputs) -> Tensor:
        if self.held is None or self.held.values is None:
            return super().largest_square(inputs)
        squares = self.read(self.held.values).square().sum(-1)[..., None, :]
        return torch.where(inputs.kept, squares, 0.0).amax(-1)


@plant("contract", "earlier_calls_of_a_prepared_memory_do_not_matter")
class SumsOfFirstCall(AwareKernel):
    """The sums of the first call of a prepared memory serve all its calls with as many queries."""

    def hold(self, memory: Tensor, **options: Any) -> Held:
        self.first: dict[tuple[int, ...], Sums] = {}
        return super().hold(memory, **options)

    def sums(self, inputs: Inputs) -> Sums:
        found = super().sums(inputs)
        return found if self.held is None else self.first.setdefault(tuple(found.weighted.shape), found)


@plant("contract", "changed_memories_are_noticed")
class NormsOfOldMemory(AwareKernel):
    """A prepared memory refers to the array, and to the squared lengths it had."""

    def hold(self, memory: Tensor, **options: Any) -> Held:
        self.squares = self.read(memory).square().sum(-1)[..., None, :]
        return super().hold(memory, **options)._replace(memory=memory)

    def largest_square(self, inputs: Inputs) -> Tensor:
        if self.held is None or not self.squares.shape[-1]:
            return super().largest_square(inputs)
        return torch.where(inputs.kept, self.squares, 0.0).amax(-1)
