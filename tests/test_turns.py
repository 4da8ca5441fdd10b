"""Choices that take turns: every option and every pair of options occurs in time."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise

import numpy as np
import pytest

from hopspec.properties.families import FAMILIES, drawn
from hopspec.properties.strategies import between, choose
from hopspec.properties.turns import BASES, Turns


def turns(counts: tuple[int, ...], seed: int, numbers: range) -> list[tuple[int, ...]]:
    """What is chosen among so many options, one choice after the other, in each of the problems."""
    found = []
    for number in numbers:
        rng = Turns((seed,), number)
        found.append(tuple(rng.turn(count) for count in counts))
    return found


@pytest.mark.parametrize("site", range(len(BASES)))
@pytest.mark.parametrize("seed", range(3))
def test_every_option_occurs_once_in_as_many_problems_as_its_base(site: int, seed: int) -> None:
    base = BASES[site]
    chosen = [t[site] for t in turns((base,) * (site + 1), seed, range(3 * base))]
    for start in range(0, 3 * base, base):
        assert sorted(chosen[start : start + base]) == [*range(base)]


def test_pairs_of_the_first_choices_all_occur_in_a_short_run() -> None:
    # Of 6 x 2 pairs that are drawn, two are missing on average.
    missing = [12 - len(set(turns((6, 2), seed, range(24)))) for seed in range(40)]
    assert np.mean(missing) < 0.6
    drawn_ones = [12 - len(set(_independent(seed))) for seed in range(40)]
    assert np.mean(drawn_ones) > 1.0


def _independent(seed: int) -> list[tuple[int, int]]:
    rng = np.random.default_rng(seed)
    return [(int(rng.integers(6)), int(rng.integers(2))) for _ in range(24)]


def test_no_pair_of_options_is_left_out_in_the_long_run() -> None:
    counts = (6, 5, 7, 4, 8, 3)
    found = turns(counts, 1, range(1500))
    for i, j in combinations(range(len(counts)), 2):
        pairs = Counter((t[i], t[j]) for t in found)
        assert len(pairs) == counts[i] * counts[j]
        assert max(pairs.values()) < 2 * min(pairs.values())


def test_seeds_differ_and_the_same_seed_repeats() -> None:
    first, again, other = (turns((8, 8, 8), seed, range(40)) for seed in (1, 1, 2))
    assert first == again != other


def test_choices_beyond_the_bases_and_long_ranges_are_drawn() -> None:
    rng = Turns((0,), 0)
    many = [choose(rng, range(10)) for _ in range(len(BASES) + 50)]
    assert len(set(many[len(BASES) :])) > 5
    assert len({between(Turns((0,), n), 0, 10**6) for n in range(50)}) == 50


@pytest.mark.parametrize("family", list(FAMILIES))
def test_what_properties_pick_by_the_seed_takes_turns_too(family: str) -> None:
    seeds = [drawn(family, 3, number).seed for number in range(36)]
    assert all(1 <= b - a <= 2 for a, b in pairwise(seeds))
    # Each remainder by 6 meets each remainder of the number, so that both see every case.
    assert len({(number % 6, seed % 6) for number, seed in enumerate(seeds)}) == 36


def test_negative_betas_whose_exponentials_overflow_are_in_every_quick_run() -> None:
    for seed in range(20):
        found = [drawn("any-beta", seed, number) for number in range(20)]
        assert any(p.beta < 0 and p.spread > 89 for p in found)
