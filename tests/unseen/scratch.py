"""A kernel that keeps its scratch buffers between calls, as a persistent kernel or a compiled module does."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .variants import Variants

__all__ = ["KERNELS"]

PAD = 32

FAULTS = {
    "logits_not_cleared": "logits beyond N in the padded buffer are those of an earlier, longer call",
    "memory_not_cleared": "padded rows of the memory stay, and count with a logit of zero once N shrinks",
    "accumulator_not_cleared": "the accumulator is cleared only when the shape changes",
    "first_call_of_a_shape_twice": "trying out tile sizes leaves the first result of a shape doubled",
    "result_is_the_scratch": "the result is a view of the scratch buffer, overwritten by the next call",
    "result_of_two_slots": "results go to two buffers in turn",
    "cache_by_identity": "the converted memory is kept by the identity of the array",
    "cache_by_address": "the converted memory is kept by the address and the shape of its data",
    "cache_by_shape": "the converted memory is kept by its shape",
    "cache_by_checksum": "the converted memory is kept by its shape and the sum of its entries",
    "cache_by_first_entry": "the converted memory is kept by its shape and its first entry",
    "scale_by_rounded_beta": "the scaled memory is kept by its address and beta rounded to two digits",
    "answer_by_identity": "an answer is kept by the identities of query and memory, whatever beta",
    "norms_by_address": "norms, from which the scores are made, are kept by the address of the memory",
    "plan_by_length": "how the keys are tiled is kept by L alone",
    "plan_by_width": "how many columns are read is kept by N alone",
    "counter_wraps": "after 256 calls the row counters start at one",
    "grows_only_once": "the buffer grows once, and longer memories are cut to it",
    "dtype_of_first_call": "the buffer keeps the type of the first call",
    "beta_of_first_call": "beta is captured when the kernel is compiled for a shape",
}


class Scratch:
    """The kernel; ``bug`` names its fault."""

    def __init__(self, bug: str) -> None:
        self.bug = bug
        self.logits = torch.zeros(0)
        self.padded: dict[tuple[object, ...], Tensor] = {}
        self.memories: dict[tuple[object, ...], Tensor] = {}
        self.shapes: dict[tuple[object, ...], object] = {}
        self.calls = 0

    def __call__(self, query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
        bug = self.bug
        self.calls += 1
        (rows, width), count = query.shape, len(memory)
        wide = torch.float64 if query.dtype == torch.float64 else torch.float32
        if bug == "dtype_of_first_call":
            wide = self._kept(("type",), wide)
        if count == 0:
            return torch.zeros_like(query)
        if bug == "beta_of_first_call":
            beta = self._kept(("beta", query.shape, memory.shape, query.dtype), beta)
        if bug == "answer_by_identity":
            key = ("answer", id(query), id(memory), query.shape, memory.shape, query.dtype)
            answer: Tensor = self._kept(
                key, torch.softmax(beta * (query.to(wide) @ memory.to(wide).T), -1) @ memory.to(wide)
            )
            return answer.to(query.dtype)
        q, k = query.to(wide), self._memory(memory, wide, beta)
        if bug == "plan_by_width":
            width = min(width, self._kept(("width", count), width))
        long = math.ceil(count / PAD) * PAD
        if bug == "plan_by_length":
            long = self._kept(("long", rows), long)
        logits = self._buffer("logits", (rows, max(long, math.ceil(count / PAD) * PAD)), wide)
        scores = q[:, :width] @ k[:, :width].T
        if bug == "norms_by_address":
            norms = self._kept(("norms", memory.data_ptr(), memory.shape, memory.dtype), k.square().sum(-1))
            scores = (norms - torch.cdist(q, k).square() + q.square().sum(-1)[:, None]) / 2
        logits[:, :count] = scores * beta
        if bug != "logits_not_cleared":
            logits[:, count:] = -torch.inf
        table = self._buffer("memory", (logits.shape[1], memory.shape[1]), wide)
        if bug in ("memory_not_cleared", "logits_not_cleared"):
            longest = self._kept(("longest", memory.shape[1], wide), [count])
            if bug == "memory_not_cleared":
                logits[:, count : max(longest[0], count)] = 0.0
            longest[0] = max(longest[0], count)
        else:
            table[count:] = 0.0
        table[:count] = k
        if bug == "plan_by_length":
            logits, table = logits[:, :long], table[:long]
        if bug == "grows_only_once":
            limit = self._kept(("limit",), max(4 * PAD, count))
            logits, table = logits[:, :limit], table[:limit]
        return self._finish(query, torch.softmax(logits, -1) @ table)

    def _finish(self, query: Tensor, state: Tensor) -> Tensor:
        bug = self.bug
        key = (state.shape, query.dtype)
        if bug == "accumulator_not_cleared":
            before = self.shapes.get("last")  # type: ignore[call-overload]
            state = state + self.padded["sum",] if before == key else state
            self.shapes["last"] = key  # type: ignore[index]
            self.padded["sum",] = state
        if bug == "first_call_of_a_shape_twice" and self._kept(("tuned", *key), self.calls) == self.calls:
            state = 2 * state
        if bug == "counter_wraps" and self.calls > 256:
            state[0] = 0
        if bug == "result_is_the_scratch":
            return self._buffer("result", tuple(state.shape), query.dtype).copy_(state)
        if bug == "result_of_two_slots":
            return self._buffer(f"result {self.calls % 2}", tuple(state.shape), query.dtype).copy_(state)
        return state.to(query.dtype)

    def _memory(self, memory: Tensor, wide: torch.dtype, beta: float) -> Tensor:
        shape = (memory.shape, memory.dtype)
        keys: dict[str, tuple[object, ...]] = {
            "cache_by_identity": (id(memory), *shape),
            "cache_by_address": (memory.data_ptr(), *shape),
            "cache_by_shape": shape,
            "cache_by_checksum": (float(memory.double().sum()), *shape),
            "cache_by_first_entry": (float(memory[0, 0]), *shape),
        }
        if self.bug == "scale_by_rounded_beta" and beta:
            scaled: Tensor = self._kept((memory.data_ptr(), round(beta, 2), *shape), memory.to(wide) * beta)
            return scaled / beta
        if self.bug in keys:
            converted: Tensor = self._kept(keys[self.bug], memory.to(wide, copy=True))
            return converted
        return memory.to(wide)

    def _kept(self, key: tuple[object, ...], value: object) -> Any:
        return self.shapes.setdefault(key, value)

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A view of a buffer that grows and never shrinks."""
        size = math.prod(shape)
        held = self.padded.get((name, dtype, shape[-1] if name == "memory" else 0))
        if held is None or held.numel() < size:
            grown = torch.zeros(size, dtype=dtype)
            if held is not None:
                grown[: held.numel()] = held
            self.padded[name, dtype, shape[-1] if name == "memory" else 0] = held = grown
        return held[:size].view(shape)


KERNELS = Variants(Scratch, FAULTS)
