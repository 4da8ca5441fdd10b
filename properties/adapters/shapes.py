"""Shapes that implementations can be called with."""

from __future__ import annotations

__all__ = ["POSITIVE", "SHAPES"]

# Of every size but none: their documentation is silent on empty inputs.
POSITIVE = ((0, 0, 0, 0),)

# For those that compile anew for each shape: one memory, fewer and more memories than queries, widths that
# fill vectors and one that does not.
SHAPES = ((2, 1, 4), (2, 3, 4), (3, 2, 5), (2, 8, 8), (2, 16, 16), (4, 33, 7))
