"""The engine: one association with the whole memory, by PyTorch's own kernels.

On CPU this is PyTorch's flash kernel, which returns the log-normalizer with the output and needs memory for a
block of scores only. It asks for four dimensions, a contiguous last one, equal widths of memory and values,
and an additive mask. It has no answer for an empty memory (it ends the process), calls the log-normalizer of
an empty row 0, lets a NaN in a masked memory through, and may drop scores that overflowed to -inf or became
NaN. So what leaves this module was either computed from scores certified to lie within range, or by
:mod:`hopspec.fastpath._rescue`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from hopspec.fastpath._arguments import Arguments
from hopspec.fastpath._flash import available, flash
from hopspec.fastpath._rescue import Rescued, Scaled, rescue
from hopspec.fastpath._stored import pack, row_magnitudes
from hopspec.fastpath._visible import Visible

CHUNK_BYTES = 1 << 24


class Attended(NamedTuple):
    """Output ``[..., L, dv]`` in the query's dtype and log-normalizer ``[..., L]``, at least float32."""

    output: Tensor
    log_normalizer: Tensor


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Type in which products of ``dtype`` are summed, and of its log-normalizers."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@dataclass(frozen=True, slots=True)
class Problem:
    """A memory made ready to be queried any number of times.

    Args:
        lead: leading dimensions inside the engine; () where everything but the query is shared, in which case
            queries of all leading dimensions are taken as rows of one matrix.
        memory: the memory, see :class:`~hopspec.fastpath._visible.Visible`.
        values: what is read out last, or None for the memory itself.
        beta: see :class:`~hopspec.fastpath._arguments.Arguments`.
        reach: queries whose entries stay below this are safe, float64 ``[...]``.
        least_reach: the least of ``reach``.
        batch_invariant: whether the bits of a row must not depend on the others.
    """

    lead: tuple[int, ...]
    memory: Visible
    values: Visible | None
    beta: float | Tensor
    reach: Tensor
    least_reach: float
    batch_invariant: bool = False

    @property
    def keep(self) -> Tensor | None:
        """Which memories take part, ``[..., L or 1, N]``, or None for all."""
        return self.memory.keep

    @property
    def any_kept(self) -> Tensor | None:
        """Rows that keep at least one memory, ``[..., L or 1]``, or None where all do."""
        return self.memory.any_kept

    @property
    def shared(self) -> bool:
        """Whether all queries are rows of one matrix."""
        return not self.lead

    def rows(self, query: Tensor) -> Tensor:
        """``query`` as the engine takes it."""
        return query.flatten(0, -2) if self.shared else query

    def select(self, chosen: Tensor) -> Problem:
        """The same problem for the given rows only, where all queries are rows of one matrix."""
        values = None if self.values is None else self.values.select(chosen)
        return replace(self, memory=self.memory.select(chosen), values=values)


def prepare(arguments: Arguments, *, batch_invariant: bool = False) -> Problem:
    """Bring memory, values and mask into the form the kernels take, once for all updates."""
    memory = arguments.memory.under(arguments.keep)
    values = None if arguments.values is None else arguments.values.under(arguments.keep)
    beta = arguments.beta
    parts = (memory.rows, memory.keep, None if values is None else values.rows)
    # Leading dimensions that hold a single matrix are gone from all of these.
    shared = (
        all(part is None or part.dim() == 2 for part in parts)
        and not (isinstance(beta, Tensor) and beta.numel() != 1)
        and (memory.keep is None or memory.keep.shape[-2] == 1 or math.prod(arguments.query.shape[:-2]) == 1)
    )
    if shared and isinstance(beta, Tensor):
        beta = beta.reshape(())
    reach = _reach(memory, beta, memory.rows.dtype)
    return Problem(
        lead=() if shared else arguments.lead,
        memory=memory,
        values=values,
        beta=beta,
        reach=reach,
        least_reach=float(reach.min()) if reach.numel() else 0.0,
        batch_invariant=batch_invariant,
    )


