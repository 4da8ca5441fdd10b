"""Rows that are asked many times, with what is computed of them alone."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

from hopspec.fastpath._rescue import ORDINARY, Scaled, scaled_half_squares

# A copy in float64 of this size stays in the cache.
_PIECE_BYTES = 1 << 20
# Entries of rows so few that starting one more operation costs more than any saves.
_SMALL = 1 << 12


def row_magnitudes(rows: Tensor) -> Tensor:
    """Largest absolute entry of each row, in the dtype of ``rows``; NaN where a row holds NaN, 0 where d = 0.

    Leading dimensions that repeat one matrix have size 1 in the result.

    >>> import torch
    >>> row_magnitudes(torch.tensor([[1.0, -3.0], [0.0, float("nan")]]))
    tensor([3., nan])
    """
    rows = collapse(rows.detach(), rows.dim() - 2)
    if rows.shape[-1] == 0:
        return rows.new_zeros(rows.shape[:-1])
    if rows.numel() > _SMALL:
        # Vectorized, as the norm is not: five to ten times faster, without a copy of the rows.
        return torch.maximum(-rows.amin(-1), rows.amax(-1))
    largest: Tensor = torch.linalg.vector_norm(rows, math.inf, dim=-1)
    return largest


def collapse(tensor: Tensor, dims: int) -> Tensor:
    """``tensor`` with those of its first ``dims`` dimensions that repeat one slice (stride 0) reduced to size
    1.

    >>> import torch
    >>> collapse(torch.ones(2, 3).expand(5, 2, 3), 1).shape
    torch.Size([1, 2, 3])
    """
    for dim in range(dims):
        if tensor.stride(dim) == 0 and tensor.shape[dim] > 1:
            tensor = tensor.narrow(dim, 0, 1)
    return tensor


def matrix_if_one(tensor: Tensor) -> Tensor:
    """``tensor`` without leading dimensions where they hold, or repeat, a single matrix."""
    tensor = collapse(tensor, tensor.dim() - 2)
    return tensor.reshape(tensor.shape[-2:]) if math.prod(tensor.shape[:-2]) == 1 else tensor


class Stored:
    """Rows of a memory or of values, and what is computed of them, each once and when first asked for.

    Beside the rows this holds a few numbers for each, and at most one copy of them for each width asked of
    :meth:`packed`, where their own layout will not do.

    Args:
        rows: ``[..., N, w]``. Leading dimensions that hold or repeat a single matrix are dropped, others that
            repeat have size 1.
        magnitudes: largest absolute entry of each of these rows, ``[..., N]``, where known already.
    """

    def __init__(self, rows: Tensor, magnitudes: Tensor | None = None) -> None:
        self.rows = matrix_if_one(rows)
        self._packed: dict[int, Tensor] = {}
        if magnitudes is not None:
            self.magnitudes = magnitudes.reshape(self.rows.shape[:-1])

    @cached_property
    def magnitudes(self) -> Tensor:
        """Largest absolute entry of each row, ``[..., N]`` in their dtype; NaN where there is one."""
        with lasting():
            return row_magnitudes(self.rows)

    @cached_property
    def largest(self) -> Tensor:
        """Largest absolute entry of each matrix, float64 ``[...]``; NaN where there is one, 0 if empty."""
        with lasting():
            if self.rows.shape[-2] == 0:
                return self.magnitudes.new_zeros(self.rows.shape[:-2], dtype=torch.float64)
            return self.magnitudes.amax(-1).double()

    @cached_property
    def peak(self) -> float:
        """Largest absolute entry of all; NaN where there is one, 0 if there is none."""
        return float(self.largest.max()) if self.largest.numel() else 0.0

    @cached_property
    def ordinary(self) -> bool:
        """Whether every entry but zeros lies within :data:`ORDINARY`."""
        least, most = ORDINARY
        if not self.peak < most:
            return False
        if self.rows.dtype != torch.float64:
            return True
        parts = (self.rows[..., part, :].abs() for part in _pieces(self.rows))
        return not any(bool(((part < least) & (part > 0)).any()) for part in parts)

    @cached_property
    def half_squares(self) -> Tensor:
        """Half the squared length of each row, float64 ``[..., N]``."""
        with lasting():
            return half_squares(self.rows)

    @cached_property
    def half_farthest(self) -> Tensor:
        """Half the squared length of the longest row of each matrix, float64 ``[...]``; 0 without rows."""
        with lasting():
            if self.rows.shape[-2] == 0:
                return self.half_squares.sum(-1)
            return self.half_squares.amax(-1)

    @cached_property
    def scaled_half_squares(self) -> Scaled:
        """Half the squared length of each row, ``[..., N, 1]``, where it may leave the range of float64."""
        with lasting():
            parts = [scaled_half_squares(self.rows[..., piece, :]) for piece in _pieces(self.rows)]
            return Scaled(*(torch.cat(numbers, -2) for numbers in zip(*parts, strict=True)))

    def packed(self, width: int) -> Tensor:
        """The rows as PyTorch's flash kernel takes them, ``[..., N, width]``; see :func:`pack`."""
        found = self._packed.get(width)
        if found is None:
            with lasting():
                found = pack(self.rows, width)
            self._packed[width] = found
        return found


def lasting() -> AbstractContextManager[object]:
    """A block whose results may later take part in anything, even if this call is in inference mode."""
    return torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()


def half_squares(rows: Tensor) -> Tensor:
    """Half the squared length of each row in float64, ``[..., N]``, as squares of lengths (clause MHN-BND-4).

    >>> half_squares(torch.tensor([[3.0, 4.0]]))
    tensor([12.5000], dtype=torch.float64)
    """
    if rows.requires_grad and torch.is_grad_enabled():
        # A length has no second derivative at zero, a square has one.
        wide = rows.double()
        squares: Tensor = torch.linalg.vecdot(wide, wide)
        return 0.5 * squares
    if rows.dtype == torch.float64 or 8 * rows.numel() <= _PIECE_BYTES:
        lengths: Tensor = torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float64)
        return lengths.square_().mul_(0.5)
    lengths = rows.new_empty(rows.shape[:-1], dtype=torch.float64)
    for piece in _pieces(rows):
        lengths[..., piece] = torch.linalg.vector_norm(rows[..., piece, :], dim=-1, dtype=torch.float64)
    return lengths.square_().mul_(0.5)


def _pieces(rows: Tensor) -> list[slice]:
    """All rows, a few of every matrix at a time."""
    count, width = rows.shape[-2:]
    step = max(1, _PIECE_BYTES // (8 * max(1, math.prod(rows.shape[:-2]) * width)))
    return [slice(start, start + step) for start in range(0, count, step)]


def pack(rows: Tensor, width: int) -> Tensor:
    """``rows`` as PyTorch's flash kernel takes them, filled up with zeros to ``width``, at least their own.

    Entries of a row are adjacent and rows do not overlap: the kernel reads anything else wrongly. Rows that
    are so already are returned themselves.
    """
    missing = width - rows.shape[-1]
    if missing:
        return pad(rows, (0, missing))
    regular = rows.stride(-1) == 1 and rows.stride(-2) >= width
    return rows if regular else rows.clone(memory_format=torch.contiguous_format)
