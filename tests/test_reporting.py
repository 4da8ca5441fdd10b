"""Reports as JSON and JUnit: what is written is what the schema says and can be read back."""

from __future__ import annotations

import copy
import json
import math
import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from reports import RIGHT, mixed, small
from typer.testing import CliRunner

from hopspec.properties.cli import app
from hopspec.properties.options import Options
from hopspec.properties.problem import Problem
from hopspec.properties.production_report import as_json_at
from hopspec.properties.production_results import AtSize
from hopspec.properties.reporting.encoding import as_json, ranges, write_json
from hopspec.properties.reporting.junit import as_junit
from hopspec.properties.reporting.loading import NotAReport, from_json, read_report, report_schema
from hopspec.properties.results import LARGEST_BIN, LEAST_BIN, ZERO, Report, Verdict, bin_of

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _kernels_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


def data() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(as_json(mixed()), allow_nan=False))
    return found


def objects(schema: Any) -> list[dict[str, Any]]:
    """Every schema of an object with named properties inside another schema."""
    inner = [
        o
        for v in (schema.values() if isinstance(schema, dict) else schema)
        if isinstance(v, dict | list)
        for o in objects(v)
    ]
    return inner + (
        [schema]
        if isinstance(schema, dict) and "properties" in schema and schema.get("type") == "object"
        else []
    )


def test_the_schema_is_strict_and_a_report_fits_it() -> None:
    schema = report_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert len(objects(schema)) > 8
    assert all(o["additionalProperties"] is False for o in objects(schema))
    jsonschema.Draft202012Validator(schema).validate(data())


def test_every_setting_and_every_verdict_is_in_the_schema() -> None:
    definitions = report_schema()["$defs"]
    assert {*definitions["settings"]["properties"]} == {*vars(Options(("reference",)))}
    written = {v.value for v in Verdict} - {Verdict.NOT_REACHED.value}
    assert {*definitions["cell"]["properties"]["verdict"]["enum"]} == written


def test_a_report_is_read_back_as_it_was(tmp_path: Path) -> None:
    report = mixed()
    write_json(report, tmp_path / "report.json")
    again = read_report(tmp_path / "report.json")
    write_json(again, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "report.json").read_bytes()
    assert again.exit_status == report.exit_status == 1
    assert again.descents == report.descents
    assert {d.implementation for d in again.descents} == {*report.models}
    assert any(d.told for d in again.descents)
    failing = [(c, d) for c, d in zip(report.cells, again.cells, strict=True) if c.failure is not None]
    assert failing
    for cell, other in failing:
        assert cell.failure is not None
        assert other.failure is not None
        for name in {f.name for f in fields(Problem)} - {"origin"}:
            mine, theirs = getattr(cell.failure.problem, name), getattr(other.failure.problem, name)
            np.testing.assert_array_equal(mine, theirs)
        assert (cell.key, cell.ratios, cell.points, cell.seeds) == (
            other.key,
            other.ratios,
            other.points,
            other.seeds,
        )


