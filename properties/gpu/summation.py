"""In which order and how exactly a device adds products, found out from sums of chosen numbers.

Two terms ``m`` and ``-m`` so large that they swallow every sum of units cancel where they meet. Of a sum of
them and of ones, what is left is therefore the number of ones that are added later: it tells how many terms
lie below the node of the summation tree at which the two meet, and all pairs together tell the tree. The idea
is that of FPRev (Xie and others, 2024); the reconstruction here is derived anew and allows for additions of
more than two terms at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Dot", "Precision", "Scale", "Tree", "depth", "precision", "scale_of", "terms_at_once", "tree_of"]

Array = npt.NDArray[np.float64]
Dot = Callable[[Array, Array], Array]
"""Sums ``left[k, :] * right``: ``(left[K, n], right[n]) -> [K]``, float64 arrays that the format holds."""

Tree = Any
"""A term, by its number, or a tuple of the trees whose sums are added at once."""

_AT_ONCE = 4096


@dataclass(frozen=True)
class Scale:
    """Numbers for the probes of a format.

    Args:
        large: swallows sums of units; the format holds it, its square root too.
        unit: likewise.
        most: of so many terms at most the results tell the tree.
        digits: bits of the significand.
    """

    large: float
    unit: float
    most: int
    digits: int


_SCALES = {
    "float32": Scale(2.0**60, 1.0, 4096, 24),
    "bfloat16": Scale(2.0**60, 1.0, 256, 8),
    # All that lies between what is swallowed and what is still a normal number.
    "float16": Scale(2.0**15, 2.0**-14, 32, 11),
}


def scale_of(dtype: str) -> Scale:
    """The numbers for a format.

    Raises:
        ValueError: for a format without any.

    >>> scale_of("bfloat16").digits
    8
    """
    if dtype not in _SCALES:
        raise ValueError(f"dtype must be one of {', '.join(_SCALES)}, got {dtype!r}")
    return _SCALES[dtype]


def tree_of(dot: Dot, terms: int, scale: Scale) -> Tree:
    """The summation tree of ``terms`` products.

    Args:
        dot: the sums.
        terms: how many, at least 1 and at most ``scale.most``.
        scale: the numbers.

    Raises:
        ValueError: if there are too many terms, or the results are not those of any tree.

    >>> tree_of(lambda left, right: (left * right).sum(1), 1, scale_of("float32"))
    0
    """
    if not 1 <= terms <= scale.most:
        raise ValueError(f"terms must be 1 to {scale.most}, got {terms}")
    below = _below(dot, terms, scale)
    return _tree(list(range(terms)), below)


def _below(dot: Dot, terms: int, scale: Scale) -> npt.NDArray[np.int64]:
    """How many terms lie below the node where two meet, ``[terms, terms]``."""
    pairs = [(i, j) for i in range(terms) for j in range(i + 1, terms)]
    found = np.ones((terms, terms), dtype=np.int64)
    for start in range(0, len(pairs), _AT_ONCE):
        some = pairs[start : start + _AT_ONCE]
        left = np.full((len(some), terms), scale.unit)
        for row, (i, j) in enumerate(some):
            left[row, i], left[row, j] = scale.large, -scale.large
        later = dot(left, np.ones(terms)) / scale.unit
        for (i, j), rest in zip(some, later.tolist(), strict=True):
            if not (rest == round(rest) and 0 <= rest <= terms - 2):
                raise ValueError(f"a sum of {terms} terms left {rest} ones, expected 0 to {terms - 2}")
            found[i, j] = found[j, i] = terms - round(rest)
    return found


def _tree(terms: list[int], below: npt.NDArray[np.int64]) -> Tree:
    """The tree of some terms; what lies below a node is met from its first term upwards."""
    first, *others = terms
    tree: Tree = first
    size = 1
    while others:
        least = min(int(below[first, other]) for other in others)
        here = [other for other in others if below[first, other] == least]
        children = [tree]
        while here:
            child = [other for other in here if other == here[0] or below[here[0], other] < least]
            children.append(_tree(child, below))
            here = [other for other in here if other not in child]
            size += len(child)
        if size != least:
            raise ValueError(
                f"{size} terms lie where the sums say that {least} do: these are no sums of a tree"
            )
        tree = tuple(children)
        others = [other for other in others if below[first, other] > least]
    return tree


def depth(tree: Tree) -> int:
    """The most additions that a term passes through.

    >>> depth(((0, 1), (2, 3))), depth((((0, 1), 2), 3)), depth((0, 1, 2, 3))
    (2, 3, 1)
    """
    return 1 + max(map(depth, tree)) if isinstance(tree, tuple) else 0


def terms_at_once(tree: Tree) -> int:
    """The most terms that are added at once.

    >>> terms_at_once(((0, 1), 2)), terms_at_once((0, (1, 2, 3)))
    (2, 3)
    """
    if not isinstance(tree, tuple):
        return 1
    return max(len(tree), *map(terms_at_once, tree))


@dataclass(frozen=True)
class Precision:
    """How exactly products are formed and added.

    Args:
        factor_bits: bits of the significand of a factor that count; those of the format if it is not cut.
        exact_products: whether products of two such factors are added exactly, not rounded first.
        near: what becomes of three quarters of a unit in the last place of 1 in float32, added to 1 by the
            next term: the unit if additions round to nearest, 0 if they cut off, 0.75 if it was not rounded
            at all; in units.
        far: the same for a term far away.
    """

    factor_bits: int
    exact_products: bool
    near: float
    far: float

    @property
    def rounding(self) -> str:
        """What the additions do, in words."""
        words = {1.0: "to nearest", 0.0: "cut off", 0.75: "not rounded"}
        said = [words.get(x, f"{x:g} units") for x in (self.near, self.far)]
        return said[0] if said[0] == said[1] else f"{said[0]} nearby, {said[1]} far away"


def precision(dot: Dot, terms: int, scale: Scale) -> Precision:
    """How exactly products are formed and added.

    Args:
        dot: the sums.
        terms: how many a sum has, at least 4.
        scale: the numbers.

    >>> precision(lambda left, right: (left * right).sum(1), 8, scale_of("float32")).exact_products
    True
    """
    if terms < 4:
        raise ValueError(f"terms must be at least 4, got {terms}")
    kept = 1
    for bits in range(2, scale.digits + 1):
        factor = 1 + 2.0 ** (1 - bits)
        if _one(dot, terms, {0: (factor, 1.0)}) != factor:
            break
        kept = bits
    factor = 1 + 2.0 ** (1 - kept)
    whole = 1 + 2.0 ** (2 - kept)
    rest = _one(dot, terms, {0: (factor, factor), 1: (-whole, 1.0)}) if kept > 2 else 0.0
    small = (1.5 * 2.0**-12, 2.0**-12)
    sums = [
        _one(dot, terms, {0: (1.0, 1.0), place: small, terms - 1: (-1.0, 1.0)}) / 2.0**-23
        for place in (1, terms - 2)
    ]
    return Precision(kept, rest == 2.0 ** (2 - 2 * kept), sums[0], sums[1])


def _one(dot: Dot, terms: int, products: dict[int, Sequence[float]]) -> float:
    """One sum of a few products; all others are 0."""
    left, right = np.zeros((1, terms)), np.zeros(terms)
    for place, (first, second) in products.items():
        left[0, place], right[place] = first, second
    return float(dot(left, right)[0])
