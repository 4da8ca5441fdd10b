"""How much larger the proved bounds are than the errors actually made, per accuracy model and size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from hopspec.formats import Format
from hopspec.properties.bench.record import Figure, Run, environment
from hopspec.properties.calls import Call
from hopspec.properties.models import MODELS
from hopspec.properties.problem import Array, Problem, round_to
from hopspec.properties.reporting.terminal import Progress
from hopspec.properties.session import Session
from hopspec.properties.simulated import Simulation
from hopspec.properties.strategies import GRAINS, KINDS, SPREADS, memory_of, query_of, temperature
from hopspec.reference import bounds
from hopspec.types import AccuracyModel

__all__ = ["KIND", "REAL", "mixed_problems", "rounded_down", "run", "tightness", "without_chance"]

KIND = "bound over error"
# Implementations whose own claims are measured too, besides the exact arithmetic of every model.
REAL = ("torch-tree", "torch-eager", "torch-sdpa", "fastpath")
# The model of which it is shown how much of the ratio is due to errors that cancel by chance.
CANCELLING = "tree-float32"
WIDTH, QUERIES = 16, 2
CHOSEN_SPREADS = ("flat", "mixed", "sharp")


def mixed_problems(memories: int, seed: int = 0) -> Iterator[Problem]:
    """Problems of every kind of memory with nearly equal, mixed and concentrated weights.

    Args:
        memories: N.
        seed: of the draws.
    """
    for k, kind in enumerate(KINDS):
        for s, spread in enumerate(CHOSEN_SPREADS):
            rng = np.random.default_rng((seed, memories, k, s))
            memory = round_to(memory_of(kind, memories, WIDTH, rng), GRAINS["narrow"])
            query = round_to(query_of(kind, QUERIES, memory, rng), GRAINS["narrow"])
            beta = temperature(query, memory, SPREADS[spread], rng)
            yield Problem(query, memory, beta, regimes=(kind, spread))


def rounded_down(memories: int, fmt: Format) -> Problem:
    """A problem on which sums in pairs err as far as they can.

    All weights are equal. The first memory is 1, and memory 2**k, which is added to it after k additions of
    pairs, is a little less than what changes it.

    Args:
        memories: N.
        fmt: the format sums are rounded to.
    """
    memory = np.zeros((memories, 1))
    memory[0] = 1.0
    unit = fmt.unit_roundoff
    memory[2 ** np.arange((memories - 1).bit_length())] = unit * (1 - unit)
    return Problem(np.zeros((1, 1)), memory, 1.0, regimes=("rounded down",))


def tightness(problem: Problem, state: Array, model: AccuracyModel) -> list[float]:
    """Largest bound of each query over its largest error, or half an ulp of the result if larger.

    Args:
        problem: what was asked.
        state: what was computed.
        model: the arithmetic claimed.
    """
    error, _ = problem.solution.state.error(state)
    return _ratios(problem, error, model)


def without_chance(problem: Problem, model: AccuracyModel) -> list[float]:
    """:func:`tightness`, were the errors of all weights as large as they are and none made up for another.

    The error of a weight moves component j of the result by its size times ``v_ij - o_j``; here the absolute
    values of these are added up, and to them the error that the result has.

    Args:
        problem: what is asked.
        model: the arithmetic, with its sums in one piece.
    """
    p, exact, simulation = problem, problem.solution.state.hi, Simulation(model)
    state = simulation.update(p.query, p.memory, beta=p.beta)
    computed, logits = simulation.logits(p.query, p.memory, p.beta), p.beta * (p.memory @ p.query.T)
    weights = simulation.exp(simulation.narrow(computed - computed.max(axis=0)))
    right = np.exp(logits - logits.max(axis=0))
    # What all weights have in common, the quotient does not show.
    wrong = np.abs(weights / weights.sum(axis=0) - right / right.sum(axis=0))
    moved = np.einsum("nl,nlj->lj", wrong, np.abs(p.memory[:, None] - exact))
    return _ratios(p, moved + np.abs(state - exact), model)


def _ratios(problem: Problem, error: Array, model: AccuracyModel) -> list[float]:
    p = problem
    bound = bounds.update_bound(p.query, p.memory, p.beta, p.solution, model)
    least = model.storage.unit_roundoff / 2 * np.abs(p.solution.state.hi).max(axis=1)
    floor = np.maximum(error.max(axis=1), least)
    judged = np.isfinite(bound).all(axis=1) & (floor > 0)
    return [float(ratio) for ratio in bound.max(axis=1)[judged] / floor[judged]]


def run(sizes: Sequence[int], models: Sequence[str], progress: Progress) -> Run:
    """Measure every model, on an implementation that computes exactly its arithmetic, and real ones.

    Args:
        sizes: numbers of memories.
        models: names of built-in models, or of implementations in :data:`REAL`.
        progress: told about every problem.
    """
    subjects = [(name, MODELS[name], Simulation(MODELS[name]).update) for name in models if name in MODELS]
    for name in (n for n in models if n in REAL):
        session = Session(name)
        known = {m.storage.name: m for m in session.describe().accuracy}
        for dtype in session.describe().capabilities.dtypes:
            model = known.get(dtype, MODELS[f"any-{dtype}"])
            subjects.append((f"{name} {dtype}", model, partial(_ask, session, dtype)))
    figures = []
    for n in sizes:
        found: dict[str, list[float]] = {name: [] for name, _, _ in subjects}
        total = len(KINDS) * len(CHOSEN_SPREADS)
        for done, problem in enumerate(mixed_problems(n)):
            for name, model, update in subjects:
                if model.storage.name in problem.formats:
                    state = update(problem.query, problem.memory, beta=problem.beta)
                    found[name] += tightness(problem, state, model)
            if CANCELLING in found:
                ratios = without_chance(problem, MODELS[CANCELLING])
                found.setdefault(f"{CANCELLING}, without chance", []).extend(ratios)
            progress(f"{n} memories", done + 1, total)
        if CANCELLING in found:
            model = MODELS[CANCELLING]
            worst = rounded_down(n, model.accumulation)
            state = Simulation(model).update(worst.query, worst.memory, beta=worst.beta)
            found[f"{CANCELLING}, rounded down"] = tightness(worst, state, model)
        figures += [Figure(KIND, name, str(n), "times", tuple(r)) for name, r in found.items() if r]
    return Run("tightness", environment(("torch", "numpy")), (), figures=tuple(figures))


def _ask(session: Session, dtype: str, query: Array, memory: Array, *, beta: float) -> Array:
    answer = session.answer(Call("retrieve", dtype, {"query": query, "memory": memory}, {"beta": beta}))
    if answer.error:
        raise ValueError(f"{session.implementation.name} raised {answer.error}: {answer.message}")
    return np.asarray(answer.arrays[0], dtype=np.float64)
