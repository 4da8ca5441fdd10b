"""What ``hopspec bench oracle`` measures: one update, by the reference and by two libraries."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hopspec import reference
from hopspec.properties.bench.measure import Contender, take_turns
from hopspec.properties.bench.record import Comparison, Relation, Run, environment
from hopspec.properties.reporting.terminal import Progress
from hopspec.reference.integers import BACKEND

__all__ = ["ARB", "EQUAL", "MPMATH", "OURS", "PLAIN", "PREPARED", "ROUNDED", "comparisons", "run"]

EQUAL = "update"
ROUNDED = "rounded once"
OURS, MPMATH, ARB = "hopspec", "mpmath", "arb"
PLAIN, PREPARED = "as given", "prepared"
RELATIONS = (Relation(OURS, MPMATH, "time"), Relation(ARB, MPMATH, "time"))

Size = tuple[int, int]


def run(
    sizes: Sequence[Size], bits: Sequence[int], rounds: int, seconds: float | None, progress: Progress
) -> Run:
    """Measure every size at every precision.

    Args:
        sizes: numbers of memories and dimensions, ``(N, d)``.
        bits: precisions.
        rounds: rounds of every comparison.
        seconds: time after which a comparison stops, see :func:`hopspec.properties.bench.measure.take_turns`.
        progress: told about every round.
    """
    found = []
    for kind, size, precision, contenders in comparisons(sizes, bits):
        stage = f"{kind} {size} {precision}"

        def report(done: int, stage: str = stage) -> None:
            progress(stage, done, rounds)

        # Every contender uses one thread, and time of the processor leaves out what other processes took.
        timed = take_turns(contenders, rounds, seconds=seconds, after_round=report, clock=time.process_time)
        progress(stage, rounds, rounds)
        found.append(Comparison(kind, size, precision, tuple(timed), RELATIONS if kind == EQUAL else ()))
    details = environment(("gmpy2", "mpmath", "python-flint", "numpy"))
    return Run("oracle", {"long integers": BACKEND, **details}, tuple(found))


def comparisons(sizes: Sequence[Size], bits: Sequence[int]) -> list[tuple[str, str, str, list[Contender]]]:
    """Kind, size, precision and contenders of every comparison.

    Inputs are Gaussian float32 numbers, and ``beta = d**-0.5``.
    """
    flint = importlib.util.find_spec("flint") is not None
    found = []
    for n, d in sizes:
        rng = np.random.default_rng((n, d))
        memory = rng.standard_normal((n, d)).astype(np.float32)
        query = rng.standard_normal(d).astype(np.float32)
        beta = float(d) ** -0.5
        for p in bits:
            contenders = [
                Contender(OURS, _bind(_ours, query, memory, beta, p)),
                Contender(MPMATH, _bind(_mpmath, query, memory, beta, p)),
            ]
            if flint:
                contenders.append(Contender(ARB, _bind(_arb, query, memory, beta, p)))
            found.append((EQUAL, f"{n}x{d}", f"{p} bits", contenders))
        rounded = [
            Contender(PLAIN, _bind(_rounded, query, memory, beta, False)),
            Contender(PREPARED, _bind(_rounded, query, memory, beta, True)),
        ]
        found.append((ROUNDED, f"{n}x{d}", "float64", rounded))
    return found


def _bind(build: Callable[..., Callable[[], object]], *arguments: Any) -> Callable[[], Callable[[], object]]:
    return lambda: build(*arguments)


def _ours(query: Any, memory: Any, beta: float, bits: int) -> Callable[[], object]:
    prepared = reference.prepare(memory)
    return lambda: reference.update(query, prepared, beta=beta, to=bits)


def _rounded(query: Any, memory: Any, beta: float, prepared: bool) -> Callable[[], object]:
    given = reference.prepare(memory) if prepared else memory
    return lambda: reference.update(query, given, beta=beta)


def _mpmath(query: Any, memory: Any, beta: float, bits: int) -> Callable[[], object]:
    """The definition, every operation rounded to ``bits`` bits."""
    from mpmath import MPContext  # noqa: PLC0415  (only where it is measured)

    ctx = MPContext()
    ctx.prec = bits
    patterns = [[ctx.mpf(x) for x in row] for row in memory.tolist()]
    columns = list(zip(*patterns, strict=True))
    inverse_temperature = ctx.mpf(beta)

    def update() -> list[Any]:
        xi = [ctx.mpf(x) for x in query.tolist()]
        logits = [inverse_temperature * ctx.fdot(pattern, xi) for pattern in patterns]
        largest = max(logits)
        weights = [ctx.exp(t - largest) for t in logits]
        total = sum(weights[1:], start=weights[0])
        return [ctx.fdot(weights, column) / total for column in columns]

    return update


def _arb(query: Any, memory: Any, beta: float, bits: int) -> Callable[[], object]:
    """The definition in ball arithmetic with ``bits`` bits."""
    from flint import arb, arb_mat, ctx  # noqa: PLC0415  (may be missing)

    patterns = arb_mat(memory.tolist())
    columns = patterns.transpose()

    def update() -> list[Any]:
        before, ctx.prec = ctx.prec, bits
        try:
            logits = (patterns * arb_mat([[x * beta] for x in map(arb, query.tolist())])).entries()
            # Any number close to the largest logit will do, so a float is enough.
            largest = max(map(float, logits))
            weights = [(t - largest).exp() for t in logits]
            total = sum(weights[1:], start=weights[0])
            return [y / total for y in (columns * arb_mat([[w] for w in weights])).entries()]
        finally:
            ctx.prec = before

    return update
