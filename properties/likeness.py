"""Which built-in accuracy models an implementation behaves like, and whether its claim is too loose.

A claim that is too tight fails. One that is too loose passes everything, and is only seen by comparison: with
the models that no case has violated, and with how much smaller their bounds are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from hopspec.properties.models import MODELS
from hopspec.types import AccuracyModel, Summation

__all__ = ["Claim", "Fit", "at_most", "claim_of", "tightest"]


# Steps of an octave in which sizes of bounds are compared.
STEPS = 8


@dataclass
class Fit:
    """How the cases fared under one model.

    Args:
        cases: cases judged.
        worst: largest error over bound; the model is violated where it exceeds 1.
        sizes: in how many cases the claimed model's bound is ``2**(k / 8)`` times its own, by ``k``.
    """

    cases: int = 0
    worst: float = 0.0
    sizes: Counter[int] = field(default_factory=Counter)

    @property
    def tighter(self) -> float:
        """By how many times the bound is smaller than the claimed model's, in the median."""
        half, passed = self.sizes.total() / 2, 0
        for k in sorted(self.sizes):
            passed += self.sizes[k]
            if passed >= half:
                return math.exp2(k / STEPS)
        return 1.0

    def compare(self, size: float, claimed: float) -> None:
        """Note the sizes of its bound and the claimed model's in one case; there is no comparing with 0."""
        if 0 < size < math.inf and 0 < claimed < math.inf:
            self.sizes[round(STEPS * (math.log2(claimed) - math.log2(size)))] += 1

    def join(self, other: Fit) -> None:
        """Add what other cases showed."""
        self.cases += other.cases
        self.worst = max(self.worst, other.worst)
        self.sizes.update(other.sizes)


@lru_cache(maxsize=1024)
def at_most(tight: AccuracyModel, loose: AccuracyModel) -> bool:
    """Whether no bound of MHN-BND-2 is larger under ``tight`` than under ``loose``, field by field.

    >>> at_most(MODELS["wide-float32"], MODELS["flash-float32"])
    True
    >>> at_most(MODELS["flash-bfloat16"], MODELS["paired-bfloat16"])
    False
    """
    a, b = tight, loose
    formats = a.storage == b.storage and (
        a.accumulation.precision >= b.accumulation.precision
        and a.accumulation.emin <= b.accumulation.emin
        and a.accumulation.emax >= b.accumulation.emax
    )
    same_weights = (a.round_weights, a.rounded_denominator) == (b.round_weights, b.rounded_denominator)
    return (
        formats
        and (same_weights or not a.round_weights)
        and a.pre_scale == b.pre_scale
        and a.exp_error <= b.exp_error
        and a.exp_flush <= b.exp_flush
        and a.score_roundings <= b.score_roundings
        and a.normalize_first <= b.normalize_first
        and a.base2 <= b.base2
        and a.nearest >= b.nearest
        and a.exp_zero_is_one >= b.exp_zero_is_one
        and _coarser(a.block, b.block)
        and _coarser(a.merged_from, b.merged_from)
        and _coarser(a.score_bits, b.score_bits)
        and _coarser(a.read_bits, b.read_bits)
        and all(
            y in (x, Summation())
            for x, y in (
                (a.score_sum, b.score_sum),
                (a.weighted_sum, b.weighted_sum),
                (a.weight_sum, b.weight_sum),
            )
        )
    )


def _coarser(tight: int, loose: int) -> bool:
    """For a field that loosens a model the smaller it is, and not at all where it is 0."""
    return tight == 0 or 0 < loose <= tight


def tightest(alive: Iterable[str], fits: Mapping[str, Fit]) -> list[str]:
    """The models not violated of which no other is known to be tighter, those with the smallest bounds first.

    Args:
        alive: names of the models no case has violated.
        fits: how the models fared that were judged at all.
    """
    judged = [m for name, m in MODELS.items() if name in alive and name in fits and fits[name].cases]
    # Of models with equal bounds the first is meant.
    least = [
        m
        for k, m in enumerate(judged)
        if not any(at_most(o, m) and (i < k or not at_most(m, o)) for i, o in enumerate(judged) if i != k)
    ]
    return [m.name for m in sorted(least, key=lambda m: -fits[m.name].tighter)]


@dataclass(frozen=True)
class Claim:
    """What the cases say of a claimed accuracy model.

    Args:
        model: name of the model claimed.
        worst: largest error over its bound.
        like: the tightest built-in model no case violated; "" if all are violated.
        like_worst: largest error over the bound of that one.
        tighter: by how many times the bounds of that one are smaller, in the median.
        others: further models no case violated that are neither tighter nor looser.
    """

    model: str
    worst: float
    like: str
    like_worst: float
    tighter: float
    others: tuple[str, ...] = ()

    @property
    def too_loose(self) -> bool:
        """Whether a model with smaller bounds would have passed as well."""
        return bool(self.like) and self.like != self.model and self.worst <= 1 < self.tighter


def claim_of(model: str, alive: Iterable[str], fits: Mapping[str, Fit]) -> Claim:
    """Sum up how the claimed model fared.

    Args:
        model: its name.
        alive: names of the built-in models no case violated.
        fits: how the models fared; under "" the claimed one, if it is not built in.
    """
    own = fits.get("") or fits.get(model, Fit())
    found = tightest(alive, fits)
    if not found:
        return Claim(model, own.worst, "", math.inf, 1.0)
    best = fits[found[0]]
    return Claim(model, own.worst, found[0], best.worst, best.tighter, tuple(found[1:]))
