"""Validation of arguments at the boundary (clause MHN-DOM-4) and their common shape (clause MHN-DOM-2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from torch import Tensor

from hopspec.fastpath._checks import check_keep, check_pattern_tensor, check_same_kind, check_values
from hopspec.fastpath._stored import Stored
from hopspec.fastpath._visible import Prepared
from hopspec.fastpath.memory import Memory
from hopspec.formats import DEFAULT_EPS


@dataclass(frozen=True, slots=True)
class Arguments:
    """Arguments that passed every check.

    Args:
        query: ``[..., L, d]``.
        memory: the patterns, ``[..., N, d]``.
        values: ``[..., N, dv]`` or None.
        keep: boolean, broadcastable to ``[*lead, L, N]`` with at least two dimensions, or None.
        beta: a finite float, or a float64 tensor broadcastable to ``lead``.
        lead: the leading dimensions all of them broadcast to.
    """

    query: Tensor
    memory: Prepared
    values: Prepared | None
    keep: Tensor | None
    beta: float | Tensor
    lead: tuple[int, ...]

    def shaped(self, result: Tensor, trailing: tuple[int, ...] = ()) -> Tensor:
        """What the engine computed, one entry per row it was given, as ``[*lead, L, *trailing]``."""
        full = (*self.lead, self.query.shape[-2], *trailing)
        if result.numel() == math.prod(full):
            return result.reshape(full)
        # Only the memory has these leading dimensions, and repeats along them.
        return result.reshape(*self.query.shape[:-1], *trailing).expand(full).contiguous()


def check_arguments(
    query: Tensor,
    memory: Tensor | Memory,
    beta: float | Tensor,
    keep: Tensor | None,
    *,
    values: Tensor | None = None,
    reads_values: bool = False,
    positive_beta: bool = False,
    name: str = "query",
) -> Arguments:
    """Check what every public function takes.

    Args:
        query: ``[..., L, d]``.
        memory: ``[..., N, d]``.
        beta: a number, or a tensor that broadcasts to the leading dimensions.
        keep: boolean, broadcasts to ``[..., L, N]``.
        values: ``[..., N, dv]``.
        reads_values: whether the function reads out of values; the others ignore those of a ``Memory``.
        positive_beta: whether beta must be above zero (energy and fixed points).
        name: what the caller calls its query.

    Raises:
        TypeError: wrong type or dtype.
        ValueError: wrong rank, shape, device or value. Both name the argument, what it was and what was
            expected.
    """
    checked_query = check_pattern_tensor(name, query)
    own_values: Prepared | None = None
    prepared: Prepared | None = None
    if isinstance(memory, Memory):
        memory.check_unchanged()
        patterns, prepared = memory.patterns, memory.prepared()
        keeps = [memory.keep]
        if reads_values and memory.values is not None:
            if values is not None:
                raise ValueError("values were given, but memory holds values already; expected one of them")
            values, own_values = memory.values, memory.prepared_values()
    else:
        patterns = check_pattern_tensor("memory", memory)
        keeps = []
    check_same_kind(name, checked_query, "memory", patterns)
    if checked_query.shape[-1] != patterns.shape[-1]:
        raise ValueError(
            f"{name} has shape {tuple(checked_query.shape)}, expected [..., L, {patterns.shape[-1]}] "
            f"for a memory of shape {tuple(patterns.shape)}"
        )
    if values is not None and own_values is None:
        values = check_values(values, patterns)
    lead = _leading_dimensions(checked_query, patterns, values)
    target = (*lead, checked_query.shape[-2], patterns.shape[-2])
    combined: Tensor | None = None
    for mask in (*keeps, keep):
        if mask is not None:
            checked_mask = check_keep(mask, patterns)
            _check_broadcast("keep", checked_mask, target)
            combined = checked_mask if combined is None else combined & checked_mask
    if values is not None and own_values is None:
        own_values = Prepared(Stored(values), combined)
    return Arguments(
        query=checked_query,
        memory=Prepared(Stored(patterns), combined) if prepared is None else prepared,
        values=own_values,
        keep=combined,
        beta=_check_beta(beta, checked_query, lead, positive=positive_beta),
        lead=lead,
    )


def check_flag(name: str, value: object) -> bool:
    """Return ``value`` if it is True or False.

    Raises:
        TypeError: otherwise.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def check_count(name: str, value: object, least: int) -> int:
    """Return ``value`` as an int of at least ``least``.

    Raises:
        TypeError: if it is not an integer.
        ValueError: if it is too small.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}")
    count = int(value)
    if count < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return count


def check_eps(eps: object, dtype: torch.dtype) -> float:
    """Return ``eps``, or the default of ``dtype`` where it is None.

    Raises:
        TypeError: if it is not a real number.
        ValueError: if it is negative or NaN.
    """
    if eps is None:
        return DEFAULT_EPS[str(dtype).removeprefix("torch.")]
    if isinstance(eps, bool) or not isinstance(eps, Real):
        raise TypeError(f"eps must be a real number or None, got {eps!r} of type {type(eps).__name__}")
    length = float(eps)
    if not length >= 0:
        raise ValueError(f"eps must be at least 0, got {eps!r}")
    return length


def _leading_dimensions(query: Tensor, patterns: Tensor, values: Tensor | None) -> tuple[int, ...]:
    named = [("query", query), ("memory", patterns)] + ([] if values is None else [("values", values)])
    lead: list[int] = []
    for position in range(1, max(tensor.dim() for _, tensor in named) - 1):
        sizes = {tensor.shape[-2 - position] for _, tensor in named if tensor.dim() > position + 1} - {1}
        if len(sizes) > 1:
            shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in named)
            raise ValueError(f"leading dimensions do not broadcast: got {shapes}")
        lead.insert(0, sizes.pop() if sizes else 1)
    return tuple(lead)


def _check_broadcast(name: str, tensor: Tensor, target: Sequence[int]) -> None:
    given = tuple(tensor.shape)
    if len(given) > len(target) or any(
        size not in (1, wanted) for size, wanted in zip(reversed(given), reversed(target), strict=False)
    ):
        raise ValueError(f"{name} has shape {given}, not broadcastable to {tuple(target)}")


def _check_beta(beta: object, query: Tensor, lead: tuple[int, ...], *, positive: bool) -> float | Tensor:
    if isinstance(beta, Tensor):
        return _check_tensor_beta(beta, query, lead, positive=positive)
    if isinstance(beta, bool) or not isinstance(beta, Real):
        raise TypeError(f"beta must be a real number or a tensor, got {beta!r} of type {type(beta).__name__}")
    try:
        number = float(beta)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"beta must be finite, got {beta!r}")
    if positive and not number > 0:
        raise ValueError(f"beta must be positive here, got {beta!r}")
    return number


def _check_tensor_beta(
    beta: Tensor, query: Tensor, lead: tuple[int, ...], *, positive: bool
) -> float | Tensor:
    if beta.dtype == torch.bool or beta.is_complex():
        raise TypeError(f"beta has dtype {beta.dtype}, expected a real number type")
    if beta.device != query.device and not (beta.dim() == 0 and beta.device.type == "cpu"):
        raise ValueError(f"beta is on device {beta.device}, expected {query.device} as query is")
    _check_broadcast("beta", beta, lead)
    if beta.device.type == "cpu":
        if not bool(beta.isfinite().all()):
            raise ValueError(f"beta must be finite, got {beta.tolist()!r}")
        if positive and not bool((beta > 0).all()):
            raise ValueError(f"beta must be positive here, got {beta.tolist()!r}")
        differentiated = beta.requires_grad and torch.is_grad_enabled()
        if beta.numel() > 0 and not differentiated and bool((beta == beta.flatten()[0]).all()):
            return float(beta.flatten()[0])
    # Widened, never narrowed: every supported number type but int64 beyond 2**53 is exact in float64.
    return beta.to(device=query.device, dtype=torch.float64)
