"""A further process that explores some of the shares: ``python -m hopspec.properties.part FD CONTROL``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait

from hopspec.properties import interruption
from hopspec.properties.collecting import collect_rarely
from hopspec.properties.exploration import explore_families
from hopspec.properties.nursery import Nursery
from hopspec.properties.options import Options
from hopspec.properties.results import Report
from hopspec.properties.shares import Share

__all__ = ["Part", "results"]

Progress = Callable[[str, int, int], None]
NEXT = "next share"
_SECONDS_BETWEEN_CHECKS = 0.2


class Part:
    """The parent's handle on a process that explores ``shares``.

    Args:
        options: what to do.
        shares: what there is to explore; whoever is free takes the next.
        control: control of the nursery that starts its implementations.
    """

    def __init__(self, options: Options, shares: Iterator[Share], control: Connection) -> None:
        self.shares = shares
        self.connection, theirs = Pipe()
        numbers = (theirs.fileno(), control.fileno())
        command = [sys.executable, "-m", "hopspec.properties.part", *map(str, numbers)]
        self.process = subprocess.Popen(command, pass_fds=numbers)
        theirs.close()
        control.close()
        self.connection.send(options)
        self.report: Report | None = None
        self.ended = self.interrupted = False

    def relay(self, progress: Progress) -> None:
        """Pass on the progress that has been reported so far, and a share where one is asked for."""
        while not self.finished and self.connection.poll():
            self._receive(progress)

    @property
    def finished(self) -> bool:
        """Whether nothing more will come."""
        return self.report is not None or self.ended

    def result(self) -> Report:
        """The report of a process that has finished.

        Raises:
            RuntimeError: if it ended without a report; its own message is on standard error.
        """
        if self.report is None and self.interrupted:
            return Report(settings={}, interrupted=True)
        if self.report is None:
            raise RuntimeError(f"a process of the run ended with exit status {self.process.wait()}")
        return self.report

    def _receive(self, progress: Progress) -> None:
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            self.ended = True
            return
        if isinstance(message, Report):
            self.report = message
        elif message == NEXT:
            with suppress(OSError):
                self.connection.send(next(self.shares, None))
        else:
            progress(*message)

    def interrupt(self) -> None:
        """Ask the process to end early with what was done."""
        self.interrupted = True
        self.process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """End the process."""
        with suppress(OSError):
            self.connection.close()
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def results(parts: Sequence[Part], progress: Progress) -> list[Report]:
    """Wait for the reports of all parts, passing on progress; see :meth:`Part.result`."""
    while waiting := [part.connection for part in parts if not part.finished]:
        wait(waiting, _SECONDS_BETWEEN_CHECKS)
        for part in parts:
            part.relay(progress)
        interruption.check()
    return [part.result() for part in parts]


def main(arguments: list[str]) -> int:
    """Explore the shares the parent names and send the report."""
    # Ctrl-C reaches the whole process group; the parent passes it on as SIGTERM, once.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interruption.defer(signal.SIGTERM)
    collect_rarely()
    connection = Connection(int(arguments[0]))
    options = connection.recv()
    nursery = Nursery(Connection(int(arguments[1])))
    report = explore_families(options, _asked_for(connection), lambda *stage: connection.send(stage), nursery)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection.send(report)
    return 0


def _asked_for(connection: Connection) -> Iterator[Share]:
    """Shares from the parent, until there are no more."""
    while True:
        connection.send(NEXT)
        share = connection.recv()
        if share is None:
            return
        yield share


if __name__ == "__main__":
    status = main(sys.argv[1:])
    # The parent waits for this process, and a tidy end takes most of a second.
    os._exit(status)
