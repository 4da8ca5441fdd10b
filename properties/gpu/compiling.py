"""Compiles kernels ahead of time and reads what they need from the machine code.

``python -m hopspec.properties.gpu.compiling`` does it in a process of its own, since a process in which
Triton interprets kernels cannot compile them: see :func:`resources_of`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hopspec.properties.gpu.chips import TARGETS, Target, target_of
from hopspec.properties.gpu.specimen import SPECIMENS, Specimen, load_specimens

__all__ = ["Choice", "Resources", "compile_one", "read_resources", "resources_of"]

_REGISTERS = re.compile(r"REG:(\d+) STACK:(\d+) .*?LOCAL:(\d+)")
# What is counted in the machine code, by the name it has in tables.
_CUDA = {
    "tensor": re.compile(r"\b(?:HMMA|HGMMA)\.[\w.]*"),
    "tf32": re.compile(r"\b(?:HMMA|HGMMA)\.[\w.]*TF32[\w.]*"),
    "exp2": re.compile(r"\bMUFU\.EX2\b"),
    "copies": re.compile(r"\b(?:LDGSTS|UTMALDG|UBLKCP)\b"),
    "spilled": re.compile(r"\b(?:STL|LDL)\b"),
}
# Without a rounding of its own, the assembler may make one operation of a product and a sum.
_FUSIBLE = re.compile(r"\b(?:mul|add|sub)(?:\.ftz)?\.f32\b")
_HIP = {
    "tensor": re.compile(r"\bv_mfma_\w+"),
    "tf32": re.compile(r"\bv_mfma_\w*xf32\w*"),
    "exp2": re.compile(r"\bv_exp_f32"),
    "copies": re.compile(r"\b(?:buffer|global)_load_dwordx4\b"),
    "spilled": re.compile(r"\bscratch_(?:load|store)_\w+"),
}


@dataclass(frozen=True)
class Choice:
    """Which specimens are compiled; an empty tuple stands for all kernels, dtypes or widths.

    Args:
        kernels: their names.
        dtypes: of queries and memories.
        widths: numbers of a memory.
        targets: keys of :data:`hopspec.properties.gpu.chips.TARGETS`, by default all; there are none for an
            empty tuple.
    """

    kernels: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    widths: tuple[int, ...] = ()
    targets: tuple[str, ...] = tuple(TARGETS)

    def takes(self, specimen: Specimen) -> bool:
        """Whether a specimen is among them."""
        asked = (
            (self.kernels, specimen.kernel),
            (self.dtypes, specimen.dtype),
            (self.widths, specimen.width),
        )
        return all(not wanted or found in wanted for wanted, found in asked)


@dataclass(frozen=True)
class Resources:
    """What a compiled kernel needs.

    Args:
        kernel: its name.
        dtype: of queries and memories.
        width: numbers of a memory, d.
        queries: of a block.
        memories: that a block takes at a time.
        warps: of a block.
        stages: how many steps ahead memories are read.
        target: what it was compiled for.
        multiplies: whether it multiplies matrices.
        registers: of one thread.
        stack: bytes of one thread that lie in memory because registers do not suffice, or for lack of another
            place.
        shared: bytes of shared memory of one block.
        counts: how often instructions occur in the machine code: ``tensor`` for products of matrices in
            tensor cores, ``tf32`` for those among them that cut their factors, ``exp2``, ``copies`` for
            copies to shared memory that go on while the kernel computes (on AMD for loads of 16 bytes),
            ``spilled`` for accesses to the stack, and ``fusible``, where fusing products and sums was ruled
            out, for operations that may be fused all the same.
        error: why it could not be compiled; empty otherwise.
    """

    kernel: str
    dtype: str
    width: int
    queries: int
    memories: int
    warps: int
    stages: int
    target: str
    multiplies: bool = True
    registers: int = 0
    stack: int = 0
    shared: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    error: str = ""

    @property
    def name(self) -> str:
        """All that tells it from others, in one line."""
        tile = f"{self.queries}x{self.memories}, {self.warps} warps, {self.stages} stages"
        return f"{self.kernel} {self.dtype} d={self.width} ({tile}) on {self.target}"


def resources_of(
    choice: Choice,
    specimens: str = SPECIMENS,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
    python: str = sys.executable,
) -> list[Resources]:
    """Compile the specimens chosen, in another process, and return what each needs.

    Compiled kernels stay in Triton's cache, so that the second time takes a moment.

    Args:
        choice: which of them.
        specimens: where they are listed, see :func:`hopspec.properties.gpu.specimen.load_specimens`.
        progress: told how many of how many are done and which was the last.
        python: the interpreter.

    Raises:
        ValueError: if the process fails; with the last line that it wrote.
    """
    words = [python, "-m", __name__, specimens, json.dumps(asdict(choice))]
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    found = []
    with tempfile.TemporaryFile("w+") as complaints:
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=complaints, text=True, env=environment
        ) as child:
            assert child.stdout is not None
            for line in child.stdout:
                done, total, entry = json.loads(line)
                found.append(Resources(**entry))
                progress(done, total, found[-1].name)
        if child.returncode:
            complaints.seek(0)
            reason = (complaints.read().strip().splitlines() or ["it wrote nothing"])[-1]
            raise ValueError(f"the process that compiles kernels failed: {reason}")
    return found


def read_resources(path: Path) -> list[Resources]:
    """What was written to a file.

    Raises:
        ValueError: if it cannot be read or holds something else.
    """
    try:
        return [Resources(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} holds no figures of compiled kernels: {error}") from None


def compile_one(specimen: Specimen, target: Target) -> Resources:
    """Compile a specimen in this process and read what it needs.

    An error of the compiler is part of the answer.
    """
    from triton import compile as compiled  # noqa: PLC0415  (not on every system)
    from triton.backends.compiler import GPUTarget  # noqa: PLC0415
    from triton.compiler import ASTSource  # noqa: PLC0415

    tile = specimen.tile
    place = (specimen.kernel, specimen.dtype, specimen.width)
    cut = (tile.queries, tile.memories, tile.warps, tile.stages)
    known = (*place, *cut, target.name, specimen.multiplies)
    names = specimen.function.arg_names
    aligned = {(names.index(name),): [["tt.divisibility", 16]] for name in specimen.aligned}
    source = ASTSource(
        fn=specimen.function,
        signature=dict(specimen.signature),
        constexprs=dict(specimen.constants),
        attrs=aligned,
    )
    try:
        kernel = compiled(
            source,
            target=GPUTarget(target.backend, target.arch, target.warp),
            options={"num_warps": tile.warps, "num_stages": tile.stages, **specimen.options},
        )
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[-1]
        return Resources(*known, error=f"{type(error).__name__}: {reason}")
    read = _hip if target.backend == "hip" else _cuda
    registers, stack, counts = read(kernel.asm)
    if specimen.options.get("enable_fp_fusion") is False and target.backend == "cuda":
        counts["fusible"] = len(_FUSIBLE.findall(kernel.asm["ptx"]))
    return Resources(*known, registers, stack, int(kernel.metadata.shared), counts)


def _cuda(asm: Any) -> tuple[int, int, dict[str, int]]:
    from triton.backends import nvidia  # noqa: PLC0415

    tool = Path(nvidia.__path__[0]) / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(asm["cubin"])
        file.flush()
        usage = _output([str(tool), "--dump-resource-usage", file.name])
        code = _output([str(tool), "-sass", file.name])
    needs = _REGISTERS.search(usage)
    if needs is None:
        raise ValueError(f"cuobjdump does not say what the kernel needs: {usage!r}")
    registers, stack, local = map(int, needs.groups())
    return registers, stack + local, _count(_CUDA, code)


def _hip(asm: Any) -> tuple[int, int, dict[str, int]]:
    code = str(asm["amdgcn"])
    fields = dict(re.findall(r"^\s*\.(vgpr_count|private_segment_fixed_size):\s*(\d+)", code, re.MULTILINE))
    return int(fields["vgpr_count"]), int(fields["private_segment_fixed_size"]), _count(_HIP, code)


def _count(patterns: dict[str, re.Pattern[str]], code: str) -> dict[str, int]:
    return dict(Counter({name: len(pattern.findall(code)) for name, pattern in patterns.items()}))


def _output(words: Sequence[str]) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def _main(path: str, asked: str) -> None:
    fields = json.loads(asked)
    choice = Choice(**{name: tuple(value) for name, value in fields.items()})
    chosen = [s for s in load_specimens(path) if choice.takes(s)]
    work = [(specimen, target_of(name)) for specimen in chosen for name in choice.targets]
    for done, (specimen, target) in enumerate(work, start=1):
        entry = asdict(compile_one(specimen, target))
        print(json.dumps([done, len(work), entry]), flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
