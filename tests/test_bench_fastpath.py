"""``hopspec bench fastpath`` on tiny problems: who takes part, what is asked, what is printed."""

import json
import math
import re
import sys
from collections.abc import Sequence
from functools import partial
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console
from typer.testing import CliRunner

import hopspec
from hopspec.properties import assert_within, retrieval_problem
from hopspec.properties.bench import ceilings, comparing, fastpath, limits, peak, settling
from hopspec.properties.bench.kernels import Kernel, Shape
from hopspec.properties.bench.limits import UPDATES
from hopspec.properties.bench.measure import Contender, Timed
from hopspec.properties.bench.record import Comparison, Figure, Mean, Relation, Run, read
from hopspec.properties.bench.speed_table import print_speeds
from hopspec.properties.cli import app
from hopspec.types import Capabilities, Implementation

runner = CliRunner(env={"COLUMNS": "200"})

TINY = Shape("tiny", 3, 40, 8, "time", 1.5)
FEW = Shape("few", 1, 50, 4, "speed", 2.7)


def softmax(query: NDArray[Any], memory: NDArray[Any], *, beta: float) -> NDArray[Any]:
    logits = beta * query @ memory.T
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    result: NDArray[Any] = weights / weights.sum(-1, keepdims=True) @ memory
    return result


