# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"
"""The kernels themselves, in Triton; what they compute and in which order is told in ``docs/gpu-kernels.md``.

Compiled for a GPU or, where ``TRITON_INTERPRET`` was set when this file was loaded, run by Triton's
interpreter: see :mod:`hopspec.fastpath.triton.source`. Triton reads the source of each function, so that a
decorated function sees nothing of this module but other such functions, ``tl`` and constants declared as
such.

Reductions name Triton's own operators: the interpreter runs any other one element by element.
"""

from __future__ import annotations

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
LOG_2 = tl.constexpr(0.6931471805599453)
LEAST_NORMAL = tl.constexpr(2.0**-126)


@triton.jit
def rounded(x):
    """Float32 numbers rounded to bfloat16, to nearest, ties to even, and kept as float32."""
    # A NaN must not be carried past the exponent.
    bits = tl.where(x == x, x.to(tl.uint32, bitcast=True), 0x7FC00000)  # noqa: PLR0124
    nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return nearest.to(tl.float32, bitcast=True)


@triton.jit
def widened(x):
    """Bfloat16 numbers as float32, by their bits."""
    return (x.to(tl.uint16, bitcast=True).to(tl.uint32) << 16).to(tl.float32, bitcast=True)


@triton.jit
def narrowed(x):
    """Float32 numbers that are bfloat16 numbers, as such, by their bits."""
    return (x.to(tl.uint32, bitcast=True) >> 16).to(tl.uint16).to(tl.bfloat16, bitcast=True)


@triton.jit
def begin(origin, ALIGNED: tl.constexpr):
    """Where a matrix begins, in elements.

    With ``ALIGNED`` it is a multiple of 16: without it the compiler has to read rows number by number.
    """
    offset = tl.load(origin)
    if ALIGNED:
        offset = tl.multiple_of(offset, 16)
    return offset


@triton.jit
def scale_at(place):
    """Beta in base 2 and float32, or NaN, which flags every row, where float32 holds it badly or not."""
    beta = tl.load(place)
    scale = (beta * LOG2_E).to(tl.float32)
    held = (tl.abs(scale) >= LEAST_NORMAL) & (tl.abs(scale) < float("inf")) | (beta == 0.0)
    return tl.where(held, scale, float("nan"))


@triton.jit
def associated(
    state,
    memory,
    values,
    keep,
    scale,
    first,
    last,
    memories,
    width,
    read_width,
    row_there,
    keep_rows,
    memory_row,
    memory_column,
    values_row,
    values_column,
    keep_column,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
    READ_WIDTH: tl.constexpr,
    OWN: tl.constexpr,
    MASKED: tl.constexpr,
    BY_BITS: tl.constexpr,
):
    """One pass over the memories ``first`` to ``last``: sums, peak, total and least logit of each query.

    Logits are in base 2. A query whose total is not finite, or whose least logit is -inf, met a number that
    is not finite or left the range of float32; of any other one, none of its results did.
    """
    lane = tl.arange(0, WIDTH)
    read_lane = tl.arange(0, READ_WIDTH)
    block = tl.arange(0, BLOCK)
    columns = lane[None, :] * memory_column
    inside = (lane < width)[None, :]
    read_columns = read_lane[None, :] * values_column
    read_inside = (read_lane < read_width)[None, :]
    sums = tl.full([ROWS, READ_WIDTH], 0.0, tl.float32)
    total = tl.full([ROWS], 0.0, tl.float32)
    least = tl.full([ROWS], 0.0, tl.float32)
    peak = tl.full([ROWS], float("-inf"), tl.float32)
    for start in range(first, last, BLOCK):
        number = (start + block).to(tl.int64)
        there = number < memories
        if MASKED:
            asked = row_there[:, None] & there[None, :]
            kept = (
                tl.load(keep + keep_rows[:, None] + number[None, :] * keep_column, mask=asked, other=0) != 0
            )
            # What no query of the tile keeps is not loaded: it may hold anything.
            seen = tl.reduce(kept.to(tl.int32), 0, tl.standard._elementwise_max) != 0
        else:
            seen = there
        patterns = tl.load(
            memory + number[:, None] * memory_row + columns, mask=seen[:, None] & inside, other=0.0
        )
        if BY_BITS:
            patterns = widened(patterns)
        logit = tl.dot(state, tl.trans(patterns), input_precision="ieee") * scale
        if MASKED:
            least = tl.minimum(least, tl.reduce(tl.where(kept, logit, 0.0), 1, tl.standard._elementwise_min))
            logit = tl.where(kept, logit, float("-inf"))
        else:
            # Beyond the end scores are 0 where nothing is wrong with the query.
            least = tl.minimum(least, tl.reduce(logit, 1, tl.standard._elementwise_min))
            logit = tl.where(there[None, :], logit, float("-inf"))
        higher = tl.maximum(peak, tl.reduce(logit, 1, tl.standard._elementwise_max))
        origin = tl.where(higher == float("-inf"), 0.0, higher)
        weight = tl.exp2(logit - origin[:, None])
        weight = rounded(weight) if BY_BITS else weight.to(memory.dtype.element_ty)
        shrink = tl.exp2(peak - origin)
        peak = higher
        if OWN:
            read = patterns
        else:
            read = tl.load(
                values + number[:, None] * values_row + read_columns,
                mask=seen[:, None] & read_inside,
                other=0.0,
            )
            if BY_BITS:
                read = widened(read)
        # Each block is summed from zero, so that a sum passes through the additions of one block and one for
        # each block after it; added by a fused operation, which the compiler does not move into the product.
        total = tl.fma(total, shrink, tl.reduce(weight.to(tl.float32), 1, tl.standard._sum_combine))
        sums = tl.fma(sums, shrink[:, None], tl.dot(weight, read, input_precision="ieee"))
    return sums, peak, total, least


