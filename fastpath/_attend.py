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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from hopspec.fastpath._arguments import Arguments
from hopspec.fastpath._rescue import Rescued, rescue
from hopspec.fastpath.memory import collapse, row_magnitudes

CHUNK_BYTES = 1 << 24
_FLASH = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)


class Attended(NamedTuple):
    """Output ``[..., L, dv]`` in the query's dtype and log-normalizer ``[..., L]``, at least float32."""

    output: Tensor
    log_normalizer: Tensor


class Visible(NamedTuple):
    """Rows of a memory or of values without those that could spoil the kernel.

    Args:
        rows: ``[..., N, w]``; rows that are masked out or hold a NaN or infinity are zero where they could do
            harm.
        largest: largest absolute entry of the rows that remain, float64 ``[...]``.
        spoiled: which queries see a row that holds a NaN or infinity, ``[..., L or 1]``, or None for none.
        heavy: whether a sum of such rows, each with a weight of up to 1, may leave the range.
    """

    rows: Tensor
    largest: Tensor
    spoiled: Tensor | None
    heavy: bool


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Type in which products of ``dtype`` are summed, and of its log-normalizers."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@dataclass(frozen=True, slots=True)
class Problem:
    """A memory made ready to be queried any number of times.

    Args:
        lead: leading dimensions inside the engine; () where everything but the query is shared, in which case
            queries of all leading dimensions are taken as rows of one matrix.
        memory: the memory, see :class:`Visible`.
        values: what is read out last, or None for the memory itself.
        keep: ``[..., L or 1, N]`` or None.
        beta: see :class:`~hopspec.fastpath._arguments.Arguments`.
        any_kept: rows that keep at least one memory, ``[..., L or 1]``, or None where all do.
        reach: queries whose entries stay below this are safe, float64 ``[...]``.
        least_reach: the least of ``reach``.
    """

    lead: tuple[int, ...]
    memory: Visible
    values: Visible | None
    keep: Tensor | None
    beta: float | Tensor
    any_kept: Tensor | None
    reach: Tensor
    least_reach: float

    @property
    def shared(self) -> bool:
        """Whether all queries are rows of one matrix."""
        return not self.lead

    def rows(self, query: Tensor) -> Tensor:
        """``query`` as the engine takes it."""
        return query.flatten(0, -2) if self.shared else query

    def select(self, chosen: Tensor) -> Problem:
        """The same problem for the given rows only, where all queries are rows of one matrix."""

        def pick(part: Tensor | None, dim: int) -> Tensor | None:
            return part if part is None or part.shape[dim] == 1 else part.index_select(dim, chosen)

        return replace(
            self,
            memory=self.memory._replace(spoiled=pick(self.memory.spoiled, -1)),
            keep=pick(self.keep, -2),
            any_kept=pick(self.any_kept, -1),
        )


def prepare(arguments: Arguments) -> Problem:
    """Bring memory, values and mask into the form the kernels take, once for all updates."""
    patterns = collapse(arguments.patterns, arguments.patterns.dim() - 2)
    values = arguments.values
    values = None if values is None else collapse(values, values.dim() - 2)
    keep = arguments.keep
    if keep is not None:
        keep = collapse(keep, keep.dim() - 1).expand(*(-1,) * (keep.dim() - 1), patterns.shape[-2])
    beta = arguments.beta
    magnitudes, value_magnitudes = arguments.magnitudes, arguments.value_magnitudes
    repeats = math.prod(arguments.query.shape[:-2])
    varying = [t for t in (patterns, values, keep) if t is not None and math.prod(t.shape[:-2]) != 1]
    shared = (
        not varying
        and not (isinstance(beta, Tensor) and beta.numel() != 1)
        and (keep is None or keep.shape[-2] == 1 or repeats == 1)
    )
    if shared:
        patterns = patterns.reshape(patterns.shape[-2:])
        magnitudes = magnitudes.reshape(magnitudes.shape[-1:])
        if values is not None and value_magnitudes is not None:
            values = values.reshape(values.shape[-2:])
            value_magnitudes = value_magnitudes.reshape(value_magnitudes.shape[-1:])
        keep = None if keep is None else keep.reshape(keep.shape[-2:])
        beta = beta.reshape(()) if isinstance(beta, Tensor) else beta
    any_kept = None if keep is None else keep.any(-1)
    if any_kept is not None and bool(any_kept.all()):
        any_kept = None
    memory = _visible(patterns, magnitudes, keep)
    reach = _reach(memory, beta, patterns.dtype)
    return Problem(
        lead=() if shared else arguments.lead,
        memory=memory,
        values=None
        if values is None or value_magnitudes is None
        else _visible(values, value_magnitudes, keep),
        keep=keep,
        beta=beta,
        any_kept=any_kept,
        reach=reach,
        least_reach=float(reach.min()) if reach.numel() else 0.0,
    )


