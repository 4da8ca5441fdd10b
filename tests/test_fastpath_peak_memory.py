"""What the fast path allocates beside its inputs and result, each case in a fresh process.

A dense score matrix of these sizes takes 1 GiB (float32), 2 GiB as an additive mask in float64.
"""

import os
import subprocess
import sys

import pytest

pytest.importorskip("resource", reason="peak memory is read from getrusage")

PRELUDE = """
import resource, torch
from hopspec.fastpath import energy, evaluate, retrieve, settle
def peak():
    scale = 1024 if __import__("sys").platform != "darwin" else 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**20
torch.manual_seed(0)
s = torch.randn(300, 16)
for f in (retrieve, energy):
    f(s, s, beta=1.0), f(s * 1e20, s * 1e20, beta=1.0), f(s.double() * 1e200, s.double(), beta=1e-200)
n, d = 16384, 16
query, memory = torch.randn(n, d), torch.randn(n, d)
"""
MEASURE = """
before = peak()
result = {call}
print(peak() - before)
"""
CASES = {
    "two-dimensional inputs": ("", "settle(query, memory, beta=0.5, max_steps=1)"),
    "values of another width": (
        "values = torch.randn(n, 40)",
        "retrieve(query, memory, beta=0.5, values=values)",
    ),
    "mask per memory": (
        "keep = torch.rand(n) > 0.3; memory[~keep] = float('nan')",
        "retrieve(query, memory, beta=0.5, keep=keep)",
    ),
    "mask per query": (
        "keep = torch.ones(n, n, dtype=torch.bool); keep[:, ::3] = False; keep[::2, 1] = False",
        "energy(query, memory, beta=0.5, keep=keep)",
    ),
    "all three of an evaluation": (
        "values = torch.randn(n, 40); keep = torch.ones(n, n, dtype=torch.bool); keep[:, ::3] = False",
        "evaluate(query, memory, beta=0.5, values=values, keep=keep)",
    ),
    "memory shared by a batch": (
        "query = query.reshape(64, 256, d); keep = torch.rand(64, 1, n) > 0.3",
        "(retrieve(query, memory, beta=0.5), retrieve(query, memory, beta=0.5, keep=keep))",
    ),
    "beta per head": (
        "query = query.reshape(8, 2048, d); beta = torch.linspace(0.1, 1.0, 8)",
        "retrieve(query, memory, beta=beta)",
    ),
    "scores beyond float32": (
        "query = query[:1500] * 1e20; memory = memory * 1e20",
        "retrieve(query, memory, beta=0.5e-40)",
    ),
    "scores beyond float64": (
        "query = query[:300].double() * 1e200; memory = memory.double() * 1e200",
        "energy(query, memory, beta=0.5e-300)",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_no_score_matrix_is_held(name: str) -> None:
    setup, call = CASES[name]
    program = f"{PRELUDE}\n{setup}\n{MEASURE.format(call=call)}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    extra = float(done.stdout)
    assert extra < 200, f"{extra:.0f} MiB beside inputs and result"