def _reach(memory: Visible, beta: float | Tensor, dtype: torch.dtype) -> Tensor:
    """Queries whose entries stay below this cannot take the kernel out of its range, float64 ``[...]``.

    Partial sums of a score are at most ``d * max|xi_j| * max|x_ij|``, logits that times ``|beta|``. A quarter
    of the largest number leaves room for rounding.
    """
    limit = torch.finfo(accumulation_dtype(dtype)).max / 4
    scale = _beta_magnitude(memory, beta)
    factor = memory.largest * max(1, memory.rows.shape[-1])
    reach = limit / torch.maximum(factor, factor * scale)
    if dtype != torch.float64:
        # Below the normal range the kernel's float32 copy of beta loses precision or vanishes.
        tiny = torch.finfo(torch.float32).tiny
        reach = torch.where(scale >= tiny, reach, torch.minimum(reach, 2.0**-40 / (factor * scale)))
    return torch.where(scale < limit, reach, 0.0)


def _beta_magnitude(memory: Visible, beta: float | Tensor) -> Tensor:
    if isinstance(beta, Tensor):
        return beta.detach().abs()
    return torch.full((), abs(beta), dtype=torch.float64, device=memory.rows.device)


def hull_is_safe(problem: Problem) -> bool:
    """Whether every query in the convex hull of the memory is within :attr:`Problem.reach`."""
    # Twice, because a rounded state may lie just outside the hull.
    return not problem.memory.heavy and bool((2 * problem.memory.largest < problem.reach).all())


def largest_logits(problem: Problem, query: Tensor) -> Tensor:
    """A bound on the magnitude of the logits of each query, float64 ``[..., L]``."""
    memory = problem.memory
    factor = memory.largest * max(1, memory.rows.shape[-1]) * _beta_magnitude(memory, problem.beta)
    return row_magnitudes(query).double() * factor.unsqueeze(-1)


def attend(
    problem: Problem,
    query: Tensor,
    *,
    read_values: bool = False,
    certified: bool = False,
    differentiable_log_normalizer: bool = False,
) -> Attended:
    """One association, read out of the memory or the values (clauses MHN-UPD-3, MHN-UPD-4).

    Args:
        problem: the prepared memory.
        query: as :meth:`Problem.rows` gives it, ``[..., L, d]``.
        read_values: whether to read out of ``problem.values`` where there are any.
        certified: whether every query is known to be finite and safe, or its result of no interest, which
            spares a look at the results.
        differentiable_log_normalizer: whether a gradient of the log-normalizer is wanted, which PyTorch's
            flash kernel does not offer.
    """
    read = problem.values if read_values and problem.values is not None else problem.memory
    return _association(
        problem,
        query,
        read,
        certified=certified,
        differentiable_log_normalizer=differentiable_log_normalizer,
    )


def weigh(problem: Problem, query: Tensor) -> Attended:
    """The weights themselves, ``[..., L, N]``, in place of the output (clause MHN-UPD-2)."""
    return _association(problem, query, None)


def _association(
    problem: Problem,
    query: Tensor,
    read: Visible | None,
    *,
    certified: bool = False,
    differentiable_log_normalizer: bool = False,
) -> Attended:
    count = problem.memory.rows.shape[-2]
    width = count if read is None else read.rows.shape[-1]
    shape = (*problem.lead, query.shape[-2]) if problem.lead else query.shape[:-1]
    device = query.device
    if count == 0 or math.prod(shape) == 0:
        # Zero whatever the query holds, yet linked to it, so that its gradient, zero too, exists.
        zero = query.sum().masked_fill(torch.ones((), dtype=torch.bool, device=device), 0.0)
        empty = torch.full(shape, -math.inf, dtype=accumulation_dtype(query.dtype), device=device)
        return Attended(zero.expand(*shape, width).clone(), empty)
    with torch.autocast(device.type, enabled=False):
        attended = _kernel(problem, query, read, differentiable_log_normalizer)
        flags = (problem.memory.spoiled, None if read is None else read.spoiled, problem.any_kept)
        unmarked = all(flag is None for flag in flags)
        if certified and unmarked:
            return attended
        magnitude = row_magnitudes(query).double()
        if device.type == "cpu" and not certified and unmarked and (read is None or not read.heavy):
            within = float(magnitude.max()) < problem.least_reach
            if within and math.isfinite(float(attended.log_normalizer.detach().sum())):
                return attended
        return _repair(problem, query, read, attended, magnitude, certified=certified)


