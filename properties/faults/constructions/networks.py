"""Wrong updates in F_p."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from hopspec.pbit import PBit, PBits
from hopspec.properties.faults.constructions.registry import misbuild
from hopspec.properties.pbit_peers import ScalarArithmetic
from hopspec.reference.networks.fields import PBitField
from hopspec.reference.networks.retrieval import read_out
from hopspec.reference.pbit import Arithmetic

Matrix = list[list[PBit]]


class FewerBits(ScalarArithmetic):
    """An arithmetic that does some operations with fewer bits."""

    def fewer(self, arithmetic: Arithmetic, by: int) -> Arithmetic:
        """The arithmetic of ``by`` bits less."""
        fmt = arithmetic.format
        return Arithmetic(PBits(max(2, fmt.bits - by), fmt.least, fmt.greatest, fmt.underflow))


class Coarse(PBitField):
    """Dot products of scores with six bits less."""

    def scaled(self, x: Matrix, factor: float | Fraction) -> Matrix:
        of = self.of
        assert isinstance(of, Arithmetic)
        fewer = FewerBits().fewer(of, 6)
        rounded = [[of.sum((fewer.sum((entry,)),)) for entry in row] for row in x]
        return super().scaled(rounded, factor)


@misbuild("separated_memories_are_retrieved", "updates_are_those_of_the_definition")
class ScoresLoseSixBits(ScalarArithmetic):
    """Scores are rounded to six bits less."""

    def field(self, format: PBits) -> PBitField:
        return Coarse(Arithmetic(format))


@misbuild("updates_are_those_of_the_definition")
class UpdateKeepsTheMaximum(ScalarArithmetic):
    """The largest logit is not subtracted."""

    def update(
        self, format: PBits, query: Sequence[Sequence[float]], memory: Sequence[Sequence[float]], beta: float
    ) -> list[list[PBit]]:
        return read_out(self.field(format), query, memory, beta, shift=False)


@misbuild("updates_in_few_bits_within_bound", "updates_are_those_of_the_definition")
class ExponentialsOfAnUpdateLoseFiveBits(FewerBits):
    """Exponentials have five bits less."""

    class Kind(Arithmetic):
        def exp(self, x: PBit) -> PBit:
            fewer = FewerBits().fewer(self, 5)
            return self.sum((fewer.exp(fewer.sum((x,))),))


class Normalized(PBitField):
    """Weights are divided by their sum first."""

    def averages(self, weights: Matrix, values: Matrix) -> Matrix:
        of = self.of
        totals = [of.sum(row) for row in weights]
        shares = [[of.divide(w, total) for w in row] for row, total in zip(weights, totals, strict=True)]
        return self.products(shares, self.turned(values))


@misbuild("updates_are_those_of_the_definition")
class UpdateDividesFirst(ScalarArithmetic):
    """Weights are divided by their sum before they multiply the memories."""

    def field(self, format: PBits) -> PBitField:
        return Normalized(Arithmetic(format))


@misbuild("too_few_bits_confuse_two_memories", "updates_are_those_of_the_definition")
class ScoresInTwiceTheBits(ScalarArithmetic):
    """Scores and logits have twice the bits."""

    def update(
        self, format: PBits, query: Sequence[Sequence[float]], memory: Sequence[Sequence[float]], beta: float
    ) -> list[list[PBit]]:
        wide = PBits(2 * format.bits, 2 * format.least, 2 * format.greatest, format.underflow)
        scores, of = PBitField(Arithmetic(wide)), Arithmetic(format)
        logits = scores.scaled(scores.products(scores.matrix(query), scores.matrix(memory)), beta)
        tops = [scores.of.maximum(row) for row in logits]
        own = [
            [of.exp(of.sum((scores.of.subtract(t, top),))) for t in row]
            for row, top in zip(logits, tops, strict=True)
        ]
        field = self.field(format)
        return field.averages(own, field.matrix(memory))


class Swapped(PBitField):
    """The memory before the best one gets its weight."""

    def weights(self, logits: Matrix, shift: bool) -> Matrix:
        found = super().weights(logits, shift)
        return [row[1:] + row[:1] for row in found]


@misbuild("separated_memories_are_retrieved", "updates_in_few_bits_within_bound")
class WeightsOneMemoryOff(ScalarArithmetic):
    """Every memory gets the weight of the next."""

    def field(self, format: PBits) -> PBitField:
        return Swapped(Arithmetic(format))
