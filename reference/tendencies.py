r"""Systematic errors of many queries: what is allowed of them, and whether there are more (chapter 15).

The formulas are those of clauses MHN-STA-2 and MHN-STA-3, with their names. Like those of
:mod:`hopspec.reference.bounds` they are sums of non-negative terms, evaluated in float64 and inflated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import implements
from hopspec.formats import Format
from hopspec.reference.arithmetic import Arithmetic, arithmetic, compounded, gamma
from hopspec.reference.bounds import INFLATION, Perturbation, energy_bound, log_normalizer_bound, perturbation
from hopspec.reference.crowd import Crowd, Direction, directions_of
from hopspec.reference.solution import Solution
from hopspec.types import AccuracyModel

__all__ = ["DEVIATIONS", "LEAST_QUERIES", "Allowance", "Plan", "Tendency", "allowance", "tendencies"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

DEVIATIONS = 7.0
LEAST_QUERIES = 128
MOST_WEIGHT = 0.9
LARGEST_ERROR = 0.125
# Bits in which rounding errs by less than anything that is looked at.
FINE = 200


@dataclass(frozen=True)
class Plan:
    """The directions of one quantity on one crowd, and what every arithmetic needs of them.

    Args:
        quantity: name of the quantity.
        crowd: the queries.
    """

    quantity: str
    crowd: Crowd

    @cached_property
    def directions(self) -> tuple[Direction, ...]:
        """Those of clause MHN-STA-1."""
        return directions_of(self.quantity)

    @cached_property
    def exact(self) -> Array:
        """The quantity in float64, ``[L, m]``; ``m = 1`` for a number per query."""
        s = self.crowd.solution
        if self.quantity == "retrieve":
            return s.state.hi
        if self.quantity == "association":
            return s.weights
        number = s.log_normalizer if self.quantity == "log_normalizer" or s.energy is None else s.energy
        return number.hi[:, None]

    @cached_property
    def slopes(self) -> Array:
        """``r``, ``[K, L, m]``."""
        slopes = np.stack([d.slope(self.crowd) for d in self.directions])
        return np.asarray(slopes.reshape(-1, *self.exact.shape))

    @cached_property
    def scale(self) -> Array:
        """The size of a component's rounding errors up to a common factor, ``[L, m]``."""
        crowd, s = self.crowd, self.crowd.solution
        if self.quantity == "retrieve":
            return np.asarray(np.sqrt(np.square(s.state.hi) + np.square(s.weights) @ np.square(crowd.memory)))
        if self.quantity == "association":
            return np.asarray(s.weights + 1 / len(crowd.memory))
        return np.ones(self.exact.shape)

    @cached_property
    def factors(self) -> Array:
        """``a``, ``[K, L, m]``."""
        raw = self.slopes / np.square(self.scale)
        gains = np.einsum("klm,klm->kl", raw, self.slopes)
        mean = gains.mean(axis=1, keepdims=True)
        # A direction that moves no result at all has mean 0.
        return np.asarray(raw * (mean / np.maximum(mean + gains, 2.0**-1000))[:, :, None])

    @cached_property
    def sizes(self) -> Array:
        """``|a|``, ``[K, L, m]``."""
        return np.abs(self.factors)

    @cached_property
    def gains(self) -> Array:
        """``<a, r>``, ``[K, L]``."""
        return np.asarray(np.einsum("klm,klm->kl", self.factors, self.slopes))

    @cached_property
    def shares(self) -> Array:
        """``p_i |<a, v_i - o>|``, ``[K, L, N]``, with the memories, or the unit vectors, for ``v_i``."""
        weights = self.crowd.solution.weights
        if self.quantity == "association":
            mean = np.einsum("kln,ln->kl", self.factors, weights)
            moved = self.factors - mean[:, :, None]
        else:
            count, rows, width = self.factors.shape
            moved = (self.factors.reshape(-1, width) @ self.crowd.memory.T).reshape(count, rows, -1)
            moved -= np.einsum("klj,lj->kl", self.factors, self.exact)[:, :, None]
        return np.asarray(np.abs(moved, out=moved) * weights)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the model of an arithmetic allows every query of a crowd.

    Args:
        crowd: the queries.
        model: the model, without what is exact for this crowd.
        still: the same without random roundings.
        of: its symbols.
        moved: the perturbation of clause MHN-BND-2 under ``model``.
        fixed: the same under ``still``.
        lasting: ``e'``, what may be systematic in every weight, ``[L, N]``.
        curved: what random roundings do to every weight beyond first order, ``[L, N]``.
        h: random relative errors of sums and results, ``[L]``.
        cut: ``h'``, systematic ones, ``[L]``.
        shrink: ``1 - 4 g``, ``[L]``.
        taken: which queries take part.
    """

    crowd: Crowd
    model: AccuracyModel
    still: AccuracyModel
    of: Arithmetic
    moved: Perturbation
    fixed: Perturbation
    lasting: Array
    curved: Array
    h: Array
    cut: Array
    shrink: Array
    taken: Mask

    @property
    def given(self) -> tuple[Array, Array, float, Solution]:
        """The problem that the queries are, as bounds take it."""
        crowd = self.crowd
        return crowd.query, crowd.memory, crowd.beta, crowd.solution


def _exact_factors(crowd: Crowd, model: AccuracyModel) -> bool:
    """Whether query and memory stay what they are where the model rounds them before multiplying."""
    arrays, wide = (crowd.query, crowd.memory), model.accumulation
    bits = [b for b in (model.score_bits, model.read_bits) if b]
    if not all(fits(a, Format("factor", b, wide.emin, wide.emax)) for a in arrays for b in bits):
        return False
    if not model.pre_scale:
        return True
    mantissa, exponent = math.frexp(crowd.beta)
    root = (exponent - 1) // 2
    return (
        mantissa == 0.5 and exponent % 2 == 1 and all(fits(np.ldexp(a, root), model.storage) for a in arrays)
    )


def fits(x: Array, fmt: Format) -> bool:
    """Whether every entry is an element of the format, its largest binade excepted."""
    mantissa, exponent = np.frexp(x)
    steps = np.ldexp(mantissa, exponent - np.maximum(exponent - fmt.precision, fmt.least_exponent))
    return bool((steps == np.rint(steps)).all() and (exponent <= fmt.emax).all())


@implements("MHN-STA-2")
def allowance(crowd: Crowd, model: AccuracyModel) -> Allowance | None:
    """What a model allows a crowd; None outside the domain of clause MHN-STA-2.

    Args:
        crowd: the queries.
        model: the arithmetic claimed.

    >>> from hopspec.formats import FLOAT32
    >>> plain = AccuracyModel("plain", FLOAT32, FLOAT32, exp_error=2.0**-23)
    >>> rng = np.random.default_rng(0)
    >>> query, memory = rng.integers(-9, 9, (200, 4)) / 4, rng.integers(-9, 9, (20, 4)) / 4
    >>> may = allowance(Crowd(query, memory, 0.5), plain)
    >>> int(may.taken.sum())
    196
    >>> allowance(Crowd(query[:100], memory, 0.5), plain) is None
    True
    """
    if not _exact_factors(crowd, model) or not crowd.distinct:
        return None
    plain = replace(model, pre_scale=False, score_bits=0)
    # What is rounded again has been multiplied by constants: not at all, if these are powers of two.
    again = max(model.score_roundings - 1, 0)
    if not model.base2 and math.frexp(crowd.beta)[0] == 0.5:
        plain, again = replace(plain, score_roundings=model.score_roundings - again), 0
    wide = plain.accumulation
    fine = Format("fine", FINE, wide.emin, wide.emax) if plain.nearest else wide
    still = replace(plain, accumulation=fine, output=fine, score_roundings=0, round_weights=False)
    given = crowd.query, crowd.memory, crowd.beta, crowd.solution
    of, moved, fixed = arithmetic(plain, crowd.beta), perturbation(*given, plain), perturbation(*given, still)
    constant = compounded((of.beta_error, 1), (of.u, of.conversions), (of.us, again))
    underflow = 2 * again * max(1.0, crowd.beta) * of.eta_s
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.abs(crowd.solution.logits) + moved.tau
        lasting = np.expm1(fixed.theta + constant * size + underflow)
        widening = moved.constants.widening(of)
        h = widening + moved.gamma_v + 2 * moved.gamma_s + of.output_rounding
        stored = plain.score_roundings + (plain.round_weights and plain.rounded_denominator)
        logits = stored * of.us + gamma(crowd.query.shape[1], of.u) + 6 * of.u
        near = moved.mean_e + h + logits
        curved = moved.e * (moved.e / 2 + near[:, None])
    taken = moved.inside & fixed.inside & (near <= LARGEST_ERROR)
    taken &= crowd.solution.weights.max(axis=1) <= MOST_WEIGHT
    if np.count_nonzero(taken) < LEAST_QUERIES:
        return None
    kept = fixed.constants.widening(arithmetic(still, crowd.beta))
    cut = np.zeros(len(h)) if plain.nearest else kept + moved.gamma_v + moved.gamma_s + 2 * of.u
    shrink = np.where(taken, 1 - 4 * near, 1.0)
    return Allowance(crowd, plain, still, of, moved, fixed, lasting, curved, h, cut, shrink, taken)


def _mixed(may: Allowance) -> Array:
    """What may be systematic in the terms of a sum apart from their weights, ``[L, N]``."""
    h, mean_e = may.h[:, None], may.moved.mean_e[:, None]
    relative = h * may.moved.e + h * (h + mean_e) + may.cut[:, None] + 2 * may.crowd.doubt
    return np.asarray(may.crowd.solution.weights * relative)


@implements("MHN-STA-2")
def _of_update(plan: Plan, may: Allowance) -> Array:
    crowd, of, moved = plan.crowd, may.of, may.moved
    n, sizes = len(crowd.memory), np.abs(crowd.memory)
    lost = (1 + moved.gamma_v) * moved.kappa
    each = _mixed(may) @ sizes + lost[:, None] * (sizes.sum(axis=0) + n * np.abs(plan.exact))
    underflow = moved.constants.underflow * (1 + moved.mean_e) * (n + moved.blocks) * of.eta
    underflow += (1 + moved.constants.least) * (of.eta_s + 2 * of.eta)
    shifted = np.einsum("kln,ln->kl", plan.shares, may.lasting + may.curved + crowd.doubt)
    return np.asarray(shifted + np.einsum("klj,lj->kl", plan.sizes, each + underflow[:, None]))


@implements("MHN-STA-2")
def _of_association(plan: Plan, may: Allowance) -> Array:
    crowd, of = plan.crowd, may.of
    lost = may.moved.kappa[:, None] * (1 + len(crowd.memory) * crowd.solution.weights)
    each = _mixed(may) + lost + of.eta_s + 2 * of.eta
    shifted = np.einsum("kln,ln->kl", plan.shares, may.lasting + may.curved + crowd.doubt)
    return np.asarray(shifted + np.einsum("kln,ln->kl", plan.sizes, each))


def _beyond_bound(may: Allowance) -> Array:
    """What the bound of the log-normalizer under ``still`` leaves out, ``[L]``."""
    crowd, of, moved = may.crowd, may.of, may.moved
    p, logits = crowd.solution.weights, np.abs(crowd.solution.logits)
    size = logits.max(axis=1) + 1 + math.log(len(crowd.memory))
    constants = compounded((of.u, of.conversions)) * size
    rest = (p * (may.lasting - may.fixed.e + may.curved)).sum(axis=1) + 4 * np.square(moved.gamma_s)
    v = compounded((of.uf, 1), (of.u, 2 + of.conversions))
    second = 3 * v * log_normalizer_bound(*may.given, may.model, moved)
    return np.asarray(rest + constants + second + 8 * (crowd.doubt + 2.0**-53 * size))


@implements("MHN-STA-3")
def _of_log_normalizer(plan: Plan, may: Allowance) -> Array:
    error = log_normalizer_bound(*may.given, may.still, may.fixed) + _beyond_bound(may)
    return np.asarray(plan.sizes[:, :, 0] * error)


@implements("MHN-STA-3")
def _of_energy(plan: Plan, may: Allowance) -> Array:
    crowd, of = plan.crowd, may.of
    n, d = crowd.memory.shape
    error = energy_bound(*may.given, may.still, may.fixed) + _beyond_bound(may) / crowd.beta
    square, count = np.square(crowd.memory).sum(axis=1).max() / 2, math.log(n) / crowd.beta
    phi = (of.u + of.beta_error) / (1 - of.beta_error)
    lse = np.abs(crowd.solution.log_normalizer.hi) / crowd.beta
    common = gamma(d + 7, of.u) * square + (gamma(3, of.u) + phi) * count + phi * lse
    v = compounded((of.uf, 1), (phi, 1), (gamma(d + 7, of.u), 1))
    common = common + 3 * v * energy_bound(*may.given, may.model, may.moved)
    doubt = 2.0**-50 * (d + 2) * (np.square(crowd.query).sum(axis=1) + 2 * square + count + lse)
    return np.asarray(plan.sizes[:, :, 0] * (error + common + doubt))


_ALLOWED = {
    "retrieve": _of_update,
    "association": _of_association,
    "log_normalizer": _of_log_normalizer,
    "energy": _of_energy,
}


@dataclass(frozen=True, slots=True)
class Tendency:
    """What was found in one direction.

    Args:
        direction: which.
        coefficient: estimate of how far the results err in it.
        deviation: its standard error.
        allowed: what the model allows to be systematic, in units of the coefficient.
        ratio: size of the estimate over the largest that is no alarm.
        explained: the share of the squared errors over ``scale**2`` that it accounts for; 0 where no
            direction alarms.
    """

    direction: Direction
    coefficient: float
    deviation: float
    allowed: float
    ratio: float
    explained: float


def _largest_chance(terms: Array, allowed: Array) -> Array:
    """A bound on ``sum b + x |g - b|`` over all ``|b_l| <= B_l``, ``[K]``, for ``g`` and ``B`` ``[K, L]``.

    For every ``q > 0``, ``|v| <= |v|**2 / (2 q) + q / 2``, with equality at ``q = |v|``. So the sum is at
    most one of convex functions of single ``b_l``, each of which is largest at an end of its interval.
    """
    bounds = []
    for length in (np.linalg.norm(terms - allowed, axis=1), np.linalg.norm(terms, axis=1)):
        q = np.maximum(length, 2.0**-500)[:, None]
        ends = (end * allowed + DEVIATIONS / 2 * np.square(terms - end * allowed) / q for end in (1.0, -1.0))
        bounds.append(np.maximum(*ends).sum(axis=1) + DEVIATIONS / 2 * q[:, 0])
    return np.asarray(np.minimum(*bounds))


@implements("MHN-STA-1")
def tendencies(plan: Plan, may: Allowance, computed: Array) -> list[Tendency]:
    """Test computed results in every direction (clause MHN-STA-1).

    Args:
        plan: the quantity and the queries.
        may: what the model allows, see :func:`allowance`.
        computed: finite numbers, ``[L, m]``, or ``[L]`` for a number per query.

    Returns:
        One tendency for each direction that moves the results of the crowd at all.

    >>> from hopspec.formats import FLOAT32
    >>> plain = AccuracyModel("plain", FLOAT32, FLOAT32, exp_error=2.0**-23)
    >>> rng = np.random.default_rng(0)
    >>> query, memory = rng.integers(-9, 9, (200, 4)) / 4, rng.integers(-9, 9, (20, 4)) / 4
    >>> cold, hot = Crowd(query, memory, 0.5), Crowd(query, memory, 0.5005)
    >>> may, noise = allowance(cold, plain), 1e-7 * rng.standard_normal((200, 4))
    >>> found = tendencies(Plan("retrieve", cold), may, hot.solution.state.hi + noise)
    >>> found[0].direction.name, round(found[0].coefficient, 6), found[0].ratio > 1
    ('beta', 0.001, True)
    """
    taken = may.taken
    rows = slice(None) if taken.all() else taken
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        error = computed.reshape(plan.exact.shape) - plan.exact
        terms = np.einsum("klm,lm->kl", plan.factors, error)[:, rows]
        allowed = (_ALLOWED[plan.quantity](plan, may) * (INFLATION / may.shrink))[:, rows]
        total, gains = terms.sum(axis=1), plan.gains[:, rows]
        gain, most = gains.sum(axis=1), allowed.sum(axis=1)
        chance = _largest_chance(terms * np.sign(total)[:, None], allowed)
        ratio = np.where(total == 0, 0.0, np.abs(total) / chance)
        found = total / gain
        rest = np.linalg.norm(terms - found[:, None] * gains, axis=1) / gain
    explained = _explained(plan, error, rows) if (ratio > 1).any() else np.zeros(len(found))
    columns = (found, rest, most / gain, ratio, explained)
    return [
        Tendency(direction, *(float(column[k]) for column in columns))
        for k, direction in enumerate(plan.directions)
        if gain[k] > 0
    ]


def _explained(plan: Plan, error: Array, rows: Any) -> Array:
    """The share of ``sum (error / scale)**2`` that a multiple of each direction accounts for, ``[K]``."""
    weighted = (error / plan.scale)[rows]
    turned = (plan.slopes / plan.scale)[:, rows]
    along = np.einsum("klm,lm->k", turned, weighted)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = along * along / (np.einsum("klm,klm->k", turned, turned) * np.square(weighted).sum())
    return np.asarray(np.nan_to_num(share))
