"""Faults of arithmetic: narrow intermediates, wrong rounding, too few bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from mpmath.ctx_mp import MPContext
from torch import Tensor

from hopspec import reference
from hopspec.formats import FLOAT32, FORMATS, Format
from hopspec.properties.faults.kernel import Inputs, Kernel, Sums
from hopspec.properties.faults.registry import plant
from hopspec.properties.peers import REFERENCE
from hopspec.types import Implementation


def to_bits(x: Tensor, bits: int) -> Tensor:
    """Round to ``bits`` significant bits."""
    mantissa, exponent = torch.frexp(x)
    return torch.where(x.isfinite(), torch.ldexp(torch.round(mantissa * 2.0**bits) * 2.0**-bits, exponent), x)


@plant("precision", "certified_fixed_point_is_one")
class AccumulatorInHalf(Kernel):
    """The weighted sum is bfloat16 from tile to tile."""

    def grow_weighted(self, weighted: Tensor, factor: Tensor, weights: Tensor, values: Tensor) -> Tensor:
        return super().grow_weighted(weighted, factor, weights, values).bfloat16().double()


@plant("precision", "translating_memories", dtype="bfloat16")
class AccumulatorInStorage(Kernel):
    """For bfloat16 inputs the weighted sum is bfloat16, one key at a time."""

    block = 1

    def grow_weighted(self, weighted: Tensor, factor: Tensor, weights: Tensor, values: Tensor) -> Tensor:
        return super().grow_weighted(weighted, factor, weights, values).bfloat16().double()


@plant("precision", "blocks_merge_by_log_normalizers", dtype="bfloat16")
class NormaliserInStorage(Kernel):
    """For bfloat16 inputs the sum of exponentials is bfloat16, one key at a time."""

    block = 1

    def grow_total(self, total: Tensor, factor: Tensor, weights: Tensor) -> Tensor:
        return super().grow_total(total, factor, weights).bfloat16().double()


@plant("precision", "certified_fixed_point_is_one")
class NormaliserInHalf(Kernel):
    """The sum of exponentials is float16 from tile to tile."""

    def grow_total(self, total: Tensor, factor: Tensor, weights: Tensor) -> Tensor:
        return super().grow_total(total, factor, weights).half().double()


@plant("precision", "update_within_bound")
class ScoresInHalf(Kernel):
    """Scores are rounded to bfloat16."""

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return super().scores(query, keys).bfloat16().double()


@plant("precision", "status_says_what_happened", dtype="bfloat16")
class ScoresInStorage(Kernel):
    """For bfloat16 inputs scores are bfloat16, although float32 is claimed."""

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return super().scores(query, keys).bfloat16().double()


@plant("precision", "status_says_what_happened")
class TensorFloat32(Kernel):
    """Products of scores take 11 bits of their factors."""

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return super().scores(to_bits(query, 11), to_bits(keys, 11))


@plant("precision", "read_out_within_bound", "leading_dimensions_broadcast")
class WeightsInHalf(Kernel):
    """Weights are rounded to float16 before they multiply the values."""

    def grow_weighted(self, weighted: Tensor, factor: Tensor, weights: Tensor, values: Tensor) -> Tensor:
        return super().grow_weighted(weighted, factor, weights.half().double(), values)


@plant("precision", "translating_memories")
class ValuesInTensorFloat32(Kernel):
    """Products of the read-out take 11 bits of the values."""

    def grow_weighted(self, weighted: Tensor, factor: Tensor, weights: Tensor, values: Tensor) -> Tensor:
        return super().grow_weighted(weighted, factor, weights, to_bits(values, 11))


@plant("precision", "certified_fixed_point_is_one")
class ResultInHalf(Kernel):
    """The result passes through bfloat16."""

    def store(self, state: Tensor, dtype: torch.dtype) -> Tensor:
        return super().store(super().store(state, torch.bfloat16), dtype)


@plant("precision", "three_point_identity", dtype="float16")
class QueryScaledInStorage(Kernel):
    """Query and beta are multiplied in storage, which rounds the product."""

    def prepare(self, *arguments: Any, **options: Any) -> Inputs:
        inputs = super().prepare(*arguments, **options)
        sharp = inputs.sharpness
        scaled = (inputs.query * sharp).to(inputs.storage).double()
        safe = (sharp > 0) & scaled.isfinite()
        return replace(inputs, query=torch.where(safe, scaled / sharp, inputs.query))


@plant("precision", "association_within_bound", dtype="bfloat16")
class TruncatedResult(Kernel):
    """The result is cut off after 7 bits instead of rounded to 8."""

    def store(self, state: Tensor, dtype: torch.dtype) -> Tensor:
        mantissa, exponent = torch.frexp(state)
        cut = torch.ldexp(torch.trunc(mantissa * 2.0**7) * 2.0**-7, exponent)
        return super().store(torch.where(state.isfinite(), cut, state), dtype)


@plant("precision", "masked_memory_may_hold_anything")
class LogNormalizerInHalf(Kernel):
    """The log-normalizer passes through bfloat16."""

    def logarithm(self, sums: Sums, inputs: Inputs) -> Tensor:
        return super().logarithm(sums, inputs).bfloat16().double()


@plant("precision", "other_quantities_broadcast_too")
class AssociationInHalf(Kernel):
    """The association passes through float16."""

    def normalise(self, weights: Tensor, total: Tensor) -> Tensor:
        return super().normalise(weights, total).half().double()


class CorrectlyRounded:
    """The reference update with the last rounding made here."""

    bits = 400

    def whole(self, numerator: int, denominator: int) -> int:
        """The integer nearest to a non-negative ratio, ties to even."""
        down, rest = divmod(numerator, denominator)
        return down + (2 * rest > denominator or (2 * rest == denominator and down % 2 == 1))

    def target(self, fmt: Format) -> Format:
        """The format rounded to."""
        return fmt

    def round(self, x: Fraction, fmt: Format) -> Fraction:
        """The element of ``fmt`` nearest to ``x``."""
        if not x:
            return x
        size = abs(x)
        exponent = size.numerator.bit_length() - size.denominator.bit_length()
        exponent -= Fraction(2) ** exponent > size
        unit = Fraction(2) ** max(exponent - fmt.precision + 1, fmt.least_exponent)
        steps = size / unit
        rounded = self.whole(steps.numerator, steps.denominator) * unit
        return rounded if x > 0 else -rounded

    def retrieve(self, query: Tensor, memory: Tensor, *, beta: float, **options: Any) -> Tensor:
        """One update."""
        name = str(query.dtype).removeprefix("torch.")
        keywords: dict[str, Any] = {k: v.tolist() if isinstance(v, Tensor) else v for k, v in options.items()}
        leaves = reference.update(
            query.double().tolist(), memory.double().tolist(), beta=beta, to=self.bits, **keywords
        )
        if not all(
            leaf.value == leaf.value and abs(leaf.value) < float("inf") for row in leaves for leaf in row
        ):
            return REFERENCE.retrieve(query, memory, beta=beta, **options)  # type: ignore[no-any-return]
        fmt = self.target(FORMATS[name])
        rows = [[float(self.round(Fraction(*as_ratio(leaf.value)), fmt)) for leaf in row] for row in leaves]
        return torch.tensor(rows, dtype=torch.float64).to(query.dtype)

    def implementation(self, name: str) -> Implementation[Any]:
        """The reference's descriptor with this update."""
        return replace(REFERENCE, name=name, retrieve=self.retrieve)


