"""What the generators of instances share: the source of randomness and the checks of arguments."""

from __future__ import annotations

import random

__all__ = ["at_least", "source"]


def source(name: str, *parts: int) -> random.Random:
    """A source of its own for every distribution and its parameters.

    >>> source("cycles", 8, 0).random() == source("cycles", 8, 0).random()
    True
    >>> source("cycles", 8, 0).random() == source("cycles", 8, 1).random()
    False
    """
    return random.Random(" ".join((name, *map(str, parts))))


def at_least(name: str, value: int, least: int) -> None:
    """Raise unless ``value``, the argument called ``name``, is an int of at least ``least``.

    Raises:
        TypeError: if it is no int.
        ValueError: if it is smaller.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {type(value).__name__} {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
