"""Starting the kernels: grids, strides, and what is allocated for them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hopspec.fastpath.triton.tiles import SMALL, Tile, padded, reading_values

__all__ = ["Attended", "Engine", "Operands", "Walked", "attend", "excess", "walk"]


@dataclass(frozen=True)
class Engine:
    """The kernels and how they are run.

    Args:
        kernels: the module, as :mod:`hopspec.fastpath.triton.source` loads it.
        interpreted: whether it is Triton's interpreter that runs them.
        tile: tile for a kernel, a type and a padded width, see :func:`hopspec.fastpath.triton.tiles.tile_of`.
        processors: how many programs a device runs at a time.
        least_blocks: blocks of memories that make a part worth starting a program for.
    """

    kernels: ModuleType
    interpreted: bool
    tile: Callable[[str, str, int], Tile]
    processors: Callable[[torch.device], int]
    least_blocks: int

    def start(
        self, name: str, grid: tuple[int, ...], tile: Tile, *arguments: object, **constants: object
    ) -> None:
        """Start one kernel; nothing is waited for."""
        if 0 in grid:
            return
        kernel: Any = getattr(self.kernels, name)
        if self.interpreted:
            with warnings.catch_warnings():
                # Infinities and NaN arise where rows will be rescued.
                warnings.simplefilter("ignore", RuntimeWarning)
                kernel[grid](*arguments, **constants)
            return
        first = arguments[0]
        assert isinstance(first, Tensor)
        with torch.cuda.device(first.device):
            # A product must not be fused with the subtraction of the maximum: exp(0) would not be 1.
            options = {"num_warps": tile.warps, "num_stages": tile.stages, "enable_fp_fusion": False}
            kernel[grid](*arguments, **constants, **options)


class Operands(NamedTuple):
    """What a kernel reads; leading dimensions broadcast to ``lead``.

    Args:
        query: ``[..., L, d]``.
        memory: ``[..., N, d]``.
        values: ``[..., N, dv]``, or None for the memory itself.
        keep: boolean, ``[..., L or 1, N]``, or None.
        beta: float64 ``[...]``.
        lead: the leading dimensions.
    """

    query: Tensor
    memory: Tensor
    values: Tensor | None
    keep: Tensor | None
    beta: Tensor
    lead: tuple[int, ...]


class Attended(NamedTuple):
    """What one pass over the memory has given.

    Args:
        output: the update or what is read out, ``[*lead, L, dv]``.
        log_normalizer: float32 ``[*lead, L]``.
        flagged: 1 for rows that had to be computed in float64, int32 ``[*lead, L]``.
    """

    output: Tensor
    log_normalizer: Tensor
    flagged: Tensor


class Walked(NamedTuple):
    """What settling has come to.

    Args:
        state: ``[*lead, L, d]``.
        residual: length of the last step, float32 ``[*lead, L]``.
        steps: how many were taken, int64 ``[*lead, L]``.
    """

    state: Tensor
    residual: Tensor
    steps: Tensor


class _Laid(NamedTuple):
    """Operands as the kernels take them."""

    query: Tensor
    memory: Tensor
    values: Tensor
    keep: Tensor
    beta: Tensor
    origins: Tensor
    aligned: bool
    leads: int
    strides: tuple[int, ...]

    @property
    def pointers(self) -> tuple[Tensor, ...]:
        return self.query, self.memory, self.values, self.keep, self.beta, self.origins

    @property
    def without_values(self) -> tuple[Tensor, ...]:
        return self.query, self.memory, self.keep, self.beta, self.origins

    @property
    def strides_without_values(self) -> tuple[int, ...]:
        return (*self.strides[:4], *self.strides[6:])


def _laid(operands: Operands) -> _Laid:
    query, memory, values, keep, beta, lead = operands
    rows, memories = query.shape[-2], memory.shape[-2]
    query, memory = query.detach().expand(*lead, -1, -1), memory.detach().expand(*lead, -1, -1)
    values = memory if values is None else values.detach().expand(*lead, -1, -1)
    beta = beta.detach().expand(lead)
    if keep is None:
        keep = torch.empty(1, dtype=torch.uint8, device=query.device).expand(*lead, rows, memories)
    else:
        keep = keep.expand(*lead, rows, memories).view(torch.uint8)
    tensors = (query, memory, values, keep)
    depth = len(lead)
    origins, aligned = _origins(
        lead, (*(tensor.stride()[:depth] for tensor in tensors), beta.stride()[:depth]), query.device
    )
    strides = tuple(stride for tensor in tensors for stride in tensor.stride()[depth:])
    return _Laid(*tensors, beta, origins, aligned, math.prod(lead), strides)


@lru_cache(maxsize=256)
def _origins(
    lead: tuple[int, ...], strides: tuple[tuple[int, ...], ...], device: torch.device
) -> tuple[Tensor, bool]:
    """Where the matrices of each tensor begin, in elements, int64 ``[tensors, leads]``.

    The second result is whether those of all but the last, beta, begin at multiples of 16.

    Kept, since small tensors are copied to a device no sooner than large ones.
    """
    table = []
    for own in strides:
        begin = torch.zeros((), dtype=torch.int64)
        for size, stride in zip(lead, own, strict=True):
            begin = begin.unsqueeze(-1) + torch.arange(size, dtype=torch.int64) * stride
        table.append(begin.flatten())
    aligned = not any((begin % 16).any() for begin in table[:-1])
    return torch.stack(table).to(device), aligned


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _parts(engine: Engine, programs: int, memories: int, tile: Tile, device: torch.device) -> tuple[int, int]:
    """How many parts of the memory there are, and how many memories to each, a whole number of blocks."""
    blocks = -(-memories // tile.block)
    wanted = min(engine.processors(device) // max(1, programs), blocks // engine.least_blocks)
    if wanted < 2:
        return 1, max(1, memories)
    part = -(-blocks // wanted)
    return -(-blocks // part), part * tile.block


def attend(engine: Engine, operands: Operands) -> Attended:
    """The update, or what is read out of values, with its log-normalizer."""
    laid = _laid(operands)
    rows, width = operands.query.shape[-2:]
    memories, read_width = laid.values.shape[-2:]
    lead, leads, dtype, device = operands.lead, laid.leads, operands.query.dtype, operands.query.device
    output = torch.empty((*lead, rows, read_width), dtype=dtype, device=device)
    normalizer = torch.empty((*lead, rows), dtype=torch.float32, device=device)
    flagged = torch.empty((*lead, rows), dtype=torch.int32, device=device)
    widths = {"WIDTH": padded(width), "READ_WIDTH": padded(read_width)}
    tile = engine.tile("attend", _name(dtype), max(widths.values()))
    if operands.values is not None:
        tile = reading_values(tile)
    tiles = -(-rows // tile.rows)
    parts, part = _parts(engine, tiles * leads, memories, tile, device)
    common = {
        "LARGEST": torch.finfo(dtype).max,
        "BY_BITS": engine.interpreted and dtype == torch.bfloat16,
    }
    sizes = (leads, rows, memories, width, read_width)
    masked = operands.keep is not None
    constants = common | widths | {"ROWS": tile.rows, "BLOCK": tile.block, "MASKED": masked}
    constants |= {"ALIGNED": laid.aligned}
    forms = {"OWN": operands.values is None, "PARTED": parts > 1}
    if parts == 1:
        results = (output, normalizer, normalizer, flagged)
    else:
        sums = torch.empty((parts, leads * rows, read_width), dtype=torch.float32, device=device)
        totals = torch.empty((2, parts, leads * rows), dtype=torch.float32, device=device)
        results = (sums, totals[0], totals[1], flagged)
    engine.start(
        "attend_kernel",
        (tiles, leads, parts),
        tile,
        *laid.pointers,
        *results,
        *sizes,
        part,
        *laid.strides,
        **constants,
        **forms,
    )
    if parts > 1:
        every = leads * rows
        engine.start(
            "merge_kernel",
            (-(-every // SMALL.rows),),
            SMALL,
            *results[:3],
            output,
            normalizer,
            flagged,
            parts,
            every,
            read_width,
            **common,
            ROWS=SMALL.rows,
            READ_WIDTH=widths["READ_WIDTH"],
        )
    constants |= {"ROWS": SMALL.rows, "BLOCK": SMALL.block}
    engine.start(
        "rescue_kernel",
        (-(-rows // SMALL.rows), leads),
        SMALL,
        *laid.pointers,
        output,
        normalizer,
        flagged,
        *sizes,
        *laid.strides,
        **constants,
    )
    return Attended(output, normalizer, flagged)


def excess(engine: Engine, operands: Operands, wanted: Tensor) -> Tensor:
    """``log(mean exp(beta score)) / beta`` of some rows, float64 ``[*lead, L]``; of the others anything.

    Args:
        engine: what runs the kernel.
        operands: memory and queries, without values; beta is positive.
        wanted: 1 for the rows in question and 0 for the others, int32 ``[*lead, L]``.
    """
    laid = _laid(operands)
    rows, width = operands.query.shape[-2:]
    result = torch.empty((*operands.lead, rows), dtype=torch.float64, device=operands.query.device)
    engine.start(
        "excess_kernel",
        (-(-rows // SMALL.rows), laid.leads),
        SMALL,
        *laid.without_values,
        result,
        wanted,
        laid.leads,
        rows,
        operands.memory.shape[-2],
        width,
        *laid.strides_without_values,
        ROWS=SMALL.rows,
        BLOCK=SMALL.block,
        WIDTH=padded(width),
        MASKED=operands.keep is not None,
        BY_BITS=engine.interpreted and operands.query.dtype == torch.bfloat16,
        ALIGNED=laid.aligned,
    )
    return result


def walk(engine: Engine, operands: Operands, eps: float, most: int) -> Walked:
    """Updates of every query until it has ended by itself, or ``most`` of them.

    Args:
        engine: what runs the kernel.
        operands: memory and queries, without values.
        eps: length of a step that ends the iteration, a float32 number.
        most: the most updates, at least 1.
    """
    laid = _laid(operands)
    rows, width = operands.query.shape[-2:]
    lead, dtype, device = operands.lead, operands.query.dtype, operands.query.device
    state = torch.empty((*lead, rows, width), dtype=dtype, device=device)
    residual = torch.empty((*lead, rows), dtype=torch.float32, device=device)
    steps = torch.empty((*lead, rows), dtype=torch.int32, device=device)
    flagged = torch.empty_like(steps)
    shipped = engine.tile("settle", _name(dtype), padded(width))
    for kernel, tile in (("settle_kernel", shipped), ("resettle_kernel", SMALL)):
        engine.start(
            kernel,
            (-(-rows // tile.rows), laid.leads),
            tile,
            *laid.without_values,
            state,
            residual,
            steps,
            flagged,
            eps,
            most,
            laid.leads,
            rows,
            operands.memory.shape[-2],
            width,
            *laid.strides_without_values,
            LARGEST=torch.finfo(dtype).max,
            ROWS=tile.rows,
            BLOCK=tile.block,
            WIDTH=padded(width),
            MASKED=operands.keep is not None,
            BY_BITS=engine.interpreted and dtype == torch.bfloat16,
            ALIGNED=laid.aligned,
        )
    return Walked(state, residual, steps.long())
