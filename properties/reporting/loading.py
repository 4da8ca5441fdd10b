"""Reads reports back."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hopspec.clauses import load_clauses
from hopspec.properties.likeness import Fit
from hopspec.properties.problem import Problem
from hopspec.properties.reporting.arrays import array_from_json
from hopspec.properties.reporting.encoding import FORMAT, PLACE
from hopspec.properties.results import Cell, Descent, Failure, Point, Report, cell_at

__all__ = ["NotAReport", "from_json", "read_report", "report_schema"]


class NotAReport(ValueError):  # noqa: N818  (names what a file is not)
    """A file that is not a report, or not one that can be read; the message says where and why."""


@cache
def report_schema() -> dict[str, Any]:
    """The JSON schema of a report, draft 2020-12."""
    source = resources.files("hopspec.properties.reporting").joinpath("report.schema.json")
    schema: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return schema


def read_report(path: Path) -> Report:
    """The report in a file that ``hopspec verify --json`` or ``hopspec report --json`` has written.

    Raises:
        NotAReport: if it is something else; the message names the file, the place in it and what is wrong.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotAReport(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise NotAReport(f"{path}: not JSON: {error}") from error
    try:
        return from_json(data)
    except NotAReport as error:
        raise NotAReport(f"{path}: {error}") from error


def from_json(data: Any) -> Report:
    """The report of which :func:`~hopspec.properties.reporting.encoding.as_json` made ``data``.

    Raises:
        NotAReport: if it does not fit the schema or speaks of a clause there is not.
    """
    _check(data)
    cells = [_cell(c) for c in data["cells"]]
    at = data["stopped_at"]
    return Report(
        settings={k: tuple(v) if isinstance(v, list) else v for k, v in data["settings"].items()},
        targets=data["targets"],
        environments=data["environments"],
        models=data["models"],
        alive={n: {d: {*models} for d, models in alive.items()} for n, alive in data["alive"].items()},
        fits={n: {d: _fits(f) for d, f in ds.items()} for n, ds in data["fits"].items()},
        cells=cells,
        descents=[_descent(d) for d in data["descents"]],
        regimes=Counter(data["regimes"]),
        problems=data["problems"],
        started=data["started"],
        seconds=data["seconds"],
        interrupted=data["interrupted"],
        unusable=data["unusable"],
        complaints=data["complaints"],
        stopped_at=None if at is None else cell_at(cells, *(at[n] for n in PLACE)),
    )


def _fits(data: dict[str, dict[str, Any]]) -> dict[str, Fit]:
    return {
        name: Fit(fit["cases"], float(fit["worst"]), Counter({int(k): v for k, v in fit["sizes"].items()}))
        for name, fit in data.items()
    }


def _check(data: Any) -> None:
    from jsonschema import Draft202012Validator  # noqa: PLC0415  (slow to import)
    from jsonschema.exceptions import best_match  # noqa: PLC0415

    if not isinstance(data, dict) or "format" not in data or "cells" not in data:
        raise NotAReport("not a report of hopspec verify: it has no format and no cells")
    if data["format"] != FORMAT:
        raise NotAReport(f"format {data['format']!r}; this version of hopspec reads format {FORMAT}")
    if "at" in data:
        raise NotAReport("a report of a run with --at; only those of the other runs can be read back")
    fault = best_match(Draft202012Validator(report_schema()).iter_errors(data))
    if fault is not None:
        raise NotAReport(f"{fault.json_path.removeprefix('$.')}: {fault.message}")
    known = load_clauses()
    for k, cell in enumerate(data["cells"]):
        if cell["clause"] not in known:
            raise NotAReport(f"cells[{k}].clause: this version of hopspec has no clause {cell['clause']}")


def _cell(c: dict[str, Any]) -> Cell:
    return Cell(
        clause=c["clause"],
        check=c["property"],
        implementation=c["implementation"],
        dtype=c["dtype"],
        unclaimed=c["unclaimed"],
        lacking=c["lacking"],
        expected=c["expected"],
        needed=c["needed"],
        cases=c["cases"],
        compared=c["comparisons"],
        outside=c["outside_domain"],
        undecided=c["undecided"],
        worst=float(c["worst_ratio"]),
        broken=c["broken"],
        failure=None if c["failure"] is None else _failure(c["failure"]),
        seconds=c["seconds"],
        ratios=Counter({int(k): count for k, count in c["ratios"].items()}),
        points=[Point(*point) for point in c["points"]],
        seeds=_seeds(c["seeds"]),
    )


def _seeds(text: str) -> tuple[int, ...]:
    ends = [part.split(":") for part in text.split(",") if part]
    return tuple(seed for first, end in ends for seed in range(int(first), int(end)))


def _failure(f: dict[str, Any]) -> Failure:
    return Failure(
        problem=_problem(f["problem"]),
        check=f["property"],
        kind=f["kind"],
        what=f["what"],
        got=f["got"],
        expected=f["expected"],
        bound=float(f["bound"]),
        ratio=float(f["ratio"]),
        arrays={name: _array(name, a) for name, a in f["arrays"].items()} or None,
    )


def _problem(p: dict[str, Any]) -> Problem:
    names = ("query", "memory", "keep", "values", "bias")
    arrays = {name: _array(name, p[name]) for name in names if name in p}
    return Problem(
        query=arrays["query"],
        memory=arrays["memory"],
        beta=float.fromhex(p["beta"]),
        keep=arrays.get("keep"),
        values=arrays.get("values"),
        bias=arrays.get("bias"),
        causal=p.get("causal", ""),
        regimes=tuple(p["regimes"]),
        eps=float.fromhex(p["eps"]),
        max_steps=p["max_steps"],
        steps=p["steps"],
        seed=p["seed"],
    )


def _array(name: str, data: dict[str, Any]) -> NDArray[Any]:
    try:
        return array_from_json(data)
    except ValueError as error:
        raise NotAReport(f"{name} of a failing problem: {error}") from error


def _descent(d: dict[str, Any]) -> Descent:
    exact, reached, told = (tuple(float(e) for e in d[name]) for name in ("exact", "reached", "told"))
    return Descent(d["implementation"], d["dtype"], d["problem"], exact, reached, told)
