"""Properties of networks that multiply permutations by chain of thought (MHN-COT-4 and MHN-COT-5)."""

from __future__ import annotations

from itertools import pairwise, permutations

from hopspec.properties.judgement import Judgement, require
from hopspec.properties.trials import Trial, trial

__all__ = ["every_answer_is_the_product_so_far", "letters_are_told_apart_from_the_least_precision_on"]

ELEMENTS = tuple(permutations(range(5)))
ROTATIONS = [ELEMENTS.index(tuple((i + by) % 5 for i in range(5))) for by in range(5)]
# The rotations passed through: every pair is adjacent once, so that every hidden unit fires.
PASSED = [int(by) for by in "00102030411213142232433440"]


@trial("MHN-COT-4", "chain", cases=30)
def every_answer_is_the_product_so_far(t: Trial) -> Judgement | None:
    """Every answer is the product of the letters before it, at the least precision and above."""
    length, digits, bits = (1, 4, 9)[t.number] if t.number < 3 else int(t.rng.integers(1, 13)), 1, None
    word = [int(i) for i in t.rng.integers(120, size=length)]
    if t.number == 1:
        word = [ROTATIONS[1]] * length
    elif t.number == 3:
        word = [ROTATIONS[(after - before) % 5] for before, after in pairwise(PASSED)]
    elif t.number > 3:
        digits = 1 + int(t.rng.integers(3))
        bits = None if t.number % 2 else _least(length, digits) + int(t.rng.integers(3))
    expected = []
    done = tuple(range(5))
    for letter in word:
        done = tuple(ELEMENTS[letter][image] for image in done)
        expected.append(ELEMENTS.index(done))
    got = list(t.ask("run", word, digits, bits))
    return require(
        f"answers to {word}, {digits} digits, p = {bits or 'least'}", got == expected, got, expected
    )


@trial("MHN-COT-5", "chain", cases=40)
def letters_are_told_apart_from_the_least_precision_on(t: Trial) -> Judgement | None:
    """An answer hears the letter at its position alone if p is enough, and a neighbor's as well if not."""
    length = 5 + t.number if t.number < 4 else int(t.rng.integers(13, 10 ** int(t.rng.integers(2, 6))))
    digits = 1 + t.number % 2
    base, least = _base(length, digits), _least(length, digits)
    if t.number % 3:
        bits = least + int(t.rng.integers(2))
        position = int(t.rng.integers(length))
        near = range(max(0, position - 2), min(length, position + 3))
        among = sorted({*near, *map(int, t.rng.integers(length, size=6))})
        expected = [position]
    elif least == 2:
        return None
    else:
        bits = int(t.rng.integers(2, least))
        position = _confused(bits) if bits < least - 1 else base - 1 - base % 2
        among = [position - 1, position]
        expected = among
    got = list(t.ask("heard", length, digits, bits, position, among))
    what = f"letters of {length} heard at {position}, {digits} digits, p = {bits}, of those at {among}"
    return require(what, got == expected, got, expected)


def _base(length: int, digits: int) -> int:
    return next(b for b in range(2, max(3, length + 1)) if b**digits >= length)


def _least(length: int, digits: int) -> int:
    """The least p from 2 with which the squares of all odd digits are elements."""
    base = _base(length, digits)
    return max(2, ((base - 1 - base % 2) ** 2).bit_length())


def _confused(bits: int) -> int:
    """An odd number that cannot be told from the even one before it, its square having one bit too many."""
    if bits == 2:
        return 3
    half = 1 << (bits + 1) // 2
    return half - 1 if bits % 2 else half + 1
