"""The reference against the second opinion, at random: sizes, formats and degenerate inputs.

Every component is rounded by both. They agree, or they do not (a mismatch: one of them is wrong), or the
ball straddles a rounding boundary; then the reference's number must be one of the two it lies between. Exact
results on a boundary are of this kind, and numbers closer to one than 4096 bits resolve.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hopspec.formats import FORMATS, Format
from hopspec.reference import derivatives, oracle
from hopspec.reference.second_opinion import opinions

__all__ = ["KINDS", "QUANTITIES", "SIZES", "Case", "Cell", "compare", "draw", "main", "run"]

FloatArray = npt.NDArray[np.float64]

KINDS = (
    "normal",
    "integers",
    "duplicates",
    "zero-query",
    "symmetric",
    "constant-column",
    "near-tie",
    "equal-logits",
    "saturated",
    "saturated-tie",
    "wide",
    "offset",
    "subnormal",
    "huge",
)
QUANTITIES = ("update", "association", "log_normalizer", "lse", "energy", "jacobian", "gradients")
SIZES = {"2x2": (2, 2), "8x4": (8, 4), "24x6": (24, 6), "64x8": (64, 8)}
"""The most memories and the most dimensions of a problem, by name."""

# Queries in a problem of which each has one number only.
SCALARS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One problem.

    Args:
        kind: a name from :data:`KINDS`.
        query: ``[L, d]``.
        memory: ``[N, d]``.
        beta: any finite number, positive where an energy or an lse is wanted.
        keep: None, or ``[L, N]``.
        values: None, or ``[N, dv]``.
        cotangent: ``[L, d]``, or ``[L, dv]`` with values.
    """

    kind: str
    query: FloatArray
    memory: FloatArray
    beta: float
    keep: npt.NDArray[np.bool_] | None
    values: FloatArray | None
    cotangent: FloatArray


class Mismatch(NamedTuple):
    """A component on which the two disagree."""

    case: Case
    component: int
    ours: float
    theirs: tuple[float, float]


@dataclass(slots=True)
class Cell:
    """What was found for one format, quantity and size."""

    components: int = 0
    straddling: int = 0
    undecided: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)


