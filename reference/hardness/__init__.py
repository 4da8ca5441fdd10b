"""Problems that no constant-depth network is expected to solve: instances, and what the answer is.

Undirected connectivity, isomorphism of trees and the word problem of S5 are hard for NC1 (clause MHN-COT-1).
Instances are drawn from a seed, as many with the answer yes as with no, and so that cheap statistics do not
tell them apart (clause MHN-COT-2). Modules: :mod:`~hopspec.reference.hardness.connectivity`,
:mod:`~hopspec.reference.hardness.trees`, :mod:`~hopspec.reference.hardness.words`.
"""

from hopspec.reference.hardness.connectivity import Graph, connected, cycles, switched
from hopspec.reference.hardness.trees import TreePair, isomorphic, shuffled_trees, swapped_subtrees
from hopspec.reference.hardness.words import Word, balanced_word, compose, product, uniform_word

__all__ = [
    "Graph",
    "TreePair",
    "Word",
    "balanced_word",
    "compose",
    "connected",
    "cycles",
    "isomorphic",
    "product",
    "shuffled_trees",
    "swapped_subtrees",
    "switched",
    "uniform_word",
]
