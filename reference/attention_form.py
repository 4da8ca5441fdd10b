"""Attention: read-out with a bias added to the logits, causal masks and grouped heads (chapter 14).

A bias is exact in the arithmetic of retrieval: ``beta <x_i, xi> + b_i`` is the inner product of the patterns
``(x_i, b_i)`` and ``(beta xi, 1)``, and all entries are rational.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import implements
from hopspec.reference.dyadic import BoolArray, exact_matrix, exact_number, keep_mask, nested
from hopspec.reference.oracle import log_normalizer, update
from hopspec.reference.problem import read_problem
from hopspec.reference.solution import Solution, magnitudes, solve
from hopspec.reference.target import Target

__all__ = ["attention", "attention_log_normalizer", "causal_mask", "key_head", "solve_attention"]

ALIGNMENTS = ("top-left", "bottom-right")


@implements("MHN-ATT-2")
def causal_mask(queries: int, keys: int, alignment: str = "top-left") -> BoolArray:
    """Which key takes part for which query under causal masking, ``[L, N]`` (clause MHN-ATT-2).

    Formula: ``i <= l`` top-left, ``i <= l + N - L`` bottom-right.

    Args:
        queries: L.
        keys: N.
        alignment: ``"top-left"`` or ``"bottom-right"``.

    Raises:
        ValueError: if the alignment is another one.

    >>> causal_mask(2, 3).astype(int)
    array([[1, 0, 0],
           [1, 1, 0]])
    >>> causal_mask(2, 3, "bottom-right").astype(int)
    array([[1, 1, 0],
           [1, 1, 1]])
    """
    if alignment not in ALIGNMENTS:
        raise ValueError(f"alignment must be {' or '.join(map(repr, ALIGNMENTS))}, got {alignment!r}")
    shift = keys - queries if alignment == "bottom-right" else 0
    return np.asarray(np.arange(keys) <= np.arange(queries)[:, None] + shift)


@implements("MHN-ATT-4")
def key_head(head: int, heads: int, key_heads: int) -> int:
    """Which key head a query head reads (clause MHN-ATT-4): ``head // (heads / key_heads)``.

    Args:
        head: number of the query head, from 0.
        heads: number H of query heads.
        key_heads: number G of key heads, a divisor of H.

    Raises:
        ValueError: if G does not divide H, or there is no such head.

    >>> [key_head(h, 6, 2) for h in range(6)]
    [0, 0, 0, 1, 1, 1]
    """
    if key_heads < 1 or heads % key_heads:
        raise ValueError(f"key_heads must divide the number of heads {heads}, got {key_heads}")
    if not 0 <= head < heads:
        raise ValueError(f"head must be from 0 to {heads - 1}, got {head}")
    return head // (heads // key_heads)


@implements("MHN-ATT-1")
def attention(
    q: Any,
    k: Any,
    v: Any,
    *,
    scale: Any,
    bias: Any = None,
    keep: Any = None,
    causal: str = "",
    to: Target = "float64",
) -> list[Any]:
    """Attention of every query, each component rounded once (clause MHN-ATT-1).

    Formula: ``o = sum_i p_i v_i`` with ``p = softmax(scale <k_i, q> + b_i)`` over the keys that take part.

    Args:
        q: queries ``[d]``, ``[L, d]`` or ``[..., H, L, d]``: nested lists, NumPy, or anything with
            ``tolist()``.
        k: keys ``[N, d]`` or ``[..., G, N, d]``; leading dimensions broadcast, and the last of them may also
            be a divisor of H (clause MHN-ATT-4).
        v: values ``[N, dv]`` or ``[..., G, N, dv]``.
        scale: any finite number; there is no default.
        bias: numbers that broadcast to ``[..., H, L, N]``, ``-inf`` where a key does not take part.
        keep: bools that broadcast to ``[..., H, L, N]``, True where a key takes part.
        causal: ``"top-left"`` or ``"bottom-right"`` for a causal mask (clause MHN-ATT-2).
        to: a format or its name for plain numbers, bits or a Precision for Exact leaves.

    Returns:
        ``[dv]``, ``[L, dv]`` or ``[..., H, L, dv]`` as nested lists; 0 in rows in which no key takes part.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, ``scale`` is not finite, or a bias is NaN or ``+inf``.

    >>> attention([1.0], [[1.0], [-1.0]], [[0.0], [1.0]], scale=0.5, bias=[-0.5, 0.5])
    [0.5]
    >>> attention([[1.0], [1.0]], [[1.0], [-1.0]], [[0.0], [1.0]], scale=0, causal="top-left")
    [[0.0], [0.5]]
    """

    def one(query: Any, memory: Any, values: Any, b: Any, kept: Any) -> Any:
        if b is None:
            return update(query, memory, beta=scale, keep=kept, values=values, to=to)
        wide, long, kept = _augmented(query, memory, scale, b, kept)
        return update(wide, long, beta=1, keep=kept, values=values, to=to)

    rows: list[Any] = _over_heads(one, q, k, v, bias, keep, causal)
    return rows


@implements("MHN-ATT-1")
def attention_log_normalizer(
    q: Any,
    k: Any,
    *,
    scale: Any,
    bias: Any = None,
    keep: Any = None,
    causal: str = "",
    to: Target = "float64",
) -> Any:
    """The log-normalizer of every query, rounded once: ``log sum_i exp(scale <k_i, q> + b_i)``, natural.

    Args:
        q: queries, as for :func:`attention`.
        k: keys, as for :func:`attention`.
        scale: any finite number.
        bias: as for :func:`attention`.
        keep: as for :func:`attention`.
        causal: as for :func:`attention`.
        to: a format or its name for plain numbers, bits or a Precision for Exact leaves.

    Returns:
        A number, ``[L]`` or ``[..., H, L]``; ``-inf`` in rows in which no key takes part.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, ``scale`` is not finite, or a bias is NaN or ``+inf``.

    >>> attention_log_normalizer([1.0], [[0.0], [7.0]], scale=1.0, bias=[0.25, -math.inf])
    0.25
    """

    def one(query: Any, memory: Any, _values: Any, b: Any, kept: Any) -> Any:
        if b is None:
            return log_normalizer(query, memory, beta=scale, keep=kept, to=to)
        wide, long, kept = _augmented(query, memory, scale, b, kept)
        return log_normalizer(wide, long, beta=1, keep=kept, to=to)

    return _over_heads(one, q, k, k, bias, keep, causal)


@implements("MHN-ATT-1")
def solve_attention(
    query: Any, memory: Any, *, beta: Any, bias: Any, keep: Any = None, values: Any = None
) -> Solution:
    """Enclose attention and log-normalizer of every query, as :func:`hopspec.reference.solve` does.

    Args:
        query: ``[L, d]``.
        memory: the keys, ``[N, d]``.
        beta: the scale, any finite number.
        bias: broadcasts to ``[L, N]``; finite, or ``-inf`` where a key does not take part.
        keep: None, or bools that broadcast to ``[L, N]``.
        values: ``[N, dv]``; None reads the memory.

    Returns:
        A :class:`~hopspec.reference.Solution`: logits include the bias, magnitudes do not, there is no
        energy, and ``kept`` is False where the bias is ``-inf``.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, ``beta`` is not finite, or a bias is NaN or ``+inf``.

    >>> solve_attention([[1.0]], [[1.0], [-1.0]], beta=0.5, bias=[-0.5, 0.5]).state.hi
    array([[0.]])
    """
    wide, long, kept = _augmented(query, memory, beta, bias, keep)
    read = memory if values is None else values
    found = solve(wide, long, beta=1, keep=kept, values=read)
    plain = read_problem(query, memory, beta=beta)
    return replace(found, magnitudes=np.where(kept, magnitudes(plain), 0.0), energy=None)


def _augmented(query: Any, memory: Any, beta: Any, bias: Any, keep: Any) -> tuple[list[Any], list[Any], Any]:
    """Queries ``(beta xi, e_l)`` and keys ``(x_i, b_1i, ..., b_Li)``, whose inner products are the logits.

    The third result is the mask, with what a bias of ``-inf`` leaves out.
    """
    number = exact_number(beta, "scale")
    if number is None:
        raise ValueError(f"scale must be finite, got {beta}")
    queries, single = exact_matrix(query, "query")
    patterns = _object(memory)
    if patterns.ndim != 2:
        raise ValueError(f"keys must have shape [N, {queries.width}], got {list(patterns.shape)}")
    count, n = len(queries.rows), len(patterns)
    try:
        added = np.broadcast_to(_object(bias), (count, n))
    except ValueError:
        raise ValueError(f"bias must broadcast to [{count}, {n}], got {np.shape(nested(bias))}") from None
    size = added.astype(np.float64)
    if not (size < np.inf).all():
        raise ValueError("bias must be finite, or -inf where a key does not take part, got NaN or inf")
    kept = keep_mask(keep, count, n) & (size > -np.inf)
    factor, finite = number.fraction(), np.where(size == -np.inf, 0.0, added)
    wide: list[list[Any]] = []
    for row in range(count):
        own = [factor * queries.fraction(row, j) for j in range(queries.width)]
        wide.append([*own, *(int(other == row) for other in range(count))])
    for row, column in queries.undefined:
        wide[row][column] = math.nan
    long = np.concatenate([patterns, finite.T], axis=1).tolist()
    return (wide[0] if single else wide), long, kept[0] if single else kept


def _over_heads(one: Callable[..., Any], q: Any, k: Any, v: Any, bias: Any, keep: Any, causal: str) -> Any:
    """``one`` for every index of the leading dimensions, as nested lists."""
    arrays = [_object(x) for x in (q, k, v)]
    extra = [None if x is None else _object(x) for x in (bias, keep)]
    queries, keys = (1 if arrays[0].ndim < 2 else arrays[0].shape[-2]), arrays[1].shape[-2]
    if causal:
        mask = causal_mask(queries, keys, causal)
        extra[1] = mask if extra[1] is None else np.logical_and(extra[1].astype(bool), mask)
    lead, groups = _leads(arrays, extra)
    if not lead:
        return one(*(x.tolist() for x in arrays), *(None if x is None else x.tolist() for x in extra))
    whole = np.empty(lead, dtype=object)
    for index in np.ndindex(lead):
        own = (*index[:-1], key_head(index[-1], lead[-1], groups))
        parts = [_part(x, at) for x, at in zip(arrays, (index, own, own), strict=True)]
        whole[index] = one(*parts, *(None if x is None else _part(x, index) for x in extra))
    nested_lists: list[Any] = whole.tolist()
    return nested_lists


def _object(value: Any) -> NDArray[Any]:
    """An array of whatever numbers were given."""
    return np.array(nested(value), dtype=object)


def _leads(arrays: list[NDArray[Any]], extra: list[NDArray[Any] | None]) -> tuple[tuple[int, ...], int]:
    """The leading dimensions of the result, and the number of key heads."""
    shapes = [x.shape[:-2] for x in arrays]
    others = [x.shape[:-2] for x in extra if x is not None and x.ndim > 2]
    heads, groups = (max(s[-1:], default=1) for s in shapes[:2])
    if 1 < groups < heads and heads % groups == 0:
        outer = np.broadcast_shapes(*(s[:-1] for s in shapes))
        return np.broadcast_shapes((*outer, heads), *others), groups
    lead = np.broadcast_shapes(*shapes, *others)
    return lead, lead[-1] if lead else 1


def _part(x: NDArray[Any], index: tuple[int, ...]) -> Any:
    """The matrix at ``index`` of the leading dimensions, which broadcast."""
    lead = x.shape[:-2]
    own = index[len(index) - len(lead) :]
    return x[tuple(0 if size == 1 else i for i, size in zip(own, lead, strict=True))].tolist()