def draw(
    rng: np.random.Generator, kind: str, size: tuple[int, int], *, positive: bool = False, queries: int = 1
) -> Case:
    """A problem of the kind, with at most that many memories and dimensions.

    >>> case = draw(np.random.default_rng(0), "zero-query", (8, 4), positive=True)
    >>> bool(case.query.any())
    False
    """
    n, d = int(rng.integers(max(1, size[0] // 2), size[0] + 1)), int(rng.integers(1, size[1] + 1))
    memory, query = rng.standard_normal((n, d)), rng.standard_normal((queries, d))
    beta = float(rng.choice([1.0, 0.5, 0.1, 8.0, 1e-3] if positive else [1.0, 0.5, -1.0, 8.0, 0.0, 0.3]))
    if kind == "integers":
        memory, query = np.round(2 * memory), np.round(2 * query)
    elif kind == "duplicates":
        memory = memory[rng.integers(0, max(1, n // 3), n)]
    elif kind == "zero-query":
        query = np.zeros_like(query)
    elif kind == "symmetric":
        memory = _symmetric(memory)
        query[:, rng.random(d) < 0.5] = 0.0
    elif kind == "constant-column":
        memory[:, rng.integers(0, d)] = rng.standard_normal()
    elif kind == "near-tie":
        memory = memory[:1] + memory * 2.0 ** -float(rng.integers(10, 60))
    elif kind == "equal-logits":
        query[:, 1:] = 0.0
        memory[:, 0] = 0.5
        if rng.random() < 0.5 and n > 1:
            memory[rng.integers(0, n), 0] = 0.25
    elif kind == "saturated":
        memory, query = np.round(30 * memory), np.round(30 * query)
    elif kind == "saturated-tie":
        memory, query = np.round(40 * memory), np.round(40 * query)
        memory = np.concatenate([memory, memory])[:n] if n > 2 else memory
        query[:, 1:] = 0.0
    elif kind == "wide":
        memory, query = memory * 2.0 ** rng.integers(-40, 6, memory.shape), query * 4
    elif kind == "offset":
        memory = memory + float(rng.choice([10.0, 1000.0]))
    elif kind == "subnormal":
        memory = memory * 2.0 ** float(rng.choice([-10, -20, -130, -1030]))
    elif kind == "huge":
        memory, query = memory * 2.0 ** float(rng.choice([8, 14, 100, 500])), query * 2.0**20
    if rng.random() < 0.5 and np.abs(memory).max() < 2.0**100:
        memory, query = memory.astype(np.float32).astype(float), query.astype(np.float32).astype(float)
    n = len(memory)
    keep = rng.random((queries, n)) < 0.8 if rng.random() < 0.2 else None
    values = (
        np.round(4 * rng.standard_normal((n, int(rng.integers(1, 3))))) / 4 if rng.random() < 0.3 else None
    )
    width = d if values is None else values.shape[1]
    cotangent = np.round(8 * rng.standard_normal((queries, width))) / 8
    return Case(kind, query, memory, beta, keep, values, cotangent)


def _symmetric(memory: FloatArray) -> FloatArray:
    half = memory[: (len(memory) + 1) // 2]
    mirror = half.copy()
    mirror[:, : max(1, half.shape[1] // 2)] *= -1
    return np.concatenate([half, mirror])


def compare(case: Case, quantity: str, fmt: Format, cell: Cell, most: int, rng: np.random.Generator) -> None:
    """Round one quantity twice, and enter what is found for ``most`` of its components at most."""
    options: dict[str, Any] = {"beta": case.beta, "keep": case.keep, "to": fmt}
    if quantity in ("update", "gradients"):
        options["values"] = case.values
    arrays: tuple[Any, ...] = (case.query, case.memory)
    if quantity == "gradients":
        arrays = (*arrays, case.cotangent)
    if quantity in ("jacobian", "gradients"):
        function = getattr(derivatives, quantity)
    else:
        function = getattr(oracle, quantity)
    try:
        ours = list(_flat(function(*arrays, **options)))
    except ArithmeticError:
        cell.undecided += 1
        return
    theirs = list(_pairs(opinions(quantity, *arrays, **options)))
    if len(ours) != len(theirs):
        raise ValueError(f"{quantity} has {len(ours)} components, and {len(theirs)} by the second opinion")
    for component in sorted(rng.permutation(len(ours))[:most].tolist()):
        mine, other = ours[component], theirs[component]
        cell.components += 1
        same = [mine == x or (math.isnan(mine) and math.isnan(x)) for x in other]
        if all(same):
            continue
        if other[0] != other[1] and any(same):
            cell.straddling += 1
        else:
            cell.mismatches.append(Mismatch(case, component, mine, other))


def run(
    components: int, seed: int, formats: tuple[str, ...] = tuple(FORMATS)
) -> dict[tuple[str, str, str], Cell]:
    """Compare about that many components, as many for every format, quantity and size.

    Returns:
        A :class:`Cell` by name of format, quantity and size.

    Raises:
        ImportError: if python-flint is not installed.
        ValueError: if fewer components than cells are asked for.
    """
    names = [(f, q, s) for f in formats for q in QUANTITIES for s in SIZES]
    share = -(-components // len(names))
    if components < len(names):
        raise ValueError(f"components must be at least {len(names)}, got {components}")
    cells = {}
    for number, name in enumerate(names):
        rng = np.random.default_rng((seed, number))
        fmt, quantity, size = name
        cell = cells[name] = Cell()
        kinds = list(rng.permutation(KINDS))
        # No problem has so large a part in a cell that only few are drawn.
        most = max(8, share // len(KINDS))
        turn = 0
        while cell.components < share:
            # Sums over queries are left undecided where they have too many terms, so most gradients have one.
            queries = (
                SCALARS if quantity in ("log_normalizer", "lse", "energy") else int(rng.choice([1, 1, 1, 2]))
            )
            case = draw(
                rng,
                kinds[turn % len(kinds)],
                SIZES[size],
                positive=quantity in ("lse", "energy"),
                queries=queries,
            )
            compare(case, quantity, FORMATS[fmt], cell, min(most, share - cell.components), rng)
            turn += 1
    return cells


def table(cells: dict[tuple[str, str, str], Cell]) -> str:
    """One line per format and quantity: components, mismatches and straddling ones for every size."""
    lines = [f"{'format':14}{'quantity':16}" + "".join(f"{size:>16}" for size in SIZES)]
    lines.append(f"{'':30}" + "".join(f"{'n / bad / open':>16}" for _ in SIZES))
    for fmt, quantity in dict.fromkeys((f, q) for f, q, _ in cells):
        row = [cells[fmt, quantity, size] for size in SIZES]
        counts = [f"{c.components} / {len(c.mismatches)} / {c.straddling}" for c in row]
        lines.append(f"{fmt:14}{quantity:16}" + "".join(f"{count:>16}" for count in counts))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """The command line; the exit status is 1 if there is a mismatch."""
    parser = argparse.ArgumentParser(
        prog="python -m hopspec.reference.second_opinion",
        description="Compare the reference with python-flint's ball arithmetic.",
    )
    parser.add_argument("--components", type=int, default=100_000, help="numbers to compare (100000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of every draw (0)")
    chosen = parser.parse_args(arguments)
    started = time.perf_counter()
    cells = run(chosen.components, chosen.seed)
    print(table(cells))
    wrong = [mismatch for cell in cells.values() for mismatch in cell.mismatches]
    compared = sum(cell.components for cell in cells.values())
    straddling = sum(cell.straddling for cell in cells.values())
    undecided = sum(cell.undecided for cell in cells.values())
    print(
        f"{compared} components, {len(wrong)} mismatches, {straddling} where the ball straddles a boundary "
        f"and the reference has one of its neighbours, {undecided} problems with an undecided sum over "
        f"queries, {time.perf_counter() - started:.0f} s, seed {chosen.seed}"
    )
    for mismatch in wrong[:10]:
        print(mismatch)
    raise SystemExit(1 if wrong else 0)


def _flat(found: Any) -> Iterator[float]:
    """The numbers in nested lists, from the first to the last; None is left out."""
    if isinstance(found, list | tuple):
        for entry in found:
            yield from _flat(entry)
    elif found is not None:
        yield found


def _pairs(found: Any) -> Iterator[tuple[float, float]]:
    if isinstance(found, tuple):
        yield found
    elif found is not None:
        for entry in found:
            yield from _pairs(entry)
