"""Families of problems: which strategy serves which properties."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from hypothesis import event
from hypothesis import strategies as st

from hopspec.properties.problem import Problem, round_to
from hopspec.properties.strategies import (
    DRAWN_GRAINS,
    GRAINS,
    masked_problems,
    problems,
    settle_problems,
    value_problems,
)

__all__ = ["FAMILIES"]


@st.composite
def _separated(draw: st.DrawFn) -> Problem:
    """Memories far apart, queries close to one of them, from barely to overwhelmingly separated."""
    n, d = draw(st.integers(2, 9)), draw(st.sampled_from([4, 8, 16, 17]))
    grain = draw(st.sampled_from(DRAWN_GRAINS))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    fmt = GRAINS[grain]
    memory = rng.standard_normal((n, d))
    # Entries near zero would leave the bitwise lemma without a case.
    memory = round_to(np.where(np.abs(memory) < 0.25, 0.5, memory), fmt)
    noise = draw(st.sampled_from([0.0, 0.02, 0.1]))
    query = round_to(memory[rng.integers(0, n, 2)] + noise * rng.standard_normal((2, d)), fmt)
    gram = memory @ memory.T
    gaps = [(gram[i, i] - np.delete(gram[i], i)).min() for i in range(n)]
    best = max(*gaps, 0.25)
    target = draw(st.sampled_from([2.0, 6.0, 12.0, 25.0, 60.0]))
    event(f"separation: {target:g}")
    beta = math.ldexp(1.0, round(math.log2(target / best)))
    return Problem(query, memory, beta, regimes=("separated", grain), seed=int(rng.integers(2**31)))


@st.composite
def _pairs(draw: st.DrawFn) -> Problem:
    """A query between two memories, where the update is steepest."""
    n, d = draw(st.sampled_from([2, 2, 3, 4])), draw(st.integers(1, 5))
    grain = draw(st.sampled_from(DRAWN_GRAINS))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    fmt = GRAINS[grain]
    memory = round_to(rng.standard_normal((n, d)), fmt)
    memory[1] = -memory[0] if rng.random() < 0.5 else memory[1]
    query = round_to((memory[:1] + memory[1:2]) / 2, fmt)
    gap = float(np.square(memory[0] - memory[1]).sum()) or 1.0
    constant = draw(st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]))
    event(f"Lipschitz constant about {constant:g}")
    return Problem(query, memory, 4 * constant / gap, regimes=("pairs", grain), seed=int(rng.integers(2**31)))


@st.composite
def _extreme(draw: st.DrawFn) -> Problem:
    """Finite inputs at the end of their format, and huge or tiny beta."""
    base = draw(problems(largest=9, grains=("float32", "float64", "float16", "bfloat16", "narrow")))
    fmt = GRAINS[base.regimes[2]]
    form = draw(
        st.sampled_from(
            [
                "huge",
                "huge-query",
                "huge-memory",
                "huge-level",
                "huge-beta",
                "norm-1e20",
                "tiny",
                "cancelling",
            ]
        )
    )
    top = max(np.abs(base.memory).max(), np.abs(base.query).max(), 2.0**-20)
    up = math.ldexp(1.0, min(fmt.emax - 1 - math.frexp(top)[1], 1000))
    query, memory, beta = base.query, base.memory, base.beta
    if form == "norm-1e20":
        up = min(up, 2.0**66)
    if form in ("huge", "huge-query", "norm-1e20"):
        query = round_to(query * up, fmt)
    if form == "huge-level":
        # The logits stay as they are, so that many weights matter and their weighted sum may overflow.
        query = round_to(query / up, fmt)
    if form in ("huge", "huge-memory", "huge-level", "norm-1e20"):
        memory = round_to(memory * up, fmt)
    if form == "huge-beta":
        beta = math.ldexp(beta, draw(st.sampled_from([20, 60, 130, 500])))
    if form == "tiny":
        query, memory = round_to(query * 2.0**fmt.emin, fmt), round_to(memory * 2.0**fmt.emin, fmt)
        beta = draw(st.sampled_from([1.0, 2.0**100, 2.0**-200]))
    if form == "cancelling" and query.shape[1] > 1:
        # Partial sums overflow although every score is moderate.
        query, memory = round_to(query * up, fmt), round_to(memory * up, fmt)
        query[:, 1::2] = query[:, : query.shape[1] - 1 : 2][:, : query[:, 1::2].shape[1]]
        memory[:, 1::2] = -memory[:, : memory.shape[1] - 1 : 2][:, : memory[:, 1::2].shape[1]]
    event(f"extreme: {form}")
    return base.but(query=query, memory=memory, beta=beta, regimes=(*base.regimes, form))


@st.composite
def _any_beta(draw: st.DrawFn) -> Problem:
    """Every finite beta: negative, zero, tiny, huge."""
    base = draw(problems(largest=17, spreads=("mixed", "metastable")))
    form = draw(st.sampled_from(["negative", "zero", "tiny", "small", "large", "negative-large"]))
    beta = {
        "negative": -base.beta,
        "zero": 0.0,
        "tiny": base.beta * 2.0**-40,
        "small": base.beta / 64,
        "large": base.beta * 16,
        "negative-large": -16 * base.beta,
    }[form]
    event(f"beta: {form}")
    return base.but(beta=beta, regimes=(*base.regimes, form))


@st.composite
def _saddles(draw: st.DrawFn) -> Problem:
    """A start near the mean of a few memories, sharp enough for unstable fixed points to occur."""
    n, d = draw(st.integers(2, 5)), draw(st.integers(1, 4))
    grain = draw(st.sampled_from(DRAWN_GRAINS))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    fmt = GRAINS[grain]
    memory = round_to(rng.standard_normal((n, d)), fmt)
    query = round_to(memory[: draw(st.integers(1, n))].mean(axis=0, keepdims=True), fmt)
    beta = draw(st.sampled_from([0.25, 1.0, 3.0, 8.0]))
    return Problem(query, memory, beta, regimes=("saddles", grain), seed=int(rng.integers(2**31)))


@st.composite
def _precision(draw: st.DrawFn) -> Problem:
    """Small problems with a number of bits in ``steps``; the inputs have at most four bits."""
    base = draw(problems(largest=8, grains=("narrow",), spreads=("flat", "mild", "mixed", "metastable")))
    bits = draw(st.integers(5, 60))
    event(f"bits: {bits // 16 * 16}..{bits // 16 * 16 + 15}")
    fmt = GRAINS["narrow"]
    coarse = type(fmt)("4 bits", 4, fmt.emin, fmt.emax)
    beta = math.ldexp(1.0, math.frexp(base.beta)[1])
    return base.but(
        query=round_to(base.query, coarse), memory=round_to(base.memory, coarse), beta=beta, steps=bits
    )


FAMILIES: dict[str, Callable[[], st.SearchStrategy[Problem]]] = {
    "general": problems,
    "values": value_problems,
    "masked": masked_problems,
    "settle": settle_problems,
    "single": lambda: problems(largest=1),
    "separated": _separated,
    "pairs": _pairs,
    "saddles": _saddles,
    "extreme": _extreme,
    "any-beta": _any_beta,
    "precision": _precision,
}
