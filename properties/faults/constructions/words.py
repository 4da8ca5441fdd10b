"""Wrong networks for the word problem of S5."""

from __future__ import annotations

from dataclasses import replace

from hopspec.pbit import PBit, PBits
from hopspec.properties.faults.constructions.registry import misbuild
from hopspec.reference.hardness.words import DEGREE, IDENTITY, Permutation
from hopspec.reference.pbit import Arithmetic
from hopspec.reference.thought.construction import ReferenceChain
from hopspec.reference.thought.network import CELLS, Weights, WordNetwork
from hopspec.reference.thought.running import PlainMachine

ANSWERS = "every_answer_is_the_product_so_far"
APART = "letters_are_told_apart_from_the_least_precision_on"


@misbuild(ANSWERS)
class OneUnitFeedsTheWrongCell(ReferenceChain):
    """One hidden unit of the perceptron adds to the cell beside its own."""

    class Net(WordNetwork):
        @property
        def weights(self) -> Weights:
            right = super().weights
            rows = [list(row) for row in right.output]
            rows[0] = [0, 1] + [0] * (CELLS - 2)
            return replace(right, output=tuple(map(tuple, rows)))


@misbuild(ANSWERS)
class MultipliesInTheWrongOrder(ReferenceChain):
    """The perceptron multiplies the letter by the answer, not the answer by the letter."""

    class Net(WordNetwork):
        @property
        def weights(self) -> Weights:
            right = super().weights
            return replace(right, hidden=right.hidden[CELLS:] + right.hidden[:CELLS])


@misbuild(ANSWERS, APART)
class ReadsThePreviousLetter(ReferenceChain):
    """Every letter has the position of the next one, and the last one that of the first."""

    class Net(WordNetwork):
        def letter(self, permutation: Permutation, position: int) -> tuple[int, ...]:
            return super().letter(permutation, (position + 1) % self.length)


@misbuild(ANSWERS, APART)
class PositionsRepeat(ReferenceChain):
    """Only three binary digits of a digit are kept, so that positions repeat."""

    class Net(WordNetwork):
        def position_code(self, position: int) -> tuple[int, ...]:
            return tuple(digit % 8 for digit in super().position_code(position))


@misbuild(ANSWERS)
class OneBitTooFew(ReferenceChain):
    """Where no precision is said, one bit less is used than is enough."""

    def bits_for(self, length: int, digits: int) -> int:
        return max(2, super().bits_for(length, digits) - 1)


@misbuild(APART)
class OneBitMoreThanItSays(ReferenceChain):
    """Everything is computed with one bit more than is asked for."""

    class Machine(PlainMachine):
        def __init__(self, network: WordNetwork, arithmetic: Arithmetic) -> None:
            super().__init__(network, Arithmetic(PBits(arithmetic.format.bits + 1)))


@misbuild(ANSWERS, APART)
class BetaIsOne(ReferenceChain):
    """Beta is 1, and letters nearby keep a weight."""

    class Net(WordNetwork):
        @property
        def weights(self) -> Weights:
            return replace(super().weights, beta=1)


@misbuild(ANSWERS)
class ForgetsWhatItWrote(ReferenceChain):
    """The token that is appended is always the identity."""

    class Net(WordNetwork):
        def answer(self, permutation: Permutation, position: int) -> tuple[int, ...]:
            return super().answer(IDENTITY, position)


@misbuild(ANSWERS)
class WritesTheInverse(ReferenceChain):
    """The output is read column by column, which gives the inverse of the answer."""

    class Machine(PlainMachine):
        def output(self) -> list[PBit]:
            cells = super().output()
            return [cells[DEGREE * (i % DEGREE) + i // DEGREE] for i in range(CELLS)]
