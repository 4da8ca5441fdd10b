"""Faults that cannot be seen in a dtype, each with the reason why not.

A kill run measures every one of them: one that is killed after all, or that changes a bit although it is said
to change none, fails the run.
"""

from __future__ import annotations

from dataclasses import dataclass

from hopspec.properties.kills.plan import Pair

__all__ = ["EXCUSED", "Excuse"]


@dataclass(frozen=True)
class Excuse:
    """Why a fault survives in a dtype.

    Args:
        same_bits: whether it changes no bit of any answer there; otherwise what it changes lies within what
            the accuracy model allows.
        reason: why, for a person.
    """

    same_bits: bool
    reason: str


def _same(reason: str) -> Excuse:
    return Excuse(True, reason)


def _below(reason: str) -> Excuse:
    return Excuse(False, reason)


EXCUSED: dict[Pair, Excuse] = {
    Pair("log-normalizer-in-storage", "float32"): _same(
        "A log-normalizer of float32 inputs is float32: rounding it to their type changes nothing."
    ),
    Pair("normalizer-in-storage", "float32"): _below(
        "One more rounding to float32 of a log-normalizer that ends as float32: MHN-BND-4 allows for it."
    ),
    Pair("double-rounding", "float32"): _same(
        "The first of the two roundings is to float32, which makes the second one nothing."
    ),
    Pair("query-scaled-in-storage", "float32"): _below(
        "The product of query and beta has one rounding to float32, as many as that of beta and score, "
        "for which the bound of every logit allows."
    ),
    Pair("tensor-float32", "bfloat16"): _same("A bfloat16 has 8 significant bits; 11 are kept."),
    Pair("tensor-float32", "float16"): _same("A float16 has 11 significant bits; 11 are kept."),
    Pair("values-in-tensor-float32", "bfloat16"): _same("A bfloat16 has 8 significant bits; 11 are kept."),
    Pair("values-in-tensor-float32", "float16"): _same("A float16 has 11 significant bits; 11 are kept."),
    Pair("result-in-half", "bfloat16"): _same("The result of bfloat16 inputs is bfloat16 anyway."),
    Pair("wide-values-scaled", "bfloat16"): _below(
        "The factor is off by 2**-9, half the unit roundoff of bfloat16, with which the bound begins."
    ),
    Pair("weights-in-half", "float16"): _below(
        "Weights rounded to the type of the inputs are what the claimed model says."
    ),
    Pair("coarse-reciprocal", "bfloat16"): _below(
        "12 bits err by 2**-13 at most, a 32nd of the unit roundoff of bfloat16."
    ),
    Pair("coarse-reciprocal", "float16"): _below(
        "12 bits err by 2**-13 at most, a quarter of the unit roundoff of float16."
    ),
    Pair("epsilon-in-the-denominator", "bfloat16"): _below(
        "The sum of exponentials is at least 1, so that it errs by a millionth, "
        "2**-12 of the unit roundoff of bfloat16."
    ),
    Pair("epsilon-in-the-denominator", "float16"): _below(
        "The sum of exponentials is at least 1, so that it errs by a millionth, "
        "2**-9 of the unit roundoff of float16."
    ),
    Pair("exp-at-zero-below-one", "bfloat16"): _below(
        "The exponential errs by 2**-22; the claimed model allows it 1.3e-4."
    ),
    Pair("exp-at-zero-below-one", "float16"): _below(
        "The exponential errs by 2**-22; the claimed model allows it 1.3e-4."
    ),
    Pair("terms-in-single", "float16"): _below(
        "No term of the energy of float16 inputs comes near the largest float32, and a sum in float32 is "
        "what the claimed model says."
    ),
    Pair("overflow-is-largest", "float16"): _same(
        "The energy of float16 inputs is at most the squared length of a few dozen entries of 65504, far "
        "below the largest float32."
    ),
    Pair("single-precision-scores", "float16"): _below(
        "A score of float16 inputs is a few dozen products of 2**32 at most, far below the largest float32, "
        "and scores in float32 are what the claimed model says."
    ),
    Pair("overflow-is-zero", "float16"): _same(
        "A score of float16 inputs is a few dozen products of 2**32 at most, far below the largest float32."
    ),
    **{
        Pair(fault, dtype): _below(
            "It shows in memories of tens of thousands only, where the bounds claim nothing of the flash "
            "models of half precision: blocks times the error of an exponential exceed the domain of "
            "MHN-BND-2."
        )
        for fault in (
            "memories-beyond-grid",
            "memories-counted-in-sixteen-bits",
            "mask-index-in-fifteen-bits",
        )
        for dtype in ("bfloat16", "float16")
    },
}
