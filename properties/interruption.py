"""Ctrl-C between two problems rather than within one.

An exception raised by a signal handler appears between any two instructions: in a callback, where the
interpreter swallows it, or half-way through a message, so that what follows is read wrongly. Within
:func:`deferred` the handler only takes a note, and :func:`check` raises where it is safe.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["check", "defer", "deferred"]

_noted = False


def check() -> None:
    """Raise if an interrupt was noted, once.

    Raises:
        KeyboardInterrupt: if it was.
    """
    global _noted  # noqa: PLW0603  (a signal belongs to the process)
    if _noted:
        _noted = False
        raise KeyboardInterrupt


def defer(number: signal.Signals) -> None:
    """Let a signal wait for the next :func:`check`; a second one before that raises at once."""
    signal.signal(number, _note)


@contextmanager
def deferred() -> Iterator[None]:
    """Let Ctrl-C wait for the next :func:`check`; only where nobody else handles it."""
    try:
        ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if ours:
            defer(signal.SIGINT)
    except ValueError:
        # Not the main thread: signals do not arrive here.
        ours = False
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _note(_number: int, _frame: FrameType | None) -> None:
    global _noted  # noqa: PLW0603
    if _noted:
        raise KeyboardInterrupt
    _noted = True
