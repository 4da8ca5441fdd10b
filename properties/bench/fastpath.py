"""What ``hopspec bench fastpath`` measures: implementations beside PyTorch's attention and eager PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from hopspec.properties.bench import ceilings, peak, settling
from hopspec.properties.bench.comparing import Bench
from hopspec.properties.bench.kernels import Kernel, Shape
from hopspec.properties.bench.limits import UPDATES
from hopspec.properties.bench.measure import Contender
from hopspec.properties.bench.record import Figure, Mean, Relation, Run, environment
from hopspec.properties.peers import eager
from hopspec.properties.reporting.terminal import Progress

__all__ = ["CASES", "DTYPES", "SLOW", "run", "select"]

SDPA, EAGER, LOOP, HFLAYERS = "SDPA", "eager", "SDPA loop", "hflayers"
DTYPES = ("float32", "bfloat16", "float16", "float64")

SHAPES = (
    Shape("many", 2048, 16384, 64, "speed", 0.97),
    Shape("one", 1, 262144, 64, "speed", 2.7),
    Shape("few", 8, 262144, 64, "speed", 1.7),
    Shape("small", 1, 256, 64, "time", 1.5),
)
BATCHES = tuple(Shape(f"{count}", count, 16384, 64) for count in (1, 8, 64, 512))
LARGEST = Shape("largest", 65536, 65536, 64)
# The most that an update of the largest shape should allocate, in units of 10^6 bytes.
PEAK = 200.0


def run(
    kernels: Sequence[Kernel],
    cases: Sequence[str],
    dtypes: Sequence[str],
    threads: int,
    rounds: int,
    seconds: float | None,
    progress: Progress,
) -> Run:
    """Measure the cases named, without gradients.

    Args:
        kernels: the implementations.
        cases: keys of :data:`CASES`.
        dtypes: see :class:`Bench`, as the rest.
        threads: likewise.
        rounds: likewise.
        seconds: likewise.
        progress: likewise.
    """
    bench = Bench(kernels, dtypes, threads, rounds, seconds, progress)
    with ceilings.use_threads(threads), torch.no_grad():
        for name in cases:
            CASES[name](bench)
        if "ceilings" in cases and len(cases) > 1:
            # Whatever slowed the machine down at the beginning may be over.
            _ceilings(bench)
    details = {
        "threads": str(threads),
        **environment(("torch", "numpy")),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }
    return Run(
        "fastpath",
        details,
        tuple(bench.comparisons),
        tuple(bench.means),
        tuple(bench.figures),
        tuple(bench.notes),
    )


def select(names: Sequence[str]) -> list[str]:
    """The cases that are named or whose names begin with a name and a dash, all without any name.

    Raises:
        ValueError: if a name fits no case.

    >>> select(["evaluate"])
    ['evaluate-many', 'evaluate-one', 'evaluate-few']
    """
    for name in names:
        if not any(_fits(case, name) for case in CASES):
            raise ValueError(f"--case must be one of {', '.join(CASES)}, or a first word, got {name!r}")
    return [case for case in CASES if not names or any(_fits(case, name) for name in names)]


def _fits(case: str, name: str) -> bool:
    return case == name or case.startswith(f"{name}-")


def sdpa(query: Tensor, memory: Tensor, *, beta: float, keep: Tensor | None = None) -> Tensor:
    """One update by PyTorch's attention, ``[L, d]``; in two dimensions it would take its slower path."""
    q, k, v = query[None, None], memory[None, None], memory[None, None]
    mask = None if keep is None else keep[None, None]
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=beta)[0, 0]


def _contender(name: str, call: Callable[[], object], *, optional: bool = False) -> Contender:
    return Contender(name, lambda: call, optional)


def _ceilings(bench: Bench) -> None:
    """What the machine can do; measured again, the values are put together."""
    found = ceilings.measure(bench.threads, bench.rounds, bench.progress)
    known = {figure.key: figure.values for figure in bench.figures}
    others = [figure for figure in bench.figures if figure.kind != ceilings.CEILING]
    bench.figures = [replace(f, values=(*known.get(f.key, ()), *f.values)) for f in found] + others


