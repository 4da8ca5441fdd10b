"""Test vectors over a pipe: programs in C, JavaScript and Python answer them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hopspec.properties.vectors.check import check
from hopspec.properties.vectors.generate import Selection, Suite, committed
from hopspec.properties.vectors.judge import Verdict

HERE = Path(__file__).resolve().parent
FORMATS = ("float32", "float64")
QUANTITIES = ("update", "log_normalizer")
HOPSPEC = [sys.executable, "-c", "from hopspec.properties.command import main; main()"]
# Fault number of the C program, and a bug class that must see it.
FAULTS = {
    1: ("exponentials without a maximum", "max-subtraction"),
    2: ("tail dropped", "tile-edges"),
    3: ("beta twice", "beta"),
    4: ("mask ignored", "mask"),
    5: ("logarithm to the base 2", "log-normalizer-convention"),
    6: ("scores in single precision", "overflow"),
    7: ("NaN ignored", "nan-in-query"),
}


@pytest.fixture(scope="module")
def suite() -> Suite:
    """What the C program answers."""
    return committed(Selection(FORMATS, QUANTITIES))


@pytest.fixture(scope="module")
def compiler() -> str:
    """The system's C compiler."""
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        pytest.skip("there is no C compiler (cc, gcc or clang) on the path")
    return found


def build(compiler: str, target: Path, fault: int = 0) -> Path:
    """Compile the C program, with a fault or without."""
    options = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", f"-DFAULT={fault}"]
    command = [compiler, *options, "-o", str(target), str(HERE / "vectors_kernel.c"), "-lm"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return target


def answers(command: list[str], suite: Suite) -> list[str]:
    """What a program makes of the vectors."""
    text = "".join(line + "\n" for line in suite.lines())
    result = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_the_whole_pipe(compiler: str, tmp_path: Path) -> None:
    kernel = build(compiler, tmp_path / "kernel")
    report = tmp_path / "report.json"
    chosen = [word for f in FORMATS for word in ("--format", f)]
    chosen += [word for q in QUANTITIES for word in ("--quantity", q)]
    with (
        subprocess.Popen(
            [*HOPSPEC, "vectors", "generate", "--lines", *chosen], stdout=subprocess.PIPE
        ) as source,
        subprocess.Popen([str(kernel)], stdin=source.stdout, stdout=subprocess.PIPE) as program,
    ):
        assert source.stdout is not None
        source.stdout.close()
        command = [*HOPSPEC, "vectors", "check", "--lines", "-", "--json", str(report)]
        checked = subprocess.run(command, stdin=program.stdout, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    outcome = json.loads(report.read_text(encoding="ascii"))
    assert len(outcome["answers"]) == outcome["header"]["count"] >= 350
    assert outcome["not_covered"] == outcome["problems"] == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda n: FAULTS[n][0])
def test_a_wrong_program_in_c_is_found(fault: int, compiler: str, suite: Suite, tmp_path: Path) -> None:
    kernel = build(compiler, tmp_path / "wrong", fault)
    outcome = check(answers([str(kernel)], suite))
    assert outcome.exit_status == 1
    broken = {j.vector.bug_class for j in outcome.of(Verdict.BROKEN)}
    assert FAULTS[fault][1] in broken
    assert outcome.of(Verdict.HOLDS)


def test_what_a_program_leaves_out_is_not_covered(compiler: str, tmp_path: Path) -> None:
    kernel = build(compiler, tmp_path / "kernel")
    more = committed(Selection(FORMATS))
    outcome = check(answers([str(kernel)], more))
    assert outcome.exit_status == 2
    assert {v.quantity for v in outcome.missing} == {"energy", "association"}
    assert not outcome.of(Verdict.BROKEN)


def test_a_program_in_javascript() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on the path")
    needs = tuple(n for n in Selection().needs if n != "finite_range")
    mine = committed(Selection(FORMATS, needs=needs))
    program = [node, str(HERE / "vectors_kernel.mjs")]
    assert check(answers(program, mine)).exit_status == 0
    wrong = check(answers([*program, "no-log-n"], mine))
    assert wrong.exit_status == 1
    assert {j.vector.quantity for j in wrong.of(Verdict.BROKEN)} == {"energy"}


def test_an_implementation_in_python() -> None:
    mine = committed(Selection(("bfloat16",), ("update",), ("masks", "values")))
    found = answers([*HOPSPEC, "vectors", "answer", "torch-sdpa"], mine)
    assert found[0] == next(iter(mine.lines()))
    assert check(found).exit_status == 0
