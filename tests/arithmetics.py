"""Cases for implementations in this process, without a run around them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from hopspec.formats import Format
from hopspec.properties.calls import Answer, Call, Description
from hopspec.properties.checks import CHECKS
from hopspec.properties.families import drawn
from hopspec.properties.judgement import Case
from hopspec.properties.likeness import Claim, Fit, claim_of
from hopspec.properties.models import models_of
from hopspec.properties.problem import Problem, round_to
from hopspec.properties.simulated import Simulation
from hopspec.properties.witnesses import compare_models
from hopspec.reference import bounds
from hopspec.types import AccuracyModel, Implementation

BY_NAME = {c.name: c for c in CHECKS}
WITNESSES = {"general": "update_within_bound", "telling": "update_within_bound_where_models_differ"}


@cache
def problems(family: str, seed: int, count: int, dtype: str) -> tuple[Problem, ...]:
    """The first problems of a family that are exact in ``dtype``."""
    found: list[Problem] = []
    number = 0
    while len(found) < count:
        problem = drawn(family, seed, number)
        found += [problem] if dtype in problem.formats else []
        number += 1
    return tuple(found)


def case_of(problem: Problem, implementation: Implementation[Any]) -> Case:
    """A case of an implementation on NumPy arrays that claims one dtype."""
    model = implementation.accuracy[0]

    def ask(call: Call) -> Answer:
        given = {k: v for k, v in call.arguments.items() if k in ("query", "memory", "values")}
        result = getattr(implementation, call.quantity)(**given, beta=call.options["beta"])
        return Answer((np.asarray(result),), (model.storage.name,))

    claimed = Description(
        implementation.name, ("retrieve",), implementation.capabilities, implementation.accuracy, {}
    )
    return Case(problem, model.storage.name, claimed, model, ask)


def judged(implementation: Implementation[Any], seed: int = 0, count: int = 12) -> tuple[Claim, set[str]]:
    """What is said of the claim, and the models that are not violated."""
    model = implementation.accuracy[0]
    dtype = model.storage.name
    alive, fits = {m.name for m in models_of(dtype)}, dict[str, Fit]()
    for family, check in WITNESSES.items():
        for problem in problems(family, seed, count, dtype):
            compare_models(BY_NAME[check], case_of(problem, implementation), alive, fits)
    return claim_of(model.name, alive, fits), alive


def ratio_of(problem: Problem, simulation: Simulation, claimed: AccuracyModel) -> float:
    """Error over bound, as far as the error is certain, where the bound is finite; -1 elsewhere."""
    p, exact = problem, problem.solution
    bound = bounds.update_bound(p.query, p.memory, p.beta, exact, claimed, p.values)
    if not (np.isfinite(bound) & (bound > 0)).any():
        return -1.0
    with np.errstate(all="ignore"):
        got = simulation.update(p.query, p.memory, beta=p.beta, values=p.values)
    error, slack = exact.state.error(got)
    ratios = np.maximum(error - slack, 0.0)[bound > 0] / bound[bound > 0]
    return float(ratios.max())


def _moved(problem: Problem, rng: np.random.Generator, fmt: Format) -> Problem:
    """A problem near another: an entry changed by a little or a lot, a memory more or less, another beta."""
    query, memory, beta = problem.query.copy(), problem.memory.copy(), problem.beta
    for _ in range(int(rng.integers(1, 4))):
        kind = int(rng.integers(0, 7))
        array = query if rng.random() < 0.4 else memory
        at = tuple(int(rng.integers(0, size)) for size in array.shape)
        if kind == 0:
            array[at] *= 1 + 2.0 ** -float(rng.integers(1, fmt.precision + 1)) * rng.choice([-1, 1])
        elif kind == 1:
            array[at] = rng.standard_normal() * 2.0 ** float(rng.integers(-3, 4))
        elif kind == 2:
            array[at] = rng.choice([0.0, 1.0, -1.0, array.flat[0]])
        elif kind == 3:
            beta *= float(1 + rng.standard_normal() * rng.choice([1e-6, 1e-2, 0.5]))
        elif kind == 4 and len(memory) > 1:
            memory = np.delete(memory, int(rng.integers(0, len(memory))), axis=0)
        elif kind == 5 and len(memory) < 12:
            memory = np.concatenate((memory, memory[rng.integers(0, len(memory), 1)]))
        elif kind == 6:
            memory += rng.choice([0.0, 1.0, -4.0]) * (rng.random() < 0.5)
    query, memory = round_to(query, fmt), round_to(memory, fmt)
    return problem.but(query=query, memory=memory, beta=float(np.float32(beta)))


def climb(claimed: AccuracyModel, arithmetic: AccuracyModel, seed: int, steps: int) -> tuple[float, Problem]:
    """The largest error over bound that a search by small changes finds, and where.

    Args:
        claimed: whose bound it is.
        arithmetic: what is computed.
        seed: of the start, of the changes and of the errors of exponentials.
        steps: number of changes tried.
    """
    rng = np.random.default_rng((seed, 1))
    of, fmt = Simulation(arithmetic, seed), claimed.storage
    problem = problems("general", seed, 1, fmt.name)[0]
    problem = problem.but(query=problem.query[:1], memory=problem.memory[:8, :4], keep=None, values=None)
    problem = problem.but(query=problem.query[:, :4])
    best = ratio_of(problem, of, claimed)
    for _ in range(steps):
        other = _moved(problem, rng, fmt)
        found = ratio_of(other, of, claimed)
        if found >= best:
            best, problem = found, other
    return best, problem
