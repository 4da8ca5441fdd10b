"""The network for the word problem of S5: right at the least precision and above, wrong below."""

import doctest
import importlib
import pkgutil
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy.combinatorics import Permutation as Independent
from typer.testing import CliRunner

from hopspec.pbit import PBit, PBits
from hopspec.properties.cli import app
from hopspec.properties.thought_command import independent_product
from hopspec.reference import thought
from hopspec.reference.hardness import product, uniform_word
from hopspec.reference.hardness.words import PERMUTATIONS
from hopspec.reference.networks import evaluate
from hopspec.reference.pbit import Arithmetic
from hopspec.reference.thought import WordNetwork, base_for, digits_of, least_bits, think
from hopspec.reference.thought.arrays import ArrayMachine
from hopspec.reference.thought.running import PlainMachine, read

MODULES = sorted(module.name for module in pkgutil.iter_modules(thought.__path__))
TURN = (1, 2, 3, 4, 0)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    module = importlib.import_module(f"{thought.__name__}.{name}")
    assert doctest.testmod(module).failed == 0


@settings(max_examples=25)
@given(st.integers(1, 12), st.integers(1, 4), st.sampled_from((0, 0, 1, 2, 7, 40)), st.integers(0, 10**6))
def test_every_answer_is_the_product_so_far(length: int, digits: int, more: int, seed: int) -> None:
    word = uniform_word(length, seed)
    found = think(word, digits=digits, bits=least_bits(length, digits) + more)
    expected = Independent(range(5))
    for letter, answer in zip(word, found.answers, strict=True):
        expected = expected * Independent(letter)
        assert answer == tuple(expected.array_form)
    assert found.product == product(word)


def test_every_permutation_is_multiplied_right_on_both_sides() -> None:
    network = WordNetwork(1, 1, 2)
    machine = PlainMachine(network, Arithmetic(PBits(2)))
    for i, first in enumerate(PERMUTATIONS):
        for second in PERMUTATIONS[i % 24 :: 24]:
            machine.keys.clear()
            machine.values.clear()
            machine.append(network.letter(second, 0))
            machine.append(network.answer(first, 0))
            assert read(machine.output()) == product((first, second))


@pytest.mark.parametrize("underflow", ["nearest", "zero", "gradual"])
@pytest.mark.parametrize("bits", [2, 3, 6])
def test_one_step_leaves_two_weights(underflow: str, bits: int) -> None:
    class Watched(Arithmetic):
        """Records what leaves the exponential."""

        def exp(self, x: PBit) -> PBit:
            seen.append(super().exp(x))
            return seen[-1]

    seen: list[PBit] = []
    format = PBits(bits, underflow=underflow)  # type: ignore[arg-type]
    network = WordNetwork(4, 2, bits)
    machine = PlainMachine(network, Watched(format))
    word = uniform_word(4, seed=0)
    assert think(word, network=network, machine=machine).product == product(word)
    assert len(seen) == 5 + 6 + 7 + 8
    assert sorted(x.fraction for x in seen if x.m) == [Fraction(1)] * 8


class Both:
    """The plain machine and the one on arrays, which have to agree in every bit."""

    def __init__(self, network: WordNetwork) -> None:
        self.plain = PlainMachine(network, Arithmetic(PBits(network.bits)))
        self.arrays = ArrayMachine(network, 2 * network.length)

    def append(self, row: Sequence[int]) -> None:
        self.plain.append(row)
        self.arrays.append(row)

    def output(self) -> list[PBit]:
        assert self.plain.weights() == self.arrays.weights().tolist()
        found = self.plain.output()
        assert found == self.arrays.output()
        return found


@pytest.mark.parametrize("length", [1, 2, 5, 14])
@pytest.mark.parametrize("digits", [1, 2])
def test_arrays_agree_in_every_bit(length: int, digits: int) -> None:
    word = uniform_word(length, seed=digits)
    least = least_bits(length, digits)
    for bits in {max(2, least - 2), max(2, least - 1), least, 11, 29}:
        network = WordNetwork(length, digits, bits)
        found = think(word, network=network, machine=Both(network))
        assert found.product == product(word) or bits < least


@pytest.mark.parametrize(("length", "bits"), [(1, 2), (4, 3), (5, 9)])
def test_the_machine_is_a_network_of_chapter_17(length: int, bits: int) -> None:
    network = WordNetwork(length, 1, bits)
    word = uniform_word(length, seed=1)
    rows = [network.letter(letter, position) for position, letter in enumerate(word)]
    machine = PlainMachine(network, Arithmetic(PBits(bits)))
    for row in rows:
        machine.append(row)
    for position in range(length):
        rows.append(network.answer(product(word[:position]), position))
        machine.append(rows[-1])
        layers = network.weights.as_layers()
        assert machine.output() == evaluate(layers, rows, PBits(bits))[-1]


