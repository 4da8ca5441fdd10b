"""Everything there is to do on a GPU, done on a CPU: stages, what is kept, tuning, the report."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import hopspec
from hopspec.fastpath.triton import launch, rule, tuning
from hopspec.fastpath.triton.tiles import Tile, tile_of
from hopspec.properties.cli import app
from hopspec.properties.gpu import command, running, timing
from hopspec.properties.gpu.chips import CHIPS
from hopspec.properties.gpu.extent import FULL, TOY, Extent
from hopspec.properties.gpu.report import report
from hopspec.properties.gpu.running import Done, run_all
from hopspec.properties.gpu.stages import STAGES, plan, run_stage
from hopspec.properties.gpu.tuning import tune
from hopspec.properties.reporting.terminal import Progress

pytest.importorskip("triton")

runner = CliRunner(env={"COLUMNS": "200"})


def silent(stage: str, done: int, total: int) -> None:
    """No progress is shown."""


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every stage was rehearsed, by the command itself but in this process."""
    folder = tmp_path_factory.mktemp("gpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "_run", in_this_process)
        result = runner.invoke(app, ["gpu", "--rehearse", "--folder", str(folder)])
    assert result.exit_code == 0, result.output
    return folder


def in_this_process(
    stage: str, what: str, device: str, extent: Extent, path: Path, mark: str, progress: Progress
) -> Done:
    """As the child process of a stage does it, without importing everything anew for each."""
    result = json.loads(json.dumps(run_stage(stage, what, device, extent, progress)))
    done = Done(stage, what, mark, 1.0, "", result)
    path.write_text(json.dumps(asdict(done)), encoding="utf-8")
    return done


def test_without_a_gpu_one_line_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "_gpu", lambda device: "")
    result = runner.invoke(app, ["gpu", "--folder", str(tmp_path / "none")])
    assert result.exit_code == 0
    assert result.output.startswith("no GPU that PyTorch can use: nothing to measure")
    assert len(result.output.splitlines()) == 1
    assert not (tmp_path / "none").exists()


def test_wrong_stages_are_refused() -> None:
    result = runner.invoke(app, ["gpu", "--only", "nothing"])
    assert result.exit_code == 2
    assert "stage must be one of environment" in result.output
    with pytest.raises(ValueError, match="stage must be one of"):
        run_stage("nothing", "", "cpu", TOY, silent)


