"""A right kernel in small overridable pieces: every fault is a subclass that overrides one of them.

It is a blocked online softmax: keys are taken in tiles, and the sums over earlier tiles are rescaled whenever
the running maximum grows. It computes in float64 whatever the dtype of its inputs, which are never float64,
so that none of its sums can overflow; only exponentials are rounded to float32, and results to storage.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hopspec.properties.models import MODELS
from hopspec.types import Capabilities, Certificate, Evaluated, Implementation, Proof, Settled, Status

__all__ = ["DTYPES", "Held", "Inputs", "Kernel", "Linear", "Step", "Sums", "output_dtype"]

DTYPES = ("float32", "bfloat16", "float16")
DEFAULT_EPS = {torch.float32: 1e-4, torch.float16: 2.0**-8, torch.bfloat16: 2.0**-6}
RUNNING = -1


def output_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of log-normalizers, energies and residuals (clause MHN-DOM-3)."""
    return torch.promote_types(dtype, torch.float32)


@dataclass(frozen=True)
class Inputs:
    """Checked inputs, in float64 with non-finite rows set to zero.

    Args:
        query: ``[..., L, d]``.
        memory: ``[..., N, d]``.
        values: ``[..., N, dv]``.
        kept: ``[..., L, N]``.
        beta: ``[...]``.
        spoilt: rows whose results are NaN, ``[..., L]``.
        storage: dtype of the query as it was given.
    """

    query: Tensor
    memory: Tensor
    values: Tensor
    kept: Tensor
    beta: Tensor
    spoilt: Tensor
    storage: torch.dtype

    @property
    def sharpness(self) -> Tensor:
        """``|beta|`` beside scores ``[..., L, N]``."""
        return self.beta.abs()[..., None, None]


class Held(NamedTuple):
    """A prepared memory.

    Args:
        memory: ``[..., N, d]``.
        values: ``[..., N, dv]`` or None.
        keep: broadcasts to ``[..., L, N]``, or None.
    """

    memory: Tensor
    values: Tensor | None
    keep: Tensor | None


@dataclass(frozen=True)
class Sums:
    """What one pass over the memory leaves behind.

    Args:
        base: what was subtracted from the scores, ``[..., L, 1]``.
        total: sum of the exponentials, ``[..., L, 1]``.
        weighted: the same sum with values as factors, ``[..., L, dv]``.
    """

    base: Tensor
    total: Tensor
    weighted: Tensor


@dataclass(frozen=True)
class Step:
    """One step of settling, as the stop rule sees it.

    Args:
        old: state before, ``[..., L, d]``.
        new: state after.
        residual: length of the step, ``[..., L]``.
        eps: stop threshold.
        inputs: the inputs with ``old`` as query.
    """

    old: Tensor
    new: Tensor
    residual: Tensor
    eps: float
    inputs: Inputs


@dataclass(frozen=True)
class Linear:
    """The update near each state, as a certificate sees it.

    Args:
        residual: ``x - T(x)``, ``[..., L, d]``.
        error: bound on its error, ``[..., L]``.
        slope: beta times the largest distance of a memory from the update, ``[..., L]``.
        jacobian: ``[..., L, d, d]``.
        largest: bound on its largest eigenvalue, ``[..., L]``.
        least: lower bound on the same.
    """

    residual: Tensor
    error: Tensor
    slope: Tensor
    jacobian: Tensor
    largest: Tensor
    least: Tensor


