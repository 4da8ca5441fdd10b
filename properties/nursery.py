"""Processes for implementations, forked from one that has imported PyTorch once for all of them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import IO, NamedTuple

__all__ = ["Nursery", "NurseryLost", "nurseries", "start_early"]

START_SECONDS = 120.0


class NurseryLost(Exception):  # noqa: N818  (the cause is for the caller to name)
    """The process that forks the others has ended or does not answer."""


class Nursery:
    """A connection to a process that forks others on request, see :mod:`hopspec.properties.worker`."""

    def __init__(self, control: Connection) -> None:
        self.control = control

    def fork(self, target: str, device: str) -> tuple[int, Connection]:
        """Start a process that serves ``target``: its number, and the connection to it.

        Raises:
            NurseryLost: if it cannot be started.
        """
        ours, theirs = Pipe()
        try:
            pid = self._request(("fork", target, device), theirs)
        finally:
            theirs.close()
        return pid, ours

    def kill(self, pid: int) -> None:
        """End a process."""
        with suppress(NurseryLost):
            self._request(("kill", pid))

    def exit_status(self, pid: int) -> int:
        """Exit status of a process that closed its connection; minus the number of the signal that ended it.

        Raises:
            NurseryLost: if there is nobody to ask.
        """
        return self._request(("status", pid))

    def _request(self, request: tuple[object, ...], passed: Connection | None = None) -> int:
        try:
            self.control.send(request)
            if passed is not None:
                with socket.socket(fileno=self.control.fileno()) as channel:
                    socket.send_fds(channel, [b"\0"], [passed.fileno()])
                    channel.detach()
            if not self.control.poll(START_SECONDS):
                raise NurseryLost(f"no answer within {START_SECONDS:g} s")
            answer = self.control.recv()
        except (EOFError, OSError) as error:
            raise NurseryLost(f"the process that starts implementations ended: {error}") from error
        assert isinstance(answer, int)
        return answer


class _Forking(NamedTuple):
    """The process that forks, and its controls."""

    process: subprocess.Popen[bytes]
    controls: list[Connection]


_early: list[_Forking] = []


def start_early() -> None:
    """Let the process that the next :func:`nurseries` will use import PyTorch in the meantime."""
    _early.append(_start(max(2, os.cpu_count() or 1), True))


@contextmanager
def nurseries(
    count: int,
    *,
    preload: bool,
    environment: Mapping[str, str] | None = None,
    output: IO[bytes] | None = None,
) -> Iterator[list[Connection]]:
    """Controls of one process that forks implementations for ``count`` parents, ended on leaving.

    Args:
        count: how many controls.
        preload: whether it imports PyTorch first, which its children then share.
        environment: its environment variables; None for those of this process.
        output: where it and its children write; None for the standard error of this process.
    """
    forking = _early.pop() if _early else _start(count, preload, environment, output)
    if len(forking.controls) < count:
        _end(forking)
        forking = _start(count, preload, environment, output)
    for spare in forking.controls[count:]:
        spare.close()
    try:
        yield forking.controls[:count]
    finally:
        _end(forking)


def _end(forking: _Forking) -> None:
    for control in forking.controls:
        with suppress(OSError):
            control.close()
    try:
        forking.process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        forking.process.kill()
        forking.process.wait()


def _start(
    count: int,
    preload: bool,
    environment: Mapping[str, str] | None = None,
    output: IO[bytes] | None = None,
) -> _Forking:
    pipes = [Pipe() for _ in range(count)]
    numbers = [theirs.fileno() for _, theirs in pipes]
    module = "torch" if preload else ""
    command = [sys.executable, "-m", "hopspec.properties.worker", module, *map(str, numbers)]
    process = subprocess.Popen(command, pass_fds=numbers, env=environment, stderr=output)
    for _, theirs in pipes:
        theirs.close()
    return _Forking(process, [ours for ours, _ in pipes])