def _visible(rows: Tensor, magnitudes: Tensor, keep: Tensor | None) -> Visible:
    if rows.shape[-2] == 0:
        nothing = torch.zeros(magnitudes.shape[:-1], dtype=torch.float64, device=rows.device)
        return Visible(rows, nothing, None, False)
    if keep is None:
        largest = magnitudes.amax(-1).double()
        top = float(largest.max())
        if math.isfinite(top):
            return Visible(rows, largest, None, _is_heavy(top, rows))
    finite = magnitudes.isfinite()
    seen = finite.new_ones(()) if keep is None else _any_to(keep.any(-2), magnitudes.shape)
    largest = magnitudes.masked_fill(~(finite & seen), 0.0).amax(-1)
    # A masked row must not reach the kernel with more than the kept rows hold: 0 * inf and inf - inf are NaN.
    harmful = ~(magnitudes <= largest.unsqueeze(-1))
    if bool(harmful.any()):
        rows = rows.masked_fill(harmful.unsqueeze(-1), 0.0)
    bad = ~finite & seen
    spoiled = None
    if bool(bad.any()):
        columns = bad.reshape(-1, bad.shape[-1]).any(0).nonzero().squeeze(-1)
        bad = bad[..., columns].unsqueeze(-2)
        spoiled = (bad if keep is None else bad & keep[..., columns]).any(-1)
    largest = largest.double()
    return Visible(rows, largest, spoiled, _is_heavy(float(largest.max()), rows))


def _is_heavy(largest: float, rows: Tensor) -> bool:
    return not largest * rows.shape[-2] < torch.finfo(accumulation_dtype(rows.dtype)).max / 4


def _any_to(flags: Tensor, shape: Sequence[int]) -> Tensor:
    """``flags`` reduced by "any" to ``shape``, to which the result broadcasts."""
    while flags.dim() > len(shape):
        flags = flags.any(0)
    for dim in range(-flags.dim(), -1):
        if shape[dim] == 1:
            flags = flags.any(dim, keepdim=True)
    return flags


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
        certified: whether every finite query is known to be safe, which spares a look at the results.
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
        magnitude = row_magnitudes(query).double()
        flags = (problem.memory.spoiled, None if read is None else read.spoiled, problem.any_kept)
        if device.type == "cpu" and all(flag is None for flag in flags) and (read is None or not read.heavy):
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

    for found in wanting.any(-1).nonzero().tolist() if lead else [[]]:
        index = tuple(found)
        rows = wanting[index].nonzero().squeeze(-1)
        keep = None if problem.keep is None else group(problem.keep, 2, index)
        beta = problem.beta
        with torch.no_grad():
            rescued = rescue(
                group(query, 2, index)[rows],
                group(problem.memory.rows, 2, index),
                group(beta, 0, index) if isinstance(beta, Tensor) else beta,
                keep if keep is None or keep.shape[0] == 1 else keep[rows],
                values=None if read is None else group(read.rows, 2, index),
                weights=weights,
                energy=energy,
            )
        yield index, rows, rescued


