"""The kernels of the fast path as they are shipped: some are compiled, the rest is on the committed page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hopspec.properties.gpu.chips import TARGETS
from hopspec.properties.gpu.compiling import Choice, resources_of
from hopspec.properties.gpu.requirements import complaints
from hopspec.properties.gpu.specimen import SPECIMENS, load_specimens

pytest.importorskip("triton")

PAGE = Path(__file__).parent.parent / "docs" / "gpu-resources.md"


def rows() -> set[tuple[str, ...]]:
    """Target, kernel, dtype, d, tile, warps and stages of every line of the page."""
    found = set()
    target = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            target = line.removeprefix("## ")
        elif re.match(r"\| (?:attend|excess|merge|rescue|resettle|settle)", line):
            cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
            found.add((target, *cells[:6]))
    return found


@pytest.mark.parametrize(
    ("kernel", "dtype", "width", "target"),
    [
        ("attend", "float16", 64, "sm_80"),
        ("attend", "bfloat16", 128, "sm_90"),
        ("settle, few", "float32", 64, "sm_80"),
    ],
)
def test_shipped_kernels_meet_the_requirements(kernel: str, dtype: str, width: int, target: str) -> None:
    (found,) = resources_of(Choice((kernel,), (dtype,), (width,), (target,)))
    assert [str(complaint) for complaint in complaints(found)] == []
    assert found.counts["copies"] > 0
    assert found.counts["fusible"] == 0
    assert (found.counts["tensor"] > 0) == (dtype != "float32")


def test_the_page_is_of_the_kernels_and_tiles_that_are_shipped() -> None:
    shipped = {
        (
            target,
            one.kernel,
            one.dtype,
            str(one.width),
            f"{one.tile.queries}x{one.tile.memories}",
            str(one.tile.warps),
            str(one.tile.stages),
        )
        for one in load_specimens(SPECIMENS)
        for target in TARGETS
    }
    assert rows() == shipped


def test_the_page_names_what_does_not_meet_the_requirements() -> None:
    text = PAGE.read_text(encoding="utf-8")
    section = re.search(r"(\d+) of (\d+) kernels meet this\.(.*?)\n\n(?:All|##)", text, re.DOTALL)
    assert section is not None
    wrong = re.findall(r"^- .*?: (.*)$", section[3], re.MULTILINE)
    assert len(rows()) == int(section[2]) == int(section[1]) + len(wrong)
    # A few bytes, of kernels to which the assembler gives no more registers.
    assert all(re.fullmatch(r"(8|24) bytes of stack, none are allowed", text) for text in wrong)
    assert len(wrong) <= 2