def _update(bench: Bench, shape: Shape) -> None:
    for dtype in bench.dtypes or DTYPES[:3]:
        query, memory, beta = shape.draw(dtype)
        contenders, relations = [], []
        for kernel in bench.able("update", dtype, shape.volume):
            ask = kernel.implementation.retrieve
            for name, given in kernel.memories(memory):
                contenders.append(_contender(name, partial(ask, kernel.given(query), given, beta=beta)))
                relations.append(_update_relation(name, shape, dtype))
        if contenders:
            contenders.append(_contender(SDPA, partial(sdpa, query, memory, beta=beta)))
            contenders.append(_contender(EAGER, partial(eager, query, memory, beta=beta), optional=True))
            relations.append(Relation(EAGER, SDPA, relations[0].quantity))
        bench.compare("update", shape.size, dtype, contenders, relations)


def _update_relation(name: str, shape: Shape, dtype: str) -> Relation:
    if dtype in ("bfloat16", "float16"):
        return Relation(name, SDPA, "speed", 1.0)
    return Relation(name, SDPA, shape.quantity, shape.target if dtype == "float32" else None)


def _masked(bench: Bench, shape: Shape) -> None:
    """An update in which each query keeps a half of the memories of its own."""
    for dtype in bench.dtypes or DTYPES[:1]:
        query, memory, beta = shape.draw(dtype)
        keep = torch.rand(shape.queries, shape.memories, generator=torch.Generator().manual_seed(0)) < 0.5
        contenders, relations = [], []
        for kernel in bench.able("masked", dtype, shape.volume):
            if not kernel.implementation.capabilities.masks:
                bench.note(f"masked: {kernel.name} does not claim masks")
                continue
            call = partial(kernel.implementation.retrieve, kernel.given(query), kernel.given(memory))
            contenders.append(_contender(kernel.name, partial(call, beta=beta, keep=kernel.given(keep))))
            relations.append(Relation(kernel.name, SDPA, "speed"))
        if contenders:
            contenders.append(_contender(SDPA, partial(sdpa, query, memory, beta=beta, keep=keep)))
        bench.compare("masked", shape.size, dtype, contenders, relations)


def _evaluate(bench: Bench, shape: Shape) -> None:
    """Update, log-normalizer and energy in one call, beside the update alone."""
    for dtype in bench.dtypes or DTYPES[:1]:
        query, memory, beta = shape.draw(dtype)
        contenders, relations = [], []
        for kernel in bench.able("evaluate", dtype, shape.volume):
            evaluate = kernel.implementation.evaluate
            if evaluate is None:
                bench.note(f"evaluate: {kernel.name} has no such function")
                continue
            for name, given in kernel.memories(memory):
                for suffix, ask in (("", evaluate), (" (update)", kernel.implementation.retrieve)):
                    call = partial(ask, kernel.given(query), given, beta=beta)
                    contenders.append(_contender(name + suffix, call))
                # Where there are few queries, preparing the memory anew is a second pass over it.
                aimed = dtype == "float32" and (shape.name == "many" or name != kernel.name)
                relations.append(Relation(name, f"{name} (update)", "time", 1.05 if aimed else None))
        bench.compare("evaluate", shape.size, dtype, contenders, relations)


def _settle(bench: Bench) -> None:
    """Settling beside a loop over PyTorch's attention."""
    means: list[Mean] = []
    for workload in settling.WORKLOADS:
        query, memory = settling.draw(workload)
        size = f"{workload.size} {workload.name}"
        contenders = []
        for kernel, settle in _settlers(bench, "settle", workload):
            for name, given in kernel.memories(memory):
                call = partial(settle, kernel.given(query), given, beta=workload.beta)
                contenders.append(_contender(name, call))
                bench.figures.append(_updates(name, size, float(call().steps.sum())))
        if contenders:
            relations = [Relation(c.name, LOOP, "speed") for c in contenders]
            loop = partial(settling.sdpa_loop, query, memory, beta=workload.beta)
            contenders.append(_contender(LOOP, loop))
            bench.figures.append(_updates(LOOP, size, float(workload.queries * loop()[1])))
            bench.compare("settle", size, "float32", contenders, relations)
            means = [Mean("settle", Relation(r.contender, LOOP, "speed", 3.0)) for r in relations]
    bench.means += means


