"""The network as something that can be verified: asked and answered with plain numbers (chapter 19)."""

from __future__ import annotations

from collections.abc import Sequence

from hopspec.pbit import PBits
from hopspec.reference.hardness.words import IDENTITY, PERMUTATIONS
from hopspec.reference.pbit import Arithmetic
from hopspec.reference.thought.network import WordNetwork
from hopspec.reference.thought.positions import least_bits
from hopspec.reference.thought.running import PlainMachine, think
from hopspec.types import Construction

__all__ = ["CHAIN", "ReferenceChain"]

_NUMBERS = {permutation: number for number, permutation in enumerate(PERMUTATIONS)}


class ReferenceChain:
    """A :class:`hopspec.types.ChainOfThought` in the arithmetic of the reference.

    >>> ReferenceChain().run([24, 24, 24, 24, 24])  # the transposition of 0 and 1, five times
    [24, 0, 24, 0, 24]
    """

    Net: type[WordNetwork] = WordNetwork
    Machine: type[PlainMachine] = PlainMachine

    def construction(self, name: str) -> Construction:
        """The descriptor."""
        return Construction(name, chain=self)

    def bits_for(self, length: int, digits: int) -> int:
        """The p used where none is said."""
        return least_bits(length, digits)

    def run(self, word: Sequence[int], digits: int = 1, bits: int | None = None) -> list[int]:
        """The products of the first one, two, three and so on letters, as far as they are permutations.

        Args:
            word: letters, by their number among the 120 permutations in lexicographic order.
            digits: of a position.
            bits: p; None for the least that is enough.
        """
        length = len(word)
        network = self.Net(length, digits, self.bits_for(length, digits) if bits is None else bits)
        machine = self.Machine(network, Arithmetic(PBits(network.bits)))
        thought = think(tuple(PERMUTATIONS[i] for i in word), network=network, machine=machine)
        return [_NUMBERS[answer] for answer in thought.answers]

    def heard(self, length: int, digits: int, bits: int, position: int, among: Sequence[int]) -> list[int]:
        """Positions in ``among`` whose letters have a weight that is not 0 for the answer at ``position``.

        Args:
            length: the longest word.
            digits: of a position.
            bits: p.
            position: of the answer that asks.
            among: positions of letters.
        """
        network = self.Net(length, digits, bits)
        machine = self.Machine(network, Arithmetic(PBits(bits)))
        for other in among:
            machine.append(network.letter(IDENTITY, other))
        machine.append(network.answer(IDENTITY, position))
        weights = machine.weights()
        return [other for other, weight in zip(among, weights, strict=False) if weight.m]


CHAIN = ReferenceChain().construction("chain-of-thought")
