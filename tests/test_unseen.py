"""Faults on no list, in kernels written by somebody else: a sample each time, all of them with --unseen."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hopspec.properties.runner import Options, verify

# The kernels import each other, and targets are found, by the name they have from the root.
sys.path.append(str(Path(__file__).resolve().parent.parent))
catalogue: Any = importlib.import_module("tests.unseen.catalogue")
verdicts: Any = importlib.import_module("tests.unseen.verdicts")

# Of each class one: sizes, sequences of calls, special cases.
SAMPLE = (
    "flash.query_tail_shifted",
    "flash.keys_beyond_65535",
    "flash.query_rows_beyond_1024",
    "flash.same_array_is_self_attention",
    "flash.beta_integer",
    "flash.log2e_in_half",
    "scratch.result_is_the_scratch",
    "scratch.logits_not_cleared",
    "lanes.wraps_at_4096",
    "lanes.late_start",
    "half.sum_stops_at_2048",
    "half.rows_in_sixteens",
    "plain.kept_counted_in_int16",
    "plain.blocks_end_at_empty",
    "plain.mask_in_words",
    "heads.heads_by_modulo",
    "heads.slices_beyond_8",
)
KNOWN: dict[str, str] = {**verdicts.SAME, **verdicts.OPEN}
ALL = [f"{kernel}.{fault}" for kernel, fault in catalogue.PLANTED]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Kernels of others warn of what they do to huge numbers."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("kernel", [*catalogue.KERNELS])
def test_right_kernel_passes(kernel: str, request: pytest.FixtureRequest) -> None:
    examples = None if request.config.getoption("--unseen") else 4
    options = Options(
        (catalogue.target(kernel),), profile="quick", examples=examples, in_process=True, shrink=False
    )
    report = verify(options)
    assert [(c.check, c.dtype, c.failure) for c in report.broken] == []
    assert report.exit_status == 0


@pytest.mark.parametrize("name", ALL)
def test_fault_is_found(name: str, request: pytest.FixtureRequest) -> None:
    if name not in SAMPLE and not request.config.getoption("--unseen"):
        pytest.skip("not in the sample; --unseen runs every fault")
    if name in KNOWN:
        pytest.skip(KNOWN[name])
    kernel, _, fault = name.partition(".")
    # A sample is of faults that a quick run finds.
    profile = "default" if request.config.getoption("--unseen") else "quick"
    options = Options((catalogue.target(kernel, fault),), profile=profile, in_process=True, first=True)
    report = verify(options)
    assert report.stopped_at is not None


def test_there_is_a_verdict_on_planted_faults_only() -> None:
    assert {*SAMPLE, *KNOWN} <= {*ALL}
    assert not {*SAMPLE} & {*KNOWN}
    assert not {*verdicts.SAME} & {*verdicts.OPEN}


@pytest.mark.parametrize("kernel", [*catalogue.KERNELS])
def test_every_fault_is_in_the_code(kernel: str) -> None:
    source = (Path(__file__).parent / "unseen" / f"{kernel}.py").read_text(encoding="utf-8")
    assert [name for name in catalogue.KERNELS[kernel].faults if source.count(f'"{name}"') < 2] == []