class _Inputs(NamedTuple):
    """What a kernel takes, all of one rank; ``keep`` and a tensor beta have size 1 where they repeat."""

    query: Tensor
    memory: Tensor
    read: Tensor | None
    keep: Tensor | None
    beta: float | Tensor

    def tensors(self) -> list[Tensor]:
        return [field for field in self if isinstance(field, Tensor)]

    def map(self, change: Callable[[Tensor], Tensor]) -> _Inputs:
        return _Inputs(
            change(self.query),
            change(self.memory),
            None if self.read is None else change(self.read),
            None if self.keep is None else change(self.keep),
            change(self.beta) if isinstance(self.beta, Tensor) else self.beta,
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
    flash = _FLASH is not None and query.device.type == "cpu" and read is not None and not differentiated
    if flash and target is not None:
        common = max(1, query.shape[-1], width)
        query, memory, target = (_dense(_widen(tensor, common)) for tensor in (query, memory, target))
    else:
        accumulation = accumulation_dtype(query.dtype)
        dtype = query.dtype
        query, memory = query.to(accumulation), memory.to(accumulation)
        target = None if target is None else target.to(accumulation)
    beta = problem.beta
    inputs = _Inputs(
        query, memory, target, problem.keep, beta[..., None, None] if isinstance(beta, Tensor) else beta
    ).map(lambda tensor: tensor[(None,) * (rank - tensor.dim())])
    lead = (1,) * (rank - 2 - len(problem.lead)) + problem.lead
    output, log_normalizer = _over_leading(inputs, lead, _flash if flash else _eager)
    output = output[..., :width] if flash else output.to(dtype)
    if output.dtype in (torch.float16, torch.bfloat16) and read is not None:
        # A convex combination of the largest numbers may be rounded past the largest one.
        limit = torch.finfo(output.dtype).max
        output = output.clamp(-limit, limit)
    if not problem.lead:
        return Attended(output[0, 0], log_normalizer[0, 0])
    shape = (*problem.lead, query.shape[-2])
    return Attended(output.reshape(*shape, output.shape[-1]), log_normalizer.reshape(shape))


def _widen(tensor: Tensor, width: int) -> Tensor:
    missing = width - tensor.shape[-1]
    return pad(tensor, (0, missing)) if missing else tensor


def _dense(tensor: Tensor) -> Tensor:
    """Rows of adjacent numbers that do not overlap: the kernel reads anything else wrongly."""
    regular = tensor.stride(-1) == 1 and tensor.stride(-2) >= tensor.shape[-1]
    return tensor if regular else tensor.clone(memory_format=torch.contiguous_format)


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
    query, memory, read, keep, beta = inputs
    assert _FLASH is not None
    assert read is not None
    batch, heads = _extent(inputs, 0), _extent(inputs, 1)
    mask = None
    if keep is not None:
        mask = torch.zeros(keep.shape, dtype=query.dtype, device=query.device).masked_fill_(~keep, -math.inf)
    output, log_normalizer = _FLASH(
        query.expand(batch, heads, -1, -1),
        memory.expand(batch, heads, -1, -1),
        read.expand(batch, heads, -1, -1),
        0.0,
        False,
        attn_mask=mask,
        scale=float(beta),
    )
    return Attended(output, log_normalizer)


def _eager(inputs: _Inputs) -> Attended:
    """The same association from plain tensor operations, on any device; without ``read``, the weights."""
    query, memory, read, keep, beta = inputs
    logits = _shared_matmul(query, memory.mT) * (beta.to(query.dtype) if isinstance(beta, Tensor) else beta)
    if keep is not None:
        logits = logits.masked_fill(~keep, -math.inf)
    peak = logits.detach().amax(-1, keepdim=True)
    peak = peak.masked_fill(peak == -math.inf, 0.0)
    weights = (logits - peak).exp()
    total = weights.sum(-1, keepdim=True)
    total = total.masked_fill(total == 0, 1.0)
    output = weights / total if read is None else _shared_matmul(weights, read) / total
    return Attended(output, (peak + total.log()).squeeze(-1))


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
