"""Makes the comparisons of a benchmark and keeps what they find."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hopspec.properties.bench.kernels import Kernel
from hopspec.properties.bench.measure import Contender, take_turns
from hopspec.properties.bench.record import Comparison, Figure, Mean, Relation
from hopspec.properties.reporting.terminal import Progress

__all__ = ["Bench"]

# A turn takes so many calls of microseconds that reading the clock, and what interrupts it, do not show.
TURN = 0.01
# Eager PyTorch takes ten seconds where it has no fast matrix product in float16.
PATIENCE = 1.0


class Bench:
    """Makes comparisons and keeps what they find.

    Args:
        kernels: the implementations.
        dtypes: the dtypes asked for; empty for those each case is about.
        threads: threads of every contender.
        rounds: rounds of every comparison.
        seconds: time after which a comparison stops, see :func:`hopspec.properties.bench.measure.take_turns`.
        progress: told about every round.
    """

    def __init__(
        self,
        kernels: Sequence[Kernel],
        dtypes: Sequence[str],
        threads: int,
        rounds: int,
        seconds: float | None,
        progress: Progress,
    ) -> None:
        self.kernels, self.dtypes, self.threads = kernels, dtypes, threads
        self.rounds, self.seconds, self.progress = rounds, seconds, progress
        self.comparisons: list[Comparison] = []
        self.means: list[Mean] = []
        self.figures: list[Figure] = []
        self.notes: list[str] = []

    def compare(
        self, kind: str, size: str, dtype: str, contenders: list[Contender], relations: list[Relation]
    ) -> None:
        """Time the contenders, if there are any to be compared."""
        if len(contenders) < 2:
            return
        stage = f"{kind} {size} {dtype}"
        timed = take_turns(
            contenders,
            self.rounds,
            seconds=self.seconds,
            turn=TURN,
            patience=PATIENCE,
            after_round=lambda done: self.progress(stage, done, self.rounds),
        )
        self.progress(stage, self.rounds, self.rounds)
        self.comparisons.append(Comparison(kind, size, dtype, tuple(timed), tuple(relations)))

    def able(self, kind: str, dtype: str, volume: int) -> Iterator[Kernel]:
        """The implementations that take such a problem; a note says why others do not."""
        for kernel in self.kernels:
            if refusal := kernel.refusal(dtype, volume):
                self.note(f"{kind}: {refusal}")
            else:
                yield kernel

    def note(self, text: str) -> None:
        """Say, once, what is not measured."""
        if text not in self.notes:
            self.notes.append(text)
