"""Implementations that take part in a benchmark, and the problems they are given."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import hopspec
from hopspec.properties.bench.record import Quantity
from hopspec.properties.session import resolve
from hopspec.types import Implementation

__all__ = ["Kernel", "Shape"]


class Kernel:
    """An implementation that takes part.

    Args:
        name: built-in name or ``package.module:object``, see :func:`hopspec.properties.session.resolve`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.implementation: Implementation[Any] = resolve(name)
        # Only the front door's own functions are known to take a Memory.
        self.prepares = self.implementation.retrieve is hopspec.retrieve

    @property
    def invariant(self) -> bool:
        """Whether it can be asked for results that do not depend on how queries are batched."""
        try:
            return "batch_invariant" in inspect.signature(self.implementation.retrieve).parameters
        except ValueError:
            # Functions written in C may have no signature.
            return False

    def given(self, tensor: Tensor) -> Any:
        """The tensor as the implementation takes it."""
        convert = self.implementation.to_array
        if convert is None:
            return tensor
        return convert(tensor.double().numpy(), str(tensor.dtype).removeprefix("torch."))

    def memories(self, memory: Tensor) -> list[tuple[str, Any]]:
        """The memory in every way in which the implementation takes it, after the contender's name."""
        found = [(self.name, self.given(memory))]
        return [*found, (f"{self.name}, Memory", hopspec.Memory(memory))] if self.prepares else found

    def refusal(self, dtype: str, size: int) -> str:
        """Why it cannot be given a problem of ``L * N * d = size``; empty if it can."""
        claims = self.implementation.capabilities
        if dtype not in claims.dtypes:
            return f"{self.name} does not claim {dtype}"
        if "cpu" not in claims.devices:
            return f"{self.name} does not claim to run on the CPU"
        if claims.max_size and size > claims.max_size:
            return f"{self.name} is too slow for L * N * d = {size}"
        return ""


@dataclass(frozen=True)
class Shape:
    """A problem, and how an update of it should compare with PyTorch's attention.

    Args:
        name: what it is called among the cases.
        queries: L.
        memories: N.
        width: d.
        quantity: what the target is about.
        target: the least speed or the most time, in float32, as a multiple; None for no target.
    """

    name: str
    queries: int
    memories: int
    width: int
    quantity: Quantity = "speed"
    target: float | None = None

    @property
    def size(self) -> str:
        """The sizes in one word.

        >>> Shape("one", 1, 256, 64).size
        '1x256x64'
        """
        return f"{self.queries}x{self.memories}x{self.width}"

    @property
    def volume(self) -> int:
        """``L * N * d``."""
        return self.queries * self.memories * self.width

    def draw(self, dtype: str) -> tuple[Tensor, Tensor, float]:
        """Queries ``[L, d]`` and memory ``[N, d]``, both Gaussian, and ``beta = d**-0.5``."""
        source = torch.Generator().manual_seed(self.queries + self.memories)
        query = torch.randn(self.queries, self.width, generator=source)
        memory = torch.randn(self.memories, self.width, generator=source)
        kind = getattr(torch, dtype)
        return query.to(kind), memory.to(kind), float(self.width) ** -0.5
