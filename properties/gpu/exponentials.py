"""The error of a device's exponentials, over all float32 arguments or some, against the exact oracle."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from hopspec.reference.exponential import exp_fixed, log_two

__all__ = ["Swept", "exact_error", "sweep"]

U32 = 2.0**-24
# Bits to which a power of base 2 is computed, its integer part aside; twice as many for one of base e.
_BITS = 160
_WORST = 32
_CHUNK = 1 << 22
# Numbers that lie close together have bit patterns that follow one another; this is the pattern of -0.
_MINUS_ZERO = 1 << 31


@dataclass(frozen=True)
class Swept:
    """What was found of an exponential.

    Args:
        name: of the function.
        base: 2, or 0 for e.
        points: how many arguments were tried.
        stride: every so many of them; 1 for all.
        error: largest relative error where the exponential is a normal number, in units of ``2**-24``.
        worst: the argument.
        comparison: by how much the float64 exponential that found it errs there itself, in the same units.
        flushed: the largest exponential that became 0.
        one: whether the exponential of 0, and of -0, is exactly 1.
        monotone: whether a larger argument never gave a smaller exponential.
    """

    name: str
    base: int
    points: int
    stride: int
    error: float
    worst: float
    comparison: float
    flushed: float
    one: bool
    monotone: bool


def sweep(
    name: str,
    function: Callable[[Any], Any],
    device: str,
    *,
    base: int = 2,
    stride: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Swept:
    """Try all negative arguments whose exponential is not surely 0, or every ``stride``-th.

    The error is measured against the exponential of the device in float64, and where it is largest again
    against the exact oracle: the larger of the two is returned.

    Args:
        name: of the function.
        function: takes and returns a float32 tensor on the device.
        device: where.
        base: 2, or 0 for e.
        stride: how many float32 numbers it is from one argument to the next.
        progress: told how many of the arguments are done.

    Raises:
        ValueError: if the base is another one or the stride is less than 1.
    """
    import torch  # noqa: PLC0415

    if base not in (0, 2) or stride < 1:
        raise ValueError(f"base must be 0 or 2 and stride at least 1, got {base} and {stride}")
    wide = torch.exp2 if base == 2 else torch.exp
    lowest = -151.0 if base == 2 else -105.0
    last = int(torch.tensor(lowest).view(torch.int32).item()) + 2 * _MINUS_ZERO
    total = (last - _MINUS_ZERO) // stride + 1
    found: list[tuple[float, float, float]] = []
    flushed, before, monotone, done = 0.0, math.inf, True, 0
    while done < total:
        count = min(_CHUNK, total - done)
        steps = torch.arange(done, done + count, dtype=torch.int64, device=device)
        bits = (steps * stride - _MINUS_ZERO).to(torch.int32)
        x = bits.view(torch.float32)
        got, true = function(x).double(), wide(x.double())
        relative = torch.where(true >= 2.0**-126, (got - true).abs() / true, 0.0)
        relative = torch.nan_to_num(relative, nan=math.inf)
        largest, where = relative.topk(min(_WORST, count))
        found += zip(largest.tolist(), x[where].tolist(), got[where].tolist(), strict=True)
        found = sorted(found, reverse=True)[:_WORST]
        zeros = torch.where(got == 0, true, 0.0)
        flushed = max(flushed, zeros.max().item())
        # Arguments go down.
        monotone &= bool((got[1:] <= got[:-1]).all()) and got[0].item() <= before
        before = got[-1].item()
        done += count
        progress(done, total)
    exact = [(exact_error(argument, value, base), argument) for _, argument, value in found]
    error, worst = max(exact)
    apart = max(abs(there - here) for (there, _), (here, _, _) in zip(exact, found, strict=True))
    zero = torch.tensor([0.0, -0.0], device=device)
    return Swept(
        name=name,
        base=base,
        points=total,
        stride=stride,
        error=max(error, found[0][0]) / U32,
        worst=worst,
        comparison=apart / U32,
        flushed=flushed,
        one=bool((function(zero) == 1).all()),
        monotone=monotone,
    )


def exact_error(argument: float, value: float, base: int) -> float:
    """Relative error of a computed exponential, by the exact oracle.

    >>> exact_error(-1.0, 0.5, 2), exact_error(-1.0, 0.5 + 2.0**-25, 2) == 2.0**-24
    (0.0, True)
    """
    if not math.isfinite(value):
        return math.inf
    if base == 2:
        whole = math.ceil(argument)
        rest = Fraction(argument) - whole
        guarded = _BITS + 16
        logarithm = rest.numerator * log_two(guarded)
        true = (
            Fraction(exp_fixed(logarithm, -guarded, rest.denominator, _BITS), 1 << _BITS)
            * Fraction(2) ** whole
        )
    else:
        exponent = Fraction(argument)
        true = Fraction(exp_fixed(exponent.numerator, 0, exponent.denominator, 2 * _BITS), 1 << 2 * _BITS)
    return float(abs(Fraction(value) - true) / true)
