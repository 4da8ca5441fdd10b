"""The network that multiplies permutations, with its weights written down (clause MHN-COT-3).

A token is a permutation at a position: a *letter* of the word, or an *answer*, the product of as many letters
as its position says. Its row has two blocks of 25 for the permutation matrix, one for answers and one for
letters, of which one is zero; then the digits of its position, their squares, and a 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from hopspec.clauses import implements
from hopspec.reference.hardness.words import DEGREE, Permutation
from hopspec.reference.networks import Dense, Hopfield, Network
from hopspec.reference.thought.positions import base_for, digits_of

__all__ = ["CELLS", "Matrix", "Weights", "WordNetwork", "written_down"]

CELLS = DEGREE * DEGREE
"""Entries of a permutation matrix."""

Matrix = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Weights:
    """One layer and the perceptron after it; all weights are integers of F_p for every p.

    Args:
        query: ``[width, 3 digits]``, applied to the token that asks.
        key: ``[width, 3 digits]``, applied to every token.
        value: ``[width, 50]``, applied to every token.
        beta: inverse temperature.
        hidden: ``[50, 125]``.
        bias: ``[125]``, added before negative numbers are replaced by 0.
        output: ``[125, 25]``.
    """

    query: Matrix
    key: Matrix
    value: Matrix
    beta: int
    hidden: Matrix
    bias: tuple[int, ...]
    output: Matrix

    def as_layers(self) -> Network:
        """The same as layers in the sense of chapter 17: a Hopfield layer without shift and two affine maps.

        >>> [type(layer).__name__ for layer in written_down(digits=1, bits=8).as_layers().layers]
        ['Hopfield', 'Dense', 'Dense']
        """
        hop = Hopfield(self.query, self.key, self.value, Fraction(self.beta), shift=False)
        return Network((hop, Dense(self.hidden, self.bias), Dense(self.output, (0,) * CELLS, rectify=False)))


@implements("MHN-COT-3")
def written_down(digits: int, bits: int) -> Weights:
    """The weights for positions of ``digits`` digits in F_p with ``p = bits`` (clause MHN-COT-3).

    The score of a token with digits ``a`` for one with digits ``b`` is the sum of ``2 b a - a**2 - b**2``; it
    is 0 for tokens at the same position, and for others at most -1, which ``beta = 2**p`` turns into a weight
    of 0.

    >>> weights = written_down(digits=1, bits=27)
    >>> weights.query[-3:], weights.key[-3:], weights.beta == 2**27
    (((2, 0, 0), (0, 0, -1), (0, -1, 0)), ((1, 0, 0), (0, 1, 0), (0, 0, 1)), True)
    """
    width = 2 * CELLS + 2 * digits + 1
    one = width - 1
    query, key = ([[0] * (3 * digits) for _ in range(width)] for _ in range(2))
    for k in range(digits):
        digit, square = 2 * CELLS + k, 2 * CELLS + digits + k
        query[digit][3 * k], key[digit][3 * k] = 2, 1
        query[one][3 * k + 1], key[square][3 * k + 1] = -1, 1
        query[square][3 * k + 2], key[one][3 * k + 2] = -1, 1
    value = [[int(row == column) for column in range(2 * CELLS)] for row in range(width)]
    units = [(i, j, k) for i in range(DEGREE) for j in range(DEGREE) for k in range(DEGREE)]
    # Unit (i, j, k) fires if the answer takes i to j and the letter takes j to k. Each has a weight of 1/2.
    hidden = [[0] * len(units) for _ in range(2 * CELLS)]
    output = [[0] * CELLS for _ in units]
    for unit, (i, j, k) in enumerate(units):
        hidden[DEGREE * i + j][unit] = hidden[CELLS + DEGREE * j + k][unit] = 2
        output[unit][DEGREE * i + k] = 1
    return Weights(
        _frozen(query),
        _frozen(key),
        _frozen(value),
        1 << bits,
        _frozen(hidden),
        (-1,) * len(units),
        _frozen(output),
    )


@dataclass(frozen=True)
class WordNetwork:
    """The network for words of up to ``length`` letters: its code of positions, and its weights.

    Args:
        length: the longest word, at least 1.
        digits: of a position, at least 1.
        bits: p.

    Raises:
        TypeError: if an argument is no int.
        ValueError: if ``length`` or ``digits`` is smaller than 1.

    >>> WordNetwork(length=10_000, digits=2, bits=14).base
    100
    """

    length: int
    digits: int
    bits: int

    @property
    def base(self) -> int:
        """The base of the digits."""
        return base_for(self.length, self.digits)

    @property
    def weights(self) -> Weights:
        """What :func:`written_down` says."""
        return written_down(self.digits, self.bits)

    def position_code(self, position: int) -> tuple[int, ...]:
        """The digits of a position."""
        return digits_of(position, self.base, self.digits)

    @implements("MHN-COT-3")
    def letter(self, permutation: Permutation, position: int) -> tuple[int, ...]:
        """The row of the letter at a position, from 0."""
        return self._row(permutation, CELLS, position)

    @implements("MHN-COT-3")
    def answer(self, permutation: Permutation, position: int) -> tuple[int, ...]:
        """The row of the product of the first ``position`` letters."""
        return self._row(permutation, 0, position)

    def _row(self, permutation: Permutation, block: int, position: int) -> tuple[int, ...]:
        cells = [0] * (2 * CELLS)
        for i, image in enumerate(permutation):
            cells[block + DEGREE * i + image] = 1
        code = self.position_code(position)
        return (*cells, *code, *(digit * digit for digit in code), 1)


def _frozen(rows: Sequence[Sequence[int]]) -> Matrix:
    return tuple(map(tuple, rows))
