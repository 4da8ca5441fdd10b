"""Times of contenders that take turns, so that whatever slows the machine down slows all of them.

Nothing here knows what is measured.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Contender", "Ratio", "Timed", "change", "median", "quartiles", "ratio", "take_turns"]

FloatArray = npt.NDArray[np.float64]

LEAST_ROUNDS = 5
_RESAMPLES = 2000


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Args:
        name: name in tables.
        build: makes everything ready and returns the call to time.
    """

    name: str
    build: Callable[[], Callable[[], object]]


@dataclass(frozen=True)
class Timed:
    """The times of one contender.

    Args:
        name: its name.
        setup: seconds to build it and call it once.
        seconds: one entry per round.
    """

    name: str
    setup: float
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def take_turns(
    contenders: Sequence[Contender],
    rounds: int,
    *,
    seconds: float | None = None,
    after_round: Callable[[int], None] = lambda done: None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timed]:
    """Time contenders call by call: a round calls each of them once, and every round starts with another one.

    Args:
        contenders: at least one.
        rounds: the number of rounds, at least 1.
        seconds: stop after so many seconds, but not before 5 rounds; None for no limit.
        after_round: told the number of rounds done.
        clock: seconds since whenever.

    Raises:
        ValueError: if ``rounds < 1`` or there are no contenders.
    """
    if rounds < 1 or not contenders:
        raise ValueError(f"rounds and contenders must be at least 1, got {rounds} and {len(contenders)}")
    calls, setups = [], []
    for contender in contenders:
        start = clock()
        call = contender.build()
        call()
        setups.append(clock() - start)
        calls.append(call)
    times: list[list[float]] = [[] for _ in calls]
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        begun = clock()
        for done in range(rounds):
            for turn in range(len(calls)):
                k = (done + turn) % len(calls)
                start = clock()
                calls[k]()
                times[k].append(clock() - start)
            after_round(done + 1)
            if seconds is not None and done + 1 >= LEAST_ROUNDS and clock() - begun > seconds:
                break
    finally:
        if collecting:
            gc.enable()
    return [
        Timed(contender.name, setup, tuple(found))
        for contender, setup, found in zip(contenders, setups, times, strict=True)
    ]


def median(seconds: Sequence[float]) -> float:
    """The median.

    >>> median([3.0, 1.0, 2.0])
    2.0
    """
    return float(np.median(seconds))


def quartiles(seconds: Sequence[float]) -> tuple[float, float]:
    """The first and the third quartile.

    >>> quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
    (2.0, 4.0)
    """
    first, third = np.quantile(seconds, [0.25, 0.75]).tolist()
    return first, third


def ratio(above: Sequence[float], below: Sequence[float], *, paired: bool = True) -> Ratio:
    """The ratio of two medians, with a 95 % percentile bootstrap interval.

    Args:
        above: times in the numerator.
        below: times in the denominator.
        paired: whether equal places are the same round: rounds are then drawn as a whole, so that what both
            suffered cancels.

    Raises:
        ValueError: if one is empty, or they are paired and of different lengths.

    >>> ratio([2.0, 2.0, 2.0], [1.0, 1.0, 1.0])
    Ratio(value=2.0, low=2.0, high=2.0)
    """
    if not len(above) or not len(below) or (paired and len(above) != len(below)):
        raise ValueError(f"above and below must be as many times, got {len(above)} and {len(below)}")
    rng = np.random.default_rng(0)
    if paired:
        return _interval(median(above) / median(below), _resampled(above, below, rng))
    ratios = _medians(rng, above)[0] / _medians(rng, below)[0]
    return _interval(median(above) / median(below), ratios)


def change(
    now: Sequence[float], yardstick: Sequence[float], then: Sequence[float], old_yardstick: Sequence[float]
) -> Ratio:
    """How a ratio to a yardstick changed between two runs, each of which timed both in turns.

    A machine that has become slower slows the yardstick too, and drops out.

    Args:
        now: times of the one in question.
        yardstick: times of the yardstick, round by round.
        then: times of the one in question in the earlier run.
        old_yardstick: times of the yardstick in the earlier run, round by round.

    >>> change([2.0, 2.0], [4.0, 4.0], [1.0], [1.0])
    Ratio(value=0.5, low=0.5, high=0.5)
    """
    rng = np.random.default_rng(0)
    value = median(now) / median(yardstick) / (median(then) / median(old_yardstick))
    return _interval(value, _resampled(now, yardstick, rng) / _resampled(then, old_yardstick, rng))


def _medians(rng: np.random.Generator, *times: Sequence[float]) -> list[FloatArray]:
    """The medians of resampled rounds, the same rounds for all."""
    drawn = rng.integers(0, len(times[0]), (_RESAMPLES, len(times[0])))
    return [np.median(np.asarray(seconds, dtype=np.float64)[drawn], axis=1) for seconds in times]


def _resampled(above: Sequence[float], below: Sequence[float], rng: np.random.Generator) -> FloatArray:
    first, second = _medians(rng, above, below)
    quotient: FloatArray = first / second
    return quotient


def _interval(value: float, resampled: FloatArray) -> Ratio:
    low, high = np.quantile(resampled, [0.025, 0.975]).tolist()
    return Ratio(value, low, high)
