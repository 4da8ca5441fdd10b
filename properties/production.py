"""``hopspec verify --at``: implementations judged at production sizes, on sampled queries."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hopspec.properties.calls import WRONG_DEVICE, Answer, Broken, Call, expected_shape
from hopspec.properties.nursery import Nursery, nurseries
from hopspec.properties.options import Options
from hopspec.properties.problem import Array
from hopspec.properties.production_arrays import filed
from hopspec.properties.production_problem import Size, draw, sampled
from hopspec.properties.production_results import AtSize, SizeCell, SizeFailure
from hopspec.properties.production_scout import scout
from hopspec.properties.production_truth import Truth
from hopspec.properties.results import Report
from hopspec.properties.subject import Subject, start

__all__ = ["verify_at"]

Progress = Callable[[str, int, int], None]

CLAUSES = {"retrieve": "MHN-BND-2", "log_normalizer": "MHN-BND-3", "energy": "MHN-BND-4"}
# Far slower than any kernel worth verifying, and a minute to begin with.
LEAST_SECONDS = 60.0
SECONDS_PER_OPERATION = 1e-8
# Rows that plain float64 finds most suspicious, per regime.
SUSPECTS = 2
RIGHT_DTYPES = {"bfloat16": "float32", "float16": "float32"}


def verify_at(
    options: Options,
    sizes: Sequence[Size],
    queries: int = 16,
    timeout: float | None = None,
    progress: Progress = lambda *_: None,
) -> AtSize:
    """Judge every implementation at every size in every dtype.

    Args:
        options: targets, dtypes, device, model, seed and whether to stay in this process.
        sizes: at least one.
        queries: how many random queries to judge besides those at the edges of tiles.
        timeout: seconds one call may take; by default what the largest size could need.
        progress: called with a stage, how much of it is done and how much there is.
    """
    began = time.monotonic()
    outcome = AtSize(Report(settings={**vars(options), "at": [str(s) for s in sizes], "queries": queries}))
    largest = max(s.queries * s.memories * s.width for s in sizes)
    timeout = timeout or LEAST_SECONDS + SECONDS_PER_OPERATION * largest
    with _nursery(options) as nursery, tempfile.TemporaryDirectory() as folder:
        subjects: list[Subject] = []
        try:
            subjects = start(replace(options, timeout=timeout), outcome.report, nursery)
            for size in sizes:
                for dtype in dict.fromkeys(d for s in subjects for d in s.dtypes):
                    _Visit(outcome, options, size, dtype, queries, Path(folder), progress).visit(subjects)
        except KeyboardInterrupt:
            outcome.report.interrupted = True
        finally:
            for subject in subjects:
                subject.close()
    outcome.report.seconds = time.monotonic() - began
    return outcome


@contextmanager
def _nursery(options: Options) -> Iterator[Nursery | None]:
    if options.in_process:
        yield None
        return
    with nurseries(1, preload=True) as controls:
        yield Nursery(controls[0])


@dataclass(frozen=True)
class _Asked:
    """One answer of one implementation, and where its verdict goes."""

    subject: Subject
    cell: SizeCell
    array: Array


@dataclass
class _Visit:
    """One size and dtype."""

    outcome: AtSize
    options: Options
    size: Size
    dtype: str
    queries: int
    folder: Path
    progress: Progress

    def visit(self, subjects: Sequence[Subject]) -> None:
        """Judge the plain problem, and one with masks and values for those that claim these."""
        able = [s for s in subjects if self.dtype in s.dtypes and self._takes(s)]
        self._judge({}, able, tuple(CLAUSES))
        for masks, values in ((True, True), (True, False), (False, True)):
            chosen = [
                s
                for s in able
                if (s.description.capabilities.masks, s.description.capabilities.values) == (masks, values)
            ]
            self._judge({"keep": masks, "values": values}, chosen, ("retrieve",))

    def _takes(self, subject: Subject) -> bool:
        most, size = subject.description.capabilities.max_size, self.size
        if most and size.queries * size.memories * size.width > most:
            self.outcome.report.unusable[subject.name] = f"claims sizes L N d up to {most} only, not {size}"
            return False
        return True

    def _judge(
        self, settings: dict[str, bool], subjects: Sequence[Subject], quantities: Sequence[str]
    ) -> None:
        if not subjects:
            return
        stage = f"{self.size} {self.dtype} {_name_of(settings)}"
        wanted = [(s, q) for s in subjects for q in quantities if q in s.description.quantities]
        steps = len(wanted) + 3
        self.progress(stage, 0, steps)
        problem = draw(self.size, self.dtype, seed=self.options.seed, **settings)
        arrays = {name: filed(a, self.folder, name) for name, a in problem.arrays.items()}
        given: list[_Asked] = []
        for k, (subject, quantity) in enumerate(wanted):
            self.progress(stage, k + 1, steps)
            given += self._ask(subject, quantity, arrays, problem.beta, settings)
        self.progress(stage, len(wanted) + 1, steps)
        rows = sampled(problem, self.queries, self.options.seed)
        if given and len(rows) < self.size.queries:
            scouted = scout(problem)
            suspects = [scouted.suspects(a.cell.quantity, a.array, SUSPECTS) for a in given]
            rows = np.unique(np.concatenate([rows, *suspects]))
        self.progress(stage, len(wanted) + 2, steps)
        if given:
            began = time.monotonic()
            truth = Truth(problem, rows)
            self.outcome.oracle_seconds += time.monotonic() - began
            self.outcome.radius = max(self.outcome.radius, truth.relative_radius)
            for answer in given:
                truth.judge(answer.cell, answer.array, answer.subject.models[self.dtype])
        self.progress(stage, steps, steps)

    def _ask(
        self, subject: Subject, quantity: str, arrays: dict[str, Any], beta: float, settings: dict[str, bool]
    ) -> list[_Asked]:
        cell = SizeCell(
            CLAUSES[quantity],
            quantity,
            subject.name,
            self.dtype,
            str(self.size),
            _name_of(settings),
            settings={"seed": self.options.seed, **settings},
        )
        self.outcome.cells.append(cell)
        call = Call(quantity, self.dtype, arrays, {"beta": beta})
        began = time.monotonic()
        try:
            answer = subject.ask(call)
            cell.seconds = time.monotonic() - began
            self._inspect(cell, answer)
            array = _checked(call, answer)
        except Broken as broken:
            cell.seconds = time.monotonic() - began
            if broken.kind != "stopped":
                cell.failure = SizeFailure(broken.kind, broken.message)
            if subject.stopped:
                self.outcome.report.unusable[subject.name] = subject.stopped
            return []
        return [_Asked(subject, cell, array)]

    def _inspect(self, cell: SizeCell, answer: Answer) -> None:
        """The clauses that every call can break."""
        if answer.mutated:
            failure = SizeFailure("mutated", f"{cell.quantity} modified {', '.join(answer.mutated)}")
            self.outcome.cells.append(replace(cell, clause="MHN-DOM-5", failure=failure))
        expected = self.dtype if cell.quantity == "retrieve" else RIGHT_DTYPES.get(self.dtype, self.dtype)
        if answer.dtypes and answer.dtypes[0] != expected:
            failure = SizeFailure(
                "dtype", f"{cell.quantity} returned {answer.dtypes[0]}, expected {expected}"
            )
            self.outcome.cells.append(replace(cell, clause="MHN-DOM-3", failure=failure))


def _name_of(settings: dict[str, bool]) -> str:
    parts = [
        name for name, flag in (("masked", settings.get("keep")), ("values", settings.get("values"))) if flag
    ]
    return ", ".join(parts) or "plain"


def _checked(call: Call, answer: Answer) -> Array:
    if answer.error == WRONG_DEVICE:
        raise Broken("device", f"{call.quantity} {answer.message}")
    if answer.error:
        raise Broken("raised", f"{call.quantity} raised {answer.error}: {answer.message}")
    shape = expected_shape(call)
    if answer.arrays[0].shape != shape:
        raise Broken("shape", f"{call.quantity} returned shape {answer.arrays[0].shape}, expected {shape}")
    return np.asarray(answer.arrays[0], dtype=np.float64)
