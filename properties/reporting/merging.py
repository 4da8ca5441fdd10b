"""Reports of runs that were divided, by seeds, implementations, dtypes or clauses, as one report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

from hopspec.properties.reporting.plots import SERIES
from hopspec.properties.results import POINTS, Point, Report, joined

__all__ = ["CannotMerge", "merged"]

# What a run may be divided by, and what changes no result.
DIVIDED = ("targets", "dtypes", "clauses", "seed", "seeds")
INDIFFERENT = ("jobs", "in_process", "timeout", "descents", "shrink")


class CannotMerge(ValueError):  # noqa: N818  (says what was asked for in vain)
    """Reports that are not parts of one verification."""


def merged(reports: Mapping[str, Report]) -> Report:
    """One report of several, as if one run had done everything.

    Settings must be the same but for what a run can be divided by (implementations, dtypes, clauses, seeds),
    and no seed may have been used twice on the same property, implementation and dtype: its cases would count
    twice. Where environments differ, all values are kept. Wall-clock times are added.

    Args:
        reports: by the names to be used in messages, files for instance; at least one.

    Raises:
        CannotMerge: if they do not belong together; the message names the two and says why.
    """
    names, first = list(reports), next(iter(reports.values()))
    whole = Report(settings=dict(first.settings), started=first.started)
    for name, report in reports.items():
        _check_settings(names[0], first, name, report)
    _check_seeds(reports)
    for name, report in reports.items():
        _absorb(whole, report, name)
    whole.cells = joined(whole.cells)
    for cell in whole.cells:
        cell.points = _thinned(cell.points)
    whole.started = min(report.started for report in reports.values())
    whole.settings |= _divided(whole, list(reports.values()))
    return whole


def _check_settings(first_name: str, first: Report, name: str, other: Report) -> None:
    for key in sorted({*first.settings, *other.settings} - {*DIVIDED, *INDIFFERENT}):
        one, two = first.settings.get(key), other.settings.get(key)
        if one != two:
            raise CannotMerge(f"{first_name} was run with {key} = {one!r}, {name} with {key} = {two!r}")


def _check_seeds(reports: Mapping[str, Report]) -> None:
    used: dict[tuple[object, ...], str] = {}
    for name, report in reports.items():
        for cell in report.cells:
            for seed in cell.seeds:
                earlier = used.setdefault((*cell.key, seed), name)
                if earlier != name:
                    what = f"{cell.check} of {cell.implementation} in {cell.dtype}"
                    raise CannotMerge(f"{earlier} and {name} both judged {what} with seed {seed}")


def _absorb(whole: Report, report: Report, name: str) -> None:
    for kind in ("targets", "models"):
        ours, theirs = getattr(whole, kind), getattr(report, kind)
        for implementation in {*ours} & {*theirs}:
            _check_same(kind, implementation, ours[implementation], theirs[implementation], name)
    environments = {
        implementation: _both(whole.environments.get(implementation, {}), environment)
        for implementation, environment in report.environments.items()
    }
    claims = {cell.key: cell.unclaimed for cell in whole.cells}
    for cell in report.cells:
        if claims.get(cell.key, cell.unclaimed) != cell.unclaimed:
            raise CannotMerge(f"{cell.implementation} claims {cell.check} in one report, and not in {name}")
    models = {n: whole.models.get(n, {}) | m for n, m in report.models.items()}
    followed = [d for d in report.descents if _room(whole, d.implementation, d.dtype)]
    copy = deepcopy(report)
    copy.descents = followed
    whole.absorb(copy)
    whole.models |= models
    whole.environments |= environments
    whole.seconds += report.seconds
    whole.stopped_at = whole.stopped_at or copy.stopped_at


def _check_same(kind: str, implementation: str, ours: object, theirs: object, name: str) -> None:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in {*ours} & {*theirs}:
            _check_same(f"{kind} for {key}", implementation, ours[key], theirs[key], name)
    elif ours != theirs:
        raise CannotMerge(f"{implementation}: {kind} is {ours!r} in an earlier report, {theirs!r} in {name}")


def _both(ours: dict[str, str], theirs: dict[str, str]) -> dict[str, str]:
    """Facts about two machines; where they differ, both."""
    found = dict(ours)
    for key, value in theirs.items():
        known = found.get(key, value).split(" / ")
        found[key] = " / ".join(dict.fromkeys([*known, *value.split(" / ")]))
    return found


def _room(whole: Report, implementation: str, dtype: str) -> bool:
    there = [d for d in whole.descents if (d.implementation, d.dtype) == (implementation, dtype)]
    return len(there) < len(SERIES)


def _thinned(points: Sequence[Point]) -> list[Point]:
    """At most as many points as a cell keeps, evenly chosen."""
    step = -(-len(points) // POINTS) or 1
    return list(points[::step])


def _divided(whole: Report, reports: Sequence[Report]) -> dict[str, object]:
    """The settings by which the runs were divided, of all of them together."""
    seeds = sorted({seed for cell in whole.cells for seed in cell.seeds})
    settings: dict[str, object] = {"seeds": max(len(seeds), 1)}
    if seeds:
        settings["seed"] = seeds[0]
    for name in ("targets", "dtypes", "clauses"):
        values = [report.settings[name] for report in reports]
        # Nothing named stands for everything.
        every = all(values) or name == "targets"
        settings[name] = tuple(dict.fromkeys(v for vs in values for v in vs)) if every else ()
    return settings