def test_a_report_has_one_line_for_each_cell(tmp_path: Path) -> None:
    write_json(mixed(), tmp_path / "report.json")
    lines = (tmp_path / "report.json").read_text().splitlines()
    assert sum('"property": "' in line for line in lines) == len(mixed().cells)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("cells", 3, "cases"), -1, r"cells\[3\].cases: -1 is less than the minimum"),
        (("cells", 0, "clause"), "MHN-XYZ-99", r"cells\[0\].clause: .* has no clause MHN-XYZ-99"),
        (("cells", 1, "verdict"), "fine", r"cells\[1\].verdict: 'fine' is not one of"),
        (("settings", "colour"), "red", r"settings: .*'colour' was unexpected"),
        (("format",), 1, r"format 1; this version of hopspec reads format \d"),
        (("regimes", "gaussian"), "many", r"regimes.gaussian: 'many' is not of type 'integer'"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(
    path: tuple[str | int, ...], value: object, message: str, tmp_path: Path
) -> None:
    changed: Any = data()
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    (tmp_path / "report.json").write_text(json.dumps(changed))
    with pytest.raises(NotAReport, match=rf"report\.json: {message}"):
        read_report(tmp_path / "report.json")


def test_files_that_are_no_reports_say_so(tmp_path: Path) -> None:
    at_size = as_json_at(AtSize(Report(settings={})))
    for text, message in [
        ("{", "not JSON"),
        ("[]", "not a report"),
        ('{"format": 2}', "not a report"),
        (json.dumps(at_size), "a run with --at"),
    ]:
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(NotAReport, match=message):
            read_report(tmp_path / "other.json")
    with pytest.raises(NotAReport, match="No such file"):
        read_report(tmp_path / "nothing.json")


def test_a_failing_problem_that_lost_numbers_is_found() -> None:
    changed = data()
    cell = next(c for c in changed["cells"] if c["failure"] is not None)
    cell["failure"]["problem"]["query"]["shape"][0] += 1
    with pytest.raises(NotAReport, match=r"query of a failing problem: \d+ entries for shape"):
        from_json(changed)


def test_everything_a_problem_and_a_failure_have_is_kept() -> None:
    report = small("fault:beta-twice", clauses=("MHN-BND-2",), shrink=False)
    cell = report.broken[0]
    assert cell.failure is not None
    whole = Problem(
        query=np.array([[0.1, math.nan]]),
        memory=np.zeros((40, 2)) - 0.0,
        beta=-0.3,
        keep=np.arange(40)[None, :] % 3 == 0,
        values=np.full((40, 3), math.inf),
        bias=np.full((1, 40), -math.inf),
        causal="bottom-right",
        eps=1e-3,
        max_steps=7,
        steps=3,
        seed=11,
        regimes=("a", "b"),
    )
    arrays = {"query": np.arange(300.0).reshape(3, 2, 50), "keep": np.array([True, False])}
    cell.failure = replace(cell.failure, problem=whole, arrays=arrays)
    again = from_json(json.loads(json.dumps(as_json(report), allow_nan=False))).broken[0].failure
    assert again is not None
    for name in {f.name for f in fields(Problem)} - {"origin"}:
        np.testing.assert_array_equal(getattr(again.problem, name), getattr(whole, name))
    assert again.arrays is not None
    assert {*again.arrays} == {*arrays}
    for name, array in arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)
        assert again.arrays[name].dtype == array.dtype
    assert np.signbit(again.problem.memory).all() == np.signbit(whole.memory).all()


def test_a_run_that_ended_at_the_first_failure_is_read_back() -> None:
    report = small("fault:beta-twice", first=True)
    again = from_json(json.loads(json.dumps(as_json(report))))
    assert report.stopped_at is not None
    assert again.stopped_at is not None
    assert again.stopped_at.key == report.stopped_at.key


def test_bins_are_octaves_that_contain_their_upper_end() -> None:
    for k in range(LEAST_BIN + 1, LARGEST_BIN):
        assert bin_of(2.0**k) == k
        assert bin_of(math.nextafter(2.0**k, math.inf)) == k + 1
    assert bin_of(0.0) == ZERO
    assert bin_of(1e-300) == LEAST_BIN
    assert bin_of(1e300) == bin_of(math.inf) == bin_of(math.nan) == LARGEST_BIN


def test_what_a_run_records_agrees_with_its_verdicts() -> None:
    for cell in mixed().cells:
        assert sum(cell.ratios.values()) <= cell.cases
        assert sum(n for place, n in cell.ratios.items() if place > 0) <= cell.broken
        if cell.worst > 0:
            assert cell.ratios[bin_of(cell.worst)] > 0
        assert all(p.error <= p.bound * (1 + 1e-2) for p in cell.points) or cell.broken
        assert cell.seconds > 0 or not cell.cases
    names = ("update_within_bound", "energy_within_bound")
    measured = [c for c in mixed().cells if c.check in names and c.cases and not c.broken]
    assert {c.check for c in measured} == {*names}
    assert all(len(c.points) > c.cases / 2 for c in measured)


def test_seeds_are_written_as_ranges() -> None:
    assert ranges([]) == ""
    assert ranges([-3, -2, 4]) == "-3:-1,4:5"


# What Ant, Jenkins and pytest agree on: for each element the attributes it must and may have, its children.
ELEMENTS: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": ({"name", "tests", "failures", "errors", "time"}, set(), {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
        {"hostname", "id", "package"},
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, set(), set()),
    "testcase": (
        {"name", "classname", "time"},
        set(),
        {"skipped", "failure", "error", "system-out", "system-err"},
    ),
    "skipped": ({"message"}, {"type"}, set()),
    "failure": ({"message", "type"}, set(), set()),
    "error": ({"message", "type"}, set(), set()),
}


def check_element(element: ET.Element) -> None:
    must, may, children = ELEMENTS[element.tag]
    assert must <= {*element.attrib} <= must | may, element.attrib
    assert {child.tag for child in element} <= children
    if "time" in element.attrib:
        assert re.fullmatch(r"\d+\.\d{3}", element.attrib["time"])
    for child in element:
        check_element(child)