@triton.jit
def attend_kernel(
    query,
    memory,
    values,
    keep,
    beta,
    origins,
    output,
    normalizer,
    peaks,
    flagged,
    leads,
    rows,
    memories,
    width,
    read_width,
    part,
    query_row,
    query_column,
    memory_row,
    memory_column,
    values_row,
    values_column,
    keep_row,
    keep_column,
    LARGEST: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
    READ_WIDTH: tl.constexpr,
    OWN: tl.constexpr,
    MASKED: tl.constexpr,
    PARTED: tl.constexpr,
    BY_BITS: tl.constexpr,
    ALIGNED: tl.constexpr,
):
    """Update and log-normalizer of one tile of queries; with ``PARTED``, what one part of the memory adds.

    Grid ``(tiles of queries, leads, parts)``. Without ``PARTED``: ``output[leads, rows, read_width]`` in
    the type of the query, ``normalizer[leads, rows]`` float32, ``flagged[leads, rows]`` int32, 1 for a row
    that ``rescue_kernel`` has to compute. With it: unnormalised sums ``output[parts, leads, rows,
    read_width]``, totals ``normalizer[parts, leads, rows]`` (NaN for a row to be flagged) and ``peaks`` of
    the same shape, all float32.
    """
    lead = tl.program_id(1).to(tl.int64)
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    row_there = row < rows
    lane = tl.arange(0, WIDTH)
    read_lane = tl.arange(0, READ_WIDTH)
    query += begin(origins + lead, ALIGNED)
    memory += begin(origins + leads + lead, ALIGNED)
    values += begin(origins + 2 * leads + lead, ALIGNED)
    keep += begin(origins + 3 * leads + lead, ALIGNED)
    scale = scale_at(beta + tl.load(origins + 4 * leads + lead))
    state = tl.load(
        query + row[:, None] * query_row + lane[None, :] * query_column,
        mask=row_there[:, None] & (lane < width)[None, :],
        other=0.0,
    )
    if BY_BITS:
        state = widened(state)
    if PARTED:
        first = tl.program_id(2) * part
        last = tl.minimum(first + part, memories)
        slot = (tl.program_id(2) * leads + lead) * rows + row
    else:
        first = 0
        last = memories
        slot = lead * rows + row
    sums, peak, total, least = associated(
        state,
        memory,
        values,
        keep,
        scale,
        first,
        last,
        memories,
        width,
        read_width,
        row_there,
        row * keep_row,
        memory_row,
        memory_column,
        values_row,
        values_column,
        keep_column,
        ROWS,
        BLOCK,
        WIDTH,
        READ_WIDTH,
        OWN,
        MASKED,
        BY_BITS,
    )
    ordinary = (total < float("inf")) & (least > float("-inf"))
    place = slot[:, None] * read_width + read_lane[None, :]
    inside = row_there[:, None] & (read_lane < read_width)[None, :]
    if PARTED:
        tl.store(output + place, sums, mask=inside)
        tl.store(peaks + slot, peak, mask=row_there)
        tl.store(normalizer + slot, tl.where(ordinary, total, float("nan")), mask=row_there)
    else:
        ordinary = ordinary & (tl.reduce(sums - sums, 1, tl.standard._sum_combine) == 0.0)
        some = tl.where(total == 0.0, 1.0, total)
        result = tl.div_rn(sums, some[:, None])
        # A convex combination of the largest numbers may be rounded past the largest one.
        result = tl.minimum(tl.maximum(result, -LARGEST), LARGEST)
        if BY_BITS:
            result = narrowed(rounded(result))
        tl.store(output + place, result.to(query.dtype.element_ty), mask=inside)
        tl.store(normalizer + slot, peak * LOG_2 + tl.log(total), mask=row_there)
        tl.store(flagged + slot, tl.where(ordinary, 0, 1), mask=row_there)


