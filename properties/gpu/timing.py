"""Contenders on a GPU take turns: PyTorch's attention by each of its kernels, others', and ours."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from hopspec.properties.bench import settling
from hopspec.properties.bench.kernels import Shape
from hopspec.properties.bench.measure import Contender, take_turns
from hopspec.properties.bench.record import Comparison, Relation, Run, environment
from hopspec.properties.gpu.extent import Extent
from hopspec.properties.peers import eager
from hopspec.properties.reporting.terminal import Progress
from hopspec.properties.session import resolve

__all__ = ["Calls", "bench", "clock_of", "usable"]

OURS, SDPA, LOOP = "fastpath", "SDPA", "SDPA loop"
_BACKENDS = {
    "SDPA flash": SDPBackend.FLASH_ATTENTION,
    "SDPA efficient": SDPBackend.EFFICIENT_ATTENTION,
    "SDPA cudnn": SDPBackend.CUDNN_ATTENTION,
}
Calls = dict[str, Callable[[], object]]
"""Contenders by name."""


def clock_of(device: str) -> Callable[[], float]:
    """Seconds, read when the device has done all that it was told to do."""
    if torch.device(device).type != "cuda":
        return time.perf_counter

    def clock() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return clock


def usable(calls: Calls, note: Callable[[str], None]) -> list[Contender]:
    """The calls that can be made, as contenders; a note says why the others cannot."""
    contenders = []
    for name, call in calls.items():
        try:
            call()
        except (RuntimeError, ImportError, ValueError, TypeError) as error:
            note(f"{name}: {(str(error).strip().splitlines() or [type(error).__name__])[0]}")
            continue
        contenders.append(Contender(name, partial(_ready, call)))
    return contenders


def _ready(call: Callable[[], object]) -> Callable[[], object]:
    return call


def bench(device: str, extent: Extent, progress: Progress) -> Run:
    """Time updates and settling, without gradients."""
    comparisons: list[Comparison] = []
    notes: list[str] = []

    def compare(kind: str, size: str, dtype: str, calls: Calls, yardstick: str) -> None:
        stage = f"{kind} {size} {dtype}"
        contenders = usable(calls, lambda text: notes.append(f"{stage}: {text}"))
        names = [contender.name for contender in contenders]
        if len(names) < 2:
            return
        timed = take_turns(
            contenders,
            extent.rounds,
            turn=extent.turn,
            after_round=lambda done: progress(stage, done, extent.rounds),
            clock=clock_of(device),
        )
        relations = [Relation(n, yardstick, "speed") for n in names if n != yardstick and yardstick in names]
        comparisons.append(Comparison(kind, size, dtype, tuple(timed), tuple(relations)))

    with torch.no_grad():
        for name, sizes in extent.updates.items():
            shape = Shape(name, *sizes)
            for dtype in extent.dtypes:
                compare("update", shape.size, dtype, _updates(shape, dtype, device), SDPA)
        workloads = [
            replace(w, queries=sizes[0], memories=sizes[1], width=sizes[2])
            for sizes in (extent.settled,)
            for w in settling.WORKLOADS
        ]
        for workload in workloads:
            for dtype in extent.dtypes:
                size = f"{workload.size} {workload.name}"
                compare("settle", size, dtype, _settlings(workload, dtype, device), LOOP)
    versions = environment(("torch", "triton", "flash-attn"))
    return Run("gpu", {"device": device, **versions}, tuple(comparisons), notes=tuple(notes))


def _updates(shape: Shape, dtype: str, device: str) -> Calls:
    drawn_query, drawn_memory, beta = shape.draw(dtype)
    query, memory = drawn_query.to(device), drawn_memory.to(device)
    q, k = query[None, None], memory[None, None]

    def attention() -> Tensor:
        return scaled_dot_product_attention(q, k, k, scale=beta)

    def by_backend(backend: SDPBackend) -> Tensor:
        with sdpa_kernel(backend):
            return attention()

    calls: Calls = {OURS: partial(resolve(OURS).retrieve, query, memory, beta=beta), SDPA: attention}
    calls |= {name: partial(by_backend, backend) for name, backend in _BACKENDS.items()}
    calls["eager"] = partial(eager, query, memory, beta=beta)
    return calls | dict(_flash_attention(query, memory, beta))


def _flash_attention(
    query: Tensor, memory: Tensor, beta: float
) -> Iterator[tuple[str, Callable[[], object]]]:
    """FlashAttention by its authors, where it is installed: versions 2 and 3."""
    for name, module in (("FlashAttention 2", "flash_attn"), ("FlashAttention 3", "flash_attn_interface")):
        if importlib.util.find_spec(module) is not None:
            function: Any = importlib.import_module(module).flash_attn_func
            q, k = query[None, :, None], memory[None, :, None]
            yield name, partial(function, q, k, k, softmax_scale=beta)


def _settlings(workload: settling.Workload, dtype: str, device: str) -> Calls:
    kind = getattr(torch, dtype)
    query, memory = (tensor.to(device, kind) for tensor in settling.draw(workload))
    settle = resolve(OURS).settle
    assert settle is not None
    return {
        OURS: partial(
            settle, query, memory, beta=workload.beta, eps=settling.EPS, max_steps=settling.MAX_STEPS
        ),
        # The threshold and the limit of steps are the same.
        LOOP: partial(settling.sdpa_loop, query, memory, beta=workload.beta),
    }
