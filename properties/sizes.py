"""Problems of the sizes at which kernels change their ways: edges of tiles, and many queries or memories.

Few queries and few memories are different; they are repeated, so that the exact solution stays cheap (see
:mod:`hopspec.properties.repeats`). Which one stands where is irregular, so that a row or a memory taken from
another place shows.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hopspec.properties.problem import Mask, Problem, round_to
from hopspec.properties.repeats import distinct
from hopspec.properties.strategies import BLOCK_EDGES, DRAWN_GRAINS, GRAINS, between, choose

__all__ = ["long_problem", "many_problem", "tile_problem"]

# Powers of two at which tiles, vectors and heads end, and what lies beside them.
ROWS = (*BLOCK_EDGES, 255, 256, 257, 300)
KEYS = (191, 192, 193, 255, 256, 257, 257, 385, 511, 513, 769, 1024, 1025)
# The usual widths of heads have kernels of their own.
WIDTHS = {
    "head": (32, 64, 64, 128),
    "wide": (15, 17, 24, 31, 33, 40, 48, 63, 65, 80, 96, 127),
    "very wide": (129, 192, 255, 256, 257),
}
# Where counters of 8, 11 and 16 bits end, blocks of threads, shared memory, and a grid's second dimension.
# What ends anywhere shows in the longest; the others are for what is wrong at a multiple or one beside it.
LONGEST = (65537, 66000, 70000)
# Sums stop growing in half precision; the bounds of its kernels end somewhere beyond.
GROWN = (4097, 8193, 12000)
MULTIPLES = (256, 1024, 2048, 4096, 32768, 65536)
BESIDE = (255, 257, 1023, 1025, 2047, 2049, 3000, 4097, 8193, 16385, 32767, 32769, 65535)
# How far the logits of a query are apart.
SPREADS = (0.5, 2.5, 2.5, 5.0, 9.0, 14.0)
# By how much the best memory is ahead, where one is.
LEADS = (6.0, 12.0, 18.0, 30.0, 50.0, 70.0, 84.0, 95.0, 130.0, 200.0, 400.0)
# One after the other, so that a few problems already have some of everything. The two cycles have no common
# divisor: in the long run every form meets every twist.
FORMS = ("very wide", "rows", "keys", "head", "rows", "square", "wide", "keys", "grid", "rows")
TWISTS = (
    "plain",
    "norms",
    "leader",
    "level",
    "special rows",
    "leader",
    "large",
    "small",
    "leader",
    "level",
    "shrunk",
)
LONG_FORMS = (
    ("late leader", LONGEST),
    ("level", GROWN),
    ("slope", GROWN),
    ("late leader", MULTIPLES),
    ("level", LONGEST),
    ("leader", BESIDE),
    ("blocks", LONGEST),
    ("slope", LONGEST),
    ("level", MULTIPLES),
    ("mixed", GROWN),
    ("leader", LONGEST),
)


def tile_problem(rng: np.random.Generator, number: int) -> Problem:
    """L, N and d at the edges of tiles, one or all of them at a time, and one thing out of the ordinary.

    Args:
        rng: where every choice comes from but form and twist.
        number: which of the problems of a run it is; forms and twists follow each other.
    """
    form, twist = FORMS[number % len(FORMS)], TWISTS[number % len(TWISTS)]
    n, d, count = between(rng, 2, 20), between(rng, 2, 9), between(rng, 1, 4)
    if form == "rows":
        count = choose(rng, ROWS)
    elif form in WIDTHS:
        d, n = choose(rng, WIDTHS[form]), choose(rng, (2, 5, 15, 16, 17, 33, 65))
    elif form == "keys":
        n, d = choose(rng, KEYS), between(rng, 1, 4)
    elif form == "square":
        count = n = choose(rng, (5, 8, 16, 17, 33, 64, 65))
    elif form == "grid":
        count, n, d = choose(rng, BLOCK_EDGES), choose(rng, BLOCK_EDGES), choose(rng, (8, 16, 33, 64))
    # Mostly numbers of every format, so that all of them meet the same forms.
    grain = "narrow" if number % 4 < 3 else choose(rng, DRAWN_GRAINS)
    which = _scattered(rng, n, min(n, 12))
    base = _assembled(rng, (f"tiles: {form}",), _scattered(rng, count, 5), which, d, grain)
    if form == "rows" and twist in ("plain", "leader"):
        # What queries of very different length may not share, kernels hold for a tile of them.
        base = _twisted(rng, base, "norms")
    return _twisted(rng, base, twist)


def _twisted(rng: np.random.Generator, base: Problem, twist: str) -> Problem:
    """What a kernel's arithmetic, and not its tiles, may be unprepared for."""
    p = base.but(regimes=(*base.regimes, f"twist: {twist}"))
    fmt = GRAINS[base.regimes[1]]
    n, d = base.memory.shape
    if twist == "leader":
        # In the columns where it is 0 nothing is left but the weights of the others.
        place = n - 1 if rng.random() < 0.5 else between(rng, 0, n - 1)
        return _led(p, place, choose(rng, LEADS), np.asarray(rng.random(d) < 0.5))
    if twist == "level" and d > 1:
        # One column gives all logits a common part, far from 0 on either side.
        common = choose(rng, (32.0, 64.0, 128.0))
        query, memory = base.query.copy(), base.memory.copy()
        query[:, 0], memory[:, 0] = choose(rng, (common, -common, -common)), common
        return p.but(query=query, memory=memory)
    if twist == "norms":
        _, which, _ = distinct(base.query)
        powers = 4.0 ** rng.choice([-2, 0, 2, 4], int(which.max()) + 1)
        return p.but(query=round_to(base.query * powers[which][:, None], fmt))
    if twist == "special rows":
        query, memory = base.query.copy(), base.memory.copy()
        first, last = (query == query[0]).all(axis=1), (query == query[-1]).all(axis=1)
        query[last] = query[last][:, :1]
        query[first] = 0.0
        memory[(memory == memory[-1]).all(axis=1)] = choose(rng, (0.0, -0.0))
        return p.but(query=query, memory=memory)
    if twist == "small" and fmt.emin > -100:
        # Memories at the lower end of the format, and queries that make up for it.
        query, memory = np.ldexp(base.query, 11), np.ldexp(base.memory, -15)
        return p.but(query=round_to(query, fmt), memory=round_to(memory, fmt), beta=base.beta * 16)
    if twist == "large":
        shift = min(fmt.emax - 6, 100)
        query, memory = np.ldexp(base.query, -shift), np.ldexp(base.memory, shift)
        return p.but(query=round_to(query, fmt), memory=round_to(memory, fmt))
    if twist == "shrunk":
        query, memory = np.ldexp(base.query, -55), np.ldexp(base.memory, -55)
        return p.but(query=query, memory=memory, beta=math.ldexp(base.beta, 110))
    return p


