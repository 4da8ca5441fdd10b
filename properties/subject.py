"""One implementation under test, and how it is started."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from hopspec.properties.calls import Answer, Broken, Call, Description
from hopspec.properties.host import ChildHost, Host, InProcessHost, NotUsable
from hopspec.properties.likeness import Fit
from hopspec.properties.models import loosest, model_named, models_of
from hopspec.properties.nursery import Nursery
from hopspec.properties.options import Options
from hopspec.properties.results import Report
from hopspec.properties.shaping import check_shape
from hopspec.types import AccuracyModel

__all__ = ["Subject", "not_claimed", "start"]

# Crashes after which an implementation is given up.
MISHAPS = 3


class Subject:
    """One implementation under test."""

    def __init__(self, host: Host, options: Options) -> None:
        self.host = host
        self.description: Description = host.description
        self.name = self.description.name
        self.constructed = self.description.constructed
        claimed = () if self.constructed else self.description.capabilities.dtypes
        self.dtypes = tuple(d for d in claimed if not options.dtypes or d in options.dtypes)
        self.models = {d: self._model(d, options.model) for d in self.dtypes}
        self.forget()
        self.shapes = self.description.capabilities.shapes
        self.mishaps = 0
        self.stopped = ""
        self.asked: list[Call] = []

    def _model(self, dtype: str, name: str | None) -> AccuracyModel:
        if name is not None:
            return model_named(name, dtype)
        own = [m for m in self.description.accuracy if m.storage.name == dtype]
        return own[0] if own else loosest(dtype)

    def forget(self) -> None:
        """Begin anew to learn which models the cases agree with."""
        self.alive = {d: {m.name for m in models_of(d)} for d in self.dtypes}
        self.fits: dict[str, dict[str, Fit]] = {d: {} for d in self.dtypes}

    def ask(self, call: Call) -> Answer:
        """One call; a hang or too many crashes stop the implementation.

        Raises:
            Unlisted: if the call has none of the shapes the implementation can be called with.
            Broken: if there is no answer.
        """
        if self.stopped:
            raise Broken("stopped", self.stopped)
        if self.shapes:
            check_shape(self.shapes, call)
        self.asked.append(call)
        try:
            return self.host.ask(call)
        except Broken as mishap:
            self.mishaps += 1
            if mishap.kind == "hung" or self.mishaps >= MISHAPS:
                self.stopped = f"{mishap.kind}: {mishap.message}"
            raise

    def takes(self, beta: float) -> bool:
        """Whether ``beta`` lies in the range the implementation claims."""
        low, high = self.description.capabilities.beta_range
        return low <= beta <= high

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


def not_claimed(names: Sequence[str]) -> str:
    """Why an implementation is not judged in any of some dtypes, or on a device."""
    return f"does not claim {', '.join(names)}"


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
        ready = subject.dtypes or subject.constructed
        if not ready or options.device.partition(":")[0] not in devices:
            subject.close()
            lacking = (options.device,) if ready else options.dtypes
            report.unusable[name] = not_claimed(lacking)
            continue
        if subject.name in report.targets:
            subject.close()
            report.unusable[name] = f"is called {subject.name!r}, as {report.targets[subject.name]!r} is"
            continue
        subjects.append(subject)
        report.targets[subject.name] = name
        report.environments[subject.name] = subject.description.environment
        report.models[subject.name] = {d: m.name for d, m in subject.models.items()}
        report.alive[subject.name] = subject.alive
        report.fits[subject.name] = subject.fits
    return subjects
