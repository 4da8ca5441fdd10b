"""Judging answers to test vectors: verdicts, precision, messages, exit status."""

from __future__ import annotations

import copy
import importlib.util
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from hopspec.properties.cli import app
from hopspec.properties.vectors.check import Outcome, Unreadable, check, read_suite, suite_of
from hopspec.properties.vectors.codec import from_bits, pack, pack_one, to_bits
from hopspec.properties.vectors.generate import Selection, Suite, committed, generate
from hopspec.properties.vectors.judge import CORRECTLY_ROUNDED, Judgement, Verdict, judge, model_for
from hopspec.properties.vectors.report import as_json
from hopspec.properties.vectors.vector import Vector, compact

SMALL = Selection(("float32",), ("update",), ())


@pytest.fixture(scope="module")
def suite() -> Suite:
    """Updates in float32 that need nothing special."""
    return committed(SMALL)


def vector(name: str) -> Vector:
    """A committed vector by its id."""
    fmt, quantity, _ = name.split("/")
    return next(v for v in committed(Selection((fmt,), (quantity,))).vectors if v.id == name)


def right(suite: Suite) -> list[str]:
    """The header and a right answer to every vector."""
    answers = [compact({"id": v.id, "result": v.record["expected"]}) for v in suite.vectors]
    return [compact(suite.header), *answers]


def status(outcome: Outcome) -> tuple[int, int]:
    """Exit status and number of judged answers."""
    return outcome.exit_status, len(outcome.judgements)


def test_exact_answers_hold_in_every_format_and_under_every_model() -> None:
    whole = committed()
    for model in (None, CORRECTLY_ROUNDED):
        outcome = check(right(whole), model=model)
        assert status(outcome) == (0, len(whole.vectors))
        assert outcome.of(Verdict.HOLDS)[0].ratio == 0
    some = committed(Selection(("float32", "float16")))
    for name in ("wide", "flash", "eager"):
        assert check(right(some), model=name).exit_status == 0


def moved(v: Vector, model: str, factor: float) -> Judgement:
    """The verdict on an answer whose first component errs by ``factor`` times what is allowed."""
    actual = v.expected.copy()
    actual[0] = v.enclosure[0][0] + factor * v.allowed(model)[0]
    return judge(v, actual, model)


@pytest.mark.parametrize("name", ["float64/update/many-coordinates", "float64/log_normalizer/level-log"])
def test_verdict_changes_at_the_allowed_error(name: str) -> None:
    v = vector(name)
    model = model_for(v, None)
    assert moved(v, model, 0.97).verdict is Verdict.HOLDS
    broken = moved(v, model, 1.03)
    assert broken.verdict is Verdict.BROKEN
    assert 1 < broken.ratio < 1.1
    assert broken.index == (0,) * len(v.shape)
    assert moved(v, model_for(v, "wide"), 0.97).verdict is Verdict.HOLDS


def at_the_edge(steps: int) -> tuple[Vector, NDArray[np.float64]]:
    """A vector whose allowed error is ``|lo|``, and an answer that is hi, moved by ``steps`` of the radius.

    The exact number is not hi + lo, so 106 bits cannot tell on which side of the allowed error hi is.
    """
    v = vector("float64/log_normalizer/ten-alike")
    record = copy.deepcopy(v.record)
    hi, lo, radius = (float(part[0]) for part in v.enclosure)
    allowed = abs(lo) if steps == 0 else float(abs(Fraction(lo)) + steps * Fraction(radius) * 64)
    record["allowed"]["any-float64"]["bits"] = pack([allowed])
    # The exact number rounded once always holds, so it is made out to be another one.
    record["expected"] = pack_one(math.nextafter(hi, math.inf))
    return Vector(record), np.array([hi])


