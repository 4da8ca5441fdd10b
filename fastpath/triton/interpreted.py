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

from hopspec.fastpath.descriptor import DESCRIPTOR
from hopspec.fastpath.triton.descriptor import model, served_by
from hopspec.fastpath.triton.launch import Engine
from hopspec.fastpath.triton.source import interpreted
from hopspec.fastpath.triton.tiles import Tile
from hopspec.formats import BFLOAT16, FLOAT16, FLOAT32
from hopspec.types import Implementation

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


_CLAIMS = replace(
    DESCRIPTOR.capabilities, dtypes=("float32", "bfloat16", "float16"), devices=("cpu",), max_size=1 << 12
)
_ACCURACY = tuple(
    # NumPy's logarithm of float32 is documented with 4 ulp; its products and sums round to nearest.
    model("triton-interpreted", storage, BLOCK, log_error=8 * FLOAT32.unit_roundoff, nearest=True)
    for storage in (FLOAT32, BFLOAT16, FLOAT16)
)


def implementation(name: str, engine: Callable[[], Engine]) -> Implementation[Tensor]:
    """Interpreted kernels, right or wrong, that claim what the right ones do."""
    return served_by(name, engine, _CLAIMS, _ACCURACY)


INTERPRETED = implementation("triton-interpreted", lambda: engine_of(interpreted()))
