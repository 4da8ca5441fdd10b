"""What the fast path claims about itself (clause MHN-BND-1)."""

from __future__ import annotations

import math

from torch import Tensor

from hopspec.fastpath._certify import certify
from hopspec.fastpath._energy import energy, log_normalizer
from hopspec.fastpath._retrieve import association, retrieve
from hopspec.fastpath._settle import settle
from hopspec.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from hopspec.types import AccuracyModel, Capabilities, Implementation

__all__ = ["ACCURACY", "DESCRIPTOR"]

# Keys per block of PyTorch's flash kernel on CPU.
_BLOCK = 512


def _half_model(storage: Format) -> AccuracyModel:
    return AccuracyModel(
        name=f"fastpath-{storage.name}",
        storage=storage,
        accumulation=FLOAT32,
        exp_error=1.3e-4,
        exp_flush=2.0**-125,
        log_error=2.0**-23,
        round_weights=True,
        block=_BLOCK,
        exp_zero_is_one=False,
        output=FLOAT32,
    )


ACCURACY: tuple[AccuracyModel, ...] = (
    AccuracyModel(
        name="fastpath-float64",
        storage=FLOAT64,
        accumulation=FLOAT64,
        exp_error=2.0**-51,
        exp_flush=2.0**-1022,
        log_error=2.0**-52,
        block=_BLOCK,
        exp_zero_is_one=True,
        output=FLOAT64,
    ),
    AccuracyModel(
        name="fastpath-float32",
        storage=FLOAT32,
        accumulation=FLOAT32,
        exp_error=16 * 2.0**-24,
        exp_flush=2.0**-125,
        log_error=2.0**-23,
        block=_BLOCK,
        exp_zero_is_one=True,
        output=FLOAT32,
    ),
    _half_model(BFLOAT16),
    _half_model(FLOAT16),
)

DESCRIPTOR: Implementation[Tensor] = Implementation(
    name="fastpath",
    retrieve=retrieve,
    log_normalizer=log_normalizer,
    energy=energy,
    association=association,
    settle=settle,
    certify=certify,
    capabilities=Capabilities(
        dtypes=("float64", "float32", "bfloat16", "float16"),
        devices=("cpu", "cuda"),
        masks=True,
        values=True,
        steps=True,
        batch=True,
        tensor_beta=True,
        beta_range=(-math.inf, math.inf),
        empty_rows=True,
        nan_isolation=True,
        finite_range=True,
        strides=True,
        deterministic=True,
        errors=True,
    ),
    accuracy=ACCURACY,
)
