# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"
"""Kernels that do one thing each, so that it can be found out how the device does it."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def exp2_kernel(x, result, count, BLOCK: tl.constexpr):
    """Exponentials of base 2 of ``count`` float32 numbers."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(result + place, tl.exp2(tl.load(x + place, mask=place < count)), mask=place < count)


@triton.jit
def exp_kernel(x, result, count, BLOCK: tl.constexpr):
    """Exponentials of ``count`` float32 numbers."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(result + place, tl.exp(tl.load(x + place, mask=place < count)), mask=place < count)


@triton.jit
def dot_kernel(left, right, result, TERMS: tl.constexpr):
    """``left[programs * 16, TERMS]`` times ``right[TERMS, 16]``, float32 ``[programs * 16, 16]``."""
    rows = tl.program_id(0) * 16 + tl.arange(0, 16)
    terms = tl.arange(0, TERMS)
    columns = tl.arange(0, 16)
    first = tl.load(left + rows[:, None] * TERMS + terms[None, :])
    second = tl.load(right + terms[:, None] * 16 + columns[None, :])
    product = tl.dot(first, second, input_precision="ieee")
    tl.store(result + rows[:, None] * 16 + columns[None, :], product)
