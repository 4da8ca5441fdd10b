"""Implementations that misbehave, each in a way of its own."""

from __future__ import annotations

import ctypes
import time
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hopspec import Capabilities, Implementation


def right(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    return torch.softmax(beta * (query @ memory.mT), dim=-1) @ memory


def raises(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    raise RuntimeError("no kernel image is available")


def wrong_shape(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    return right(query, memory, beta=beta)[..., :-1]


def wrong_dtype(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    return right(query, memory, beta=beta).double().float()


def wrong_device(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    return right(query, memory, beta=beta).to("meta")


def not_a_tensor(query: Tensor, memory: Tensor, *, beta: float) -> list[float]:
    return [beta]


def mutates(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    result = right(query, memory, beta=beta)
    query.mul_(2)
    return result


def hangs(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    if memory.shape[-2] > 4:
        time.sleep(3600)
    return right(query, memory, beta=beta)


def crashes(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    if memory.shape[-2] > 4:
        ctypes.string_at(0)
    return right(query, memory, beta=beta)


def stochastic(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    result = right(query, memory, beta=beta)
    return result * (1 + torch.randint(0, 2, result.shape) * torch.finfo(result.dtype).eps)


def hot(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    return right(query, memory, beta=1.01 * beta)


def chatty(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    print("progress: 100%")
    return right(query, memory, beta=beta)


constant = 3.0


def hot_numpy(query: NDArray[np.float32], memory: NDArray[np.float32], *, beta: float) -> NDArray[np.float32]:
    t = np.float32(1.01 * beta) * (query @ memory.T)
    p = np.exp(t - t.max(axis=-1, keepdims=True))
    return np.asarray(p / p.sum(axis=-1, keepdims=True) @ memory)


HOT_NUMPY: Implementation[NDArray[np.float32]] = Implementation(
    "hot-numpy",
    hot_numpy,
    capabilities=Capabilities(dtypes=("float32",)),
    to_array=lambda array, dtype: np.array(array, dtype=dtype),
    from_array=np.asarray,
)
NAMESAKE = replace(HOT_NUMPY)
