"""What the queries see of a memory under a mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from hopspec.fastpath._flags import any_along
from hopspec.fastpath._stored import Stored, collapse, lasting, matrix_if_one

# Bytes of the largest temporary made of a mask.
_CHUNK_BYTES = 1 << 24
# How many of the longest rows are tried first for the longest that is kept.
_LONGEST = 64


@dataclass(frozen=True)
class Kept:
    """Which rows each query keeps, and what the energy asks of those.

    Args:
        stored: ``[..., N, w]``.
        keep: ``[..., L or 1, N]``, or None where all take part.
    """

    stored: Stored
    keep: Tensor | None

    @cached_property
    def count(self) -> Tensor:
        """How many rows each query keeps, float64 ``[..., L or 1]``."""
        with lasting():
            rows = self.stored.rows
            if self.keep is None:
                return rows.new_full((), rows.shape[-2], dtype=torch.float64)
            count = rows.new_zeros(self.keep.shape[:-1], dtype=torch.float64)
            # Exact in either type, and several times faster than a sum of booleans.
            dtype = torch.float32 if self.keep.shape[-1] <= 1 << 24 else torch.float64
            for part in _parts(self.keep):
                count[..., part] = self.keep[..., part, :].to(dtype).sum(-1)
            return count

    @cached_property
    def half_farthest(self) -> Tensor:
        """Half the squared length of the longest row each query keeps, float64 ``[..., L or 1]``."""
        with lasting():
            if self.keep is None:
                return self.stored.half_farthest.unsqueeze(-1)
            halves = self.stored.half_squares.unsqueeze(-2)
            if self.keep.device.type == "cpu" and halves.dim() == 2 and halves.shape[-1] > _LONGEST:
                # Nearly always each query keeps one of the longest rows: no need then to look at the others.
                longest, columns = halves[0].topk(_LONGEST)
                kept = self.keep[..., columns]
                if bool(kept.any(-1).all()):
                    return longest.where(kept, 0.0).amax(-1)
            # Results come first: small ones allocated between large temporaries keep the heap from reusing
            # those.
            farthest = torch.zeros_like(self.count) + halves.detach()[..., 0]
            for part in _parts(self.keep):
                farthest[..., part] = halves.where(self.keep[..., part, :], 0.0).amax(-1)
            return farthest


@dataclass(frozen=True)
class Visible:
    """Rows of a memory or of values without those that could spoil the kernel.

    Args:
        stored: ``[..., N, w]``; rows that are masked out or hold a NaN or infinity are zero where they could
            do harm.
        keep: ``[..., L or 1, N]``, or None where all take part.
        largest: largest absolute entry of the rows that remain, float64 ``[...]``.
        spoiled: which queries see a row that holds a NaN or infinity, ``[..., L or 1]``, or None for none.
        heavy: whether a sum of such rows, each with a weight of up to 1, may leave the range.
    """

    stored: Stored
    keep: Tensor | None
    largest: Tensor
    spoiled: Tensor | None
    heavy: bool

    @property
    def rows(self) -> Tensor:
        """The rows as they are stored, ``[..., N, w]``."""
        return self.stored.rows

    @cached_property
    def any_kept(self) -> Tensor | None:
        """Queries that keep at least one row, ``[..., L or 1]``, or None where all do."""
        if self.keep is None:
            return None
        with lasting():
            any_kept = any_along(self.keep, -1)
            return None if bool(any_kept.all()) else any_kept

    @cached_property
    def kept(self) -> Kept:
        """How many rows each query keeps, and the longest of them."""
        return Kept(self.stored, self.keep)

    def select(self, chosen: Tensor) -> Visible:
        """The same for the given queries only, where all are rows of one matrix."""
        selected = Visible(
            self.stored,
            _pick(self.keep, -2, chosen),
            self.largest,
            _pick(self.spoiled, -1, chosen),
            self.heavy,
        )
        if "any_kept" in self.__dict__:
            # What is known of all need not be looked for again.
            selected.__dict__["any_kept"] = _pick(self.any_kept, -1, chosen)
        return selected


def _parts(keep: Tensor) -> list[slice]:
    step = max(1, _CHUNK_BYTES // (8 * max(1, keep[..., :1, :].numel())))
    return [slice(start, start + step) for start in range(0, keep.shape[-2], step)]


def _pick(part: Tensor | None, dim: int, chosen: Tensor) -> Tensor | None:
    return part if part is None or part.shape[dim] == 1 else part.index_select(dim, chosen)


class Prepared:
    """Rows under a mask of their own, and what the queries see of them, computed once when first asked for.

    Args:
        stored: ``[..., N, w]``.
        keep: boolean, broadcastable to ``[..., L, N]`` with two dimensions or more, or None.
    """

    def __init__(self, stored: Stored, keep: Tensor | None) -> None:
        self.stored = stored
        self._keep = keep

    @cached_property
    def visible(self) -> Visible:
        """What queries see under the mask of these rows."""
        with lasting():
            return _visible(self.stored, self._keep)

    def under(self, keep: Tensor | None) -> Visible:
        """The same under another mask, which is to include that of these rows."""
        return self.visible if keep is self._keep else _visible(self.stored, keep)

    @cached_property
    def _kept(self) -> Kept:
        return _kept(self.stored, self._keep)

    def kept_under(self, keep: Tensor | None) -> Kept:
        """What queries keep under a mask as above; unlike that, without a look at any row or at the mask."""
        return self._kept if keep is self._keep else _kept(self.stored, keep)


def _canonical_mask(keep: Tensor, count: int) -> Tensor:
    """``keep`` as ``[..., L or 1, N]``.

    Dimensions before the last that repeat have size 1, leading ones that hold a single matrix are dropped.
    """
    keep = collapse(keep, keep.dim() - 1)
    return matrix_if_one(keep.expand(*keep.shape[:-1], count))


def _kept(stored: Stored, keep: Tensor | None) -> Kept:
    return Kept(stored, None if keep is None else _canonical_mask(keep, stored.rows.shape[-2]))


def _visible(stored: Stored, keep: Tensor | None) -> Visible:
    rows = stored.rows
    keep = None if keep is None else _canonical_mask(keep, rows.shape[-2])
    if rows.shape[-2] == 0:
        return Visible(stored, keep, stored.largest, None, False)
    if keep is None and math.isfinite(stored.peak):
        return Visible(stored, keep, stored.largest, None, _is_heavy(stored.peak, rows))
    magnitudes = stored.magnitudes
    finite = magnitudes.isfinite()
    seen = finite.new_ones(()) if keep is None else _any_to(any_along(keep, -2), magnitudes.shape)
    largest = magnitudes.masked_fill(~(finite & seen), 0.0).amax(-1)
    # A masked row must not reach the kernel with more than the kept rows hold: 0 * inf and inf - inf are NaN.
    harmful = ~(magnitudes <= largest.unsqueeze(-1))
    if bool(harmful.any()):
        stored = Stored(rows.masked_fill(harmful.unsqueeze(-1), 0.0), magnitudes.masked_fill(harmful, 0.0))
    bad = ~finite & seen
    spoiled = None
    if bool(bad.any()):
        columns = bad.reshape(-1, bad.shape[-1]).any(0).nonzero().squeeze(-1)
        bad = bad[..., columns].unsqueeze(-2)
        spoiled = (bad if keep is None else bad & keep[..., columns]).any(-1)
    largest = largest.double()
    return Visible(stored, keep, largest, spoiled, _is_heavy(float(largest.max()), rows))


def _is_heavy(largest: float, rows: Tensor) -> bool:
    limit = torch.finfo(torch.float64 if rows.dtype == torch.float64 else torch.float32).max / 4
    return not largest * rows.shape[-2] < limit


def _any_to(flags: Tensor, shape: Sequence[int]) -> Tensor:
    """``flags`` reduced by "any" to ``shape``, to which the result broadcasts."""
    while flags.dim() > len(shape):
        flags = flags.any(0)
    for dim in range(-flags.dim(), -1):
        if shape[dim] == 1:
            flags = flags.any(dim, keepdim=True)
    return flags