def _repair(
    problem: Problem,
    query: Tensor,
    read: Visible | None,
    attended: Attended,
    magnitude: Tensor,
    *,
    certified: bool,
) -> Attended:
    """Give every row the kernel could not compute the value the specification asks for."""
    output, log_normalizer = attended
    spoiled = ~magnitude.isfinite()
    if problem.memory.spoiled is not None:
        spoiled = spoiled | problem.memory.spoiled
    empty = torch.zeros((), dtype=torch.bool, device=query.device)
    if problem.any_kept is not None:
        empty = ~problem.any_kept
    if not certified:
        trusted = (magnitude < problem.reach.unsqueeze(-1)) & log_normalizer.isfinite()
        if read is not None and read.heavy:
            trusted = torch.zeros_like(trusted)
        wanting = (~trusted & ~spoiled & ~empty).expand(log_normalizer.shape)
        for index, rows, rescued in rescue_rows(problem, query, wanting, read, weights=read is None):
            if output.requires_grad:
                raise NotImplementedError(
                    "query, memory or beta is so large that scores leave the range of their type; "
                    "gradients of such rows are not available"
                )
            result = rescued.weights if rescued.output is None else rescued.output
            assert result is not None
            output[index][rows] = result
            log_normalizer[index][rows] = rescued.log_normalizer.to(log_normalizer.dtype)
    log_normalizer = log_normalizer.masked_fill(spoiled, math.nan).masked_fill(empty, -math.inf)
    if read is not None and read.spoiled is not None:
        spoiled = spoiled | read.spoiled
    output = output.masked_fill(spoiled.unsqueeze(-1), math.nan).masked_fill(empty.unsqueeze(-1), 0.0)
    return Attended(output, log_normalizer)


def rescue_rows(
    problem: Problem,
    query: Tensor,
    wanting: Tensor,
    read: Visible | None = None,
    *,
    weights: bool = False,
    energy: bool = False,
) -> Iterator[tuple[tuple[int, ...], Tensor, Rescued]]:
    """Rescue the rows flagged in ``wanting``, one group of leading dimensions at a time.

    Yields:
        The leading index, the row numbers, and what was computed for those rows.
    """
    if not bool(wanting.any()):
        return
    lead = wanting.shape[:-1]

    def group(tensor: Tensor, trailing: int, index: tuple[int, ...]) -> Tensor:
        return tensor.expand(*lead, *tensor.shape[tensor.dim() - trailing :])[index]

    memory = problem.memory.stored
    for found in wanting.any(-1).nonzero().tolist() if lead else [[]]:
        index = tuple(found)
        chosen = wanting[index].nonzero().squeeze(-1)
        keep = None if problem.keep is None else group(problem.keep, 2, index)
        beta = problem.beta
        for rows in chosen.unsqueeze(1).unbind() if problem.batch_invariant else (chosen,):
            with torch.no_grad():
                rescued = rescue(
                    group(query, 2, index)[rows],
                    group(memory.rows, 2, index),
                    group(beta, 0, index) if isinstance(beta, Tensor) else beta,
                    keep if keep is None or keep.shape[0] == 1 else keep[rows],
                    values=None if read is None else group(read.rows, 2, index),
                    weights=weights,
                    half_squares=Scaled(*(group(part, 2, index) for part in memory.scaled_half_squares))
                    if energy
                    else None,
                    ordinary=memory.ordinary,
                )
            yield index, rows, rescued


class _Inputs(NamedTuple):
    """What a kernel takes, all of one rank; ``keep`` and a tensor beta have size 1 where they repeat."""

    query: Tensor
    memory: Tensor
    read: Tensor | None
    keep: Tensor | None
    beta: float | Tensor
    batch_invariant: bool

    def tensors(self) -> list[Tensor]:
        return [field for field in self if isinstance(field, Tensor)]

    def map(self, change: Callable[[Tensor], Tensor]) -> _Inputs:
        return _Inputs(
            change(self.query),
            change(self.memory),
            None if self.read is None else change(self.read),
            None if self.keep is None else change(self.keep),
            change(self.beta) if isinstance(self.beta, Tensor) else self.beta,
            self.batch_invariant,
        )


