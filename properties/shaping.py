"""Problems of the shapes an implementation can be called with (``Capabilities.shapes``)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hopspec.properties.calls import Broken, Call
from hopspec.properties.problem import Array, Problem, round_to

__all__ = ["STRUCTURED", "Shape", "Unlisted", "admits", "check_shape", "resized", "shaped"]

Shape = tuple[int, ...]

# Families whose problems have a number of memories of their own.
FIXED_MEMORIES = {"single": 1}
# Families whose problems are what they are by their sizes, or by every single number.
STRUCTURED = ("tiles", "long", "crowd", "telling")
# More exact rows than these take too long; a tile, counter or index is exercised by repeated rows as well.
DISTINCT_QUERIES = 4
# The largest problem of which every query has a mask of its own.
LARGEST_MASKED = 1 << 14


class Unlisted(Broken):
    """There is no answer, for an implementation of a list of shapes cannot be asked this."""


def _fits(shape: Shape, sizes: Shape) -> bool:
    """Whether ``(L, N, d, dv)`` is what ``shape`` stands for."""
    width = sizes[2] if len(shape) == 3 else shape[3]
    wanted = (*shape[:3], width)
    return all(size > 0 and want in (0, size) for want, size in zip(wanted, sizes, strict=True))


def admits(shapes: Sequence[Shape], sizes: Shape) -> bool:
    """Whether an implementation can be called with these sizes.

    Args:
        shapes: as in :class:`~hopspec.types.Capabilities`.
        sizes: ``(L, N, d, dv)``.

    >>> admits((), (1, 2, 3, 4)), admits(((0, 0, 64),), (1, 2, 64, 64)), admits(((0, 0, 0),), (1, 2, 3, 4))
    (True, True, False)
    """
    return not shapes or any(_fits(shape, sizes) for shape in shapes)


def check_shape(shapes: Sequence[Shape], call: Call) -> None:
    """Raise :class:`Unlisted` for a call of another shape."""
    query, memory = call.arguments["query"], call.arguments["memory"]
    if min(query.ndim, memory.ndim) >= 2:
        read = call.arguments.get("values", memory)
        sizes = (query.shape[-2], memory.shape[-2], query.shape[-1], read.shape[-1])
        if admits(shapes, sizes):
            return
    else:
        sizes = (*query.shape, *memory.shape)
    listed = ", ".join("x".join("any" if n == 0 else str(n) for n in shape) for shape in shapes)
    asked = f"{call.quantity} of shape {'x'.join(map(str, sizes))}, its shapes are {listed}"
    raise Unlisted("unlisted", asked)


def shaped(problem: Problem, family: str, shapes: Sequence[Shape]) -> Problem | None:
    """The problem made larger or smaller until it has one of the shapes; None if there is no way.

    Rows and columns are left out, or repeated with some noise, and beta is chosen anew such that the logits
    of a query are as far apart as they were.

    Args:
        problem: a drawn problem.
        family: the family it was drawn from.
        shapes: as in :class:`~hopspec.types.Capabilities`.

    >>> drawn = Problem(np.ones((1, 2)), np.eye(2), 1.0)
    >>> shaped(drawn, "general", ((3, 5, 4),)).memory.shape
    (5, 4)
    """
    own = _sizes(problem)
    if admits(shapes, own):
        return problem
    fixed = FIXED_MEMORIES.get(family)
    usable = [s for s in shapes if fixed is None or s[1] in (0, fixed)]
    if not usable or problem.origin != "drawn" or family in STRUCTURED:
        return None
    shape = usable[problem.seed % len(usable)]
    queries, memories, width = (want or size for want, size in zip(shape[:3], own[:3], strict=True))
    read = width if len(shape) == 3 else shape[3] or own[3]
    if problem.keep is not None and problem.keep.ndim == 2 and queries * memories > LARGEST_MASKED:
        return None
    if problem.causal and queries * memories > LARGEST_MASKED:
        return None
    return resized(problem, (queries, memories, width, read))


def _sizes(p: Problem) -> Shape:
    read = p.memory if p.values is None else p.values
    return (*p.query.shape[:1], *p.memory.shape, read.shape[1])


def resized(p: Problem, sizes: Shape) -> Problem:
    """The problem with other sizes ``(L, N, d, dv)``: its own rows and columns, some again with noise.

    >>> resized(Problem(np.ones((1, 2)), np.eye(2), 1.0), (3, 5, 4, 4)).query.shape
    (3, 4)
    """
    queries, memories, width, read = sizes
    rng = np.random.default_rng((p.seed, *sizes))
    count, n = p.query.shape[0], p.memory.shape[0]
    # Few queries, repeated: the exact answer of each is computed once.
    rows = np.arange(queries) % min(count, DISTINCT_QUERIES)
    chosen = np.arange(memories) * n // memories
    memory = _columns(_rows(p.memory, chosen, rng), width, rng)
    query = _columns(p.query, width, rng)[rows]
    changes: dict[str, object] = {}
    for name, array in (("keep", p.keep), ("bias", p.bias)):
        if array is not None:
            kept = array[..., chosen]
            changes[name] = kept if kept.ndim == 1 or len(kept) == 1 else kept[rows]
    values = p.values
    if values is None and read != width:
        values = p.memory
    if values is not None:
        changes["values"] = round_to(_columns(_rows(values, chosen, rng), read, rng), p.grain)
    memory, query = round_to(memory, p.grain), round_to(query, p.grain)
    return p.but(query=query, memory=memory, beta=_beta(p, query, memory), **changes)


def _rows(array: Array, chosen: NDArray[np.intp], rng: np.random.Generator) -> Array:
    """The rows ``chosen``, with noise where one is chosen again."""
    again = np.r_[False, chosen[1:] == chosen[:-1]]
    noise = rng.standard_normal((len(chosen), array.shape[1])) * (0.3 * np.abs(array).mean())
    return np.asarray(array[chosen] + np.where(again[:, None], noise, 0.0))


def _columns(array: Array, width: int, rng: np.random.Generator) -> Array:
    """The first ``width`` columns, continued by noisy copies."""
    own = array.shape[1]
    wide = array[:, np.arange(width) % own]
    noise = rng.standard_normal(wide.shape) * (0.3 * np.abs(array).mean())
    return np.asarray(wide + np.where(np.arange(width) >= own, noise, 0.0))


def _beta(p: Problem, query: Array, memory: Array) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        old, new = (np.ptp(q @ x.T, axis=1).max() for q, x in ((p.query, p.memory), (query, memory)))
        ratio = old / new if 0 < new < np.inf and 0 < old < np.inf else 1.0
    if ratio == 1.0 or not 2.0**-20 < ratio < 2.0**20 or p.beta == 0:
        return p.beta
    mantissa, exponent = math.frexp(p.beta * ratio)
    exact_power = abs(math.frexp(p.beta)[0]) == 0.5
    return math.ldexp(
        math.copysign(0.5, mantissa) if exact_power else round(mantissa * 2**24) / 2**24, exponent
    )
