"""A kernel as one writes it in C with vectors of eight, in NumPy: lanes, remainders, its own exponential."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.types import Capabilities, Implementation

from .variants import Variants

__all__ = ["KERNELS"]

LANES = 8
Array = NDArray[np.float32]

FAULTS = {
    "remainder_of_seven": "a remainder of seven memories is handled as one of six",
    "remainder_max": "the maximum is taken before the remainder is looked at",
    "upper_lanes_max": "the maximum over the lanes leaves out the upper half",
    "width_remainder": "the remainder of the width is added for the first memory of a vector only",
    "width_beyond_eight_vectors": "products are summed in 64 lanes, and widths beyond leave a rest out",
    "sum_lane_lost": "lane 5 of the sum is lost where there are more than 64 memories",
    "exp_zero_below_minus_20": "exponentials below -20 are taken for zero",
    "exp_zero_below_minus_80": "exponentials below -80 are taken for zero",
    "exp_sign_below_minus_87": "below -87.34 the exponent field is negative and the result infinite",
    "exp_bad_near_ln2": "the range reduction keeps one part of ln 2, so that large arguments lose digits",
    "exp_short_polynomial": "the polynomial of the exponential has degree 3",
    "exp_table_edge": "the last entry of the table of 2**(j/32) is wrong",
    "subnormal_inputs_flushed": "subnormal inputs count as zero",
    "subnormal_products_flushed": "scores below 2**-100 in size are flushed to zero",
    "no_max": "nothing is subtracted where the logits stay below 80 in size, wrongly tested by the first",
    "scale_last": "beta multiplies after the maximum has been taken, also where it is negative",
    "scale_query_first": "the query is multiplied by beta in single precision and may underflow or overflow",
    "counter_int16": "the number of vectors is a signed sixteen-bit number",
    "total_in_half": "the total of the lanes is in half precision",
    "wraps_at_4096": "the table of logits holds 4096 entries and wraps around",
    "large_stays_out": "sums beyond 4096 are taken for an error and replaced by 4096",
    "early_exit": "the loop ends at the first vector whose weights are all below 2**-40",
    "late_start": "the loop starts at the first vector whose logits are not far below the first maximum",
    "sorted_assumed": "the last memory is taken for the best where it beats the first and the middle one",
}


class Lanes:
    """The kernel; ``bug`` names its fault."""

    def __init__(self, bug: str) -> None:
        self.bug = bug

    def __call__(self, query: Array, memory: Array, *, beta: float) -> Array:
        return np.stack([self._row(q, memory, np.float32(beta), beta) for q in query]).astype(np.float32)

    def _row(self, q: Array, memory: Array, beta: np.float32, number: float) -> Array:
        bug = self.bug
        if bug == "subnormal_inputs_flushed":
            least = np.float32(2.0**-126)
            q = np.where(np.abs(q) < least, np.float32(0), q)
            memory = np.where(np.abs(memory) < least, np.float32(0), memory)
        count = len(memory)
        with np.errstate(all="ignore"):
            scores = self._scores(q * beta if bug == "scale_query_first" else q, memory)
            if bug == "subnormal_products_flushed":
                scores = np.where(np.abs(scores) < 2.0**-100, np.float32(0), scores)
            logits = scores if bug == "scale_query_first" else np.float32(number) * scores
            if bug == "wraps_at_4096" and count > 4096:
                logits[: count - 4096] = logits[4096:][:4096]
            top = self._max(logits)
            if bug == "scale_last":
                top = np.float32(number) * self._max(scores)
            if bug == "no_max" and abs(logits[0]) < 80:
                top = np.float32(0)
            if bug == "sorted_assumed" and logits[-1] >= logits[0] and logits[-1] >= logits[count // 2]:
                top = logits[-1]
            weights = self._exp(logits - top)
            return self._mean(weights, memory)

    def _scores(self, q: Array, memory: Array) -> Array:
        bug = self.bug
        width = memory.shape[1]
        full = width // LANES * LANES
        if bug == "width_beyond_eight_vectors" and width > 64:
            full = 64
        products = memory[:, :full] * q[:full]
        lanes = products.reshape(len(memory), -1, LANES).sum(1, dtype=np.float32)
        scores: Array = lanes.sum(1, dtype=np.float32)
        rest = (memory[:, full:] * q[full:]).sum(1, dtype=np.float32)
        if bug == "width_beyond_eight_vectors" and width > 64:
            return scores
        if bug == "width_remainder" and full:
            rest[np.arange(len(memory)) % LANES != 0] = 0
        return np.asarray(scores + rest, dtype=np.float32)

    def _max(self, logits: Array) -> np.float32:
        bug = self.bug
        full = len(logits) // LANES * LANES
        rest = logits[full:]
        if bug == "remainder_max" and full:
            rest = rest[:0]
        vectors = logits[:full].reshape(-1, LANES)
        if bug == "upper_lanes_max" and full:
            vectors = vectors[:, : LANES // 2]
        return np.float32(np.concatenate([vectors.ravel(), rest]).max())

    def _mean(self, weights: Array, memory: Array) -> Array:
        bug = self.bug
        count = len(memory)
        full = count // LANES * LANES
        stop = count
        if bug == "remainder_of_seven" and count - full == 7:
            stop = count - 1
        if bug == "counter_int16" and full // LANES > 2**15 - 1:
            stop = full = (2**15 - 1) * LANES
        start = 0
        blocks = weights[:full].reshape(-1, LANES)
        small = (blocks < 2.0**-40).all(1)
        if bug == "early_exit" and small.any() and small.argmax() > 0:
            stop = full = int(small.argmax()) * LANES
            blocks = blocks[: full // LANES]
        if bug == "late_start" and full and (blocks[0] < 2.0**-20).all():
            start = LANES
        lanes = blocks[start // LANES :].sum(0, dtype=np.float32)
        if bug == "sum_lane_lost" and count > 64:
            lanes[5] = 0
        total = np.float32(lanes.sum(dtype=np.float32) + weights[full:stop].sum(dtype=np.float32))
        if bug == "total_in_half":
            total = np.float32(np.float16(total))
        if bug == "large_stays_out":
            total = min(total, np.float32(4096))
        acc = (weights[start:stop, None] * memory[start:stop]).sum(0, dtype=np.float32)
        return np.asarray(acc / total, dtype=np.float32)

    def _exp(self, t: Array) -> Array:
        """Reduction to ``n * ln 2 / 32``, a table and a polynomial."""
        bug = self.bug
        step = math.log(2) / 32
        n = np.rint(t.astype(np.float64) / step)
        n = np.where(np.isfinite(n), n, -(10.0**6))
        if bug == "exp_bad_near_ln2":
            r = (t - n.astype(np.float32) * np.float32(step)).astype(np.float64)
        else:
            r = t.astype(np.float64) - n * step
        j, m = np.mod(n, 32), np.floor_divide(n, 32)
        table = 2.0 ** (np.arange(32) / 32)
        if bug == "exp_table_edge":
            table[31] *= 1 + 2.0**-10
        terms = 1 if bug == "exp_short_polynomial" else 5
        polynomial = 1 + sum(r**i / math.factorial(i) for i in range(1, terms + 1))
        result = np.ldexp(table[j.astype(int)] * polynomial, np.maximum(m, -2000).astype(int))
        result = np.where(np.isfinite(t), result, np.where(t == -np.inf, 0.0, t))
        if bug == "exp_zero_below_minus_20":
            result = np.where(t < -20, 0.0, result)
        if bug == "exp_zero_below_minus_80":
            result = np.where(t < -80, 0.0, result)
        if bug == "exp_sign_below_minus_87":
            result = np.where((t < -87.34) & (t > -88.7), np.inf, result)
        return result.astype(np.float32)


def _put(array: Any, dtype: str) -> Any:
    return np.array(array, dtype=dtype)


def _build(bug: str) -> Implementation[Any]:
    return Implementation(
        name=f"lanes {bug}",
        retrieve=Lanes(bug),
        capabilities=Capabilities(dtypes=("float32",), beta_range=(-math.inf, math.inf)),
        to_array=_put,
        from_array=np.asarray,
    )


KERNELS = Variants(_build, FAULTS)