@triton.jit
def merge_kernel(
    sums,
    totals,
    peaks,
    output,
    normalizer,
    flagged,
    parts,
    every,
    read_width,
    LARGEST: tl.constexpr,
    ROWS: tl.constexpr,
    READ_WIDTH: tl.constexpr,
    BY_BITS: tl.constexpr,
):
    """What the parts of a memory add, as ``attend_kernel`` left it, made one result a row, of ``every``.

    Grid ``(tiles of rows,)``; rows of all leading dimensions follow one another.
    """
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    row_there = row < every
    read_lane = tl.arange(0, READ_WIDTH)
    inside = row_there[:, None] & (read_lane < read_width)[None, :]
    peak = tl.full([ROWS], float("-inf"), tl.float32)
    slot = row
    for _ in range(0, parts):
        peak = tl.maximum(peak, tl.load(peaks + slot, mask=row_there, other=float("-inf")))
        slot += every
    origin = tl.where(peak == float("-inf"), 0.0, peak)
    total = tl.full([ROWS], 0.0, tl.float32)
    merged = tl.full([ROWS, READ_WIDTH], 0.0, tl.float32)
    slot = row
    for _ in range(0, parts):
        share = tl.exp2(tl.load(peaks + slot, mask=row_there, other=0.0) - origin)
        total = tl.fma(tl.load(totals + slot, mask=row_there, other=0.0), share, total)
        own = tl.load(sums + slot[:, None] * read_width + read_lane[None, :], mask=inside, other=0.0)
        merged = tl.fma(own, share[:, None], merged)
        slot += every
    finite = tl.reduce(merged - merged, 1, tl.standard._sum_combine) == 0.0
    some = tl.where(total == 0.0, 1.0, total)
    result = tl.div_rn(merged, some[:, None])
    result = tl.minimum(tl.maximum(result, -LARGEST), LARGEST)
    place = row[:, None] * read_width + read_lane[None, :]
    if BY_BITS:
        result = narrowed(rounded(result))
    tl.store(output + place, result.to(output.dtype.element_ty), mask=inside)
    tl.store(normalizer + row, peak * LOG_2 + tl.log(total), mask=row_there)
    tl.store(flagged + row, tl.where(finite & (total < float("inf")), 0, 1), mask=row_there)


@triton.jit
def any_in(flagged, first, rows, ROWS: tl.constexpr):
    """Whether one of the rows from ``first`` on is flagged."""
    row = first + tl.arange(0, ROWS)
    flags = tl.load(flagged + row, mask=row < rows, other=0)
    return tl.reduce(flags, 0, tl.standard._elementwise_max) != 0


@triton.jit
def row_state(query, query_column, width, WIDTH: tl.constexpr, BY_BITS: tl.constexpr):
    """One query in float64."""
    lane = tl.arange(0, WIDTH)
    state = tl.load(query + lane * query_column, mask=lane < width, other=0.0)
    return (widened(state) if BY_BITS else state).to(tl.float64)


