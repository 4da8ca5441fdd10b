"""Which kernels of PyTorch a call really runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["OtherKernelError", "running"]


class OtherKernelError(RuntimeError):
    """A call did not run the kernel that its adapter is named for."""


class _Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operators that reach the dispatcher."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ran: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.ran.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def running(operator: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The result of ``call(*args, **kwargs)``, which must run ``operator``.

    Args:
        operator: name of an ATen operator.
        call: what is called.
        *args: its arguments.
        **kwargs: its keyword arguments.

    Raises:
        OtherKernelError: if it ran only others; the message names them.

    >>> import torch
    >>> running("mm", torch.matmul, torch.ones(1, 2), torch.ones(2, 1))
    tensor([[2.]])
    """
    with _Recording() as recording:
        result = call(*args, **kwargs)
    if operator not in recording.ran:
        there = ", ".join(dict.fromkeys(recording.ran)) or "nothing"
        raise OtherKernelError(f"expected the kernel {operator}, which did not run; what ran: {there}")
    return result
