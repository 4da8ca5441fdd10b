"""What a tensor must be to serve as query, memory, values or mask (clause MHN-DOM-4)."""

from __future__ import annotations

import torch
from torch import Tensor

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
