"""Predictions from published peaks: the formulas, the page, the steps they are told."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from dataclasses import replace
from pathlib import Path

import pytest

import hopspec
from hopspec.properties import gpu
from hopspec.properties.bench import settling
from hopspec.properties.gpu import roofline_page
from hopspec.properties.gpu.chips import CHIPS
from hopspec.properties.gpu.roofline import Work, balance, predict, shared_bytes, update

A100, H100 = CHIPS["A100"], CHIPS["H100"]
FULL = Work("float16", moved=2039e9, operations=312e12, exponentials=A100.exponentials, blocks=108)


def test_peaks_are_those_of_the_published_clocks() -> None:
    assert A100.clock == pytest.approx(1.41e9, rel=1e-3)
    assert H100.clock == pytest.approx(1.98e9, rel=2e-3)
    # 1024 multiply-adds of half precision a clock and multiprocessor.
    assert A100.tensor == pytest.approx(2 * 1024 * 108 * A100.clock, rel=2e-3)
    assert A100.exponentials == pytest.approx(16 * 108 * 1.41e9, rel=1e-3)
    assert H100.products("float32") == 67e12


def test_a_chip_takes_a_second_for_what_it_does_in_one() -> None:
    found = predict(FULL, A100)
    assert (found.moving, found.products, found.exponentials) == pytest.approx((1, 1, 1))
    assert (found.floor, found.serial) == pytest.approx((1, 3))


@pytest.mark.parametrize(
    ("field", "limit"), [("moved", "memory"), ("operations", "products"), ("exponentials", "exponentials")]
)
def test_the_busiest_unit_is_the_limit(field: str, limit: str) -> None:
    found = predict(replace(FULL, **{field: 2 * getattr(FULL, field)}), A100)
    assert found.limit == limit
    assert found.floor == pytest.approx(2.0)


@pytest.mark.parametrize(("blocks", "times"), [(1, 108), (54, 2), (108, 1), (109, 216 / 109), (1080, 1)])
def test_idle_multiprocessors_cost_time(blocks: int, times: float) -> None:
    found = predict(replace(FULL, blocks=blocks), A100)
    assert found.products == pytest.approx(times)
    assert found.moving == pytest.approx(1)


def test_tiles_are_computed_whole() -> None:
    exact, tiled = update("float16", 1, 100, 64), update("float16", 1, 100, 64, rows=16, columns=64)
    assert tiled.operations == exact.operations * 16 * 128 / 100
    assert tiled.exponentials == 16 * 128
    assert tiled.moved == exact.moved
    assert update("float16", 17, 100, 64, rows=16, columns=64).blocks == 2


def test_parts_add_blocks_and_what_has_to_be_merged() -> None:
    one, four = (update("float32", 8, 4096, 64, rows=16, columns=32, parts=parts) for parts in (1, 4))
    assert (one.blocks, four.blocks) == (1, 4)
    assert four.operations == one.operations
    assert four.moved - one.moved == 2 * 4 * 4 * 8 * 66


def test_a_larger_tile_reads_shared_memory_less_often() -> None:
    for dtype, target in (("float32", "sm_80"), ("bfloat16", "sm_80"), ("bfloat16", "sm_90")):
        small, large = (shared_bytes(dtype, 64, rows, 64, 4, target) for rows in (64, 128))
        assert large < small
    # Four warps together, where there are queries for all.
    assert shared_bytes("float16", 64, 64, 64, 4, "sm_90") == 4.0
    assert shared_bytes("float16", 64, 32, 64, 4, "sm_90") == 16.0


def test_limits_meet_where_the_page_says() -> None:
    for chip in CHIPS.values():
        found = balance("float16", 64, chip)
        long = 1 << 30
        at = update("float16", round(found.queries_products), long, 64)
        assert at.operations / chip.tensor == pytest.approx(at.moved / chip.bandwidth, rel=0.01)
        at = update("float16", round(found.queries_exponentials), long, 64)
        assert at.exponentials / chip.exponentials == pytest.approx(at.moved / chip.bandwidth, rel=0.01)
        wide = 4 * found.width / chip.tensor
        assert wide == pytest.approx(1 / chip.exponentials)


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(gpu.__path__)])
def test_examples_run(name: str) -> None:
    # The probing kernels take on a form, interpreted or compiled, when they are imported.
    if name != "probe_kernels":
        assert doctest.testmod(importlib.import_module(f"{gpu.__name__}.{name}")).failed == 0


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="sizes must be at least 1, got 0"):
        update("float16", 0, 1, 1)


def test_the_page_says_that_nothing_was_measured() -> None:
    page = roofline_page.page()
    assert "Everything on this page is predicted" in page
    for case in roofline_page.CASES:
        for dtype in roofline_page.DTYPES:
            assert page.count(f"| {case.name} ({case.size}) | {dtype} |") == len(CHIPS)


def test_the_page_and_its_plot_are_the_committed_ones(tmp_path: Path) -> None:
    docs = Path(__file__).parent.parent / "docs"
    assert (docs / "gpu-roofline.md").read_text(encoding="utf-8") == roofline_page.page()
    roofline_page.plot(tmp_path / "plot.svg")
    for path in (tmp_path / "plot.svg", docs / "gpu-roofline.svg"):
        text = path.read_text(encoding="utf-8")
        assert all(chip.name in text for chip in CHIPS.values())


def test_the_steps_of_settling_are_those_of_its_workload() -> None:
    case = next(case for case in roofline_page.CASES if case.steps)
    workload = next(w for w in settling.WORKLOADS if case.name == f"settle, {w.name}")
    assert case.size == workload.size
    query, memory = settling.draw(workload)
    found = hopspec.settle(
        query, memory, beta=workload.beta, eps=settling.EPS, max_steps=settling.MAX_STEPS
    ).steps.double()
    _, own, loop = case.steps[0]
    assert found.max().item() == loop
    for rows, steps in own.items():
        # A step more or less for a query at the threshold is rounding, which differs between machines.
        assert found.view(-1, rows).amax(1).mean().item() == pytest.approx(steps, abs=0.05)
