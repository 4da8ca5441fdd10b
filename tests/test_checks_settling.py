"""Where the properties of settling draw the line between right and wrong answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from hopspec.properties.calls import Answer, Call, Description
from hopspec.properties.checks import settling
from hopspec.properties.checks.common import lipschitz
from hopspec.properties.checks.trajectory import Chain, chain
from hopspec.properties.judgement import Case
from hopspec.properties.models import MODELS
from hopspec.properties.problem import Array, Problem
from hopspec.reference.bounds import update_bound_on_ball
from hopspec.types import Capabilities, Status

CONVERGED, MAX_STEPS, NONFINITE, STALLED = (
    float(s) for s in (Status.CONVERGED, Status.MAX_STEPS, Status.NONFINITE, Status.STALLED)
)
DTYPES = ("float32", "float32", "float32", "int64", "int64")
# A state takes a few steps to get to its fixed point, and the first of them are long.
NEAR = Problem(
    np.array([[0.5, 0.25], [-0.25, 0.75]]),
    np.array([[8.0, 0.0], [0.0, 8.0], [-8.0, 0.0]]),
    0.0625,
    eps=0.2,
    max_steps=100,
)
MASKED = NEAR.but(keep=np.array([True, True, False]))


@dataclass
class Ends:
    """How a settling ended, a number for each query."""

    state: Array
    residual: Array
    steps: Array
    status: Array


def once(problem: Problem) -> Array:
    """The exact update, rounded to float32."""
    return problem.solution.state.hi.astype(np.float32).astype(np.float64)


def settled(problem: Problem, limit: int) -> Ends:
    """A right settling by rounded exact updates."""
    count = problem.query.shape[0]
    ends = Ends(problem.query.copy(), np.zeros(count), np.zeros(count), np.full(count, MAX_STEPS))
    for row in range(count):
        state, residual = problem.query[row : row + 1], np.inf
        while residual > problem.eps and ends.steps[row] < limit:
            new = once(problem.but(query=state))
            residual, state = float(np.linalg.norm(new - state)), new
            ends.steps[row] += 1
        ends.state[row], ends.residual[row] = state[0], residual
        ends.status[row] = CONVERGED if residual <= problem.eps else MAX_STEPS
    return ends


def several(problem: Problem, steps: int) -> Array:
    """So many of them."""
    state = problem.query
    for _ in range(steps):
        state = once(problem.but(query=state))
    return state.copy()


def case_of(
    problem: Problem,
    edit: Callable[[Ends, Call], Any] | None = None,
    *,
    alone: bool = False,
    moved: float = 0.0,
) -> Case:
    """A case of a right implementation whose settling is edited.

    Args:
        problem: what is asked.
        edit: changes how a settling ended.
        alone: whether it has no update.
        moved: what is added to the first number of several updates.
    """

    def ask(call: Call) -> Answer:
        asked = problem.but(query=call.arguments["query"], eps=float(call.options.get("eps", 0.0)))
        if call.quantity == "retrieve":
            state = several(asked, call.options.get("steps", 1))
            if "values" in call.arguments:
                assert (call.arguments["values"] == 2 * problem.memory).all()
                state = 2 * state
            if "steps" in call.options:
                state[0, 0] += moved
            return Answer((state,), ("float32",))
        ends = settled(asked, call.options["max_steps"])
        if edit is not None:
            edit(ends, call)
        energy = np.zeros(len(ends.steps))
        return Answer((ends.state, energy, ends.residual, ends.steps, ends.status), DTYPES)

    quantities = ("settle",) if alone else ("retrieve", "settle")
    description = Description("scripted", quantities, Capabilities(dtypes=("float32",)), (), {})
    return Case(problem, "float32", description, MODELS["wide-float32"], ask)


@pytest.mark.parametrize(
    ("status", "steps", "residual", "holds"),
    [
        (CONVERGED, 5, 0.0, True),
        (CONVERGED, 32, 0.0, True),
        (CONVERGED, 5, 0.5, False),
        (CONVERGED, 33, 0.0, False),
        (STALLED, 5, 0.5, True),
        (STALLED, 32, 0.5, True),
        (STALLED, 5, 0.0, False),
        (STALLED, 33, 0.5, False),
        (MAX_STEPS, 32, 0.5, True),
        (MAX_STEPS, 31, 0.5, False),
        (MAX_STEPS, 33, 0.5, False),
        (MAX_STEPS, 32, 0.0, False),
        (NONFINITE, 3, 0.5, False),
    ],
)
def test_an_end_without_eps_has_to_fit(status: float, steps: int, residual: float, holds: bool) -> None:
    def edit(ends: Ends, call: Call) -> None:
        if call.options["max_steps"] == 32:
            ends.status[:], ends.steps[:], ends.residual[:] = status, steps, residual

    judged = settling.settling_ends(case_of(NEAR, edit, alone=True))
    assert judged is not None
    assert judged.holds == holds, judged


@pytest.mark.parametrize(
    ("field", "value", "what", "expected"),
    [
        ("steps", 2.0, "steps with max_steps = 1", "1"),
        ("status", STALLED, "status with max_steps = 1", "converged or max_steps"),
        ("status", NONFINITE, "status with max_steps = 1", "converged or max_steps"),
    ],
)
def test_one_step_is_one_step(field: str, value: float, what: str, expected: str) -> None:
    def edit(ends: Ends, call: Call) -> None:
        if call.options["max_steps"] == 1:
            getattr(ends, field)[0] = value

    judged = settling.settling_ends(case_of(NEAR, edit, alone=True))
    assert judged is not None
    assert (judged.holds, judged.what, judged.expected) == (False, what, expected)


@pytest.mark.parametrize("steps", [1, 2, settling.LONGEST_CHAIN])
def test_a_stall_without_a_repeated_state_is_accused(steps: int) -> None:
    def edit(ends: Ends, call: Call) -> None:
        ends.status[0], ends.steps[0], ends.residual[0] = STALLED, steps, 0.5

    judged = settling.settling_ends(case_of(NEAR, edit))
    assert judged is not None
    assert (judged.holds, judged.what) == (False, "cycle of query 0")


def links_of(problem: Problem, count: int) -> Chain:
    return chain(case_of(problem), count)


def last_step(row: int) -> int:
    return int(settled(NEAR, 100).steps[row])


def test_the_queries_of_these_tests_take_a_few_steps() -> None:
    assert [last_step(row) for row in (0, 1)] == [6, 5]


@pytest.mark.parametrize(("times", "holds"), [(0.9, True), (1.1, False)])
def test_a_residual_may_be_its_doubt_off(times: float, holds: bool) -> None:
    links = links_of(NEAR, 6)
    doubt = links.radii[6, 0] + links.radii[5, 0] + settling.RESIDUAL_ROUNDING * links.residuals[6, 0]

    def edit(ends: Ends, call: Call) -> None:
        ends.residual[0] += times * doubt

    # The energies of these answers are 0, and belong to another comparison.
    case = case_of(NEAR, edit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settling, "energy_bound", lambda case, p: np.full(2, np.inf))
        judged = settling.status_says_what_happened(case)
    assert judged is not None
    assert judged.holds == holds, judged


@pytest.mark.parametrize(("times", "holds"), [(0.9, True), (1.1, False)])
@pytest.mark.parametrize("masked", [False, True])
def test_a_state_may_be_one_radius_off(masked: bool, times: float, holds: bool) -> None:
    if masked:
        # This property settles for two steps.
        judge, steps, problem = settling.masked_state_is_that_of_the_steps, 2, MASKED
    else:
        # The other query takes more steps than are followed.
        judge, steps = settling.state_is_that_of_the_steps, 6
        problem = NEAR.but(query=np.array([[0.5, 0.25], [0.25, -8.0]]))
        assert settled(problem, 100).steps.tolist() == [6, 10]
    radius = links_of(problem, steps).radii[steps, 0]

    def edit(ends: Ends, call: Call) -> None:
        ends.state[0, 0] += times * radius

    judged = judge(case_of(problem, edit))
    assert judged is not None
    assert judged.holds == holds, judged


@pytest.mark.parametrize("steps", [1, 4, 5])
def test_stopping_before_a_small_step_is_accused(steps: int) -> None:
    def edit(ends: Ends, call: Call) -> None:
        ends.steps[0] = steps

    judged = settling.stops_at_the_first_small_step(case_of(NEAR, edit))
    assert judged is not None
    assert (judged.holds, judged.what) == (False, f"residual of query 0 at its last step {steps}")


@pytest.mark.parametrize(
    ("row", "field", "value", "what"),
    [
        (0, "state", 0.5, "state of the empty row"),
        (0, "steps", 2.0, "steps of the empty row"),
        (0, "status", MAX_STEPS, "status of the empty row"),
        (1, "status", CONVERGED, "status of the NaN row"),
        (1, "status", STALLED, "status of the NaN row"),
        (2, "status", NONFINITE, "the other rows"),
        (2, "state", np.nan, "the other rows"),
        (None, "status", CONVERGED, ""),
    ],
)
def test_empty_rows_and_bad_rows_say_what_they_are(
    row: int | None, field: str, value: float, what: str
) -> None:
    problem = NEAR.but(query=np.array([[0.5, 0.25], [-0.25, 0.75], [1.0, 2.0]]), max_steps=3)
    ends = settled(problem, 3)
    ends.state[0], ends.steps[0], ends.status[0], ends.status[1] = 0.0, 1, CONVERGED, NONFINITE
    if row is not None:
        getattr(ends, field)[row] = value
    case = case_of(problem)
    case.ask = lambda call: Answer((ends.state, np.zeros(3), ends.residual, ends.steps, ends.status), DTYPES)
    judged = settling.empty_and_bad_rows_settle(case)
    assert judged is not None
    if row is None:
        assert judged.holds, judged
    else:
        assert (judged.holds, judged.what) == (False, what)
        if what.startswith("status"):
            assert judged.got == str(int(value))


@pytest.mark.parametrize("within", [0.9, 1.1])
def test_a_residual_may_fall_on_either_side_of_eps_within_its_doubt(within: float) -> None:
    links = links_of(NEAR, 3)
    doubt = links.radii[3, 0] + links.radii[2, 0]
    problem = NEAR.but(eps=links.residuals[3, 0] - within * doubt, seed=0)

    def edit(ends: Ends, call: Call) -> None:
        # In a batch it stops one step earlier than alone.
        if len(ends.steps) == 2:
            ends.steps[0] -= 1

    judged = settling.batch_mates_do_not_stop_a_query(case_of(problem, edit))
    if within < 1:
        assert judged is None
    else:
        assert judged is not None
        assert not judged.holds
        assert judged.got == "3"


@pytest.mark.parametrize(("times", "holds"), [(1.9, True), (2.1, False)])
def test_two_trajectories_may_be_two_radii_apart(times: float, holds: bool) -> None:
    radius = links_of(NEAR, 6).radii[6, 0]

    def edit(ends: Ends, call: Call) -> None:
        if len(ends.steps) == 2:
            ends.state[0, 0] += times * radius

    judged = settling.batch_mates_do_not_stop_a_query(case_of(NEAR.but(seed=0), edit))
    assert judged is not None
    assert judged.holds == holds, judged


def test_a_query_that_stops_after_one_step_is_compared() -> None:
    def edit(ends: Ends, call: Call) -> None:
        if len(ends.steps) == 2:
            ends.state[0, 0] += 1.0

    judged = settling.batch_mates_do_not_stop_a_query(case_of(NEAR.but(eps=100.0, seed=0), edit))
    assert judged is not None
    assert not judged.holds


@pytest.mark.parametrize(("times", "holds"), [(0.9, True), (1.1, False)])
@pytest.mark.parametrize("what", ["steps", "masked steps", "values"])
def test_several_updates_may_be_one_radius_off(what: str, times: float, holds: bool) -> None:
    judge, problem = {
        "steps": (settling.steps_are_applications, NEAR.but(steps=2)),
        "masked steps": (
            settling.masked_steps_are_applications,
            NEAR.but(keep=np.array([True, True, False])),
        ),
        "values": (settling.values_are_read_out_last, NEAR),
    }[what]
    radius = links_of(problem, 2).radii[2, 0] * (2 if what == "values" else 1)
    judged = judge(case_of(problem, moved=times * radius))
    assert judged is not None
    assert judged.holds == holds, judged


@pytest.mark.parametrize("steps", [2, 3])
def test_the_distance_to_the_exact_trajectory_grows_by_the_constant(steps: int) -> None:
    constant, radius, exact = lipschitz(NEAR), 0.0, NEAR
    for _ in range(steps):
        ball = exact.query[0], NEAR.memory, NEAR.beta, radius, NEAR.kept[0], MODELS["wide-float32"]
        radius = constant * radius + update_bound_on_ball(*ball)
        exact = exact.but(query=exact.solution.state.hi)
    wrong = settling.trajectory_within_bound(case_of(NEAR.but(steps=steps), moved=1.01 * radius))
    right = settling.trajectory_within_bound(case_of(NEAR.but(steps=steps), moved=0.97 * radius))
    assert wrong is not None
    assert right is not None
    assert (right.holds, wrong.holds) == (True, False)


@pytest.mark.parametrize(("times", "holds"), [(0.9, True), (1.1, False)])
def test_a_converged_state_may_be_a_residual_from_stationary(
    times: float, holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "_anywhere", lambda case: (8.0, np.full(2, 2.0**-20)))
    residual, own = 2.0**-6, 2.0**-20
    allowed = lipschitz(NEAR) * (residual + own) + own
    # The fixed point next to the first memory, and a state as far from it as makes the gradient so long.
    fixed, step = several(NEAR, 200), 1e-3
    away = fixed + np.array([step, 0.0])
    length = float(np.linalg.norm(away[0] - once(NEAR.but(query=away))[0]))

    def edit(ends: Ends, call: Call) -> None:
        ends.state[:], ends.residual[:], ends.status[:] = fixed, residual, CONVERGED
        ends.state[0, 0] += times * allowed / length * step

    judged = settling.converged_states_are_stationary(case_of(NEAR, edit))
    assert judged is not None
    assert judged.holds == holds, judged


@pytest.mark.parametrize("within", [0.9, 1.1])
def test_among_many_a_residual_may_fall_on_either_side_of_eps(within: float) -> None:
    links = links_of(NEAR, 3)
    doubt = links.radii[3, 0] + links.radii[2, 0]
    problem = NEAR.but(eps=links.residuals[3, 0] - within * doubt)

    def edit(ends: Ends, call: Call) -> None:
        if len(ends.steps) > 2:
            ends.steps[ends.steps == 4] = 3

    assert settled(problem, 100).steps.tolist() == [4, 3]
    judged = settling.many_batch_mates_do_not_stop_a_query(case_of(problem, edit))
    assert judged is not None
    assert judged.holds == (within < 1), judged


def test_more_steps_than_can_be_tried_are_not_bounded() -> None:
    assert settling.steps_are_bounded_by_the_energy(case_of(NEAR.but(eps=0.02))) is None


def test_states_that_are_not_finite_have_no_chain() -> None:
    case = case_of(NEAR)
    case.ask = lambda call: Answer((np.full(call.arguments["query"].shape, np.nan),), ("float32",))
    for judge in (settling.values_are_read_out_last, settling.steps_are_applications):
        assert judge(case) is None
    case.problem = MASKED
    assert settling.masked_steps_are_applications(case) is None


@pytest.mark.parametrize(("more", "holds"), [(0, True), (1, False)])
def test_the_energy_bounds_the_steps(more: int, holds: bool) -> None:
    case = case_of(NEAR.but(eps=2.0))
    energy = case.problem.solution.energy
    assert energy is not None
    _, own = settling._anywhere(case)
    allowed = np.ceil(2 * energy.hi / (2.0 * (2.0 - 2 * own)))

    def edit(ends: Ends, call: Call) -> None:
        ends.steps[1], ends.status[:] = allowed[1] + more, CONVERGED

    judged = settling.steps_are_bounded_by_the_energy(case_of(NEAR.but(eps=2.0), edit))
    assert judged is not None
    assert judged.holds == holds, judged


@pytest.mark.parametrize("far", [False, True])
def test_a_radius_of_more_than_a_tenth_of_the_width_says_nothing(
    far: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    width = (9.9 if far else 10.1) * float(links_of(NEAR, 6).radii[6, 0])
    monkeypatch.setattr(settling, "_width", lambda problem: width)
    for judge in (
        settling.state_is_that_of_the_steps,
        settling.steps_are_applications,
        settling.many_batch_mates_do_not_stop_a_query,
    ):
        judged = judge(case_of(NEAR.but(query=NEAR.query[:1], steps=6)))
        assert (judged is None) == far
    masked = MASKED.but(query=NEAR.query[:1])
    radius = float(links_of(masked, 2).radii[2, 0])
    with monkeypatch.context() as patch:
        patch.setattr(settling, "_width", lambda problem: (9.9 if far else 10.1) * radius)
        assert (settling.masked_state_is_that_of_the_steps(case_of(masked)) is None) == far
    mates = settling.batch_mates_do_not_stop_a_query(case_of(NEAR.but(seed=0)))
    assert mates is not None
    assert mates.compared == (1 if far else 2)


@pytest.mark.parametrize("far", [False, True])
def test_a_gradient_of_half_the_width_says_nothing(far: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "_anywhere", lambda case: (8.0, np.zeros(2)))
    residual = 2.0**-6
    allowed = lipschitz(NEAR) * residual
    monkeypatch.setattr(settling, "_width", lambda problem: (1.9 if far else 2.1) * allowed)

    def edit(ends: Ends, call: Call) -> None:
        ends.state[:], ends.residual[:], ends.status[:] = several(NEAR, 200), residual, CONVERGED

    assert (settling.converged_states_are_stationary(case_of(NEAR, edit)) is None) == far