@triton.jit
def row_scores(
    state,
    memory,
    keep,
    start,
    memories,
    width,
    memory_row,
    memory_column,
    keep_column,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
    MASKED: tl.constexpr,
    BY_BITS: tl.constexpr,
):
    """Scores of one query in float64, of the memories from ``start`` on; which it keeps, which are finite."""
    lane = tl.arange(0, WIDTH)
    column = (start + tl.arange(0, BLOCK)).to(tl.int64)
    kept = column < memories
    if MASKED:
        kept = tl.load(keep + column * keep_column, mask=kept, other=0) != 0
    patterns = tl.load(
        memory + column[:, None] * memory_row + lane[None, :] * memory_column,
        mask=kept[:, None] & (lane < width)[None, :],
        other=0.0,
    )
    patterns = (widened(patterns) if BY_BITS else patterns).to(tl.float64)
    finite = tl.reduce((tl.abs(patterns) < float("inf")).to(tl.int32), 1, tl.standard._elementwise_min)
    return tl.reduce(patterns * state[None, :], 1, tl.standard._sum_combine), kept, finite


@triton.jit
def row_summit(
    state,
    memory,
    keep,
    sign,
    memories,
    width,
    memory_row,
    memory_column,
    keep_column,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
    MASKED: tl.constexpr,
    BY_BITS: tl.constexpr,
):
    """The highest score of one query, times ``sign``; how many memories it keeps; whether all are finite."""
    good = tl.reduce((tl.abs(state) < float("inf")).to(tl.int32), 0, tl.standard._elementwise_min)
    highest = tl.full([1], float("-inf"), tl.float64)
    count = 0
    for start in range(0, memories, BLOCK):
        score, kept, finite = row_scores(
            state,
            memory,
            keep,
            start,
            memories,
            width,
            memory_row,
            memory_column,
            keep_column,
            BLOCK,
            WIDTH,
            MASKED,
            BY_BITS,
        )
        good = tl.minimum(good, tl.reduce(finite, 0, tl.standard._elementwise_min))
        count += tl.reduce(kept.to(tl.int32), 0, tl.standard._sum_combine)
        score = tl.where(kept, score * sign, float("-inf"))
        highest = tl.maximum(highest, tl.reduce(score, 0, tl.standard._elementwise_max))
    return highest, count, good


@triton.jit
def row_update(
    state,
    memory,
    values,
    keep,
    slope,
    memories,
    width,
    read_width,
    memory_row,
    memory_column,
    values_row,
    values_column,
    keep_column,
    LARGEST: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
    READ_WIDTH: tl.constexpr,
    MASKED: tl.constexpr,
    BY_BITS: tl.constexpr,
):
    """What one query reads out, in float32, its log-normalizer, and how many memories it keeps.

    In float64, where no number of the other types leaves the range. Here it is found out, too, whether a NaN
    or an infinity spoils the row.
    """
    read_lane = tl.arange(0, READ_WIDTH)
    sign = tl.where(slope < 0.0, -1.0, 1.0).to(tl.float64)
    highest, count, good = row_summit(
        state,
        memory,
        keep,
        sign,
        memories,
        width,
        memory_row,
        memory_column,
        keep_column,
        BLOCK,
        WIDTH,
        MASKED,
        BY_BITS,
    )
    read_good = good
    total = tl.full([1], 0.0, tl.float64)
    sums = tl.full([READ_WIDTH], 0.0, tl.float64)
    for start in range(0, memories, BLOCK):
        score, kept, _ = row_scores(
            state,
            memory,
            keep,
            start,
            memories,
            width,
            memory_row,
            memory_column,
            keep_column,
            BLOCK,
            WIDTH,
            MASKED,
            BY_BITS,
        )
        column = (start + tl.arange(0, BLOCK)).to(tl.int64)
        read = tl.load(
            values + column[:, None] * values_row + read_lane[None, :] * values_column,
            mask=kept[:, None] & (read_lane < read_width)[None, :],
            other=0.0,
        )
        read = (widened(read) if BY_BITS else read).to(tl.float64)
        finite = tl.reduce((tl.abs(read) < float("inf")).to(tl.int32), 1, tl.standard._elementwise_min)
        read_good = tl.minimum(read_good, tl.reduce(finite, 0, tl.standard._elementwise_min))
        # The maximum is subtracted first: the product may then overflow to -inf, a weight of 0.
        weight = tl.where(kept, tl.exp((score * sign - highest) * (slope * sign)), 0.0)
        total += tl.reduce(weight, 0, tl.standard._sum_combine)
        sums += tl.reduce(weight[:, None] * read, 0, tl.standard._sum_combine)
    result = tl.minimum(tl.maximum(sums / total, -LARGEST), LARGEST).to(tl.float32)
    logarithm = highest * (slope * sign) + tl.log(total)
    result = tl.where(read_good == 0, float("nan"), result)
    logarithm = tl.where(good == 0, float("nan"), logarithm)
    return tl.where(count != 0, result, 0.0), tl.where(count != 0, logarithm, float("-inf")), count


