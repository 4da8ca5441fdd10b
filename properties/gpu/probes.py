"""What is probed on a device: exponentials and sums of PyTorch, of Triton, and of whole implementations."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hopspec.properties.gpu.summation import Array, Dot, Scale
from hopspec.properties.session import resolve

__all__ = ["exponentials", "has_triton", "products", "scores", "weighted"]

_BLOCK = 1024
# What is probed at once lies in as many numbers of a memory.
_WIDTH = 64


def has_triton() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None


def _kernels(device: str) -> ModuleType:
    """The probing kernels, interpreted where there is no GPU to compile them for."""
    settings = importlib.import_module("triton").knobs.runtime
    before = settings.interpret
    settings.interpret = before or torch.device(device).type == "cpu"
    try:
        return importlib.import_module("hopspec.properties.gpu.probe_kernels")
    finally:
        settings.interpret = before


def exponentials(device: str) -> Iterator[tuple[str, int, Callable[[Tensor], Tensor]]]:
    """Name, base (0 for e) and function of each exponential there is."""
    yield "torch.exp", 0, torch.exp
    yield "torch.exp2", 2, torch.exp2
    if has_triton():
        for name, base in (("exp", 0), ("exp2", 2)):
            yield f"tl.{name}", base, _by_triton(getattr(_kernels(device), f"{name}_kernel"))


def _by_triton(kernel: Any) -> Callable[[Tensor], Tensor]:
    def call(x: Tensor) -> Tensor:
        result = torch.empty_like(x)
        kernel[(math.ceil(x.numel() / _BLOCK),)](x, result, x.numel(), BLOCK=_BLOCK)
        return result

    return call


def products(device: str, dtype: str) -> Iterator[tuple[str, Dot]]:
    """Name and sums of each product of matrices there is; the sums are those of its first column."""
    kind = getattr(torch, dtype)

    def multiply(left: Array, right: Array) -> Array:
        columns = torch.from_numpy(right).to(device, kind)[:, None].expand(-1, 16).contiguous()
        return _numbers(torch.mm(torch.from_numpy(left).to(device, kind), columns)[:, 0])

    yield "torch.mm", multiply
    # The interpreter's own products are not those of the format.
    if has_triton() and (dtype != "bfloat16" or torch.device(device).type != "cpu"):
        kernel: Any = _kernels(device).dot_kernel

        def dot(left: Array, right: Array) -> Array:
            count = 16 * math.ceil(len(left) / 16)
            rows = np.zeros((count, left.shape[1]))
            rows[: len(left)] = left
            columns = torch.from_numpy(right).to(device, kind)[:, None].expand(-1, 16).contiguous()
            result = torch.empty((count, 16), dtype=torch.float32, device=device)
            kernel[(count // 16,)](
                torch.from_numpy(rows).to(device, kind), columns, result, TERMS=left.shape[1]
            )
            return _numbers(result[: len(left), 0])

        yield "tl.dot", dot


def scores(target: str, device: str, dtype: str) -> Dot | None:
    """Sums as an implementation forms them for its scores, in whole numbers; None if it cannot tell.

    The log-normalizer of a single memory is its logit.
    """
    normalizer = resolve(target).log_normalizer
    if normalizer is None:
        return None
    kind = getattr(torch, dtype)

    def sums(left: Array, right: Array) -> Array:
        query = torch.from_numpy(left).to(device, kind)
        memory = torch.from_numpy(right).to(device, kind)[None, :]
        return np.rint(_numbers(normalizer(query, memory, beta=1.0)))

    return sums


def weighted(target: str, device: str, dtype: str, scale: Scale) -> Dot:
    """Sums as an implementation forms them of weighted memories: with a query of zeros all weights are equal.

    The number of terms must be a power of two, so that dividing by it changes nothing.
    """
    retrieve = resolve(target).retrieve
    kind = getattr(torch, dtype)

    def sums(left: Array, right: Array) -> Array:
        terms = left.shape[1]
        found = []
        for start in range(0, len(left), _WIDTH):
            some = left[start : start + _WIDTH] * right
            memory = np.zeros((terms, _WIDTH))
            memory[:, : len(some)] = some.T
            query = torch.zeros((1, _WIDTH), dtype=kind, device=device)
            result = retrieve(query, torch.from_numpy(memory).to(device, kind), beta=1.0)
            # Units of half precision that no output can hold are told from the others by rounding.
            whole = np.rint(_numbers(result[0, : len(some)]) * terms / scale.unit)
            found.append(whole * scale.unit)
        return np.concatenate(found)

    return sums


def _numbers(tensor: Tensor) -> Array:
    numbers: Array = tensor.double().cpu().numpy()
    return numbers
