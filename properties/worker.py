"""The child process: ``python -m hopspec.properties.worker FD TARGET DEVICE``.

It reads calls from the connection and writes answers until the connection closes. Being a process of its
own, it may hang or crash without ending the run.
"""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Connection

from hopspec.properties.session import Session


def main(arguments: list[str]) -> int:
    """Serve one implementation until the parent closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(int(arguments[0]))
    # What an implementation prints must not mix with the report on standard output.
    os.dup2(2, 1)
    try:
        session = Session(arguments[1], arguments[2])
    except Exception as error:
        connection.send(
            f"{type(error).__name__}: {error}" if type(error).__name__ != "Unusable" else str(error)
        )
        return 2
    connection.send(session.describe())
    while True:
        try:
            call = connection.recv()
        except EOFError:
            return 0
        connection.send(session.answer(call))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
