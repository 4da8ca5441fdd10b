"""Verifies the third parties that are installed and keeps what the page about them shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from hopspec.properties.adapters.registry import THIRD_PARTIES, ThirdParty, missing, versions
from hopspec.properties.options import Options
from hopspec.properties.report import shape_of
from hopspec.properties.reporting.encoding import number
from hopspec.properties.reporting.files import write_whole
from hopspec.properties.results import Cell, Failure, Report, Verdict
from hopspec.properties.runner import verify
from hopspec.properties.session import QUANTITIES, resolve

__all__ = ["chosen", "claims_of", "read_data", "summary", "survey", "write_data"]

# Compiling is a part of the first call of a shape.
CALL_SECONDS = 300.0
# Inputs with more numbers than these are not written down.
SMALL = 40


def chosen(names: Sequence[str]) -> list[list[ThirdParty]]:
    """Third parties, in the groups that are verified together.

    A problem and its exact solution are then made once for all of a group. One that compiles for each shape
    is alone, for it has problems of its own.

    Args:
        names: which, by their names; empty for all.

    Raises:
        ValueError: if a name is unknown.
        RuntimeError: if one is not installed; the message says what is missing.
    """
    known = {t.name: t for t in THIRD_PARTIES}
    for name in names:
        if name not in known:
            raise ValueError(f"no third party is named {name!r}; expected some of {', '.join(known)}")
    wanted = [known[n] for n in names] or list(THIRD_PARTIES)
    lacking = [m for t in wanted if (m := missing(t))]
    if lacking:
        raise RuntimeError("\n".join(lacking))
    together = [t for t in wanted if not t.compiled]
    return [g for g in (together, *([t] for t in wanted if t.compiled)) if g]


def survey(group: Sequence[ThirdParty], profile: str, seed: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Verify third parties in one run.

    Returns what the page shows of each, by name, and why the others could not be verified.

    Args:
        group: which.
        profile: how much to do.
        seed: seed of every draw.

    Raises:
        KeyboardInterrupt: if the run was interrupted.
    """
    targets = tuple(t.name for t in group)
    report = verify(Options(targets, profile=profile, seed=seed, timeout=CALL_SECONDS))
    if report.interrupted:
        raise KeyboardInterrupt
    return {t.name: summary(report, t) for t in group if t.name not in report.unusable}, report.unusable


def summary(report: Report, third: ThirdParty) -> dict[str, Any]:
    """What the page shows of one implementation's report."""
    name = third.name
    cells = [c for c in report.cells if c.implementation == name]
    clauses = list(dict.fromkeys(c.clause for c in cells))
    verdicts = {
        clause: {d: report.verdict(clause, name, d) for d in report.models[name]} for clause in clauses
    }
    held = [
        clause
        for clause, of in verdicts.items()
        if Verdict.HOLDS in of.values() and not {Verdict.BROKEN, Verdict.TOO_FEW} & {*of.values()}
    ]
    claimed = [c for c in cells if not c.unclaimed]
    worst = max((c for c in claimed if c.check == "update_within_bound"), key=lambda c: c.worst, default=None)
    return {
        "versions": versions(third),
        "profile": report.settings["profile"],
        "environment": report.environments[name],
        "claims": claims_of(third),
        "models": report.models[name],
        "behaves_like": {d: report.behaves_like(name, d) for d in report.models[name]},
        "cases": sum(c.cases for c in claimed),
        "worst_update": None if worst is None else round(worst.worst, 3),
        "holds": held,
        "short": [clause for clause, of in verdicts.items() if Verdict.TOO_FEW in of.values()],
        "broken": [_broken(report, clause, name) for clause in clauses if _is_broken(verdicts[clause])],
        "observed": [o for clause in clauses if (o := _observed(cells, clause)) is not None],
    }


def claims_of(third: ThirdParty) -> list[str]:
    """Quantities beside the update, and capabilities, that its descriptor claims."""
    implementation = resolve(third.name)
    claimed = [q for q in QUANTITIES if q != "retrieve" and getattr(implementation, q) is not None]
    capabilities = implementation.capabilities
    claimed += [f.name for f in fields(capabilities) if getattr(capabilities, f.name) is True]
    claimed += ["causal " + capabilities.causal] if capabilities.causal else []
    return claimed


def _is_broken(of: dict[str, Verdict]) -> bool:
    return Verdict.BROKEN in of.values()


def _broken(report: Report, clause: str, name: str) -> dict[str, Any]:
    """A broken clause: how often, per dtype, and its smallest counterexample."""
    cells = [c for c in report.cells if c.clause == clause and c.implementation == name and not c.unclaimed]
    failing = [c for c in cells if c.failure is not None]
    smallest = min(failing, key=lambda c: c.failure.problem.size if c.failure else 0)
    failure = smallest.failure
    assert failure is not None
    problem = failure.problem
    inputs = {"query": problem.query.tolist(), "memory": problem.memory.tolist(), "beta": problem.beta}
    if problem.keep is not None:
        inputs["keep"] = problem.keep.tolist()
    if problem.values is not None:
        inputs["values"] = problem.values.tolist()
    return {
        "clause": clause,
        "property": failure.check,
        "counts": {
            d: [sum(c.broken for c in cells if c.dtype == d), sum(c.cases for c in cells if c.dtype == d)]
            for d in report.models[name]
        },
        "dtype": smallest.dtype,
        "kind": failure.kind,
        "shape": shape_of(failure),
        "what": _first_line(failure),
        "got": failure.got,
        "expected": failure.expected,
        "bound": number(failure.bound),
        "ratio": number(failure.ratio),
        "inputs": inputs if problem.query.size + problem.memory.size <= SMALL else None,
    }


def _first_line(failure: Failure) -> str:
    """What is wrong, without what an exception says below: traces name the files of one machine."""
    return failure.what.partition("\n")[0]


def _observed(cells: list[Cell], clause: str) -> dict[str, Any] | None:
    """What an unclaimed clause did where it could be tried."""
    tried = [c for c in cells if c.clause == clause and c.unclaimed and c.cases]
    if not tried:
        return None
    failures = [c.failure for c in tried if c.failure is not None]
    refused = bool(failures) and all(f.kind == "raised" for f in failures)
    if not refused:
        # What cannot be asked says nothing of what can.
        tried = [c for c in tried if c.failure is None or c.failure.kind != "raised"]
        failures = [c.failure for c in tried if c.failure is not None]
    first = min(failures, key=lambda f: f.problem.size, default=None)
    return {
        "clause": clause,
        "lacks": sorted({word for c in tried for word in c.unclaimed.split(", ")}),
        "broken": sum(c.broken for c in tried),
        "cases": sum(c.cases for c in tried),
        "refused": refused,
        "what": "" if first is None else _first_line(first),
        "got": "" if first is None else first.got,
        "expected": "" if first is None else first.expected,
    }


def write_data(data: dict[str, Any], path: Path) -> None:
    """Write what the page is made of, complete or not at all."""
    write_whole(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def read_data(path: Path) -> dict[str, Any]:
    """What :func:`write_data` has written."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data
