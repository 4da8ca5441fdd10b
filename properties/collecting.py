"""How often a process of our own looks for garbage."""

from __future__ import annotations

import gc

__all__ = ["collect_rarely"]

# Python's own first threshold, 700, is for programs that leave cycles behind; these leave few.
_NEW_OBJECTS = 50_000


def collect_rarely() -> None:
    """Look for garbage less often, and never among what has been imported so far."""
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 20, 100)
