"""Problems as they are drawn: structure (sizes, grain, kind, spread), bulk, then edits of single cells.

All of a problem follows from one seed. Where Hypothesis drew the structure choice by choice, it made most
examples by copying choices of earlier ones, and rare regimes were missed. Shrinking does not suffer, since
the runner has a reducer that knows what a smaller problem is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from hopspec.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from hopspec.properties.problem import Array, Mask, Problem, round_to
from hopspec.properties.turns import Turns

__all__ = [
    "DRAWN_GRAINS",
    "GRAINS",
    "KINDS",
    "MASKS",
    "SPREADS",
    "between",
    "choose",
    "masked_problem",
    "memory_of",
    "problem",
    "query_of",
    "settle_problem",
    "temperature",
    "value_problem",
]

T = TypeVar("T")

NARROW = Format("bfloat16 and float16", 8, -14, 15)
GRAINS: dict[str, Format] = {
    "narrow": NARROW,
    "float32": FLOAT32,
    "float64": FLOAT64,
    "float16": FLOAT16,
    "bfloat16": BFLOAT16,
}
# Mostly the grain that every dtype can be judged on, so that one oracle serves them all.
DRAWN_GRAINS = ("narrow",) * 6 + ("float32",) * 2 + ("float64", "float16", "bfloat16")
KINDS = (
    "gaussian",
    "clustered",
    "near-tie",
    "duplicates",
    "common-offset",
    "ascending",
    "descending",
    "mixed-norms",
    "one-hot",
    "powers-of-two",
    "signs",
    "uniform-positive",
    "tiny",
    "query-is-memory",
)
SPREADS = {"flat": 0.02, "mild": 0.7, "mixed": 2.5, "metastable": 5.0, "sharp": 14.0, "saturated": 60.0}
BLOCK_EDGES = (15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129)
LONG = (511, 512, 513, 520)


def choose(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options, each as likely as the others, and each in turn where ``rng`` takes turns."""
    return options[_index(rng, len(options))]


def between(rng: np.random.Generator, low: int, high: int) -> int:
    """An integer from ``low`` to ``high``, both included."""
    return low + _index(rng, high + 1 - low)


def _index(rng: np.random.Generator, count: int) -> int:
    return rng.turn(count) if isinstance(rng, Turns) else int(rng.integers(count))


def _sizes(rng: np.random.Generator, largest: int) -> tuple[str, int, int, int]:
    scale = choose(rng, ["small", "small", "small", "medium", "edge", "edge", "long"])
    if scale == "small" or largest < 16:
        n, d = between(rng, 1, min(9, largest)), between(rng, 1, 6)
    elif scale == "medium":
        n, d = between(rng, 2, min(48, largest)), between(rng, 1, 17)
    elif scale == "edge":
        n, d = choose(rng, [k for k in BLOCK_EDGES if k <= largest]), choose(rng, [1, 2, 3, 7, 8, 9])
    else:
        n, d = choose(rng, [k for k in LONG if k <= largest] or [largest]), between(rng, 1, 3)
    # Rarely a single query: some properties compare queries with each other.
    return scale, choose(rng, (1, 2, 2, 3, 3) if n < 100 else (1, 1, 2)), n, d


