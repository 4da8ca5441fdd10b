"""Families of problems: which strategy serves which properties."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from hopspec.properties.attention_problems import biased_problem, causal_problem
from hopspec.properties.crowds import crowd_problem
from hopspec.properties.problem import Mask, Problem, round_to
from hopspec.properties.sizes import long_problem, many_problem, tile_problem
from hopspec.properties.strategies import (
    DRAWN_GRAINS,
    GRAINS,
    between,
    choose,
    masked_problem,
    problem,
    settle_problem,
    value_problem,
)
from hopspec.properties.telling import telling_problem
from hopspec.properties.turns import Turns

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["FAMILIES", "LARGE", "drawn", "problems"]


def _separated(rng: np.random.Generator) -> Problem:
    """Memories far apart, queries close to one of them, from barely to overwhelmingly separated."""
    n, d = between(rng, 2, 9), choose(rng, [4, 8, 16, 17])
    grain = choose(rng, DRAWN_GRAINS)
    fmt = GRAINS[grain]
    memory = rng.standard_normal((n, d))
    # Entries near zero would leave the bitwise lemma without a case.
    memory = round_to(np.where(np.abs(memory) < 0.25, 0.5, memory), fmt)
    noise = choose(rng, [0.0, 0.02, 0.1])
    query = round_to(memory[rng.integers(0, n, 2)] + noise * rng.standard_normal((2, d)), fmt)
    gram = memory @ memory.T
    gaps = [(gram[i, i] - np.delete(gram[i], i)).min() for i in range(n)]
    best = max(*gaps, 0.25)
    target = choose(rng, [2.0, 6.0, 12.0, 25.0, 60.0, 150.0, 400.0])
    beta = math.ldexp(1.0, round(math.log2(target / best)))
    regimes = ("separated", grain, f"separation: {target:g}")
    return Problem(query, memory, beta, regimes=regimes, seed=int(rng.integers(2**31)))


def _pairs(rng: np.random.Generator) -> Problem:
    """A query between two memories, where the update is steepest."""
    n, d = choose(rng, [2, 2, 3, 4]), between(rng, 1, 5)
    grain = choose(rng, DRAWN_GRAINS)
    fmt = GRAINS[grain]
    memory = round_to(rng.standard_normal((n, d)), fmt)
    memory[1] = -memory[0] if rng.random() < 0.5 else memory[1]
    query = round_to((memory[:1] + memory[1:2]) / 2, fmt)
    gap = float(np.square(memory[0] - memory[1]).sum()) or 1.0
    constant = choose(rng, [0.25, 0.5, 1.0, 2.0, 4.0])
    regimes = ("pairs", grain, f"Lipschitz constant about {constant:g}")
    return Problem(query, memory, 4 * constant / gap, regimes=regimes, seed=int(rng.integers(2**31)))


# How the logits of the parts of a memory lie to each other.
LEVELS = ("equal", "rising", "falling", "one-ahead", "random")


def _parts(rng: np.random.Generator) -> Problem:
    """Consecutive parts of a memory at different levels, some of which a query does not keep at all."""
    n, d = choose(rng, [2, 3, 5, 9, 24, 25, 47, 48, 49, 73, 100]), between(rng, 1, 5)
    grain = choose(rng, DRAWN_GRAINS)
    fmt = GRAINS[grain]
    direction = rng.standard_normal((1, d))
    direction /= np.linalg.norm(direction)
    count = between(rng, 2, min(n, 6))
    part = np.arange(n) * count // n
    form, spread = choose(rng, LEVELS), choose(rng, [0.5, 3.0, 12.0, 40.0, 200.0, 4000.0])
    levels = {
        "equal": np.zeros(count),
        "rising": np.linspace(-1.0, 0.0, count),
        "falling": np.linspace(0.0, -1.0, count),
        "one-ahead": np.where(np.arange(count) == rng.integers(0, count), 0.0, -1.0),
        "random": rng.uniform(-1.0, 0.0, count),
    }[form]
    # A common level makes all log-normalizers large, of which merging sees the differences only.
    common, noise = choose(rng, [0.0, 0.0, 1.0, -1.0, 4.0]), choose(rng, [0.3, 0.02])
    memory = noise * rng.standard_normal((n, d)) + (levels[part, None] + common) * direction
    memory = round_to(memory, fmt)
    query = round_to(direction + 0.05 * rng.standard_normal((2, d)), fmt)
    keep: Mask | None = None
    masked = choose(rng, ["none", "none", "part", "all-but-one-part", "scattered"])
    if masked == "part":
        keep = np.stack([part != rng.integers(0, count) for _ in range(2)])
    elif masked == "all-but-one-part":
        keep = np.stack([part == rng.integers(0, count) for _ in range(2)])
    elif masked == "scattered":
        keep = rng.random((2, n)) < 0.3
        keep[:, rng.integers(0, n)] = True
    regimes = (form, masked, grain, f"apart by: {spread:g}")
    return Problem(query, memory, spread, keep=keep, regimes=regimes, seed=int(rng.integers(2**31)))


def _extreme(rng: np.random.Generator) -> Problem:
    """Finite inputs at the end of their format, and huge or tiny beta."""
    form = choose(
        rng,
        [
            "huge",
            "huge-query",
            "huge-memory",
            "huge-level",
            "huge-beta",
            "norm-1e20",
            "tiny",
            "cancelling",
        ],
    )
    base = problem(rng, largest=9, grains=("float32", "float64", "float16", "bfloat16", "narrow"))
    fmt = GRAINS[base.regimes[2]]
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
        beta = math.ldexp(beta, choose(rng, [20, 60, 130, 500]))
    if form == "tiny":
        query, memory = round_to(query * 2.0**fmt.emin, fmt), round_to(memory * 2.0**fmt.emin, fmt)
        beta = choose(rng, [1.0, 2.0**100, 2.0**-200])
    if form == "cancelling" and query.shape[1] > 1:
        # Partial sums overflow although every score is moderate.
        query, memory = round_to(query * up, fmt), round_to(memory * up, fmt)
        query[:, 1::2] = query[:, : query.shape[1] - 1 : 2][:, : query[:, 1::2].shape[1]]
        memory[:, 1::2] = -memory[:, : memory.shape[1] - 1 : 2][:, : memory[:, 1::2].shape[1]]
    return base.but(query=query, memory=memory, beta=beta, regimes=(*base.regimes, form))


def _any_beta(rng: np.random.Generator) -> Problem:
    """Every finite beta: negative, zero, tiny, huge."""
    form = choose(rng, ["negative-large", "zero", "small", "negative", "tiny", "large"])
    # Logits so far apart that exponentials of their distance leave the range of a type, single and double.
    large = choose(rng, [16, 32, 128])
    fine = choose(rng, [False, True])
    base = problem(rng, largest=17, spreads=("mixed", "metastable"))
    beta = {
        "negative-large": -large * base.beta,
        "zero": 0.0,
        "small": base.beta / 64,
        "negative": -base.beta,
        "tiny": base.beta * 2.0**-40,
        "large": large * base.beta,
    }[form]
    if fine:
        # As many bits as a Python float has.
        beta *= 1 + 2.0**-25 * rng.random()
        form = f"{form}, 53 bits"
    return base.but(beta=beta, regimes=(*base.regimes, form))


def _saddles(rng: np.random.Generator) -> Problem:
    """A start near the mean of a few memories, sharp enough for unstable fixed points to occur."""
    n, d = between(rng, 2, 5), between(rng, 1, 4)
    grain = choose(rng, DRAWN_GRAINS)
    fmt = GRAINS[grain]
    memory = round_to(rng.standard_normal((n, d)), fmt)
    query = round_to(memory[: between(rng, 1, n)].mean(axis=0, keepdims=True), fmt)
    beta = choose(rng, [0.25, 1.0, 3.0, 8.0])
    return Problem(query, memory, beta, regimes=("saddles", grain), seed=int(rng.integers(2**31)))


def _precision(rng: np.random.Generator) -> Problem:
    """Small problems with a number of bits in ``steps``; the inputs have at most four bits."""
    base = problem(rng, largest=8, grains=("narrow",), spreads=("flat", "mild", "mixed", "metastable"))
    bits = between(rng, 5, 60)
    fmt = GRAINS["narrow"]
    coarse = type(fmt)("4 bits", 4, fmt.emin, fmt.emax)
    beta = math.ldexp(1.0, math.frexp(base.beta)[1])
    regimes = (*base.regimes, f"bits: {bits // 16 * 16}..{bits // 16 * 16 + 15}")
    query, memory = round_to(base.query, coarse), round_to(base.memory, coarse)
    return base.but(query=query, memory=memory, beta=beta, steps=bits, regimes=regimes)


Draw = Callable[[tuple[int, int], int], Problem]


def _turning(build: Callable[[np.random.Generator], Problem]) -> Draw:
    """Problems whose choices take turns."""
    return lambda seed, number: build(Turns(seed, number))


def _following(build: Callable[[np.random.Generator, int], Problem]) -> Draw:
    """Problems whose forms follow each other in an order of their own, and whose other choices are drawn."""
    return lambda seed, number: build(np.random.default_rng((*seed, number)), number)


_TURNING: dict[str, Callable[[np.random.Generator], Problem]] = {
    "general": problem,
    "values": value_problem,
    "masked": masked_problem,
    "settle": settle_problem,
    "single": lambda rng: problem(rng, largest=1),
    "separated": _separated,
    "pairs": _pairs,
    "parts": _parts,
    "saddles": _saddles,
    "extreme": _extreme,
    "any-beta": _any_beta,
    "precision": _precision,
    "crowd": crowd_problem,
    "causal": causal_problem,
    "biased": biased_problem,
    "telling": telling_problem,
}
FAMILIES: dict[str, Draw] = {
    **{name: _turning(build) for name, build in _TURNING.items()},
    "tiles": _following(tile_problem),
    "long": _following(long_problem),
    "many": _following(many_problem),
}
LARGE = ("long", "many")
"""Families of problems that take seconds where every memory of every query is treated alone."""


def drawn(family: str, seed: int, number: int) -> Problem:
    """One problem of a family; the same arguments give the same problem, whatever else has been drawn.

    Args:
        family: name in :data:`FAMILIES`.
        seed: other seeds give other problems.
        number: which of the problems of this seed.

    >>> drawn("single", 0, 5).memory.shape[0]
    1
    """
    own = (seed, zlib.crc32(family.encode()))
    # Whatever a property picks by the seed of its problem takes turns too: the remainders by small numbers
    # run through all their values, and move against the problem's own choices from six to six.
    return FAMILIES[family](own, number).but(seed=_first(own) + number + number // 6)


@lru_cache(maxsize=64)
def _first(own: tuple[int, int]) -> int:
    return int(np.random.default_rng(own).integers(2**31))


def problems(family: str, seed: int = 0) -> SearchStrategy[Problem]:
    """Hypothesis strategy for the problems of one family, their regimes shown as events.

    Args:
        family: name in :data:`FAMILIES`.
        seed: other seeds give other problems.

    >>> from hypothesis import find
    >>> find(problems("single"), lambda p: p.query.shape[0] == 2).memory.shape[0]
    1
    """
    from hypothesis import event  # noqa: PLC0415  (a run draws without it)
    from hypothesis import strategies as st  # noqa: PLC0415

    def build(bits: tuple[bool, ...]) -> Problem:
        problem = drawn(family, seed, int.from_bytes(np.packbits(bits).tobytes()))
        for regime in problem.regimes:
            event(regime)
        return problem

    # Not an integer: Hypothesis takes some integers from the constants of whatever modules are loaded, and
    # the same seed would not give the same problems in another program.
    return st.tuples(*[st.booleans()] * 32).map(build)
