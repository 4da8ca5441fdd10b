"""Finds the fastest tile of each kernel, and whether PyTorch's operations are faster still."""

from __future__ import annotations

import datetime
import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch

from hopspec.properties.bench import settling
from hopspec.properties.bench.kernels import Shape
from hopspec.properties.bench.measure import median, take_turns
from hopspec.properties.bench.record import environment
from hopspec.properties.gpu.extent import FULL, Extent
from hopspec.properties.gpu.timing import Calls, clock_of, usable
from hopspec.properties.reporting.terminal import Progress
from hopspec.properties.session import resolve

__all__ = ["CHOICES", "Choices", "tune"]

CHOICES = "hopspec.fastpath.triton.tuning"
"""The module that lists what there is to choose from, and records what was chosen."""

TORCH = "torch"


class Choices(Protocol):
    """What there is to choose from."""

    def kind_of(self, device: str, kernel: str, dtype: str, queries: int, width: int) -> Any:
        """For which calls one choice stands, a hashable object."""
        ...

    def tiles_of(self, kernel: str, dtype: str, width: int) -> tuple[Any, ...]:
        """The tiles, the one shipped first."""
        ...

    def served_by(self, tile: Any | None, device: str) -> AbstractContextManager[None]:
        """Have calls served with a tile, or by PyTorch's operations."""
        ...

    def entry_of(
        self, kind: Any, tile: Any, triton_ms: float, torch_ms: float | None, recorded: str
    ) -> dict[str, Any]:
        """What is recorded of a choice."""
        ...

    def record(self, entries: list[dict[str, Any]]) -> None:
        """Put choices into the record."""
        ...


class Work(NamedTuple):
    """Calls for which one choice is made.

    Args:
        kernel: the kernel that serves them.
        dtype: of the problem.
        queries: how many.
        width: of the patterns.
        prepare: draws the problem on a device and returns the call.
    """

    kernel: str
    dtype: str
    queries: int
    width: int
    prepare: Callable[[str], Callable[[], object]]


def tune(
    device: str,
    extent: Extent,
    progress: Progress,
    choices: Choices | None = None,
    clock: Callable[[], float] | None = None,
) -> dict[str, Any]:
    """Time every tile of every kernel, and PyTorch's operations, on the problems of an extent.

    What is found on a GPU is recorded; a rehearsal records nothing.

    Args:
        device: where.
        extent: which problems, and how many tiles.
        progress: told about every kind of call.
        choices: what there is to choose from.
        clock: seconds since whenever, once the device is done.

    Returns:
        ``"entries"``, what is recorded, ``"times"`` of all candidates in milliseconds, and ``"notes"``.
    """
    if choices is None:
        choices = importlib.import_module(CHOICES)
    entries: list[dict[str, Any]] = []
    times: list[dict[str, Any]] = []
    notes: list[str] = []
    seen = set()
    works = list(_works(extent))
    recorded = _stamp()
    for done, work in enumerate(works):
        progress("tuned", done, len(works))
        kind = choices.kind_of(device, work.kernel, work.dtype, work.queries, work.width)
        if kind in seen:
            continue
        seen.add(kind)
        name = f"{work.kernel} {work.dtype} L={work.queries} d={work.width}"
        found = _race(work, device, extent, choices, clock or clock_of(device), partial(_note, notes, name))
        torch_ms = found.pop(None, None)
        if not found:
            notes.append(f"{name}: no tile could be timed")
            continue
        tile = min(found, key=found.__getitem__)
        entries.append(choices.entry_of(kind, tile, found[tile], torch_ms, recorded))
        shown = {str(t): ms for t, ms in found.items()} | ({TORCH: torch_ms} if torch_ms is not None else {})
        times.append({"work": name, "ms": shown})
    progress("tuned", len(works), len(works))
    if extent is FULL:
        choices.record(entries)
    return {"entries": entries, "times": times, "notes": notes}


def _note(notes: list[str], name: str, text: str) -> None:
    notes.append(f"{name}: {text}")


def _race(
    work: Work,
    device: str,
    extent: Extent,
    choices: Choices,
    clock: Callable[[], float],
    note: Callable[[str], None],
) -> dict[Any, float]:
    """Median milliseconds of each tile; of PyTorch's operations under None."""
    tiles = choices.tiles_of(work.kernel, work.dtype, work.width)[: extent.tiles]
    candidates: dict[str, Any] = {TORCH: None} | {str(tile): tile for tile in tiles}
    with torch.no_grad():
        call = work.prepare(device)

        def served(tile: Any) -> object:
            with choices.served_by(tile, device):
                return call()

        calls: Calls = {name: partial(served, tile) for name, tile in candidates.items()}
        contenders = usable(calls, note)
        if not contenders:
            return {}
        timed = take_turns(contenders, extent.rounds, turn=extent.turn, clock=clock)
    return {candidates[one.name]: 1e3 * median(one.seconds) for one in timed}


def _works(extent: Extent) -> Iterator[Work]:
    for dtype in extent.dtypes:
        for name, (queries, memories, width) in extent.updates.items():
            shape = Shape(name, queries, memories, width)
            yield Work("attend", dtype, queries, width, partial(_update, shape, dtype))
        queries, memories, width = extent.settled
        workload = settling.Workload(1.0, 0.8, queries, memories, width)
        yield Work("settle", dtype, queries, width, partial(_settling, workload, dtype))


def _update(shape: Shape, dtype: str, device: str) -> Callable[[], object]:
    query, memory, beta = shape.draw(dtype)
    return partial(resolve("fastpath").retrieve, query.to(device), memory.to(device), beta=beta)


def _settling(workload: settling.Workload, dtype: str, device: str) -> Callable[[], object]:
    query, memory = (x.to(device, getattr(torch, dtype)) for x in settling.draw(workload))
    settle = resolve("fastpath").settle
    assert settle is not None
    options = {"eps": settling.EPS, "max_steps": settling.MAX_STEPS}
    return partial(settle, query, memory, beta=workload.beta, **options)


def _stamp() -> str:
    versions = environment(("torch", "triton"))
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return f"{today}, torch {versions['torch']}, triton {versions['triton']}"
