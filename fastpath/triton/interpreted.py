"""The Triton kernels on a CPU, run by Triton's interpreter: slow, and there to be verified.

The interpreter runs the program that a GPU would be given, one block at a time, on NumPy arrays. So it
tests the logic of the kernels: tails, masks, strides, the order in which blocks are joined. It does not
test how a GPU rounds: exponentials, logarithms and products are NumPy's. Tiles are of 16 queries and 16
memories, so that a small problem has several blocks and tails.

The interpreter of Triton 3.7 multiplies the bit patterns of bfloat16 numbers as integers, and cuts float32
off where it should round to bfloat16. There the kernels therefore widen bfloat16 to float32 when they load
it and round by integer arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hopspec.fastpath import _route
from hopspec.fastpath._energy import energy, log_normalizer
from hopspec.fastpath._evaluate import evaluate
from hopspec.fastpath._retrieve import retrieve
from hopspec.fastpath._settle import settle
from hopspec.fastpath.descriptor import DESCRIPTOR
from hopspec.fastpath.triton.launch import Engine
from hopspec.fastpath.triton.source import interpreted
from hopspec.fastpath.triton.tiles import Tile
from hopspec.formats import BFLOAT16, FLOAT16, FLOAT32, Format
from hopspec.types import AccuracyModel, Implementation, Summation

__all__ = ["BLOCK", "INTERPRETED", "engine_of", "implementation"]

BLOCK = 16
# So few that queries of one tile are served in parts, and those of more than one are not.
_PROCESSORS = 3


def _tile(kernel: str, dtype: str, width: int) -> Tile:
    return Tile(BLOCK, BLOCK)


def _processors(device: torch.device) -> int:
    return _PROCESSORS


def engine_of(kernels: Any) -> Engine:
    """What runs a module of kernels as :func:`hopspec.fastpath.triton.source.load_interpreted` gives it."""
    return Engine(kernels, interpreted=True, tile=_tile, processors=_processors, least_blocks=1)


def _model(storage: Format) -> AccuracyModel:
    half = storage is not FLOAT32
    return AccuracyModel(
        name=f"triton-interpreted-{storage.name}",
        storage=storage,
        accumulation=FLOAT32,
        exp_error=4 * 2.0**-24,
        exp_flush=2.0**-125,
        log_error=2.0**-21,
        round_weights=half,
        rounded_denominator=half,
        block=BLOCK,
        base2=True,
        exp_zero_is_one=True,
        output=FLOAT32,
        weighted_sum=Summation(chunk=BLOCK),
        weight_sum=Summation(chunk=BLOCK),
    )


def implementation(name: str, engine: Callable[[], Engine]) -> Implementation[Tensor]:
    """The fast path with its kernels run by ``engine``, which is made when first used."""

    def routed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with _route.forced(engine()):
                return function(*arguments, **options)

        return call

    return replace(
        DESCRIPTOR,
        name=name,
        retrieve=routed(retrieve),
        log_normalizer=routed(log_normalizer),
        energy=routed(energy),
        settle=routed(settle),
        evaluate=routed(evaluate),
        certify=None,
        association=None,
        capabilities=replace(
            DESCRIPTOR.capabilities,
            dtypes=("float32", "bfloat16", "float16"),
            devices=("cpu",),
            max_size=1 << 12,
        ),
        accuracy=tuple(_model(storage) for storage in (FLOAT32, BFLOAT16, FLOAT16)),
    )


INTERPRETED = implementation("triton-interpreted", lambda: engine_of(interpreted()))
