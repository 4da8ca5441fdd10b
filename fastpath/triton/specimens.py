"""The kernels as they are compiled for a GPU: every argument's type, constant and alignment.

They are compiled for what most calls look like: tensors that lie row by row, of a width that is a multiple of
16.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hopspec.fastpath.triton.source import compiled
from hopspec.fastpath.triton.tiles import BLOCKS, SMALL, Tile, reading_values, tile_of

__all__ = ["FORMS", "WIDTHS", "ShippedTile", "Specimen", "specimen", "specimens"]

WIDTHS = (64, 128, 256)
"""Widths of the kernels that are listed; narrower memories have the tiles of the first and need less."""

# Largest finite number, as float64 holds it, and Triton's name for the type.
_TYPES = {
    "float32": (3.4028234663852886e38, "fp32"),
    "bfloat16": (3.3895313892515355e38, "bf16"),
    "float16": (65504.0, "fp16"),
}
_POINTERS = {
    "keep": "*u8",
    "beta": "*fp64",
    "origins": "*i64",
    "flagged": "*i32",
    "counts": "*i32",
    "excess": "*fp64",
    **dict.fromkeys(("normalizer", "peaks", "residuals", "sums", "totals"), "*fp32"),
}


@dataclass(frozen=True)
class Form:
    """One way in which a kernel is compiled.

    Args:
        function: its name in :mod:`hopspec.fastpath.triton.kernels`.
        tiled: whose tiles it has, ``"attend"`` or ``"settle"``; empty where it has one of 16 rows.
        widths: for which widths it is listed.
        own: whether the memory itself is read out.
        masked: whether there is a mask.
        parted: whether it works on one part of the memory.
        narrow: whether its tiles are those for few queries.
    """

    function: str
    tiled: str = ""
    widths: tuple[int, ...] = WIDTHS
    own: bool = True
    masked: bool = False
    parted: bool = False
    narrow: bool = False


FORMS: dict[str, Form] = {
    "attend": Form("attend_kernel", "attend"),
    "attend part": Form("attend_kernel", "attend", (64,), parted=True),
    "attend part, few": Form("attend_kernel", "attend", parted=True, narrow=True),
    "attend masked, values": Form("attend_kernel", "attend", (64,), own=False, masked=True),
    "merge": Form("merge_kernel", "", (64,)),
    "rescue": Form("rescue_kernel", "", (64,)),
    "excess": Form("excess_kernel", "", (64,)),
    "settle": Form("settle_kernel", "settle"),
    "settle, few": Form("settle_kernel", "settle", narrow=True),
    "resettle": Form("resettle_kernel", "", (64,)),
}
"""The ways in which kernels are compiled, by name."""


@dataclass(frozen=True)
class ShippedTile:
    """How the work of a kernel is cut, see :class:`hopspec.fastpath.triton.tiles.Tile`."""

    queries: int
    memories: int
    warps: int
    stages: int


@dataclass(frozen=True)
class Specimen:
    """A kernel with everything that it is compiled with.

    Args:
        kernel: a key of :data:`FORMS`.
        dtype: of queries and memories.
        width: of queries, memories and what is read out.
        tile: how the work is cut.
        function: the kernel.
        signature: Triton's type of each argument, in their order.
        constants: value of each argument that is known.
        aligned: arguments divisible by 16.
        options: further options of the compilation.
    """

    kernel: str
    dtype: str
    width: int
    tile: ShippedTile
    function: Any
    signature: dict[str, str]
    constants: dict[str, object]
    aligned: tuple[str, ...]
    options: dict[str, object]

    @property
    def multiplies(self) -> bool:
        """Whether it multiplies matrices."""
        return bool(FORMS[self.kernel].tiled)


def specimen(kernel: str, dtype: str, width: int, tile: Tile | None = None) -> Specimen:
    """One kernel with a tile, by default the one it is shipped with.

    Args:
        kernel: a key of :data:`FORMS`.
        dtype: ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        width: one of :data:`WIDTHS`.
        tile: the tile.

    Raises:
        ImportError: if Triton is not installed.
        RuntimeError: if ``TRITON_INTERPRET`` is set.
    """
    form = FORMS[kernel]
    if tile is None:
        tile = tile_of(form.tiled, dtype, width, form.narrow) if form.tiled else SMALL
        tile = tile if form.own else reading_values(tile)
    function = getattr(compiled(), form.function)
    largest, element = _TYPES[dtype]
    known: dict[str, object] = {
        "LARGEST": largest,
        "ROWS": tile.rows,
        "BLOCK": tile.block,
        "WIDTH": width,
        "READ_WIDTH": width,
        "OWN": form.own,
        "MASKED": form.masked,
        "PARTED": form.parted,
        "BY_BITS": False,
        "ALIGNED": True,
    }
    names = list(function.arg_names)
    known |= {name: 1 for name in names if name.endswith("_column")}
    signature = {name: _type(name, element, form) for name in names}
    constants = {name: value for name, value in known.items() if name in names}
    signature |= dict.fromkeys(constants, "constexpr")
    pointers = [name for name in names if signature[name].startswith("*")]
    strides = [name for name in names if name.endswith("_row") or name in ("width", "read_width", "part")]
    return Specimen(
        kernel=kernel,
        dtype=dtype,
        width=width,
        tile=ShippedTile(tile.rows, tile.block, tile.warps, tile.stages),
        function=function,
        signature={name: signature[name] for name in names},
        constants=constants,
        aligned=(*pointers, *strides),
        options={"enable_fp_fusion": False},
    )


def specimens() -> Iterator[Specimen]:
    """Every kernel in every dtype and width, with the tile it is shipped with."""
    for kernel, form in FORMS.items():
        for dtype in BLOCKS:
            for width in form.widths:
                yield specimen(kernel, dtype, width)


def _type(name: str, element: str, form: Form) -> str:
    if name == "output" and form.parted:
        return "*fp32"
    if name in ("query", "memory", "values", "output"):
        return f"*{element}"
    return _POINTERS.get(name, "fp32" if name == "eps" else "i32")
