"""Which calls the Triton kernels serve, and what they need of the arguments.

The kernels take the memory as it was given: masked and non-finite rows are dealt with in them, and rows
whose numbers leave the range of float32 are computed anew in float64, on the device and without looking at
any result here. All other calls are served by :mod:`hopspec.fastpath._attend`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from hopspec.fastpath._arguments import Arguments
from hopspec.fastpath._stored import matrix_if_one
from hopspec.fastpath.triton.tiles import MOST_WIDTH

if TYPE_CHECKING:
    from hopspec.fastpath.triton.launch import Attended, Engine, Operands, Walked

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)

_forced: Engine | None = None


@contextmanager
def forced(engine: Engine) -> Iterator[None]:
    """Serve what can be served by ``engine``, in this process, on any device; for verification."""
    global _forced  # noqa: PLW0603  (an argument would have to pass through every function in between)
    before, _forced = _forced, engine
    try:
        yield
    finally:
        _forced = before


def is_forced() -> bool:
    """Whether the kernels serve tensors of the CPU too."""
    return _forced is not None


class Route(NamedTuple):
    """Arguments as the kernels take them, and what runs the kernels.

    Args:
        engine: what runs them.
        operands: the arguments; where everything but the query is shared, its rows form one matrix.
        values: what is read out last, or None for the memory.
    """

    engine: Engine
    operands: Operands
    values: Tensor | None

    def at(self, query: Tensor) -> Route:
        """The same for other queries, of the shape of those in :attr:`operands`."""
        return self._replace(operands=self.operands._replace(query=query))

    def attend(self, *, read_values: bool = False) -> Attended:
        """Update (or what is read out) and log-normalizer; see :func:`hopspec.fastpath.triton.launch.attend`.

        Args:
            read_values: whether to read out of the values, where there are any.
        """
        from hopspec.fastpath.triton.launch import attend  # noqa: PLC0415

        return attend(self.engine, self.operands._replace(values=self.values if read_values else None))

    def excess(self, wanted: Tensor) -> Tensor:
        """Some rows anew, for their energy; see :func:`hopspec.fastpath.triton.launch.excess`."""
        from hopspec.fastpath.triton.launch import excess  # noqa: PLC0415

        return excess(self.engine, self.operands, wanted)

    def walk(self, eps: float, most: int) -> Walked:
        """Settle every query; see :func:`hopspec.fastpath.triton.launch.walk`."""
        from hopspec.fastpath.triton.launch import walk  # noqa: PLC0415

        return walk(self.engine, self.operands, eps, most)


def route(arguments: Arguments, kernel: str, *, batch_invariant: bool = False) -> Route | None:
    """How the Triton kernels serve a call, or None where they do not.

    Args:
        arguments: of the call.
        kernel: ``"attend"`` or ``"settle"``.
        batch_invariant: whether that was asked for; the kernels do not offer it.
    """
    query, memory = arguments.query, arguments.memory.stored.rows
    if _forced is None and query.device.type != "cuda":
        return None
    values = None if arguments.values is None else arguments.values.stored.rows
    widest = max(query.shape[-1], 0 if values is None else values.shape[-1])
    tensors = [t for t in (query, memory, values, arguments.beta) if isinstance(t, Tensor)]
    if batch_invariant or query.dtype not in _DTYPES or widest > MOST_WIDTH:
        return None
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return None
    engine = _forced
    if engine is None:
        from hopspec.fastpath.triton.rule import engine_for  # noqa: PLC0415

        if (engine := engine_for(query, kernel)) is None:
            return None
    return _routed(engine, arguments, memory, values)


def _routed(engine: Engine, arguments: Arguments, memory: Tensor, values: Tensor | None) -> Route:
    from hopspec.fastpath.triton.launch import Operands  # noqa: PLC0415

    query, keep, lead = arguments.query, arguments.keep, arguments.lead
    beta = torch.as_tensor(arguments.beta, dtype=torch.float64)
    if beta.device != query.device:
        # Filled in on the device: nothing is copied there, so nothing is waited for.
        beta = torch.full((), arguments.beta, dtype=torch.float64, device=query.device)  # type: ignore[arg-type]
    keep = None if keep is None else matrix_if_one(keep)
    shared = (
        memory.dim() == 2
        and (values is None or values.dim() == 2)
        and beta.numel() == 1
        and (keep is None or (keep.dim() == 2 and (keep.shape[0] == 1 or math.prod(query.shape[:-2]) == 1)))
    )
    if shared:
        query, lead, beta = query.reshape(-1, query.shape[-1]), (), beta.reshape(())
    return Route(engine, Operands(query, memory, None, keep, beta, lead), values)
