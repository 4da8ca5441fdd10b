r"""Asking a memory without having looked at it.

A look at the largest entry of a memory reads all of it, which for a few queries takes as long as the update.
It is there to prove that no score leaves the range of the type in which it is added up. That can be had from
the queries alone. Let $X$ be the largest number of the storage format and $F$ that of the format of the sums.
With $2^{-k}\xi$ in place of a query $\xi$ and $2^k\beta$ in place of $\beta$, where

$$ d \cdot 2^{-k}\max_j\lvert\xi_j\rvert \cdot X \le F/4 , $$

no product and no partial sum of a score overflows, *whatever finite numbers the memory holds*. Powers of two
change no bit of a logit as long as nothing underflows. What may go wrong after that shows in the results, or
is right:

- A logit, score times $2^k\beta$, may overflow. The infinity has the sign of the exact logit, as nothing was
  lost before. If it is $+\infty$, so is the largest logit, and the log-normalizer is not finite. If it is
  $-\infty$ the weight is 0, which is what the exponential of a number so far below any finite maximum is.
  If all logits of a part of the memory are $-\infty$ there is no maximum; the kernel is asked to mark that.
- Weights are at most 1, their sum at most N, but the weighted sum of memories may overflow. It is then
  infinite or NaN, as is the output.
- A NaN or an infinity in a memory is multiplied by its weight, which makes the output infinite or NaN, be
  the weight 0 or not, whatever has become of the score.

So a result that is finite and not marked is the right one, under the same accuracy model, and any other is
given up. Underflow of products is worse by $2^k$ than without the factor: a logit errs by another
$2d\eta\,2^k\lvert\beta\rvert$ at the most, $\eta \le 2^{-126}$ even if the kernel flushes to zero. That is
kept below $2^{-40}$ (far below in double precision). It changes a weight by as small a part of it, for which
the error that the models allow an exponential has room: sixteen units roundoff in single precision, where six
were measured, and four in double precision, where two are documented.

Whether a memory is asked in this way depends on nothing but what is known without a look at it, so that a
prepared memory, of which the largest entry is known, gives the same bits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hopspec.fastpath._flash import flash

_SUMMED_IN = {torch.float64: torch.float64} | dict.fromkeys(
    (torch.float32, torch.bfloat16, torch.float16), torch.float32
)
# F / (4 X) as an exponent of two, rounded down.
_ROOM = {
    dtype: math.floor(math.log2(torch.finfo(summed).max / torch.finfo(dtype).max)) - 2
    for dtype, summed in _SUMMED_IN.items()
}
# Bounds on d times the size of the scaled beta: see the end of the module's text.
_STEEPEST = 2.0**80
# The kernel holds beta in the format of the sums; below its normal range digits are lost.
_LEAST_BETA = {dtype: torch.finfo(summed).tiny for dtype, summed in _SUMMED_IN.items()}


def ask_unseen(
    query: Tensor, memory: Tensor, beta: float, size: float, *, within_reach: bool = False
) -> tuple[Tensor, Tensor] | None:
    """Output ``[1, 1, L, d]`` and log-normalizer ``[1, 1, L]``, or None if they might not be right.

    Args:
        query: ``[1, 1, L, d]``.
        memory: ``[1, 1, N, d]``, N and d at least 1; any numbers, NaN and infinities among them.
        beta: inverse temperature, finite.
        size: no less than the largest absolute entry of the query; NaN if there is one in it.
        within_reach: whether the scores are known to stay in range even of the query as it is. The result
            has the same bits, and is not looked at.
    """
    width, dtype = query.shape[3], query.dtype
    if not size < math.inf or 0 < abs(beta) < _LEAST_BETA[dtype]:
        return None
    down = max(0, math.frexp(size * width)[1] - _ROOM[dtype]) if size * width < math.inf else math.inf
    if down > 100 or math.ldexp(abs(beta), int(down)) * width > _STEEPEST:
        return None
    if down:
        scaled = query * 2.0**-down
        if not torch.equal(scaled * 2.0**down, query):
            return None
        query, beta = scaled, math.ldexp(beta, int(down))
    output, log_normalizer = flash(query, memory, memory, None, beta, marked=not within_reach)
    if within_reach:
        return output, log_normalizer
    total = output.sum(dtype=log_normalizer.dtype) + log_normalizer.sum()
    return (output, log_normalizer) if math.isfinite(total.item()) else None
