"""Energies along trajectories, for the figures of a report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from hopspec import reference
from hopspec.properties.calls import Broken
from hopspec.properties.families import drawn
from hopspec.properties.judgement import Case
from hopspec.properties.problem import Problem
from hopspec.properties.results import Descent
from hopspec.properties.subject import Subject

__all__ = ["FAMILY", "descents_of"]

FAMILY = "settle"
STEPS = 12
# A query that has arrived after fewer updates shows nothing.
LEAST_STEPS = 4
LOOKED_AT = 200


def descents_of(subject: Subject, seed: int, count: int) -> list[Descent]:
    """Follow the energy of one query in each of ``count`` problems, in every dtype.

    Args:
        subject: the implementation; its own single update is iterated.
        seed: seed of the problems.
        count: how many problems.
    """
    found: list[Descent] = []
    if subject.shapes:
        # None of these problems has one of its shapes.
        return found
    for problem, exact in _worth_seeing(seed, count):
        for dtype in subject.dtypes:
            if dtype in problem.formats and not subject.stopped:
                with suppress(Broken):
                    found.append(_followed(subject, dtype, problem, exact))
    return found


def _worth_seeing(seed: int, count: int) -> Iterator[tuple[Problem, tuple[float, ...]]]:
    """Problems every dtype can be given, whose energy still falls after some updates."""
    for number in range(LOOKED_AT):
        if count == 0:
            return
        p = drawn(FAMILY, seed, number)
        # Every format holds the narrowest grain, so that all dtypes are seen on the same problem.
        if len(p.formats) < 4:
            continue
        p = p.but(query=p.query[:1])
        states = np.array(reference.trajectory(p.query, p.memory, beta=p.beta, steps=STEPS))[:, 0]
        exact = _energies(p, states)
        fall = exact[0] - exact[-1]
        if fall > 0 and exact[LEAST_STEPS] - exact[-1] > 2.0**-12 * fall:
            count -= 1
            yield p, exact


def _energies(p: Problem, states: np.ndarray) -> tuple[float, ...]:
    found = p.but(query=states).solution.energy
    assert found is not None
    return tuple(float(e) for e in found.hi)


def _followed(subject: Subject, dtype: str, p: Problem, exact: tuple[float, ...]) -> Descent:
    case = Case(p, dtype, subject.description, subject.models[dtype], subject.ask)
    states = [p.query]
    while len(states) <= STEPS:
        state = case.value("retrieve", p.but(query=states[-1]))
        if not np.isfinite(state).all():
            break
        states.append(state)
    every = np.concatenate(states)
    told: tuple[float, ...] = ()
    if case.provides("energy"):
        told = tuple(float(e) for e in case.value("energy", p.but(query=every)))
    (n, d), beta = p.memory.shape, p.beta
    regimes = ", ".join(p.regimes[:2])
    label = f"{regimes}: N = {n}, d = {d}, beta = {beta:.3g}"
    return Descent(subject.name, dtype, label, exact, _energies(p, every), told)
