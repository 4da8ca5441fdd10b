"""Kernels compiled ahead of time: what the machine code says, what is required of it, and its page."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hopspec.properties.gpu.chips import CHIPS, TARGETS, target_of
from hopspec.properties.gpu.compiling import Choice, Resources, resources_of
from hopspec.properties.gpu.occupancy import Occupancy, occupancy
from hopspec.properties.gpu.requirements import complaints
from hopspec.properties.gpu.resource_page import page
from hopspec.properties.gpu.specimen import load_specimens

HALF = Resources(
    "update",
    "float16",
    64,
    64,
    64,
    4,
    2,
    "sm_80",
    True,
    149,
    0,
    16384,
    {"tensor": 48, "exp2": 33, "copies": 9},
)
SINGLE = replace(HALF, dtype="float32", counts={"exp2": 33, "copies": 9})


@pytest.fixture(autouse=True)
def found_by_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process that compiles find the kernels beside this file."""
    folder = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")]))
    # What the interpreter's tests leave behind must not reach the compiler.
    monkeypatch.setenv("TRITON_INTERPRET", "1")


@pytest.fixture(scope="module")
def _triton() -> None:
    pytest.importorskip("triton")


@pytest.mark.usefixtures("_triton")
def test_good_kernels_compile_for_every_target() -> None:
    seen: list[tuple[int, int]] = []
    found = resources_of(Choice(), "gpu_specimens:good", lambda done, total, name: seen.append((done, total)))
    assert seen == [(k, 6) for k in range(1, 7)]
    assert {r.target for r in found} == {*TARGETS}
    assert [str(c) for r in found for c in complaints(r)] == []
    for r in found:
        assert r.registers > 0
        assert r.stack == 0
        assert r.counts["exp2"] > 0
        # AMD's matrix units multiply float32 as it is.
        assert (r.counts["tensor"] > 0) == (r.dtype == "float16" or r.target == "gfx942")


@pytest.mark.usefixtures("_triton")
def test_what_is_wrong_with_a_kernel_is_seen() -> None:
    spills, cuts, waits, breaks = resources_of(Choice(targets=("sm_80",)), "gpu_specimens:bad")
    assert spills.stack > 0
    assert spills.counts["spilled"] > 0
    assert "bytes of stack, none are allowed" in str(complaints(spills)[0])
    assert cuts.counts["tf32"] > 0
    assert [c.text for c in complaints(cuts)] == ["products in TF32"]
    assert [c.text for c in complaints(waits)] == ["memories are not read ahead"]
    assert "input_precision" in breaks.error
    assert complaints(breaks)[0].text.startswith("does not compile")


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(ValueError, match=r"must be package\.module:function"):
        resources_of(Choice(), "no_such_module:specimens")


def test_specimens_are_found_by_path() -> None:
    pytest.importorskip("triton")
    assert [s.dtype for s in load_specimens("gpu_specimens:good")] == ["float16", "float32"]
    with pytest.raises(ValueError, match=r"package\.module:function, but"):
        load_specimens("gpu_specimens:nothing")


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (replace(HALF, stack=8), "8 bytes of stack, none are allowed"),
        (replace(HALF, shared=1 << 18), "262144 bytes of shared memory, a block can have 166912"),
        (replace(HALF, counts={"copies": 1}), "no product in tensor cores"),
        (replace(SINGLE, counts={"tf32": 1, "copies": 1}), "products in TF32"),
        (replace(SINGLE, counts={"exp2": 33}), "memories are not read ahead"),
        (
            replace(SINGLE, counts={"fusible": 2, "copies": 1}),
            "products and sums may be fused that must not be",
        ),
        (replace(HALF, error="no"), "does not compile: no"),
    ],
)
def test_every_requirement_can_fail(changed: Resources, text: str) -> None:
    assert complaints(HALF) == complaints(SINGLE) == []
    assert [c.text for c in complaints(changed)] == [text]


def test_wide_memories_may_use_the_stack() -> None:
    assert complaints(replace(HALF, width=256, stack=1032)) == []
    assert complaints(replace(HALF, width=128, stack=1032)) != []
    assert complaints(replace(SINGLE, width=128, stack=8)) == []


@pytest.mark.parametrize(
    ("target", "registers", "shared", "warps", "blocks", "reason"),
    [
        # What NVIDIA's occupancy calculator gives.
        ("sm_80", 32, 0, 8, 8, "warps"),
        ("sm_80", 33, 0, 8, 6, "registers"),
        ("sm_80", 255, 0, 4, 2, "registers"),
        ("sm_80", 16, 0, 1, 32, "blocks"),
        ("sm_80", 32, 163 << 10, 4, 1, "shared memory"),
        ("sm_90", 32, 74 << 10, 4, 3, "shared memory"),
        ("sm_90", 256, 0, 4, 0, "registers"),
        ("sm_90", 32, 228 << 10, 4, 0, "shared memory"),
        # What LLVM writes into the assembly of these kernels.
        ("gfx942", 154, 16384, 4, 3, "registers"),
        ("gfx942", 186, 32768, 4, 2, "registers"),
    ],
)
def test_occupancy(target: str, registers: int, shared: int, warps: int, blocks: int, reason: str) -> None:
    found = occupancy(target_of(target), registers, shared, warps)
    assert found == Occupancy(blocks, blocks * warps, blocks * warps / TARGETS[target].warps, reason)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="warps at least 1"):
        occupancy(TARGETS["sm_80"], 32, 0, 0)
    with pytest.raises(ValueError, match="target must be one of"):
        target_of("sm_70")
    with pytest.raises(ValueError, match="dtype must be"):
        CHIPS["A100"].products("float64")


def test_the_page_shows_figures_and_what_is_wrong() -> None:
    right = page([HALF, SINGLE], "triton 0")
    assert "| update | float16 | 64 | 64x64 | 4 | 2 | 149 | 0 | 16 | 3 | 19% | registers | 48 | 33 |" in right
    assert "2 of 2 kernels meet this." in right
    wide = replace(HALF, width=256, stack=1032, counts={"tensor": 1, "spilled": 9})
    wrong = page([replace(HALF, stack=824), wide, replace(HALF, error="why")], "triton 0")
    assert "1 of 3 kernels meet this. The others:" in wrong
    assert (
        "- update float16 d=64 (64x64, 4 warps, 2 stages) on sm_80: 824 bytes, accessed by 0 instructions"
        in wrong
    )
    assert "1032 bytes, accessed by 9 instructions" in wrong
    assert "does not compile: why" in wrong
    full = page([replace(HALF, registers=255, stack=8)], "triton 0")
    assert "8 bytes, accessed by 0 instructions; a thread can have no more than 255 registers" in full
    kept = page([replace(HALF, registers=128, stack=8)], "triton 0")
    assert "128 registers: with more of them 3 of its blocks would fit instead of 4" in kept
