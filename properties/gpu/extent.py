"""How much is measured: all of it on a GPU, or next to nothing in a rehearsal."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FULL", "TOY", "Extent"]

# Queries, memories, numbers of a memory.
Size = tuple[int, int, int]


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Args:
        stride: every so many float32 numbers are tried as arguments of exponentials; 1 for all.
        terms: of a sum whose order is found out, by dtype.
        verified: implementations to verify.
        profile: of the verification.
        clauses: to verify; empty for all.
        updates: problems of which an update is timed and tuned, by name.
        settled: queries, memories and d of the workloads that are settled.
        dtypes: of all these.
        rounds: of every comparison.
        turn: seconds of a turn of the quickest contender, at the least.
        tiles: the most tiles that take part in tuning.
        widths: for which kernels are tuned and compiled.
    """

    stride: int
    terms: dict[str, int]
    verified: tuple[str, ...]
    profile: str
    clauses: tuple[str, ...]
    updates: dict[str, Size]
    settled: Size
    dtypes: tuple[str, ...]
    rounds: int
    turn: float
    tiles: int
    widths: tuple[int, ...]


FULL = Extent(
    stride=1,
    terms={"float32": 128, "bfloat16": 128, "float16": 32},
    verified=("triton", "fastpath-cuda", "torch-sdpa", "torch-eager"),
    profile="default",
    clauses=(),
    updates={
        "many": (2048, 16384, 64),
        "one": (1, 262144, 64),
        "few": (8, 262144, 64),
        "wide": (2048, 16384, 128),
        "widest": (2048, 16384, 256),
    },
    settled=(2048, 4096, 64),
    dtypes=("float32", "bfloat16", "float16"),
    rounds=25,
    turn=0.01,
    tiles=16,
    widths=(64, 128, 256),
)

TOY = Extent(
    stride=40009,
    terms={"float32": 8, "bfloat16": 8, "float16": 8},
    verified=("torch-eager",),
    profile="quick",
    clauses=("MHN-LAW-1",),
    updates={"tiny": (5, 40, 16), "one": (1, 40, 16)},
    settled=(4, 24, 16),
    dtypes=("float32",),
    rounds=1,
    turn=0.0,
    tiles=2,
    widths=(64,),
)
"""A rehearsal: every stage runs, on whatever there is, and its figures mean nothing."""
