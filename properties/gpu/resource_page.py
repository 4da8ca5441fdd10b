"""The page on what the compiled kernels need."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from hopspec.properties.gpu.chips import TARGETS, target_of
from hopspec.properties.gpu.compiling import Resources
from hopspec.properties.gpu.occupancy import occupancy
from hopspec.properties.gpu.requirements import NO_STACK, complaints

__all__ = ["COLUMNS", "page", "row", "toolchain"]

COLUMNS = (
    "kernel",
    "dtype",
    "d",
    "tile",
    "warps",
    "stages",
    "registers",
    "stack B",
    "shared KiB",
    "blocks",
    "occupancy",
    "limited by",
    "tensor",
    "exp2",
)

INTRODUCTION = """\
# What the kernels are compiled to

Written by `hopspec gpu resources --page docs/gpu-resources.md`, which compiles the kernels with the
tiles they are shipped with and reads the machine code. It takes no GPU, and nothing on this page was run on
one. With `--kernel`, `--dtype`, `--width` and `--target` some of them are compiled, and `--also FILE` puts
what earlier runs wrote with `--json` on the page too. What is not listed was not compiled for this page.

- *tile* is the number of queries of a block by the number of memories it takes at a time; *stages*, how many
  of those are being read at once.
- *registers* are those of one thread, *stack* the bytes of one thread that lie in memory because registers do
  not suffice, *shared* the shared memory of one block.
- *blocks* is how many of them a multiprocessor holds at a time and *occupancy* their warps as a share of the
  most it can hold, both computed from the published limits below. It says how much there is to hide waiting
  with, not how fast a kernel is: large tiles read the memory less often and have low occupancy.
- *tensor* and *exp2* count instructions in the machine code: products of matrices in tensor cores, and
  exponentials of base 2 in the special-function units. In float32 products are multiplications and additions
  in float32, never TF32.
"""

LIMITS = """\
## The limits

| target | registers of a multiprocessor | of a thread | warps | blocks | shared KiB | of a block | source |
|---|--:|--:|--:|--:|--:|--:|---|
"""


def page(found: Sequence[Resources], toolchain: str) -> str:
    """The whole page as Markdown, in the order of kernels, dtypes and widths.

    Args:
        found: what each kernel needs.
        toolchain: what compiled them.
    """
    order = list(dict.fromkeys(r.kernel for r in found))
    found = sorted(found, key=lambda r: (order.index(r.kernel), r.dtype, r.width))
    parts = [INTRODUCTION, f"Compiled by {toolchain}.\n", _verdict(found)]
    for name in TARGETS:
        rows = [row(r) for r in found if r.target == name]
        if rows:
            head = ["| " + " | ".join(COLUMNS) + " |", "|---|---|" + "--:|" * (len(COLUMNS) - 2)]
            lines = [*head, *("| " + " | ".join(cells) + " |" for cells in rows)]
            parts.append(f"## {name}\n\n" + "\n".join(lines) + "\n")
    parts.append(LIMITS + "\n".join(map(_limits, sorted({r.target for r in found}, key=list(TARGETS).index))))
    return "\n".join(parts) + "\n"


def row(resources: Resources) -> tuple[str, ...]:
    """One line of the table, in the order of :data:`COLUMNS`."""
    place = (resources.kernel, resources.dtype, str(resources.width))
    cut = (
        f"{resources.queries}x{resources.memories}",
        str(resources.warps),
        str(resources.stages),
    )
    if resources.error:
        return (*place, *cut, *("-",) * 7, resources.error)
    held = occupancy(target_of(resources.target), resources.registers, resources.shared, resources.warps)
    return (
        *place,
        *cut,
        str(resources.registers),
        str(resources.stack),
        f"{resources.shared / 1024:.4g}",
        str(held.blocks),
        f"{held.share:.0%}",
        held.reason,
        str(resources.counts.get("tensor", 0)),
        str(resources.counts.get("exp2", 0)),
    )


def toolchain() -> str:
    """What compiles the kernels here, with its version."""
    try:
        return f"triton {version('triton')}"
    except PackageNotFoundError:
        return "no triton"


def _verdict(found: Sequence[Resources]) -> str:
    widths = ", ".join(f"d = {width} in {dtype}" for dtype, width in NO_STACK.items())
    wrong = {r.name: [c.text for c in complaints(r)] for r in found if complaints(r)}
    lines = [
        f"Required: no stack up to {widths}; no more shared memory than a block can have; tensor cores in "
        "half precision; no TF32 in float32; memories read ahead; nothing fused that must not be.",
        "",
        f"{len(found) - len(wrong)} of {len(found)} kernels meet this." + (" The others:" if wrong else ""),
    ]
    if wrong:
        lines += ["", *(f"- {name}: {', '.join(texts)}" for name, texts in wrong.items())]
    spilling = [r for r in found if r.stack]
    if spilling:
        lines += ["", "All that use the stack, and why:", "", *map(_why, spilling)]
    return "\n".join(lines) + "\n"


def _why(resources: Resources) -> str:
    """How much of the stack a kernel uses, and what kept the assembler from giving it more registers."""
    target = target_of(resources.target)
    more = resources.registers + target.register_unit // target.warp
    now, then = (
        occupancy(target, count, resources.shared, resources.warps).blocks
        for count in (resources.registers, more)
    )
    used = f"{resources.stack} bytes, accessed by {resources.counts.get('spilled', 0)} instructions"
    if more > target.thread_registers:
        reason = f"; a thread can have no more than {target.thread_registers} registers"
    elif then < now:
        reason = (
            f"; the assembler kept to {resources.registers} registers: "
            f"with more of them {then} of its blocks would fit instead of {now}"
        )
    else:
        reason = ""
    return f"- {resources.name}: {used}{reason}"


def _limits(name: str) -> str:
    target = target_of(name)
    numbers = (
        target.registers,
        target.thread_registers,
        target.warps,
        target.blocks,
        target.shared >> 10,
        target.block_shared >> 10,
    )
    return f"| {name} | " + " | ".join(map(str, numbers)) + f" | {target.source} |"
