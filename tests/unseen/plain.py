"""Attention in plain NumPy with all that is asked of a Hopfield network: masks, energies, settling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.types import Capabilities, Implementation, Settled, Status

from .variants import Variants

__all__ = ["KERNELS"]

Array = NDArray[Any]

FAULTS = {
    "kept_counted_in_a_byte": "kept memories are counted in eight bits",
    "kept_counted_in_int8": "kept memories are counted in eight bits with a sign",
    "kept_counted_in_int16": "kept memories are counted in sixteen bits with a sign",
    "kept_counted_in_half": "log N is taken of a half-precision number",
    "kept_of_first_query": "kept memories are counted for the first query",
    "longest_of_first_256": "M is the longest of the first 256 memories",
    "longest_by_first_entry": "M is the length of the memory with the largest first entry",
    "longest_squared_in_half": "squared norms are formed in half precision where they are small",
    "log_clamped": "log-normalizers are clamped to 10,000 in size",
    "log_of_small_sums": "log1p of the sum less one, which is taken for zero below 1e-4",
    "log_large_in_base_2": "log-normalizers beyond 1000 are left in base 2",
    "log_of_long_sums": "log of a sum beyond 4096 is that of 4096",
    "max_added_in_half": "the maximum that is added to the logarithm has eleven bits beyond 2048",
    "values_of_tile_32": "columns of values beyond 32 are not read out",
    "values_as_wide_as_memory": "values wider than the memory are cut and padded with zeros",
    "values_narrow": "a single column of values is read with the stride of the memory",
    "values_of_first_64": "values of memories beyond 64 are those of the memories 64 before",
    "square_mask_per_query": "a mask per memory is taken for one per query where L = N",
    "square_mask_transposed": "a mask per query is transposed where L = N",
    "mask_in_bits": "the mask is packed into bits, and bits beyond the last full byte are lost",
    "mask_in_words": "the mask is packed into words of 32, and the last word is taken as full",
    "mask_bits_reversed": "the bits of the last byte are in the opposite order",
    "block_skipped_by_first": "a block of 32 is skipped where its first memory is masked for all queries",
    "block_skipped_by_ends": "a block of 32 is skipped where its first and its last memory are masked",
    "blocks_end_at_empty": "the loop ends at the first block of 32 that is masked altogether",
    "first_block_of_first_query": "which blocks are looked at follows from the mask of the first query",
    "mask_of_one_kept": "where one memory of more than 64 is kept, the one before is returned",
    "mask_added": "masked logits are lowered by 10,000",
    "settle_total_eps": "the stop rule squares the residual and not eps",
    "settle_rows_scattered": "once queries have ended, rows go to their places among the running",
    "settle_second_compaction": "after a second compaction the places of the first are used",
    "settle_mask_not_compacted": "the mask is not compacted with the rows",
    "settle_residual_of_neighbour": "residuals are those of the running rows in order",
    "settle_steps_of_last": "every query that ends after the first reports the steps of the last",
    "settle_energy_before": "the energy is that of the state before the last update",
    "settle_status_overwritten": "a converged query becomes max_steps where another one runs out",
    "settle_more_than_four": "of more than four queries, the later ones take one step more",
    "settle_compact_when_half": "compaction waits for half of the rows, and those that ended move on",
    "association_rows_of_tile_4": "rows of the association beyond 4 repeat the fourth",
    "association_sum_in_half": "the association is divided by a sum in half precision",
    "energy_from_rounded_state": "the query is rounded to half before its norm is taken",
    "energy_norm_expanded": "norms are formed as the square of the sum of sizes where entries are equal",
}


def _softmax(logits: Array) -> tuple[Array, Array]:
    """Weights and log-normalizers of rows that may be empty."""
    top = logits.max(-1, keepdims=True, initial=-np.inf)
    at = np.where(np.isfinite(top), top, 0)
    weights = np.exp(logits - at)
    total = weights.sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        log = np.where(np.isneginf(top), -np.inf, at + np.log(total))[..., 0]
    return weights / np.where(total == 0, 1, total), log


class Plain:
    """The kernel; ``bug`` names its fault."""

    def __init__(self, bug: str) -> None:
        self.bug = bug

    def keep(self, query: Array, memory: Array, keep: Array | None) -> Array:
        """The mask of each query and memory, as this kernel reads it."""
        bug = self.bug
        rows, count = len(query), len(memory)
        if keep is None:
            return np.ones((rows, count), dtype=bool)
        if bug == "square_mask_per_query" and keep.ndim == 1 and rows == count:
            keep = keep[:, None]
        if bug == "square_mask_transposed" and keep.ndim == 2 and rows == count:
            keep = keep.T
        kept = np.broadcast_to(keep, (rows, count)).copy()
        last = count // 8 * 8
        if bug == "mask_in_bits" and last:
            kept[:, last:] = False
        if bug == "mask_in_words" and count > 32:
            kept[:, count // 32 * 32 :] = True
        if bug == "mask_bits_reversed":
            kept[:, last:] = kept[:, last:][:, ::-1]
        for first in range(0, count, 32):
            block = kept[:, first : first + 32]
            if bug == "block_skipped_by_first" and not block[:, 0].any():
                block[:] = False
            if bug == "block_skipped_by_ends" and not block[:, 0].any() and not block[:, -1].any():
                block[:] = False
            if bug == "blocks_end_at_empty" and not block.any() and first:
                kept[:, first:] = False
            if bug == "first_block_of_first_query" and rows and not block[0].any():
                block[:] = False
        return kept

    def logits(self, query: Array, memory: Array, beta: float, kept: Array) -> Array:
        """Logits, minus infinity where masked."""
        logits = query.dtype.type(beta) * (query @ memory.T)
        return np.where(kept, logits, logits - 10000 if self.bug == "mask_added" else -np.inf)

    def retrieve(
        self,
        query: Array,
        memory: Array,
        *,
        beta: float,
        keep: Array | None = None,
        values: Array | None = None,
        steps: int = 1,
    ) -> Array:
        """The update, or what it reads out of the values."""
        bug = self.bug
        for _ in range(steps - 1):
            query = self.retrieve(query, memory, beta=beta, keep=keep)
        if steps == 0:
            return query.copy()
        kept = self.keep(query, memory, keep)
        weights, _ = _softmax(self.logits(query, memory, beta, kept))
        if bug == "mask_of_one_kept" and len(memory) > 64:
            weights = np.where(kept.sum(-1, keepdims=True) == 1, np.roll(weights, -1, 1), weights)
        source = memory if values is None else values
        width = source.shape[1]
        if values is not None and bug == "values_of_first_64":
            source = source[
                np.where(np.arange(len(source)) < 64, np.arange(len(source)), np.arange(len(source)) - 64)
            ]
        if values is not None and bug == "values_narrow" and width == 1 and memory.shape[1] > 8:
            source = source[np.arange(len(source)) * memory.shape[1] % len(source)]
        result = weights @ source
        if values is not None and bug == "values_of_tile_32":
            result[:, 32:] = 0
        if values is not None and bug == "values_as_wide_as_memory":
            result[:, memory.shape[1] :] = 0
        return result.astype(query.dtype)

    def association(self, query: Array, memory: Array, *, beta: float, keep: Array | None = None) -> Array:
        """The weights."""
        logits = self.logits(query, memory, beta, self.keep(query, memory, keep))
        weights, _ = _softmax(logits)
        if self.bug == "association_rows_of_tile_4":
            weights[4:] = weights[3:4]
        if self.bug == "association_sum_in_half":
            total = np.float16(1) * np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True)
            weights = weights * total / total.astype(np.float16).astype(query.dtype)
        return weights

    def log_normalizer(self, query: Array, memory: Array, *, beta: float, keep: Array | None = None) -> Array:
        """Natural logarithm of the sum of exponentials of the logits."""
        bug = self.bug
        logits = self.logits(query, memory, beta, self.keep(query, memory, keep))
        _, log = _softmax(logits)
        top = logits.max(-1, initial=-np.inf)
        rest = np.where(np.isfinite(top), log - top, 0)
        if bug == "log_clamped":
            log = np.where(np.isfinite(log), np.clip(log, -1e4, 1e4), log)
        if bug == "log_of_small_sums":
            log = np.where((rest < 1e-4) & np.isfinite(top), top, log)
        if bug == "log_large_in_base_2":
            log = np.where(np.isfinite(log) & (np.abs(log) > 1000), log / math.log(2), log)
        if bug == "log_of_long_sums":
            log = np.where(rest > math.log(4096), top + math.log(4096), log)
        if bug == "max_added_in_half":
            big = np.isfinite(top) & (np.abs(top) > 2048)
            mantissa, exponent = np.frexp(np.where(big, top, 0))
            log = np.where(big, np.ldexp(np.rint(mantissa * 2**11) / 2**11, exponent) + rest, log)
        return log.astype(query.dtype)

    def energy(self, query: Array, memory: Array, *, beta: float, keep: Array | None = None) -> Array:
        """The energy, plus infinity of an empty row."""
        bug = self.bug
        kept = self.keep(query, memory, keep)
        log = self.log_normalizer(query, memory, beta=beta, keep=keep)
        count = kept.sum(-1)
        if bug == "kept_counted_in_a_byte":
            count = np.maximum(kept.sum(-1, dtype=np.uint8), 1)
        if bug == "kept_counted_in_int8":
            count = np.abs(kept.sum(-1, dtype=np.int8).astype(int))
        if bug == "kept_counted_in_int16":
            count = np.abs(kept.sum(-1, dtype=np.int16).astype(int))
        if bug == "kept_of_first_query":
            count = np.where(count == 0, 0, count[:1])
        if bug == "kept_counted_in_half":
            count = count.astype(np.float16).astype(float)
        squares = np.square(memory).sum(-1)
        if bug == "longest_squared_in_half":
            squares = np.where(squares < 1, squares.astype(np.float16).astype(squares.dtype), squares)
        if bug == "longest_of_first_256":
            squares = np.where(np.arange(len(squares)) < 256, squares, 0)
        if bug == "longest_by_first_entry" and len(memory):
            squares = np.full_like(squares, squares[memory[:, 0].argmax()])
        longest = np.where(kept, squares, 0).max(-1, initial=0)
        own = np.square(query).sum(-1)
        if bug == "energy_from_rounded_state":
            own = np.square(query.astype(np.float16).astype(query.dtype)).sum(-1)
        if bug == "energy_norm_expanded":
            own = np.where((query == query[:, :1]).all(-1), np.square(np.abs(query).sum(-1)), own)
        with np.errstate(divide="ignore", invalid="ignore"):
            energy = (np.log(count) - log) / beta + (own + longest) / 2
        return np.where(kept.any(-1), energy, np.inf).astype(query.dtype)

    def settle(
        self,
        query: Array,
        memory: Array,
        *,
        beta: float,
        keep: Array | None = None,
        eps: float | None = None,
        max_steps: int = 1000,
    ) -> Settled[Array]:
        """Updates until each query moves by at most ``eps``; queries that have ended leave the batch."""
        bug = self.bug
        kept = self.keep(query, memory, keep)
        limit = 1e-5 if eps is None else eps
        rows = len(query)
        state, previous = query.copy(), query.copy()
        residual, steps = np.full(rows, np.inf, dtype=query.dtype), np.zeros(rows, dtype=np.int64)
        status = np.full(rows, int(Status.MAX_STEPS), dtype=np.int64)
        anchors = query.copy()
        running = places = np.arange(rows)
        compactions = 0
        for step in range(1, max_steps + 1):
            if not len(running):
                break
            mask = kept[: len(running)] if bug == "settle_mask_not_compacted" else kept[running]
            old = state[running]
            new = self.retrieve(old, memory, beta=beta, keep=mask)
            if bug == "settle_more_than_four" and step == 1 and rows > 4:
                late = running >= 4
                new[late] = self.retrieve(new, memory, beta=beta, keep=mask)[late]
            moved = np.sqrt(np.square((new - old).astype(np.float64)).sum(-1))
            empty = ~mask.any(-1)
            moved[empty] = 0
            target = running
            if bug == "settle_rows_scattered" and compactions:
                target = np.arange(len(running))
            if bug == "settle_second_compaction" and compactions > 1:
                target = places[: len(running)]
            previous[target], state[target] = old, new
            residual[np.arange(len(running)) if bug == "settle_residual_of_neighbour" else running] = moved
            steps[running] = step
            ended = moved <= (math.sqrt(limit) if bug == "settle_total_eps" else limit)
            status[running[ended]] = int(Status.CONVERGED)
            bad = ~np.isfinite(new).all(-1)
            status[running[bad & ~ended]] = int(Status.NONFINITE)
            same = (new == anchors[running]).all(-1) & ~ended & ~bad
            status[running[same]] = int(Status.STALLED)
            if step & (step - 1) == 0:
                anchors[running] = new
            over = ended | bad | same
            if bug == "settle_compact_when_half" and 2 * over.sum() < len(running):
                over[:] = False
            if over.any():
                places = running
                running = running[~over]
                compactions += 1
        if bug == "settle_status_overwritten" and len(running):
            status[status == int(Status.CONVERGED)] = int(Status.MAX_STEPS)
        if bug == "settle_steps_of_last" and rows:
            steps[steps > steps.min()] = steps.max()
        energy = self.energy(
            previous if bug == "settle_energy_before" else state, memory, beta=beta, keep=keep
        )
        return Settled(state, energy, residual, steps, status)


def _put(array: Any, dtype: str) -> Any:
    return np.array(array, dtype=dtype)


def _build(bug: str) -> Implementation[Any]:
    kernel = Plain(bug)
    return Implementation(
        name=f"plain {bug}",
        retrieve=kernel.retrieve,
        log_normalizer=kernel.log_normalizer,
        energy=kernel.energy,
        association=kernel.association,
        settle=kernel.settle,
        capabilities=Capabilities(
            dtypes=("float32", "float64"),
            masks=True,
            values=True,
            steps=True,
            empty_rows=True,
            beta_range=(-math.inf, math.inf),
        ),
        to_array=_put,
        from_array=np.asarray,
    )


KERNELS = Variants(_build, FAULTS)
