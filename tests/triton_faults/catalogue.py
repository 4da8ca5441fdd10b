"""Faults planted in the Triton sources: each replaces one piece of ``kernels.py`` that occurs there once.

A fault that makes a number NaN or infinite would be repaired by the rescue kernel; those here do not.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FAULTS", "SAMPLE", "Edit", "edited"]


class Edit(NamedTuple):
    """One fault.

    Args:
        what: is wrong, for a person.
        by: the clause whose properties have to find it without others, or the probe that has to.
        piece: of the source, which occurs in it once.
        instead: what is put in its place.
        dtype: it is looked for in.
    """

    what: str
    by: str
    piece: str
    instead: str
    dtype: str = "float32"


def edited(source: str, edit: Edit) -> str:
    """The source with the fault in it.

    Raises:
        ValueError: if the piece does not occur exactly once.
    """
    found = source.count(edit.piece)
    if found != 1:
        raise ValueError(f"{edit.piece!r} occurs {found} times, expected once: {edit.what}")
    return source.replace(edit.piece, edit.instead)


_DOT = 'logit = tl.dot(state, tl.trans(patterns), input_precision="ieee") * scale'
_WEIGHTED = 'tl.dot(weight, read, input_precision="ieee")'
_SUMS = f"sums = tl.fma(sums, shrink[:, None], {_WEIGHTED})"
_WEIGHT_SUM = "tl.reduce(weight.to(tl.float32), 1, tl.standard._sum_combine)"
_TOTAL = f"total = tl.fma(total, shrink, {_WEIGHT_SUM})"
_ATTENDED = "    lane = tl.arange(0, WIDTH)\n    read_lane = tl.arange(0, READ_WIDTH)\n    query +="
_BETA = "    scale = scale_at(beta + tl.load(origins + 4 * leads + lead))\n"
_ATTEND_STATE = (
    "    state = tl.load(\n        query + row[:, None] * query_row + lane[None, :] * query_column,"
)

_ONE_ROW = "                state = row_state(query + row * query_row, query_column, width, WIDTH, BY_BITS)\n"

FAULTS: dict[str, Edit] = {
    # Tails
    "tail_scores_zero": Edit(
        "memories beyond the last take part with score 0",
        "MHN-BND-3",
        'logit = tl.where(there[None, :], logit, float("-inf"))',
        "logit = logit + 0.0",
    ),
    "tail_block_dropped": Edit(
        "a last block that is not full is left out",
        "MHN-BND-2",
        "for start in range(first, last, BLOCK):",
        "for start in range(first, first + (last - first + BLOCK // 2) // BLOCK * BLOCK, BLOCK):",
    ),
    "last_memory_dropped": Edit(
        "the last memory is left out",
        "MHN-BND-2",
        "there = number < memories",
        "there = number < memories - 1",
    ),
    "width_tail_dropped": Edit(
        "the last entry of memories is left out of scores and sums",
        "MHN-BND-2",
        "inside = (lane < width)[None, :]\n    read_columns",
        "inside = (lane < width - 1)[None, :]\n    read_columns",
    ),
    "read_width_tail_dropped": Edit(
        "the last entry of values is taken as 0",
        "MHN-BND-2",
        "read_inside = (read_lane < read_width)[None, :]\n    sums",
        "read_inside = (read_lane < read_width - 1)[None, :]\n    sums",
    ),
    "width_beyond_16_dropped": Edit(
        "entries from the seventeenth on are left out of scores",
        "wide",
        _DOT,
        "patterns = tl.where((lane < 16)[None, :], patterns, 0.0)\n        " + _DOT,
    ),
    "last_query_dropped": Edit(
        "the result of the last query is not written",
        "MHN-BND-2",
        f"    row_there = row < rows\n{_ATTENDED}",
        f"    row_there = row < rows - 1\n{_ATTENDED}",
    ),
    "parts_overlap": Edit(
        "a part of the memory begins with the last memory of the part before",
        "MHN-BND-3",
        "first = tl.program_id(2) * part\n",
        "first = tl.maximum(tl.program_id(2) * part - 1, 0)\n",
    ),
    # Rescaling
    "sums_not_rescaled": Edit(
        "the sums are not rescaled when the maximum grows", "MHN-BND-2", _SUMS, f"sums = sums + {_WEIGHTED}"
    ),
    "total_not_rescaled": Edit(
        "the denominator is not rescaled", "MHN-BND-2", _TOTAL, f"total = total + {_WEIGHT_SUM}"
    ),
    "neither_rescaled": Edit(
        "the factor is computed when the maximum has been replaced",
        "MHN-BND-2",
        "        shrink = tl.exp2(peak - origin)\n        peak = higher\n",
        "        peak = origin\n        shrink = tl.exp2(peak - origin)\n",
    ),
    "rescaled_twice": Edit(
        "the sums are multiplied by the square of the factor",
        "MHN-BND-2",
        _SUMS,
        f"sums = tl.fma(sums, (shrink * shrink)[:, None], {_WEIGHTED})",
    ),
    "maximum_not_subtracted": Edit(
        "no maximum is subtracted",
        "MHN-BND-3",
        'origin = tl.where(higher == float("-inf"), 0.0, higher)',
        'origin = tl.where(higher == float("-inf"), 0.0, 0.0)',
    ),
    # Masks
    "mask_inverted": Edit(
        "what is masked takes part, and the rest does not",
        "MHN-MSK-2",
        "mask=asked, other=0) != 0",
        "mask=asked, other=1) == 0",
    ),
    "mask_off_by_one": Edit(
        "each memory is masked as the one before it",
        "MHN-MSK-2",
        "keep_rows[:, None] + number[None, :] * keep_column",
        "keep_rows[:, None] + tl.maximum(number - 1, 0)[None, :] * keep_column",
    ),
    "mask_of_first_query": Edit(
        "the mask of the first query of a tile serves all",
        "MHN-MSK-2",
        "keep_rows[:, None] + number[None, :] * keep_column",
        "keep_rows[:, None] * 0 + tl.reduce(keep_rows, 0, tl.standard._elementwise_min)"
        " + number[None, :] * keep_column",
    ),
    "rescue_spoilt_by_none": Edit(
        "rows computed in float64 are spoilt by memories that are masked, or beyond the end",
        "MHN-NFI-3",
        "good = tl.minimum(good, tl.reduce(finite, 0, tl.standard._elementwise_min))",
        "good = tl.minimum(good, tl.reduce(finite * kept, 0, tl.standard._elementwise_min))",
    ),
    "empty_row_divided": Edit(
        "the sums of an empty row are divided by their number",
        "MHN-MSK-4",
        "        some = tl.where(total == 0.0, 1.0, total)\n        result = tl.div_rn(sums, some[:, None])\n"
        "        # A convex",
        "        result = tl.div_rn(sums + 1.0, total[:, None])\n        # A convex",
    ),
    # Strides and leading dimensions
    "memory_stride_ignored": Edit(
        "rows of the memory are taken to follow one another",
        "MHN-DOM-6",
        "number[:, None] * memory_row + columns",
        "number[:, None] * width + columns",
    ),
    "query_column_ignored": Edit(
        "entries of a query are taken to follow one another",
        "MHN-DOM-6",
        _ATTEND_STATE,
        "    state = tl.load(\n        query + row[:, None] * query_row + lane[None, :],",
    ),
    "values_column_ignored": Edit(
        "entries of values are taken to follow one another",
        "MHN-DOM-6",
        "read_columns = read_lane[None, :] * values_column",
        "read_columns = read_lane[None, :] + values_column * 0",
    ),
    "mask_stride_ignored": Edit(
        "a mask is taken to lie row by row",
        "mask_in_columns",
        "keep_rows[:, None] + number[None, :] * keep_column",
        "keep_rows[:, None] + number[None, :]",
    ),
    "memory_of_first_lead": Edit(
        "every leading index is given the first memory",
        "MHN-DOM-2",
        "memory += begin(origins + leads + lead, ALIGNED)\n"
        "    values += begin(origins + 2 * leads + lead, ALIGNED)\n"
        f"    keep += begin(origins + 3 * leads + lead, ALIGNED)\n{_BETA}",
        "memory += begin(origins + leads, ALIGNED)\n"
        "    values += begin(origins + 2 * leads + lead, ALIGNED)\n"
        f"    keep += begin(origins + 3 * leads + lead, ALIGNED)\n{_BETA}",
    ),
    "beta_of_first_lead": Edit(
        "every leading index is given the first beta",
        "beta_of_each_head",
        f"{_BETA}    state",
        "    scale = scale_at(beta + tl.load(origins + 4 * leads))\n    state",
    ),
    "offsets_in_32_bits": Edit(
        "offsets into the memory have 32 bits",
        "beyond_31_bits",
        "        number = (start + block).to(tl.int64)\n",
        "        number = start + block\n",
        "float16",
    ),
    "values_out_of_step": Edit(
        "values are read in pairs the wrong way round",
        "MHN-BND-2",
        "number[:, None] * values_row + read_columns",
        "tl.minimum(number ^ 1, memories - 1)[:, None] * values_row + read_columns",
    ),
    # Parts
    "parts_weighted_alike": Edit(
        "parts are added as if their maxima were the same",
        "MHN-BND-2",
        "share = tl.exp2(tl.load(peaks + slot, mask=row_there, other=0.0) - origin)",
        "share = tl.exp2(tl.load(peaks + slot, mask=row_there, other=0.0) * 0.0)",
    ),
    "last_part_dropped": Edit(
        "the last part is left out",
        "MHN-BND-2",
        "    for _ in range(0, parts):\n        share",
        "    for _ in range(1, parts):\n        share",
    ),
    "parts_total_unweighted": Edit(
        "denominators of parts are added as they are",
        "MHN-BND-2",
        "total = tl.fma(tl.load(totals + slot, mask=row_there, other=0.0), share, total)",
        "total = tl.fma(tl.load(totals + slot, mask=row_there, other=0.0), share * 0.0 + 1.0, total)",
    ),
    "parts_in_base_e": Edit(
        "shares of parts are powers of e, weights are powers of 2",
        "MHN-BND-2",
        "share = tl.exp2(tl.load(peaks + slot, mask=row_there, other=0.0) - origin)",
        "share = tl.exp(tl.load(peaks + slot, mask=row_there, other=0.0) - origin)",
    ),
    # Exponentials and logarithms
    "weights_in_base_e": Edit(
        "weights are powers of e of logits in base 2",
        "MHN-BND-2",
        "weight = tl.exp2(logit - origin[:, None])",
        "weight = tl.exp(logit - origin[:, None])",
    ),
    "log2_e_in_half": Edit(
        "the factor for base 2 has eleven bits",
        "MHN-BND-2",
        "LOG2_E = tl.constexpr(1.4426950408889634)",
        "LOG2_E = tl.constexpr(1.4423828125)",
    ),
    "maximum_in_base_2": Edit(
        "the maximum enters the log-normalizer in base 2",
        "MHN-BND-3",
        "        tl.store(normalizer + slot, peak * LOG_2 + tl.log(total), mask=row_there)\n"
        "        tl.store(flagged",
        "        tl.store(normalizer + slot, peak + tl.log(total), mask=row_there)\n        tl.store(flagged",
    ),
    # Precision
    "denominator_not_rounded": Edit(
        "the denominator sums weights that are not rounded",
        "far_from_zero",
        _WEIGHT_SUM,
        "tl.reduce(tl.exp2(logit - origin[:, None]), 1, tl.standard._sum_combine)",
        "bfloat16",
    ),
    "factors_in_tf32": Edit(
        "memories have eleven bits where they are multiplied by queries",
        "MHN-BND-2",
        _DOT,
        "eleven = (patterns.to(tl.uint32, bitcast=True) + 0x1000) & 0xFFFFE000\n"
        "        eleven = eleven.to(tl.float32, bitcast=True)\n"
        '        logit = tl.dot(state, tl.trans(eleven), input_precision="ieee") * scale',
    ),
    "weights_in_half": Edit(
        "weights of float32 numbers are rounded to half precision",
        "MHN-BND-2",
        "weight = rounded(weight) if BY_BITS else weight.to(memory.dtype.element_ty)",
        "weight = weight.to(tl.float16).to(tl.float32)",
    ),
    "sums_in_half": Edit(
        "sums are kept in half precision", "MHN-BND-2", _SUMS, f"{_SUMS}.to(tl.float16).to(tl.float32)"
    ),
    "scores_in_half": Edit(
        "scores are rounded to the type of the query",
        "MHN-BND-3",
        _DOT,
        'logit = tl.dot(state, tl.trans(patterns), input_precision="ieee").to(tl.float16)\n'
        "        logit = logit.to(tl.float32) * scale",
        "float16",
    ),
    "bfloat16_truncated": Edit(
        "float32 numbers are cut off where they should be rounded to bfloat16",
        "MHN-BND-2",
        "(bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000",
        "bits & 0xFFFF0000",
        "bfloat16",
    ),
    # The ends of the range
    "nothing_rescued": Edit(
        "flagged rows are left as they are",
        "MHN-NFI-3",
        f"if tl.load(flagged + slot) != 0:\n{_ONE_ROW}                result, logarithm, _ = row_update(",
        f"if tl.load(flagged + slot) == 2:\n{_ONE_ROW}                result, logarithm, _ = row_update(",
    ),
    "large_beta_used": Edit(
        "a beta beyond float32 becomes its largest number",
        "beta_beyond_float32",
        "scale = (beta * LOG2_E).to(tl.float32)",
        "scale = tl.minimum(tl.maximum(beta * LOG2_E, -3.4e38), 3.4e38).to(tl.float32)",
    ),
    "rescue_ignores_sign": Edit(
        "rows computed in float64 forget that beta is negative",
        "beta_beyond_float32",
        "sign = tl.where(slope < 0.0, -1.0, 1.0).to(tl.float64)",
        "sign = tl.where(slope < 0.0, 1.0, 1.0).to(tl.float64)",
    ),
    "infinity_weighs_nothing": Edit(
        "a memory that is not finite spoils a row only where a number becomes NaN",
        "MHN-NFI-2",
        "logarithm = tl.where(good == 0, ",
        "logarithm = tl.where(good == 2, ",
    ),
    "bad_value_ignored": Edit(
        "a value that is not finite is summed as it is, and spoils one entry",
        "value_not_a_number",
        "result = tl.where(read_good == 0, ",
        "result = tl.where(good == 0, ",
    ),
    "excess_of_all": Edit(
        "where beta is small, energies are those of a mean over memories that are masked too",
        "energy_at_small_beta",
        "mean = below / count",
        "mean = below / memories",
    ),
    "excess_without_highest": Edit(
        "where beta is small, energies lack the highest score",
        "energy_at_small_beta",
        'float("nan"), highest + logarithm)',
        'float("nan"), logarithm)',
    ),
    # Settling
    "rescued_step_is_last": Edit(
        "a query that is settled in float64 ends after its first step",
        "settling_beyond_float32",
        "going = tl.where((length > eps) & (moved != 0) & (step < most), 1, 0)",
        "going = 0",
    ),
    "return_not_noticed": Edit(
        "a query goes on when its state has come back to an earlier one",
        "comes_back",
        "goes_on = ordinary & (length > eps) & (moved != 0)",
        "goes_on = ordinary & (length > eps)",
    ),
    "anchor_never_moved": Edit(
        "states are compared with the query alone, to which none comes back",
        "comes_back",
        "        if (step & (step - 1)) == 0:\n            anchor = state\n        going",
        "        going",
    ),
    "settled_moves_on": Edit(
        "a query that has ended moves on with its tile",
        "MHN-SET-4",
        "state = tl.where(on[:, None], new, state)",
        "state = new",
    ),
    "tile_stops_together": Edit(
        "no query of a tile ends before all do",
        "MHN-SET-4",
        "active = tl.where(goes_on, active, 0)",
        "active = active * tl.reduce(tl.where(goes_on, active, 0), 0, tl.standard._elementwise_max)",
    ),
    "tile_stops_with_first": Edit(
        "all queries of a tile end when one does",
        "MHN-SET-4",
        "active = tl.where(goes_on, active, 0)",
        "ended = row_there & (goes_on == 0)\n"
        "        active = active * tl.reduce(tl.where(ended, 0, 1), 0, tl.standard._elementwise_min)",
    ),
    "steps_off_by_one": Edit(
        "the last step is not counted",
        "MHN-SET-3",
        "count = tl.where(on, step, count)",
        "count = tl.where(on, step - 1, count)",
    ),
    "square_compared": Edit(
        "the square of a step is compared with eps",
        "MHN-SET-1",
        "ordinary & (length > eps)",
        "ordinary & (length * length > eps)",
    ),
    "bound_on_steps_ignored": Edit(
        "one step more than asked for",
        "MHN-SET-2",
        "going = tl.where(step < most,",
        "going = tl.where(step <= most,",
    ),
}

SAMPLE = (
    "tail_scores_zero",
    "read_width_tail_dropped",
    "sums_not_rescaled",
    "mask_of_first_query",
    "memory_stride_ignored",
    "beta_of_first_lead",
    "last_part_dropped",
    "weights_in_base_e",
    "denominator_not_rounded",
    "nothing_rescued",
    "settled_moves_on",
    "tile_stops_with_first",
)
"""Of each kind one or two: what a test run has time for."""
