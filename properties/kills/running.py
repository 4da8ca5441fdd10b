"""Kill runs: every fault, every dtype, many seeds, on all cores, resumable."""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from hopspec.properties import interruption
from hopspec.properties.checks import CHECKS
from hopspec.properties.faults import FAULTS
from hopspec.properties.kills.excused import EXCUSED
from hopspec.properties.kills.hunting import Kill, hunt, share
from hopspec.properties.kills.measure import Measured, measure
from hopspec.properties.kills.plan import Pair
from hopspec.properties.kills.record import Record
from hopspec.properties.nursery import Nursery, nurseries

__all__ = ["MATRIX_CASES", "Outcome", "Work", "kill_run"]

# Pairs given to a process at a time: what an interrupt waits for, and loses nothing of.
CHUNK = 8
# Cases of a clause in the matrix: one failure decides, and most faults show in the first cases or in none.
MATRIX_CASES = 8
# Properties that killed a pair before, tried first.
HINTS = 2
# Problems they are tried on before all others: many if it was in this dtype, few if in another.
PROVEN, DECLARED = 200, 16
SECONDS_BETWEEN_CHECKS = 0.2
FAMILIES = {c.name: c.family for c in CHECKS}


@dataclass(frozen=True)
class Work:
    """What a run is asked to do.

    Args:
        pairs: faults and dtypes.
        seeds: number of seeds, from 0 on.
        matrix: whether to judge every fault by every clause too, on few cases and with seed 0.
        excused: whether to measure the pairs that are excused, with the quick profile and seed 0.
        jobs: number of processes; with one, everything is done in this process.
        profile: name of the profile whose cases are judged at most until a fault is killed.
    """

    pairs: tuple[Pair, ...]
    seeds: int = 20
    matrix: bool = False
    excused: bool = True
    jobs: int = 2
    profile: str = "default"


class Hints(NamedTuple):
    """Properties to try first, and on how many problems of each family."""

    names: tuple[str, ...]
    rounds: int


class Task(NamedTuple):
    """Pairs for one process: to be killed with one seed, or to be measured."""

    kind: str
    seed: int
    profile: str
    pairs: tuple[Pair, ...]
    hints: tuple[Hints, ...]


Keep = Callable[[Task, list[dict[str, Any]]], None]


@dataclass
class Outcome:
    """What is known of the code as it is.

    Args:
        kills: per pair and seed.
        measured: per pair and kind of measurement, ``matrix`` or ``excused``.
        stale: results in the record that belong to other code.
        missing: how many results are still to come.
        interrupted: whether the run was stopped before its end.
    """

    kills: dict[tuple[Pair, int], Kill] = field(default_factory=dict)
    measured: dict[tuple[Pair, str], Measured] = field(default_factory=dict)
    stale: int = 0
    missing: int = 0
    interrupted: bool = False

    @property
    def survivors(self) -> list[Kill]:
        """Runs in which a fault survived that no reason excuses."""
        return [k for (pair, _), k in self.kills.items() if not k.killed and pair not in EXCUSED]

    @property
    def wrongly_excused(self) -> list[Measured]:
        """Excused pairs that are killed, or that change a bit although they are said to change none."""
        return [
            m
            for (pair, kind), m in self.measured.items()
            if kind == "excused" and (m.broken or (EXCUSED[pair].same_bits and m.differing))
        ]

    @property
    def exit_status(self) -> int:
        """0 if everything was killed, 1 if something survived, 2 if the run is incomplete."""
        if self.survivors or self.wrongly_excused:
            return 1
        return 2 if self.interrupted or self.missing else 0

    def killers(self) -> dict[Pair, Counter[str]]:
        """Which properties killed each pair, and how often."""
        found: dict[Pair, Counter[str]] = defaultdict(Counter)
        for (pair, _), kill in self.kills.items():
            if kill.killed:
                found[pair][kill.check] += 1
        return found

    def take(self, entry: dict[str, Any]) -> None:
        """Count one entry of the record."""
        kind = entry.pop("kind_of_result")
        pair = Pair(entry["fault"], entry["dtype"])
        if kind == "kill":
            self.kills[pair, entry["seed"]] = Kill(**entry)
        else:
            self.measured[pair, kind] = Measured(**entry)


def read_outcome(record: Record) -> Outcome:
    """What a record says of the code as it is."""
    found = Outcome()
    for entry in record:
        pair = Pair(entry["fault"], entry["dtype"])
        if pair.fault not in FAULTS or entry.pop("code") != pair.code:
            found.stale += 1
        else:
            found.take(entry)
    return found