def _updates(name: str, size: str, made: float) -> Figure:
    return Figure(UPDATES, name, size, "queries x steps", (made,))


def _settle_hflayers(bench: Bench) -> None:
    """Settling beside hflayers, where that can be imported."""
    if not settling.has_hflayers():
        bench.note("hflayers: not importable")
        return
    for workload in settling.WORKLOADS:
        query, memory = settling.draw(workload)
        contenders = []
        for kernel, settle in _settlers(bench, "hflayers", workload):
            call = partial(settle, kernel.given(query), kernel.given(memory), beta=workload.beta)
            contenders.append(_contender(kernel.name, call))
        relations = [Relation(c.name, HFLAYERS, "speed", 30.0) for c in contenders]
        if contenders:
            theirs = partial(settling.hflayers_settle, query, memory, beta=workload.beta)
            contenders.append(_contender(HFLAYERS, theirs))
        size = f"{workload.size} {workload.name}"
        bench.compare("hflayers", size, "float32", contenders, relations)


def _settlers(
    bench: Bench, kind: str, workload: settling.Workload
) -> Iterator[tuple[Kernel, Callable[..., Any]]]:
    volume = workload.queries * workload.memories * workload.width
    for kernel in bench.able(kind, "float32", volume):
        settle = kernel.implementation.settle
        if settle is None:
            bench.note(f"{kind}: {kernel.name} has no such function")
        else:
            yield kernel, partial(settle, eps=settling.EPS, max_steps=settling.MAX_STEPS)


def _batch_invariant(bench: Bench) -> None:
    """What it costs that results do not depend on how queries are batched."""
    for shape in BATCHES:
        for dtype in bench.dtypes or DTYPES[:1]:
            query, memory, beta = shape.draw(dtype)
            contenders, relations = [], []
            for kernel in bench.able("batch-invariant", dtype, shape.volume):
                if not kernel.invariant:
                    bench.note(f"batch-invariant: {kernel.name} takes no batch_invariant")
                    continue
                for name, given in kernel.memories(memory):
                    fixed = f"{name} (batch-invariant)"
                    call = partial(kernel.implementation.retrieve, kernel.given(query), given, beta=beta)
                    contenders.append(_contender(name, call))
                    contenders.append(_contender(fixed, partial(call, batch_invariant=True)))
                    relations.append(Relation(fixed, name, "time"))
            bench.compare("batch-invariant", shape.size, dtype, contenders, relations)


def _memory_peak(bench: Bench) -> None:
    """What a large update allocates; PyTorch's attention for comparison."""
    for dtype in bench.dtypes or DTYPES[:1]:
        for kernel in [*bench.able("memory-peak", dtype, LARGEST.volume), Kernel("torch-sdpa")]:
            aimed = PEAK if kernel in bench.kernels else None
            for quantity in ("retrieve", "evaluate"):
                if getattr(kernel.implementation, quantity) is None:
                    continue
                stage = f"memory-peak {kernel.name} {quantity} {dtype}"
                bench.progress(stage, 0, 1)
                try:
                    found = peak.megabytes(kernel.name, quantity, LARGEST, dtype, bench.threads)
                except ValueError as error:
                    bench.note(f"memory-peak: {error}")
                    continue
                bench.progress(stage, 1, 1)
                if found is None:
                    bench.note("memory-peak: this system does not tell how much memory a process holds")
                    return
                name, detail = f"{kernel.name} {quantity}", f"{LARGEST.size} {dtype}"
                bench.figures.append(Figure("peak extra memory", name, detail, "MB", (found,), aimed))


CASES: dict[str, Callable[[Bench], None]] = {
    "ceilings": _ceilings,
    **{f"update-{shape.name}": partial(_update, shape=shape) for shape in SHAPES},
    **{f"evaluate-{shape.name}": partial(_evaluate, shape=shape) for shape in SHAPES[:3]},
    "masked": partial(_masked, shape=SHAPES[0]),
    "batch-invariant": _batch_invariant,
    "settle": _settle,
    "hflayers": _settle_hflayers,
    "memory-peak": _memory_peak,
}
# Cases that take minutes.
SLOW = ("hflayers", "memory-peak")
