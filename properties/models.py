"""Built-in accuracy models (clause MHN-BND-1).

``exp_error`` of the PyTorch kernels is what was measured on an AVX-512 CPU with torch 2.13.0, rounded up;
the report names the CPU capability and the torch version it ran on.
"""

from __future__ import annotations

from dataclasses import replace

from hopspec.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from hopspec.types import AccuracyModel

__all__ = ["JUDGED", "MEASURED_ON", "MODELS", "loosest", "model_named", "models_of"]

MEASURED_ON = {"torch": "2.13", "cpu_capability": "AVX512"}

# PyTorch's vectorized exp_u20 forms 2**(n - 1) from its exponent field, which is empty at n = -126: every
# exponential below 2**-125.5 becomes 0.
FLUSH32 = 2.0**-125
HALF_EXP = 1.3e-4


def _family(storage: Format) -> tuple[AccuracyModel, ...]:
    half = storage in (BFLOAT16, FLOAT16)
    accumulation = FLOAT64 if storage is FLOAT64 else FLOAT32
    u = accumulation.unit_roundoff
    output = FLOAT32 if half else storage
    name = storage.name
    eager = AccuracyModel(
        name=f"eager-{name}",
        storage=storage,
        accumulation=accumulation,
        exp_error=4 * u,
        exp_flush=FLUSH32 if accumulation is FLOAT32 else 0.0,
        log_error=4 * u,
        score_roundings=2 if half else 0,
        round_weights=half,
        normalize_first=True,
        exp_zero_is_one=True,
        output=output,
    )
    flash = replace(
        eager,
        name=f"flash-{name}",
        exp_error=HALF_EXP if half else (16 * u if accumulation is FLOAT32 else 4 * u),
        score_roundings=0,
        normalize_first=False,
        block=32,
        exp_zero_is_one=not half,
    )
    wide = replace(flash, name=f"wide-{name}", exp_error=4 * u, round_weights=False, exp_zero_is_one=True)
    loose = replace(
        eager,
        name=f"any-{name}",
        exp_error=HALF_EXP if half else 40 * u,
        score_roundings=2 if half else 0,
        pre_scale=True,
        base2=True,
        block=16,
        exp_zero_is_one=False,
    )
    return (wide, flash, eager, loose)


MODELS: dict[str, AccuracyModel] = {
    m.name: m for f in (FLOAT64, FLOAT32, BFLOAT16, FLOAT16) for m in _family(f)
}

JUDGED = tuple(dict.fromkeys(m.storage.name for m in MODELS.values()))
"""Names of the formats that implementations can be judged in; the reference rounds to further ones."""


def models_of(dtype: str) -> tuple[AccuracyModel, ...]:
    """Built-in models of a dtype, from the tightest to the loosest.

    >>> [m.name for m in models_of("float32")]
    ['wide-float32', 'flash-float32', 'eager-float32', 'any-float32']
    """
    return tuple(m for m in MODELS.values() if m.storage.name == dtype)


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