def _kernel(
    problem: Problem, query: Tensor, read: Visible | None, differentiable_log_normalizer: bool
) -> Attended:
    rank = max(2, len(problem.lead)) + 2
    memory = problem.memory.rows
    target = None if read is None else read.rows
    differentiated = torch.is_grad_enabled() and any(
        isinstance(tensor, Tensor) and tensor.requires_grad
        for tensor in ((query, memory, problem.beta) if differentiable_log_normalizer else (problem.beta,))
    )
    width = 0 if read is None else read.rows.shape[-1]
    by_flash = available() and query.device.type == "cpu" and read is not None and not differentiated
    if problem.batch_invariant and not by_flash:
        where = "with a gradient of the log-normalizer or beta" if differentiated else f"on {query.device}"
        raise NotImplementedError(f"batch_invariant is not available {where}")
    if by_flash and read is not None:
        common = max(1, query.shape[-1], width)
        query = pack(query, common)
        memory, target = problem.memory.stored.packed(common), read.stored.packed(common)
    else:
        accumulation = accumulation_dtype(query.dtype)
        dtype = query.dtype
        query, memory = query.to(accumulation), memory.to(accumulation)
        target = None if target is None else target.to(accumulation)
    beta = problem.beta
    inputs = _Inputs(
        query,
        memory,
        target,
        problem.keep,
        beta[..., None, None] if isinstance(beta, Tensor) else beta,
        problem.batch_invariant,
    ).map(lambda tensor: tensor[(None,) * (rank - tensor.dim())])
    lead = (1,) * (rank - 2 - len(problem.lead)) + problem.lead
    output, log_normalizer = _over_leading(inputs, lead, _flash if by_flash else _eager)
    output = output[..., :width] if by_flash else output.to(dtype)
    if output.dtype in (torch.float16, torch.bfloat16) and read is not None:
        # A convex combination of the largest numbers may be rounded past the largest one.
        limit = torch.finfo(output.dtype).max
        output = output.clamp(-limit, limit)
    if not problem.lead:
        return Attended(output[0, 0], log_normalizer[0, 0])
    shape = (*problem.lead, query.shape[-2])
    return Attended(output.reshape(*shape, output.shape[-1]), log_normalizer.reshape(shape))


def _over_leading(inputs: _Inputs, lead: tuple[int, ...], kernel: Callable[[_Inputs], Attended]) -> Attended:
    """Reduce the leading dimensions to two, by views where the strides allow it and by a loop elsewhere.

    A memory shared along a dimension is never copied along it.
    """
    if len(lead) == 2:
        return _in_pieces(inputs, kernel)
    if all(_mergeable(tensor, lead) for tensor in inputs.tensors()):
        merged = inputs.map(lambda tensor: tensor.flatten(0, 1))
        return _over_leading(merged, (lead[0] * lead[1], *lead[2:]), kernel)
    parts = []
    for index in range(lead[0]):

        def one(tensor: Tensor, index: int = index) -> Tensor:
            return tensor[index if tensor.shape[0] > 1 else 0]

        parts.append(_over_leading(inputs.map(one), lead[1:], kernel))
    return Attended(
        torch.stack([part.output.reshape(*lead[1:], *part.output.shape[-2:]) for part in parts]),
        torch.stack([part.log_normalizer.reshape(*lead[1:], part.output.shape[-2]) for part in parts]),
    )


def _mergeable(tensor: Tensor, lead: tuple[int, ...]) -> bool:
    first, second = tensor.shape[:2]
    if (first, second) == (1, 1) or lead[0] == 1:
        return True
    return (first, second) == lead[:2] and tensor.stride(0) == second * tensor.stride(1)