@triton.jit
def rescue_kernel(
    query,
    memory,
    values,
    keep,
    beta,
    origins,
    output,
    normalizer,
    flagged,
    leads,
    rows,
    memories,
    width,
    read_width,
    query_row,
    query_column,
    memory_row,
    memory_column,
    values_row,
    values_column,
    keep_row,
    keep_column,
    LARGEST: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
    READ_WIDTH: tl.constexpr,
    MASKED: tl.constexpr,
    BY_BITS: tl.constexpr,
    ALIGNED: tl.constexpr,
):
    """Update and log-normalizer of the rows that were flagged. Grid ``(tiles of queries, leads)``."""
    lead = tl.program_id(1).to(tl.int64)
    read_lane = tl.arange(0, READ_WIDTH)
    first = tl.program_id(0) * ROWS
    if any_in(flagged + lead * rows, first, rows, ROWS):
        query += begin(origins + lead, ALIGNED)
        memory += begin(origins + leads + lead, ALIGNED)
        values += begin(origins + 2 * leads + lead, ALIGNED)
        keep += begin(origins + 3 * leads + lead, ALIGNED)
        slope = tl.load(beta + tl.load(origins + 4 * leads + lead))
        for number in range(first, tl.minimum(first + ROWS, rows)):
            slot = lead * rows + number
            row = slot - lead * rows
            if tl.load(flagged + slot) != 0:
                state = row_state(query + row * query_row, query_column, width, WIDTH, BY_BITS)
                result, logarithm, _ = row_update(
                    state,
                    memory,
                    values,
                    keep + row * keep_row,
                    slope,
                    memories,
                    width,
                    read_width,
                    memory_row,
                    memory_column,
                    values_row,
                    values_column,
                    keep_column,
                    LARGEST,
                    BLOCK,
                    WIDTH,
                    READ_WIDTH,
                    MASKED,
                    BY_BITS,
                )
                if BY_BITS:
                    result = narrowed(rounded(result))
                tl.store(
                    output + slot * read_width + read_lane,
                    result.to(query.dtype.element_ty),
                    mask=read_lane < read_width,
                )
                tl.store(normalizer + slot + tl.arange(0, 1), logarithm.to(tl.float32))


