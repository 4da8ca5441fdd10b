"""Updates evaluated wholly in F_p: their bits, their error, and from how many bits on they retrieve."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.formats import Format
from hopspec.pbit import PBit, PBits
from hopspec.properties.judgement import Judgement, all_of, compare, require
from hopspec.properties.problem import round_to
from hopspec.properties.trials import Trial, trial
from hopspec.reference import solve
from hopspec.reference.networks.fields import PBitField
from hopspec.reference.networks.retrieval import read_out, retrieval_bits, separation
from hopspec.reference.networks.truncation import pbit_bound
from hopspec.reference.pbit import Arithmetic

Array = NDArray[np.float64]

# Inputs are multiples of powers of two with so few bits that every F_p that is asked has them.
COARSE = Format("4 bits", 4, -12, 12)
QUERIES, COLUMNS = 8, 16


def coarse(t: Trial, *shape: int) -> Array:
    """Normal numbers of four bits."""
    return round_to(t.rng.standard_normal(shape), COARSE)


def updated(t: Trial, fmt: PBits, query: Array, memory: Array, beta: float) -> list[list[PBit]]:
    """What the implementation answers."""
    rows = t.ask("update", fmt, query.tolist(), memory.tolist(), beta)
    return [[PBit(*x) for x in row] for row in rows]


@trial("MHN-NET-4", "arithmetic", cases=80)
def updates_are_those_of_the_definition(t: Trial) -> Judgement | None:
    """Every bit of an update is that of the definition."""
    bits = int(t.rng.choice((4, 5, 8, 11, 16, 24, 29)))
    fmt = PBits(bits, underflow=("nearest", "zero", "least", "gradual")[t.number % 4])
    if not t.ask("supports", fmt):
        return None
    count, n, d = (int(t.rng.integers(1, most)) for most in (3, 3 + 2 * min(t.number, 8), 6))
    grain = Format(f"{bits} bits", bits, -12, 40)
    query, memory = (round_to(t.rng.standard_normal((rows, d)), grain) for rows in (count, n))
    if t.rng.random() < 0.5:
        memory[t.rng.random(memory.shape) < 0.3] = 0.0
    # From a mean to a single memory.
    beta = float(2.0 ** t.rng.integers(-4, 8))
    got = updated(t, fmt, query, memory, beta)
    right = read_out(PBitField(Arithmetic(fmt)), query.tolist(), memory.tolist(), beta, shift=True)
    pairs = [
        (mine, other)
        for row, rows in zip(got, right, strict=True)
        for mine, other in zip(row, rows, strict=True)
    ]
    what = f"update of {query.tolist()} over {memory.tolist()}, beta = {beta}, p = {bits}"
    return all_of(*(require(what, mine == other, mine, other) for mine, other in pairs))


def nearly_constant(t: Trial, bits: int) -> tuple[Array, Array]:
    """Queries, a memory, and others alike with weights just above a half; entries are neighbors in F_p.

    The error of a column comes from four roundings alone, those of products, both sums and the quotient.
    The bound allows half a unit for each with hardly a reserve, so that an arithmetic whose roundings err by
    up to a unit exceeds it: all four are of numbers just above powers of two, and products err alike.
    """
    grain = Format(f"{bits} bits", bits, -12, 40)
    others = 2 ** int(t.rng.integers(2, 5)) - 2
    query = np.zeros((QUERIES, 1 + COLUMNS))
    query[:, 0] = round_to(0.6 + 0.09 * t.rng.random(QUERIES), grain)
    numbers = round_to(1 + 0.1 * t.rng.random(COLUMNS), grain)
    best = np.concatenate([[0.0], numbers + 2.0 ** (1 - bits)])
    other = np.concatenate([[-1.0], numbers])
    return query, np.stack([best, *[other] * others])


@trial("MHN-NET-5", "arithmetic", cases=60)
def updates_in_few_bits_within_bound(t: Trial) -> Judgement | None:
    """The error of an update in F_p is within the proved bound."""
    bits = int(t.rng.integers(6, 30))
    fmt = PBits(bits, underflow=("nearest", "zero", "gradual")[t.number % 3])
    if not t.ask("supports", fmt):
        return None
    n, d = int(t.rng.integers(1, 4 + min(2 * t.number, 24))), int(t.rng.integers(1, 6))
    query, memory = coarse(t, 2, d), coarse(t, n, d)
    if t.number % 3 == 0:
        # Equal weights: the bound is closest where logits are small.
        memory, query = memory[:1] * np.where(np.arange(n) % 2, -1, 1)[:, None], query * 2.0**-10
    beta = float(2.0 ** t.rng.integers(-6, 4))
    if t.number % 2:
        (query, memory), beta = nearly_constant(t, bits), 1.0
    got = updated(t, fmt, query, memory, beta)
    exact = solve(query, memory, beta=beta).state
    bound = pbit_bound(query.tolist(), memory.tolist(), beta, fmt)
    numbers = np.array([[float(x) for x in row] for row in got])
    return compare(f"update in {bits} bits", numbers, exact, bound)


def confusable(t: Trial) -> tuple[Array, Array, float, float]:
    """Two memories that differ in one entry by a power of two, others far away, and a quarter of it."""
    k = int(t.rng.integers(2, 14))
    others = -np.abs(coarse(t, int(t.rng.integers(0, 5)), 2))
    memory = np.concatenate([[[1.0, 2.0**-k], [1.0, 0.0]], others])
    return np.ones((1, 2)), memory, 2.0 ** (k + int(t.rng.integers(4, 7))), 2.0 ** -(k + 2)


def spread_out(t: Trial) -> tuple[Array, Array, float, float]:
    """Random memories, a query near one of them, and any error."""
    n, d = int(t.rng.integers(2, 12)), int(t.rng.integers(2, 9))
    memory = coarse(t, n, d)
    query = round_to(memory[:1] + 0.1 * coarse(t, 1, d), COARSE)
    gap = float(separation(query[0].tolist(), memory).gap) or 1.0
    beta = 2.0 ** round(math.log2(float(t.rng.choice((10.0, 30.0, 200.0, 2000.0))) / gap))
    return query, memory, beta, 2.0 ** -int(t.rng.integers(1, 9))


@trial("MHN-NET-6", "arithmetic", cases=60)
def separated_memories_are_retrieved(t: Trial) -> Judgement | None:
    """With as many bits as the theorem asks for, or more, the best memory is retrieved."""
    query, memory, beta, error = (confusable, spread_out)[t.number % 2](t)
    of = separation(query[0].tolist(), memory)
    least = retrieval_bits(of, beta, error) if of.gap > 0 else None
    if least is None:
        return None
    found = []
    for bits in {least, least + int(t.rng.integers(1, 8))}:
        fmt = PBits(bits, underflow=("zero", "nearest", "least")[t.number % 3])
        if not t.ask("supports", fmt):
            continue
        got = updated(t, fmt, query, memory, beta)[0]
        distance = max(
            abs(x.fraction - Fraction(y)) for x, y in zip(got, memory[of.winner].tolist(), strict=True)
        )
        found.append(_ratio(f"distance from memory {of.winner} in {bits} bits", distance, error))
    return all_of(*found)


def _ratio(what: str, distance: Fraction, bound: float) -> Judgement:
    ratio = float(distance / Fraction(bound))
    if distance > Fraction(bound):
        ratio = max(ratio, math.nextafter(1.0, 2.0))
    return Judgement(ratio, what, repr(float(distance)), "0.0", bound, 1)


@trial("MHN-NET-7", "arithmetic", cases=20)
def too_few_bits_confuse_two_memories(t: Trial) -> Judgement | None:
    """Where the scores of two memories differ by less than p bits tell, the result is their mean."""
    k = int(t.rng.integers(4, 25))
    fmt = PBits(int(t.rng.integers(4, k + 1)), -400, 400)
    if not t.ask("supports", fmt):
        return None
    memory: Any = np.array([[1.0, 2.0**-k], [1.0, 0.0]])
    got = updated(t, fmt, np.ones((1, 2)), memory, float(2.0 ** t.rng.integers(0, 60)))[0]
    right = [Arithmetic(fmt).number(x) for x in (1.0, 2.0 ** -(k + 1))]
    return require(f"update between memories 2**-{k} apart in {fmt.bits} bits", got == right, got, right)