def _in_pieces(inputs: _Inputs, kernel: Callable[[_Inputs], Attended]) -> Attended:
    """Run a kernel on four-dimensional inputs in pieces small enough for what it allocates on the side."""
    beta = inputs.beta
    if isinstance(beta, Tensor) and kernel is _flash:
        varying = [dim for dim in (0, 1) if beta.shape[dim] > 1]
        if varying:
            return _split(inputs, varying[0], _extent(inputs, varying[0]), kernel)
        inputs = inputs._replace(beta=float(beta))
    cost = _flash_bytes(inputs) if kernel is _flash else _eager_bytes(inputs)
    if cost > CHUNK_BYTES:
        for dim in range(3):
            # The flash kernel pays for the mask only, so only a dimension of the mask is worth splitting.
            size = _extent(inputs, dim)
            if kernel is _flash and (inputs.keep is None or inputs.keep.shape[dim] == 1):
                continue
            if size > 1:
                return _split(inputs, dim, min(size, -(-cost // CHUNK_BYTES)), kernel)
    return kernel(inputs)


def _extent(inputs: _Inputs, dim: int) -> int:
    if dim == 2:
        return inputs.query.shape[2]
    return max(tensor.shape[dim] for tensor in inputs.tensors())


def _split(inputs: _Inputs, dim: int, pieces: int, kernel: Callable[[_Inputs], Attended]) -> Attended:
    extent = _extent(inputs, dim)
    step = -(-extent // pieces)
    output: Tensor | None = None
    log_normalizer: Tensor | None = None
    parts: list[Attended] = []
    for start in range(0, extent, step):
        size = min(step, extent - start)

        def take(tensor: Tensor, start: int = start, size: int = size) -> Tensor:
            return tensor if tensor.shape[dim] == 1 else tensor.narrow(dim, start, size)

        if dim == 2:
            keep = None if inputs.keep is None else take(inputs.keep)
            part = _in_pieces(inputs._replace(query=take(inputs.query), keep=keep), kernel)
        else:
            part = _in_pieces(inputs.map(take), kernel)
        if part.output.requires_grad or part.log_normalizer.requires_grad:
            parts.append(part)
            continue
        # Written in place rather than joined at the end, which would hold everything twice.
        if output is None or log_normalizer is None:
            shape = list(part.output.shape)
            shape[dim] = extent
            output = part.output.new_empty(shape)
            log_normalizer = part.log_normalizer.new_empty(shape[:3])
        output.narrow(dim, start, size).copy_(part.output)
        log_normalizer.narrow(dim, start, size).copy_(part.log_normalizer)
    if output is None or log_normalizer is None:
        return Attended(
            torch.cat([part.output for part in parts], dim),
            torch.cat([part.log_normalizer for part in parts], dim),
        )
    return Attended(output, log_normalizer)


def _flash_bytes(inputs: _Inputs) -> int:
    return 0 if inputs.keep is None else inputs.keep.numel() * inputs.query.element_size()


def _eager_bytes(inputs: _Inputs) -> int:
    batch = _extent(inputs, 0) * _extent(inputs, 1)
    # Logits, their masked copy and the exponentials live at the same time.
    return 3 * batch * inputs.query.shape[2] * inputs.memory.shape[2] * inputs.query.element_size()


def _flash(inputs: _Inputs) -> Attended:
    query, memory, read, keep, beta, batch_invariant = inputs
    assert read is not None
    batch, heads = _extent(inputs, 0), _extent(inputs, 1)
    mask = None
    if keep is not None:
        mask = torch.zeros(keep.shape, dtype=query.dtype, device=query.device).masked_fill_(~keep, -math.inf)
    output, log_normalizer = flash(
        query.expand(batch, heads, -1, -1),
        memory.expand(batch, heads, -1, -1),
        read.expand(batch, heads, -1, -1),
        mask,
        float(beta),
        batch_invariant,
    )
    return Attended(output, log_normalizer)


def _eager(inputs: _Inputs) -> Attended:
    """The same association from plain tensor operations, on any device; without ``read``, the weights."""
    query, memory, read, keep, beta, _ = inputs
    logits = _shared_matmul(query, memory.mT) * (beta.to(query.dtype) if isinstance(beta, Tensor) else beta)
    if keep is not None:
        logits = logits.masked_fill(~keep, -math.inf)
    peak = logits.detach().amax(-1, keepdim=True)
    peak = peak.masked_fill(peak == -math.inf, 0.0)
    weights = (logits - peak).exp()
    total = weights.sum(-1, keepdim=True)
    total = total.masked_fill(total == 0, 1.0)
    output = weights / total if read is None else _shared_matmul(weights, read) / total
    log_normalizer = (peak + total.log()).squeeze(-1)
    if log_normalizer.shape != output.shape[:-1]:
        # Only what is read out has these leading dimensions.
        log_normalizer = log_normalizer.expand(output.shape[:-1]).contiguous()
    return Attended(output, log_normalizer)


def _shared_matmul(rows: Tensor, matrix: Tensor) -> Tensor:
    """``rows @ matrix`` in four dimensions; a matrix shared along a dimension is not copied along it."""
    if matrix.shape[0] == 1 and rows.shape[0] > 1:
        folded = rows.transpose(0, 1).flatten(1, 2).unsqueeze(0)
        product = _shared_matmul(folded, matrix)
        heads, width = product.shape[1], product.shape[-1]
        return product.reshape(heads, rows.shape[0], rows.shape[2], width).transpose(0, 1)
    if matrix.shape[1] == 1 and rows.shape[1] > 1:
        return (rows.flatten(1, 2).unsqueeze(1) @ matrix).reshape(*rows.shape[:3], matrix.shape[-1])
    return rows @ matrix
