"""The runner: verdicts on implementations that misbehave, reports, exit statuses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hopspec.properties.reporting.encoding import as_json
from hopspec.properties.reporting.reproduction import snippet
from hopspec.properties.results import Report, Verdict
from hopspec.properties.runner import Options, verify

HERE = Path(__file__).parent
CORE = ("MHN-BND-2", "MHN-DOM-3", "MHN-DOM-5", "MHN-DOM-7")


@pytest.fixture(autouse=True)
def _kernels_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.syspath_prepend(str(HERE))


def run(name: str, **options: object) -> Report:
    settings = {"dtypes": ("float32",), "profile": "quick", "clauses": CORE, "examples": 8, **options}
    return verify(Options(targets=(f"bad_kernels:{name}",), **settings))  # type: ignore[arg-type]


def broken(report: Report) -> set[str]:
    return {c.clause for c in report.broken}


def test_right_kernel_passes() -> None:
    report = run("right")
    assert report.exit_status == 0
    assert not report.failures
    assert all(c.cases >= c.needed > 0 for c in report.cells if not c.unclaimed)
    for clause in CORE:
        assert sum(c.cases for c in report.cells if c.clause == clause and not c.unclaimed) >= 8
    assert {c.clause for c in report.cells} == set(CORE)


@pytest.mark.parametrize(
    ("name", "clause", "kind", "text"),
    [
        ("raises", "MHN-BND-2", "raised", "no kernel image"),
        ("wrong_shape", "MHN-BND-2", "shape", "expected"),
        ("wrong_device", "MHN-BND-2", "device", "meta"),
        ("not_a_tensor", "MHN-BND-2", "raised", "expected a Tensor"),
        ("mutates", "MHN-DOM-5", "bound", "query"),
        ("stochastic", "MHN-DOM-7", "bound", "bits"),
        ("hot", "MHN-BND-2", "bound", ""),
    ],
)
def test_misbehaviour_has_its_verdict(name: str, clause: str, kind: str, text: str) -> None:
    report = run(name, in_process=True)
    assert report.exit_status == 1
    failures = [c.failure for c in report.broken if c.clause == clause]
    assert failures
    failure = failures[0]
    assert failure is not None
    assert failure.kind == kind
    assert text in f"{failure.what} {failure.got}"


def test_wrong_dtype_breaks_its_clause_only() -> None:
    report = run("wrong_dtype", dtypes=("float64",), in_process=True)
    assert "MHN-DOM-3" in broken(report)


def test_mutation_does_not_spoil_the_other_clauses() -> None:
    assert broken(run("mutates", in_process=True)) == {"MHN-DOM-5"}


def test_hang_ends_the_implementation_not_the_run() -> None:
    began = time.monotonic()
    report = run("hangs", timeout=1.0)
    assert time.monotonic() - began < 30
    assert report.exit_status == 1
    assert any(c.failure is not None and c.failure.kind == "hung" for c in report.broken)
    assert "no answer within 1 s" in report.unusable["bad_kernels:hangs"]


def test_crash_is_a_verdict() -> None:
    report = run("crashes")
    assert report.exit_status == 1
    crashes = [c.failure for c in report.broken if c.failure is not None and c.failure.kind == "crashed"]
    assert crashes
    assert "signal 11 (SIGSEGV)" in crashes[0].what


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("no_such_module:f", "cannot import 'no_such_module'"),
        ("bad_kernels:nothing", "has no attribute 'nothing'"),
        ("bad_kernels:constant", "expected a callable"),
        ("fastpth", "did you mean 'fastpath'?"),
        ("fault:no-such-fault", "no fault named 'no-such-fault'"),
    ],
)
def test_what_cannot_be_run_says_why(target: str, text: str) -> None:
    report = verify(Options(targets=(target,), profile="quick"))
    assert report.exit_status == 2
    assert text in report.unusable[target]


@pytest.mark.parametrize(("name", "array"), [("hot", "tensor([["), ("HOT_NUMPY", "[[")])
def test_smallest_input_is_found_and_reproduces(name: str, array: str) -> None:
    report = run(name, clauses=("MHN-BND-2",), in_process=True)
    cell = report.broken[0]
    failure = cell.failure
    assert failure is not None
    assert failure.problem.memory.shape[0] <= 3
    assert failure.problem.memory.shape[1] == 1
    assert failure.ratio > 1
    code = snippet(report, cell, failure)
    assert ("torch" in code) is (name == "hot")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    got, exact = done.stdout.splitlines()
    assert got.startswith(array)
    assert exact.startswith("[[")


def test_two_implementations_of_one_name_are_told_apart() -> None:
    first, second = "bad_kernels:HOT_NUMPY", "bad_kernels:NAMESAKE"
    options = Options((first, second), ("float32",), clauses=("MHN-LAW-7",), examples=2, in_process=True)
    report = verify(options)
    assert report.unusable == {second: f"is called 'hot-numpy', as {first!r} is"}
    assert report.exit_status == 2
    assert [(c.cases, c.needed) for c in report.cells] == [(2, 2)]


def test_only_the_child_imports_torch() -> None:
    code = (
        "import sys; from hopspec.properties.runner import Options, verify; "
        "options = Options(('fastpath',), dtypes=('float32',), profile='quick', clauses=('MHN-BND-2',)); "
        "print(verify(options).exit_status, sorted({'torch', 'hypothesis'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "[]"]


def test_same_seed_same_cases() -> None:
    first, second = run("right", in_process=True), run("right", in_process=True)
    assert [(c.check, c.cases, c.worst) for c in first.cells] == [
        (c.check, c.cases, c.worst) for c in second.cells
    ]
    other = run("right", in_process=True, seed=1)
    assert [c.worst for c in other.cells] != [c.worst for c in first.cells]


def test_report_is_strict_json() -> None:
    data = as_json(run("hot", in_process=True))
    text = json.dumps(data, allow_nan=False)
    again = json.loads(text)
    assert again["exit_status"] == 1
    cell = next(c for c in again["cells"] if c["verdict"] == "BROKEN")
    assert float.fromhex(cell["failure"]["problem"]["beta"]) > 0


def test_a_property_that_sees_no_case_fails() -> None:
    report = verify(
        Options(
            targets=("bad_kernels:right",),
            dtypes=("float32",),
            profile="quick",
            clauses=("MHN-UPD-8",),
            in_process=True,
        )
    )
    cell = next(c for c in report.cells if not c.unclaimed)
    assert report.exit_status == 0
    cell.cases = 0
    assert cell.verdict is Verdict.TOO_FEW
    assert report.exit_status == 1


def hopspec(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from hopspec.properties.command import main; main()", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "140"}
    )


def test_command_line(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    done = hopspec(
        "verify", "bad_kernels:chatty", "--dtype", "float32", "--profile", "quick", "--clause", "MHN-BND-2",
        "--json", str(path),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MHN-BND-2" in done.stdout
    counted = re.search(r"holds (\d+)", done.stdout)
    assert counted is not None
    assert int(counted[1]) >= 20
    assert "progress: 100%" not in done.stdout
    assert json.loads(path.read_text())["exit_status"] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "fastpath", "--dtype", "float33"),
        ("verify", "fastpath", "--profile", "slow"),
        ("verify", "fastpath", "--clause", "MHN-XYZ-1"),
        ("verify", "fastpath", "--model", "exact"),
        ("verify", "nothing.here:f"),
    ],
)
def test_command_line_refuses(arguments: tuple[str, ...]) -> None:
    assert hopspec(*arguments).returncode == 2


def test_interrupt_writes_what_was_done(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    # A program started in the background of a shell ignores interrupts, and so do those it starts.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from hopspec.properties.command import main; main()"
    )
    command = [sys.executable, "-c", program]
    command += [
        "verify",
        "bad_kernels:right",
        "--profile",
        "thorough",
        "--dtype",
        "float32",
        "--json",
        str(path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(12)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert "interrupted" in out
    report = json.loads(path.read_text())
    assert report["interrupted"]
    assert sum(c["cases"] for c in report["cells"]) > 0


def test_a_device_that_is_not_claimed_is_refused() -> None:
    report = verify(Options(targets=("reference",), profile="quick", device="meta", in_process=True))
    assert report.exit_status == 2
    assert report.unusable == {"reference": "does not claim meta"}


def test_a_device_that_is_not_there_is_refused() -> None:
    report = verify(Options(targets=("fastpath",), profile="quick", device="no-such-device", in_process=True))
    assert report.exit_status == 2
    assert "device 'no-such-device' cannot be used" in report.unusable["fastpath"]
