"""The bits that retrieve a memory, found by search, beside those of the theorem (clause MHN-NET-6)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.pbit import PBits
from hopspec.properties.checks.constructions_networks import confusable, spread_out
from hopspec.properties.digits import CORRUPTIONS, corrupt, load
from hopspec.properties.trials import Trial
from hopspec.reference import solve
from hopspec.reference.networks import retrieval_bits, retrieve_bits, separation, smallest_bits
from hopspec.reference.networks.truncation import pbit_bound
from hopspec.reference.pbit.arrays import MOST_BITS

__all__ = [
    "FAMILIES",
    "Errors",
    "Found",
    "digit_queries",
    "errors_by_bits",
    "instances",
    "share_of",
    "studied",
]

Array = NDArray[np.float64]

# Beyond the theorem's p every p must retrieve; so many are tried.
BEYOND = 3
# The separation of the weights a digit is given, times the least that the theorem needs.
AMPLE = 2.0
# Changes that an instance goes through on its way to a hard one.
CHANGES = 40


@dataclass(frozen=True)
class Found:
    """One retrieval.

    Args:
        what: what the query is.
        beta: inverse temperature.
        gap: ``Delta`` over the largest ``A_i``.
        theorem: bits of the theorem.
        first: the first p that retrieves.
        since: the p from which on every p does; None if not even the last one tried.
    """

    what: str
    beta: float
    gap: float
    theorem: int
    first: int | None
    since: int | None

    @property
    def holds(self) -> bool:
        """Whether every p from the theorem's on retrieves, as far as they were tried."""
        return self.since is not None and self.since <= self.theorem


Instance = tuple[Array, Array, float, float]


def _near_duplicates(t: Trial) -> Instance:
    """Random memories, two of which differ in one entry by a small power of two."""
    query, memory, _, _ = spread_out(t)
    k = int(t.rng.integers(3, 10))
    memory = np.concatenate([memory[:1], memory])
    memory[1, 0] -= 2.0**-k
    query = memory[:1].copy()
    query[0, 0] = 1.0
    gap = float(separation(query[0].tolist(), memory).gap) or 1.0
    return query, memory, 2.0 ** math.ceil(math.log2(40.0 / gap)), 2.0 ** -(k + 2)


def _changed(of: Instance, rng: np.random.Generator) -> Instance:
    """The same instance with one entry of the query or of a memory, beta or the error changed."""
    query, memory, beta, error = of[0].copy(), of[1].copy(), of[2], of[3]
    kind = rng.integers(4)
    if kind == 2:
        beta *= float(rng.choice([0.5, 2.0]))
    elif kind == 3:
        error *= float(rng.choice([0.5, 2.0]))
    else:
        entry = (query, memory)[kind]
        at = tuple(int(rng.integers(k)) for k in entry.shape)
        # Powers of two are added, so that the numbers have few digits.
        entry[at] += float(rng.choice([-1, 1])) * 2.0 ** int(rng.integers(-8, 1))
    return query, memory, beta, error


def _searched(t: Trial) -> Instance:
    """Two memories alike, changed step by step towards the theorem's p being the one that is needed."""
    best = confusable(t)
    least = _reserve(best)
    for _ in range(CHANGES):
        tried = _changed(best, t.rng)
        reserve = _reserve(tried)
        if reserve <= least:
            best, least = tried, reserve
    return best


def _reserve(of: Instance) -> float:
    """The theorem's p less the p from which on every p retrieves; infinite outside the theorem."""
    if not _can_be_searched(of):
        return math.inf
    found = studied("", *of)
    assert found is not None
    return -math.inf if found.since is None else found.theorem - found.since


def _can_be_searched(of: Instance) -> bool:
    """Whether the theorem gives a number of bits, and arrays can compute with it."""
    query, memory, beta, error = of
    parts = separation(query[0].tolist(), memory)
    bits = retrieval_bits(parts, beta, error) if parts.gap > 0 else None
    return bits is not None and bits + BEYOND <= MOST_BITS


FAMILIES: dict[str, Callable[[Trial], Instance]] = {
    "random": spread_out,
    "two alike": confusable,
    "near duplicates": _near_duplicates,
    "searched": _searched,
}
"""How instances are drawn: a query, memories, an inverse temperature and the largest error."""


