"""What there is to measure on a device, in stages that run in processes of their own.

``python -m hopspec.properties.gpu.stages`` runs one of them: an error of a kernel can spoil all later calls
of a process, and must not spoil the other stages.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hopspec.properties.gpu.extent import FULL, TOY, Extent
from hopspec.properties.reporting.terminal import Progress

__all__ = ["STAGES", "plan", "run_stage"]

Result = dict[str, Any]
Stage = Callable[[str, Extent, str, Progress], Result]


def _environment(device: str, extent: Extent, what: str, progress: Progress) -> Result:
    """What the device is and what is installed."""
    import torch  # noqa: PLC0415

    from hopspec.properties.bench.record import environment  # noqa: PLC0415

    found = {"device": device, "name": platform.machine(), **environment(("torch", "triton", "flash-attn"))}
    if torch.device(device).type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "name": properties.name,
            "target": f"sm_{properties.major}{properties.minor}",
            "multiprocessors": str(properties.multi_processor_count),
            "memory": f"{properties.total_memory / 1e9:.1f} GB",
            "cuda": str(torch.version.cuda),
        }
    return found


def _resources(device: str, extent: Extent, what: str, progress: Progress) -> Result:
    """What the kernels are compiled to for this device."""
    from hopspec.properties.gpu.chips import TARGETS  # noqa: PLC0415
    from hopspec.properties.gpu.compiling import Choice, resources_of  # noqa: PLC0415
    from hopspec.properties.gpu.requirements import complaints  # noqa: PLC0415

    target = _environment(device, extent, what, progress).get("target", "sm_80")
    if target not in TARGETS:
        raise ValueError(f"the limits of {target} are not known; those of {', '.join(TARGETS)} are")
    kernels = () if extent is FULL else ("attend",)
    choice = Choice(kernels, () if extent is FULL else extent.dtypes, extent.widths, (target,))
    found = resources_of(choice, progress=lambda done, total, name: progress("compiled", done, total))
    wrong = [str(complaint) for one in found for complaint in complaints(one)]
    return {"kernels": [asdict(one) for one in found], "complaints": wrong}


def _exponentials(device: str, extent: Extent, what: str, progress: Progress) -> Result:
    """Errors of the exponentials."""
    from hopspec.properties.gpu.exponentials import sweep  # noqa: PLC0415
    from hopspec.properties.gpu.probes import exponentials  # noqa: PLC0415

    found = []
    for name, base, function in exponentials(device):

        def tell(done: int, total: int, name: str = name) -> None:
            progress(name, done, total)

        swept = sweep(name, function, device, base=base, stride=extent.stride, progress=tell)
        found.append(asdict(swept))
    return {"exponentials": found}


def _sums(device: str, extent: Extent, what: str, progress: Progress) -> Result:
    """Order and precision of the sums."""
    from hopspec.properties.gpu import probes  # noqa: PLC0415
    from hopspec.properties.gpu.summation import (  # noqa: PLC0415
        depth,
        precision,
        scale_of,
        terms_at_once,
        tree_of,
    )

    found, notes = [], []

    def look(name: str, dtype: str, dot: Any, terms: int, *, exactly: bool) -> None:
        scale = scale_of(dtype)
        entry: Result = {"name": name, "dtype": dtype, "terms": terms}
        try:
            if exactly:
                known = precision(dot, terms, scale)
                entry |= asdict(known) | {"rounding": known.rounding}
            tree = tree_of(dot, terms, scale)
            entry |= {"additions": depth(tree), "at_once": terms_at_once(tree), "tree": tree}
        except (RuntimeError, ValueError) as error:
            notes.append(f"{name}, {dtype}: {error}")
        found.append(entry)

    for done, dtype in enumerate(extent.dtypes):
        progress("sums", done, len(extent.dtypes))
        terms = extent.terms[dtype]
        for name, dot in probes.products(device, dtype):
            # A product in Triton has at least 16 terms.
            look(name, dtype, dot, max(16, terms), exactly=True)
        for target in ("fastpath", "torch-sdpa"):
            scores = probes.scores(target, device, dtype)
            if scores is not None:
                look(f"{target}, scores", dtype, scores, terms, exactly=False)
            weighted = probes.weighted(target, device, dtype, scale_of(dtype))
            look(f"{target}, weighted memories", dtype, weighted, terms, exactly=False)
    progress("sums", len(extent.dtypes), len(extent.dtypes))
    return {"sums": found, "notes": notes}


def _verify(device: str, extent: Extent, what: str, progress: Progress) -> Result:
    """Verify one implementation in one dtype."""
    target, dtype = what.split()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        words = ["verify", target, "--device", device, "--dtype", dtype, "--profile", extent.profile]
        words += [word for clause in extent.clauses for word in ("--clause", clause)]
        program = "from hopspec.properties.command import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program, *words, "--json", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        if not path.exists():
            raise ValueError(f"hopspec {' '.join(words)} ended with {done.returncode}: {done.stdout.strip()}")
        report = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in report["cells"] if cell["verdict"] != "not claimed"]
    failed = [cell for cell in cells if cell["verdict"] not in ("holds", "observed")]
    return {
        "exit_status": done.returncode,
        "unusable": report["unusable"],
        "cases": sum(cell["cases"] for cell in cells),
        "properties": len(cells),
        "failed": [{k: cell[k] for k in ("clause", "property", "verdict", "failure")} for cell in failed],
        "claims": report["claims"],
    }


def _tune(device: str, extent: Extent, what: str, progress: Progress) -> Result:
    """Find the fastest tile of every kernel, and whether PyTorch's operations are faster."""
    from hopspec.properties.gpu.tuning import tune  # noqa: PLC0415

    return tune(device, extent, progress)


def _bench(device: str, extent: Extent, what: str, progress: Progress) -> Result:
    """Time updates and settling."""
    from hopspec.properties.gpu.timing import bench  # noqa: PLC0415

    return asdict(bench(device, extent, progress))


STAGES: dict[str, Stage] = {
    "environment": _environment,
    "resources": _resources,
    "exponentials": _exponentials,
    "sums": _sums,
    "tune": _tune,
    "verify": _verify,
    "bench": _bench,
}
"""The stages by name, in the order in which they run: what tuning recorded is what is verified and timed."""


def plan(extent: Extent) -> list[tuple[str, str]]:
    """Every stage and what it is about, in order.

    >>> [stage for stage, what in plan(TOY) if stage != "verify"] == [s for s in STAGES if s != "verify"]
    True
    """
    found = []
    for stage in STAGES:
        if stage == "verify":
            found += [(stage, f"{target} {dtype}") for target in extent.verified for dtype in extent.dtypes]
        else:
            found.append((stage, ""))
    return found


def run_stage(stage: str, what: str, device: str, extent: Extent, progress: Progress) -> Result:
    """Run one stage in this process.

    Args:
        stage: a key of :data:`STAGES`.
        what: what it is about, see :func:`plan`.
        device: where.
        extent: how much.
        progress: told how far it is.

    Raises:
        ValueError: if there is no such stage.
    """
    if stage not in STAGES:
        raise ValueError(f"stage must be one of {', '.join(STAGES)}, got {stage!r}")
    return STAGES[stage](device, extent, what, progress)


def _main(name: str, what: str, device: str, size: str, out: str) -> None:
    def tell(stage: str, done: int, total: int) -> None:
        print(json.dumps([stage, done, total]), flush=True)

    found = run_stage(name, what, device, {"full": FULL, "toy": TOY}[size], tell)
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    _main(*sys.argv[1:])