def test_every_stage_is_rehearsed_and_reported(rehearsal: Path) -> None:
    done = [Done(**entry) for entry in json.loads((rehearsal / "report.json").read_text(encoding="utf-8"))]
    assert [(one.stage, one.what) for one in done] == plan(TOY)
    assert [one.reason for one in done] == [""] * len(done)
    found = {one.stage: one.result for one in done}
    assert {one["name"] for one in found["exponentials"]["exponentials"]} == {
        "torch.exp",
        "torch.exp2",
        "tl.exp",
        "tl.exp2",
    }
    assert all(one["error"] < 4 and one["one"] for one in found["exponentials"]["exponentials"])
    assert {one["name"] for one in found["sums"]["sums"]} >= {"torch.mm", "tl.dot", "fastpath, scores"}
    assert found["sums"]["notes"] == []
    assert found["verify"]["failed"] == []
    assert found["verify"]["cases"] >= 10
    assert found["resources"]["kernels"]
    assert [c["kind"] for c in found["bench"]["comparisons"]] == ["update"] * 2 + ["settle"] * 3
    text = (rehearsal / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# A rehearsal")
    for title in ("Machine", "Verdicts", "Exponentials", "Sums", "Tiles", "Times", "What the kernels are"):
        assert f"## {title}" in text


def test_what_is_done_is_kept_and_what_failed_is_not(
    rehearsal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in rehearsal.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    started: list[str] = []

    def start(stage: str, what: str, *rest: Any) -> Done:
        started.append(stage)
        return Done(stage, what, running.fingerprint("cpu", "CPU"), 1.0, "no such luck", {})

    monkeypatch.setattr(running, "_run", start)
    every = [stage for stage, _ in plan(TOY)]
    found = run_all("cpu", "CPU", TOY, tmp_path, silent)
    assert (started, [one.stage for one in found]) == ([], every)
    found = run_all("cpu", "CPU", TOY, tmp_path, silent, again=["bench"])
    assert started == ["bench"]
    assert [one.reason for one in found if one.stage == "bench"] == ["no such luck"]
    # A result that failed is no result, one of another device neither, nor one cut short.
    started.clear()
    entry = json.loads((tmp_path / "sums.json").read_text(encoding="utf-8"))
    (tmp_path / "sums.json").write_text(json.dumps(entry | {"reason": "it failed"}), encoding="utf-8")
    (tmp_path / "tune.json").write_text('{"stage": "tu', encoding="utf-8")
    run_all("cpu", "CPU", TOY, tmp_path, silent)
    assert started == ["sums", "tune"]
    started.clear()
    run_all("cpu", "another", TOY, tmp_path, silent, only=["sums"])
    assert started == ["sums"]


def test_a_stage_that_fails_does_not_lose_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "plan", lambda extent: [("no-such-stage", ""), ("environment", "")])
    found = run_all("cpu", "CPU", TOY, tmp_path, silent)
    assert [bool(one.reason) for one in found] == [True, False]
    assert "stage must be one of" in found[0].reason
    text = report(found)
    assert "**Failed:**\n\n- no-such-stage: ValueError: stage must be one of" in text
    assert "## Machine" in text


class FakeChoices:
    """Tiles by name, each with a time of its own."""

    def __init__(self, milliseconds: dict[str | None, float]) -> None:
        self.milliseconds, self.now = milliseconds, 0.0
        self.current: str | None = None
        self.recorded: list[dict[str, Any]] = []

    def kind_of(self, device: str, kernel: str, dtype: str, queries: int, width: int) -> Any:
        """Few and many queries of a kernel are one kind."""
        return kernel, dtype, width

    def tiles_of(self, kernel: str, dtype: str, width: int) -> tuple[str, ...]:
        """Every name."""
        return tuple(name for name in self.milliseconds if name is not None)

    @contextmanager
    def served_by(self, tile: str | None, device: str) -> Iterator[None]:
        """Let the clock go on by what the tile takes."""
        if self.milliseconds[tile] < 0:
            raise RuntimeError("out of shared memory")
        yield
        self.now += 1e-3 * self.milliseconds[tile]

    def entry_of(
        self, kind: Any, tile: str, triton_ms: float, torch_ms: float | None, recorded: str
    ) -> dict[str, Any]:
        """All of it."""
        return {"kind": kind, "tile": tile, "triton_ms": triton_ms, "torch_ms": torch_ms}

    def record(self, entries: list[dict[str, Any]]) -> None:
        """Keep them."""
        self.recorded += entries

    def clock(self) -> float:
        """The time."""
        return self.now


def test_the_fastest_tile_is_recorded() -> None:
    choices = FakeChoices({None: 5.0, "shipped": 3.0, "best": 2.0, "too large": -1.0, "worst": 9.0})
    found = tune("cpu", replace(TOY, tiles=9), silent, choices, choices.clock)
    assert [(e["tile"], e["kind"][0]) for e in found["entries"]] == [("best", "attend"), ("best", "settle")]
    for entry in found["entries"]:
        assert (entry["triton_ms"], entry["torch_ms"]) == pytest.approx((2.0, 5.0))
    assert found["times"][0]["ms"] == pytest.approx({"shipped": 3.0, "best": 2.0, "worst": 9.0, "torch": 5.0})
    assert found["notes"] == [f"{one['work']}: too large: out of shared memory" for one in found["times"]]
    assert choices.recorded == []


def test_only_a_full_run_records(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(TOY, stride=1)
    monkeypatch.setattr("hopspec.properties.gpu.tuning.FULL", small)
    choices = FakeChoices({None: 1.0, "only": -1.0})
    assert tune("cpu", small, silent, choices, choices.clock)["notes"][-1].endswith("no tile could be timed")
    choices = FakeChoices({None: -1.0, "only": 2.0})
    found = tune("cpu", small, silent, choices, choices.clock)
    assert choices.recorded == found["entries"]
    assert [entry["torch_ms"] for entry in found["entries"]] == [None, None]


def test_contenders_that_cannot_be_called_are_left_out() -> None:
    def broken() -> object:
        raise RuntimeError("no kernel\nfor this")

    notes: list[str] = []
    calls: dict[str, Callable[[], object]] = {"broken": broken, "right": lambda: None}
    assert [c.name for c in timing.usable(calls, notes.append)] == ["right"]
    assert notes == ["broken: no kernel"]


def test_the_clock_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    times = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(times)))
    assert [timing.clock_of("cuda:1")() for _ in range(2)] == [0.0, 1.0]
    assert waited == ["cuda:1", "cuda:1"]
    timing.clock_of("cpu")()
    assert len(waited) == 2


