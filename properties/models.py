"""Built-in accuracy models (clause MHN-BND-1).

Constants of the PyTorch kernels are what was measured on an AVX-512 CPU with torch 2.13.0, rounded up; the
report names the CPU capability and the torch version it ran on. Those of GPU instructions are documented.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from hopspec.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from hopspec.types import AccuracyModel, Summation

__all__ = [
    "EXPONENTIALS",
    "JUDGED",
    "MEASURED_ON",
    "MODELS",
    "Exponential",
    "loosest",
    "model_named",
    "models_of",
    "standard_models",
]

MEASURED_ON = {"torch": "2.13", "cpu_capability": "AVX512"}

U32, U64 = FLOAT32.unit_roundoff, FLOAT64.unit_roundoff
# PyTorch's vectorized exp_u20 forms 2**(n - 1) from its exponent field, which is empty at n = -126: every
# exponential below 2**-125.5 becomes 0.
FLUSH32 = 2.0**-125
HALVING = Summation(chunk=1, halving=True)


@dataclass(frozen=True)
class Exponential:
    """What is known of a way to compute exponentials.

    Args:
        error: relative error; an error of k ulp is one of at most ``2 k u``.
        flush: what may be replaced by 0.
        zero_is_one: whether the exponential of 0 is exactly 1.
        source: who says so.
    """

    error: float
    flush: float
    zero_is_one: bool
    source: str


EXPONENTIALS: dict[str, Exponential] = {
    "double": Exponential(4 * U64, 0.0, True, "2 ulp, float64 libraries"),
    "single": Exponential(4 * U32, FLUSH32, True, "2 ulp, float32 libraries; torch.exp: 0.52 ulp measured"),
    "ex2.approx": Exponential(4 * U32, FLUSH32, True, "2 ulp of 2**x, PTX documentation; flushes subnormals"),
    "exp_u20": Exponential(16 * U32, FLUSH32, True, "PyTorch's CPU kernel in float32: 6.1 u measured"),
    "20 ulp": Exponential(40 * U32, FLUSH32, False, "what PyTorch documents of exp_u20"),
    "fexp_u20": Exponential(
        1.3e-4, FLUSH32, False, "PyTorch's CPU kernel in half precision: 1.1e-4 measured"
    ),
}


def _with(model: AccuracyModel, name: str, exponential: str) -> AccuracyModel:
    of = EXPONENTIALS[exponential]
    return replace(model, name=name, exp_error=of.error, exp_flush=of.flush, exp_zero_is_one=of.zero_is_one)


def _family(storage: Format) -> tuple[AccuracyModel, ...]:
    half = storage in (BFLOAT16, FLOAT16)
    double = storage is FLOAT64
    accumulation = FLOAT64 if double else FLOAT32
    name = storage.name
    library = "double" if double else "single"
    fast = "double" if double else "fexp_u20" if half else "exp_u20"
    plain = AccuracyModel(
        name="",
        storage=storage,
        accumulation=accumulation,
        exp_error=0.0,
        log_error=4 * accumulation.unit_roundoff,
        output=FLOAT32 if half else storage,
    )
    online = replace(plain, block=32)
    wide = _with(online, f"wide-{name}", library)
    tree = replace(
        _with(plain, f"tree-{name}", library), score_sum=HALVING, weighted_sum=HALVING, weight_sum=HALVING
    )
    paired = replace(_with(online, f"paired-{name}", library), round_weights=True, rounded_denominator=True)
    flash = replace(_with(online, f"flash-{name}", fast), round_weights=half)
    tensor = replace(
        _with(online, f"tensor-{name}", "ex2.approx"), round_weights=half, base2=True, nearest=False
    )
    tf32 = replace(tensor, name=f"tf32-{name}", normalize_first=True, score_bits=11, read_bits=11)
    eager = replace(
        _with(plain, f"eager-{name}", library),
        score_roundings=2 if half else 0,
        round_weights=half,
        normalize_first=True,
    )
    merged = replace(flash, name=f"merged-{name}", merged_from=2)
    loose = replace(
        eager,
        name=f"any-{name}",
        exp_error=EXPONENTIALS["fexp_u20"].error if half else 40 * accumulation.unit_roundoff,
        pre_scale=True,
        base2=True,
        block=16,
        exp_zero_is_one=False,
    )
    if half:
        return (wide, paired, tensor, flash, eager, merged, loose)
    if double:
        return (tree, wide, flash, eager, merged, loose)
    return (tree, wide, flash, eager, merged, tf32, loose)


MODELS: dict[str, AccuracyModel] = {
    m.name: m for f in (FLOAT64, FLOAT32, BFLOAT16, FLOAT16) for m in _family(f)
}

JUDGED = tuple(dict.fromkeys(m.storage.name for m in MODELS.values()))
"""Names of the formats that implementations can be judged in; the reference rounds to further ones."""

STANDARD = ("wide", "flash", "eager", "any")


@cache
def models_of(dtype: str) -> tuple[AccuracyModel, ...]:
    """Built-in models of a dtype; the last is the loosest of those that do not round factors or merge parts.

    >>> [m.name for m in models_of("float64")]
    ['tree-float64', 'wide-float64', 'flash-float64', 'eager-float64', 'merged-float64', 'any-float64']
    """
    return tuple(m for m in MODELS.values() if m.storage.name == dtype)


def standard_models(dtype: str) -> tuple[AccuracyModel, ...]:
    """The models that test vectors state allowed errors for, from the tightest to the loosest.

    >>> [m.name for m in standard_models("float32")]
    ['wide-float32', 'flash-float32', 'eager-float32', 'any-float32']
    """
    return tuple(m for m in models_of(dtype) if m.name.removesuffix(f"-{dtype}") in STANDARD)


def loosest(dtype: str) -> AccuracyModel:
    """The model an implementation is judged under when it claims none.

    Raises:
        ValueError: if there is no model of this dtype.
    """
    if dtype not in JUDGED:
        raise ValueError(f"dtype {dtype!r} has no accuracy model; expected one of {', '.join(JUDGED)}")
    return MODELS[f"any-{dtype}"]


def model_named(name: str, dtype: str) -> AccuracyModel:
    """The model ``name`` or ``name-dtype``.

    Raises:
        ValueError: if there is none; the message lists the names.
    """
    for candidate in (name, f"{name}-{dtype}"):
        if candidate in MODELS and MODELS[candidate].storage.name == dtype:
            return MODELS[candidate]
    known = ", ".join(m.name for m in models_of(dtype))
    raise ValueError(f"model {name!r} is not a model of {dtype}; expected one of {known}, or a prefix of one")
