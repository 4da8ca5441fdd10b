"""Times of contenders that take turns, so that whatever slows the machine down slows all of them.

Nothing here knows what is measured.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "Contender",
    "Ratio",
    "Timed",
    "change",
    "geometric_mean",
    "median",
    "quartiles",
    "ratio",
    "take_turns",
]

FloatArray = npt.NDArray[np.float64]

LEAST_ROUNDS = 5
_RESAMPLES = 2000


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Args:
        name: name in tables.
        build: makes everything ready and returns the call to time.
        optional: whether to leave it out where it is slow, see :func:`take_turns`.
    """

    name: str
    build: Callable[[], Callable[[], object]]
    optional: bool = False


@dataclass(frozen=True)
class Timed:
    """The times of one contender.

    Args:
        name: its name.
        setup: seconds to build it and call it once.
        seconds: of one call, one entry per round.
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
    turn: float = 0.0,
    patience: float = math.inf,
    after_round: Callable[[int], None] = lambda done: None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timed]:
    """Time contenders turn by turn: each has one turn a round, and follows each of the others equally often.

    Args:
        contenders: at least one, not all of them optional.
        rounds: the number of rounds, at least 1.
        seconds: stop after so many seconds, but not before 5 rounds; None for no limit.
        turn: the least that a turn of the quickest contender should take, in seconds. All turns consist of as
            many calls as it needs for that, and the time of one call is their mean.
        patience: an optional contender whose first call takes more seconds than this takes no turns: the time
            of that call is all that is known of it.
        after_round: told the number of rounds done.
        clock: seconds since whenever.

    Raises:
        ValueError: if ``rounds < 1`` or every contender is optional.
    """
    required = sum(not contender.optional for contender in contenders)
    if rounds < 1 or not required:
        raise ValueError(f"rounds and contenders must be at least 1, got {rounds} and {required}")
    calls, setups, firsts = [], [], []
    for contender in contenders:
        start = clock()
        call = contender.build()
        built = clock()
        call()
        calls.append(call)
        setups.append(clock() - start)
        firsts.append(clock() - built)
    playing = [k for k, c in enumerate(contenders) if not (c.optional and firsts[k] > patience)]
    quickest = min(playing, key=firsts.__getitem__)
    repeats = _repeats(calls[quickest], firsts[quickest], turn, clock)
    orders = _orders(len(playing))
    times: list[list[float]] = [[] if k in playing else [firsts[k]] for k in range(len(calls))]
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        begun = clock()
        for done in range(rounds):
            for place in orders[done % len(orders)]:
                k = playing[place]
                call = calls[k]
                start = clock()
                for _ in range(repeats):
                    call()
                times[k].append((clock() - start) / repeats)
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


def _orders(count: int) -> list[list[int]]:
    """Orders of so many contenders in which each follows each of the others equally often (Williams, 1949).

    A call leaves caches, freed memory and the clock of the processor behind to the next one.

    >>> _orders(4)
    [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]]
    >>> _orders(3)
    [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0], [0, 2, 1], [1, 0, 2]]
    """
    first = [0 if k == 0 else (k + 1) // 2 if k % 2 else count - k // 2 for k in range(count)]
    orders = [[(k + shift) % count for k in first] for shift in range(count)]
    return orders if count % 2 == 0 else orders + [order[::-1] for order in orders]


def _repeats(call: Callable[[], object], first: float, turn: float, clock: Callable[[], float]) -> int:
    """How many calls make a turn; the first one also paid for what is made once."""
    if first >= turn:
        return 1
    start = clock()
    call()
    once = clock() - start
    return max(1, math.ceil(turn / once)) if once > 0 else 1


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


def geometric_mean(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Ratio:
    """The geometric mean of ratios of medians, with its 95 % percentile bootstrap interval.

    Args:
        pairs: times in the numerator and in the denominator, round by round; pairs are drawn independently.

    Raises:
        ValueError: if there is no pair.

    >>> geometric_mean([([2.0, 2.0], [1.0, 1.0]), ([8.0], [1.0])])
    Ratio(value=4.0, low=4.0, high=4.0)
    """
    if not pairs:
        raise ValueError("pairs must be at least 1, got 0")
    rng = np.random.default_rng(0)
    logarithms = [np.log(_resampled(above, below, rng)) for above, below in pairs]
    value = math.prod(median(above) / median(below) for above, below in pairs) ** (1 / len(pairs))
    return _interval(value, np.exp(np.mean(logarithms, axis=0)))


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
