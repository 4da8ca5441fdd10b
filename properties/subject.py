"""One implementation under test, and how it is started."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from hopspec.properties.calls import Answer, Broken, Call, Description
from hopspec.properties.host import ChildHost, Host, InProcessHost, NotUsable
from hopspec.properties.models import loosest, model_named, models_of
from hopspec.properties.nursery import Nursery
from hopspec.properties.options import Options
from hopspec.properties.results import Report
from hopspec.types import AccuracyModel

__all__ = ["Subject", "start"]

# Crashes after which an implementation is given up.
MISHAPS = 3


class Subject:
    """One implementation under test."""

    def __init__(self, host: Host, options: Options) -> None:
        self.host = host
        self.description: Description = host.description
        self.name = self.description.name
        claimed = self.description.capabilities.dtypes
        self.dtypes = tuple(d for d in claimed if not options.dtypes or d in options.dtypes)
        self.models = {d: self._model(d, options.model) for d in self.dtypes}
        self.alive = {d: {m.name for m in models_of(d)} for d in self.dtypes}
        self.mishaps = 0
        self.stopped = ""
        self.asked: list[Call] = []

    def _model(self, dtype: str, name: str | None) -> AccuracyModel:
        if name is not None:
            return model_named(name, dtype)
        own = [m for m in self.description.accuracy if m.storage.name == dtype]
        return own[0] if own else loosest(dtype)

    def ask(self, call: Call) -> Answer:
        """One call; a hang or too many crashes stop the implementation."""
        if self.stopped:
            raise Broken("stopped", self.stopped)
        self.asked.append(call)
        try:
            return self.host.ask(call)
        except Broken as mishap:
            self.mishaps += 1
            if mishap.kind == "hung" or self.mishaps >= MISHAPS:
                self.stopped = f"{mishap.kind}: {mishap.message}"
            raise

    def foresee_again(self, dtype: str) -> None:
        """Expect the calls since the last time once more, in another dtype."""
        again = [replace(call, dtype=dtype) for call in self.asked if not call.varies]
        self.asked.clear()
        if not self.stopped:
            self.host.foresee(again)

    def close(self) -> None:
        """Release the implementation."""
        with suppress(OSError):
            self.host.close()


def start(options: Options, report: Report, nursery: Nursery | None) -> list[Subject]:
    """Start every implementation that can be, in this process where there is no nursery.

    The report says why the others cannot.
    """
    subjects = []
    for name in options.targets:
        try:
            if nursery is None:
                subject = Subject(InProcessHost(name, options.device), options)
            else:
                subject = Subject(ChildHost(name, nursery, options.device, options.timeout), options)
        except NotUsable as error:
            report.unusable[name] = str(error)
            continue
        devices = subject.description.capabilities.devices
        if not subject.dtypes or options.device.partition(":")[0] not in devices:
            subject.close()
            lacking = options.device if subject.dtypes else ", ".join(options.dtypes)
            report.unusable[name] = f"does not claim {lacking}"
            continue
        subjects.append(subject)
        report.targets[subject.name] = name
        report.environments[subject.name] = subject.description.environment
        report.models[subject.name] = {d: m.name for d, m in subject.models.items()}
        report.alive[subject.name] = subject.alive
    return subjects
