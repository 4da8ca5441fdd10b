"""What the energy's properties allow beside the bounds: as much as float64 needs, and no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hopspec.properties.calls import Answer, Call, Description
from hopspec.properties.checks import energy
from hopspec.properties.judgement import Case, Judgement, within
from hopspec.properties.models import MODELS
from hopspec.properties.problem import Array, Problem
from hopspec.types import Capabilities

Judge = Callable[[Case], Judgement | None]
JUDGES: tuple[Judge, ...] = (
    energy.energy_in_range,
    energy.three_point_identity,
    energy.update_decreases_energy,
    energy.reported_energy_decreases,
    energy.gradient_is_state_minus_update,
)


def rounded(problem: Problem, moved: float = 0.0) -> Case:
    """A case of an implementation that rounds exact results; its updates are moved by ``moved``."""

    def ask(call: Call) -> Answer:
        solution = problem.but(query=call.arguments["query"]).solution
        assert solution.energy is not None
        result = solution.state.hi + moved if call.quantity == "retrieve" else solution.energy.hi
        return Answer((result,), ("float64",))

    description = Description("rounded", ("retrieve", "energy"), Capabilities(dtypes=("float64",)), (), {})
    return Case(problem, "float64", description, MODELS["wide-float64"], ask)


def drawn(seed: int, n: int = 5, d: int = 3, beta: float = 0.75) -> Problem:
    rng = np.random.default_rng(seed)
    return Problem(rng.standard_normal((4, d)), rng.standard_normal((n, d)), beta, seed=seed)


def nothing(case: Case, problem: Problem | None = None) -> Array:
    """A bound of 0."""
    return np.zeros((problem or case.problem).query.shape[0])


def half_an_ulp(case: Case) -> Array:
    """What rounding an energy changes."""
    return 2.0**-53 * case.value("energy")


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("beta", [2.0**-60, 2.0**-10, 0.75, 40.0])
@pytest.mark.parametrize("d", [1, 3, 40])
def test_float64_is_never_blamed_on_the_implementation(
    judge: Judge, beta: float, d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where there is one memory, energies lie on the border of their range, and are rounded.
    bound = half_an_ulp if judge is energy.energy_in_range else nothing
    monkeypatch.setattr(energy, "energy_bound", bound)
    for seed in range(3):
        for n in (1, 2, 24):
            judged = judge(rounded(drawn(seed, n, d, beta)))
            assert judged is not None
            assert judged.holds, judged
            assert judged.bound >= 0


@pytest.mark.parametrize("judge", JUDGES)
def test_allowances_are_energies(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    # Twice as long patterns at a quarter of beta have the same weights and four times the energies.
    def share(case: Case, problem: Problem | None = None) -> Array:
        return np.asarray(2.0**-20 * np.square((problem or case.problem).query).sum(axis=1))

    def root(case: Case, problem: Problem | None = None) -> Array:
        return np.sqrt(share(case, problem))[:, None]

    said: list[Array] = []

    def note(what: str, actual: Array, expected: Array, bound: Array) -> Judgement | None:
        said.append(bound)
        return within(what, actual, expected, bound)

    monkeypatch.setattr(energy, "energy_bound", share)
    monkeypatch.setattr(energy, "update_bound", root)
    monkeypatch.setattr(energy, "within", note)
    small = drawn(7)
    scale = 2.0**20
    large = small.but(query=scale * small.query, memory=scale * small.memory, beta=small.beta / scale**2)
    judge(rounded(small, 2.0**-10))
    judge(rounded(large, scale * 2.0**-10))
    few, many = said
    np.testing.assert_allclose(many, scale**2 * few, rtol=2.0**-45)


def test_an_update_that_climbs_by_less_than_an_ulp_of_the_energy_is_accused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Next to a fixed point far from the origin, so that the energies are small and the states are not.
    memory = np.array([[1000.0, 1000.0], [-1000.0, 1000.0]])
    problem = Problem(memory[:1], memory, 1.0)
    monkeypatch.setattr(energy, "update_bound", lambda case: np.zeros((1, 2)))
    for moved, holds in ((0.0, True), (1e-5, False)):
        judged = energy.update_decreases_energy(rounded(problem, moved))
        assert judged is not None
        assert judged.holds == holds, judged


def off_by(case: Case, error: float) -> Case:
    """The same with energies that are too large at the case's own queries and too small elsewhere."""
    exact, own = case.ask, case.problem.query

    def ask(call: Call) -> Answer:
        (values,) = exact(call).arrays
        sign = 1 if np.array_equal(call.arguments["query"], own) else -1
        return Answer((values + sign * error,), ("float64",))

    return replace(case, ask=ask)


@pytest.mark.parametrize("judge", [energy.three_point_identity, energy.gradient_is_state_minus_update])
def test_an_energy_that_is_off_by_more_than_its_bound_is_accused(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With one memory the energy is half a square, and the gradient says all there is to say.
    problem = drawn(3, n=1)
    bound = 2.0**-30
    monkeypatch.setattr(energy, "energy_bound", lambda case, p=None: np.full(4, bound))
    for part, holds in ((0.99, True), (1.01, False)):
        judged = judge(off_by(rounded(problem), part * bound))
        assert judged is not None
        assert judged.holds == holds, judged


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize(("part", "holds"), [(0.99, True), (1.01, False)])
def test_an_energy_outside_its_range_is_accused(
    end: int, part: float, holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With one memory on the same or the opposite side, the energy is the least or the largest there can be.
    problem = Problem(np.array([[3.0, 4.0]]), np.array([[-6.0, -8.0] if end else [6.0, 8.0]]), 0.75)
    bound = 2.0**-10
    monkeypatch.setattr(energy, "energy_bound", lambda case: np.full(1, bound))
    assert rounded(problem).value("energy").tolist() == [112.5 if end else 12.5]
    judged = energy.energy_in_range(off_by(rounded(problem), (part if end else -part) * bound))
    assert judged is not None
    assert judged.holds == holds, judged
