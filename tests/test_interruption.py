"""Ctrl-C waits for a place where nothing is half done."""

from __future__ import annotations

import os
import signal
import threading
import weakref
from collections.abc import Iterator
from multiprocessing import Pipe

import pytest

from hopspec.properties import interruption
from hopspec.properties.options import Options
from hopspec.properties.part import Part, results


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """A program started in the background of a shell ignores interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_waits_for_the_next_check() -> None:
    with interruption.deferred():
        press()
        with pytest.raises(KeyboardInterrupt):
            interruption.check()
        interruption.check()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    interruption.check()


def test_a_second_interrupt_does_not_wait() -> None:
    with interruption.deferred():
        press()
        with pytest.raises(KeyboardInterrupt):
            press()
        with pytest.raises(KeyboardInterrupt):
            interruption.check()


def test_an_interrupt_in_a_callback_is_not_lost() -> None:
    class Anything:
        pass

    with interruption.deferred():
        something = Anything()
        weakref.finalize(something, press)
        del something
        with pytest.raises(KeyboardInterrupt):
            interruption.check()


def test_whoever_else_handles_interrupts_keeps_doing_so() -> None:
    noted: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: noted.append(number))
    try:
        with interruption.deferred():
            press()
        assert noted == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_are_left_alone() -> None:
    handlers = []

    def elsewhere() -> None:
        with interruption.deferred():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]


def test_a_process_interrupted_before_it_began_leaves_an_empty_report() -> None:
    control, theirs = Pipe()
    with control:
        part = Part(Options(targets=("reference",), profile="quick"), iter(()), theirs)
        part.interrupt()
        (report,) = results([part], lambda *_: None)
        part.close()
    assert report.interrupted
    assert report.cells == []
