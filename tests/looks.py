"""Counts looks at results: each makes a device wait for the host."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Looks"]

LOOKS = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.equal.default,
    torch.ops.aten.masked_select.default,
}


class Looks(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations whose result, or its shape, the host has to wait for, since the last update."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.before: list[int] = []
        self.now = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.now += func in LOOKS
        return func(*args, **(kwargs or {}))

    def update(self) -> None:
        """An update begins."""
        self.before.append(self.now)
        self.now = 0
