"""A report as JUnit XML, the form that continuous-integration systems read.

One suite for each implementation, one test case for each clause and dtype. The attributes and their order are
those that Ant, Jenkins and pytest agree on.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from hopspec.clauses import load_clauses
from hopspec.properties.report import explained, shape_of
from hopspec.properties.reporting.files import write_whole
from hopspec.properties.reporting.reproduction import announced, snippet
from hopspec.properties.results import Cell, Report, Verdict

__all__ = ["as_junit", "write_junit"]

# What XML 1.0 cannot hold, not even escaped.
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_junit(report: Report) -> str:
    """The report as an XML document."""
    names = list(dict.fromkeys([*report.models, *report.unusable]))
    suites = [_suite(report, name) for name in names]
    if report.complaints:
        suites.append(_complaints(report))
    root = ET.Element("testsuites", {"name": "hopspec", **_total(suites), "time": f"{report.seconds:.3f}"})
    root.extend(suites)
    ET.indent(root, " ")
    document = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{document}\n'


def write_junit(report: Report, path: Path) -> None:
    """Write the report to ``path``, complete or not at all."""
    write_whole(path, as_junit(report))


def _plain(text: str) -> str:
    return FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def _total(elements: list[ET.Element]) -> dict[str, str]:
    return {n: str(sum(int(e.get(n, "0")) for e in elements)) for n in ("tests", "failures", "errors")}


def _suite(report: Report, name: str) -> ET.Element:
    cases = []
    own = [c for c in report.cells if c.implementation == name]
    for clause in load_clauses():
        for dtype in report.columns(name):
            cells = [c for c in own if (c.clause, c.dtype) == (clause, dtype)]
            if cells:
                cases.append(_case(report, cells))
    if name in report.unusable:
        cases.append(_unusable(name, report.unusable[name]))
    suite = _suite_of(report, name, cases, sum(c.seconds for c in own))
    facts = report.environments.get(name, {}) | {
        f"model {dtype}": model for dtype, model in report.models.get(name, {}).items()
    }
    properties = ET.Element("properties")
    for key, value in facts.items():
        ET.SubElement(properties, "property", {"name": _plain(key), "value": _plain(value)})
    suite.insert(0, properties)
    return suite


def _suite_of(report: Report, name: str, cases: list[ET.Element], seconds: float) -> ET.Element:
    outcomes = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    counts = {key: str(sum(c.find(tag) is not None for c in cases)) for key, tag in outcomes.items()}
    when = {"time": f"{seconds:.3f}", "timestamp": report.started.removesuffix("+00:00")}
    suite = ET.Element("testsuite", {"name": _plain(name), "tests": str(len(cases)), **counts, **when})
    suite.extend(cases)
    return suite


def _complaints(report: Report) -> ET.Element:
    """Expected failures that did not come, or could not."""
    cases = []
    for k, complaint in enumerate(report.complaints):
        name = f"expectation {k + 1}"
        case = ET.Element("testcase", {"classname": "hopspec.expectations", "name": name, "time": "0.000"})
        ET.SubElement(case, "failure", {"type": "expectation", "message": _plain(complaint)})
        cases.append(case)
    return _suite_of(report, "expectations", cases, 0.0)


def _case(report: Report, cells: list[Cell]) -> ET.Element:
    first = cells[0]
    case = ET.Element(
        "testcase",
        {
            "classname": _plain(f"hopspec.{first.implementation}"),
            "name": f"{first.clause}[{first.dtype}]",
            "time": f"{sum(c.seconds for c in cells):.3f}",
        },
    )
    verdict = report.verdict(first.clause, first.implementation, first.dtype)
    title = load_clauses()[first.clause].title
    if verdict is Verdict.NOT_CLAIMED:
        lacking = ", ".join(dict.fromkeys(c.unclaimed or c.lacking for c in cells))
        ET.SubElement(case, "skipped", {"type": "not claimed", "message": _plain(f"not claimed: {lacking}")})
    elif verdict is Verdict.NOT_REACHED:
        ET.SubElement(
            case, "skipped", {"type": "not reached", "message": "the run ended before it was judged"}
        )
    elif verdict is Verdict.EXPECTED:
        reason = "; ".join(dict.fromkeys(c.expected for c in cells if c.expected))
        ET.SubElement(case, "skipped", {"type": "expected failure", "message": _plain(reason)})
    elif verdict is not Verdict.HOLDS:
        failing = [c for c in cells if c.verdict in (Verdict.BROKEN, Verdict.TOO_FEW)]
        texts = [_failure_text(report, c) for c in failing]
        message = f"{first.clause} {title}: {texts[0].splitlines()[1].strip()}"
        failure = ET.SubElement(case, "failure", {"type": verdict.value, "message": _plain(message)})
        failure.text = _plain("\n\n".join(texts))
    return case


def _failure_text(report: Report, cell: Cell) -> str:
    failure = cell.failure
    if failure is None:
        return f"{cell.check}\n  was given {cell.cases} cases of the {cell.needed} it needs"
    lines = [*explained(failure), f"smallest input found: {shape_of(failure)}"]
    lines.append(f"broken in {cell.broken} of {cell.cases} cases")
    code = snippet(report, cell, failure)
    if code:
        lines += [announced(cell), *(f"  {line}" for line in code.splitlines())]
    return "\n".join([cell.check, *(f"  {line}" for line in lines)])


def _unusable(name: str, reason: str) -> ET.Element:
    case = ET.Element(
        "testcase", {"classname": _plain(f"hopspec.{name}"), "name": "can be verified", "time": "0.000"}
    )
    ET.SubElement(case, "error", {"type": "unusable", "message": _plain(reason)})
    return case
