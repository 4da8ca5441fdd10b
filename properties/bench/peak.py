"""How much memory a call takes beside its arguments, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from hopspec.properties.bench.kernels import Kernel, Shape

__all__ = ["measure", "megabytes"]

# What getrusage reports of a new process includes the peak of the process that started it; this does not.
_STATUS = Path("/proc/self/status")
_PROGRAM = "import sys; from hopspec.properties.bench.peak import measure; measure(*sys.argv[1:])"


def megabytes(name: str, quantity: str, shape: Shape, dtype: str, threads: int) -> float | None:
    """Peak of the resident memory during one call above what it was before, in units of 10^6 bytes.

    The result counts, the arguments do not. None where the system does not tell (it takes Linux).

    Args:
        name: the implementation, see :class:`hopspec.properties.bench.kernels.Kernel`.
        quantity: ``"retrieve"`` or another of its callables.
        shape: the problem.
        dtype: of the problem.
        threads: threads of the call.

    Raises:
        ValueError: if the process fails; with the last line it wrote.
    """
    if not _STATUS.exists():
        return None
    sizes = [str(x) for x in (shape.queries, shape.memories, shape.width)]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, name, quantity, *sizes, dtype, str(threads)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
        raise ValueError(f"the process measuring the memory of {name} failed: {reason}")
    return float(done.stdout.splitlines()[-1])


def measure(
    name: str, quantity: str, queries: str, memories: str, width: str, dtype: str, threads: str
) -> None:
    """Print what :func:`megabytes` returns, of this process."""
    torch.set_num_threads(int(threads))
    kernel = Kernel(name)
    call = getattr(kernel.implementation, quantity)
    # Missing on systems on which nothing is measured.
    import resource  # noqa: PLC0415

    with torch.no_grad():
        # What is loaded and allocated once is not the call's.
        query, memory, beta = Shape("", 300, 600, int(width)).draw(dtype)
        call(kernel.given(query), kernel.given(memory), beta=beta)
        query, memory, beta = Shape("", int(queries), int(memories), int(width)).draw(dtype)
        given = kernel.given(query), kernel.given(memory)
        before = _field(_STATUS, "VmRSS")
        # A call that holds all scores must not take the memory of everything else that runs here.
        most = 1024 * (_field(_STATUS, "VmSize") + _field(Path("/proc/meminfo"), "MemAvailable") // 2)
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        result = call(*given, beta=beta)
        print((_field(_STATUS, "VmHWM") - before) * 1024 / 1e6)
        del result


def _field(path: Path, name: str) -> int:
    """A number of kibibytes that the system tells."""
    lines = path.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
