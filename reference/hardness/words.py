"""The word problem of S5: the product of a sequence of permutations of five things."""

from __future__ import annotations

import random
from itertools import permutations

from hopspec.clauses import implements
from hopspec.reference.hardness.drawing import at_least, source

__all__ = [
    "DEGREE",
    "IDENTITY",
    "PERMUTATIONS",
    "Permutation",
    "Word",
    "balanced_word",
    "compose",
    "product",
    "uniform_word",
]

DEGREE = 5

Permutation = tuple[int, ...]
"""``s`` stands for the permutation that takes i to ``s[i]``, for i = 0, ..., 4."""

Word = tuple[Permutation, ...]

IDENTITY: Permutation = tuple(range(DEGREE))

PERMUTATIONS: tuple[Permutation, ...] = tuple(permutations(range(DEGREE)))
"""All 120, in lexicographic order."""


def compose(first: Permutation, second: Permutation) -> Permutation:
    """The permutation that does ``first`` and then ``second``.

    >>> compose((1, 0, 2, 3, 4), (0, 2, 1, 3, 4))
    (2, 0, 1, 3, 4)
    """
    return tuple(second[image] for image in first)


@implements("MHN-COT-1")
def product(word: Word) -> Permutation:
    """The product of the letters, the first one done first (clause MHN-COT-1); of none it is the identity.

    >>> product(((1, 0, 2, 3, 4), (0, 2, 1, 3, 4), (1, 0, 2, 3, 4)))
    (2, 1, 0, 3, 4)
    """
    done = IDENTITY
    for letter in word:
        done = compose(done, letter)
    return done


@implements("MHN-COT-2")
def uniform_word(length: int, seed: int) -> Word:
    """A word of independent letters, uniform among the 120; so is its product (clause MHN-COT-2).

    Args:
        length: number of letters, at least 1.
        seed: of all that is random.

    Raises:
        TypeError: if ``length`` is no int.
        ValueError: if it is smaller than 1.

    >>> uniform_word(2, seed=0)
    ((3, 1, 0, 2, 4), (4, 2, 1, 0, 3))
    """
    at_least("length", length, 1)
    return _letters(length, source("uniform_word", length, seed))


@implements("MHN-COT-2")
def balanced_word(length: int, seed: int, *, answer: bool | None = None) -> Word:
    """A word whose product is the identity, or an even permutation that is not (clause MHN-COT-2).

    All letters but the last are independent and uniform; the last one makes the product the identity, or
    uniform among the 59 other even permutations. So any ``length - 1`` letters tell nothing, and neither does
    the sign of the product, the only thing about it that a homomorphism onto a smaller group could see.

    Args:
        length: number of letters, at least 1.
        seed: of all that is random.
        answer: whether the product is the identity; None draws it, either with probability 1/2.

    Raises:
        TypeError: if ``length`` is no int.
        ValueError: if it is smaller than 1.

    >>> product(balanced_word(3, seed=0, answer=True))
    (0, 1, 2, 3, 4)
    """
    at_least("length", length, 1)
    draw = source("balanced_word", length, seed)
    coin = draw.random() < 0.5
    goal = IDENTITY
    other = draw.choice([p for p in PERMUTATIONS if p != IDENTITY and even(p)])
    if not (coin if answer is None else answer):
        goal = other
    letters = _letters(length - 1, draw)
    return (*letters, compose(inverse(product(letters)), goal))


def inverse(permutation: Permutation) -> Permutation:
    """The permutation that undoes it.

    >>> inverse((1, 2, 0, 3, 4))
    (2, 0, 1, 3, 4)
    """
    return tuple(permutation.index(i) for i in range(len(permutation)))


def even(permutation: Permutation) -> bool:
    """Whether it is the product of an even number of transpositions.

    >>> even((1, 2, 0, 3, 4)), even((1, 0, 2, 3, 4))
    (True, False)
    """
    pairs = [(i, j) for j in range(len(permutation)) for i in range(j)]
    return sum(permutation[i] > permutation[j] for i, j in pairs) % 2 == 0


def _letters(length: int, draw: random.Random) -> Word:
    return tuple(PERMUTATIONS[draw.randrange(len(PERMUTATIONS))] for _ in range(length))