class Kernel:
    """Retrieval, log-normalizer, energy, evaluation, association and settling, as the specification says."""

    block: ClassVar[int] = 32

    # Arguments

    def check(self, query: Tensor, memory: Tensor, values: Tensor | None, keep: Tensor | None) -> None:
        """Raise for arguments that fit no call (clause MHN-DOM-4)."""
        for name, patterns in (("query", query), ("memory", memory)):
            if patterns.ndim < 2:
                raise ValueError(f"{name} must have at least 2 dimensions, got shape {tuple(patterns.shape)}")
        if query.dtype != memory.dtype or query.dtype not in DEFAULT_EPS:
            raise TypeError(
                f"query and memory must both be {' or '.join(DTYPES)}, got {query.dtype} and {memory.dtype}"
            )
        if query.shape[-1] != memory.shape[-1]:
            raise ValueError(
                f"query has patterns of length {query.shape[-1]}, memory of length {memory.shape[-1]}"
            )
        if values is not None and (values.ndim < 2 or values.shape[-2] != memory.shape[-2]):
            raise ValueError(
                f"values must have shape [..., {memory.shape[-2]}, dv], got {tuple(values.shape)}"
            )
        if keep is None:
            return
        if keep.dtype != torch.bool:
            raise TypeError(f"keep must be boolean, got {keep.dtype}")
        wanted = (query.shape[-2], memory.shape[-2])
        given = keep.shape[-2:]
        if any(size not in (1, full) for size, full in zip(reversed(given), reversed(wanted), strict=False)):
            raise ValueError(
                f"keep must broadcast to [..., {wanted[0]}, {wanted[1]}], got shape {tuple(keep.shape)}"
            )

    def check_beta(self, beta: float | Tensor, *, positive: bool = False) -> Tensor:
        """Beta as a float64 tensor; raises where it is not finite (or not positive)."""
        if not isinstance(beta, Tensor | Real):
            raise TypeError(f"beta must be a number or a tensor, got {type(beta).__name__}")
        wide = torch.as_tensor(beta, dtype=torch.float64)
        numbers = wide.flatten().tolist()
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"beta must be finite, got {beta}")
        if positive and not all(number > 0 for number in numbers):
            raise ValueError(f"beta must be positive here, got {beta}")
        return wide

    def temperature(self, beta: Tensor, width: int) -> Tensor:
        """The beta that is used; ``width`` is d."""
        return beta

    def read(self, patterns: Tensor) -> Tensor:
        """Patterns as they are stored, whatever their strides, in float64."""
        return patterns.double()

    def mask(self, keep: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        """Which memory takes part for which query, ``[..., L, N]``."""
        if keep is None:
            return torch.ones(shape, dtype=torch.bool)
        return torch.broadcast_to(keep, shape)

    def bad(self, patterns: Tensor) -> Tensor:
        """Rows that hold a NaN or an infinity."""
        return ~(patterns.abs() < math.inf).all(-1)

    def clean(self, patterns: Tensor, bad: Tensor) -> Tensor:
        """Patterns with zeros in their bad rows."""
        return patterns.masked_fill(bad[..., None], 0.0)

    def spoilt(self, kept: Tensor, bad_query: Tensor, bad_memory: Tensor) -> Tensor:
        """Rows that a non-finite number reaches; an empty row sees nothing (clauses MHN-NFI-1, MHN-NFI-2)."""
        sees = (kept & bad_memory[..., None, :]).any(-1)
        return (bad_query & kept.any(-1)) | sees

    def prepare(
        self,
        query: Tensor,
        memory: Tensor,
        beta: float | Tensor,
        keep: Tensor | None,
        values: Tensor | None = None,
        *,
        positive: bool = False,
    ) -> Inputs:
        """Check and widen the arguments of a call."""
        self.check(query, memory, values, keep)
        b = self.temperature(self.check_beta(beta, positive=positive), query.shape[-1])
        source = memory if values is None else values
        lead = np.broadcast_shapes(
            query.shape[:-2],
            memory.shape[:-2],
            source.shape[:-2],
            b.shape,
            keep.shape[:-2] if keep is not None else (),
        )
        q, x = (self.read(a).expand(*lead, *a.shape[-2:]) for a in (query, memory))
        bad_query, bad_memory = self.bad(q), self.bad(x)
        if values is None:
            clean_memory = clean_values = self.clean(x, bad_memory)
        else:
            v = self.read(values).expand(*lead, *values.shape[-2:])
            bad_memory = bad_memory | self.bad(v)
            clean_memory, clean_values = self.clean(x, bad_memory), self.clean(v, bad_memory)
        kept = self.mask(keep, (*lead, query.shape[-2], memory.shape[-2]))
        return Inputs(
            query=self.clean(q, bad_query),
            memory=clean_memory,
            values=clean_values,
            kept=kept,
            beta=b.expand(lead),
            spoilt=self.spoilt(kept, bad_query, bad_memory),
            storage=query.dtype,
        )

    # One pass over the memory

    def tiles(self, n: int) -> list[slice]:
        """The keys of each tile; thousands of tiles would take seconds."""
        block = max(self.block, n // 64)
        return [slice(start, min(start + block, n)) for start in range(0, n, block)]

    def value_tile(self, tile: slice, n: int) -> slice:
        """The values that belong to the keys of ``tile``."""
        return tile

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """Inner products, ``[..., L, tile]``."""
        return query @ keys.mT

    def sign(self, beta: Tensor) -> Tensor:
        """The sign of beta, folded into the scores so that the largest one has the largest weight."""
        return beta.sign()[..., None, None]

    def hide(self, scores: Tensor, kept: Tensor) -> Tensor:
        """Scores with masked memories taken out."""
        return scores.masked_fill(~kept, -math.inf)

    def tile_top(self, scores: Tensor, sign: Tensor) -> Tensor:
        """Largest score of each row, ``[..., L, 1]``; the scores carry ``sign``."""
        return scores.amax(-1, keepdim=True)

    def reference(self, top: Tensor) -> Tensor:
        """What is subtracted from the scores."""
        return top.masked_fill(top.isinf(), 0.0)

    def logits(self, scores: Tensor, base: Tensor, sharpness: Tensor) -> Tensor:
        """``|beta| (score - base)``; the difference first, so that a huge beta cannot overflow it."""
        return (sharpness * (scores - base)).masked_fill(scores == -math.inf, -math.inf)

    def exp(self, logits: Tensor) -> Tensor:
        """Exponentials, with the range and precision of float32."""
        return logits.exp().float().double()

    def tile_weights(self, logits: Tensor) -> Tensor:
        """Exponentials of one tile."""
        return self.exp(logits)

    def factor(self, old: Tensor, new: Tensor, sharpness: Tensor) -> Tensor:
        """What sums relative to ``old`` are multiplied by to be relative to ``new``."""
        return self.exp(self.logits(old, new, sharpness))

    def grow_total(self, total: Tensor, factor: Tensor, weights: Tensor) -> Tensor:
        """The sum of exponentials after one more tile."""
        return total * factor + weights.sum(-1, keepdim=True)

    def grow_weighted(self, weighted: Tensor, factor: Tensor, weights: Tensor, values: Tensor) -> Tensor:
        """The weighted sum of values after one more tile."""
        return weighted * factor + weights @ values

    def visited(self, inputs: Inputs) -> list[slice]:
        """The tiles in the order they are visited."""
        return self.tiles(inputs.memory.shape[-2])

    def sums(self, inputs: Inputs) -> Sums:
        """One pass over all tiles."""
        rows, sign, sharpness = inputs.kept.shape[:-1], self.sign(inputs.beta), inputs.sharpness
        top = torch.full((*rows, 1), -math.inf, dtype=torch.float64)
        base, total = torch.zeros_like(top), torch.zeros_like(top)
        weighted = torch.zeros((*rows, inputs.values.shape[-1]), dtype=torch.float64)
        for number, tile in enumerate(self.visited(inputs)):
            scores = self.scores(inputs.query, inputs.memory[..., tile, :]) * sign
            scores = self.hide(scores, inputs.kept[..., tile])
            seen = torch.where(top.isinf(), top, base) if number else top
            top = torch.maximum(top, self.tile_top(scores, sign))
            base = self.reference(top)
            weights = self.tile_weights(self.logits(scores, base, sharpness))
            # Before the first tile there is nothing to rescale.
            factor = self.factor(seen, base, sharpness) if number else total
            values = inputs.values[..., self.value_tile(tile, inputs.values.shape[-2]), :]
            total = self.grow_total(total, factor, weights)
            weighted = self.grow_weighted(weighted, factor, weights, values)
        return Sums(base, total, weighted)

    # Results

    def quotient(self, weighted: Tensor, total: Tensor) -> Tensor:
        """The weighted mean; 0 in an empty row (clause MHN-MSK-4)."""
        return (weighted / total).masked_fill(total == 0, 0.0)

    def spoil(self, result: Tensor, spoilt: Tensor) -> Tensor:
        """NaN in every row that a non-finite number reaches."""
        return result.masked_fill(spoilt, math.nan)

    def store(self, state: Tensor, dtype: torch.dtype) -> Tensor:
        """The state in the dtype of the inputs."""
        return state.to(dtype)

    def update(self, inputs: Inputs) -> Tensor:
        """One update or read-out, in the dtype of the inputs."""
        sums = self.sums(inputs)
        state = self.quotient(sums.weighted, sums.total)
        return self.store(self.spoil(state, inputs.spoilt[..., None]), inputs.storage)

    def again(self, state: Tensor, memory: Tensor, beta: float | Tensor, keep: Tensor | None) -> Tensor:
        """One more update of a state."""
        return self.update(self.prepare(state, memory, beta, keep))

    def count(self, steps: int) -> int:
        """Number of updates made for ``steps``."""
        return steps

    def retrieve(
        self,
        query: Tensor,
        memory: Tensor,
        *,
        beta: float | Tensor,
        values: Tensor | None = None,
        keep: Tensor | None = None,
        steps: int = 1,
    ) -> Tensor:
        """``steps`` updates, the last of which reads out the values where there are any."""
        if isinstance(steps, float) or steps < 0:
            raise ValueError(f"steps must be a non-negative integer, got {steps}")
        inputs = self.prepare(query, memory, beta, keep, values)
        if steps == 0:
            if values is not None:
                raise ValueError("steps must be at least 1 when values are given, got 0")
            return query.clone()
        state = query
        for _ in range(self.count(steps) - 1):
            state = self.again(state, memory, beta, keep)
        return self.update(inputs if state is query else self.prepare(state, memory, beta, keep, values))

    def logarithm(self, sums: Sums, inputs: Inputs) -> Tensor:
        """``log sum exp(beta s)``, ``[..., L]``."""
        return (inputs.sharpness * sums.base + sums.total.log())[..., 0]

    def log_normalizer(
        self, query: Tensor, memory: Tensor, *, beta: float | Tensor, keep: Tensor | None = None
    ) -> Tensor:
        """The natural logarithm of the sum of exponentials, not divided by beta."""
        inputs = self.prepare(query, memory, beta, keep)
        result = self.spoil(self.logarithm(self.sums(inputs), inputs), inputs.spoilt)
        return result.to(output_dtype(query.dtype))

    def normalise(self, weights: Tensor, total: Tensor) -> Tensor:
        """Exponentials over their sum."""
        return (weights / total).masked_fill(total == 0, 0.0)

    def association(
        self, query: Tensor, memory: Tensor, *, beta: float | Tensor, keep: Tensor | None = None
    ) -> Tensor:
        """The softmax weights, ``[..., L, N]``."""
        inputs = self.prepare(query, memory, beta, keep)
        return self.store(self.weights(inputs), query.dtype)

    def weights(self, inputs: Inputs) -> Tensor:
        """The softmax weights in float64."""
        sums = self.sums(inputs)
        scores = self.hide(self.scores(inputs.query, inputs.memory) * self.sign(inputs.beta), inputs.kept)
        weights = self.exp(self.logits(scores, sums.base, inputs.sharpness))
        return self.spoil(self.normalise(weights, sums.total), inputs.spoilt[..., None])

    # Energy

    def largest_square(self, inputs: Inputs) -> Tensor:
        """``M**2`` over the kept memories, ``[..., L]``."""
        if inputs.memory.shape[-2] == 0:
            return torch.zeros(inputs.kept.shape[:-1], dtype=torch.float64)
        squares = inputs.memory.square().sum(-1)[..., None, :]
        return torch.where(inputs.kept, squares, 0.0).amax(-1)

    def number(self, inputs: Inputs) -> Tensor:
        """N over the kept memories, ``[..., L]``."""
        return inputs.kept.sum(-1).double()

    def assemble(self, square: Tensor, largest: Tensor, number: Tensor, log: Tensor, beta: Tensor) -> Tensor:
        """``|xi|**2 / 2 + M**2 / 2 + log(N) / beta - lse``, every argument ``[..., L]``."""
        return 0.5 * square + 0.5 * largest + number.log() / beta - log / beta

    def floor(self, energy: Tensor) -> Tensor:
        """An energy is never negative (clause MHN-ENE-2), not even by rounding."""
        return energy.clamp(min=0.0)

    def energy(
        self, query: Tensor, memory: Tensor, *, beta: float | Tensor, keep: Tensor | None = None
    ) -> Tensor:
        """The energy of every query, ``[..., L]``."""
        inputs = self.prepare(query, memory, beta, keep, positive=True)
        return self.ground(inputs, self.logarithm(self.sums(inputs), inputs))

    def ground(self, inputs: Inputs, log: Tensor) -> Tensor:
        """The energy that belongs to a log-normalizer, ``[..., L]``."""
        square = inputs.query.square().sum(-1)
        energy = self.assemble(
            square, self.largest_square(inputs), self.number(inputs), log, inputs.beta[..., None]
        )
        energy = torch.where(inputs.kept.any(-1), self.floor(energy), self.empty_energy)
        return self.spoil(energy, inputs.spoilt).to(output_dtype(inputs.storage))

    empty_energy: ClassVar[float] = math.inf

    # Evaluation

    def evaluate(
        self,
        query: Tensor,
        memory: Tensor,
        *,
        beta: float | Tensor,
        values: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Evaluated[Tensor]:
        """Update or read-out, log-normalizer and energy of every query."""
        inputs = self.prepare(query, memory, beta, keep, values, positive=True)
        # A value that is not finite must not reach what is said of the memory.
        own = inputs
        if values is not None:
            own = self.prepare(query, memory, beta, keep, torch.zeros_like(values), positive=True)
        return self.evaluated(inputs, own, self.logarithm(self.sums(own), own))

    def evaluated(self, inputs: Inputs, own: Inputs, log: Tensor) -> Evaluated[Tensor]:
        """The three results; ``own`` are the inputs without values and ``log`` their log-normalizers."""
        reported = self.spoil(log, own.spoilt).to(output_dtype(inputs.storage))
        return Evaluated(self.update(inputs), reported, self.ground(own, log))

    # Settling

    def advance(self, new: Tensor, old: Tensor) -> Tensor:
        """The next state, from the update and the state before."""
        return new

    def residual(self, new: Tensor, old: Tensor) -> Tensor:
        """Length of a step, ``[..., L]``."""
        distance: Tensor = torch.linalg.vector_norm(new.double() - old.double(), dim=-1)
        return distance.to(output_dtype(new.dtype))

    def stops(self, step: Step) -> Tensor:
        """Which queries have converged, ``[..., L]`` (clause MHN-SET-1)."""
        return step.residual.double() <= step.eps

    def stalled(self, new: Tensor, anchor: Tensor) -> Tensor:
        """Which queries are back at an earlier state (clause MHN-SET-5)."""
        return (new == anchor).all(-1)

    def nonfinite(self, new: Tensor) -> Tensor:
        """Which queries hold a NaN or an infinity."""
        return ~new.isfinite().all(-1)

    def returned(self, new: Tensor, old: Tensor) -> Tensor:
        """The state of a query that ends with this step."""
        return new

    def reported(self, status: Tensor) -> Tensor:
        """The status of a query that ends with this step."""
        return status

    def settle(
        self,
        query: Tensor,
        memory: Tensor,
        *,
        beta: float | Tensor,
        keep: Tensor | None = None,
        eps: float | None = None,
        max_steps: int = 1000,
    ) -> Settled[Tensor]:
        """Update every query until its own step is at most ``eps`` long."""
        if isinstance(max_steps, float) or max_steps < 1:
            raise ValueError(f"max_steps must be an integer of at least 1, got {max_steps}")
        if eps is not None and not eps >= 0:
            raise ValueError(f"eps must be at least 0, got {eps}")
        inputs = self.prepare(query, memory, beta, keep, positive=True)
        limit = DEFAULT_EPS[query.dtype] if eps is None else eps
        empty = ~inputs.kept.any(-1)
        state = anchor = query.expand(*inputs.query.shape)
        final, running = state, torch.ones_like(empty)
        residual = torch.zeros(empty.shape, dtype=output_dtype(query.dtype))
        steps, status = (
            torch.zeros(empty.shape, dtype=torch.int64),
            torch.zeros(empty.shape, dtype=torch.int64),
        )
        for count in range(1, max_steps + 1):
            new = self.advance(self.again(state, memory, beta, keep), state)
            length = torch.where(empty, 0.0, self.residual(new, state))
            code = torch.full_like(steps, int(Status.MAX_STEPS) if count == max_steps else RUNNING)
            code = code.masked_fill(self.stalled(new, anchor), int(Status.STALLED))
            stops = self.stops(Step(state, new, length, limit, replace(inputs, query=state.double())))
            code = code.masked_fill(stops, int(Status.CONVERGED))
            code = code.masked_fill(self.nonfinite(new), int(Status.NONFINITE))
            ends = running & (code != RUNNING)
            final = torch.where(ends[..., None], self.returned(new, state), final)
            residual, steps = torch.where(ends, length, residual), steps.masked_fill(ends, count)
            status = torch.where(ends, self.reported(code), status)
            running = running & ~ends
            if not bool(running.any()):
                break
            if count & (count - 1) == 0:
                # Brent's cycle detection: compare with a state refreshed at every power of two.
                anchor = new
            state = new
        return Settled(final, self.energy(final, memory, beta=beta, keep=keep), residual, steps, status)

    # Certificates

    def linearize(self, inputs: Inputs) -> Linear:
        """The update and its Jacobian at each state, with a generous allowance for float64."""
        n, d = inputs.memory.shape[-2:]
        weights = torch.nan_to_num(self.weights(inputs))
        offsets = inputs.memory.unsqueeze(-3) - inputs.query.unsqueeze(-2)
        step = (weights.unsqueeze(-2) @ offsets).squeeze(-2)
        centred = offsets - step.unsqueeze(-2)
        beta = inputs.beta[..., None]
        jacobian = beta[..., None, None] * (centred * weights.unsqueeze(-1)).mT @ centred
        lengths = torch.where(inputs.kept, centred.norm(dim=-1), 0.0)
        extent = lengths.amax(-1) if n else lengths.sum(-1)
        reach = inputs.memory.norm(dim=-1).amax(-1)[..., None] if n else extent
        # Exponentials are rounded to float32, logits and sums in float64 by less than this.
        relative = 2.0**-22 + (n + d + 8) * 2.0**-48 * (1 + beta * reach * inputs.query.norm(dim=-1))
        error = relative * extent + (n + d + 8) * 2.0**-50 * step.norm(dim=-1)
        doubt = 4 * relative * beta * extent.square() + (n + d) * 2.0**-48
        top = torch.linalg.eigvalsh(torch.nan_to_num(jacobian))[..., -1]
        return Linear(-step, error, beta * (extent + error), jacobian, top + doubt, top - doubt)

    def length(self, residual: Tensor) -> Tensor:
        """How far the update moves a state."""
        distance: Tensor = torch.linalg.vector_norm(residual, dim=-1)
        return distance

    def grown(self, turn: Tensor) -> Tensor:
        """By how much the Jacobian may grow over a ball."""
        return turn.exp() * (1 + 2.0**-40)

    def banach(self, near: Linear, radius: Tensor) -> Tensor:
        """Whether clause MHN-FIX-4 holds with ``radius``."""
        grown = self.grown(near.slope * radius)
        spread = torch.where(near.slope > 0, (grown - 1) / near.slope, radius)
        reach = self.length(near.residual) + near.error + near.largest * spread
        return (radius >= 0) & (reach <= radius) & (near.largest * grown < 1)

    def newton(self, near: Linear, wider: float) -> tuple[Tensor, Tensor]:
        """Whether clause MHN-FIX-5 holds with ``wider`` times the least possible radius, and that radius."""
        identity = torch.eye(near.jacobian.shape[-1], dtype=torch.float64)
        inverse, _ = torch.linalg.inv_ex(identity - near.jacobian)
        norm = torch.linalg.matrix_norm(inverse) if identity.numel() else near.error + 1
        shift = self.length((inverse @ near.residual.unsqueeze(-1)).squeeze(-1)) + norm * near.error
        wide = wider * shift
        defect = norm * ((near.largest - near.least) + norm * 2.0**-40)
        kappa = defect + norm * near.largest * (self.grown(near.slope * wide) - 1)
        return (shift + kappa * wide <= wide) & (kappa < 1), wide

    def attracts(self, near: Linear, radius: Tensor) -> Tensor:
        """Which fixed points attract."""
        return near.largest * self.grown(near.slope * radius) < 1

    def repels(self, near: Linear, radius: Tensor) -> Tensor:
        """Which fixed points repel."""
        return 2 * near.least > 1 + self.grown(2 * near.slope * radius)

    def certify(
        self, state: Tensor, memory: Tensor, *, beta: float | Tensor, keep: Tensor | None = None
    ) -> Certificate[Tensor]:
        """The first ball that passes, each radius tried being larger than the one before."""
        inputs = self.prepare(state, memory, beta, keep, positive=True)
        near = self.linearize(inputs)
        radius = torch.full_like(near.error, math.inf)
        proof = torch.zeros(radius.shape, dtype=torch.int64)
        least = (self.length(near.residual) + near.error) / (1 - near.largest)
        for wider in (1.001, 1.02, 1.2, 2.0, 4.0):
            balls = {
                Proof.BANACH: (self.banach(near, least * wider), least * wider),
                Proof.NEWTON: self.newton(near, wider),
            }
            for form, (passes, wide) in balls.items():
                new = passes & (proof == 0) & ~inputs.spoilt & inputs.kept.any(-1)
                radius = torch.where(new, wide, radius)
                proof = proof.masked_fill(new, int(form))
        certified = proof > 0
        ball = torch.where(certified, radius, 0.0)
        attracts = certified & self.attracts(near, ball)
        repels = certified & self.repels(near, ball) & ~attracts
        rate = torch.where(attracts, near.largest * self.grown(near.slope * ball), math.inf)
        return Certificate(certified, radius, attracts, repels, rate, proof)

    # Prepared memories

    def hold(self, memory: Tensor, *, values: Tensor | None = None, keep: Tensor | None = None) -> Held:
        """A prepared memory: copies, so that no change reaches it (clause MHN-DOM-10)."""
        return Held(
            memory.clone(), None if values is None else values.clone(), None if keep is None else keep.clone()
        )

    def opened(self, held: Held, keywords: dict[str, Any], *, reads_values: bool) -> dict[str, Any]:
        """The keywords of a call of the arrays that were prepared."""
        masks = [mask for mask in (held.keep, keywords.get("keep")) if mask is not None]
        own: dict[str, Any] = {"keep": masks[0] & masks[-1]} if masks else {}
        if reads_values and held.values is not None:
            own["values"] = held.values
        return keywords | own

    def accepting(self, function: Callable[..., Any], *, reads_values: bool = False) -> Callable[..., Any]:
        """``function``, taking a prepared memory in place of an array."""

        def call(query: Tensor, memory: Tensor | Held, **keywords: Any) -> Any:
            if isinstance(memory, Held):
                keywords = self.opened(memory, keywords, reads_values=reads_values)
                memory = memory.memory
            return function(query, memory, **keywords)

        return call

    # What is claimed

    def implementation(self, name: str) -> Implementation[Tensor]:
        """The descriptor of this kernel, claiming all of it."""
        return Implementation(
            name=name,
            retrieve=self.accepting(self.retrieve, reads_values=True),
            log_normalizer=self.accepting(self.log_normalizer),
            energy=self.accepting(self.energy),
            association=self.accepting(self.association),
            settle=self.accepting(self.settle),
            certify=self.accepting(self.certify),
            evaluate=self.accepting(self.evaluate, reads_values=True),
            prepare=self.hold,
            capabilities=Capabilities(
                dtypes=DTYPES,
                masks=True,
                values=True,
                steps=True,
                batch=True,
                tensor_beta=True,
                beta_range=(-math.inf, math.inf),
                empty_rows=True,
                nan_isolation=True,
                finite_range=True,
                strides=True,
                deterministic=True,
                errors=True,
            ),
            accuracy=tuple(MODELS[f"flash-{d}"] for d in DTYPES),
        )
