"""The pytest plugin: what is collected, what is reported, what an expectation does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hopspec.properties.options import Options
from hopspec.properties.plugin import conformance, hooks
from hopspec.properties.plugin.board import Board, Job, tasks_of
from hopspec.properties.plugin.pool import Lost, Pool
from hopspec.properties.reporting.loading import read_report
from hopspec.properties.runner import verify

pytest_plugins = ["pytester"]

# Small arrays of NumPy, so that nothing has to import PyTorch.
KERNELS = """
import numpy as np
from hopspec import Capabilities, Implementation

def to_array(array, dtype):
    return np.asarray(array, dtype=dtype)

def right(query, memory, *, beta):
    t = beta * (query @ memory.T)
    p = np.exp(t - t.max(axis=-1, keepdims=True))
    return (p / p.sum(axis=-1, keepdims=True)) @ memory

def hot(query, memory, *, beta):
    return right(query, memory, beta=1.01 * beta)

def ends(query, memory, *, beta):
    import os
    os._exit(3)

def described(name, f, **claims):
    capabilities = Capabilities(dtypes=("float32", "float64"), **claims)
    return Implementation(name, f, capabilities=capabilities, to_array=to_array, from_array=np.asarray)

RIGHT = described("right", right)
HOT = described("hot", hot)
ENDS = described("ends", ends)
BOASTS = described("boasts", right, strides=True)
"""
RIGHT = """
    from hopspec.properties.plugin import conformance
    from np_kernels import RIGHT
    test_right = conformance(RIGHT)
