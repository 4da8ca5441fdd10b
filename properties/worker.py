"""The processes that run implementations: ``python -m hopspec.properties.worker PRELOAD FD...``.

The first process imports PyTorch (if PRELOAD says so) and then forks one child for every implementation it is
asked to serve: importing takes seconds, forking milliseconds. A child reads calls from its connection and
writes answers until the connection closes. Being a process of its own, it may hang or crash without ending
the run.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from hopspec.properties.calls import packed, unpacked
from hopspec.properties.collecting import collect_rarely
from hopspec.properties.construction_session import open_session

# A process that closed its connection is about to end by itself.
ENDING_SECONDS = 5.0


class Forker:
    """Answers the requests of :class:`hopspec.properties.nursery.Nursery`."""

    def __init__(self, controls: list[Connection]) -> None:
        self.controls = controls
        self.children: set[int] = set()

    def serve(self) -> None:
        """Answer until every control is closed, then end what is left."""
        while self.controls:
            for control in select.select(self.controls, [], [])[0]:
                try:
                    request = control.recv()
                    answer = self._answer(control, request)
                    control.send(answer)
                except (EOFError, OSError):
                    control.close()
                    self.controls.remove(control)
        for pid in tuple(self.children):
            self._end(pid, 0.0)

    def _answer(self, control: Connection, request: tuple[Any, ...]) -> int:
        if request[0] == "fork":
            return self._fork(control, request[1], request[2])
        return self._end(request[1], ENDING_SECONDS if request[0] == "status" else 0.0)

    def _fork(self, control: Connection, target: str, device: str) -> int:
        with socket.socket(fileno=control.fileno()) as channel:
            _, numbers, _, _ = socket.recv_fds(channel, 1, 1)
            channel.detach()
        connection = Connection(numbers[0])
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for other in self.controls:
                    other.close()
                status = serve_implementation(connection, target, device)
            finally:
                # Not sys.exit: the clean-up of the process this one was forked from is not its own.
                os._exit(status)
        connection.close()
        self.children.add(pid)
        return pid

    def _end(self, pid: int, patience: float) -> int:
        """Exit status of a child, killed if it does not end by itself within ``patience`` seconds."""
        deadline = time.monotonic() + patience
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self.children.discard(pid)
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() >= deadline:
                os.kill(pid, signal.SIGKILL)
                deadline = float("inf")
            time.sleep(0.002)


def serve_implementation(connection: Connection, target: str, device: str) -> int:
    """Answer calls to one implementation until the parent closes the connection."""
    try:
        session = open_session(target, device)
    except Exception as error:
        connection.send(
            f"{type(error).__name__}: {error}" if type(error).__name__ != "Unusable" else str(error)
        )
        return 2
    connection.send(session.describe())
    collect_rarely()
    while True:
        try:
            calls = unpacked(connection.recv_bytes())
        except EOFError:
            return 0
        for call in calls:
            connection.send_bytes(packed(session.answer(call)))


def main(arguments: list[str]) -> int:
    """Fork implementations until every parent has closed its control."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What an implementation prints must not mix with the report on standard output.
    os.dup2(2, 1)
    # On macOS, libraries that PyTorch loads do not survive a fork.
    if arguments[0] and sys.platform != "darwin":
        # Nothing of what is imported is garbage: looking for some takes a tenth of the time.
        gc.disable()
        with suppress(Exception):
            importlib.import_module(arguments[0])
        gc.freeze()
        gc.enable()
    Forker([Connection(int(number)) for number in arguments[1:]]).serve()
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    # The parent waits for this process, and a tidy end takes most of a second once PyTorch is loaded.
    os._exit(status)
