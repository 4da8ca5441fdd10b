"""Undirected connectivity: graphs that are connected, or fall into two halves, and look alike nearby."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hopspec.clauses import implements
from hopspec.reference.hardness.drawing import at_least, source

__all__ = ["Graph", "connected", "cycles", "switched"]

Edge = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Graph:
    """An undirected graph without loops and parallel edges.

    Args:
        vertices: their number; they are called 0, 1, and so on.
        edges: pairs ``(a, b)`` with ``a < b``, in ascending order.

    Raises:
        ValueError: if an edge is not such a pair, or the edges are not in strictly ascending order.

    >>> Graph(3, ((0, 2),)).edges
    ((0, 2),)
    """

    vertices: int
    edges: tuple[Edge, ...]

    def __post_init__(self) -> None:
        at_least("vertices", self.vertices, 0)
        for edge in self.edges:
            if not 0 <= edge[0] < edge[1] < self.vertices:
                raise ValueError(f"edges must be pairs (a, b) with 0 <= a < b < {self.vertices}, got {edge}")
        if any(one >= other for one, other in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("edges must be in strictly ascending order")

    @property
    def degrees(self) -> tuple[int, ...]:
        """The degree of every vertex.

        >>> Graph(3, ((0, 2), (1, 2))).degrees
        (1, 1, 2)
        """
        found = [0] * self.vertices
        for edge in self.edges:
            for vertex in edge:
                found[vertex] += 1
        return tuple(found)


@implements("MHN-COT-1")
def connected(graph: Graph) -> bool:
    """Whether there is a path between any two vertices (clause MHN-COT-1), by merging components.

    A graph without vertices counts as connected.

    >>> connected(Graph(3, ((0, 2), (1, 2)))), connected(Graph(3, ((0, 2),)))
    (True, False)
    """
    leader = list(range(graph.vertices))

    def find(vertex: int) -> int:
        while leader[vertex] != vertex:
            leader[vertex] = vertex = leader[leader[vertex]]
        return vertex

    components = graph.vertices
    for a, b in graph.edges:
        one, other = find(a), find(b)
        if one != other:
            leader[one] = other
            components -= 1
    return components <= 1


@implements("MHN-COT-2")
def cycles(vertices: int, seed: int, *, answer: bool | None = None) -> Graph:
    """One cycle through all vertices, or two cycles through half of them each (clause MHN-COT-2).

    Vertices are named in a random order. Every graph has ``vertices`` edges and every vertex degree 2, and
    what can be seen within a distance of ``vertices // 4 - 1`` of any vertex is one and the same path.

    Args:
        vertices: at least 6; with an odd number one half has one more.
        seed: of all that is random.
        answer: whether the graph is connected; None draws it, either with probability 1/2.

    Returns:
        The graph; :func:`connected` says which it is.

    Raises:
        TypeError: if ``vertices`` is no int.
        ValueError: if it is smaller than 6.

    >>> graph = cycles(8, seed=3, answer=False)
    >>> graph.degrees, connected(graph)
    ((2, 2, 2, 2, 2, 2, 2, 2), False)
    """
    at_least("vertices", vertices, 6)
    draw = source("cycles", vertices, seed)
    coin = draw.random() < 0.5
    names = list(range(vertices))
    draw.shuffle(names)
    half = vertices // 2
    rings = [names] if (coin if answer is None else answer) else [names[:half], names[half:]]
    edges = [(ring[i - 1], ring[i]) for ring in rings for i in range(len(ring))]
    return _graph(vertices, edges)


@implements("MHN-COT-2")
def switched(vertices: int, chords: int, seed: int, *, answer: bool | None = None) -> Graph:
    """Two random halves, joined by switching two edges or not (clause MHN-COT-2).

    Each half is a cycle with ``chords`` random chords. In a connected graph an edge (a, b) of the cycle of
    one half and an edge (c, d) of that of the other are replaced by (a, d) and (c, b), which changes the
    degree of no vertex.

    Args:
        vertices: at least 8; with an odd number one half has one more.
        chords: in each half, from 0 to ``h (h - 3) / 2`` with ``h = vertices // 2``.
        seed: of all that is random.
        answer: whether the graph is connected; None draws it, either with probability 1/2.

    Returns:
        The graph; :func:`connected` says which it is.

    Raises:
        TypeError: if an argument is no int.
        ValueError: if one is out of range.

    >>> joined, apart = (switched(12, 2, seed=1, answer=answer) for answer in (True, False))
    >>> joined.degrees == apart.degrees, connected(joined), connected(apart)
    (True, True, False)
    """
    at_least("vertices", vertices, 8)
    at_least("chords", chords, 0)
    half = vertices // 2
    if chords > half * (half - 3) // 2:
        raise ValueError(
            f"chords must be at most {half * (half - 3) // 2} with {vertices} vertices, got {chords}"
        )
    draw = source("switched", vertices, chords, seed)
    coin = draw.random() < 0.5
    names = list(range(vertices))
    draw.shuffle(names)
    halves = [names[:half], names[half:]]
    extra = [_chords(ring, chords, draw) for ring in halves]
    # The cycles without one edge each are paths from end to end; crosswise they make one cycle.
    rings = [halves[0] + halves[1]] if (coin if answer is None else answer) else halves
    edges = [(ring[i - 1], ring[i]) for ring in rings for i in range(len(ring))]
    return _graph(vertices, edges + extra[0] + extra[1])


def _chords(ring: list[int], count: int, draw: random.Random) -> list[Edge]:
    """``count`` different pairs of vertices that are not neighbours on the ring."""
    size = len(ring)
    apart = [(ring[i], ring[j]) for i in range(size) for j in range(i + 2, size) if (i, j) != (0, size - 1)]
    return draw.sample(apart, count)


def _graph(vertices: int, edges: list[Edge]) -> Graph:
    return Graph(vertices, tuple(sorted((min(edge), max(edge)) for edge in edges)))