def kill_run(
    path: Path,
    work: Work,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Outcome:
    """Do what is not in the record yet, append it, and return everything known.

    Ctrl-C ends the run after the pairs at hand; the record then holds what was done.

    Args:
        path: the record.
        work: what to do.
        progress: called with a stage, what is done of it and how much there is.
    """
    record = Record(path)
    record.mend()
    outcome = read_outcome(record)
    todo = _Todo(work, outcome)
    run = _here if work.jobs == 1 else _in_processes

    def keep(task: Task, results: list[dict[str, Any]]) -> None:
        for entry in results:
            whole = {"kind_of_result": task.kind, **entry}
            record.add({"code": Pair(entry["fault"], entry["dtype"]).code, **whole})
            outcome.take(whole)
        progress(*todo.done(task))

    with interruption.deferred():
        try:
            run(todo, work.jobs, keep)
        except KeyboardInterrupt:
            outcome.interrupted = True
    outcome.missing = _Todo(work, outcome).left
    return outcome


def _here(todo: _Todo, _jobs: int, keep: Keep) -> None:
    """Do everything in this process."""
    share()
    for task in todo.tasks():
        for pair, hints in zip(task.pairs, task.hints, strict=True):
            alone = task._replace(pairs=(pair,), hints=(hints,))
            keep(alone, _do(alone))


def _in_processes(todo: _Todo, jobs: int, keep: Keep) -> None:
    """Keep ``jobs`` processes busy; an interrupt waits for the pairs at hand, whose results are kept."""
    context = multiprocessing.get_context("spawn")
    tasks = todo.tasks()
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_process) as pool:
        running: dict[Future[list[dict[str, Any]]], Task] = {}
        try:
            running |= {pool.submit(_do, task): task for task in islice(tasks, 2 * jobs)}
            while running:
                interruption.check()
                done, _ = wait(running, SECONDS_BETWEEN_CHECKS, FIRST_COMPLETED)
                for future in done:
                    keep(running.pop(future), future.result())
                    running |= {pool.submit(_do, task): task for task in islice(tasks, 1)}
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            for future, task in running.items():
                if not future.cancelled():
                    with suppress(KeyboardInterrupt):
                        keep(task, future.result())
            raise


class _Todo:
    """What is left to do, in the order in which it is done."""

    def __init__(self, work: Work, outcome: Outcome) -> None:
        self.work, self.outcome = work, outcome
        judged = [p for p in work.pairs if p not in EXCUSED]
        safe = [p for p in judged if not p.isolated and p.dtype == FAULTS[p.fault].dtype]
        self.wanted: dict[tuple[str, int], list[Pair]] = {}
        for seed in range(work.seeds):
            self.wanted["kill", seed] = [p for p in judged if (p, seed) not in outcome.kills]
        if work.excused:
            excused = [p for p in work.pairs if p in EXCUSED]
            self.wanted["excused", 0] = [p for p in excused if (p, "excused") not in outcome.measured]
        if work.matrix:
            self.wanted["matrix", 0] = [p for p in safe if (p, "matrix") not in outcome.measured]
        self.counts: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()
        for (kind, _), pairs in self.wanted.items():
            self.totals[kind] += len(pairs)

    @property
    def left(self) -> int:
        """How many results are missing."""
        return sum(self.totals.values())

    def tasks(self) -> Iterator[Task]:
        """Tasks, each made when a process is free: the hints get better as the run goes on."""
        for (kind, seed), pairs in self.wanted.items():
            hints = self._hints(pairs)
            # Pairs that the same family shows come together, so that a process draws few problems.
            ordered = sorted(pairs, key=lambda p: (p.isolated, FAMILIES[hints[p].names[0]]))
            size = CHUNK if kind == "kill" else 2
            for chunk in _chunks(ordered, size):
                profile = self.work.profile if kind == "kill" else "quick"
                yield Task(kind, seed, profile, chunk, tuple(hints[p] for p in chunk))

    def _hints(self, pairs: Iterable[Pair]) -> dict[Pair, Hints]:
        killers = self.outcome.killers()
        return {p: _hints_of(p, killers.get(p, Counter())) for p in pairs}

    def done(self, task: Task) -> tuple[str, int, int]:
        """What to show after a task."""
        self.counts[task.kind] += len(task.pairs)
        stage = {"kill": "killed", "matrix": "judged by every clause", "excused": "excused, measured"}
        return stage[task.kind], self.counts[task.kind], self.totals[task.kind]


def _hints_of(pair: Pair, killers: Counter[str]) -> Hints:
    if killers:
        return Hints(tuple(name for name, _ in killers.most_common(HINTS)), PROVEN)
    fault = FAULTS[pair.fault]
    return Hints(fault.killed_by, PROVEN if pair.dtype == fault.dtype else DECLARED)


def _chunks(pairs: Sequence[Pair], size: int) -> Iterator[tuple[Pair, ...]]:
    rest = iter(pairs)
    while chunk := tuple(islice(rest, size)):
        yield chunk


def _start_process() -> None:
    # Ctrl-C reaches the whole process group; the parent lets the pairs at hand finish.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    share()


def _do(task: Task) -> list[dict[str, Any]]:
    """The results of one task, in a process of its own."""
    if task.kind != "kill":
        beside = task.kind == "excused"
        examples = None if beside else MATRIX_CASES
        return [
            asdict(measure(p, task.seed, task.profile, examples=examples, beside_right=beside))
            for p in task.pairs
        ]
    with ExitStack() as stack:
        nursery: Nursery | None = None
        if any(pair.isolated for pair in task.pairs):
            nursery = Nursery(stack.enter_context(nurseries(1, preload=True))[0])
        return [
            asdict(
                hunt(
                    pair.target,
                    pair.dtype,
                    task.seed,
                    hints=hints.names,
                    rounds=hints.rounds,
                    profile=task.profile,
                    nursery=nursery if pair.isolated else None,
                )
            )
            for pair, hints in zip(task.pairs, task.hints, strict=True)
        ]