def _led(p: Problem, place: int, lead: float, zeros: Mask) -> Problem:
    """``p`` with the memory at ``place`` ahead of the others by ``lead`` for the first query."""
    fmt = GRAINS[p.regimes[1]]
    direction = np.where(zeros, 0.0, p.query[0])
    if not direction.any():
        direction = np.ones(p.query.shape[1])
    memory = p.memory.copy()
    memory[place] = round_to(2 * direction / np.abs(direction).max(), fmt)
    scores = memory @ p.query[0]
    gap = float(scores[place] - np.delete(scores, place).max(initial=-np.inf))
    if not 2.0**-10 < gap < math.inf:
        return p
    return p.but(memory=memory, beta=_short(lead / gap))


def many_problem(rng: np.random.Generator, number: int) -> Problem:
    """Very many queries of very few memories; tens of thousands every fourth time."""
    count = choose(rng, LONGEST if number % 4 == 3 else (1025, 1500, 2049, 4097))
    d, n = between(rng, 1, 2), between(rng, 2, 4)
    return _assembled(rng, ("many",), _scattered(rng, count, 5), _scattered(rng, n, n), d, "narrow")


def long_problem(rng: np.random.Generator, number: int) -> Problem:
    """Very many memories, for one or two queries.

    The memories are a crowd and one ahead of it, somewhere or at the end, by so much that all of the crowd
    together match it; or of equal weight and one sign, so that sums grow; or such that their logits rise or
    fall slowly from first to last; or blocks of equal ones; or a few in irregular order.
    """
    form, sizes = LONG_FORMS[number % len(LONG_FORMS)]
    n = choose(rng, sizes)
    count, d = (1 if n > 20000 else between(rng, 1, 2)), between(rng, 1, 2)
    kinds = min(n, 200 if form == "slope" else 6)
    which = np.arange(n) * kinds // n if form in ("slope", "blocks") else _scattered(rng, n, kinds)
    base = _assembled(rng, (f"long: {form}",), _scattered(rng, count, 5), which, d, "narrow")
    if form == "level":
        beta = 0.0 if rng.random() < 0.5 else base.beta * 2.0**-12
        return base.but(memory=np.abs(base.memory), beta=beta)
    if form == "slope":
        return _sloping(rng, base, which)
    if form in ("leader", "late leader"):
        place = n - 1 if form == "late leader" else between(rng, 0, n - 1)
        base = base.but(memory=round_to(base.memory * 0.25, GRAINS[base.regimes[1]]))
        return _led(base, place, math.log(n) + choose(rng, (-2.0, 0.0, 2.0)), np.zeros(d, dtype=np.bool_))
    return base


def _sloping(rng: np.random.Generator, base: Problem, which: NDArray[np.intp]) -> Problem:
    """Memories in the order of their scores for the first query, and opposite values at both ends."""
    kinds, d = int(which.max()) + 1, base.query.shape[1]
    level = np.linspace(-1.0, 1.0, kinds)[which][:, None] * choose(rng, (1.0, -1.0))
    memory = round_to(level * np.where(base.query[0] < 0, -1.0, 1.0) * np.ones(d), GRAINS[base.regimes[1]])
    width = float(np.ptp(memory @ base.query[0])) or 1.0
    return base.but(memory=memory, beta=_short(choose(rng, (3.0, 5.0, 8.0)) / width))


def _scattered(rng: np.random.Generator, count: int, kinds: int) -> NDArray[np.intp]:
    """Which of ``kinds`` stands at each of ``count`` places, every one of them somewhere, in no order."""
    kinds = min(kinds, count)
    which = rng.integers(0, kinds, count)
    which[rng.permutation(count)[:kinds]] = np.arange(kinds)
    return np.asarray(which, dtype=np.intp)


def _short(beta: float) -> float:
    return float(np.float32(beta))


def _assembled(
    rng: np.random.Generator,
    regimes: tuple[str],
    queries: NDArray[np.intp],
    memories: NDArray[np.intp],
    d: int,
    grain: str,
) -> Problem:
    fmt = GRAINS[grain]
    scale = choose(rng, (1.0, 1.0, 0.25, 4.0))
    patterns = round_to(scale * rng.standard_normal((int(memories.max()) + 1, d)), fmt)
    states = round_to(scale * rng.standard_normal((int(queries.max()) + 1, d)), fmt)
    scores = states @ patterns.T
    width = float(np.ptp(scores, axis=1).max()) or 1.0
    beta = _short(choose(rng, SPREADS) / width)
    query, memory = states[queries], patterns[memories]
    return Problem(query, memory, beta, regimes=(*regimes, grain), seed=int(rng.integers(2**31)))
