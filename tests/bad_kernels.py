"""Implementations that misbehave, each in a way of its own."""

from __future__ import annotations

import ctypes
import time

import torch
from torch import Tensor


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