"""
HOT = RIGHT.replace("RIGHT", "HOT").replace("test_right", "test_hot")
FAST = ("--hopspec-in-process", "--hopspec-examples=4")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with kernels and no test yet."""
    pytester.makepyfile(np_kernels=KERNELS)
    monkeypatch.syspath_prepend(str(pytester.path))
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run pytest with the plugin, judging in this process."""
    return run_with(project, *FAST, *arguments)


def run_with(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    # The plugin once, and without what others add to the time of every run.
    others = ("-p", "no:hopspec", "-p", "no:hypothesispytest", "-p", "no:cov")
    return project.runpytest_inprocess(*others, *arguments, plugins=[hooks])


def test_one_item_for_each_clause_and_dtype(project: pytest.Pytester) -> None:
    project.makepyfile(test_kernel=RIGHT)
    ids = run(project, "--collect-only", "-q").outlines
    items = [line for line in ids if line.startswith("test_kernel.py::test_right[MHN-")]
    assert len(items) == len(set(items)) > 100
    for dtype in ("float64", "float32", "bfloat16", "float16"):
        assert f"test_kernel.py::test_right[MHN-BND-2-{dtype}]" in items


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (("-k", "BND-2- and float32"), 1),
        (("-k", "test_right and BND-2-"), 4),
        (("-m", "hopspec", "-k", "BND-2-"), 4),
        (("-m", "not hopspec"), 0),
        (("test_kernel.py::test_right[MHN-BND-2-float64]",), 1),
        (("test_kernel.py", "--deselect", "test_kernel.py::test_right", "-k", "BND-2-"), 0),
        (("--hopspec-dtype", "float32", "-k", "BND-2-"), 1),
    ],
)
def test_items_are_selected_as_ever(project: pytest.Pytester, arguments: tuple[str, ...], count: int) -> None:
    project.makepyfile(test_kernel=RIGHT)
    ids = run(project, "--collect-only", "-q", *arguments).outlines
    assert sum(line.startswith("test_kernel.py::") for line in ids) == count


def test_verdicts_and_summary(project: pytest.Pytester) -> None:
    project.makepyfile(test_kernel=RIGHT)
    result = run(project, "-k", "BND-2- or DOM-6- or DOM-7-", "-rs", "--hopspec-seed", "3")
    # Half precision is not claimed, strides are neither.
    assert outcomes(result) == {"passed": 4, "skipped": 8}
    result.stdout.fnmatch_lines(
        [
            "test_kernel.py::test_right: right (seed 3, quick, *)",
            "  float64: judged under any-float64; behaves like *; worst error/bound 0.* in MHN-BND-2; "
            "2 hold, 1 not claimed",
            "SKIPPED * not claimed: strides; observed: broken in * cases",
            "SKIPPED * does not claim bfloat16",
        ]
    )
    result.stdout.no_fnmatch_line("*bfloat16: judged*")


def outcomes(result: pytest.RunResult) -> dict[str, int]:
    found: dict[str, int] = result.parseoutcomes()
    return {name: count for name, count in found.items() if name not in ("deselected", "warnings")}


def test_a_failure_is_short_and_says_everything(project: pytest.Pytester) -> None:
    project.makepyfile(test_kernel=HOT)
    result = run(project, "-k", "BND-2-float32")
    assert outcomes(result) == {"failed": 1}
    result.stdout.fnmatch_lines(
        [
            "* test_hot[[]MHN-BND-2-float32[]] *",
            "* times the error allowed by MHN-BND-2 Error of the update, float32",
            "  property update_within_bound, broken in * of * cases",
            "  smallest input found: 1 query, * memories, width *, beta *",
            "  update[[]0, 0[]]: got *, expected *",
            "  allowed error * (* times the bound)",
            "    print(resolve('test_kernel.py:test_hot.implementation').retrieve(query, memory, beta=*))",
            "FAILED test_kernel.py::test_hot[[]MHN-BND-2-float32[]] - BrokenClause: *",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    assert "hopspec/properties" not in result.stdout.str()


def test_only_what_is_selected_is_explored(project: pytest.Pytester) -> None:
    project.makepyfile(test_kernel=RIGHT)
    run(project, "-k", "FIX-3- and float32 or DOM-6- and float64", "--hopspec-json", "report.json")
    report = json.loads((project.path / "report.json").read_text())
    assert report["settings"]["clauses"] == ["MHN-DOM-6", "MHN-FIX-3"]
    assert {cell["dtype"] for cell in report["cells"]} == {"float32", "float64"}
    assert not report["interrupted"]


def test_the_report_is_the_one_that_verify_writes(project: pytest.Pytester) -> None:
    project.makepyfile(test_kernel=RIGHT + "    test_again = conformance(RIGHT, model='eager')")
    run(project, "-k", "BND-2-float32", "--hopspec-json", "report.json")
    report = read_report(project.path / "report.json")
    test = "right (test_kernel.py::{})"
    assert set(report.models) == {test.format("test_right"), test.format("test_again")}
    assert report.models[test.format("test_again")]["float32"] == "eager-float32"
    assert report.exit_status == 0
    options = Options(
        ("np_kernels:RIGHT",),
        ("float32",),
        profile="quick",
        examples=4,
        clauses=("MHN-BND-2",),
        in_process=True,
    )
    same = verify(options)
    learned = [(cell.check, cell.cases, cell.worst) for cell in same.cells]
    own = [(c.check, c.cases, c.worst) for c in report.cells if c.implementation == test.format("test_right")]
    assert sorted(own) == sorted(learned)
    assert report.fits[test.format("test_right")] == same.fits["right"]


def test_the_rest_of_a_run_that_ends_early_is_not_explored(project: pytest.Pytester) -> None:
    project.makepyfile(test_kernel=HOT)
    arguments = ("-x", "-k", "float32 and (BND-2- or BND-6-)", "--hopspec-json", "report.json")
    assert outcomes(run(project, *arguments)) == {"failed": 1}
    report = json.loads((project.path / "report.json").read_text())
    assert report["interrupted"]
    assert {cell["clause"] for cell in report["cells"]} == {"MHN-BND-2"}


def test_junit(project: pytest.Pytester) -> None:
    project.makepyfile(test_kernel=HOT)
    run(project, "-k", "BND-2- or DOM-7-float32", "--junitxml=junit.xml")
    cases = {
        case.get("name"): case for case in ElementTree.parse(project.path / "junit.xml").iter("testcase")
    }
    assert len(cases) == 5
    broken = cases["test_hot[MHN-BND-2-float32]"]
    assert broken.get("classname") == "test_kernel"
    failure = broken.find("failure")
    assert failure is not None
    assert "times the error allowed by MHN-BND-2" in (failure.get("message") or "")
    properties = {p.get("name"): p.get("value") for p in broken.iter("property")}
    assert properties["hopspec_implementation"] == "hot"
    assert properties["hopspec_verdict"] == "BROKEN"
    assert float(properties["hopspec_worst_error_over_bound"] or 0) > 1
    assert cases["test_hot[MHN-BND-2-float16]"].find("skipped") is not None


def test_last_failed(project: pytest.Pytester) -> None:
    project.makepyfile(test_kernel=HOT, test_other="def test_nothing(): pass")
    arguments = ("--hopspec-implementation", "np_kernels:HOT", "-k", "BND-2- or nothing")
    result = run(project, *arguments)
    assert outcomes(result) == {"failed": 4, "passed": 1, "skipped": 4}
    failed = {line.split(" - ")[0] for line in result.outlines if line.startswith("FAILED")}
    again = run(project, *arguments, "--lf")
    assert {line.split(" - ")[0] for line in again.outlines if line.startswith("FAILED")} == failed
    assert outcomes(again) == {"failed": 4}


def test_named_on_the_command_line(project: pytest.Pytester) -> None:
    result = run(project, "--hopspec-implementation", "np_kernels:RIGHT", "-k", "BND-2-float32", "-v")
    assert outcomes(result) == {"passed": 1}
    result.stdout.fnmatch_lines(
        [
            "hopspec: np_kernels:RIGHT under *, profile quick, seed 0, torch *",
            "hopspec::np_kernels:RIGHT[[]MHN-BND-2-float32[]] PASSED*",
            "hopspec::np_kernels:RIGHT: right (seed 0, quick, *)",
        ]
    )


def test_settings_come_from_command_line_then_test_then_ini(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\nhopspec_seed = 5\nhopspec_model = eager\nhopspec_dtypes = float32 float64\n")
    project.makepyfile(test_kernel=RIGHT.replace("(RIGHT)", "(RIGHT, seed=6, dtypes=['float64'])"))
    summary = "test_kernel.py::test_right: right (seed {}, *"
    result = run(project, "-k", "BND-2-")
    assert outcomes(result) == {"passed": 1}
    result.stdout.fnmatch_lines([summary.format(6), "  float64: judged under eager-float64;*"])
    again = run(project, "-k", "BND-2-", "--hopspec-seed=7", "--hopspec-model=any")
    again.stdout.fnmatch_lines([summary.format(7), "  float64: judged under any-float64;*"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("dtypes=['float33']", "test_right: dtype 'float33' is unknown; expected one of float64, *"),
        ("model='exact'", "test_right: model 'exact' is not a model of *"),
        ("profile='slow'", "test_right: profile 'slow' is unknown; expected one of quick, *"),
        ("form='attention'", "test_right: the attention form is for plain callables; *"),
        ("expected='none.toml'", "test_right: cannot read the expected failures in none.toml: *"),
    ],
)
def test_impossible_settings(project: pytest.Pytester, settings: str, message: str) -> None:
    project.makepyfile(test_kernel=RIGHT.replace("(RIGHT)", f"(RIGHT, {settings})"))
    result = run(project)
    assert outcomes(result) == {"errors": 1}
    result.stdout.fnmatch_lines([f"*{message}"])


def test_a_report_that_cannot_be_written_is_refused(project: pytest.Pytester) -> None:
    result = run(project, "--hopspec-json=nowhere/report.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --hopspec-json must be a file in a folder that exists, got *"])


def test_built_in_names_have_a_form_of_their_own(project: pytest.Pytester) -> None:
    project.makepyfile(test_kernel=RIGHT.replace("(RIGHT)", "('reference', form='attention')"))
    result = run(project, "-k", "BND-2-float32")
    assert outcomes(result) == {"passed": 1}


def test_conformance_says_what_it_takes() -> None:
    with pytest.raises(TypeError, match=r"implementation must be a callable, .* got float"):
        conformance(3.0)
    with pytest.raises(TypeError, match=r"dtypes must be several names, got the text 'float32'"):
        conformance(print, dtypes="float32")


def test_what_cannot_be_run_is_an_error_of_its_items_alone(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_kernel=RIGHT
        + "    test_none = conformance('nowhere:f')\n    test_text = conformance('np_kernels:KERNELS')"
    )
    result = run(project, "-k", "BND-2-float32")
    assert outcomes(result) == {"passed": 1, "errors": 2}
    result.stdout.fnmatch_lines(
        [
            "cannot import 'nowhere': ModuleNotFoundError: No module named 'nowhere'",
            "ERROR test_kernel.py::test_none[[]MHN-BND-2-float32[]] - CouldNotVerify: *",
        ]
    )


def test_a_mistake_of_the_suite_is_an_error(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object) -> None:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr("hopspec.properties.exploration.Run.explore", mistaken)
    project.makepyfile(test_kernel=RIGHT)
    result = run(project, "-k", "BND-2-float32")
    assert outcomes(result) == {"errors": 1}
    result.stdout.fnmatch_lines(["a mistake in hopspec itself:", "*ZeroDivisionError: a mistake"])


EXPECTED = """
[[expected]]
clause = "MHN-BND-2"
dtype = "float32"
reason = "too hot"
expires = 2999-12-31
"""


def test_an_expected_failure_is_no_failure(project: pytest.Pytester) -> None:
    project.makefile(".toml", expected=EXPECTED)
    project.makepyfile(test_kernel=HOT.replace("(HOT)", "(HOT, expected='expected.toml')"))
    result = run(project, "-k", "BND-2-float32 or DOM-7-float32", "-rx")
    assert outcomes(result) == {"xfailed": 1, "passed": 1}
    result.stdout.fnmatch_lines(
        ["XFAIL *BND-2-float32[]] - too hot (expected.toml, line 1, entry 1, until 2999-12-31)"]
    )
    assert result.ret == 0
    assert run(project, "-k", "BND-2-float64", "--hopspec-expected=expected.toml").ret == 1


@pytest.mark.parametrize(
    ("change", "kernel", "failed", "message"),
    [
        (("", ""), "RIGHT", 1, "[[]XPASS(strict)[]] too hot ({where}, until 2999-12-31)"),
        (("2999-12-31", "2020-01-01"), "RIGHT", 1, "{where} * expired on 2020-01-01: too hot"),
        (("2999-12-31", "2020-01-01"), "HOT", 1, "{where} * expired on 2020-01-01: too hot"),
        (("BND-2", "DOM-6"), "HOT", 2, "{where} * expects a failure of what hot does not claim: too hot"),
        (('dtype = "float32"', 'implementation = "other"'), "HOT", 2, "{where} * matches nothing *"),
        (('dtype = "float32"', 'implementation = "hot"'), "HOT", 0, None),
    ],
)
def test_an_expectation_that_is_not_met_is_a_failure(
    project: pytest.Pytester, change: tuple[str, str], kernel: str, failed: int, message: str | None
) -> None:
    project.makefile(".toml", expected=EXPECTED.replace(*change))
    project.makepyfile(test_kernel=RIGHT.replace("RIGHT", kernel))
    selection = "BND-2-float32 or DOM-6-float32 or expected"
    result = run(project, "-k", selection, "--hopspec-expected=expected.toml")
    assert outcomes(result).get("failed", 0) == failed
    if message is not None:
        result.stdout.fnmatch_lines([message.format(where="expected.toml, line 1, entry 1")])


def test_attention_form(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_kernel="""
        import torch
        from hopspec.properties.plugin import conformance

        def attend(q, k, v, *, scale, attn_mask=None, is_causal=False):
            return torch.nn.functional.scaled_dot_product_attention(
                q, k, v, attn_mask, 0.0, is_causal, scale=scale
            )

        test_attend = conformance(attend, form="attention", dtypes=["float32"])
        """
    )
    result = run(project, "-k", "BND-2- or ATT-3- or ATT-6-", "-rs")
    assert outcomes(result) == {"passed": 2, "skipped": 1}
    result.stdout.fnmatch_lines(["SKIPPED * not claimed: log_normalizer*"])


def test_an_implementation_that_ends_its_process(project: pytest.Pytester) -> None:
    project.makepyfile(test_kernel=RIGHT.replace("RIGHT", "ENDS"))
    # So many properties of one family that whichever process takes it sees three crashes.
    result = run_with(project, "--hopspec-examples=4", "-k", "float32 and (BND-2- or DOM-7- or LAW-)")
    assert result.parseoutcomes()["failed"] >= 1
    result.stdout.fnmatch_lines(["ends: crashed: the process ended with exit status 3"])
    result.stdout.fnmatch_lines(["  crashed: the process ended with exit status 3"])


def test_processes_that_are_lost_are_noticed(tmp_path: Path) -> None:
    job = Job("job", Options(("np_kernels:RIGHT",), clauses=("MHN-BND-2",)))
    pool = Pool(tmp_path, tasks_of([job]), 1, preload=False)
    try:
        pool.processes[0].kill()
        with pytest.raises(Lost, match=r"the processes that explore ended with -9"):
            pool.report(job, frozenset({"general"}))
    finally:
        pool.close()


def test_a_task_is_claimed_once(tmp_path: Path) -> None:
    board = Board(tmp_path)
    (task,) = tasks_of([Job("job", Options(("none",), profile="quick", clauses=("MHN-BND-6",)))])
    with board.claim(task) as ours:
        assert ours
        with board.claim(task) as again:
            assert not again
    with board.claim(task) as later:
        assert later


def test_what_is_not_used_costs_nothing() -> None:
    code = """
import sys, pytest
before = set(sys.modules)
import hopspec.properties.plugin.hooks
print(*sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = "hopspec hopspec.properties hopspec.properties.plugin hopspec.properties.plugin.hooks"
    assert done.stdout.split() == ours.split()


def test_a_run_without_conformance_tests_shows_nothing(project: pytest.Pytester) -> None:
    project.makepyfile(test_other="def test_nothing(): pass")
    result = run(project)
    assert outcomes(result) == {"passed": 1}
    assert "hopspec" not in "\n".join(line for line in result.outlines if "plugins:" not in line)
