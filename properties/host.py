"""The parent's side: one implementation, in a child process that may hang or crash, or in this one."""

from __future__ import annotations

import select
import subprocess
import sys
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Protocol

from hopspec.properties.calls import Answer, Broken, Call, Description
from hopspec.properties.session import Session, Unusable

__all__ = ["ChildHost", "Host", "InProcessHost", "NotUsable"]

START_SECONDS = 120.0


class NotUsable(Exception):  # noqa: N818  (a verdict on the implementation)
    """The implementation cannot be run at all (exit status 2)."""


class Host(Protocol):
    """Whatever can answer calls."""

    description: Description

    def ask(self, call: Call) -> Answer:
        """The implementation's answer.

        Raises:
            Broken: if it hung or crashed.
        """
        ...

    def close(self) -> None:
        """Release the implementation."""
        ...


class InProcessHost:
    """Runs the implementation in this process, for debugging: a hang or a crash ends the run."""

    def __init__(self, target: str, device: str = "cpu") -> None:
        try:
            self.session = Session(target, device)
        except Unusable as error:
            raise NotUsable(str(error)) from error
        self.description = self.session.describe()

    def ask(self, call: Call) -> Answer:
        """Call the implementation here."""
        return self.session.answer(call)

    def close(self) -> None:
        """Nothing to release."""


class ChildHost:
    """Runs the implementation in a persistent child process.

    Args:
        target: built-in name or ``package.module:object``.
        device: device it runs on.
        timeout: seconds one call may take before it counts as hung.

    Raises:
        NotUsable: if the implementation cannot be imported or is not callable.
    """

    def __init__(self, target: str, device: str = "cpu", timeout: float = 20.0) -> None:
        self.target, self.device, self.timeout = target, device, timeout
        self.description = self._start()

    def _start(self) -> Description:
        ours, theirs = Pipe()
        command = [
            sys.executable,
            "-m",
            "hopspec.properties.worker",
            str(theirs.fileno()),
            self.target,
            self.device,
        ]
        self.process = subprocess.Popen(command, pass_fds=(theirs.fileno(),))
        theirs.close()
        self.connection: Connection = ours
        try:
            if not ours.poll(START_SECONDS):
                self._stop()
                raise NotUsable(f"{self.target!r} did not finish importing within {START_SECONDS:g} s")
            hello = ours.recv()
        except (EOFError, OSError):
            code = self.process.wait()
            raise NotUsable(f"the process importing {self.target!r} ended with exit status {code}") from None
        if isinstance(hello, Description):
            return hello
        self._stop()
        raise NotUsable(str(hello))

    def ask(self, call: Call) -> Answer:
        """Send the call and wait for the answer; after a hang or a crash the next call gets a new process."""
        if self.process.poll() is not None:
            self._start()
        try:
            self.connection.send(call)
            # Connection.poll builds a selector for every call.
            if not select.select([self.connection], [], [], self.timeout)[0]:
                self._stop()
                raise Broken("hung", f"no answer within {self.timeout:g} s")
            answer = self.connection.recv()
        except (EOFError, OSError):
            code = self.process.wait()
            reason = f"signal {-code}" if code < 0 else f"exit status {code}"
            self.connection.close()
            raise Broken("crashed", f"the process ended with {reason}") from None
        assert isinstance(answer, Answer)
        return answer

    def _stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()

    def close(self) -> None:
        """End the child process."""
        with suppress(OSError):
            self.connection.close()
        if self.process.poll() is None:
            try:
                self.process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