@triton.jit
def settle_kernel(
    query,
    memory,
    keep,
    beta,
    origins,
    output,
    residuals,
    counts,
    flagged,
    eps,
    most,
    leads,
    rows,
    memories,
    width,
    query_row,
    query_column,
    memory_row,
    memory_column,
    keep_row,
    keep_column,
    LARGEST: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
    MASKED: tl.constexpr,
    BY_BITS: tl.constexpr,
    ALIGNED: tl.constexpr,
):
    """Updates of one tile of queries, which stays on the chip, each until it has ended by itself.

    A query ends after a step of length at most ``eps``, or when its state has come back to the anchor,
    which is moved to where it is at every power of two (Brent), or after ``most`` steps; its state is then
    not touched any more. The tile ends with the last of its queries. Grid ``(tiles of queries, leads)``.

    ``output[leads, rows, width]`` is the last state in the type of the query, ``residuals[leads, rows]``
    the length of its last step in float32, ``counts[leads, rows]`` the number of steps, int32;
    ``flagged[leads, rows]`` is 1 for a query that met a number not finite, or out of range, and has to be
    computed in another way.
    """
    lead = tl.program_id(1).to(tl.int64)
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    row_there = row < rows
    lane = tl.arange(0, WIDTH)
    query += begin(origins + lead, ALIGNED)
    memory += begin(origins + leads + lead, ALIGNED)
    keep += begin(origins + 3 * leads + lead, ALIGNED)
    scale = scale_at(beta + tl.load(origins + 4 * leads + lead))
    inside = row_there[:, None] & (lane < width)[None, :]
    state = tl.load(query + row[:, None] * query_row + lane[None, :] * query_column, mask=inside, other=0.0)
    if BY_BITS:
        state = widened(state)
    anchor = state
    active = row_there.to(tl.int32)
    count = tl.full([ROWS], 0, tl.int32)
    flag = tl.full([ROWS], 0, tl.int32)
    residual = tl.full([ROWS], 0.0, tl.float32)
    step = 0
    going = 1
    while going != 0:
        step += 1
        sums, _, total, least = associated(
            state,
            memory,
            memory,
            keep,
            scale,
            0,
            memories,
            memories,
            width,
            width,
            row_there,
            row * keep_row,
            memory_row,
            memory_column,
            memory_row,
            memory_column,
            keep_column,
            ROWS,
            BLOCK,
            WIDTH,
            WIDTH,
            True,
            MASKED,
            BY_BITS,
        )
        finite = tl.reduce(sums - sums, 1, tl.standard._sum_combine) == 0.0
        ordinary = finite & (total < float("inf")) & (least > float("-inf"))
        some = tl.where(total == 0.0, 1.0, total)
        result = tl.minimum(tl.maximum(tl.div_rn(sums, some[:, None]), -LARGEST), LARGEST)
        new = rounded(result) if BY_BITS else result.to(query.dtype.element_ty)
        # Squares of float32 numbers stay within the range of float64.
        difference = new.to(tl.float64) - state.to(tl.float64)
        squares = tl.reduce(difference * difference, 1, tl.standard._sum_combine)
        length = tl.where(total == 0.0, 0.0, tl.sqrt(squares).to(tl.float32))
        moved = tl.reduce((new != anchor).to(tl.int32), 1, tl.standard._elementwise_max)
        on = active != 0
        state = tl.where(on[:, None], new, state)
        residual = tl.where(on, length, residual)
        count = tl.where(on, step, count)
        flag = tl.where(on & (ordinary == 0), 1, flag)
        goes_on = ordinary & (length > eps) & (moved != 0)
        active = tl.where(goes_on, active, 0)
        if (step & (step - 1)) == 0:
            anchor = state
        going = tl.where(step < most, tl.reduce(active, 0, tl.standard._elementwise_max), 0)
    slot = lead * rows + row
    place = slot[:, None] * width + lane[None, :]
    if BY_BITS:
        state = narrowed(state)
    tl.store(output + place, state.to(query.dtype.element_ty), mask=inside)
    tl.store(residuals + slot, residual, mask=row_there)
    tl.store(counts + slot, count, mask=row_there)
    tl.store(flagged + slot, flag, mask=row_there)


@triton.jit
def resettle_kernel(
    query,
    memory,
    keep,
    beta,
    origins,
    output,
    residuals,
    counts,
    flagged,
    eps,
    most,
    leads,
    rows,
    memories,
    width,
    query_row,
    query_column,
    memory_row,
    memory_column,
    keep_row,
    keep_column,
    LARGEST: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
    MASKED: tl.constexpr,
    BY_BITS: tl.constexpr,
    ALIGNED: tl.constexpr,
):
    """What ``settle_kernel`` computes, from the query on, of the rows that it flagged.

    Grid ``(tiles of queries, leads)``.
    """
    lead = tl.program_id(1).to(tl.int64)
    lane = tl.arange(0, WIDTH)
    first = tl.program_id(0) * ROWS
    if any_in(flagged + lead * rows, first, rows, ROWS):
        query += begin(origins + lead, ALIGNED)
        memory += begin(origins + leads + lead, ALIGNED)
        keep += begin(origins + 3 * leads + lead, ALIGNED)
        slope = tl.load(beta + tl.load(origins + 4 * leads + lead))
        for number in range(first, tl.minimum(first + ROWS, rows)):
            slot = lead * rows + number
            row = slot - lead * rows
            if tl.load(flagged + slot) != 0:
                state = row_state(query + row * query_row, query_column, width, WIDTH, BY_BITS)
                anchor = state
                length = 0.0
                step = 0
                going = 1
                while going != 0:
                    step += 1
                    result, _, count = row_update(
                        state,
                        memory,
                        memory,
                        keep + row * keep_row,
                        slope,
                        memories,
                        width,
                        width,
                        memory_row,
                        memory_column,
                        memory_row,
                        memory_column,
                        keep_column,
                        LARGEST,
                        BLOCK,
                        WIDTH,
                        WIDTH,
                        MASKED,
                        BY_BITS,
                    )
                    new = rounded(result) if BY_BITS else result.to(query.dtype.element_ty)
                    new = new.to(tl.float64)
                    squares = tl.reduce((new - state) * (new - state), 0, tl.standard._sum_combine)
                    length = tl.where(count == 0, 0.0, tl.sqrt(squares).to(tl.float32))
                    moved = tl.reduce((new != anchor).to(tl.int32), 0, tl.standard._elementwise_max)
                    state = new
                    if (step & (step - 1)) == 0:
                        anchor = state
                    going = tl.where((length > eps) & (moved != 0) & (step < most), 1, 0)
                state = state.to(tl.float32)
                if BY_BITS:
                    state = narrowed(state)
                tl.store(output + slot * width + lane, state.to(query.dtype.element_ty), mask=lane < width)
                tl.store(residuals + slot, length)
                tl.store(counts + slot, step)


