"""Rows whose scores leave the range of the accumulation type (clause MHN-NFI-3).

Everything here runs in float64. For float64 inputs that is not enough: a score may reach 2**2058. Numbers are
then kept as :class:`Scaled`, a significand and an exponent of two, and each dot product is taken in pieces:
large, ordinary and small entries apart, so that no product over- or underflows.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

# About thirty temporaries of this size live at a time; they should stay in the cache.
_CHUNK_BYTES = 1 << 21
_ZERO_EXPONENT = -(1 << 14)
# Entries that need no power of two taken out of them: see `_bands`.
ORDINARY = (2.0**-350, 2.0**350)


class Scaled(NamedTuple):
    """The numbers ``significand * 2**exponent``; significands are 0 or in [0.5, 1) in absolute value.

    Exponents are int32, those of zeros below all others.
    """

    significand: Tensor
    exponent: Tensor


class _Stored(NamedTuple):
    """What is needed of the memory: its bands, its half squared lengths, and the values in float64."""

    bands: dict[int, Tensor]
    half_squares: Scaled | None
    values: Tensor | None


class Rescued(NamedTuple):
    """What :func:`rescue` computes for R rows.

    Args:
        output: the association applied to the values, ``[R, dv]`` in their dtype, or None if not asked for.
        weights: the association, ``[R, N]`` in the dtype of the query, or None if not asked for.
        log_normalizer: float64 ``[R]``.
        energy: float64 ``[R]``, or None if not asked for.
    """

    output: Tensor | None
    weights: Tensor | None
    log_normalizer: Tensor
    energy: Tensor | None


def rescue(
    query: Tensor,
    memory: Tensor,
    beta: float | Tensor,
    keep: Tensor | None,
    *,
    values: Tensor | None = None,
    weights: bool = False,
    half_squares: Scaled | None = None,
    ordinary: bool = False,
) -> Rescued:
    """Compute association, log-normalizer and energy of finite inputs of any size (clause MHN-NFI-3).

    Args:
        query: ``[R, d]``, finite.
        memory: ``[N, d]``, finite, ``N >= 1``.
        beta: finite; a tensor holds one float64 number.
        keep: ``[R, N]`` or ``[1, N]``, at least one True per row, or None.
        values: ``[N, dv]``, finite: what is read out, or None.
        weights: whether to return the weights.
        half_squares: of the memory, from :func:`scaled_half_squares`: the energy is wanted, and ``beta > 0``.
        ordinary: whether all entries of the memory but zeros are known to lie within :data:`ORDINARY`.
    """
    scale = torch.as_tensor(beta, dtype=torch.float64, device=query.device).reshape(1, 1)
    stored = _Stored(
        {0: memory.double()} if ordinary or memory.dtype != torch.float64 else _bands(memory),
        half_squares,
        values if values is None else values.double(),
    )
    count = query.shape[0]
    # Results come first: small ones allocated between large temporaries keep the heap from reusing those.
    result = Rescued(
        None if values is None else query.new_empty(count, values.shape[-1]),
        query.new_empty(count, memory.shape[0]) if weights else None,
        query.new_empty(count, dtype=torch.float64),
        None if half_squares is None else query.new_empty(count, dtype=torch.float64),
    )
    step = max(1, _CHUNK_BYTES // (8 * memory.shape[0]))
    for start in range(0, count, step):
        rows = slice(start, start + step)
        seen = keep if keep is None or keep.shape[0] == 1 else keep[rows]
        differences, peak = _differences(query[rows], stored, scale, seen)
        unnormalised = differences.exp()
        total = unnormalised.sum(-1, keepdim=True)
        normalised = unnormalised / total
        if result.output is not None and stored.values is not None:
            # The exact output lies in the hull of the values: rounding must not carry it past the range.
            largest = torch.finfo(query.dtype).max
            result.output[rows] = (normalised @ stored.values).clamp(-largest, largest).to(query.dtype)
        if result.weights is not None:
            result.weights[rows] = normalised.to(query.dtype)
        significand, exponent = torch.frexp(scale.abs())
        peak_logit = _shift(peak.significand * significand, peak.exponent + exponent)
        result.log_normalizer[rows] = (peak_logit + total.log()).squeeze(-1)
        if result.energy is not None and stored.half_squares is not None:
            result.energy[rows] = _energy(
                query[rows], stored.half_squares, scale, seen, differences=differences, peak=peak
            )
    return result


def _differences(query: Tensor, stored: _Stored, beta: Tensor, keep: Tensor | None) -> tuple[Tensor, Scaled]:
    """Logits less their maximum, ``[R, N]``, and the maximum of ``sign(beta) * score``, ``[R, 1]``.

    The maximum is subtracted before the multiplication by beta, which may overflow to -inf and then stands
    for a weight of zero, as it should.
    """
    if query.dtype == torch.float64:
        scores = _wide_scores(query, stored.bands)
        scores = Scaled(scores.significand * beta.sign(), scores.exponent)
        peak = _largest(scores, keep)
        gap, common = _sum(scores, Scaled(-peak.significand, peak.exponent))
        significand, exponent = torch.frexp(beta.abs())
        differences = _shift(gap * significand, common + exponent)
    else:
        plain = (query.double() @ stored.bands[0].mT) * beta.sign()
        visible = plain if keep is None else plain.masked_fill(~keep, -math.inf)
        highest = visible.amax(-1, keepdim=True)
        peak = _scaled(highest)
        differences = (plain - highest) * beta.abs()
    if keep is not None:
        differences = differences.masked_fill(~keep, -math.inf)
    return differences, peak


def _energy(
    query: Tensor,
    half_squares: Scaled,
    beta: Tensor,
    keep: Tensor | None,
    *,
    differences: Tensor,
    peak: Scaled,
) -> Tensor:
    """Energy in the form ``|xi|^2/2 + M^2/2 - s_max - log(mean exp(beta (s - s_max)))/beta``, ``[R]``.

    The mean is taken of ``expm1`` while it is near 1, so that a tiny beta divides a number known to full
    relative precision.
    """
    kept = differences.shape[-1] if keep is None else keep.sum(-1, keepdim=True).double()
    small = differences.expm1()
    if keep is not None:
        small = small.masked_fill(~keep, 0.0)
    mean = small.sum(-1, keepdim=True) / kept
    log_mean = torch.where(mean > -0.5, mean.log1p(), (differences.exp().sum(-1, keepdim=True) / kept).log())
    farthest = _largest(Scaled(half_squares.significand.mT, half_squares.exponent.mT), keep)
    own = scaled_half_squares(query)
    significand, exponent = torch.frexp(beta)
    spread = _scaled(-log_mean / significand, -exponent)
    bracket = _add(_add(own, farthest), Scaled(-peak.significand, peak.exponent))
    # The energy is never negative; rounding of terms far larger than it must not make it -inf.
    return _shift(*_sum(bracket, spread)).squeeze(-1).clamp(min=0.0)


def scaled_half_squares(rows: Tensor) -> Scaled:
    """Half the squared length of each row, ``[..., R, 1]``, without overflow."""
    wide = rows.double() if rows.shape[-1] else rows.new_zeros((*rows.shape[:-1], 1), dtype=torch.float64)
    exponent = torch.frexp(wide.abs().amax(-1, keepdim=True)).exponent
    first = (-exponent).clamp(-1000, 1000)
    unit = wide * _power(first) * _power(-exponent - first)
    return _scaled(unit.square().sum(-1, keepdim=True), 2 * exponent - 1)


def _wide_scores(query: Tensor, memory: dict[int, Tensor]) -> Scaled:
    """Scores of float64 rows, ``[R, N]``, each to within the error of a dot product with no range limits."""
    pieces: dict[int, Tensor] = {}
    for own, rows in _bands(query).items():
        for other, columns in memory.items():
            product = rows @ columns.mT
            pieces[own + other] = pieces[own + other] + product if own + other in pieces else product
    exponent, product = pieces.popitem()
    score = _scaled(product, exponent)
    for exponent, product in pieces.items():
        score = _add(score, _scaled(product, exponent))
    return score


def _bands(rows: Tensor) -> dict[int, Tensor]:
    """``rows`` as a sum of ``2**exponent * band``: large, ordinary and small entries.

    The bands have entries in [2**-250, 2**424], [2**-350, 2**350] and [2**-474, 2**250], so that products of
    any two of them, and sums of such products, stay within the normal range.
    """
    size = rows.abs()
    large, small = size >= ORDINARY[1], size < ORDINARY[0]
    bands = {}
    if bool(large.any()):
        bands[600] = rows.masked_fill(~large, 0.0) * 2.0**-600
    if bool((small & (size > 0)).any()):
        bands[-600] = rows.masked_fill(~small, 0.0) * 2.0**600
    if not bands or not bool((large | small).all()):
        bands[0] = rows.masked_fill(large | small, 0.0)
    return bands


def _scaled(number: Tensor, exponent: Tensor | int = 0) -> Scaled:
    """``number * 2**exponent`` normalised; zeros get the least exponent and so never set a common scale."""
    significand, own = torch.frexp(number)
    return Scaled(significand, (own + exponent).masked_fill(significand == 0, _ZERO_EXPONENT))


def _add(a: Scaled, b: Scaled) -> Scaled:
    total, exponent = _sum(a, b)
    return _scaled(total, exponent)


def _sum(a: Scaled, b: Scaled) -> tuple[Tensor, Tensor]:
    """``a + b`` as a number below 2 and an exponent, not normalised."""
    exponent = torch.maximum(a.exponent, b.exponent)
    # A summand more than a thousand binades below the other cannot move the sum.
    return (
        a.significand * _power(a.exponent - exponent) + b.significand * _power(b.exponent - exponent),
        exponent,
    )


def _largest(numbers: Scaled, keep: Tensor | None) -> Scaled:
    """Largest kept number of each row, ``[R, 1]``: first by sign and exponent, then by significand."""
    offset = 1 - _ZERO_EXPONENT
    key = numbers.significand.sign().to(torch.int32) * (numbers.exponent + offset)
    if keep is not None:
        key = key.where(keep, 3 * _ZERO_EXPONENT)
    top = key.amax(-1, keepdim=True)
    significand = numbers.significand.where(key == top, -math.inf).amax(-1, keepdim=True)
    return Scaled(significand, (top.abs() - offset).masked_fill(top == 0, _ZERO_EXPONENT))


def _shift(number: Tensor, exponent: Tensor) -> Tensor:
    """``number * 2**exponent`` for numbers in [2**-1000, 2] or 0, rounded once; overflows to infinity."""
    first = exponent.clamp(-1000, 1000)
    # Two factors, since one power of two may leave the range where the product does not.
    return number * _power(first) * _power(exponent - first)


def _power(exponent: Tensor) -> Tensor:
    """Two to an integer, put together from its bits; clamped to the normal range."""
    return ((exponent.clamp(-1022, 1023).to(torch.int64) + 1023) << 52).view(torch.float64)
