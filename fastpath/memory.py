"""A prepared, frozen memory."""

from __future__ import annotations

import math
from typing import NoReturn

import torch
from torch import Tensor

__all__ = ["Memory"]

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def check_pattern_tensor(name: str, value: object) -> Tensor:
    """Return ``value`` if it is a floating tensor of rank 2 or more (clause MHN-DOM-4).

    Raises:
        TypeError: if it is not a tensor, or of a dtype outside the four this package computes in.
        ValueError: if it has fewer than two dimensions.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if value.dtype not in DTYPES:
        expected = ", ".join(str(dtype) for dtype in DTYPES)
        raise TypeError(f"{name} has dtype {value.dtype}, expected one of {expected}")
    if value.dim() < 2:
        raise ValueError(f"{name} has shape {tuple(value.shape)}, expected at least two dimensions")
    return value


def check_same_kind(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    """Raise unless two tensors share dtype and device (clause MHN-DOM-4).

    Raises:
        ValueError: naming both arguments and what each has.
    """
    if value.dtype != other.dtype:
        raise ValueError(f"{name} has dtype {value.dtype}, expected {other.dtype} as {other_name} has")
    if value.device != other.device:
        raise ValueError(f"{name} is on device {value.device}, expected {other.device} as {other_name} is")


def check_values(values: object, patterns: Tensor) -> Tensor:
    """Return ``values`` if they fit ``patterns``, ``[..., N, dv]`` beside ``[..., N, d]`` (clause MHN-DOM-4).

    Raises:
        TypeError: if they are not a floating tensor.
        ValueError: if shape, dtype or device differ from what the patterns ask for.
    """
    checked = check_pattern_tensor("values", values)
    check_same_kind("values", checked, "memory", patterns)
    if checked.shape[-2] != patterns.shape[-2]:
        raise ValueError(
            f"values has shape {tuple(checked.shape)}, expected [..., {patterns.shape[-2]}, dv]: "
            f"one row for each of the {patterns.shape[-2]} memories"
        )
    return checked


def check_keep(keep: object, patterns: Tensor) -> Tensor:
    """Return ``keep`` with two dimensions or more if it is a mask over ``patterns`` (clause MHN-DOM-4).

    Raises:
        TypeError: if it is not a boolean tensor.
        ValueError: if its last dimension does not fit or it is on another device.
    """
    if not isinstance(keep, Tensor):
        raise TypeError(f"keep must be a torch.Tensor of dtype torch.bool, got {type(keep).__name__}")
    if keep.dtype != torch.bool:
        raise TypeError(f"keep has dtype {keep.dtype}, expected torch.bool")
    if keep.device != patterns.device:
        raise ValueError(f"keep is on device {keep.device}, expected {patterns.device} as memory is")
    if keep.dim() >= 1 and keep.shape[-1] not in (1, patterns.shape[-2]):
        raise ValueError(
            f"keep has shape {tuple(keep.shape)}, not broadcastable to [..., L, {patterns.shape[-2]}]"
        )
    return keep if keep.dim() >= 2 else keep.expand(1, patterns.shape[-2])


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


class Memory:
    """Stored patterns prepared once and used many times (clause MHN-DOM-2).

    Every function of this package takes a ``Memory`` in place of the memory tensor. What each call would
    otherwise recompute about the patterns is computed once here. The tensors are referred to, not copied, and
    must not be changed afterwards: a change in place is noticed and refused.

    Args:
        patterns: stored patterns, ``[..., N, d]``.
        values: what :func:`retrieve` reads out instead of the patterns, ``[..., N, dv]``; the other functions
            ignore them.
        keep: which memories take part, a boolean mask broadcastable to ``[..., L, N]``; True takes part
            (clause MHN-MSK-1).

    Raises:
        TypeError: if an argument is not a tensor or has a dtype that is not supported.
        ValueError: if ranks, shapes, dtypes or devices do not fit together.
        AttributeError: on an attempt to change an attribute.

    >>> import torch
    >>> memory = Memory(torch.eye(3))
    >>> memory
    Memory(patterns=[3, 3], dtype=torch.float32)
    >>> memory.magnitudes
    tensor([1., 1., 1.])
    """

    __slots__ = ("_versions", "keep", "magnitudes", "patterns", "value_magnitudes", "values")

    patterns: Tensor
    values: Tensor | None
    keep: Tensor | None
    magnitudes: Tensor
    value_magnitudes: Tensor | None

    def __init__(self, patterns: Tensor, *, values: Tensor | None = None, keep: Tensor | None = None) -> None:
        checked = check_pattern_tensor("patterns", patterns)
        checked_values = None if values is None else check_values(values, checked)
        checked_keep = None if keep is None else check_keep(keep, checked)
        fields: dict[str, object] = {
            "patterns": checked,
            "values": checked_values,
            "keep": checked_keep,
            "magnitudes": row_magnitudes(checked),
            "value_magnitudes": None if checked_values is None else row_magnitudes(checked_values),
            "_versions": _versions(checked, checked_values),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Memory is read-only: cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"Memory is read-only: cannot delete {name!r}")

    def __repr__(self) -> str:
        parts = [f"patterns={list(self.patterns.shape)}"]
        if self.values is not None:
            parts.append(f"values={list(self.values.shape)}")
        if self.keep is not None:
            parts.append(f"keep={list(self.keep.shape)}")
        return f"Memory({', '.join(parts)}, dtype={self.patterns.dtype})"

    def check_unchanged(self) -> None:
        """Raise if a tensor was modified in place since this memory was prepared.

        Raises:
            ValueError: what was computed at preparation would no longer describe the tensors.
        """
        if _versions(self.patterns, self.values) != self._versions:  # type: ignore[attr-defined]
            raise ValueError("memory was modified in place after it was prepared; build a new Memory")


def _versions(*tensors: Tensor | None) -> tuple[int, ...]:
    # Inference tensors carry no version counter.
    return tuple(0 if t is None or t.is_inference() else t._version for t in tensors)