def test_more_bits_decide_what_the_enclosure_leaves_open() -> None:
    tight, answer = at_the_edge(0)
    decided = judge(tight, answer, "any-float64")
    assert decided.verdict in (Verdict.HOLDS, Verdict.BROKEN)
    assert decided.bits == 256
    undecided = judge(tight, answer, "any-float64", limit=100)
    assert undecided.verdict is Verdict.UNDECIDED
    assert "undecided at 106 bits" in undecided.reason
    for steps, verdict in ((1, Verdict.HOLDS), (-1, Verdict.BROKEN)):
        clear, same = at_the_edge(steps)
        plain = judge(clear, same, "any-float64", limit=100)
        assert (plain.verdict, plain.bits) == (verdict, 106)


def test_more_bits_decide_rightly() -> None:
    tight, answer = at_the_edge(0)
    hi, lo = (Fraction(float(part[0])) for part in tight.enclosure[:2])
    # log 10 to 60 digits.
    exact = Fraction("2.302585092994045684017991454684364207601101488628772976033327")
    assert abs(exact - hi - lo) < Fraction(2) ** -105
    expected = Verdict.HOLDS if abs(hi - exact) <= abs(lo) else Verdict.BROKEN
    assert judge(tight, answer, "any-float64").verdict is expected


def test_special_values() -> None:
    spoilt = vector("float32/update/nan-in-query")
    model = model_for(spoilt, None)
    nan = np.isnan(spoilt.expected)
    assert nan.any()
    assert judge(spoilt, spoilt.expected, model).verdict is Verdict.HOLDS
    assert judge(spoilt, np.where(nan, 0.0, spoilt.expected), model).verdict is Verdict.BROKEN
    assert judge(spoilt, np.where(nan, np.inf, spoilt.expected), model).verdict is Verdict.BROKEN
    assert judge(spoilt, np.full(nan.shape, np.nan), model).verdict is Verdict.BROKEN
    overflow = vector("float32/energy/energy-overflows")
    model = model_for(overflow, None)
    assert np.isinf(overflow.expected).all()
    assert judge(overflow, overflow.expected, model).verdict is Verdict.HOLDS
    for wrong in (np.nan, -np.inf, 3.4028234663852886e38):
        assert judge(overflow, np.full(overflow.expected.shape, wrong), model).verdict is Verdict.BROKEN
    zero = vector("float32/update/no-memories")
    assert judge(zero, np.full(zero.expected.shape, -0.0), model_for(zero, None)).verdict is Verdict.HOLDS


def test_formats_without_a_model() -> None:
    v = vector("float8_e4m3fn/update/ordinary-results")
    assert model_for(v, None) == model_for(v, "flash") == ""
    assert judge(v, v.expected, "").verdict is Verdict.HOLDS
    near = v.expected.copy()
    near[0] = from_bits(to_bits(near[0], v.format) + 1, v.format)
    undecided = judge(v, near, "")
    assert undecided.verdict is Verdict.UNDECIDED
    assert undecided.reason == "no accuracy model of float8_e4m3fn"
    assert judge(v, near, CORRECTLY_ROUNDED).verdict is Verdict.BROKEN
    assert judge(v, np.full(near.shape, np.nan), "").verdict is Verdict.BROKEN


def test_missing_answers_are_not_a_pass(suite: Suite) -> None:
    lines = right(suite)
    outcome = check(lines[:-2])
    assert status(outcome) == (2, len(suite.vectors) - 2)
    assert [v.id for v in outcome.missing] == [v.id for v in suite.vectors[-2:]]
    assert check([lines[0]]).exit_status == 2
    assert len(check([]).missing) == len(committed().vectors)


