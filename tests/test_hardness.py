"""Instances of hard problems: answers against networkx and sympy, and what must not give them away."""

import doctest
import importlib
import pkgutil
from collections import Counter

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy.combinatorics import Permutation as Independent

from hopspec.reference import hardness
from hopspec.reference.hardness import (
    Graph,
    TreePair,
    balanced_word,
    connected,
    cycles,
    isomorphic,
    product,
    shuffled_trees,
    swapped_subtrees,
    switched,
    uniform_word,
)
from hopspec.reference.hardness.words import IDENTITY, PERMUTATIONS, even

SEEDS = st.integers(0, 10**6)
MODULES = sorted(module.name for module in pkgutil.iter_modules(hardness.__path__))


def independent(graph: Graph) -> "nx.Graph[int]":
    """The same graph for networkx."""
    found: nx.Graph[int] = nx.Graph()
    found.add_nodes_from(range(graph.vertices))
    found.add_edges_from(graph.edges)
    return found


def sorted_degrees(graph: Graph) -> list[int]:
    return sorted(graph.degrees)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    module = importlib.import_module(f"{hardness.__name__}.{name}")
    assert doctest.testmod(module).failed == 0


@given(st.integers(6, 60), SEEDS)
def test_cycles(vertices: int, seed: int) -> None:
    for answer in (True, False):
        graph = cycles(vertices, seed, answer=answer)
        assert connected(graph) == nx.is_connected(independent(graph)) == answer
        assert graph.degrees == (2,) * vertices


@given(st.integers(8, 40), st.integers(0, 2), SEEDS)
def test_switched(vertices: int, chords: int, seed: int) -> None:
    joined, apart = (switched(vertices, chords, seed, answer=answer) for answer in (True, False))
    assert connected(joined)
    assert nx.is_connected(independent(joined))
    assert not connected(apart)
    assert not nx.is_connected(independent(apart))
    assert joined.degrees == apart.degrees


def test_connected_on_every_graph_of_four_vertices() -> None:
    pairs = [(a, b) for b in range(4) for a in range(b)]
    answers = Counter[bool]()
    for chosen in range(2 ** len(pairs)):
        edges = sorted(pair for i, pair in enumerate(pairs) if chosen >> i & 1)
        graph = Graph(4, tuple(edges))
        assert connected(graph) == nx.is_connected(independent(graph))
        answers[connected(graph)] += 1
    # A001187: 38 connected labelled graphs with four vertices.
    assert answers == {True: 38, False: 26}


@settings(max_examples=50)
@given(st.integers(6, 30), SEEDS)
def test_shuffled_trees(vertices: int, seed: int) -> None:
    for answer in (True, False):
        pair = shuffled_trees(vertices, seed, answer=answer)
        check_pair(pair, answer)


@settings(max_examples=50)
@given(st.integers(6, 12), st.integers(3, 20), SEEDS)
def test_swapped_subtrees(subtree: int, trunk: int, seed: int) -> None:
    for answer in (True, False):
        check_pair(swapped_subtrees(2 * subtree + trunk, subtree, seed, answer=answer), answer)


def check_pair(pair: TreePair, answer: bool) -> None:
    first, second = independent(pair.first), independent(pair.second)
    assert nx.is_tree(first)
    assert nx.is_tree(second)
    assert isomorphic(pair) == nx.is_isomorphic(first, second) == answer
    assert sorted_degrees(pair.first) == sorted_degrees(pair.second)


def test_isomorphic_on_every_shape_of_nine_vertices() -> None:
    shapes = [Graph(9, tuple(sorted(tuple(sorted(e)) for e in t.edges))) for t in nx.nonisomorphic_trees(9)]
    # A000055: 47 trees with nine vertices.
    assert len(shapes) == 47
    for i, one in enumerate(shapes):
        for j, other in enumerate(shapes):
            assert isomorphic(TreePair(one, other)) == (i == j)


@pytest.mark.parametrize("edges", [((0, 1), (0, 2), (1, 2)), ((0, 1),)])
def test_what_is_no_tree(edges: tuple[tuple[int, int], ...]) -> None:
    path = Graph(4, ((0, 1), (1, 2), (2, 3)))
    with pytest.raises(ValueError, match="second must be a tree"):
        TreePair(path, Graph(4, edges))


@given(st.integers(1, 40), SEEDS)
def test_words(length: int, seed: int) -> None:
    for word in (uniform_word(length, seed), balanced_word(length, seed)):
        expected = Independent(range(5))
        for letter in word:
            expected = expected * Independent(letter)
        assert product(word) == tuple(expected.array_form)
    assert product(balanced_word(length, seed, answer=True)) == IDENTITY
    other = product(balanced_word(length, seed, answer=False))
    assert other != IDENTITY
    assert even(other)
    assert Independent(other).is_even


def test_letters_are_the_whole_group() -> None:
    assert len(set(PERMUTATIONS)) == 120
    seen = Counter(letter for seed in range(120) for letter in uniform_word(100, seed))
    assert set(seen) == set(PERMUTATIONS)
    # 12,000 draws, 100 expected each: beyond 6 standard deviations with probability below 3e-7.
    assert all(abs(count - 100) < 60 for count in seen.values())


@pytest.mark.parametrize(
    "draw",
    [
        lambda seed: connected(cycles(10, seed)),
        lambda seed: connected(switched(10, 1, seed)),
        lambda seed: isomorphic(shuffled_trees(9, seed)),
        lambda seed: isomorphic(swapped_subtrees(17, 6, seed)),
        lambda seed: product(balanced_word(3, seed)) == IDENTITY,
    ],
)
def test_answers_are_balanced(draw: object) -> None:
    assert callable(draw)
    yes = sum(draw(seed) for seed in range(400))
    # Beyond 6 standard deviations of 10 with probability below 3e-9.
    assert 140 <= yes <= 260


def test_instances_depend_on_the_seed_alone() -> None:
    assert cycles(12, 5) == cycles(12, 5)
    assert len({cycles(12, seed) for seed in range(20)}) == 20
    assert uniform_word(9, 1) != uniform_word(9, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cycles(5, 0), "vertices must be at least 6, got 5"),
        (lambda: switched(8, 3, 0), "chords must be at most 2 with 8 vertices, got 3"),
        (lambda: shuffled_trees(5, 0), "vertices must be at least 6, got 5"),
        (lambda: swapped_subtrees(14, 6, 0), "vertices must be at least 15, got 14"),
        (lambda: uniform_word(0, 0), "length must be at least 1, got 0"),
        (lambda: Graph(2, ((1, 0),)), r"edges must be pairs \(a, b\) with 0 <= a < b < 2, got \(1, 0\)"),
        (lambda: Graph(3, ((0, 1), (0, 1))), "edges must be in strictly ascending order"),
    ],
)
def test_errors_name_the_argument(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call()
