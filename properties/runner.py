"""Verification: what to do, shared between processes where there are cores for them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from hopspec.properties import interruption
from hopspec.properties.checks import CHECKS
from hopspec.properties.exploration import explore_families
from hopspec.properties.models import JUDGED, model_named
from hopspec.properties.nursery import Nursery, nurseries
from hopspec.properties.options import PROFILES, Options
from hopspec.properties.part import Part, results
from hopspec.properties.results import Report
from hopspec.properties.shares import Share, Stages, shares_of
from hopspec.properties.trials import TRIALS

__all__ = ["PROFILES", "Options", "check_options", "verify"]

Progress = Callable[[str, int, int], None]


def verify(options: Options, progress: Progress = lambda *_: None) -> Report:
    """Verify the implementations and return the report; Ctrl-C ends the run early with what was done.

    Verdicts and figures do not depend on how many processes took part.

    Args:
        options: what to do.
        progress: called with the name of a stage, what is done of it and how much there is.

    Raises:
        ValueError: if these options are not possible, see :func:`check_options`.
    """
    check_options(options)
    started, began = datetime.now(UTC), time.monotonic()
    shares = shares_of(options)
    stages = Stages(progress, shares)
    jobs = _jobs(options, len(shares))
    if options.in_process:
        report = explore_families(options, iter(shares), stages, None)
    else:
        with nurseries(jobs, preload=_needs_torch(options)) as controls, interruption.deferred():
            rest = iter(shares)
            parts = [Part(options, rest, control) for control in controls[1:]]
            report = _shared(options, rest, stages, Nursery(controls[0]), parts)
    report.started = started.isoformat(timespec="seconds")
    report.seconds = time.monotonic() - began
    return report


def _jobs(options: Options, shares: int) -> int:
    """How many processes explore, this one among them."""
    cores = os.cpu_count() or 1
    wanted = options.jobs or (cores if options.profile == "thorough" else min(2, cores))
    return 1 if options.in_process or options.first else max(1, min(wanted, shares))


def _needs_torch(options: Options) -> bool:
    return any(target != "reference" for target in options.targets)


def _shared(
    options: Options, shares: Iterator[Share], progress: Progress, nursery: Nursery, parts: list[Part]
) -> Report:
    """Explore here what the parts leave, and add what they did."""

    def everyone(stage: str, done: int, total: int) -> None:
        progress(stage, done, total)
        for part in parts:
            part.relay(progress)

    def interrupt() -> None:
        for part in parts:
            part.interrupt()

    try:
        report = explore_families(options, shares, everyone, nursery)
        if report.interrupted:
            interrupt()
        try:
            others = results(parts, progress)
        except KeyboardInterrupt:
            interrupt()
            others = results(parts, progress)
    finally:
        for part in parts:
            part.close()
    for other in others:
        report.absorb(other)
    return report


def check_options(options: Options) -> None:
    """Raise unless a run can be done.

    Raises:
        ValueError: if the profile, a clause, a dtype, the model or the data is unknown.
    """
    if options.profile not in PROFILES:
        raise ValueError(f"profile {options.profile!r} is unknown; expected one of {', '.join(PROFILES)}")
    known = sorted({c.clause for c in CHECKS} | {t.clause for t in TRIALS.values()})
    for clause in options.clauses:
        if clause not in known:
            raise ValueError(f"clause {clause!r} has no property; those that have: {', '.join(known)}")
    for dtype in options.dtypes:
        if dtype not in JUDGED:
            raise ValueError(f"dtype {dtype!r} is unknown; expected one of {', '.join(JUDGED)}")
    if options.data not in (None, "digits"):
        raise ValueError(f"data {options.data!r} is unknown; expected digits")
    if options.model is not None:
        for dtype in options.dtypes or JUDGED:
            model_named(options.model, dtype)
