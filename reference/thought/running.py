"""The loop: every token the network writes becomes one more that it reads (clause MHN-COT-3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hopspec.clauses import implements
from hopspec.pbit import PBit, PBits
from hopspec.reference.hardness.words import DEGREE, IDENTITY, Permutation, Word
from hopspec.reference.pbit import Arithmetic
from hopspec.reference.thought.network import Matrix, WordNetwork
from hopspec.reference.thought.positions import least_bits

__all__ = ["Machine", "PlainMachine", "Thought", "read", "think"]


@dataclass(frozen=True, slots=True)
class Thought:
    """What the network wrote.

    Args:
        answers: the products of the first one, two, three and so on letters, as it found them.
        product: the last one, or None if some output was no permutation matrix.
        bits: p.
    """

    answers: tuple[Permutation, ...]
    product: Permutation | None
    bits: int


class Machine(Protocol):
    """Evaluates one network in F_p on tokens that it is given one after the other."""

    def append(self, row: Sequence[int]) -> None:
        """Take one more token, its row rounded to F_p."""
        ...

    def output(self) -> list[PBit]:
        """The network's output for the last token, ``[25]``."""
        ...


class PlainMachine:
    """The network in the arithmetic of the reference, number by number.

    Every token is projected once, when it comes: the projections depend on nothing else. Products with a
    weight that is 0 are left out: they are 0, and a sum that is exact does not notice them.

    Args:
        network: the network.
        arithmetic: the arithmetic.
    """

    def __init__(self, network: WordNetwork, arithmetic: Arithmetic) -> None:
        self.arithmetic = arithmetic
        weights = network.weights
        self.query, self.key, self.value, self.hidden, self.out = map(
            self._columns, (weights.query, weights.key, weights.value, weights.hidden, weights.output)
        )
        self.bias = [arithmetic.number(b) for b in weights.bias]
        self.beta = arithmetic.number(weights.beta)
        self.last: list[PBit] = []
        self.keys: list[list[PBit]] = []
        self.values: list[list[PBit]] = []

    def append(self, row: Sequence[int]) -> None:
        """Take one more token, its row rounded to F_p."""
        self.last = [self.arithmetic.number(x) for x in row]
        self.keys.append(self._product(self.last, self.key))
        self.values.append(self._product(self.last, self.value))

    @implements("MHN-COT-3")
    def weights(self) -> list[PBit]:
        """The weight of every token for the last one, before they are divided by their sum."""
        f = self.arithmetic
        asked = self._product(self.last, self.query)
        return [f.exp(f.multiply(self.beta, f.dot(asked, key))) for key in self.keys]

    @implements("MHN-COT-3")
    def output(self) -> list[PBit]:
        """The network's output for the last token, ``[25]``."""
        f = self.arithmetic
        weights = self.weights()
        total = f.sum(weights)
        there = [(weight, value) for weight, value in zip(weights, self.values, strict=True) if weight.m]
        found = [
            f.divide(f.sum(f.multiply(weight, value[column]) for weight, value in there), total)
            for column in range(len(self.value))
        ]
        inner = self._product(found, self.hidden)
        fired = [f.maximum((f.add(x, b), f.zero)) for x, b in zip(inner, self.bias, strict=True)]
        return self._product(fired, self.out)

    def _columns(self, matrix: Matrix) -> list[list[tuple[int, PBit]]]:
        """The weights of every column that are not 0, with their rows."""
        return [
            [(row, self.arithmetic.number(x)) for row, x in enumerate(column) if x]
            for column in zip(*matrix, strict=True)
        ]

    def _product(self, row: Sequence[PBit], columns: list[list[tuple[int, PBit]]]) -> list[PBit]:
        f = self.arithmetic
        return [f.sum([f.multiply(row[i], x) for i, x in column]) for column in columns]


@implements("MHN-COT-3")
def think(
    word: Word,
    *,
    digits: int = 1,
    bits: int | None = None,
    network: WordNetwork | None = None,
    machine: Machine | None = None,
    progress: Callable[[int], None] | None = None,
) -> Thought:
    """Let the network multiply the letters of a word by chain of thought (clauses MHN-COT-3 and MHN-COT-4).

    Args:
        word: the letters, at least one.
        digits: of a position, at least 1.
        bits: p; None for the least one with which every word of this length comes out right.
        network: another network in place of the one these say.
        machine: what evaluates it; by default the arithmetic of the reference, number by number.
        progress: called after every step with the number of steps done.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if the word is empty, or an argument is out of range.

    >>> turn, swap = (1, 2, 3, 4, 0), (1, 0, 2, 3, 4)
    >>> thought = think((turn, swap, turn))
    >>> thought.product, thought.bits
    ((1, 3, 4, 0, 2), 2)
    >>> thought.answers
    ((1, 2, 3, 4, 0), (0, 2, 3, 4, 1), (1, 3, 4, 0, 2))
    """
    if not word:
        raise ValueError("word must have at least one letter, got none")
    if network is None:
        bits = least_bits(len(word), digits) if bits is None else bits
        network = WordNetwork(len(word), digits, bits)
    if machine is None:
        machine = PlainMachine(network, Arithmetic(PBits(network.bits)))
    for position, letter in enumerate(word):
        machine.append(network.letter(letter, position))
    answers: list[Permutation] = []
    answer = IDENTITY
    for position in range(len(word)):
        machine.append(network.answer(answer, position))
        found = read(machine.output())
        if found is None:
            return Thought(tuple(answers), None, network.bits)
        answers.append(answer := found)
        if progress is not None:
            progress(position + 1)
    return Thought(tuple(answers), answer, network.bits)


@implements("MHN-COT-3")
def read(cells: Sequence[PBit]) -> Permutation | None:
    """The permutation whose matrix, row by row, the cells are; None if they are no permutation matrix.

    >>> f2 = Arithmetic(PBits(2))
    >>> one, other = f2.number(1), f2.zero
    >>> read([one if i % 6 == 0 else other for i in range(25)])
    (0, 1, 2, 3, 4)
    >>> read([one] * 25)
    """
    ones = [i for i, cell in enumerate(cells) if cell.m]
    images = tuple(i % DEGREE for i in ones)
    rows = [i // DEGREE for i in ones]
    if rows != list(range(DEGREE)) or len(set(images)) != DEGREE or any(cells[i].fraction != 1 for i in ones):
        return None
    return images