def test_without_a_header_all_vectors_are_meant(suite: Suite) -> None:
    outcome = check(right(suite)[1:])
    assert outcome.exit_status == 2
    assert len(outcome.missing) == len(committed().vectors) - len(suite.vectors)
    assert check(right(suite)[1:], suite).exit_status == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is not JSON"),
        ("[1]", "expected an object with id and result"),
        ('{"id":"float32/update/none","result":""}', "no vector 'float32/update/none' was asked for"),
        ('{"id":"float32/update/one"}', "expected the members id and result alone, got id"),
        ('{"id":"float32/update/one","result":"","x":1}', "expected the members id and result alone"),
        (
            '{"id":"float32/update/one","result":[1.0]}',
            "result must be a string of hexadecimal digits, got list",
        ),
        (
            '{"id":"float32/update/one","result":"3f800000"}',
            "result must have 48 digits, 6 numbers of 8 (float32), got 8",
        ),
        (f'{{"id":"float32/update/one","result":"{"xy" * 24}"}}', "expected hexadecimal digits only"),
    ],
)
def test_malformed_answers_are_named(line: str, message: str, suite: Suite) -> None:
    lines = right(suite)
    at = next(i for i, text in enumerate(lines) if '"float32/update/one"' in text)
    lines.insert(1, line)
    if "update/one" in line:
        del lines[at + 1]
    outcome = check(lines)
    assert outcome.exit_status == 2
    assert len(outcome.problems) == 1
    assert message in outcome.problems[0]
    assert not outcome.missing


def test_the_first_of_two_answers_counts(suite: Suite) -> None:
    lines = right(suite)
    v = suite.vectors[0]
    outcome = check([*lines, compact({"id": v.id, "result": "0" * len(v.record["expected"])})])
    assert outcome.exit_status == 2
    assert f"{v.id} was answered before, at line 2; the first answer counts" in outcome.problems[0]
    assert outcome.judgements[v.id].verdict is Verdict.HOLDS


