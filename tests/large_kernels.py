"""Kernels that are right at small sizes, and wrong, each in a way of its own, at large ones."""

from __future__ import annotations

import time

import torch
from torch import Tensor

BLOCK = 128
# Stand for 4096 queries and 65,536 memories, so that the tests are quick.
QUERIES = 200
MEMORIES = 1024


def _attend(query: Tensor, memory: Tensor, values: Tensor, beta: float, keep: Tensor | None = None) -> Tensor:
    logits = beta * (query.double() @ memory.double().mT)
    if keep is not None:
        logits = logits.masked_fill(~keep, float("-inf"))
    return (torch.softmax(logits, dim=-1) @ values.double()).to(query.dtype)


def right(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    return _attend(query, memory, memory, beta)


def last_tile_dropped(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    whole = memory[: len(memory) - len(memory) % BLOCK] if len(memory) > BLOCK else memory
    return _attend(query, whole, whole, beta)


def summed_in_half(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    weights = torch.softmax(beta * (query @ memory.mT), dim=-1).half()
    total = torch.zeros(len(query), memory.shape[1], dtype=torch.float16)
    for start in range(0, len(memory), BLOCK):
        total += weights[:, start : start + BLOCK] @ memory[start : start + BLOCK].half()
    return total.to(query.dtype)


def late_rows_wrong(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    result = right(query, memory, beta=beta)
    result[QUERIES:] = result[QUERIES:] * (1 + 2.0**-8)
    return result


def late_memories_wrong(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    """Offsets of memories beyond MEMORIES overflow and start again."""
    at = torch.arange(len(memory)) % MEMORIES
    return _attend(query, memory[at], memory[at], beta)


def one_row_wrong(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    """A row at no edge, so that only a look at all of them finds it."""
    result = right(query, memory, beta=beta)
    if len(query) > 77:
        result[77] = result[78]
    return result


def never_written(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    result = right(query, memory, beta=beta)
    result[QUERIES + 21 : QUERIES + 22] = float("nan")
    return result


def mutates(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    result = right(query, memory, beta=beta)
    memory[-1] = 0
    return result


def widened(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    return right(query, memory, beta=beta).double()


def hangs(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    time.sleep(3600)
    return right(query, memory, beta=beta)


def raises(query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
    raise RuntimeError("out of memory")
