"""The side of a construction in a run: it is asked with plain data and answers with plain data."""

from __future__ import annotations

import platform

from hopspec.properties.calls import Answer, Call, Description
from hopspec.properties.session import Session, find
from hopspec.types import Capabilities, Construction

__all__ = ["CONSTRUCTED", "ConstructionSession", "open_session"]

CONSTRUCTED = ("arithmetic", "circuits", "chain")
"""The fields of a :class:`~hopspec.types.Construction`."""


class ConstructionSession:
    """Answers :class:`~hopspec.properties.calls.Call` objects with one construction.

    Args:
        construction: what is under test.
    """

    def __init__(self, construction: Construction) -> None:
        self.construction = construction

    def describe(self) -> Description:
        """What it offers."""
        offered = tuple(name for name in CONSTRUCTED if getattr(self.construction, name) is not None)
        environment = {"python": platform.python_version()}
        return Description(self.construction.name, (), Capabilities(), (), environment, offered)

    def answer(self, call: Call) -> Answer:
        """Make one call; an exception of the construction becomes part of the answer."""
        try:
            method = getattr(getattr(self.construction, call.quantity), call.options["method"])
            return Answer(result=method(*call.options["arguments"]))
        except Exception as error:
            return Answer(error=type(error).__name__, message=str(error))


def open_session(target: str, device: str = "cpu") -> Session | ConstructionSession:
    """The session of whatever ``target`` names, see :func:`hopspec.properties.session.find`.

    Raises:
        Unusable: if it names nothing that can be verified, or the device cannot be used.
    """
    found = find(target)
    if isinstance(found, Construction):
        return ConstructionSession(found)
    return Session(target, device, found)