def test_arrays_agree_at_the_far_end_of_a_long_word() -> None:
    length = 10_000
    network = WordNetwork(length, 1, least_bits(length))
    both = Both(network)
    for position in (0, 1, 5792, 9997, 9998, 9999):
        both.append(network.letter(TURN, position))
    both.append(network.answer(TURN, 9999))
    assert read(both.output()) == product((TURN, TURN))
    below = WordNetwork(length, 1, least_bits(length) - 1)
    both = Both(below)
    for position in (9998, 9999):
        both.append(below.letter(TURN, position))
    both.append(below.answer(TURN, 9999))
    assert len([x for x in both.plain.weights() if x.m]) == 3
    assert read(both.output()) is None


def test_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    run = CliRunner().invoke(app, ["word", "--length", "30", "--seed", "4", "--digits", "2"])
    assert run.exit_code == 0, run.output
    shown = " ".join(map(str, independent_product(uniform_word(30, 4))))
    assert f"found      {shown}\nexpected   {shown}, by sympy" in run.output
    assert "p          5 bits; 5 are enough" in run.output
    few = CliRunner().invoke(app, ["word", "--length", "30", "--digits", "2", "--bits", "4", "--plain"])
    assert few.exit_code == 1
    assert "found      none: the output after letter" in few.output


def score(a: int, b: int, f: Arithmetic) -> PBit:
    """The score of digit a for digit b, as the network computes it."""
    one, two = f.number(1), f.number(2)
    squares = [f.number(x * x) for x in (a, b)]
    asked = [f.multiply(two, f.number(b)), f.negate(one), f.negate(squares[1])]
    return f.dot(asked, [f.number(a), squares[0], one])


@pytest.mark.parametrize("base", [*range(2, 20), 25, 33])
def test_least_bits_against_a_search(base: int) -> None:
    least = least_bits(base)
    for bits in range(2, least + 3):
        f = Arithmetic(PBits(bits))
        scores = {(a, b): score(a, b, f) for a in range(base) for b in range(base)}
        apart = all((float(s) <= -1) == (a != b) and (s.m == 0) == (a == b) for (a, b), s in scores.items())
        assert apart == (bits >= least)
        if not apart:
            assert any(not scores[c, c - 1].m for c in range(1, base))


@given(st.integers(4, 10**9), st.integers(1, 3))
def test_below_the_least_bits_two_positions_collide(length: int, digits: int) -> None:
    least, base = least_bits(length, digits), base_for(length, digits)
    assert (base - 1) ** digits < length <= base**digits
    for bits in range(2, least):
        f = Arithmetic(PBits(bits))
        # The largest odd digit whose square has one bit too many.
        odd = next(
            (
                c
                for c in range(min(base - 1, int(2 ** ((bits + 1) / 2)) + 1), 2, -1)
                if c % 2 and c * c < 2 ** (bits + 1)
            ),
            3,
        )
        assert odd < length
        assert score(odd, odd - 1, f) == score(odd - 1, odd, f) == f.zero
    f = Arithmetic(PBits(least))
    for a, b in ((base - 1, base - 2), (base - 2, base - 3), (base - 1, 0)):
        if a != b and b >= 0:
            assert float(score(a, b, f)) <= -1


@pytest.mark.parametrize("length", [*range(4, 13), 20, 31])
@pytest.mark.parametrize("digits", [1, 2])
def test_a_word_fails_at_every_smaller_precision(length: int, digits: int) -> None:
    word = (TURN,) * length
    for bits in range(2, least_bits(length, digits)):
        assert think(word, digits=digits, bits=bits).product != product(word)


def test_digits() -> None:
    assert [digits_of(i, 2, 3) for i in range(3)] == [(0, 0, 0), (1, 0, 0), (0, 1, 0)]
    with pytest.raises(ValueError, match="position must have at most 2 digits to the base 10, got 100"):
        digits_of(100, 10, 2)


def test_as_many_digits_as_binary_ones_need_two_bits() -> None:
    for length in (2, 3, 100, 10_000, 10**9):
        assert least_bits(length, (length - 1).bit_length()) == 2


@pytest.mark.parametrize("spoilt", [[], [0], [0, 6, 12, 18], [0, 6, 12, 18, 23], [0, 1, 12, 18, 24]])
def test_what_is_no_permutation_matrix(spoilt: list[int]) -> None:
    f = Arithmetic(PBits(3))
    cells = [f.number(int(i in spoilt)) for i in range(25)]
    assert read(cells) is None
    identity = [f.number(int(i % 6 == 0)) for i in range(25)]
    assert read(identity) == (0, 1, 2, 3, 4)
    assert read([f.number(Fraction(1, 2)) if x.m else x for x in identity]) is None


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match="word must have at least one letter, got none"):
        think(())
    with pytest.raises(ValueError, match="digits must be at least 1, got 0"):
        think((TURN,), digits=0)
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        base_for(0, 1)


def test_the_page_says_what_runs() -> None:
    page = Path(__file__).resolve().parent.parent / "docs" / "chain-of-thought.md"
    assert doctest.testfile(str(page), module_relative=False).failed == 0
