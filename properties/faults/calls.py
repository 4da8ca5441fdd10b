"""Faults that show in a second call, in a call on arrays met before, or by the kind of an argument."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hopspec.properties.faults.kernel import Inputs, Kernel
from hopspec.properties.faults.registry import plant


@plant("contract", "earlier_results_stay")
class OneBufferForResults(Kernel):
    """Results of one shape and type share one buffer."""

    def __init__(self) -> None:
        self.buffers: dict[tuple[object, ...], Tensor] = {}

    def store(self, state: Tensor, dtype: torch.dtype) -> Tensor:
        result = super().store(state, dtype)
        return self.buffers.setdefault((result.shape, dtype), torch.empty_like(result)).copy_(result)


@plant("contract", "results_are_the_callers")
class OnlyMemoryHandedOut(Kernel):
    """The only memory there is is handed out itself and not a copy of it."""

    def retrieve(self, query: Tensor, memory: Tensor, **options: Any) -> Tensor:
        result = super().retrieve(query, memory, **options)
        if memory.shape[-2] != 1 or result.shape[-1] != memory.shape[-1]:
            return result
        given = memory.expand_as(result)
        return given if torch.equal(given, result) else result


@plant("contract", "changed_arrays_are_read_again")
class ConvertedByAddress(Kernel):
    """Converted patterns are kept by the address and the shape they came from."""

    def __init__(self) -> None:
        self.known: dict[tuple[object, ...], Tensor] = {}

    def read(self, patterns: Tensor) -> Tensor:
        key = (patterns.data_ptr(), patterns.shape, patterns.dtype, patterns.stride())
        return self.known.setdefault(key, super().read(patterns).clone())


@plant("contract", "another_beta_is_used")
class ScoresByRoundedBeta(Kernel):
    """The inputs of the last call serve again where the arrays are the same and beta is nearly."""

    def __init__(self) -> None:
        self.last: tuple[object, Inputs] | None = None

    def prepare(self, query: Tensor, memory: Tensor, beta: Any, *rest: Any, **options: Any) -> Inputs:
        found = super().prepare(query, memory, beta, *rest, **options)
        rounded = [float(f"{b:.2g}") for b in found.beta.flatten().tolist()]
        key = (query.data_ptr(), memory.data_ptr(), query.shape, memory.shape, query.dtype, rounded)
        if rest[:1] != (None,) or rest[1:2] not in ((), (None,)):
            return found
        if self.last is None or self.last[0] != key:
            self.last = key, found
        return self.last[1]


@plant("contract", "one_array_for_both")
class SameArraySkipsItself(Kernel):
    """Where query and memory begin at the same address, a query does not see itself."""

    def prepare(self, query: Tensor, memory: Tensor, *rest: Any, **options: Any) -> Inputs:
        found = super().prepare(query, memory, *rest, **options)
        if query.data_ptr() != memory.data_ptr() or memory.shape[-2] < 2 or query.ndim > 2:
            return found
        own = torch.eye(query.shape[-2], memory.shape[-2], dtype=torch.bool)
        return Inputs(**{**vars(found), "kept": found.kept & ~own})


@plant("contract", "integer_beta_is_a_number")
class IntegerBetaIsAnExponent(Kernel):
    """A beta given as an integer is taken for an exponent of two."""

    def check_beta(self, beta: float | Tensor, *, positive: bool = False) -> Tensor:
        return super().check_beta(2.0**beta if isinstance(beta, int) else beta, positive=positive)
