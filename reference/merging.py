"""What merging the results of parts of the memory adds to the error bounds (clause MHN-BND-8)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import implements
from hopspec.reference.arithmetic import Arithmetic, compounded, logarithm_error, lost_weight
from hopspec.types import AccuracyModel

__all__ = ["Constants", "constants", "merged_lost_weight", "merging_error"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Constants:
    """The constants of MHN-BND-2, MHN-BND-3 and MHN-BND-6 that differ where parts are merged.

    Args:
        merged: whether parts may be merged.
        products: further roundings of a term of the numerator.
        logarithms: logarithms of sums in the log-normalizer.
        underflow: of products, in the sharp bound.
        hull_rounding: of weights, in the bound by the convex hull.
        hull_underflow: of products, in the bound by the convex hull.
        hull_reading: of memories that are read out, in the bound by the convex hull.
        least: how often the underflow of a stored result enters besides the last one.
        refined: in the refinement.
        bitwise: in the logarithm of MHN-BND-6.
    """

    merged: bool
    products: int
    logarithms: int
    underflow: int
    hull_rounding: int
    hull_underflow: int
    hull_reading: int
    least: int
    refined: int
    bitwise: int

    def widening(self, of: Arithmetic) -> float:
        """``W``: relative error of the weights of the numerator against those of the denominator."""
        return compounded((of.widening, 1), (of.output_rounding, 1)) if self.merged else of.widening


_WHOLE = Constants(False, 0, 1, 6, 2, 2, 2, 0, 64, 4)
_MERGED = Constants(True, 1, 2, 12, 4, 6, 4, 2, 1024, 128)


@implements("MHN-BND-8")
def constants(model: AccuracyModel, memories: int) -> Constants:
    """The constants of ``model`` for a memory of ``memories`` rows, masked ones counted.

    >>> from hopspec.formats import FLOAT32
    >>> model = AccuracyModel("split", FLOAT32, FLOAT32, exp_error=0.0, merged_from=100)
    >>> constants(model, 99).merged, constants(model, 100).merged
    (False, True)
    """
    return _MERGED if 0 < model.merged_from <= memories else _WHOLE


@implements("MHN-BND-8")
def merging_error(
    of: Arithmetic,
    model: AccuracyModel,
    blocks: int,
    largest: Array,
    count: NDArray[np.int64],
    gamma_s: Array,
) -> Array:
    """What merging adds to ``Theta_i``, in the shape of ``largest``; infinite where ``N kappa_0 > 1/8``.

    Args:
        of: the arithmetic.
        model: the model it was read from.
        blocks: number of blocks of the online softmax.
        largest: bound on the size of the largest computed logit of any part that memory i may be in,
            ``[L, N]``; 0 where masked.
        count: number of kept memories, ``[L, 1]``.
        gamma_s: accumulated rounding of the denominator, ``[L, 1]``.
    """
    lost = count * lost_weight(of, model, blocks, of.widening, 1.0)
    both = model.round_weights and model.rounded_denominator
    log_sum = np.log(np.maximum(count, 1)) - blocks * math.log1p(-model.exp_error) + 2 * lost
    log_sum = log_sum - np.log1p(-gamma_s) - (math.log1p(-of.us) if both else 0.0)
    delta = logarithm_error(of, model, largest + (1 + model.log_error) * log_sum, log_sum)
    most = delta.max(axis=1, initial=0.0, keepdims=True)
    added = delta - math.log1p(-model.exp_error) + of.u * (2 * log_sum + delta + most)
    return np.where(lost <= 0.125, added, np.inf)


@implements("MHN-BND-8")
def merged_lost_weight(of: Arithmetic, model: AccuracyModel, kappa: Array, mean_e: Array) -> Array:
    """``kappa`` where parts are merged, from the formula of MHN-BND-2 and the mean of ``e_i``."""
    return np.asarray(kappa + 4 * (1 + mean_e) * (model.exp_flush + 2 * of.eta))
