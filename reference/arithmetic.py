r"""The symbols of an accuracy model, and what is lost before anything is summed (MHN-BND-1, MHN-BND-2).

Everything here is a few float64 operations on an :class:`~hopspec.types.AccuracyModel`; what depends on the
exact solution of a problem is in :mod:`hopspec.reference.bounds`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import implements
from hopspec.formats import Format
from hopspec.types import AccuracyModel, Summation

__all__ = [
    "Arithmetic",
    "additions",
    "arithmetic",
    "blocks_of",
    "compounded",
    "constant_error",
    "gamma",
    "logarithm_error",
    "logit_error",
    "lost_weight",
    "ordinary",
    "quarter",
    "score_limit",
    "score_roundings",
]

Array = NDArray[np.float64]
X = TypeVar("X", float, Array)

# Largest unit roundoff for which the bounds are proved.
COARSEST = 1 / 64


def gamma(n: float, u: float) -> float:
    """Accumulated relative error of ``n`` roundings, ``n u / (1 - n u)``; infinite when ``n u >= 1``.

    >>> gamma(0, 2**-24)
    0.0
    """
    return n * u / (1 - n * u) if n * u < 1 else math.inf


def compounded(*factors: tuple[float, float]) -> float:
    """``(1 + u)**n * ... - 1`` for the pairs ``(u, n)``; ``1 + u`` itself would be 1 for the u of float64.

    >>> compounded((2**-53, 2)) == 2**-52
    True
    """
    return math.expm1(sum(n * math.log1p(u) for u, n in factors))


def half_least(fmt: Format) -> float:
    """Half the least positive element of ``fmt``: the largest error of rounding near zero."""
    return math.ldexp(1.0, max(fmt.least_exponent - 1, -1074))


def quarter(fmt: Format) -> float:
    """A quarter of the largest element, as far as float64 reaches."""
    return math.ldexp(1.0, min(fmt.emax - 2, 1020))


def _beta_error(beta: float, fmt: Format) -> float:
    """Relative error of ``beta`` in ``fmt``; 0 where it is an element."""
    if beta == 0:
        return 0.0
    _, exponent = math.frexp(beta)
    grid = max(exponent - fmt.precision, fmt.least_exponent)
    if grid <= -1074:
        return 0.0
    scaled = math.ldexp(beta, -grid) if exponent - grid < 1024 else float(beta)
    return abs(round(scaled) - scaled) / abs(scaled)


@implements("MHN-BND-9")
def additions(order: Summation, n: int) -> int:
    """The most inexact additions that one of ``n`` terms passes through, ``a(n)``.

    Args:
        order: how the terms are added.
        n: number of terms.

    >>> additions(Summation(), 1024), additions(Summation(chunk=1, halving=True), 1024)
    (1023, 10)
    >>> additions(Summation(lanes=16, extra=4), 1024)
    67
    """
    if n < 2:
        return 0
    together = min(n, order.chunk) if order.chunk else n
    inside = min(together - 1, -(-together // order.lanes) - 1 + order.extra)
    chunks = -(-n // together)
    return min(n - 1, inside + ((chunks - 1).bit_length() if order.halving else chunks - 1))


def score_roundings(model: AccuracyModel, d: int) -> int:
    """``n_s``: how many roundings a term of a score passes through, its product's included."""
    return min(d, 1 + additions(model.score_sum, d))


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The symbols of clauses MHN-BND-1 and MHN-BND-2 for one model and problem.

    Args:
        u: of the accumulation format.
        us: of the storage format.
        uf: of the output format.
        ux: of the factors of a score.
        eta: absolute error of a product near zero.
        eta_s: of rounding to storage.
        eta_f: of rounding to the output format.
        eta_x: of rounding a factor of a score.
        eta_w: of everything that happens to a weight on its way into the numerator.
        eta_v: of rounding a memory that is read out.
        beta_error: relative error of representing ``beta``.
        conversions: roundings that base 2 adds to a logit.
        widening: ``W``, relative error of the weights of the numerator against those of the denominator.
    """

    u: float
    us: float
    uf: float
    ux: float
    eta: float
    eta_s: float
    eta_f: float
    eta_x: float
    eta_w: float
    eta_v: float
    beta_error: float
    conversions: int
    widening: float

    @property
    def output_rounding(self) -> float:
        """``u_o``: division, or reciprocal and product, then rounding to storage."""
        return compounded((self.us, 1), (self.u, 2))


def _factor(model: AccuracyModel, bits: int, given: Format) -> tuple[float, float]:
    """Relative and absolute error of rounding a number of the format ``given`` to ``bits`` bits."""
    wide = model.accumulation
    least = wide.emin - bits + 1
    if not bits or (given.precision <= bits and given.least_exponent >= least and given.emax <= wide.emax):
        return 0.0, 0.0
    cut = 0 if model.nearest else 1
    return math.ldexp(1.0, cut - bits), math.ldexp(1.0, max(least - 1 + cut, -1074))


@implements("MHN-BND-1")
@lru_cache(maxsize=1024)
def arithmetic(model: AccuracyModel, beta: float) -> Arithmetic:
    """Read the constants of an accuracy model.

    Args:
        model: the arithmetic claimed.
        beta: inverse temperature, for the error of representing it.

    >>> from hopspec.formats import FLOAT32
    >>> arithmetic(AccuracyModel("plain", FLOAT32, FLOAT32, exp_error=0.0), beta=0.5).beta_error
    0.0
    """
    unit = model.accumulation.unit_roundoff
    u = unit if model.nearest else 2 * unit
    us = model.storage.unit_roundoff
    w = us if model.round_weights and not model.rounded_denominator else 0.0
    ux, eta_x = _factor(model, model.score_bits, model.storage)
    uv, eta_v = _factor(model, model.read_bits, model.storage)
    uw, eta_w = _factor(model, model.read_bits, model.storage if model.round_weights else model.accumulation)
    eta = half_least(model.accumulation) * (1 if model.nearest else 2)
    eta_s = half_least(model.storage)
    return Arithmetic(
        u=u,
        us=us,
        uf=model.output.unit_roundoff,
        ux=ux,
        eta=eta,
        eta_s=eta_s,
        eta_f=half_least(model.output),
        eta_x=eta_x,
        eta_w=eta + (eta_s * (1 + uw) if model.round_weights else 0.0) + eta_w,
        eta_v=eta_v,
        beta_error=_beta_error(beta, model.accumulation),
        conversions=2 if model.base2 else 0,
        widening=compounded((w, 1), (u, 2 if model.normalize_first else 0), (uw, 1), (uv, 1)),
    )


def ordinary(of: Arithmetic, model: AccuracyModel, d: int, blocks: int) -> bool:
    """Whether the constants are in the domain of MHN-BND-2, as far as they do not depend on the query."""
    coarsest = max(of.u, of.us, of.ux, math.ldexp(1.0, 1 - model.read_bits) if model.read_bits else 0.0)
    scores = gamma(score_roundings(model, d), of.u)
    return coarsest <= COARSEST and scores <= 0.25 and blocks * model.exp_error <= 0.125 and of.beta_error < 1


def blocks_of(model: AccuracyModel, memories: int) -> int:
    """Number of blocks of the online softmax, masked memories counted."""
    return max(1, -(-memories // model.block)) if model.block else 1


def score_limit(model: AccuracyModel) -> float:
    """Largest size of ``A_i`` and ``|beta| A_i`` at which no score can overflow."""
    stored = model.score_roundings or model.pre_scale
    return min(quarter(model.accumulation), quarter(model.storage) if stored else math.inf)


def logit_error(
    of: Arithmetic, model: AccuracyModel, beta: float, d: int, magnitude: Array, logit: Array, entries: Array
) -> Array:
    """``tau_i`` of MHN-BND-2 from ``A_i``, ``|t_i|`` and ``sum_j |xi_j| + |x_ij|``."""
    b, grown = abs(beta), gamma(score_roundings(model, d), of.u)
    if model.pre_scale:
        growth = compounded((grown, 1), (of.us, 2), (2 * of.u, 2), (of.ux, 2))
        a = growth * b * magnitude + 2 * d * of.eta
        least = of.eta_s + of.eta_x
        a = a + 2 * least * (math.sqrt(b) * entries + d * least)
        psi = compounded((of.u, of.conversions))
    else:
        growth = compounded((grown, 1), (of.ux, 2)) if of.ux else grown
        lost = 2 * of.eta_x * (entries + d * of.eta_x) if of.ux else 0.0
        a = b * (growth * magnitude + (2 * d * of.eta + lost))
        psi = compounded((of.beta_error, 1), (of.u, 1 + of.conversions))
    tau = (1 + psi) * a + psi * logit + 4 * of.eta
    for _ in range(model.score_roundings):
        tau = tau + of.us * (logit + tau) + 2 * max(1.0, b) * of.eta_s
    return np.asarray(tau)


def constant_error(of: Arithmetic, model: AccuracyModel, blocks: int) -> float:
    """The part of ``Theta_i`` that is the same for every memory."""
    both = model.round_weights and model.rounded_denominator
    return -blocks * math.log1p(-model.exp_error) - (math.log1p(-of.us) if both else 0.0)


def lost_weight(of: Arithmetic, model: AccuracyModel, blocks: int, widening: float, scale: X) -> X:
    """``kappa`` of MHN-BND-2 from ``W`` and ``P``: what underflow takes from a weight."""
    growth = (1 + model.exp_error) ** blocks
    flushed = (model.exp_flush + 2 * blocks * of.eta) * growth * (1 + widening) + 2 * blocks * of.eta
    return scale * flushed + (2.5 if model.normalize_first else scale) * of.eta_w


def logarithm_error(of: Arithmetic, model: AccuracyModel, size: X, log_sum: X) -> X:
    """Error of a maximum plus the logarithm of a sum, before rounding to output (MHN-BND-3).

    Args:
        of: the arithmetic.
        model: the model it was read from.
        size: bound on the size of the maximum plus that of the computed logarithm.
        log_sum: bound on the size of the exact logarithm.
    """
    return model.log_error * log_sum + compounded((of.u, 2 + of.conversions)) * size + 2 * of.eta