def test_broken_weighs_more_than_missing(suite: Suite) -> None:
    v = suite.vectors[0]
    wrong = compact({"id": v.id, "result": "7fc00000" * (len(v.record["expected"]) // 8)})
    outcome = check([right(suite)[0], wrong])
    assert outcome.exit_status == 1
    assert len(outcome.missing) == len(suite.vectors) - 1


def test_answers_may_be_one_document(suite: Suite) -> None:
    header, *answers = (json.loads(line) for line in right(suite))
    for document in ({"header": header, "answers": answers}, {"answers": answers}, answers):
        for text in (json.dumps(document), json.dumps(document, indent=1)):
            assert check(text.splitlines(keepends=True), suite).exit_status == 0
    upper = [{**a, "result": a["result"].upper()} for a in answers]
    assert check([json.dumps({"header": header, "answers": upper})]).exit_status == 0
    for text in ('{"answers": 1}', "{}", "what?"):
        with pytest.raises(Unreadable, match="answers"):
            check([text], suite)


def test_a_header_brings_back_its_vectors() -> None:
    chosen = Selection(("float16",), ("energy",), ("masks",))
    for seed in (0, 11):
        made = generate(seed, chosen)
        assert suite_of(made.header).digest == made.digest


def test_headers_of_other_vectors_are_refused(suite: Suite) -> None:
    header = suite.header
    for change, message in (
        ({"digest": "0" * 64}, "of other vectors .* generate them again"),
        ({"hopspec_vectors": 2}, "malformed"),
        ({"formats": ["float12"]}, "malformed"),
        ({"more": 1}, "malformed"),
    ):
        with pytest.raises(Unreadable, match=message):
            suite_of({**header, **change})
    with pytest.raises(Unreadable, match="not that of the vectors"):
        check([compact({**header, "digest": "0" * 64})], suite)


def test_vectors_from_a_file_are_checked(suite: Suite) -> None:
    text = suite.document()
    assert read_suite(text, "f").digest == suite.digest
    assert read_suite("".join(line + "\n" for line in suite.lines()), "f").digest == suite.digest
    document = json.loads(text)
    first = document["vectors"][0]
    first["expected"] = "0" * len(first["expected"])
    with pytest.raises(Unreadable, match="f was changed: the digest"):
        read_suite(json.dumps(document), "f")
    document = json.loads(text)
    document["vectors"][0]["extra"] = 1
    with pytest.raises(Unreadable, match=r"does not follow the schema of vectors: vectors/0: .*extra"):
        read_suite(json.dumps(document), "f")
    document = json.loads(text)
    document["vectors"][0]["width"] += 1
    with pytest.raises(Unreadable, match="does not hold vectors"):
        read_suite(json.dumps(document), "f")
    with pytest.raises(Unreadable, match="neither a JSON document nor JSON lines"):
        read_suite("no", "f")


def test_without_jsonschema_files_are_still_refused(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    document = json.loads(suite.document())
    del document["vectors"][3]["expected"]
    for text in (json.dumps(document), "{}", "", '{"header": 1, "vectors": []}'):
        with pytest.raises(Unreadable, match="f does not hold vectors"):
            read_suite(text, "f")
    with pytest.raises(Unreadable, match="the header is malformed"):
        suite_of({"hopspec_vectors": 1})
    assert read_suite(suite.document(), "f").digest == suite.digest


def test_report_counts_what_was_judged(suite: Suite) -> None:
    lines = right(suite)
    v = suite.vectors[0]
    lines[1] = compact({"id": v.id, "result": "7fc00000" * (len(v.record["expected"]) // 8)})
    report = as_json(check(lines[:-1]))
    assert report["exit_status"] == 1
    rows = {(row["bug_class"], row["format"]): row for row in report["bug_classes"]}
    assert rows[v.bug_class, "float32"]["broken"] == 1
    assert rows[v.bug_class, "float32"]["worst_ratio"] == "inf"
    assert sum(row["vectors"] for row in report["bug_classes"]) == len(suite.vectors)
    assert report["not_covered"] == [suite.vectors[-1].id]
    assert {row["clause"] for row in report["clauses"]} == {c for v in suite.vectors for c in v.clauses}
    json.dumps(report, allow_nan=False)


def test_command_line(tmp_path: Path) -> None:
    runner = CliRunner()

    def run(*arguments: str, text: str = "") -> tuple[int, str]:
        result = runner.invoke(app, ["vectors", *arguments], input=text)
        return result.exit_code, result.output

    file = tmp_path / "some.json"
    chosen = ("--format", "float32", "--quantity", "update", "--plain")
    assert run("generate", *chosen, "--out", str(file)) == (0, "")
    made = read_suite(file.read_text(encoding="ascii"), "some")
    code, text = run("generate", *chosen, "--lines")
    assert (code, text.splitlines()) == (0, list(made.lines()))
    assert run("generate", *chosen, "--out", str(tmp_path / "folder")) == (0, "")
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["float32.json"]
    report = tmp_path / "report.json"
    code, shown = run("check", "-", "--lines", "--json", str(report), text="\n".join(right(made)))
    assert code == 0
    assert f"{len(made.vectors)} holds: every answer holds" in shown
    assert json.loads(report.read_text(encoding="ascii"))["exit_status"] == 0
    answers = tmp_path / "answers.jsonl"
    answers.write_text("\n".join(right(made)[:-1]), encoding="ascii")
    code, shown = run("check", str(answers), "--vectors", str(file), "--model", "flash")
    assert code == 2
    assert "NOT COVERED: 1 vectors have no answer" in shown
    assert "flash-float32" in shown
    for arguments, message in (
        (("check", str(tmp_path / "nothing")), "No such file"),
        (("check", str(answers), "--model", "nothing"), "is not a model of float32"),
        (("generate", "--format", "float12"), "unknown format 'float12'"),
        (("generate", "--plain", "--claim", "masks"), "exclude each other"),
        (("answer", "nobody"), "nobody"),
    ):
        code, shown = run(*arguments)
        assert code == 2
        assert message in shown


def test_coverage_command() -> None:
    result = CliRunner().invoke(app, ["vectors", "coverage", "--format", "float32", "--quantity", "energy"])
    assert result.exit_code == 0
    assert "energy-terms" in result.output
    assert "MHN-ENE-1 Energy" in result.output
