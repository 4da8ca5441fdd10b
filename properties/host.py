"""The parent's side: one implementation, in a child process that may hang or crash, or in this one."""

from __future__ import annotations

import select
import signal
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from hopspec.properties import interruption
from hopspec.properties.calls import Answer, Broken, Call, Description, packed, unpacked
from hopspec.properties.construction_session import open_session
from hopspec.properties.nursery import START_SECONDS, Nursery, NurseryLost
from hopspec.properties.session import Unusable

__all__ = ["ChildHost", "Host", "InProcessHost", "NotUsable"]

_SECONDS_BETWEEN_CHECKS = 0.2


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

    def foresee(self, calls: Sequence[Call]) -> None:
        """Calls that will probably be asked next, in this order; those that are not cost time only."""
        ...

    def close(self) -> None:
        """Release the implementation."""
        ...


class InProcessHost:
    """Runs the implementation in this process, for debugging: a hang or a crash ends the run."""

    def __init__(self, target: str, device: str = "cpu") -> None:
        try:
            self.session = open_session(target, device)
        except Unusable as error:
            raise NotUsable(str(error)) from error
        self.description = self.session.describe()

    def ask(self, call: Call) -> Answer:
        """Call the implementation here."""
        return self.session.answer(call)

    def foresee(self, calls: Sequence[Call]) -> None:
        """Nothing to gain where there is no other process."""

    def close(self) -> None:
        """Nothing to release."""


class ChildHost:
    """Runs the implementation in a persistent child process.

    Args:
        target: built-in name or ``package.module:object``.
        nursery: what starts the process.
        device: device it runs on.
        timeout: seconds one call may take before it counts as hung.

    Raises:
        NotUsable: if the implementation cannot be imported or is not callable.
    """

    def __init__(self, target: str, nursery: Nursery, device: str = "cpu", timeout: float = 20.0) -> None:
        self.target, self.nursery, self.device, self.timeout = target, nursery, device, timeout
        self.alive = False
        self.foreseen: deque[tuple[object, ...]] = deque()
        self.early: dict[tuple[object, ...], list[Answer]] = {}
        self.description = self._start()

    def _start(self) -> Description:
        try:
            self.pid, self.connection = self.nursery.fork(self.target, self.device)
        except NurseryLost as lost:
            raise NotUsable(f"cannot start a process for {self.target!r}: {lost}") from lost
        self.alive = True
        try:
            if not self.connection.poll(START_SECONDS):
                self._stop()
                raise NotUsable(f"{self.target!r} did not finish importing within {START_SECONDS:g} s")
            hello = self.connection.recv()
        except (EOFError, OSError):
            reason = self._reason()
            raise NotUsable(f"the process importing {self.target!r} ended with {reason}") from None
        if isinstance(hello, Description):
            return hello
        self._stop()
        raise NotUsable(str(hello))

    def foresee(self, calls: Sequence[Call]) -> None:
        """Send calls that will probably be asked, so that the child works on them in the meantime."""
        self._give_up_foreseen()
        if not self.alive or not calls:
            return
        try:
            self.connection.send_bytes(packed(list(calls)))
        except OSError:
            # The next call finds out how the process ended.
            return
        self.foreseen.extend(call.key for call in calls)

    def ask(self, call: Call) -> Answer:
        """The answer to a call, foreseen or not; after a hang or a crash the next one gets a new process."""
        if (self.foreseen or self.early) and (answer := self._foreseen_answer(call.key)) is not None:
            return answer
        if not self.alive:
            self._start()
        with suppress(OSError):
            self.connection.send_bytes(packed([call]))
        return self._receive()

    def _foreseen_answer(self, key: tuple[object, ...]) -> Answer | None:
        """The answer to a call that was foreseen, or None; then no answer is on its way any more."""
        while not self.early.get(key):
            if not self.foreseen:
                return None
            answered = self.foreseen.popleft()
            try:
                answer = self._receive()
            except Broken:
                self.foreseen.clear()
                if answered == key:
                    raise
                # A call ended the process that was not asked for; where it is, it will do so again.
                return None
            self.early.setdefault(answered, []).append(answer)
        return self.early[key].pop(0)

    def _give_up_foreseen(self) -> None:
        self.early.clear()
        with suppress(Broken):
            while self.foreseen:
                self.foreseen.popleft()
                self._receive()
        self.foreseen.clear()

    def _receive(self) -> Answer:
        try:
            if not self._answered():
                self._stop()
                raise Broken("hung", f"no answer within {self.timeout:g} s")
            answer = unpacked(self.connection.recv_bytes())
        except (EOFError, OSError):
            raise Broken("crashed", f"the process ended with {self._reason()}") from None
        assert isinstance(answer, Answer)
        return answer

    def _answered(self) -> bool:
        until = time.monotonic() + self.timeout
        while (left := until - time.monotonic()) > 0:
            # Connection.poll builds a selector for every call.
            if select.select([self.connection], [], [], min(left, _SECONDS_BETWEEN_CHECKS))[0]:
                return True
            interruption.check()
        return False

    def _reason(self) -> str:
        """How a process ended that closed its connection."""
        self._disconnect()
        try:
            code = self.nursery.exit_status(self.pid)
        except NurseryLost as lost:
            return f"an unknown exit status: {lost}"
        if code >= 0:
            return f"exit status {code}"
        known = -code in {*signal.Signals}
        return f"signal {-code}" + (f" ({signal.Signals(-code).name})" if known else "")

    def _stop(self) -> None:
        self._disconnect()
        self.nursery.kill(self.pid)

    def _disconnect(self) -> None:
        self.alive = False
        with suppress(OSError):
            self.connection.close()

    def close(self) -> None:
        """End the child process."""
        self._disconnect()
