"""Small changes of a problem that stay within a format: the steps of a search."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from hopspec.formats import Format
from hopspec.properties.problem import Array, Problem, round_to

__all__ = ["EDITS", "edited"]

# What a search may grow a problem to; larger ones take longer than they tell.
MOST_MEMORIES = 160
MOST_COLUMNS = 24
Edit = Callable[[np.random.Generator, Problem, Format], Problem]


def _arrays(p: Problem) -> list[str]:
    return ["query", "memory"] + ([] if p.values is None else ["values"])


def _changed(
    rng: np.random.Generator, p: Problem, change: Callable[[Array, tuple[int, ...]], float]
) -> Problem:
    """One entry of one array replaced."""
    name = str(rng.choice(_arrays(p)))
    array: Array = getattr(p, name).copy()
    if not array.size:
        return p
    at = tuple(int(rng.integers(0, n)) for n in array.shape)
    array[at] = change(array, at)
    return p.but(**{name: array})


def nudge(rng: np.random.Generator, p: Problem, fmt: Format) -> Problem:
    """One entry becomes a neighbouring number, or one a few further."""
    steps = float(rng.choice([-8, -1, 1, 8]))

    def change(array: Array, at: tuple[int, ...]) -> float:
        _, exponent = math.frexp(array[at])
        return float(array[at] + steps * math.ldexp(1.0, max(exponent - fmt.precision, fmt.least_exponent)))

    return _changed(rng, p, change)


def power(rng: np.random.Generator, p: Problem, fmt: Format) -> Problem:
    """One entry is doubled or halved."""
    factor = float(rng.choice([0.5, 2.0]))
    return _changed(rng, p, lambda array, at: float(array[at] * factor))


def turn(rng: np.random.Generator, p: Problem, fmt: Format) -> Problem:
    """One entry changes its sign, or becomes 0."""
    factor = float(rng.choice([-1.0, 0.0]))
    return _changed(rng, p, lambda array, at: float(array[at] * factor))


def borrow(rng: np.random.Generator, p: Problem, fmt: Format) -> Problem:
    """One entry becomes that of another row."""
    return _changed(rng, p, lambda array, at: float(array[(int(rng.integers(0, array.shape[0])), *at[1:])]))


def full(rng: np.random.Generator, p: Problem, fmt: Format) -> Problem:
    """The last bits of one entry are set: its errors of rounding become as large as they can be."""

    def change(array: Array, at: tuple[int, ...]) -> float:
        mantissa, exponent = math.frexp(array[at])
        bits = int(rng.integers(1, 1 << min(fmt.precision - 1, 30)))
        return math.copysign(math.ldexp(0.5 + bits * 2.0**-fmt.precision, exponent), mantissa)

    return _changed(rng, p, change)


def scale_row(rng: np.random.Generator, p: Problem, fmt: Format) -> Problem:
    """One row is multiplied by a power of two."""
    name = str(rng.choice(_arrays(p)))
    array: Array = getattr(p, name).copy()
    if array.shape[0]:
        array[int(rng.integers(0, array.shape[0]))] *= 2.0 ** int(rng.choice([-2, -1, 1, 2]))
    return p.but(**{name: array})


def jitter(rng: np.random.Generator, p: Problem, fmt: Format) -> Problem:
    """All entries of one array change by a few per cent."""
    name = str(rng.choice(_arrays(p)))
    array: Array = getattr(p, name)
    size = float(rng.choice([0.3, 0.1, 0.03]))
    return p.but(**{name: array * (1 + size * rng.standard_normal(array.shape))})


def scale(rng: np.random.Generator, p: Problem, fmt: Format) -> Problem:
    """One array is multiplied by a power of two."""
    name = str(rng.choice(_arrays(p)))
    array: Array = getattr(p, name)
    return p.but(**{name: array * float(rng.choice([0.5, 2.0]))})


def lonely(rng: np.random.Generator, p: Problem, fmt: Format) -> Problem:
    """One query stays."""
    count = p.query.shape[0]
    if count < 2:
        return p
    row = slice(at := int(rng.integers(0, count)), at + 1)
    keep = p.keep if p.keep is None or p.keep.ndim == 1 or p.keep.shape[0] == 1 else p.keep[row]
    return p.but(query=p.query[row], keep=keep)


def halve(rng: np.random.Generator, p: Problem, fmt: Format) -> Problem:
    """Half of the memories stay."""
    n = p.memory.shape[0]
    return p if n < 4 else _rows(p, np.sort(rng.choice(n, n // 2, replace=False)))


def tie(rng: np.random.Generator, p: Problem, fmt: Format) -> Problem:
    """One memory becomes nearly that of another: their logits all but agree."""
    n = p.memory.shape[0]
    if n < 2:
        return p
    one, other = (int(i) for i in rng.choice(n, 2, replace=False))
    memory = p.memory.copy()
    memory[one] = memory[other] * (1 + float(rng.choice([0.0, 1.0, -1.0])) * 2.0 ** (1 - fmt.precision))
    return p.but(memory=memory)


def sharpen(rng: np.random.Generator, p: Problem, fmt: Format) -> Problem:
    """Beta is multiplied by a factor between a half and two."""
    factor = float(rng.choice([0.5, 0.8, 1.0 - 2.0**-12, 1.0 + 2.0**-12, 1.25, 2.0]))
    return p.but(beta=float(np.float32(p.beta * factor))) if abs(p.beta * factor) < 2.0**100 else p


def duplicate(rng: np.random.Generator, p: Problem, fmt: Format) -> Problem:
    """A memory is repeated at a random place."""
    n = p.memory.shape[0]
    if not 0 < n < MOST_MEMORIES:
        return p
    order = np.insert(np.arange(n), int(rng.integers(0, n + 1)), int(rng.integers(0, n)))
    return _rows(p, order)


def drop(rng: np.random.Generator, p: Problem, fmt: Format) -> Problem:
    """A memory is taken away."""
    n = p.memory.shape[0]
    return p if n < 2 else _rows(p, np.delete(np.arange(n), int(rng.integers(0, n))))


def repeat(rng: np.random.Generator, p: Problem, fmt: Format) -> Problem:
    """All memories are repeated once more."""
    n = p.memory.shape[0]
    return p if 2 * n > MOST_MEMORIES else _rows(p, np.tile(np.arange(n), 2))


def shuffle(rng: np.random.Generator, p: Problem, fmt: Format) -> Problem:
    """Two memories change places."""
    n = p.memory.shape[0]
    if n < 2:
        return p
    order = np.arange(n)
    one, other = rng.choice(n, 2, replace=False)
    order[[one, other]] = order[[other, one]]
    return _rows(p, order)


def widen(rng: np.random.Generator, p: Problem, fmt: Format) -> Problem:
    """A column is repeated."""
    d = p.memory.shape[1]
    if not 0 < d < MOST_COLUMNS:
        return p
    order = np.append(np.arange(d), int(rng.integers(0, d)))
    return p.but(query=p.query[:, order], memory=p.memory[:, order])


def narrow(rng: np.random.Generator, p: Problem, fmt: Format) -> Problem:
    """A column is taken away."""
    d = p.memory.shape[1]
    if d < 2:
        return p
    order = np.delete(np.arange(d), int(rng.integers(0, d)))
    return p.but(query=p.query[:, order], memory=p.memory[:, order])


def _rows(p: Problem, order: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Problem:
    keep = p.keep if p.keep is None else p.keep[..., order]
    return p.but(memory=p.memory[order], keep=keep, values=None if p.values is None else p.values[order])


EDITS: tuple[Edit, ...] = (
    nudge,
    power,
    turn,
    borrow,
    full,
    jitter,
    jitter,
    scale,
    scale_row,
    tie,
    sharpen,
    sharpen,
    lonely,
    duplicate,
    drop,
    drop,
    halve,
    repeat,
    shuffle,
    widen,
    narrow,
)


def edited(rng: np.random.Generator, problem: Problem, fmt: Format) -> Problem:
    """``problem`` after one edit or a few, every entry an element of ``fmt``.

    Args:
        rng: draws the edits.
        problem: to begin with; it is not modified.
        fmt: the format of all entries.
    """
    for _ in range(int(rng.geometric(0.6))):
        problem = EDITS[int(rng.integers(0, len(EDITS)))](rng, problem, fmt)
    # Entries that are not finite are not rounded, they belong to the problem.
    changes = {name: _within(getattr(problem, name), fmt) for name in _arrays(problem)}
    return problem.but(**changes, regimes=("searched",))


def _within(x: Array, fmt: Format) -> Array:
    finite = np.isfinite(x)
    return np.where(finite, round_to(np.where(finite, x, 0.0), fmt), x)
