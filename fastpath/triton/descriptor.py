"""What the kernels claim about themselves on a GPU (clause MHN-BND-1); nothing of it has been measured yet.

Sums: a block of memories is summed from zero, in an order that is not stated, and added to what is there by
one operation; so are parts. The products of a score are added in any order. In half precision the products
are exact, and tensor cores may cut addends off (``nearest`` is False); in float32 every operation is a fused
multiply-add. Exponentials are ``ex2.approx``, at most 2 ulp off by NVIDIA's documentation, logarithms those
of libdevice, at most 1 ulp; an error of k ulp is a relative error of at most ``2 k u``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from hopspec.fastpath import _route
from hopspec.fastpath._energy import energy, log_normalizer
from hopspec.fastpath._evaluate import evaluate
from hopspec.fastpath._retrieve import retrieve
from hopspec.fastpath._settle import settle
from hopspec.fastpath.descriptor import DESCRIPTOR
from hopspec.fastpath.triton.launch import Engine
from hopspec.fastpath.triton.tiles import BLOCKS
from hopspec.formats import BFLOAT16, FLOAT16, FLOAT32, Format
from hopspec.types import AccuracyModel, Capabilities, Implementation, Summation

__all__ = ["CUDA", "TRITON", "model", "served_by"]

_STORAGES = (FLOAT32, BFLOAT16, FLOAT16)
_UNIT = FLOAT32.unit_roundoff


def model(name: str, storage: Format, block: int, **changes: Any) -> AccuracyModel:
    """What the kernels compute with so many memories to a block; see the head of this module.

    >>> model("interpreted", BFLOAT16, 16).rounded_denominator
    True
    """
    half = storage is not FLOAT32
    own = AccuracyModel(
        name=f"{name}-{storage.name}",
        storage=storage,
        accumulation=FLOAT32,
        exp_error=4 * _UNIT,
        exp_flush=2.0**-125,
        log_error=4 * _UNIT,
        round_weights=half,
        rounded_denominator=half,
        block=block,
        base2=True,
        nearest=not half,
        exp_zero_is_one=True,
        output=FLOAT32,
        weighted_sum=Summation(chunk=block),
        weight_sum=Summation(chunk=block),
    )
    return replace(own, **changes)


def served_by(
    name: str, engine: Callable[[], Engine], capabilities: Capabilities, accuracy: tuple[AccuracyModel, ...]
) -> Implementation[Tensor]:
    """The fast path with its kernels run by ``engine``, which is made when it is first needed."""

    def served(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with _route.forced(engine()):
                return function(*arguments, **options)

        return call

    return replace(
        DESCRIPTOR,
        name=name,
        retrieve=served(retrieve),
        log_normalizer=served(log_normalizer),
        energy=served(energy),
        settle=served(settle),
        evaluate=served(evaluate),
        certify=None,
        association=None,
        capabilities=capabilities,
        accuracy=accuracy,
    )


def _compiled() -> Engine:
    from hopspec.fastpath.triton.rule import engine_of_gpu  # noqa: PLC0415  (starts Triton)

    return engine_of_gpu()


_ON_A_GPU = replace(
    DESCRIPTOR.capabilities, dtypes=tuple(storage.name for storage in _STORAGES), devices=("cuda",)
)

# These kernels, whatever is recorded as faster.
TRITON = served_by(
    "triton",
    _compiled,
    _ON_A_GPU,
    tuple(model("triton", storage, BLOCKS[storage.name]) for storage in _STORAGES),
)

# What a call on a GPU is served by, these kernels or PyTorch's operations, whose order of summation is any.
CUDA = replace(
    DESCRIPTOR,
    name="fastpath-cuda",
    certify=None,
    capabilities=_ON_A_GPU,
    accuracy=tuple(
        model(
            "fastpath-cuda", storage, BLOCKS[storage.name], weighted_sum=Summation(), weight_sum=Summation()
        )
        for storage in _STORAGES
    ),
)
