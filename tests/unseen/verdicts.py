"""What is known of planted faults that no run is expected to find: why nothing can, or nothing does yet."""

from __future__ import annotations

__all__ = ["OPEN", "SAME"]

# Faults that change no result a call may not have: they stay within the proved bound, or never come to bear.
SAME: dict[str, str] = {
    "flash.sum_kept_between_query_tiles": "the first key tile multiplies the sum left over by exp(-inf) = 0",
    "flash.sum_from_1e_6": "the first key tile multiplies the start of the sum by exp(-inf) = 0",
    "flash.max_from_finite_min": "every score is above the least finite number, so the start is never used",
    "flash.exp_at_integers": (
        "a difference of logits times log2(e) is an integer below -24 about once in half a million, and the"
        " weight that is doubled then is below half a unit of the result"
    ),
    "lanes.exp_bad_near_ln2": (
        "the argument errs by 2**-24 of itself, which the rounding of a logit may do (MHN-BND-2, theta)"
    ),
    "lanes.subnormal_inputs_flushed": "subnormal binary32 inputs are asked of those that claim finite_range",
    "lanes.scale_query_first": "overflows only where finite_range is claimed; else it is one more rounding",
    "half.rescale_in_storage": (
        "the factors of 2**-9 fall on either side: in a default run the error is at most 0.24 of the bound on"
        " 7 long problems, and elsewhere what the right kernel errs by"
    ),
    "half.query_scaled_first": "scaling before the product, and rounding, is what any-bfloat16 allows",
    "half.tail_in_storage": "one rounding of the accumulator to storage is within the bound of any-bfloat16",
    "half.nearest_ties_away": "half a unit either way: only MHN-PRC-4 says which, and it is not claimed",
    "heads.stride_zero": "wrong strides do not fit into the storage of an expanded array and are not used",
}

# Faults that are wrong and that no problem drawn so far shows.
OPEN: dict[str, str] = {
    "lanes.counter_int16": "shows beyond 262,136 memories; the longest problems have 70,000",
    "half.weights_truncated": "0.68 of the tendency the loosest model allows (MHN-STA-2), 0.9 of the bound",
}
