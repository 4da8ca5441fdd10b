"""A modern Hopfield network that solves the word problem of S5 by chain of thought (chapter 19).

Its weights are written down in :mod:`~hopspec.reference.thought.network`, the code of positions and the least
precision for it are in :mod:`~hopspec.reference.thought.positions`, and the loop that feeds every token it
writes back into it is in :mod:`~hopspec.reference.thought.running`.
"""

from hopspec.reference.thought.network import Weights, WordNetwork, written_down
from hopspec.reference.thought.positions import base_for, digits_of, least_bits
from hopspec.reference.thought.running import Thought, think

__all__ = [
    "Thought",
    "Weights",
    "WordNetwork",
    "base_for",
    "digits_of",
    "least_bits",
    "think",
    "written_down",
]
