"""Verification: what to do, shared between two processes where there are two cores."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

from hopspec.properties import interruption
from hopspec.properties.checks import CHECKS
from hopspec.properties.exploration import explore_families
from hopspec.properties.families import FAMILIES
from hopspec.properties.models import JUDGED, model_named
from hopspec.properties.nursery import Nursery, nurseries
from hopspec.properties.options import PROFILES, Options
from hopspec.properties.part import Part
from hopspec.properties.results import Report

__all__ = ["PROFILES", "Options", "verify"]

# Two processes take turns: the families that take longest come first, so that both end together.
LONGEST = ("general", "settle", "masked", "saddles")


def verify(options: Options, progress: Callable[[str, int, int], None] = lambda *_: None) -> Report:
    """Verify the implementations and return the report; Ctrl-C ends the run early with what was done.

    Args:
        options: what to do.
        progress: called with the name of a stage, what is done of it and how much there is.

    Raises:
        ValueError: if the profile, a clause or the model is unknown.
    """
    _check(options)
    began = time.monotonic()
    families = families_of(options)
    sharing = (os.cpu_count() or 1) >= 2 and len(families) > 1
    if options.in_process:
        report = explore_families(options, iter(families), progress, None)
    else:
        with (
            nurseries(2 if sharing else 1, preload=_needs_torch(options)) as controls,
            interruption.deferred(),
        ):
            nursery = Nursery(controls[0])
            if sharing:
                report = _shared(options, iter(families), progress, nursery, controls[1])
            else:
                report = explore_families(options, iter(families), progress, nursery)
    report.seconds = time.monotonic() - began
    return report


def _needs_torch(options: Options) -> bool:
    return any(target != "reference" for target in options.targets)


def _shared(
    options: Options,
    families: Iterator[str],
    progress: Callable[[str, int, int], None],
    nursery: Nursery,
    control: Connection,
) -> Report:
    part = Part(options, families, control)

    def both(stage: str, done: int, total: int) -> None:
        progress(stage, done, total)
        part.relay(progress)

    try:
        report = explore_families(options, families, both, nursery)
        if report.interrupted:
            part.interrupt()
        try:
            other = part.result(progress)
        except KeyboardInterrupt:
            part.interrupt()
            other = part.result(progress)
    finally:
        part.close()
    report.absorb(other)
    return report


def _check(options: Options) -> None:
    if options.profile not in PROFILES:
        raise ValueError(f"profile {options.profile!r} is unknown; expected one of {', '.join(PROFILES)}")
    known = sorted({c.clause for c in CHECKS})
    for clause in options.clauses:
        if clause not in known:
            raise ValueError(f"clause {clause!r} has no property; those that have: {', '.join(known)}")
    if options.model is not None:
        for dtype in options.dtypes or JUDGED:
            model_named(options.model, dtype)


def families_of(options: Options) -> list[str]:
    """Families the chosen properties draw from: real data first, then those that take longest."""
    wanted = {c.family for c in CHECKS if not options.clauses or c.clause in options.clauses}
    digits = ["digits"] if "digits" in wanted and options.data == "digits" else []
    ordered = [*LONGEST, *(f for f in FAMILIES if f not in LONGEST)]
    return digits + [f for f in ordered if f in wanted]