def as_ratio(x: Any) -> tuple[int, int]:
    """An ``mpmath`` number as a ratio of integers."""
    sign, mantissa, exponent, _ = x._mpf_
    signed = -int(mantissa) if sign else int(mantissa)
    return (signed << exponent, 1) if exponent >= 0 else (signed, 1 << -exponent)


@plant("precision", "saturated_retrieval_is_bitwise", "retrieval_error", "update_is_correctly_rounded")
class RoundedTowardZero(CorrectlyRounded):
    """The exact result is rounded toward zero."""

    def whole(self, numerator: int, denominator: int) -> int:
        return numerator // denominator


@plant("precision", "means_are_correctly_rounded", dtype="bfloat16")
class TiesAwayFromZero(CorrectlyRounded):
    """Ties are rounded away from zero instead of to even."""

    def whole(self, numerator: int, denominator: int) -> int:
        return (2 * numerator + denominator) // (2 * denominator)


@plant("precision", "means_are_correctly_rounded", dtype="bfloat16")
class TiesToOdd(CorrectlyRounded):
    """Ties go to the odd neighbour."""

    def whole(self, numerator: int, denominator: int) -> int:
        down, rest = divmod(numerator, denominator)
        return down + (2 * rest > denominator or (2 * rest == denominator and down % 2 == 0))


@plant("precision", "means_are_correctly_rounded", dtype="bfloat16")
class DoubleRounding(CorrectlyRounded):
    """The exact result is rounded to float32 first."""

    def round(self, x: Fraction, fmt: Format) -> Fraction:
        return super().round(super().round(x, FLOAT32), fmt)


