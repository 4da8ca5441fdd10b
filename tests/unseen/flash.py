"""A flash-style kernel in PyTorch: query tiles, key tiles, base-2 exponentials, split keys with a merge."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from .variants import Variants

__all__ = ["KERNELS"]

TILE_Q = 32
TILE_K = 64
TILE_D = 64
SPLITS = 4
SPLIT_FROM = 256
LOG2E = 1.4426950408889634

FAULTS = {
    "query_tail_dropped": "the last query tile is dropped where it is not full and not the first",
    "query_tail_of_one": "a last query tile of a single row is never started",
    "query_tail_shifted": "the tail tile is read from L - 32 on, and written where it should have started",
    "query_rows_beyond_1024": "one thread a row and at most 1024 threads: later rows stay zero",
    "query_row_in_a_byte": "the row is kept in eight bits, so that row 256 is row 0",
    "sum_kept_between_query_tiles": "the running sum is not cleared for the second query tile",
    "max_kept_between_query_tiles": "the running maximum is not reset for the second query tile",
    "key_tail_of_one": "a last key tile of a single memory is dropped",
    "key_tiles_at_most_16": "the loop over key tiles ends after sixteen",
    "keys_in_int16": "memories from number 32,768 on have negative indices and are taken for padding",
    "offsets_in_int16": "the offset of a memory, n * d, is computed in sixteen bits",
    "keys_beyond_65535": "the grid has at most 65,535 keys",
    "exact_multiple_of_1024": "where N is a multiple of 1024, the last key tile is missing",
    "stale_tail": "the tail of the last key tile still holds the memories of the tile before the one before",
    "double_buffer": "the third key tile reads the buffer before it has been filled",
    "empty_split_counts": "a split without memories enters the merge with weight one",
    "split_of_one_dropped": "a split of a single memory is taken for an empty one",
    "splits_by_floor": "the splits are N // 4 long, and the rest of the memories is forgotten",
    "merge_by_first_row": "the merge rescales all rows by the maxima of the first",
    "max_from_zero": "the running maximum starts at 0",
    "max_from_minus_1e4": "the running maximum starts at -1e4",
    "max_from_finite_min": "the running maximum starts at the least finite number",
    "sum_from_1e_6": "the sum starts from 1e-6",
    "log2e_in_half": "log2(e) has eleven bits",
    "exp_flushed_below_2_64": "powers below 2**-64 are flushed to zero",
    "exp_at_integers": "powers of two to an integer below -24 are doubled",
    "exp_at_half": "the polynomial of the exponential is bad for fractions beyond 0.49",
    "exp_wraps_at_minus_150": "below -150 the exponent field wraps around and the power is 1",
    "softcapped": "logits are capped softly at 1000",
    "logits_clamped": "logits are clamped to 10,000 in size",
    "width_at_most_128": "the loop over the width ends at 128 and later columns are not compared",
    "columns_beyond_128": "columns of the result from 128 on are those 128 before",
    "width_tail": "where d > 64, a rest of d that does not fill a tile is not compared",
    "width_in_eights": "where d > 32, a rest of d modulo 8 is not compared",
    "width_64_has_its_own_scale": "the kernel for d = 64 has 1/8 built in",
    "width_wide_in_half": "for d > 64, products are rounded to bfloat16 before they are summed",
    "one_query_path": "a single query takes the decoding path, which leaves out the last memory",
    "one_memory_path": "with one memory the query itself is returned",
    "one_column_path": "for d = 1 the scores are sizes of the products",
    "two_memories_path": "for N = 2 the sigmoid saturates at 8",
    "beta_one_path": "at beta = 1 nothing is subtracted before the exponential",
    "beta_power_of_two_path": "a beta that is a power of two is an exponent, kept between -4 and 3",
    "beta_in_half": "beta is kept in half precision",
    "beta_in_single": "beta is kept in single precision, in double precision kernels too",
    "beta_integer": "an integer beta selects a number of heads and not a temperature",
    "zero_rows_are_padding": "a memory of zeros is taken for padding",
    "zero_query_is_padding": "a query of zeros gives zeros",
    "negative_zero_masked": "a memory that begins with minus zero is taken for a masked one",
    "equal_scores_path": "where all scores are equal, the first memory is returned",
    "top_one_path": "where the best memory leads by more than 12, it is returned",
    "top_512": "only the 512 largest weights count",
    "repeated_memories_once": "memories that occur repeatedly count once",
    "same_array_is_self_attention": "where query and memory are the same array, a row does not see itself",
    "same_start_is_self_attention": "query and memory with one address: columns beyond L are left out",
    "distance_form": "scores come from squared distances and norms",
    "reciprocal_of_12_bits": "the reciprocal of the sum has twelve bits",
    "sum_in_bfloat16": "the sum of weights is kept in bfloat16",
    "count_in_half": "for constant logits the sum is a counter in half precision",
    "accumulator_in_half": "the result is accumulated in half precision",
    "result_is_one_buffer": "results of one shape share one buffer",
}


class Flash:
    """The kernel; ``bug`` names its fault."""

    def __init__(self, bug: str) -> None:
        self.bug = bug
        self.buffers: dict[tuple[object, ...], Tensor] = {}

    def __call__(self, query: Tensor, memory: Tensor, *, beta: float) -> Tensor:
        bug = self.bug
        rows, width = query.shape
        wide = torch.float64 if query.dtype == torch.float64 else torch.float32
        q, k = query.to(wide), memory.to(wide)
        special = self._special(query, memory, q, k, beta)
        if special is not None:
            return special.to(query.dtype)
        scale = self._scale(beta, width)
        out = torch.zeros(rows, width, dtype=wide)
        tiles = math.ceil(rows / TILE_Q)
        if bug == "query_tail_dropped":
            tiles = max(1, rows // TILE_Q)
        if bug == "query_tail_of_one":
            tiles = max(1, math.ceil((rows - 1) / TILE_Q))
        state: tuple[Tensor, Tensor, Tensor] | None = None
        for tile in range(tiles):
            first = tile * TILE_Q
            picked = slice(first, min(first + TILE_Q, rows))
            block = q[picked]
            if bug == "query_tail_shifted" and first and rows - first < TILE_Q:
                block = q[rows - TILE_Q :][: rows - first]
            top, total, acc = self._rows(block, k, scale, state)
            state = (top, total, acc) if "between_query_tiles" in bug else None
            if bug == "reciprocal_of_12_bits":
                mantissa, exponent = torch.frexp(1 / total)
                out[picked] = acc * torch.ldexp(torch.round(mantissa * 2**12) / 2**12, exponent)[:, None]
            else:
                out[picked] = acc / total[:, None]
        if bug == "query_rows_beyond_1024":
            out[1024:] = 0
        if bug == "query_row_in_a_byte":
            out[256:] = out[torch.arange(256, rows) % 256]
        if bug == "columns_beyond_128":
            out[:, 128:] = out[:, : max(width - 128, 0)][:, : max(width - 128, 0)] if width <= 256 else 0
        if bug == "zero_query_is_padding":
            out[(q == 0).all(-1)] = 0
        result = out.to(query.dtype)
        if bug == "result_is_one_buffer":
            buffer = self.buffers.setdefault((result.shape, result.dtype), torch.empty_like(result))
            return buffer.copy_(result)
        return result

    def _scale(self, beta: float, width: int) -> float:
        bug = self.bug
        if bug == "width_64_has_its_own_scale" and width == 64:
            return 0.125
        if bug == "beta_power_of_two_path" and beta > 0 and math.frexp(beta)[0] == 0.5:
            return 2.0 ** min(max(math.frexp(beta)[1] - 1, -4), 3)
        if bug == "beta_in_half":
            return float(torch.tensor(beta).half())
        if bug == "beta_in_single":
            return float(torch.tensor(beta, dtype=torch.float32))
        if bug == "beta_integer" and isinstance(beta, int):
            return beta / math.sqrt(width)
        return beta

    def _special(self, query: Tensor, memory: Tensor, q: Tensor, k: Tensor, beta: float) -> Tensor | None:
        bug = self.bug
        count = len(k)
        if count == 0:
            return torch.zeros_like(q)
        if bug == "one_query_path" and len(q) == 1 and count > 8:
            return torch.softmax(beta * (q @ k[:-1].T), -1) @ k[:-1]
        if bug == "one_memory_path" and count == 1:
            return q.clone()
        if bug == "one_column_path" and k.shape[1] == 1:
            return torch.softmax(beta * (q @ k.T).abs(), -1) @ k
        if bug == "two_memories_path" and count == 2:
            weight = torch.sigmoid((beta * (q @ (k[:1] - k[1:]).T)).clamp(-8, 8))
            return weight * k[:1] + (1 - weight) * k[1:]
        if bug == "beta_one_path" and beta == 1.0:
            weights = torch.exp(q @ k.T)
            return (weights @ k) / weights.sum(-1, keepdim=True)
        if bug == "equal_scores_path" and count > 1:
            scores = q @ k.T
            if bool((scores == scores[:, :1]).all()):
                return k[:1].expand_as(q).clone()
        if bug == "top_one_path" and count > 1:
            best = (beta * (q @ k.T)).topk(2, -1)
            if bool((best.values[:, 0] - best.values[:, 1] > 12).all()):
                return k[best.indices[:, 0]]
        if bug == "top_512" and count > 512:
            best = (beta * (q @ k.T)).topk(512, -1)
            return torch.einsum("ln,lnd->ld", torch.softmax(best.values, -1), k[best.indices])
        if bug == "repeated_memories_once":
            k = torch.unique(k, dim=0)
            return torch.softmax(beta * (q @ k.T), -1) @ k
        logits = beta * (q @ k.T)
        if bug == "same_array_is_self_attention" and query is memory and count > 1:
            logits.fill_diagonal_(-torch.inf)
            return torch.softmax(logits, -1) @ k
        if bug == "same_start_is_self_attention" and query.data_ptr() == memory.data_ptr():
            return torch.softmax(logits[:, : len(q)], -1) @ k[: len(q)]
        if bug == "zero_rows_are_padding" and bool((k != 0).any()):
            logits = logits.masked_fill((k == 0).all(-1), -torch.inf)
            return torch.softmax(logits, -1) @ k
        if bug == "negative_zero_masked":
            masked = (k[:, 0] == 0) & torch.signbit(k[:, 0])
            if bool(masked.any()) and not bool(masked.all()):
                return torch.softmax(logits.masked_fill(masked, -torch.inf), -1) @ k
        if bug == "count_in_half" and bool((logits == logits[:, :1]).all()):
            counter = torch.tensor(0.0, dtype=torch.float16)
            for _ in range(min(count, 5000)):
                counter = counter + 1
            return (k.sum(0) / counter.to(k.dtype)).expand_as(q).clone()
        return None

    def _rows(
        self, q: Tensor, k: Tensor, beta: float, before: tuple[Tensor, Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Maxima in units of logits, sums and accumulators of one query tile over all memories."""
        bug = self.bug
        count = len(k)
        if count < SPLIT_FROM:
            return self._keys(q, k, beta, 0, count, before)
        length = math.ceil(count / SPLITS / TILE_K) * TILE_K
        if bug == "splits_by_floor":
            length = count // SPLITS
        parts = []
        for split in range(SPLITS):
            start, stop = min(split * length, count), min((split + 1) * length, count)
            if stop - start == 1 and bug == "split_of_one_dropped":
                continue
            if start < stop:
                parts.append(self._keys(q, k, beta, start, stop, before))
            elif bug == "empty_split_counts":
                nothing = torch.zeros(len(q), dtype=q.dtype)
                parts.append((nothing, nothing + 1, torch.zeros_like(q)))
        tops = torch.stack([p[0] for p in parts])
        top = tops.amax(0)
        factor = torch.exp(tops - top)
        if bug == "merge_by_first_row":
            factor = torch.exp(tops[:, :1] - top[:1]).expand_as(factor)
        total = (factor * torch.stack([p[1] for p in parts])).sum(0)
        return top, total, (factor[..., None] * torch.stack([p[2] for p in parts])).sum(0)

    def _keys(
        self,
        q: Tensor,
        k: Tensor,
        beta: float,
        start: int,
        stop: int,
        before: tuple[Tensor, Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        bug = self.bug
        top = torch.full((len(q),), -torch.inf, dtype=q.dtype)
        if bug == "max_from_zero":
            top.fill_(0.0)
        if bug == "max_from_minus_1e4":
            top.fill_(-1e4)
        if bug == "max_from_finite_min":
            top.fill_(torch.finfo(q.dtype).min)
        if before is not None and bug == "max_kept_between_query_tiles":
            top = before[0][: len(q)].clone()
        total = torch.zeros(len(q), dtype=q.dtype)
        if bug == "sum_from_1e_6":
            total.fill_(1e-6)
        if before is not None and bug == "sum_kept_between_query_tiles":
            total = before[1][: len(q)].clone()
        acc = torch.zeros_like(q)
        held: list[Tensor] = []
        for number, first in enumerate(range(start, stop, TILE_K)):
            picked = torch.arange(first, min(first + TILE_K, stop))
            if bug == "key_tail_of_one" and len(picked) == 1 and number:
                continue
            if bug == "key_tiles_at_most_16" and first >= 16 * TILE_K:
                break
            if bug == "keys_beyond_65535":
                picked = picked[picked < 65535]
            if bug == "keys_in_int16":
                picked = picked[picked < 32768]
            if bug == "offsets_in_int16":
                width = k.shape[1]
                picked = picked.where(picked * width < 32768, (picked * width % 32768) // width)
            if bug == "exact_multiple_of_1024" and len(k) % 1024 == 0 and first + TILE_K >= len(k):
                break
            if len(picked) == 0:
                continue
            tile = k[picked]
            held.append(tile)
            if bug == "stale_tail" and number >= 2 and len(tile) < TILE_K:
                tile = torch.cat([tile, held[-3][len(tile) :]])
            if bug == "double_buffer" and number == 2 and len(held[1]) >= len(tile):
                tile = held[1][: len(tile)]
            s = self._scores(q, tile) * beta
            if bug == "softcapped":
                s = 1000 * torch.tanh(s / 1000)
            if bug == "logits_clamped":
                s = s.clamp(-1e4, 1e4)
            new = torch.maximum(top, s.amax(-1))
            # A row that has seen nothing yet has -inf - x, which exp takes to 0.
            alpha = self._exp(top - new)
            p = self._exp(s - new[:, None])
            total = alpha * total + p.sum(-1)
            if bug == "sum_in_bfloat16":
                total = total.bfloat16().to(q.dtype)
            acc = alpha[:, None] * acc + p @ tile
            if bug == "accumulator_in_half":
                acc = acc.half().to(q.dtype)
            top = new
        return top, total, acc

    def _scores(self, q: Tensor, tile: Tensor) -> Tensor:
        bug = self.bug
        width = q.shape[1]
        if bug == "distance_form":
            return (q.square().sum(-1)[:, None] + tile.square().sum(-1) - torch.cdist(q, tile).square()) / 2
        if bug == "width_wide_in_half" and width > TILE_D:
            return (q[:, None] * tile).bfloat16().to(q.dtype).sum(-1)
        stop = width
        if bug == "width_at_most_128":
            stop = min(width, 128)
        if bug == "width_tail" and width > TILE_D:
            stop = width // TILE_D * TILE_D
        if bug == "width_in_eights" and width > 32:
            stop = width // 8 * 8
        scores = torch.zeros(len(q), len(tile), dtype=q.dtype)
        for first in range(0, stop, TILE_D):
            last = min(first + TILE_D, stop)
            scores = scores + q[:, first:last] @ tile[:, first:last].T
        return scores

    def _exp(self, t: Tensor) -> Tensor:
        """``exp`` of numbers that are not positive, by a power of two."""
        bug = self.bug
        x = t * (1.4423828125 if bug == "log2e_in_half" else LOG2E)
        power = torch.exp2(x)
        if bug == "exp_flushed_below_2_64":
            power = torch.where(x < -64, torch.zeros_like(power), power)
        if bug == "exp_at_integers":
            power = torch.where((x == x.round()) & (x < -24) & torch.isfinite(x), 2 * power, power)
        if bug == "exp_at_half":
            power = torch.where((x - x.round()).abs() > 0.49, power * (1 + 2.0**-12), power)
        if bug == "exp_wraps_at_minus_150":
            power = torch.where((x < -150) & torch.isfinite(x), torch.ones_like(power), power)
        return power


KERNELS = Variants(partial(Flash), FAULTS)
