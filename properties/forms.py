"""Attention kernels ``f(q, k, v, *, scale, attn_mask=None, is_causal=False)`` as implementations.

Attention is retrieval (clause MHN-ATT-1): queries are state patterns, keys the memory, values what is read
out, and the scale is the inverse temperature. So every property of retrieval judges an attention kernel.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hopspec.properties.builtin import BUILTIN, FAULT_PREFIX
from hopspec.types import AccuracyModel, Capabilities, Implementation

__all__ = ["ATTENTION_PREFIX", "FORMS", "attention_capabilities", "attention_implementation", "in_form"]

FORMS = ("retrieval", "attention")
ATTENTION_PREFIX = "attention:"
SIGNATURE = "f(q, k, v, *, scale, attn_mask=None, is_causal=False)"
# What a built-in function without a signature is taken to accept.
ASSUMED = frozenset({"scale", "attn_mask", "is_causal"})


def attention_capabilities(f: Callable[..., Any]) -> Capabilities:
    """What an attention kernel claims by its signature alone, a start for :func:`dataclasses.replace`.

    Read-out and leading dimensions, masks if it takes ``attn_mask``, causal masking aligned top-left if it
    takes ``is_causal``, for values as wide as keys. A bias, grouped heads, empty rows, isolation of NaN and
    the whole finite range are not claimed: they are observed.

    Args:
        f: a callable ``f(q, k, v, *, scale, attn_mask=None, is_causal=False)``.

    Raises:
        TypeError: if ``f`` cannot be called so.

    >>> def f(q, k, v, *, scale): ...
    >>> attention_capabilities(f).masks, attention_capabilities(f).values
    (False, True)
    """
    takes = _parameters(f)
    return Capabilities(
        dtypes=("float32", "float64", "bfloat16", "float16"),
        devices=("cpu", "cuda"),
        masks="attn_mask" in takes,
        values=True,
        batch=True,
        causal="top-left" if "is_causal" in takes else "",
        shapes=((0, 0, 0),),
    )


def attention_implementation(
    f: Callable[..., Any],
    name: str,
    *,
    capabilities: Capabilities | None = None,
    accuracy: tuple[AccuracyModel, ...] = (),
    returns_log_normalizer: bool = False,
    to_array: Callable[[Any, str], Any] | None = None,
    from_array: Callable[[Any], Any] | None = None,
) -> Implementation[Any]:
    """Describe an attention kernel, so that it can be verified (clause MHN-ATT-1).

    The kernel is called with ``q`` ``[B, H, L, d]``, ``k`` ``[B, H, N, d]`` and ``v`` ``[B, H, N, dv]``, all
    contiguous unless ``strides`` is claimed. Only where they are asked for it is given

    * ``attn_mask``, ``[B, H, L, N]``: booleans, True where a key takes part, or numbers of the dtype of the
      queries that are added to the logits, ``-inf`` where a key does not take part;
    * ``is_causal=True``;
    * ``k`` and ``v`` with fewer heads than ``q``, and ``enable_gqa=True`` if it has such a parameter.

    Args:
        f: a callable ``f(q, k, v, *, scale, attn_mask=None, is_causal=False)``; the last two may be missing.
        name: name in reports.
        capabilities: what is claimed; None for :func:`attention_capabilities`.
        accuracy: one model per dtype; a dtype without one is judged under the loosest built-in model.
        returns_log_normalizer: whether ``f`` returns a pair of the result and the log-normalizers
            ``[B, H, L]``, logarithms to the base ``capabilities.log_base``.
        to_array: from a NumPy array and a dtype name to the kernel's array type; None for PyTorch.
        from_array: back to a NumPy array; None for PyTorch.

    Raises:
        TypeError: if ``f`` cannot be called so.
        ValueError: if a capability is claimed for which ``f`` has no parameter.

    >>> def f(q, k, v, *, scale):
    ...     t = scale * q @ k.swapaxes(-1, -2)
    ...     p = np.exp(t - t.max(-1, keepdims=True))
    ...     return p / p.sum(-1, keepdims=True) @ v
    >>> mine = attention_implementation(f, "mine", to_array=np.ndarray.astype, from_array=np.asarray)
    >>> mine.retrieve(np.zeros((1, 2)), np.eye(2), beta=1.0, values=np.array([[0.0], [3.0]]))
    array([[1.5]])
    """
    takes = _parameters(f)
    claimed = attention_capabilities(f) if capabilities is None else capabilities
    for claim, parameter in (("masks", "attn_mask"), ("bias", "attn_mask"), ("causal", "is_causal")):
        if getattr(claimed, claim) and parameter not in takes:
            raise ValueError(f"{name} claims {claim}, but has no parameter {parameter}; expected {SIGNATURE}")
    calls = _Calls(f, name, takes, claimed.strides, returns_log_normalizer)
    return Implementation(
        name=name,
        retrieve=calls.output,
        log_normalizer=calls.log_normalizer if returns_log_normalizer else None,
        capabilities=claimed,
        accuracy=accuracy,
        to_array=to_array,
        from_array=from_array,
        attention=calls.output,
    )


def in_form(target: str, form: str) -> str:
    """A target as it is named to a run, with the form of its callable.

    Built-in names and planted faults have a form of their own.

    Args:
        target: as the command line takes it.
        form: one of :data:`FORMS`.

    Raises:
        ValueError: if the form is unknown.

    >>> in_form("my.kernels:flash", "attention"), in_form("fastpath", "attention")
    ('attention:my.kernels:flash', 'fastpath')
    """
    if form not in FORMS:
        raise ValueError(f"form {form!r} is unknown; expected one of {', '.join(FORMS)}")
    formed = target in BUILTIN or target.startswith((FAULT_PREFIX, ATTENTION_PREFIX))
    return target if form == "retrieval" or formed else ATTENTION_PREFIX + target


def _parameters(f: Callable[..., Any]) -> frozenset[str]:
    """Names of the keyword arguments that may be given to ``f``.

    Raises:
        TypeError: if ``f`` cannot be called as attention kernels are.
    """
    if not callable(f):
        raise TypeError(f"an attention kernel must be callable, got {type(f).__name__}; expected {SIGNATURE}")
    try:
        parameters = inspect.signature(f).parameters
    except (TypeError, ValueError):
        # Functions written in C tell nothing of themselves.
        return ASSUMED
    try:
        inspect.signature(f).bind(0, 0, 0, scale=0)
    except TypeError as error:
        given = inspect.signature(f)
        raise TypeError(
            f"cannot call f{given} as f(q, k, v, scale=...): {error}; expected {SIGNATURE}"
        ) from None
    kinds = {p.kind for p in parameters.values()}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return ASSUMED | parameters.keys()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(n for n, p in parameters.items() if p.kind in named)


@dataclass(frozen=True)
class _Calls:
    """Turns calls of retrieval into calls of ``f``."""

    f: Callable[..., Any]
    name: str
    takes: frozenset[str]
    strides: bool
    pair: bool

    def output(
        self,
        query: Any,
        memory: Any,
        *,
        beta: float,
        values: Any = None,
        keep: Any = None,
        bias: Any = None,
        causal: bool = False,
    ) -> Any:
        """The read-out, ``[..., L, dv]``."""
        source = memory if values is None else values
        result, _, lead = self._call(query, memory, source, beta, keep if bias is None else bias, causal)
        return _as_asked(result, lead, (query.shape[-2], source.shape[-1]))

    def log_normalizer(
        self,
        query: Any,
        memory: Any,
        *,
        beta: float,
        keep: Any = None,
        bias: Any = None,
        causal: bool = False,
    ) -> Any:
        """The log-normalizers, ``[..., L]``."""
        _, result, lead = self._call(query, memory, memory, beta, keep if bias is None else bias, causal)
        return _as_asked(result, lead, (query.shape[-2],))

    def _call(
        self, query: Any, keys: Any, values: Any, scale: float, mask: Any, causal: bool
    ) -> tuple[Any, Any, tuple[int, ...]]:
        """Result, log-normalizers or None, and the leading dimensions they are to have."""
        lead, shared = _leading(query, keys, values, mask)
        q = self._four(query, lead)
        k, v = (self._four(x, shared) for x in (keys, values))
        options: dict[str, Any] = {"scale": scale}
        if mask is not None:
            shape = (*lead, query.shape[-2], keys.shape[-2])
            self._need("attn_mask", "a mask or a bias")
            options["attn_mask"] = self._four(_broadcast(mask, shape), lead)
        if causal:
            self._need("is_causal", "causal masking")
            options["is_causal"] = True
        if shared != lead and "enable_gqa" in self.takes:
            options["enable_gqa"] = True
        result = self.f(q, k, v, **options)
        several = isinstance(result, tuple | list)
        if self.pair and not (several and len(result) == 2):
            raise TypeError(
                f"{self.name} returned {_kind(result)}, expected a pair (result, log-normalizers)"
            )
        if several and not self.pair:
            raise TypeError(
                f"{self.name} returned {_kind(result)}, expected one array; a pair (result, log-normalizers) "
                "is declared by attention_implementation(..., returns_log_normalizer=True)"
            )
        return (*result, lead) if self.pair else (result, None, lead)

    def _need(self, parameter: str, what: str) -> None:
        if parameter not in self.takes:
            raise TypeError(f"{self.name} has no parameter {parameter} for {what}; expected {SIGNATURE}")

    def _four(self, x: Any, lead: tuple[int, ...]) -> Any:
        """``x`` with leading dimensions ``lead``, these as two: batch and head."""
        tail = tuple(x.shape[-2:])
        whole = _broadcast(x, (*lead, *tail))
        laid = whole if len(lead) == 2 else whole.reshape((*_batch_and_head(lead), *tail))
        return laid if self.strides or not hasattr(laid, "contiguous") else laid.contiguous()


def _leading(query: Any, keys: Any, values: Any, mask: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Leading dimensions of the result, and of keys and values: the last one differs for grouped heads."""
    leads = [tuple(x.shape[:-2]) for x in (query, keys, values)]
    if mask is not None and mask.ndim > 2:
        leads.append(tuple(mask.shape[:-2]))
    heads, shared = (lead[-1] if lead else 1 for lead in leads[:2])
    if shared <= 1 or heads <= shared or heads % shared:
        lead = np.broadcast_shapes(*leads)
        return lead, lead
    outer = np.broadcast_shapes(*(lead[:-1] for lead in leads))
    return (*outer, heads), (*outer, shared)


def _broadcast(x: Any, shape: tuple[int, ...]) -> Any:
    if tuple(x.shape) == shape:
        return x
    if hasattr(x, "expand"):
        return x.expand(shape)
    namespace = x.__array_namespace__() if hasattr(x, "__array_namespace__") else np
    return namespace.broadcast_to(x, shape)


def _batch_and_head(lead: tuple[int, ...]) -> tuple[int, int]:
    return math.prod(lead[:-1]), lead[-1] if lead else 1


def _as_asked(result: Any, lead: tuple[int, ...], tail: tuple[int, ...]) -> Any:
    """``result`` with the leading dimensions of the call; as it is where its shape is wrong."""
    fits = tuple(getattr(result, "shape", ())) == (*_batch_and_head(lead), *tail)
    return result.reshape((*lead, *tail)) if fits else result


def _kind(result: Any) -> str:
    return f"a {type(result).__name__}" + (f" of {len(result)}" if isinstance(result, tuple | list) else "")