@plant("precision", "means_are_correctly_rounded", dtype="float16")
class ExponentRangeOffByOne(CorrectlyRounded):
    """Gradual underflow begins one binade too early."""

    def target(self, fmt: Format) -> Format:
        return Format(fmt.name, fmt.precision, fmt.emin + 1, fmt.emax)


@plant("precision", "means_are_correctly_rounded", dtype="float64")
class OneBitTooMany(CorrectlyRounded):
    """The exact result is rounded to 54 bits before it is rounded to float64."""

    def round(self, x: Fraction, fmt: Format) -> Fraction:
        return super().round(super().round(x, Format("54 bits", fmt.precision + 1, fmt.emin, fmt.emax)), fmt)


class Truncated:
    """The update in p-bit arithmetic, every operation rounded once."""

    def exp(self, context: Any, t: Any) -> Any:
        """An exponential."""
        return context.exp(t)

    def add(self, context: Any, total: Any, term: Any) -> Any:
        """A sum."""
        return total + term

    def top(self, context: Any, logits: list[Any]) -> Any:
        """What is subtracted from the logits."""
        return max(logits)

    def divide(self, context: Any, x: Any, y: Any) -> Any:
        """A quotient."""
        return x / y

    def update(
        self, query: Sequence[Any], memory: Sequence[Sequence[Any]], beta: float, bits: int
    ) -> list[float]:
        """One update of one query."""
        context = MPContext()
        context.prec = bits
        logits = []
        for pattern in memory:
            score = context.zero
            for x, y in zip(pattern, query, strict=True):
                score = self.add(context, score, context.mpf(x) * context.mpf(y))
            logits.append(context.mpf(beta) * score)
        top = self.top(context, logits)
        weights = [self.exp(context, t - top) for t in logits]
        total = context.zero
        for weight in weights:
            total = self.add(context, total, weight)
        result = []
        for column in zip(*memory, strict=True):
            weighted = context.zero
            for weight, x in zip(weights, column, strict=True):
                weighted = self.add(context, weighted, weight * context.mpf(x))
            result.append(float(self.divide(context, weighted, total)))
        return result

    def rounded(self, query: Tensor, memory: Tensor, *, beta: float, bits: int) -> Tensor:
        """The update of every query."""
        rows = [self.update(q, memory.tolist(), beta, bits) for q in query.tolist()]
        return torch.tensor(rows, dtype=torch.float64)

    def implementation(self, name: str) -> Implementation[Any]:
        """The reference's descriptor with this update in p bits."""
        return replace(REFERENCE, name=name, rounded=self.rounded)


@plant("precision", "truncated_update_within_bound", dtype="float64")
class ExpWithSixBitsLess(Truncated):
    """Exponentials have 6 bits less than asked for."""

    def exp(self, context: Any, t: Any) -> Any:
        coarse = MPContext()
        coarse.prec = max(context.prec - 6, 2)
        return context.mpf(coarse.exp(coarse.mpf(t)))


@plant("precision", "truncated_update_within_bound", dtype="float64")
class SmallTermsLost(Truncated):
    """A sum loses terms below the square root of the precision."""

    def add(self, context: Any, total: Any, term: Any) -> Any:
        small = abs(term) < abs(total) * context.mpf(2) ** (-(context.prec // 2))
        return total if small else total + term


@plant("precision", "truncated_update_within_bound", dtype="float64")
class QuotientInHalfTheBits(Truncated):
    """The last quotient has half the bits."""

    def divide(self, context: Any, x: Any, y: Any) -> Any:
        coarse = MPContext()
        coarse.prec = max(context.prec // 2, 2)
        return context.mpf(coarse.mpf(x) / coarse.mpf(y))


@plant("precision", "truncated_update_within_bound", dtype="float64")
class FixedPointExp(Truncated):
    """Exponentials are rounded to a multiple of 2**-(p/2)."""

    def exp(self, context: Any, t: Any) -> Any:
        unit = context.mpf(2) ** (-(context.prec // 2))
        return context.nint(context.exp(t) / unit) * unit


@plant("precision", "truncated_update_within_bound", dtype="float64")
class AtMostTwentyFourBits(Truncated):
    """The number of bits is taken to be at most 24."""

    def update(
        self, query: Sequence[Any], memory: Sequence[Sequence[Any]], beta: float, bits: int
    ) -> list[float]:
        return super().update(query, memory, beta, min(bits, 24))