IN_NUMPY: Implementation[NDArray[Any]] = Implementation(
    name="in-numpy",
    retrieve=softmax,
    capabilities=Capabilities(dtypes=("float32",), max_size=1000),
    to_array=lambda array, dtype: array.astype(dtype),
    from_array=np.asarray,
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every case at a size that takes no time."""
    cases = {
        **fastpath.CASES,
        "update-tiny": partial(fastpath._update, shape=TINY),
        "update-few": partial(fastpath._update, shape=FEW),
        "masked": partial(fastpath._masked, shape=TINY),
        "evaluate-many": partial(fastpath._evaluate, shape=Shape("many", 3, 40, 8)),
        "evaluate-few": partial(fastpath._evaluate, shape=FEW),
    }
    for name in ("update-many", "update-one", "update-small", "evaluate-one"):
        del cases[name]
    monkeypatch.setattr(fastpath, "CASES", cases)
    monkeypatch.setattr(fastpath, "BATCHES", (TINY, FEW))
    monkeypatch.setattr(fastpath, "LARGEST", TINY)
    monkeypatch.setattr(comparing, "TURN", 0.0)
    workloads = (settling.Workload(1.0, 0.1, 3, 20, 8), settling.Workload(0.5, 0.1, 4, 20, 8))
    monkeypatch.setattr(settling, "WORKLOADS", workloads)
    for name, value in {"LARGE": 100, "SMALL": 10, "SIDE": 4, "TURN": 0.0}.items():
        monkeypatch.setattr(ceilings, name, value)
    module = ModuleType("in_numpy")
    vars(module)["it"] = IN_NUMPY
    monkeypatch.setitem(sys.modules, "in_numpy", module)


def measured(names: Sequence[str], cases: Sequence[str], dtypes: Sequence[str] = ()) -> Run:
    return fastpath.run(
        [Kernel(name) for name in names], fastpath.select(cases), dtypes, 1, 1, None, lambda *_: None
    )


def contenders(run: Run) -> list[list[str]]:
    return [[timed.name for timed in comparison.timed] for comparison in run.comparisons]


def test_an_update_is_timed_beside_attention_and_eager_pytorch() -> None:
    run = measured(["fastpath"], ["update-tiny"])
    assert [c.key for c in run.comparisons] == [
        ("update", "3x40x8", dtype) for dtype in ("float32", "bfloat16", "float16")
    ]
    assert contenders(run) == [["fastpath", "fastpath, Memory", "SDPA", "eager"]] * 3
    asked = [[(r.contender, r.yardstick, r.quantity, r.target) for r in c.relations] for c in run.comparisons]
    assert asked[0] == [
        ("fastpath", "SDPA", "time", 1.5),
        ("fastpath, Memory", "SDPA", "time", 1.5),
        ("eager", "SDPA", "time", None),
    ]
    assert asked[1] == asked[2]
    assert asked[1][:2] == [("fastpath", "SDPA", "speed", 1.0), ("fastpath, Memory", "SDPA", "speed", 1.0)]
    assert run.environment["threads"] == "1"
    (wide,) = measured(["fastpath"], ["update-few"], ["float64"]).comparisons
    assert {r.target for r in wide.relations} == {None}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_contenders_compute_the_same_update(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, Any] = {}

    def capture(contenders: Sequence[Contender], *_: object, **__: object) -> list[Timed]:
        found.update({contender.name: contender.build()() for contender in contenders})
        return []

    monkeypatch.setattr(comparing, "take_turns", capture)
    names = ["fastpath", *(["in_numpy:it"] if dtype == "float32" else [])]
    measured(names, ["update-tiny"], [dtype])
    query, memory, beta = TINY.draw(dtype)
    problem = retrieval_problem(query, memory, beta=beta)
    assert set(found) >= {"fastpath", "fastpath, Memory", "SDPA", "eager"}
    for result in found.values():
        assert_within(torch.as_tensor(result), problem, dtype=dtype)


def test_contenders_are_given_the_same_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, Any] = {}

    def capture(contenders: Sequence[Contender], *_: object, **__: object) -> list[Timed]:
        found.update({contender.name: contender.build()() for contender in contenders})
        return []

    monkeypatch.setattr(comparing, "take_turns", capture)
    run = measured(["fastpath", "in_numpy:it"], ["masked"])
    assert run.notes == ("masked: in_numpy:it does not claim masks",)
    query, memory, beta = TINY.draw("float32")
    assert set(found) == {"fastpath", "SDPA"}
    assert torch.allclose(found["fastpath"], found["SDPA"], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(found["SDPA"], fastpath.sdpa(query, memory, beta=beta), rtol=1e-2)


def test_gradients_are_off_and_threads_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def case(bench: comparing.Bench) -> None:
        seen.append((torch.is_grad_enabled(), torch.get_num_threads()))

    monkeypatch.setitem(fastpath.CASES, "look", case)
    before = torch.get_num_threads()
    fastpath.run([], ["look"], [], before + 1, 1, None, lambda *_: None)
    assert seen == [(False, before + 1)]
    assert torch.get_num_threads() == before


def test_evaluating_is_timed_beside_the_update_alone() -> None:
    many, few = measured(["fastpath"], ["evaluate"]).comparisons
    names = ["fastpath", "fastpath (update)", "fastpath, Memory", "fastpath, Memory (update)"]
    assert contenders(measured(["fastpath"], ["evaluate"])) == [names] * 2
    for comparison, aimed in ((many, [1.05, 1.05]), (few, [None, 1.05])):
        assert [r.target for r in comparison.relations] == aimed
        assert all(r.yardstick == f"{r.contender} (update)" for r in comparison.relations)


def test_settling_is_timed_beside_the_loop() -> None:
    run = measured(["fastpath"], ["settle"])
    sizes = ["3x20x8 beta 1, noise 0.1", "4x20x8 beta 0.5, noise 0.1"]
    assert [c.size for c in run.comparisons if c.kind == "settle"] == sizes
    assert contenders(run) == [["fastpath", "fastpath, Memory", "SDPA loop"]] * 2
    assert run.means == tuple(
        Mean("settle", Relation(name, "SDPA loop", "speed", 3.0)) for name in ("fastpath", "fastpath, Memory")
    )
    workload = settling.WORKLOADS[1]
    query, memory = settling.draw(workload)
    steps = hopspec.settle(query, memory, beta=0.5, eps=settling.EPS, max_steps=settling.MAX_STEPS).steps
    made = {(f.name, f.detail): f.value for f in run.figures}
    assert made["fastpath", sizes[1]] == steps.sum()
    assert made["SDPA loop", sizes[1]] == 4 * settling.sdpa_loop(query, memory, beta=0.5)[1]


def test_hflayers_takes_part_where_it_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "has_hflayers", lambda: False)
    run = measured(["fastpath"], ["hflayers"])
    assert (run.comparisons, run.notes) == ((), ("hflayers: not importable",))
    monkeypatch.setattr(settling, "has_hflayers", lambda: True)
    monkeypatch.setattr(settling, "hflayers_settle", settling.sdpa_loop)
    run = measured(["fastpath"], ["hflayers"])
    assert contenders(run) == [["fastpath", "hflayers"]] * 2
    assert run.comparisons[0].relations == (Relation("fastpath", "hflayers", "speed", 30.0),)


def test_batch_invariance_is_timed_beside_the_usual_update() -> None:
    run = measured(["fastpath"], ["batch-invariant"])
    assert [c.size for c in run.comparisons] == ["3x40x8", "1x50x4"]
    fixed = [f"{name} (batch-invariant)" for name in ("fastpath", "fastpath, Memory")]
    assert contenders(run)[0] == ["fastpath", fixed[0], "fastpath, Memory", fixed[1]]
    assert [r.contender for r in run.comparisons[0].relations] == fixed


def test_what_an_implementation_lacks_is_said_once() -> None:
    run = measured(["in_numpy:it"], ["update", "evaluate", "settle", "batch-invariant"])
    assert contenders(run) == [["in_numpy:it", "SDPA", "eager"]] * 2
    assert run.notes == (
        "update: in_numpy:it does not claim bfloat16",
        "update: in_numpy:it does not claim float16",
        "evaluate: in_numpy:it has no such function",
        "batch-invariant: in_numpy:it takes no batch_invariant",
        "settle: in_numpy:it has no such function",
    )
    assert not Kernel("torch:mm").invariant
    assert Kernel("in_numpy:it").refusal("float32", 1001) == "in_numpy:it is too slow for L * N * d = 1001"
    assert run.means == ()


def test_ceilings_are_rates_and_measured_again_at_the_end() -> None:
    run = measured(["fastpath"], ["ceilings"])
    assert {f.unit for f in run.figures} == {"GB/s", "GFLOP/s", "10^9/s", "us"}
    assert {len(f.values) for f in run.figures} == {1}
    assert {f.detail for f in run.figures} == {"1 thread"}
    both = measured(["fastpath"], ["ceilings", "update-few"], ["float32"])
    assert [f.key for f in both.figures] == [f.key for f in run.figures]
    assert {len(f.values) for f in both.figures} == {2}
    assert [name for _, name, _ in limits.limits(both)] == ["fastpath", "fastpath, Memory", "SDPA"]


def test_ceilings_are_amounts_over_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "take_turns", lambda contenders, *_, **__: [Timed("", 1.0, (0.5, 0.25))])
    found = {f.name: f.values for f in ceilings.measure(1, 2, lambda *_: None)}
    assert found["sum of a large array"] == pytest.approx((800e-9, 1600e-9))
    assert found["copy of a large array"] == pytest.approx((1600e-9, 3200e-9))
    assert found["product of matrices, float32"] == pytest.approx((256e-9, 512e-9))
    assert found["exp"] == pytest.approx((20e-9, 40e-9))
    assert found["operator on one number"] == (500000.0, 250000.0)


def example() -> Run:
    """A machine of round numbers, an update that is not fast enough and one that is."""

    def ceiling(name: str, unit: str, *values: float) -> Figure:
        return Figure(ceilings.CEILING, name, "2 threads", unit, values)

    timed = (
        Timed("fastpath", 1.0, (0.04,) * 3),
        Timed("SDPA", 1.0, (0.05,) * 3),
        Timed("eager", 9.0, (9.0,)),
    )
    asked = (
        Relation("fastpath", "SDPA", "speed", 2.0),
        Relation("fastpath", "SDPA", "time", 1.5),
        Relation("eager", "SDPA", "speed"),
    )
    size = "8x1048576x64"
    settled = (Timed("fastpath", 1.0, (0.2,) * 3), Timed("SDPA loop", 1.0, (0.8,) * 3))
    workload = "2048x4096x64 beta 1, noise 0.8"
    return Run(
        "fastpath",
        {"threads": "2", "processor": "round"},
        (
            Comparison("update", size, "float32", timed, asked),
            Comparison("update", size, "bfloat16", timed[:2], asked[:2]),
            Comparison("update", size, "float64", timed, asked),
            Comparison("settle", workload, "float32", settled, (Relation("fastpath", "SDPA loop", "speed"),)),
        ),
        (Mean("settle", Relation("fastpath", "SDPA loop", "speed", 3.0)),),
        (
            ceiling("sum", "GB/s", 5.0, 10.0),
            ceiling("copy", "GB/s", 9.0, 8.0),
            ceiling("product of matrices, float32", "GFLOP/s", 100.0, 10.0),
            ceiling("product of matrices, bfloat16", "GFLOP/s", 50.0),
            ceiling("exp", "10^9/s", 2.0),
            ceiling("operator on one number", "us", 2.0, 1.0),
            Figure(ceilings.CEILING, "sum", "1 thread", "GB/s", (99.0,)),
            Figure(UPDATES, "fastpath", workload, "queries x steps", (5000.0,)),
            Figure("peak extra memory", "fastpath", "large", "MB", (201.0,), 200.0),
        ),
        ("hflayers: not importable",),
    )


def test_limits_follow_from_the_best_of_the_ceilings() -> None:
    found = {(c.kind, c.precision, name): limit for c, name, limit in limits.limits(example())}
    wide = found["update", "float32", "fastpath"]
    assert wide.reading == pytest.approx(4 * 64 * (2**20 + 16) / 10e9)
    assert wide.products == pytest.approx(4 * 8 * 2**20 * 64 / 100e9)
    assert wide.exponentials == pytest.approx(8 * 2**20 / 2e9)
    assert wide.seconds == pytest.approx(1e-6 + wide.reading)
    assert wide.reason == "reading"
    half = found["update", "bfloat16", "SDPA"]
    assert half.reading == pytest.approx(wide.reading / 2)
    assert half.products == wide.products
    assert half.seconds == pytest.approx(1e-6 + half.products + half.exponentials)
    assert half.reason == "arithmetic"
    settled = found["settle", "float32", "fastpath"]
    assert settled.products == pytest.approx(4 * 5000 * 4096 * 64 / 100e9)
    # The memory fits into a cache; nothing is known of how often the loop updated, or of float64.
    assert settled.reading == 0
    assert set(found) == {
        ("update", "float32", "fastpath"),
        ("update", "float32", "SDPA"),
        ("update", "bfloat16", "fastpath"),
        ("update", "bfloat16", "SDPA"),
        ("settle", "float32", "fastpath"),
    }
    assert limits.Limit(0.0, 0.1, 0.1, 0.3).reason == "the call"


def test_the_tables_say_what_was_met() -> None:
    console = Console(file=StringIO(), width=200)
    print_speeds(example(), console)
    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    lines = [" ".join(line.split()) for line in text.splitlines()]

    def line(*words: str) -> str:
        return next(line for line in lines if all(word in line for word in words))

    assert line("8x1048576x64 float32 fastpath 3", "speed of SDPA").endswith("1.25 [1.25, 1.25] >= 2 not met")
    assert line("fastpath 3", "time of SDPA").endswith("0.80 [0.80, 0.80] <= 1.5 met")
    assert line("eager 1", "speed of SDPA").endswith("0.01 [0.01, 0.01]")
    assert line("settle 1 fastpath").endswith("4.00 [4.00, 4.00] >= 3 met")
    assert line("peak extra memory").endswith("201 MB <= 200 not met")
    assert line("product of matrices, float32").endswith("55 [32.5, 77.5] 100 GFLOP/s")
    assert re.search(r"reading 40 67%$", line("update", "float32", "fastpath", "%"))
    assert lines[-1] == "not measured: hflayers: not importable"


def test_command_measures_writes_and_compares(tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    words = ["bench", "fastpath", "fastpath", "in_numpy:it", "--case", "update", "--case", "ceilings"]
    words += ["--rounds", "2", "--threads", "1", "--dtype", "float32"]
    result = runner.invoke(app, [*words, "--json", str(path)])
    assert result.exit_code == 0, result.output
    for word in ("what the machine can do", "in_numpy:it", "speed of SDPA", "distance from the limit"):
        assert word in result.output
    (run,) = read(path)
    assert (run.benchmark, run.environment["threads"]) == ("fastpath", "1")
    assert [c.size for c in run.comparisons] == ["1x50x4", "3x40x8"]
    assert all(len(t.seconds) == 2 and math.prod(t.seconds) > 0 for c in run.comparisons for t in c.timed)
    assert json.loads(path.read_text(encoding="utf-8"))["runs"][0]["figures"]
    again = runner.invoke(app, [*words, "--compare", str(path)])
    assert again.exit_code == 0, again.output
    assert "now / earlier" in again.output
    assert "other numbers" in again.output


def test_quick_runs_leave_out_what_takes_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def note(kernels: object, cases: list[str], *_: object) -> Run:
        asked.append(cases)
        return Run("fastpath", {}, ())

    monkeypatch.setattr(fastpath, "run", note)
    for words in ([], ["--quick"], ["--quick", "--case", "memory-peak"]):
        assert runner.invoke(app, ["bench", "fastpath", *words]).exit_code == 0
    everything, quick, peaks = asked
    assert everything == list(fastpath.CASES)
    assert set(everything) - set(quick) == {"memory-peak", "hflayers"}
    assert peaks == ["memory-peak"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--case", "upd"], "--case must be one of ceilings"),
        (["--dtype", "int8"], "--dtype must be one of float32, bfloat16, float16, float64, got 'int8'"),
        (["--json", "no/such/folder/times.json"], "--json must be a file in a folder that exists"),
        (["--compare", "no/such/file.json"], "no/such/file.json holds no benchmark results"),
        (["no-such-kernel"], "'no-such-kernel' is neither a built-in"),
        (["--threads", "0"], "--threads"),
        (["--rounds", "0"], "--rounds"),
    ],
)
def test_bad_arguments_are_named(words: list[str], message: str) -> None:
    result = runner.invoke(app, ["bench", "fastpath", *words])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")


@linux
def test_the_peak_of_a_dense_score_matrix_shows() -> None:
    shape = Shape("", 500, 20000, 4)
    found = peak.megabytes("torch-eager", "retrieve", shape, "float32", 1)
    assert found is not None
    # Scores and weights, 40 MB each. Pages are counted in batches, and the allocator keeps some of them.
    assert 75 <= found < 120


@linux
def test_a_failing_process_is_reported() -> None:
    with pytest.raises(ValueError, match=r"memory of no-such-kernel failed: .*'no-such-kernel' is neither"):
        peak.megabytes("no-such-kernel", "retrieve", TINY, "float32", 1)


def test_peaks_are_measured_beside_those_of_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "megabytes", lambda name, quantity, *_: 7.0 if name == "fastpath" else 5.0)
    run = measured(["fastpath"], ["memory-peak"])
    assert [(f.name, f.value, f.limit) for f in run.figures] == [
        ("fastpath retrieve", 7.0, 200.0),
        ("fastpath evaluate", 7.0, 200.0),
        ("torch-sdpa retrieve", 5.0, None),
    ]

    def fail(*_: object) -> float:
        raise ValueError("out of memory")

    monkeypatch.setattr(peak, "megabytes", fail)
    assert measured(["fastpath"], ["memory-peak"]).notes == ("memory-peak: out of memory",)
    monkeypatch.setattr(peak, "megabytes", lambda *_: None)
    assert "does not tell" in measured(["fastpath"], ["memory-peak"]).notes[0]
