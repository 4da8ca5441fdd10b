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
from hopspec.types import AccuracyModel

__all__ = [
    "Arithmetic",
    "arithmetic",
    "blocks_of",
    "compounded",
    "constant_error",
    "gamma",
    "logarithm_error",
    "logit_error",
    "lost_weight",
    "quarter",
    "score_limit",
]

Array = NDArray[np.float64]
X = TypeVar("X", float, Array)


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


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The symbols of clause MHN-BND-1 for one model and problem."""

    u: float
    us: float
    uf: float
    eta: float
    eta_s: float
    eta_f: float
    beta_error: float
    conversions: int
    widening: float

    @property
    def output_rounding(self) -> float:
        """``u_o``: division, or reciprocal and product, then rounding to storage."""
        return compounded((self.us, 1), (self.u, 2))


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
    return Arithmetic(
        u=u,
        us=us,
        uf=model.output.unit_roundoff,
        eta=half_least(model.accumulation),
        eta_s=half_least(model.storage),
        eta_f=half_least(model.output),
        beta_error=_beta_error(beta, model.accumulation),
        conversions=2 if model.base2 else 0,
        widening=compounded((w, 1), (u, 2 if model.normalize_first else 0)),
    )


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
    b = abs(beta)
    if model.pre_scale:
        growth = compounded((gamma(d, of.u), 1), (of.us, 2), (2 * of.u, 2))
        a = growth * b * magnitude + 2 * d * of.eta
        a = a + 2 * of.eta_s * (math.sqrt(b) * entries + d * of.eta_s)
        psi = compounded((of.u, of.conversions))
    else:
        a = b * (gamma(d, of.u) * magnitude + 2 * d * of.eta)
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
    rounding = of.eta + (of.eta_s if model.round_weights else 0.0)
    return scale * flushed + (2.5 if model.normalize_first else scale) * rounding


def logarithm_error(of: Arithmetic, model: AccuracyModel, size: X, log_sum: X) -> X:
    """Error of a maximum plus the logarithm of a sum, before rounding to output (MHN-BND-3).

    Args:
        of: the arithmetic.
        model: the model it was read from.
        size: bound on the size of the maximum plus that of the computed logarithm.
        log_sum: bound on the size of the exact logarithm.
    """
    return model.log_error * log_sum + compounded((of.u, 2 + of.conversions)) * size + 2 * of.eta