def test_the_report_says_what_is_broken() -> None:
    mark = "f" * 16
    swept = {
        "name": "exp2",
        "base": 2,
        "points": 1000,
        "stride": 1,
        "error": 7.5,
        "worst": -0.5,
        "comparison": 0.0,
        "flushed": 1e-39,
        "one": False,
        "monotone": True,
    }
    cell = {"clause": "MHN-BND-2", "property": "p", "verdict": "broken", "failure": {"what": "too far"}}
    verdict = {"exit_status": 1, "unusable": {}, "cases": 9, "properties": 2, "failed": [cell], "claims": {}}
    comparison = {
        "kind": "update",
        "size": "2048x16384x64",
        "precision": "float16",
        "timed": [{"name": "a", "setup": 1, "seconds": [62e-6]}, {"name": "b", "setup": 1, "seconds": [1.0]}],
        "relations": [{"contender": "a", "yardstick": "b", "quantity": "speed", "target": None}],
    }
    found = [
        Done("environment", "", mark, 1, "", {"name": f"NVIDIA {CHIPS['A100'].name}"}),
        Done("verify", "fastpath float16", mark, 1, "", verdict),
        Done("exponentials", "", mark, 1, "", {"exponentials": [swept]}),
        Done("bench", "", mark, 1, "", {"comparisons": [comparison], "notes": ["eager: no"]}),
    ]
    text = report(found)
    assert "| fastpath | float16 | **broken** | 2 | 9 |" in text
    assert "- fastpath float16: MHN-BND-2, p: broken too far" in text
    assert "**exp2 errs by more than the models allow** or flushes more: 7.5 u" in text
    assert "| exp2 | 1,000 | 7.5 | -0.5 | 1e-39 | **no** | yes |" in text
    # 4 * 2048 * 16384 * 64 operations take 27.5 us of an A100's 312 Tflop/s.
    assert "| update | 2048x16384x64 | float16 | a | 0.062 | b |" in text
    assert "| 44% |" in text
    assert "- eager: no" in text


def test_choices_are_recorded_and_followed(tmp_path: Path) -> None:
    kind = rule.kind_of("a GPU", "attend", "bfloat16", 2048, 64)
    other = kind._replace(kernel="settle")
    path = tmp_path / "winners.json"
    tiles = tuning.tiles_of("attend", "bfloat16", 60)
    assert tiles[0] == tile_of("attend", "bfloat16", 64)
    assert len({*tiles}) == len(tiles) > 5
    assert {tile.block for tile in tiles} == {64}
    tuning.record([tuning.entry_of(kind, tiles[1], 1.0, 2.0, "today")], path)
    assert (rule.winner_of(kind, path), rule.tile_in(kind, path)) == ("triton", tiles[1])
    tuning.record([tuning.entry_of(kind, tiles[2], 1.0, 0.5, "later")], path)
    tuning.record([tuning.entry_of(other, tiles[0], 1.0, None, "later")], path)
    assert (rule.winner_of(kind, path), rule.tile_in(kind, path)) == ("torch", tiles[2])
    assert (rule.winner_of(other, path), rule.tile_in(other, path)) == ("triton", tiles[0])
    with rule.decided("triton"):
        assert rule.winner_of(kind, path) == "triton"
    unknown = kind._replace(device="another")
    assert (rule.winner_of(unknown, path), rule.tile_in(unknown, path)) == ("triton", None)


def test_a_call_is_served_with_the_tile_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[object] = []
    start = launch.Engine.start

    def watched(self: launch.Engine, name: str, grid: Any, tile: Tile, *rest: Any, **constants: Any) -> None:
        used.append((name, tile))
        start(self, name, grid, tile, *rest, **constants)

    monkeypatch.setattr(launch.Engine, "start", watched)
    query, memory = torch.eye(3, 16), torch.eye(5, 16)
    tile = Tile(16, 32, 8, 1)
    with tuning.served_by(tile, "cpu"):
        ours = hopspec.retrieve(query, memory, beta=2.0)
    assert ("attend_kernel", tile) in used
    used.clear()
    with tuning.served_by(None, "cpu"):
        theirs = hopspec.retrieve(query, memory, beta=2.0)
    assert used == []
    torch.testing.assert_close(ours, theirs)


def test_a_gpu_has_all_to_do() -> None:
    stages = [stage for stage, _ in plan(FULL)]
    assert list(dict.fromkeys(stages)) == list(STAGES)
    assert stages.count("verify") == len(FULL.verified) * len(FULL.dtypes)
    assert FULL.stride == 1