def test_junit_is_what_other_programs_read() -> None:
    report = mixed()
    root = ET.fromstring(as_junit(report))
    check_element(root)
    cases = {(c.get("classname"), c.get("name")): c for c in root.iter("testcase")}
    assert len(cases) == len([*root.iter("testcase")])
    triples = {(c.clause, c.implementation, c.dtype) for c in report.cells}
    judged = {(f"hopspec.{name}", f"{clause}[{dtype}]") for clause, name, dtype in triples}
    assert {*cases} - judged == {("hopspec.no_such_module:f", "can be verified")}
    assert judged <= {*cases}
    tags = {"BROKEN": "failure", "holds": None, "not claimed": "skipped"}
    for clause, name, dtype in triples:
        children = [child.tag for child in cases[f"hopspec.{name}", f"{clause}[{dtype}]"]]
        wanted = tags[report.verdict(clause, name, dtype).value]
        assert children == ([] if wanted is None else [wanted])
    for element in [root, *root.iter("testsuite")]:
        own = [*element.iter("testcase")]
        found = Counter(child.tag for case in own for child in case)
        assert int(element.attrib["tests"]) == len(own)
        assert int(element.attrib["failures"]) == found["failure"]
        assert int(element.attrib["errors"]) == found["error"]
        assert "skipped" not in element.attrib or int(element.attrib["skipped"]) == found["skipped"]


def test_junit_failures_hold_the_counterexample_and_skips_their_reason() -> None:
    root = ET.fromstring(as_junit(mixed()))
    case = next(c for c in root.iter("testcase") if c.get("name") == "MHN-BND-2[float32]" and len(c))
    failure = case[0]
    assert failure.text is not None
    assert "times the bound" in failure.text
    assert "resolve('fault:beta-twice').retrieve" in failure.text
    assert failure.attrib["message"].startswith("MHN-BND-2 Error of the update: update")
    skipped = [s.attrib["message"] for s in root.iter("skipped")]
    assert "not claimed: settle" in skipped


def test_junit_survives_what_an_implementation_says() -> None:
    report = copy.deepcopy(mixed())
    cell = report.broken[0]
    assert cell.failure is not None
    cell.failure.kind, cell.failure.what = "raised", "\x1b[31mno\x00 <kernel> & \ud800 image\x1b[0m"
    report.unusable["<\x08>"] = "]]>"
    text = as_junit(report)
    text.encode("utf-8")
    failure = next(f for f in ET.fromstring(text).iter("failure") if "<kernel>" in (f.text or ""))
    assert (
        "\N{REPLACEMENT CHARACTER}[31mno\N{REPLACEMENT CHARACTER} <kernel> & \N{REPLACEMENT CHARACTER}"
        in (failure.text or "")
    )


def test_the_command_line_writes_every_form(tmp_path: Path) -> None:
    files = {kind: tmp_path / f"report.{kind}" for kind in ("json", "junit", "html")}
    options = [f"--{kind}={path}" for kind, path in files.items()]
    run = [
        "verify",
        RIGHT,
        "--dtype=float32",
        "--clause=MHN-BND-2",
        "--examples=3",
        "--seeds=4:6",
        "--in-process",
    ]
    done = CliRunner().invoke(app, [*run, *options])
    assert done.exit_code == 0, done.output
    report = read_report(files["json"])
    assert {c.seeds for c in report.cells if c.cases} == {(4, 5)}
    assert all(c.needed % 2 == 0 for c in report.cells)
    again = {kind: tmp_path / f"again.{kind}" for kind in files}
    options = [f"--{kind}={path}" for kind, path in again.items()]
    done = CliRunner().invoke(app, ["report", str(files["json"]), *options])
    assert done.exit_code == 0, done.output
    assert "nothing failed" in done.output
    for kind, path in files.items():
        assert again[kind].read_text() == path.read_text(), kind


@pytest.mark.parametrize("seeds", ["3", "5:5", "a:b", "7:2", ":"])
def test_seeds_that_are_no_range_are_refused(seeds: str) -> None:
    done = CliRunner().invoke(app, ["verify", "reference", f"--seeds={seeds}"])
    assert done.exit_code == 2
    assert f"seeds must be FIRST:END with FIRST < END, 0:8 for instance, got '{seeds}'" in done.output


def test_a_production_size_has_no_page() -> None:
    done = CliRunner().invoke(app, ["verify", "fastpath", "--at=4x64x8", "--html=page.html"])
    assert done.exit_code == 2
    assert "only --json" in done.output


@pytest.mark.parametrize("path", ["nowhere/page.html", "."])
def test_a_run_whose_files_cannot_be_written_is_not_begun(path: str) -> None:
    for command in ("verify", "report"):
        done = CliRunner().invoke(app, [command, "reference", f"--html={path}"])
        assert done.exit_code == 2
        assert f"--html must be a file in a folder that exists, got {path}" in done.stderr
        assert not done.stdout
