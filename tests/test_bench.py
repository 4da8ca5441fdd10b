"""The measuring core on a clock of its own, records, and the command on tiny sizes."""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flint import arb
from flint import ctx as arb_context
from rich.console import Console
from typer.testing import CliRunner

from hopspec.properties.bench import command, measure, oracle
from hopspec.properties.bench.measure import Contender, Timed, change, geometric_mean, ratio, take_turns
from hopspec.properties.bench.record import (
    Comparison,
    Figure,
    Mean,
    Relation,
    Run,
    environment,
    read,
    write,
)
from hopspec.properties.bench.table import print_changes
from hopspec.properties.cli import app
from hopspec.reference.integers import BACKEND

# A narrow table folds words that the tests look for.
runner = CliRunner(env={"COLUMNS": "180"})


class Bench:
    """Contenders that take as long as they are told, on a clock that only they move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def clock(self) -> float:
        return self.now

    def contender(self, name: str, build: float, call: float) -> Contender:
        def work() -> None:
            self.now += call
            self.calls.append(name)

        def ready() -> Callable[[], object]:
            self.now += build
            return work

        return Contender(name, ready)


def test_contenders_take_turns() -> None:
    bench = Bench()
    contenders = [bench.contender("a", 10.0, 1.0), bench.contender("b", 20.0, 4.0)]
    rounds: list[int] = []
    timed = take_turns(contenders, 3, after_round=rounds.append, clock=bench.clock)
    assert timed == [Timed("a", 11.0, (1.0,) * 3), Timed("b", 24.0, (4.0,) * 3)]
    assert bench.calls == ["a", "b", *"abbaab"]
    assert rounds == [1, 2, 3]


@pytest.mark.parametrize("count", range(1, 8))
def test_each_contender_follows_each_of_the_others_equally_often(count: int) -> None:
    bench = Bench()
    rounds = count if count % 2 == 0 else 2 * count
    take_turns([bench.contender(str(k), 0.0, 1.0) for k in range(count)], rounds, clock=bench.clock)
    turns = [bench.calls[count * k : count * (k + 1)] for k in range(1, rounds + 1)]
    assert all(len(set(turn)) == count for turn in turns)
    pairs = Counter(pair for turn in turns for pair in pairwise(turn))
    assert len(pairs) == count * (count - 1)
    assert len(set(pairs.values())) <= 1


def test_a_time_limit_leaves_at_least_five_rounds() -> None:
    for call, expected in ((100.0, 5), (1.0, 8), (0.001, 25)):
        bench = Bench()
        (timed,) = take_turns([bench.contender("a", 0.0, call)], 25, seconds=7.5, clock=bench.clock)
        assert len(timed.seconds) == expected


def test_a_turn_consists_of_enough_calls() -> None:
    bench = Bench()
    contenders = [bench.contender("a", 0.0, 3.0), bench.contender("b", 0.0, 1.0)]
    timed = take_turns(contenders, 2, turn=3.5, clock=bench.clock)
    assert [t.seconds for t in timed] == [(3.0, 3.0), (1.0, 1.0)]
    # The quickest is called once more to see how long it takes when warm.
    assert bench.calls == ["a", "b", "b", *"aaaabbbb", *"bbbbaaaa"]


def test_slow_calls_are_turns_of_their_own() -> None:
    bench = Bench()
    take_turns([bench.contender("a", 0.0, 3.5)], 2, turn=3.5, clock=bench.clock)
    assert bench.calls == ["a", "a", "a"]


def test_optional_contenders_take_no_turns_where_they_are_slow() -> None:
    for call, rounds in ((5.0, 1), (4.0, 3)):
        bench = Bench()
        slow = replace(bench.contender("slow", 9.0, call), optional=True)
        timed = take_turns([bench.contender("a", 0.0, 3.0), slow], 3, patience=4.5, clock=bench.clock)
        assert [t.seconds for t in timed] == [(3.0,) * 3, (call,) * rounds]
        assert timed[1].setup == 9.0 + call
    bench = Bench()
    take_turns([bench.contender("a", 0.0, 5.0)], 3, patience=4.5, clock=bench.clock)
    assert len(bench.calls) == 4


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0 and 1"):
        take_turns([Bench().contender("a", 0.0, 1.0)], 0)
    with pytest.raises(ValueError, match="at least 1, got 1 and 0"):
        take_turns([], 1)
    with pytest.raises(ValueError, match="at least 1, got 1 and 0"):
        take_turns([replace(Bench().contender("a", 0.0, 1.0), optional=True)], 1)


def test_ratios_of_paired_rounds_cancel_what_both_suffered() -> None:
    slow = [1.0, 9.0, 2.0, 7.0, 3.0, 5.0, 8.0, 4.0, 6.0]
    fast = [x / 3 for x in slow]
    paired = ratio(slow, fast)
    assert (paired.value, paired.low, paired.high) == pytest.approx((3.0, 3.0, 3.0))
    loose = ratio(slow, fast, paired=False)
    assert loose.value == paired.value
    assert loose.low < 2.5
    assert loose.high > 3.5
    with pytest.raises(ValueError, match="as many times, got 2 and 1"):
        ratio([1.0, 2.0], [1.0])
    assert ratio([1.0, 1.0], [2.0], paired=False).value == 0.5


def test_changes_relative_to_a_yardstick_leave_the_machine_out() -> None:
    rng = np.random.default_rng(1)
    then, old_yardstick = rng.lognormal(0, 0.1, 25), 5 * rng.lognormal(0, 0.1, 25)
    # Three times as slow a machine, and half the work.
    found = change((1.5 * then).tolist(), (3 * old_yardstick).tolist(), then.tolist(), old_yardstick.tolist())
    assert found.value == pytest.approx(0.5)
    assert 0.4 < found.low < found.value < found.high < 0.6


def test_the_interval_covers_the_ratio_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        above, below = 2 * rng.lognormal(0, 0.2, 25), rng.lognormal(0, 0.2, 25)
        found = ratio(above.tolist(), below.tolist())
        covered += found.low <= 2 <= found.high
    # 95 expected; the chance of fewer than 85 is below 0.0001 if the interval is right.
    assert covered >= 85


def test_geometric_means_cover_the_mean_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        pairs = [
            ((factor * rng.lognormal(0, 0.2, 25)).tolist(), rng.lognormal(0, 0.2, 25).tolist())
            for factor in (2, 4, 8)
        ]
        found = geometric_mean(pairs)
        assert found.low < found.value < found.high
        covered += found.low <= 4 <= found.high
    # As above.
    assert covered >= 85
    with pytest.raises(ValueError, match="pairs must be at least 1"):
        geometric_mean([])


def test_targets_are_met_where_the_interval_reaches_them() -> None:
    found = measure.Ratio(1.0, 0.9, 1.1)
    for quantity, limits in (("speed", (1.2, 1.05)), ("time", (0.8, 0.95))):
        relations = [Relation("a", "b", quantity, limit) for limit in limits]  # type: ignore[arg-type]
        assert [relation.met(found) for relation in relations] == [False, True]
    assert Relation("a", "b", "time").met(found)


def example() -> list[Run]:
    timed = (Timed("hopspec", 0.5, (0.001, 0.002)), Timed("mpmath", 0.25, (0.01, 0.03)))
    return [
        Run(
            "oracle",
            environment(["mpmath", "no-such-thing"]),
            (Comparison("update", "8x4", "9 bits", timed, (Relation("hopspec", "mpmath", "time", 0.5),)),),
            (Mean("update", Relation("hopspec", "mpmath", "speed")),),
            (
                Figure("memory", "hopspec", "8x4", "MB", (1.0, 2.0), 3.0),
                Figure("speed", "copy", "", "GB/s", (9.0,)),
            ),
            ("arb",),
        )
    ]


def test_records_survive_the_file(tmp_path: Path) -> None:
    runs, path = example(), tmp_path / "times.json"
    write(runs, path)
    assert read(path) == runs
    assert runs[0].environment["no-such-thing"] == "not installed"
    assert runs[0].comparisons[0].of("arb") is None
    assert runs[0].comparisons[0].pair(Relation("arb", "mpmath", "time")) is None
    assert runs[0].figures[0].value == 1.5


def test_records_without_what_came_later_are_read(tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    write(example(), path)
    content = json.loads(path.read_text(encoding="utf-8"))
    for name in ("means", "figures", "notes"):
        del content["runs"][0][name]
    del content["runs"][0]["comparisons"][0]["relations"]
    path.write_text(json.dumps(content), encoding="utf-8")
    (run,) = read(path)
    assert run.comparisons[0].timed == example()[0].comparisons[0].timed
    assert (run.means, run.figures, run.notes, run.comparisons[0].relations) == ((),) * 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"quantity": "time"', '"quantity": "luck"', "quantity must be speed or time, got 'luck'"),
        ('"values": [9.0]', '"values": [NaN]', "values must be finite numbers"),
        ('"values": [9.0]', '"values": []', "values must be finite numbers"),
    ],
)
def test_records_that_make_no_sense_are_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    write(example(), path)
    text = json.dumps(json.loads(path.read_text(encoding="utf-8")))
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read(path)


def changes(now: Run, earlier: Run) -> str:
    console = Console(file=StringIO(), width=180)
    print_changes([now], [earlier], "processor", console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_changes_are_shown_as_such_and_relative_to_the_yardstick() -> None:
    (now,) = example()
    # Then the machine was twice as slow, and the work took three times as long besides.
    slow = (Timed("hopspec", 1.0, (0.006, 0.012)), Timed("mpmath", 1.0, (0.02, 0.06)))
    figures = (replace(now.figures[0], values=(3.0,)), *now.figures[1:])
    earlier = replace(now, comparisons=(replace(now.comparisons[0], timed=slow),), figures=figures)
    text = changes(now, earlier)
    assert "0.17 [" in text
    assert re.search(r"0\.33 \[.*\] mpmath", text)
    assert "0.50" in next(line for line in text.splitlines() if "memory" in line)
    # A yardstick that was not timed as often is none.
    once = (slow[0], replace(slow[1], seconds=(0.02,)))
    text = changes(now, replace(earlier, comparisons=(replace(now.comparisons[0], timed=once),)))
    assert "0.17 [" in text
    assert "0.33 [" not in text
    assert "nothing was measured both" in changes(now, replace(earlier, environment={"processor": "Z80"}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"runs": [{}]}',
        '{"runs": 3}',
        '{"runs": [{"benchmark": "b", "environment": {}, "comparisons": [{"kind": "k", "size": "s",'
        ' "precision": "p", "timed": [{"name": "n", "setup": 1, "seconds": [-1]}]}]}]}',
    ],
)
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"other\.json holds no benchmark results"):
        read(path)
    result = runner.invoke(app, ["bench", "oracle", "--compare", str(path)])
    assert result.exit_code == 2
    assert "holds no benchmark results" in result.output


def test_contenders_compute_the_same_update() -> None:
    found: dict[str, Any] = {}
    for kind, _, _, contenders in oracle.comparisons([(9, 3)], [120]):
        if kind == oracle.EQUAL:
            found = {contender.name: contender.build()() for contender in contenders}
    assert set(found) == {oracle.OURS, oracle.MPMATH, oracle.ARB}
    arb_context.prec = 1000
    for leaf, rough, ball in zip(*found.values(), strict=True):
        mantissa, exponent = abs(leaf.value).man_exp
        exact = arb(int(mantissa)) * arb(2) ** int(exponent) * (1 if leaf.value > 0 else -1)
        assert ball.overlaps(exact + arb(0, float(leaf.radius) * (1 + 2.0**-50)))
        # mpmath proves nothing, but its errors are far below a float64's last place.
        assert float(rough) == float(leaf.value)


def test_command_measures_writes_and_compares(tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    words = ["bench", "oracle", "--size", "3x2", "--bits", "40", "--rounds", "2", "--backends", BACKEND]
    result = runner.invoke(app, [*words, "--json", str(path)])
    assert result.exit_code == 0, result.output
    assert "python-flint" in result.output
    (record,) = json.loads(path.read_text(encoding="utf-8"))["runs"]
    assert record["environment"]["long integers"] == BACKEND
    names = [[timed["name"] for timed in c["timed"]] for c in record["comparisons"]]
    assert names == [["hopspec", "mpmath", "arb"], ["as given", "prepared"]]
    assert all(len(timed["seconds"]) == 2 for c in record["comparisons"] for timed in c["timed"])
    again = runner.invoke(app, [*words, "--quick", "--compare", str(path)])
    assert again.exit_code == 0, again.output
    assert again.output.count("prepared") >= 4
    assert "relative to" in again.output
    other = runner.invoke(app, [*words[:-2], "--backends", BACKEND, "--bits", "41", "--compare", str(path)])
    assert "now / earlier" in other.output


def test_the_other_process_does_without_gmpy2() -> None:
    (run,) = command.read_child([(2, 1)], [30], 1, quick=True)
    assert run.environment["long integers"] == "python"
    assert [c.size for c in run.comparisons] == ["2x1", "2x1"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "8"], "--size must be memories x dimensions, such as 256x64, got '8'"),
        (["--size", "0x3"], "got '0x3'"),
        (["--json", "no/such/folder/times.json"], "--json must be a file in a folder that exists"),
        (["--backends", "flint"], "--backends must be gmpy2, python or both, got 'flint'"),
    ],
)
def test_bad_options_are_named(words: list[str], message: str) -> None:
    result = runner.invoke(app, ["bench", "oracle", *words])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