def memory_of(kind: str, n: int, d: int, rng: np.random.Generator) -> Array:
    """A memory ``[n, d]`` of one of :data:`KINDS`, not yet rounded to a format."""
    x = rng.standard_normal((n, d))
    rows = np.arange(n)[:, None]
    if kind == "clustered":
        centres = rng.standard_normal((max(1, n // 4), d)) * 2
        x = centres[rng.integers(0, len(centres), n)] + 0.1 * x
    elif kind == "near-tie":
        x = rng.standard_normal((1, d)) + x * 2.0**-6
    elif kind == "duplicates":
        x = x[rng.integers(0, max(1, n // 2), n)]
    elif kind == "common-offset":
        x = x + rng.choice([4.0, 32.0, -100.0])
    elif kind in ("ascending", "descending"):
        direction = rng.standard_normal((1, d))
        order = rows if kind == "ascending" else n - 1 - rows
        x = 0.3 * x + direction * (order + 1) / n
    elif kind == "mixed-norms":
        x = x * 4.0 ** rng.integers(-3, 3, (n, 1))
    elif kind == "one-hot":
        x = np.eye(d)[rng.integers(0, d, n)] * rng.choice([1.0, 2.0])
    elif kind == "powers-of-two":
        x = np.ldexp(np.sign(x), rng.integers(-4, 4, (n, d)))
    elif kind == "signs":
        x = np.sign(x)
    elif kind == "uniform-positive":
        x = rng.uniform(0, 1, (n, d))
    elif kind == "tiny":
        x = x * 2.0**-9
    return np.asarray(x, dtype=np.float64)


def query_of(kind: str, count: int, memory: Array, rng: np.random.Generator) -> Array:
    """Queries ``[count, d]`` that belong to a memory of that kind, not yet rounded to a format."""
    n, d = memory.shape
    noise = rng.standard_normal((count, d)) * (np.abs(memory).mean() + 1e-6)
    if kind == "query-is-memory":
        return np.asarray(memory[rng.integers(0, n, count)])
    if kind in ("ascending", "descending"):
        return np.asarray(np.repeat(memory[-1:] - memory[:1], count, axis=0) + 0.1 * noise)
    return np.asarray(memory[rng.integers(0, n, count)] * rng.choice([0.0, 0.5, 1.0]) + 0.5 * noise)


def temperature(query: Array, memory: Array, spread: float, rng: np.random.Generator) -> float:
    """A beta with which the logits of a query lie about ``2 * spread`` apart."""
    scores = query @ memory.T
    width = float((scores.max(axis=1) - scores.min(axis=1)).max()) if scores.size else 0.0
    raw = spread * 2.0 / width if width > 1e-9 else spread
    raw = min(max(raw, 1e-4), 1e6)
    exact_power = rng.random() < 0.3
    mantissa, exponent = math.frexp(raw)
    return math.ldexp(1.0, exponent) if exact_power else float(np.float32(math.ldexp(mantissa, exponent)))


def problem(
    rng: np.random.Generator,
    *,
    largest: int = 520,
    least: int = 1,
    spreads: Sequence[str] = tuple(SPREADS),
    kinds: Sequence[str] = KINDS,
    grains: Sequence[str] = DRAWN_GRAINS,
) -> Problem:
    """A problem with all memories kept and ``beta > 0``.

    Args:
        rng: where every choice comes from.
        largest: largest number of memories.
        least: least number of memories.
        spreads: names from :data:`SPREADS`, how far the logits of a query are apart.
        kinds: names from :data:`KINDS`.
        grains: names from :data:`GRAINS`, the format all inputs are elements of.
    """
    # What tells most comes first, because it takes turns soonest.
    grain, spread = choose(rng, grains), choose(rng, spreads)
    scale, count, n, d = _sizes(rng, largest)
    n, kind = max(n, least), choose(rng, kinds)
    fmt = GRAINS[grain]
    memory = round_to(memory_of(kind, n, d, rng), fmt)
    query = round_to(query_of(kind, count, memory, rng), fmt)
    beta = temperature(query, memory, SPREADS[spread], rng)
    edits = [_edit(rng, choose(rng, [query, memory]), fmt) for _ in range(between(rng, 0, 2))]
    regimes = (kind, spread, grain, f"size: {scale}", *edits)
    return Problem(query, memory, beta, regimes=regimes, seed=int(rng.integers(2**31)))


def _edit(rng: np.random.Generator, target: Array, fmt: Format) -> str:
    row, column = between(rng, 0, target.shape[0] - 1), between(rng, 0, target.shape[1] - 1)
    edit = choose(rng, ["zero", "negate", "copy-row", "one", "halve"])
    if edit == "zero":
        target[row, column] = 0.0
    elif edit == "negate":
        target[row] = -target[row]
    elif edit == "copy-row":
        target[row] = target[0]
    elif edit == "one":
        target[row, column] = 1.0
    else:
        target[row] = round_to(target[row] / 2, fmt)
    return f"edit: {edit}"


def value_problem(rng: np.random.Generator) -> Problem:
    """A problem whose association reads out separate values of another width."""
    base = problem(rng, largest=130)
    width = between(rng, 1, base.memory.shape[1] + 3)
    values = round_to(rng.standard_normal((base.memory.shape[0], width)) * 2, GRAINS[base.regimes[2]])
    return base.but(values=values)


MASKS = ("per-memory", "per-query", "first-block-masked", "one-kept", "empty-row", "all-empty")


def masked_problem(rng: np.random.Generator) -> Problem:
    """A problem with a keep mask, per memory or per query; empty rows occur."""
    form = choose(rng, MASKS)
    base = problem(rng, largest=70)
    n, count = base.memory.shape[0], base.query.shape[0]
    keep: Mask
    if form == "per-memory":
        keep = np.asarray(rng.random(n) < 0.6)
        keep[rng.integers(0, n)] = True
    elif form == "first-block-masked":
        keep = np.asarray(np.arange(n) >= n // 2)
    elif form == "one-kept":
        keep = np.isin(np.arange(n), rng.integers(0, n))
    elif form == "all-empty":
        keep = np.zeros(n, dtype=np.bool_)
    else:
        keep = np.asarray(rng.random((count, n)) < 0.6)
        keep[:, rng.integers(0, n)] = True
        if form == "empty-row":
            keep[rng.integers(0, count)] = False
    return base.but(keep=keep, regimes=(*base.regimes, form))


def settle_problem(rng: np.random.Generator) -> Problem:
    """A problem for iteration, from strongly contracting to slow and metastable, several queries each."""
    power, limit, steps = choose(rng, [-2, -4, -6, -8]), choose(rng, [1, 2, 3, 5, 40]), between(rng, 0, 4)
    base = problem(rng, largest=12, least=2, spreads=("mild", "mixed", "metastable", "sharp"))
    extra = base.memory[rng.integers(0, base.memory.shape[0], 2)] * 0.75
    query = np.concatenate([base.query, round_to(extra, GRAINS[base.regimes[2]])])
    scale = float(np.abs(base.memory).max()) or 1.0
    regimes = (*base.regimes, f"eps: 2**{power} of the largest entry")
    return base.but(query=query, eps=scale * 2.0**power, max_steps=limit, steps=steps, regimes=regimes)
