"""A report as JSON, laid out as ``report.schema.json`` says."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import hopspec
from hopspec.properties.likeness import Claim, Fit
from hopspec.properties.problem import Problem
from hopspec.properties.reporting.arrays import array_to_json
from hopspec.properties.reporting.files import write_whole
from hopspec.properties.results import Cell, Descent, Failure, Report

__all__ = ["FORMAT", "PLACE", "as_json", "number", "problem_as_json", "ranges", "write_json", "written"]

FORMAT = 2
# What a cell is about, in the order of its key.
PLACE = ("clause", "property", "implementation", "dtype")


def number(x: float) -> float | str:
    """``x``, or its name where JSON has no such number."""
    return x if math.isfinite(x) else repr(x)


def ranges(seeds: Iterable[int]) -> str:
    """Seeds in ascending order as half-open ranges.

    >>> ranges([0, 1, 2, 7]), ranges([5])
    ('0:3,7:8', '5:6')
    """
    found: list[list[int]] = []
    for seed in seeds:
        if found and found[-1][1] == seed:
            found[-1][1] = seed + 1
        else:
            found.append([seed, seed + 1])
    return ",".join(f"{first}:{end}" for first, end in found)


def problem_as_json(p: Problem) -> dict[str, Any]:
    """A problem as JSON-ready data, every number exact."""
    arrays = {"query": p.query, "memory": p.memory, "keep": p.keep, "values": p.values, "bias": p.bias}
    record: dict[str, Any] = {n: array_to_json(a) for n, a in arrays.items() if a is not None}
    record |= {"causal": p.causal} if p.causal else {}
    record |= {"beta": float(p.beta).hex(), "eps": float(p.eps).hex(), "max_steps": p.max_steps}
    return record | {"steps": p.steps, "seed": p.seed, "regimes": list(p.regimes)}


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "property": failure.check,
        "kind": failure.kind,
        "what": failure.what,
        "got": failure.got,
        "expected": failure.expected,
        "bound": number(failure.bound),
        "ratio": number(failure.ratio),
        "problem": problem_as_json(failure.problem),
        "arrays": {name: array_to_json(array) for name, array in (failure.arrays or {}).items()},
    }


def _cell(c: Cell) -> dict[str, Any]:
    return {
        "clause": c.clause,
        "property": c.check,
        "implementation": c.implementation,
        "dtype": c.dtype,
        "verdict": c.verdict.value,
        "unclaimed": c.unclaimed,
        "lacking": c.lacking,
        "expected": c.expected,
        "needed": c.needed,
        "cases": c.cases,
        "comparisons": c.compared,
        "outside_domain": c.outside,
        "undecided": c.undecided,
        "worst_ratio": number(c.worst),
        "broken": c.broken,
        "seconds": round(c.seconds, 6),
        "seeds": ranges(c.seeds),
        "ratios": {str(k): c.ratios[k] for k in sorted(c.ratios)},
        "points": [list(point) for point in c.points],
        "failure": None if c.failure is None else _failure(c.failure),
    }


def _descent(d: Descent) -> dict[str, Any]:
    energies = {name: [number(e) for e in getattr(d, name)] for name in ("exact", "reached", "told")}
    return {"implementation": d.implementation, "dtype": d.dtype, "problem": d.problem} | energies


def _place(cell: Cell) -> dict[str, str]:
    return dict(zip(PLACE, cell.key, strict=True))


def _fits(fits: dict[str, Fit]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "cases": fit.cases,
            "worst": number(fit.worst),
            "sizes": {str(k): fit.sizes[k] for k in sorted(fit.sizes)},
        }
        for name, fit in fits.items()
    }


def _claim(claim: Claim) -> dict[str, Any]:
    return {
        "model": claim.model,
        "worst": number(claim.worst),
        "behaves_like": claim.like,
        "worst_there": number(claim.like_worst),
        "tighter": number(claim.tighter),
        "too_loose": claim.too_loose,
        "or_like": list(claim.others),
    }


def as_json(report: Report) -> dict[str, Any]:
    """The report as JSON-ready data; non-finite numbers are strings."""
    settings = {k: list(v) if isinstance(v, tuple) else v for k, v in report.settings.items()}
    return {
        "format": FORMAT,
        "hopspec": hopspec.__version__,
        "exit_status": report.exit_status,
        "interrupted": report.interrupted,
        "stopped_at": None if report.stopped_at is None else _place(report.stopped_at),
        "started": report.started,
        "seconds": report.seconds,
        "problems": report.problems,
        "settings": settings,
        "targets": report.targets,
        "environments": report.environments,
        "models": report.models,
        "alive": {n: {d: sorted(m) for d, m in alive.items()} for n, alive in report.alive.items()},
        "behaves_like": {n: {d: report.behaves_like(n, d) for d in ds} for n, ds in report.models.items()},
        "fits": {n: {d: _fits(f) for d, f in ds.items()} for n, ds in report.fits.items()},
        "claims": {n: {d: _claim(report.claim(n, d)) for d in ds} for n, ds in report.models.items()},
        "unusable": report.unusable,
        "complaints": report.complaints,
        "regimes": {name: report.regimes[name] for name in sorted(report.regimes)},
        "descents": [_descent(d) for d in report.descents],
        "cells": [_cell(c) for c in report.cells],
    }


def written(data: dict[str, Any]) -> str:
    """JSON text with one cell a line, so that two reports can be compared line by line."""
    lists = {name: data[name] for name in ("descents", "cells")}
    text = json.dumps({**data, **dict.fromkeys(lists, 0)}, indent=1, allow_nan=False)
    for name, rows in lists.items():
        lines = ",\n  ".join(json.dumps(row, allow_nan=False) for row in rows)
        text = text.replace(
            f'\n "{name}": 0', f'\n "{name}": [\n  {lines}\n ]' if rows else f'\n "{name}": []'
        )
    return text + "\n"


def write_json(report: Report, path: Path) -> None:
    """Write the report to ``path``, complete or not at all."""
    write_whole(path, written(as_json(report)))
