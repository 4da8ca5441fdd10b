"""Hypothesis strategies for problems: structure, a seed for the bulk, then edits of single cells.

The bulk comes from a seeded generator so that a problem costs a handful of choices whatever its size; the
structure (sizes, grain, kind of memory, spread of the logits) and the edits are what Hypothesis explores.
"""

from __future__ import annotations

import math

import numpy as np
from hypothesis import event, note
from hypothesis import strategies as st

from hopspec.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from hopspec.properties.problem import Array, Mask, Problem, round_to

__all__ = [
    "DRAWN_GRAINS",
    "GRAINS",
    "KINDS",
    "SPREADS",
    "masked_problems",
    "problems",
    "settle_problems",
    "value_problems",
]

NARROW = Format("bfloat16 and float16", 8, -14, 15)
GRAINS: dict[str, Format] = {
    "narrow": NARROW,
    "float32": FLOAT32,
    "float64": FLOAT64,
    "float16": FLOAT16,
    "bfloat16": BFLOAT16,
}
# Mostly the grain that every dtype can be judged on, so that one oracle serves them all.
DRAWN_GRAINS = ("narrow",) * 6 + ("float32", "float64", "float16", "bfloat16")
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


@st.composite
def _sizes(draw: st.DrawFn, largest: int) -> tuple[int, int, int]:
    scale = draw(st.sampled_from(["small", "small", "small", "medium", "edge", "edge", "long"]))
    if scale == "small" or largest < 16:
        n = draw(st.integers(1, min(9, largest)))
        d = draw(st.integers(1, 6))
    elif scale == "medium":
        n = draw(st.integers(2, min(48, largest)))
        d = draw(st.integers(1, 17))
    elif scale == "edge":
        n = draw(st.sampled_from([k for k in BLOCK_EDGES if k <= largest]))
        d = draw(st.sampled_from([1, 2, 3, 7, 8, 9]))
    else:
        n = draw(st.sampled_from([k for k in LONG if k <= largest] or [largest]))
        d = draw(st.integers(1, 3))
    queries = draw(st.integers(1, 3 if n < 100 else 1))
    event(f"size: {scale}")
    return queries, n, d


def _memory(kind: str, n: int, d: int, rng: np.random.Generator) -> Array:
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


def _query(kind: str, count: int, memory: Array, rng: np.random.Generator) -> Array:
    n, d = memory.shape
    noise = rng.standard_normal((count, d)) * (np.abs(memory).mean() + 1e-6)
    if kind == "query-is-memory":
        return np.asarray(memory[rng.integers(0, n, count)])
    if kind in ("ascending", "descending"):
        return np.asarray(np.repeat(memory[-1:] - memory[:1], count, axis=0) + 0.1 * noise)
    return np.asarray(memory[rng.integers(0, n, count)] * rng.choice([0.0, 0.5, 1.0]) + 0.5 * noise)


def _beta(query: Array, memory: Array, spread: float, rng: np.random.Generator) -> float:
    scores = query @ memory.T
    width = float((scores.max(axis=1) - scores.min(axis=1)).max()) if scores.size else 0.0
    raw = spread * 2.0 / width if width > 1e-9 else spread
    raw = min(max(raw, 1e-4), 1e6)
    exact_power = rng.random() < 0.3
    mantissa, exponent = math.frexp(raw)
    return math.ldexp(1.0, exponent) if exact_power else float(np.float32(math.ldexp(mantissa, exponent)))


@st.composite
def problems(  # noqa: D417  (Hypothesis passes draw)
    draw: st.DrawFn,
    *,
    largest: int = 520,
    least: int = 1,
    spreads: tuple[str, ...] = tuple(SPREADS),
    kinds: tuple[str, ...] = KINDS,
    grains: tuple[str, ...] = DRAWN_GRAINS,
) -> Problem:
    """Draw a problem with all memories kept and ``beta > 0``.

    Args:
        largest: largest number of memories.
        least: least number of memories.
        spreads: names from :data:`SPREADS`, how far the logits of a query are apart.
        kinds: names from :data:`KINDS`.
        grains: names from :data:`GRAINS`, the format all inputs are elements of.

    >>> from hypothesis import find
    >>> find(problems(largest=4), lambda p: p.memory.shape[0] == 2).memory.shape[0]
    2
    """
    count, n, d = draw(_sizes(largest))
    n = max(n, least)
    kind, spread = draw(st.sampled_from(kinds)), draw(st.sampled_from(spreads))
    grain = draw(st.sampled_from(grains))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    fmt = GRAINS[grain]
    memory = round_to(_memory(kind, n, d, rng), fmt)
    query = round_to(_query(kind, count, memory, rng), fmt)
    beta = _beta(query, memory, SPREADS[spread], rng)
    for _ in range(draw(st.integers(0, 2))):
        target = query if draw(st.booleans()) else memory
        row, column = draw(st.integers(0, target.shape[0] - 1)), draw(st.integers(0, d - 1))
        edit = draw(st.sampled_from(["zero", "negate", "copy-row", "one", "halve"]))
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
        event(f"edit: {edit}")
    for label in (f"kind: {kind}", f"spread: {spread}", f"grain: {grain}"):
        event(label)
    note(f"seed={seed}")
    return Problem(query, memory, beta, regimes=(kind, spread, grain), seed=seed)


@st.composite
def value_problems(draw: st.DrawFn) -> Problem:
    """Problems whose association reads out separate values of another width."""
    base = draw(problems(largest=130))
    width = draw(st.integers(1, base.memory.shape[1] + 3))
    fmt = GRAINS[base.regimes[2]]
    values = round_to(base.rng.standard_normal((base.memory.shape[0], width)) * 2, fmt)
    return base.but(values=values)


@st.composite
def masked_problems(draw: st.DrawFn) -> Problem:
    """Problems with a keep mask, per memory or per query; empty rows occur."""
    base = draw(problems(largest=70))
    n, count = base.memory.shape[0], base.query.shape[0]
    rng = base.rng
    form = draw(
        st.sampled_from(
            ["per-memory", "per-query", "first-block-masked", "one-kept", "empty-row", "all-empty"]
        )
    )
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
    event(f"mask: {form}")
    return base.but(keep=keep, regimes=(*base.regimes, form))


@st.composite
def settle_problems(draw: st.DrawFn) -> Problem:
    """Problems for iteration: from strongly contracting to slow and metastable, several queries each."""
    base = draw(problems(largest=12, least=2, spreads=("mild", "mixed", "metastable", "sharp")))
    rng = base.rng
    fmt = GRAINS[base.regimes[2]]
    extra = round_to(base.memory[rng.integers(0, base.memory.shape[0], 2)] * 0.75, fmt)
    query = np.concatenate([base.query, extra])
    scale = float(np.abs(base.memory).max()) or 1.0
    power = draw(st.sampled_from([-2, -4, -6, -8]))
    eps = scale * math.ldexp(1.0, power)
    event(f"eps: 2**{power} of the largest entry")
    return base.but(
        query=query, eps=eps, max_steps=draw(st.sampled_from([1, 2, 3, 5, 40])), steps=draw(st.integers(0, 4))
    )