def share_of(family: str, drawn: int) -> int:
    """How many instances of a family are drawn: those that are searched for take a hundred times as long.

    >>> share_of("random", 60), share_of("searched", 60)
    (60, 6)
    """
    return max(1, drawn // 10) if family == "searched" else drawn


def _nothing(*_: Any) -> Any:
    raise AssertionError("instances are drawn without asking an implementation")


def instances(family: str, count: int, seed: int) -> Iterator[Instance]:
    """Instances of one family to which the theorem gives a number of bits that arrays can compute with.

    Args:
        family: name in :data:`FAMILIES`.
        count: how many are drawn.
        seed: other seeds give other instances.
    """
    for number in range(count):
        rng = np.random.default_rng((seed, [*FAMILIES].index(family), number))
        found = FAMILIES[family](Trial(rng, number, _nothing))
        if _can_be_searched(found):
            yield found


def studied(what: str, query: Array, memory: Array, beta: float, error: float) -> Found | None:
    """Search for the bits that retrieve the best memory of one query; None where no number of them must.

    Raises:
        ValueError: if the search would not fit into memory.
    """
    of = separation(query[0].tolist(), memory)
    theorem = retrieval_bits(of, beta, error) if of.gap > 0 else None
    if theorem is None:
        return None
    first, since = smallest_bits(query[0].tolist(), memory, beta, error, theorem + BEYOND)
    return Found(what, beta, float(of.gap / of.size), theorem, first, since)


def digit_queries(count: int, seed: int, error: float) -> Iterator[tuple[str, Array, Array, float]]:
    """Damaged digits, all 1797 as memories, and a power of two as inverse temperature.

    It is the least one that separates the best memory twice as far as the theorem needs at all.
    """
    images, _ = load()
    rng = np.random.default_rng(seed)
    done = 0
    while done < count:
        how = CORRUPTIONS[done % len(CORRUPTIONS)]
        query = corrupt(images[rng.integers(0, len(images), 1)], how, rng)
        of = separation(query[0].tolist(), images)
        if not of.gap:
            continue
        needed = AMPLE * math.log(2 * (of.count - 1) * float(of.span) / error)
        yield how, query, images, 2.0 ** math.ceil(math.log2(needed / float(of.gap)))
        done += 1


@dataclass(frozen=True)
class Errors:
    """The error of one query's update by number of bits.

    Args:
        bits: numbers of bits.
        errors: largest error of an entry in F_p.
        bounds: the bound of clause MHN-NET-5, infinite where it says nothing.
        theorem: bits of the theorem; None where there are none.
        formats: error of a kernel by name of its dtype, with its bits.
    """

    bits: tuple[int, ...]
    errors: tuple[float, ...]
    bounds: tuple[float, ...]
    theorem: int | None
    formats: dict[str, tuple[int, float]]


def errors_by_bits(
    query: Array,
    memory: Array,
    beta: float,
    error: float,
    kernel: Callable[[Array, Array, float, str], Array] | None = None,
    dtypes: dict[str, int] | None = None,
) -> Errors:
    """Errors of one query for p from 2 to the most that arrays take, and for those of the dtypes.

    Args:
        query: ``[1, d]``.
        memory: ``[N, d]``.
        beta: inverse temperature.
        error: largest error that the theorem is asked about.
        kernel: computes an update in a dtype.
        dtypes: bits of the significand of each dtype that is asked.
    """
    exact = solve(query, memory, beta=beta).state.hi[0]
    bits = tuple(sorted({*range(2, MOST_BITS + 1), *(dtypes or {}).values()}))
    errors, bounds = [], []
    for p in bits:
        got = [float(x) for x in retrieve_bits(query[0].tolist(), memory, beta, PBits(p, underflow="zero"))]
        errors.append(float(np.abs(np.array(got) - exact).max()))
        bounds.append(
            float(pbit_bound(query.tolist(), memory.tolist(), beta, PBits(p, underflow="zero")).max())
        )
    of = separation(query[0].tolist(), memory)
    formats = {}
    if kernel is not None:
        for name, precision in (dtypes or {}).items():
            found = kernel(query, memory, beta, name)
            formats[name] = (precision, float(np.abs(found - exact).max()))
    theorem = retrieval_bits(of, beta, error) if of.gap > 0 else None
    return Errors(bits, tuple(errors), tuple(bounds), theorem, formats)
