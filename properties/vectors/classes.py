"""The bug classes: what a vector is there to find.

Every class names the planted faults (:mod:`hopspec.properties.faults`) that belong to it; the tests run them
all against the vectors. A class is a way of going wrong, a fault one instance of it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BUG_CLASSES", "FAULTS_WITHOUT_VECTORS", "QUANTITIES", "BugClass"]

QUANTITIES = ("update", "log_normalizer", "energy", "association")
_UPDATE = ("update",)
_ENERGY = ("energy",)
# What clauses MHN-NFI-1 and MHN-NFI-2 speak of.
_SPOILT = ("update", "log_normalizer", "energy")


@dataclass(frozen=True)
class BugClass:
    """One way of going wrong.

    Args:
        what: the mistake, for a person.
        faults: names of planted faults of this class.
        quantities: what the mistake can show in; there are vectors for each.
    """

    what: str
    faults: tuple[str, ...]
    quantities: tuple[str, ...] = QUANTITIES


BUG_CLASSES: dict[str, BugClass] = {
    "max-subtraction": BugClass(
        "No maximum is subtracted from the logits, a wrong one, or one for several rows: "
        "exponentials overflow or vanish.",
        ("no-max-subtraction", "beta-after-max", "max-per-tile"),
    ),
    "tile-edges": BugClass(
        "Keys at the edge of a tile are dropped, taken twice, or joined by padding that takes part.",
        ("tail-tile-dropped", "tail-unmasked", "last-key-dropped", "overlapping-tiles"),
    ),
    "values-out-of-step": BugClass(
        "Keys and values of a tile do not belong together.",
        ("values-out-of-step", "tail-values-from-first-tile"),
        _UPDATE,
    ),
    "rescaling": BugClass(
        "Sums over earlier tiles are not rescaled when the maximum grows, or by the wrong factor.",
        (
            "accumulator-not-rescaled",
            "normaliser-not-rescaled",
            "rescaled-the-wrong-way",
            "small-rescaling-skipped",
        ),
    ),
    "beta": BugClass(
        "The inverse temperature is applied twice, not at all, or slightly off.",
        ("beta-twice", "beta-for-padded-width", "beta-one-per-cent-off"),
    ),
    "beta-range": BugClass(
        "A beta that is negative, zero, tiny or huge is folded, replaced, flushed or clamped.",
        ("negative-beta-folded", "huge-beta-clamped", "tiny-beta-zeroed", "zero-beta-is-default"),
    ),
    "exponential": BugClass(
        "The exponential has the wrong base, a clipped range, or too few right bits.",
        (
            "exp-to-the-base-two",
            "exp-clipped",
            "exp-off-by-one-in-a-thousand",
            "exp-by-cubic",
            "exp-at-zero-below-one",
        ),
    ),
    "weights-dropped": BugClass(
        "Weights that matter together, or nearly equal the largest one, are left out.",
        (
            "far-tiles-skipped",
            "far-weights-dropped",
            "two-nearest-only",
            "near-ties-broken",
            "association-ignores-small-weights",
        ),
    ),
    "denominator": BugClass(
        "The sum of the exponentials is guarded, rounded or inverted too coarsely.",
        ("epsilon-in-the-denominator", "coarse-reciprocal", "association-sum-rounded-up"),
    ),
    "duplicates": BugClass("Equal memories are merged.", ("duplicates-merged",)),
    "one-memory": BugClass("A single memory is taken for a special case.", ("one-memory-shortcut",)),
    "damping": BugClass(
        "The update goes part of the way only, or too far.", ("damped-update", "over-relaxed-update"), _UPDATE
    ),
    "coordinates": BugClass(
        "Coordinates beyond a multiple of a vector length are ignored or padded into the scale.",
        ("last-coordinates-ignored", "beta-for-padded-width"),
    ),
    "subnormals": BugClass(
        "Subnormal inputs or results are flushed to zero.",
        ("subnormals-flushed",),
        ("update", "log_normalizer"),
    ),
    "log-normalizer-convention": BugClass(
        "The log-normalizer is to the base 2, divided by beta, or lacks the maximum.",
        ("log-normalizer-to-the-base-two", "log-normalizer-over-beta", "log-normalizer-without-max"),
        ("log_normalizer", "energy"),
    ),
    "values": BugClass(
        "Separate values are ignored, or mishandled where their width is not that of the memory.",
        ("values-ignored-at-equal-width", "wide-values-scaled"),
        _UPDATE,
    ),
    "mask": BugClass(
        "The keep mask is inverted, taken from another query, forgotten, or taken to be causal.",
        (
            "mask-inverted",
            "mask-of-first-query",
            "mask-ignored-in-tail",
            "causal-when-square",
            "masked-in-log-normalizer",
            "masked-in-association",
        ),
    ),
    "mask-sentinel": BugClass(
        "Masked scores become a finite number that other scores can be as low as.",
        ("small-sentinel", "additive-penalty", "scores-clamped-below"),
    ),
    "empty-row": BugClass(
        "A query that keeps nothing gets NaN, an average, or wrong scalars.",
        ("empty-row-nan", "empty-log-normalizer-zero", "empty-energy-zero", "finite-sentinel"),
    ),
    "masked-garbage": BugClass(
        "What a masked memory holds gets through, NaN times zero above all.",
        ("masked-nan-leaks", "masked-nan-spoils"),
    ),
    "nan-in-query": BugClass(
        "A NaN in a query is swallowed, or spreads to other queries.",
        ("nan-swallowed", "nan-spoils-all", "no-nan-in-log-normalizer", "no-nan-in-energy"),
        _SPOILT,
    ),
    "nan-in-memory": BugClass(
        "A memory with a NaN is silently left out.", ("memory-nan-swallowed",), _SPOILT
    ),
    "infinity": BugClass(
        "An infinite input is computed with as if it were a number.", ("infinity-taken-for-number",), _SPOILT
    ),
    "overflow": BugClass(
        "Finite inputs overflow in a score, a logit or a sum.",
        ("single-precision-scores", "beta-before-max", "overflow-is-zero", "weighted-sum-in-storage"),
        _UPDATE,
    ),
    "energy-terms": BugClass(
        "A term of the energy is missing, has the wrong sign or factor, or counts what it should not.",
        (
            "lse-not-over-beta",
            "count-not-over-beta",
            "no-half-before-square",
            "no-count",
            "no-largest-norm",
            "mean-norm-for-largest",
            "lse-with-wrong-sign",
            "capped-by-query",
            "energy-of-unit-state",
            "logarithm-to-the-base-two",
            "masked-still-counted",
            "masked-still-largest",
        ),
        _ENERGY,
    ),
    "energy-precision": BugClass(
        "A term of the energy passes through half precision.", ("lse-in-half", "square-in-half"), _ENERGY
    ),
    "energy-overflow": BugClass(
        "An energy too large for its type is NaN or a number.",
        ("terms-in-single", "overflow-is-largest"),
        _ENERGY,
    ),
    "accumulator-precision": BugClass(
        "Sums over the memory are kept in too few bits and stop growing, or drift.",
        ("accumulator-in-half", "accumulator-in-storage", "normaliser-in-storage", "normaliser-in-half"),
    ),
    "score-precision": BugClass(
        "Scores, or the factors of their products, are rounded to fewer bits than claimed.",
        ("scores-in-half", "scores-in-storage", "tensor-float32", "query-scaled-in-storage"),
    ),
    "weight-precision": BugClass(
        "Weights or values are rounded to fewer bits than claimed before they are multiplied.",
        ("weights-in-half", "values-in-tensor-float32"),
        _UPDATE,
    ),
    "result-precision": BugClass(
        "The result passes through fewer bits, or is cut off instead of rounded.",
        (
            "result-in-half",
            "truncated-result",
            "log-normalizer-in-half",
            "log-normalizer-in-storage",
            "association-in-half",
        ),
    ),
    "rounding": BugClass(
        "The last rounding is not to nearest even: toward zero, ties away or to odd, twice, "
        "or with the subnormal range misplaced.",
        (
            "rounded-toward-zero",
            "ties-away-from-zero",
            "ties-to-odd",
            "double-rounding",
            "exponent-range-off-by-one",
            "one-bit-too-many",
        ),
    ),
    "batch-mates": BugClass(
        "Another query of the same call changes a result.", ("scale-per-tensor", "rows-of-mate-mixed")
    ),
}

_LAYOUT = "a matter of storage, and a vector has none"
_CALLS = "shows between two calls, or in what a call refuses"
_SHAPES = "needs leading dimensions; a vector is one problem"
_SETTLING = "several steps have no correctly rounded answer"
_PARTS = "merges parts of the memory, which no model of the vectors does"
_EVALUATION = "several results of one call, and a vector asks for one"
_TRUNCATED = "arithmetic in p bits, which no format is"
_ATTENTION = "needs what attention kernels have besides; a vector is one retrieval"
_CLAIMS = "claims a model that no vector states errors for"
_SIZES = "shows at sizes or beside numbers that no vector has"
_SYSTEMATIC = "errs too little in one answer, and shows in hundreds"
# Planted faults that no vector can be for, and why.
FAULTS_WITHOUT_VECTORS: dict[str, str] = {
    "strides-ignored": _LAYOUT,
    "storage-offset-ignored": _LAYOUT,
    "mask-strides-ignored": _LAYOUT,
    "result-in-double": _LAYOUT,
    "query-scaled-in-place": _CALLS,
    "masked-zeroed-in-place": _CALLS,
    "stale-element": _CALLS,
    "order-of-arrival": _CALLS,
    "no-queries-raise": _CALLS,
    "no-memories-raise": _CALLS,
    "mask-not-checked": _CALLS,
    "beta-not-checked": _CALLS,
    "cache-by-shape": _CALLS,
    "crashes-on-long-memory": _CALLS,
    "prepared-mask-forgotten": _CALLS,
    "prepared-values-as-memory": _CALLS,
    "sums-of-first-call": _CALLS,
    "norms-of-old-memory": _CALLS,
    **dict.fromkeys(
        (
            "converted-by-address",
            "integer-beta-is-an-exponent",
            "one-buffer-for-results",
            "only-memory-handed-out",
            "same-array-skips-itself",
            "scores-by-rounded-beta",
            "wide-transposed-as-contiguous",
        ),
        _CALLS,
    ),
    **dict.fromkeys(
        (
            "association-of-first-tile",
            "last-query-tile-dropped",
            "loop-ends-at-masked-block",
            "mask-in-whole-bytes",
            "mask-index-in-fifteen-bits",
            "mask-per-query-in-square",
            "max-of-first-query",
            "maximum-starts-far-below",
            "queries-beyond-threads",
            "scores-clamped-to-half",
            "square-memory-transposed",
            "memories-beyond-grid",
            "memories-counted-in-sixteen-bits",
            "values-beyond-tile-lost",
            "weights-counted-in-half",
            "width-beyond-tile-not-compared",
            "zero-memories-are-padding",
        ),
        _SIZES,
    ),
    "memory-of-first-head": _SHAPES,
    **dict.fromkeys(("rows-scattered-among-running", "masks-not-taken-out"), _SETTLING),
    "first-memory-for-all": _SHAPES,
    "first-beta-for-all": _SHAPES,
    "beta-of-first-slice": _SHAPES,
    "mask-of-first-slice": _SHAPES,
    "beta-per-query-in-square": _SHAPES,
    "mask-forgotten-in-steps": _SETTLING,
    "exp-with-six-bits-less": _TRUNCATED,
    "small-terms-lost": _TRUNCATED,
    "quotient-in-half-the-bits": _TRUNCATED,
    "fixed-point-exp": _TRUNCATED,
    "at-most-twenty-four-bits": _TRUNCATED,
    **dict.fromkeys(("sums-in-turn", "scores-in-turn", "denominator-unrounded"), _CLAIMS),
    **dict.fromkeys(("shortcut-for-one-query", "split-sums-for-many-queries"), _CALLS),
    **dict.fromkeys(
        (
            "bias-in-first-tile",
            "bias-in-half",
            "bias-of-first-head",
            "bias-of-first-query",
            "bias-times-scale",
            "binary-for-natural",
            "causal-bottom-right",
            "causal-by-tile",
            "causal-ignored-in-tail",
            "causal-ignored-when-masked",
            "causal-off-by-one",
            "causal-sees-the-next",
            "default-scale",
            "empty-tile-nan",
            "first-group-for-all",
            "half-binary",
            "heads-interleaved",
            "keys-read-out",
            "log-normalizer-without-bias",
            "mask-ignored-when-causal",
            "masked-with-zero",
            "natural-for-binary",
            "small-bias-forgotten",
            "zero-scale-is-default",
        ),
        _ATTENTION,
    ),
    **dict.fromkeys(
        (
            "empty-part-takes-part",
            "largest-part-only",
            "last-part-dropped",
            "part-log-normalizers-in-half",
            "parts-added-up",
            "parts-averaged",
            "parts-to-the-base-two",
            "parts-weighted-by-count",
            "parts-without-maximum",
        ),
        _PARTS,
    ),
    **dict.fromkeys(
        (
            "bad-value-spoils-energy",
            "empty-rows-evaluate-to-zero",
            "energy-of-next-state",
            "evaluates-first-beta",
            "evaluates-in-single",
            "evaluates-length-of-masked",
            "evaluates-lse",
            "evaluates-memory-not-values",
            "evaluation-hides-nan",
            "length-of-values",
            "normalizer-in-storage",
            "stale-normalizer",
        ),
        _EVALUATION,
    ),
    **dict.fromkeys(
        (
            "association-cut-off",
            "beta-hundredth-too-small",
            "beta-in-storage",
            "beta-millionths-too-large",
            "beta-thousandth-too-large",
            "beta-thousandth-too-small",
            "last-memory-hundredth-too-heavy",
            "last-queries-too-long",
            "later-memories-heavier",
            "log-normalizer-hundredth-too-large",
            "logarithm-of-e-in-half",
            "logits-softly-capped",
            "mixed-with-mean",
            "nearest-memory-too-light",
            "result-cut-off",
            "result-rounded-up",
            "result-thousandth-too-long",
            "slightly-damped",
            "small-number-added-to-total",
            "small-weights-dropped",
            "square-thousandth-too-large",
            "weights-cut-off",
        ),
        _SYSTEMATIC,
    ),
}
