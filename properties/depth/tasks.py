"""Instances in bulk, as tensors: the distributions of :mod:`hopspec.reference.hardness`."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hopspec.reference.hardness.words import DEGREE, PERMUTATIONS

__all__ = ["Batch", "cycle_batch", "word_batch"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Instances with their answers.

    Args:
        tokens: ``[instances, tokens, features]``.
        answers: classes, ``[instances, answers, parts]``; an answer is right if all its parts are.
    """

    tokens: torch.Tensor
    answers: torch.Tensor


def word_batch(instances: int, length: int, generator: torch.Generator) -> Batch:
    """Words of independent uniform letters, and the product of every prefix.

    A token is the matrix of a permutation, ``features = 25``. An answer has five parts, the images.

    Args:
        instances: number of words.
        length: of each word.
        generator: source of randomness.
    """
    table = torch.tensor(PERMUTATIONS)
    letters = table[torch.randint(len(PERMUTATIONS), (instances, length), generator=generator)]
    products = [letters[:, 0]]
    for position in range(1, length):
        products.append(letters[:, position].gather(1, products[-1]))
    tokens = torch.nn.functional.one_hot(letters, DEGREE).flatten(2).float()
    return Batch(tokens, torch.stack(products, 1))


def cycle_batch(instances: int, vertices: int, generator: torch.Generator) -> Batch:
    """Graphs that are one cycle through all vertices, or two through half of them each, equally often.

    A token is a vertex: its row of the adjacency matrix and a 1 at its own place, ``features = 2 vertices``.
    The one answer has one part: whether the graph is connected.

    Args:
        instances: number of graphs.
        vertices: of each graph, an even number.
        generator: source of randomness.
    """
    half = vertices // 2
    place = torch.arange(vertices)
    one = (place + 1) % vertices
    two = torch.where(place % half == half - 1, place - half + 1, place + 1)
    connected = torch.randint(2, (instances, 1), generator=generator)
    after = torch.where(connected.bool(), one, two)
    names = torch.rand((instances, vertices), generator=generator).argsort(1)
    edges = torch.zeros(instances, vertices, vertices)
    row = torch.arange(instances)[:, None]
    edges[row, names, names.gather(1, after)] = 1.0
    own = torch.eye(vertices).expand(instances, -1, -1)
    return Batch(torch.cat((edges + edges.mT, own), 2), connected[:, :, None])
