"""The error of logits to which a bias is added (clause MHN-ATT-5)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import implements
from hopspec.reference.arithmetic import Arithmetic, compounded, logit_error
from hopspec.types import AccuracyModel

__all__ = ["biased_logit_error"]

Array = NDArray[np.float64]


@implements("MHN-ATT-5")
def biased_logit_error(
    of: Arithmetic,
    model: AccuracyModel,
    beta: float,
    d: int,
    magnitude: Array,
    logit: Array,
    bias: Array,
    entries: Array,
) -> Array:
    """``tau_i`` of MHN-ATT-5, which takes the place of that of MHN-BND-2.

    Args:
        of: the arithmetic.
        model: the model it was read from.
        beta: the scale.
        d: width of queries and keys.
        magnitude: ``A_i``.
        logit: ``t_i``, with the bias.
        bias: ``b_i``.
        entries: ``sum_j |xi_j| + |x_ij|``.

    Returns:
        Bounds on the errors of the computed logits, in the shape of ``logit``.
    """
    size = np.maximum(np.abs(logit), np.abs(logit - bias))
    stored = model.score_roundings + 1 if model.score_roundings else 0
    tau = logit_error(of, replace(model, score_roundings=0), beta, d, magnitude, size, entries)
    tau = tau + compounded((of.u, of.conversions)) * np.abs(bias) + 2 * of.eta
    tau = (1 + of.u) * tau + of.u * size
    for _ in range(stored):
        tau = tau + of.us * (size + tau) + 2 * max(1.0, abs(beta)) * of.eta_s
    return np.asarray(tau)
