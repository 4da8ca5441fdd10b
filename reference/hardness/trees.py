"""Isomorphism of trees: pairs with equal degrees, isomorphic or not."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hopspec.clauses import implements
from hopspec.reference.hardness.connectivity import Graph
from hopspec.reference.hardness.drawing import at_least, source

__all__ = ["TreePair", "isomorphic", "shuffled_trees", "swapped_subtrees"]

# No two trees of fewer vertices have the same degrees and different shapes.
LEAST = 6


@dataclass(frozen=True, slots=True)
class TreePair:
    """Two trees with the same number of vertices.

    Args:
        first: a tree.
        second: another one.

    Raises:
        ValueError: if one of the two is no tree, or they differ in their number of vertices.
    """

    first: Graph
    second: Graph

    def __post_init__(self) -> None:
        for name, tree in (("first", self.first), ("second", self.second)):
            if len(tree.edges) != tree.vertices - 1 or not _middle(_neighbours(tree)):
                raise ValueError(f"{name} must be a tree, got {tree.vertices} vertices, {tree.edges}")
        if self.first.vertices != self.second.vertices:
            raise ValueError(
                f"both trees must have as many vertices, got {self.first.vertices} and {self.second.vertices}"
            )


@implements("MHN-COT-1")
def isomorphic(pair: TreePair) -> bool:
    """Whether a renaming of vertices makes one tree the other (clause MHN-COT-1).

    The method of Aho, Hopcroft and Ullman: root each tree at its middle vertex, or at the middle of its
    middle edge, and name every subtree by the sorted names of the subtrees below it.

    >>> path, star = Graph(4, ((0, 1), (1, 2), (2, 3))), Graph(4, ((0, 1), (0, 2), (0, 3)))
    >>> isomorphic(TreePair(path, star)), isomorphic(TreePair(star, star))
    (False, True)
    """
    names: dict[tuple[int, ...], int] = {}
    return _rooted_name(pair.first, names) == _rooted_name(pair.second, names)


@implements("MHN-COT-2")
def shuffled_trees(vertices: int, seed: int, *, answer: bool | None = None) -> TreePair:
    """Two random trees with the same degree at every vertex, or one tree twice (clause MHN-COT-2).

    The first tree is uniform among those with its vertices: its Prüfer code is. The second one has a shuffled
    code, drawn again until the trees differ in shape, or the same code. Its vertices are renamed at random.

    Args:
        vertices: at least 6.
        seed: of all that is random.
        answer: whether the trees are isomorphic; None draws it, either with probability 1/2.

    Raises:
        TypeError: if ``vertices`` is no int.
        ValueError: if it is smaller than 6.

    >>> pair = shuffled_trees(10, seed=0, answer=False)
    >>> sorted(pair.first.degrees) == sorted(pair.second.degrees), isomorphic(pair)
    (True, False)
    """
    at_least("vertices", vertices, LEAST)
    draw = source("shuffled_trees", vertices, seed)
    coin = draw.random() < 0.5
    alike = coin if answer is None else answer
    while True:
        code = [draw.randrange(vertices) for _ in range(vertices - 2)]
        other = code if alike else draw.sample(code, len(code))
        pair = TreePair(_graph(_decoded(code)), _graph(_renamed(_decoded(other), draw)))
        if isomorphic(pair) == alike:
            return pair


@implements("MHN-COT-2")
def swapped_subtrees(vertices: int, subtree: int, seed: int, *, answer: bool | None = None) -> TreePair:
    """A tree, and the same tree with two of its subtrees exchanged or not (clause MHN-COT-2).

    A random tree of ``vertices - 2 * subtree`` vertices carries at two of its vertices two random trees of
    ``subtree`` vertices, whose Prüfer codes are shuffles of each other and whose roots have equal degrees. In
    the second tree they change places, if the answer is no, so that the two agree in all degrees and in the
    sizes of all subtrees but those within the two. Its vertices are renamed at random.

    Args:
        vertices: at least ``2 * subtree + 3``.
        subtree: vertices in each of the two subtrees, at least 6.
        seed: of all that is random.
        answer: whether the trees are isomorphic; None draws it, either with probability 1/2.

    Raises:
        TypeError: if an argument is no int.
        ValueError: if one is out of range.

    >>> pair = swapped_subtrees(24, 8, seed=0, answer=False)
    >>> sorted(pair.first.degrees) == sorted(pair.second.degrees), isomorphic(pair)
    (True, False)
    """
    at_least("subtree", subtree, LEAST)
    at_least("vertices", vertices, 2 * subtree + 3)
    draw = source("swapped_subtrees", vertices, subtree, seed)
    coin = draw.random() < 0.5
    alike = coin if answer is None else answer
    trunk = vertices - 2 * subtree
    while True:
        edges = _decoded([draw.randrange(trunk) for _ in range(trunk - 2)])
        one, other = draw.sample(range(trunk), 2)
        code = [draw.randrange(subtree) for _ in range(subtree - 2)]
        for offset, made in ((trunk, code), (trunk + subtree, draw.sample(code, len(code)))):
            edges += [(a + offset, b + offset) for a, b in _decoded(made)]
        root = draw.randrange(subtree)
        left, right = trunk + root, trunk + subtree + root
        straight = [*edges, (one, left), (other, right)]
        crossed = [*edges, (one, right), (other, left)]
        if not isomorphic(TreePair(_graph(straight), _graph(crossed))):
            second = straight if alike else crossed
            return TreePair(_graph(straight), _graph(_renamed(second, draw)))


def _decoded(code: list[int]) -> list[tuple[int, int]]:
    """The edges of the tree with this Prüfer code; a vertex appears in it once less than its degree."""
    vertices = len(code) + 2
    left = [1] * vertices
    for vertex in code:
        left[vertex] += 1
    edges = []
    pointer = leaf = left.index(1)
    for vertex in code:
        edges.append((leaf, vertex))
        left[vertex] -= 1
        if left[vertex] == 1 and vertex < pointer:
            leaf = vertex
        else:
            pointer = leaf = left.index(1, pointer + 1)
    edges.append((leaf, vertices - 1))
    return edges


def _renamed(edges: list[tuple[int, int]], draw: random.Random) -> list[tuple[int, int]]:
    names = list(range(len(edges) + 1))
    draw.shuffle(names)
    return [(names[a], names[b]) for a, b in edges]


def _graph(edges: list[tuple[int, int]]) -> Graph:
    return Graph(len(edges) + 1, tuple(sorted((min(edge), max(edge)) for edge in edges)))


def _neighbours(tree: Graph) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in range(tree.vertices)]
    for a, b in tree.edges:
        found[a].append(b)
        found[b].append(a)
    return found


def _middle(neighbours: list[list[int]]) -> list[int]:
    """The one or two vertices left when leaves are taken off level by level; none of a graph with a cycle."""
    degrees = [len(near) for near in neighbours]
    level = [vertex for vertex, degree in enumerate(degrees) if degree <= 1]
    left = len(neighbours)
    while left > 2:
        left -= len(level)
        peeled = []
        for vertex in level:
            for near in neighbours[vertex]:
                degrees[near] -= 1
                if degrees[near] == 1:
                    peeled.append(near)
        if not peeled:
            return []
        level = peeled
    return level


def _rooted_name(tree: Graph, names: dict[tuple[int, ...], int]) -> int:
    """The name of the tree rooted at its middle; ``names`` gives equal subtrees equal names."""
    neighbours = _neighbours(tree)
    middle = _middle(neighbours)
    root = middle[0]
    if len(middle) == 2:
        # A vertex in the middle of the middle edge.
        root = tree.vertices
        for one, other in (middle, middle[::-1]):
            neighbours[one] = [root if near == other else near for near in neighbours[one]]
        neighbours.append(middle)
    above = {root: root}
    order = [root]
    for vertex in order:
        below = [near for near in neighbours[vertex] if near != above[vertex]]
        above.update(dict.fromkeys(below, vertex))
        order += below
    below_names: list[list[int]] = [[] for _ in neighbours]
    name = 0
    for vertex in reversed(order):
        name = names.setdefault(tuple(sorted(below_names[vertex])), len(names))
        below_names[above[vertex]].append(name)
    return name
