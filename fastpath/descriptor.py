"""What the fast path claims about itself (clause MHN-BND-1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from hopspec.fastpath._certify import certify
from hopspec.fastpath._energy import energy, log_normalizer
from hopspec.fastpath._evaluate import evaluate
from hopspec.fastpath._flash import Layout, laid_out
from hopspec.fastpath._retrieve import association, retrieve
from hopspec.fastpath._settle import settle
from hopspec.fastpath.memory import Memory
from hopspec.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from hopspec.types import AccuracyModel, Capabilities, Implementation

__all__ = ["ACCURACY", "BATCH_INVARIANT", "DESCRIPTOR", "MERGED"]

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


_MODELS = (
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
ACCURACY: tuple[AccuracyModel, ...] = tuple(replace(m, merged_from=Layout().merged_from) for m in _MODELS)

DESCRIPTOR: Implementation[Tensor] = Implementation(
    name="fastpath",
    retrieve=retrieve,
    log_normalizer=log_normalizer,
    energy=energy,
    association=association,
    settle=settle,
    certify=certify,
    prepare=Memory,
    evaluate=evaluate,
    capabilities=Capabilities(
        dtypes=("float64", "float32", "bfloat16", "float16"),
        devices=("cpu",),
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


def _in_parts(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        with laid_out(Layout(merged_from=2, parts=3, unseen_from=0)):
            return function(*arguments, **options)

    return call


# The same functions with every memory cut into parts and asked unseen, as the fast path does with long ones.
MERGED: Implementation[Tensor] = replace(
    DESCRIPTOR,
    name="fastpath-merged",
    retrieve=_in_parts(retrieve),
    log_normalizer=_in_parts(log_normalizer),
    energy=_in_parts(energy),
    settle=_in_parts(settle),
    certify=None,
    association=None,
    evaluate=_in_parts(evaluate),
    accuracy=tuple(replace(m, name=f"{m.name}-merged", merged_from=2) for m in _MODELS),
)

# The same functions with ``batch_invariant``.
BATCH_INVARIANT: Implementation[Tensor] = replace(
    DESCRIPTOR,
    name="fastpath-batch-invariant",
    retrieve=partial(retrieve, batch_invariant=True),
    log_normalizer=partial(log_normalizer, batch_invariant=True),
    energy=partial(energy, batch_invariant=True),
    settle=partial(settle, batch_invariant=True),
    certify=None,
    association=None,
    evaluate=partial(evaluate, batch_invariant=True),
    capabilities=replace(DESCRIPTOR.capabilities, batch_invariant=True),
    accuracy=tuple(replace(m, name=f"{m.name}-batch-invariant") for m in _MODELS),
)
