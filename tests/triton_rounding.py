"""A kernel that rounds to bfloat16 and back by the bits, for a test; loaded from its file."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from hopspec.fastpath.triton.source import interpreted

_kernels = interpreted()
rounded, narrowed, widened = _kernels.rounded, _kernels.narrowed, _kernels.widened


@triton.jit  # type: ignore[untyped-decorator]
def rounding_kernel(numbers: Any, result: Any, back: Any, SIZE: tl.constexpr) -> None:
    """Round ``SIZE`` float32 numbers to bfloat16, and widen them again."""
    lane = tl.arange(0, SIZE)
    stored = narrowed(rounded(tl.load(numbers + lane)))
    tl.store(result + lane, stored)
    tl.store(back + lane, widened(stored))
