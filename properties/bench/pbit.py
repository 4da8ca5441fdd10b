"""What ``hopspec bench pbit`` measures: an update in F_p, one number at a time and on arrays."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from hopspec.pbit import PBits
from hopspec.properties.bench.measure import Contender, take_turns
from hopspec.properties.bench.record import Comparison, Relation, Run, environment
from hopspec.properties.reporting.terminal import Progress
from hopspec.reference.networks.fields import ArrayField, PBitField
from hopspec.reference.networks.retrieval import read_out
from hopspec.reference.pbit import Arithmetic
from hopspec.reference.pbit.arrays import Arrays, PBitArray

__all__ = ["run"]

ONE, ARRAY = "one number at a time", "arrays"
RELATIONS = (Relation(ARRAY, ONE, "time"),)

Size = tuple[int, int, int]


def run(sizes: Sequence[Size], bits: Sequence[int], rounds: int, progress: Progress) -> Run:
    """Measure every size at every precision.

    Args:
        sizes: numbers of queries, memories and dimensions, ``(L, N, d)``.
        bits: precisions.
        rounds: rounds of every comparison.
        progress: told about every round.

    Raises:
        ValueError: if the two do not agree bit for bit.
    """
    found = []
    for size in sizes:
        for p in bits:
            stage = f"{'x'.join(map(str, size))}, {p} bits"

            def report(done: int, stage: str = stage) -> None:
                progress(stage, done, rounds)

            slow, fast = _updates(size, p)
            if slow() != fast().tolist():
                raise ValueError(f"the two differ at {stage}")
            contenders = [Contender(ONE, lambda slow=slow: slow), Contender(ARRAY, lambda fast=fast: fast)]  # type: ignore[misc]
            # Both use one thread, and time of the processor leaves out what other processes took.
            timed = take_turns(contenders, rounds, seconds=None, after_round=report, clock=time.process_time)
            progress(stage, rounds, rounds)
            found.append(Comparison("update", "x".join(map(str, size)), f"{p} bits", tuple(timed), RELATIONS))
    return Run("pbit", environment(("numpy",)), tuple(found))


def _updates(size: Size, bits: int) -> tuple[Callable[[], object], Callable[[], PBitArray]]:
    count, n, d = size
    rng = np.random.default_rng(size)
    query, memory = rng.standard_normal((count, d)), rng.standard_normal((n, d))
    beta, fmt = float(d) ** -0.5, PBits(bits)
    lists = query.tolist(), memory.tolist()
    slow, fast = PBitField(Arithmetic(fmt)), ArrayField(Arrays(fmt))
    return (
        lambda: read_out(slow, *lists, beta, shift=True),
        lambda: read_out(fast, query, memory, beta, shift=True),
    )
