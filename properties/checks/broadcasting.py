"""Which axis of which argument belongs to what."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.properties.checks.common import update_bound
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement, all_of, compare, require
from hopspec.properties.problem import Array, Problem
from hopspec.types import Capabilities

# The numbers of these have no common divisor, so that they meet in every way.
LEADS = ((12,), (3, 4), (2, 3), (2, 1, 3), (5, 2), (2, 2, 3), (1, 4))
PARTS = ("last", "all", "last", "ones", "none")
SIDES = (2, 3, 4, 5)
MASKS = ("each memory", "each query and memory", "each head and memory")


@check("MHN-DOM-2", family="values", claims=("batch",), one_in=2)
def arguments_broadcast_each_in_its_way(case: Case) -> Judgement | None:
    """Every argument has some of the leading dimensions, others of length 1, or none."""
    p = case.problem
    claims, rng = case.description.capabilities, p.rng
    if p.memory.size > 200:
        return None
    lead = LEADS[p.seed % len(LEADS)]
    whole = _arguments(p, claims, values=bool(p.seed % 3))
    if claims.masks:
        whole["keep"] = _mask(p, rng, p.query.shape[0])
    arrays = _in_parts(p, rng, whole, lead)
    return _slices_within_bound(case, p, arrays, lead)


@check("MHN-DOM-2", family="values")
def sizes_that_are_all_the_same(case: Case) -> Judgement | None:
    """As many queries as memories, numbers in each and heads: no shape tells what an axis is for."""
    p, claims = case.problem, case.description.capabilities
    rng, side = p.rng, SIDES[p.seed % len(SIDES)]
    square = p.but(
        query=_square(p.query, side),
        memory=_square(p.memory, side),
        values=None if p.values is None else _square(p.values, side),
    )
    leads: tuple[tuple[int, ...], ...] = ((), (side,), (side, side)) if claims.batch else ((),)
    lead = leads[p.seed % len(leads)]
    whole = _arguments(square, claims, values=bool(p.seed // 2 % 2))
    arrays = _in_parts(square, rng, whole, lead)
    if claims.masks:
        form = MASKS[int(rng.integers(len(MASKS) if lead else 2))]
        mask = _mask(square, rng, 1 if form == MASKS[0] else side)
        arrays["keep"] = mask[0] if form == MASKS[0] else mask if form == MASKS[1] else mask[:, None]
    return _slices_within_bound(case, square, arrays, lead)


def _arguments(p: Problem, claims: Capabilities, *, values: bool) -> dict[str, NDArray[Any]]:
    """One slice of every argument but the mask; with ``values`` the memories show in the weights only."""
    whole: dict[str, NDArray[Any]] = {"query": p.query, "memory": p.memory}
    if values and claims.values and p.values is not None:
        whole["values"] = p.values
    if claims.tensor_beta:
        whole["beta"] = np.asarray(np.float32(p.beta), dtype=np.float64)
    return whole


def _mask(p: Problem, rng: np.random.Generator, rows: int) -> NDArray[np.bool_]:
    """A mask ``[rows, N]`` that leaves every row a memory."""
    count = p.memory.shape[0]
    keep = rng.random((rows, count)) < 0.7
    keep[:, p.seed % count] = True
    return keep


def _square(array: Array, side: int) -> Array:
    """As many rows as columns; where there are too few, halves and negatives of them."""
    rows, columns = np.arange(side)[:, None], np.arange(side)
    of_rows, of_columns = rows // array.shape[0], columns // array.shape[1]
    numbers = array[rows % array.shape[0], columns % array.shape[1]]
    return np.asarray(numbers * 0.5**of_rows * (-1.0) ** of_columns)


def _in_parts(
    p: Problem, rng: np.random.Generator, whole: dict[str, NDArray[Any]], lead: tuple[int, ...]
) -> dict[str, NDArray[Any]]:
    """The arguments, the query with all leading dimensions and the others with some."""
    if not lead:
        return {name: array for name, array in whole.items() if name != "beta"}
    arrays = {"query": _slices(rng, whole["query"], lead)}
    return arrays | {
        name: _slices(rng, array, _part(PARTS[(p.seed + k) % len(PARTS)], lead))
        for k, (name, array) in enumerate(whole.items())
        if name != "query"
    }


def _slices_within_bound(
    case: Case, p: Problem, arrays: dict[str, NDArray[Any]], lead: tuple[int, ...]
) -> Judgement | None:
    """The shape of the update, and two of its slices, each a problem of its own."""
    plain = p.but(values=None)
    options: dict[str, Any] = {"beta": None} if "beta" in arrays else {}
    got = case.completed(problem=plain, arrays=arrays, **options).arrays[0]
    read = arrays.get("values", p.memory)
    shape = (*lead, p.query.shape[0], read.shape[-1])
    judged: list[Judgement | None] = [require("shape", got.shape == shape, got.shape, shape)]
    if got.shape != shape:
        return judged[0]
    full = {n: np.broadcast_to(a, (*lead, *_slice_shape(n, a))) for n, a in arrays.items()}
    places = [*np.ndindex(lead)]
    for place in dict.fromkeys((places[-1], places[int(p.rng.integers(len(places)))])):
        one = plain.but(**{name: a[place] for name, a in full.items() if name != "beta"})
        one = one.but(beta=float(full["beta"][place])) if "beta" in full else one
        if case.dtype in one.formats:
            judged.append(
                compare(f"update{list(place)}", got[place], one.solution.state, update_bound(case, one))
            )
    return all_of(*judged)


def _slice_shape(name: str, array: NDArray[Any]) -> tuple[int, ...]:
    """The shape of one slice of an argument."""
    return () if name == "beta" else array.shape[-2:]


def _part(form: str, lead: tuple[int, ...]) -> tuple[int, ...]:
    """The leading dimensions of an argument: all, the last only, none, or 1 for all but the first."""
    return {"all": lead, "last": lead[-1:], "none": (), "ones": (lead[0], *(1 for _ in lead[1:]))}[form]


def _slices(rng: np.random.Generator, array: NDArray[Any], lead: tuple[int, ...]) -> NDArray[Any]:
    """The array once for every slice, each time a little different; numbers stay in their format."""
    count = math.prod(lead)
    if array.ndim == 0:
        each = [array * 2.0 ** (k % 3 - 1) for k in range(count)]
    elif array.dtype == np.bool_:
        each = [np.roll(array, k, axis=1) for k in range(count)]
    else:
        each = [np.roll(array, k, (0, 1)) * (-1.0) ** (k // 2) * 0.5 ** (k % 3) for k in range(count)]
    return np.asarray(np.stack([each[int(k)] for k in rng.permutation(count)]).reshape((*lead, *array.shape)))