@triton.jit
def excess_kernel(
    query,
    memory,
    keep,
    beta,
    origins,
    excess,
    flagged,
    leads,
    rows,
    memories,
    width,
    query_row,
    query_column,
    memory_row,
    memory_column,
    keep_row,
    keep_column,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
    MASKED: tl.constexpr,
    BY_BITS: tl.constexpr,
    ALIGNED: tl.constexpr,
):
    """``log(mean exp(beta score)) / beta`` of the rows that were flagged; beta is positive.

    With ``x = beta (score - highest)`` it is ``highest + log1p(mean expm1(x)) / beta``, and ``expm1(x) /
    beta`` is ``(score - highest) expm1(x) / x``, so that a small beta divides no number. Both ratios are
    those of Kahan: ``expm1(x) / x = (w - 1) / log(w)`` with ``w = exp(x)`` as rounded. Grid ``(tiles of
    queries, leads)``; ``excess[leads, rows]`` float64.
    """
    lead = tl.program_id(1).to(tl.int64)
    first = tl.program_id(0) * ROWS
    if any_in(flagged + lead * rows, first, rows, ROWS):
        query += begin(origins + lead, ALIGNED)
        memory += begin(origins + leads + lead, ALIGNED)
        keep += begin(origins + 3 * leads + lead, ALIGNED)
        slope = tl.load(beta + tl.load(origins + 4 * leads + lead))
        for number in range(first, tl.minimum(first + ROWS, rows)):
            slot = lead * rows + number
            row = slot - lead * rows
            if tl.load(flagged + slot) != 0:
                state = row_state(query + row * query_row, query_column, width, WIDTH, BY_BITS)
                highest, count, good = row_summit(
                    state,
                    memory,
                    keep + row * keep_row,
                    1.0,
                    memories,
                    width,
                    memory_row,
                    memory_column,
                    keep_column,
                    BLOCK,
                    WIDTH,
                    MASKED,
                    BY_BITS,
                )
                total = tl.full([1], 0.0, tl.float64)
                below = tl.full([1], 0.0, tl.float64)
                for start in range(0, memories, BLOCK):
                    score, kept, _ = row_scores(
                        state,
                        memory,
                        keep + row * keep_row,
                        start,
                        memories,
                        width,
                        memory_row,
                        memory_column,
                        keep_column,
                        BLOCK,
                        WIDTH,
                        MASKED,
                        BY_BITS,
                    )
                    depth = score - highest
                    power = depth * slope
                    weight = tl.exp(power)
                    ratio = (weight - 1.0) / tl.where(power > -0.5, tl.log(weight), power)
                    ratio = tl.where(weight == 1.0, 1.0, ratio)
                    total += tl.reduce(tl.where(kept, weight, 0.0), 0, tl.standard._sum_combine)
                    below += tl.reduce(tl.where(kept, depth * ratio, 0.0), 0, tl.standard._sum_combine)
                mean = below / count
                weight = 1.0 + mean * slope
                ratio = tl.where(weight == 1.0, 1.0, tl.log(weight) / (weight - 1.0))
                near = mean * slope > -0.5
                logarithm = tl.where(near, mean * ratio, tl.log(total / count) / slope)
                result = tl.where(good == 0, float("nan"), highest + logarithm)
                tl.store(excess + slot + tl.arange(0, 1), result)
