"""What there is to choose from on a GPU, tiles and PyTorch's operations, and what was chosen."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from hopspec.fastpath import _route
from hopspec.fastpath.triton import rule
from hopspec.fastpath.triton.launch import Engine
from hopspec.fastpath.triton.source import interpreted
from hopspec.fastpath.triton.tiles import Tile, padded, tile_of

__all__ = ["entry_of", "kind_of", "record", "served_by", "tiles_of"]


def kind_of(device: str, kernel: str, dtype: str, queries: int, width: int) -> rule.Kind:
    """The calls that one choice on a device stands for, see :func:`hopspec.fastpath.triton.rule.kind_of`."""
    name = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device
    return rule.kind_of(name, kernel, dtype, queries, width)


def tiles_of(kernel: str, dtype: str, width: int) -> tuple[Tile, ...]:
    """The tiles to choose from, the one shipped first; the number of memories to a block is not free.

    Args:
        kernel: ``"attend"`` or ``"settle"``.
        dtype: name of the type.
        width: of the patterns.

    >>> tiles_of("attend", "float32", 64)[0] == tile_of("attend", "float32", 64)
    True
    """
    shipped = tile_of(kernel, dtype, padded(width))
    shapes = [shipped._replace(rows=rows, warps=warps) for warps in (4, 8) for rows in (16, 32, 64, 128)]
    depths = [shipped._replace(stages=stages) for stages in (1, 2, 3)]
    return tuple(dict.fromkeys([shipped, *shapes, *depths]))


@contextmanager
def served_by(tile: Tile | None, device: str) -> Iterator[None]:
    """Have calls served with a tile, in this process; None for PyTorch's operations.

    On a CPU the kernels are interpreted.
    """
    if tile is None:
        with rule.decided("torch"):
            yield
    else:
        with _route.forced(replace(_engine(torch.device(device).type), tile=lambda *_: tile)):
            yield


@cache
def _engine(device: str) -> Engine:
    if device == "cuda":
        return rule.engine_of_gpu()
    return Engine(interpreted(), interpreted=True, tile=tile_of, processors=lambda _: 1, least_blocks=1)


def entry_of(
    kind: rule.Kind, tile: Tile, triton_ms: float, torch_ms: float | None, recorded: str
) -> dict[str, Any]:
    """What is recorded of a choice; the faster route wins, and the kernels where only they could be timed.

    Args:
        kind: of the calls it stands for.
        tile: the fastest.
        triton_ms: its time.
        torch_ms: the time of PyTorch's operations.
        recorded: when, and with which versions.
    """
    winner = "triton" if torch_ms is None or triton_ms <= torch_ms else "torch"
    return {
        **kind._asdict(),
        "winner": winner,
        "tile": [tile.rows, tile.warps, tile.stages],
        "triton_ms": triton_ms,
        "torch_ms": torch_ms,
        "recorded": recorded,
    }


def record(entries: Sequence[dict[str, Any]], path: Path = rule.RECORD) -> None:
    """Put choices into the record; earlier ones of the same kinds are replaced."""
    before = json.loads(path.read_text(encoding="utf-8"))["winners"] if path.exists() else []
    whole = {tuple(entry[field] for field in rule.Kind._fields): entry for entry in [*before, *entries]}
    text = json.dumps({"winners": [whole[key] for key in sorted(whole)]}, indent=2)
    path.write_text(text + "\n", encoding="utf-8")
    rule.forget()
