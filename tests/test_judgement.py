"""Comparisons that the radius of the exact value leaves open."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import mpmath
import numpy as np
import pytest
from rich.console import Console

from hopspec.properties.calls import WRONG_DEVICE, Answer, Broken, Call, Description
from hopspec.properties.checks.energy import update_decreases_energy
from hopspec.properties.decision import decide
from hopspec.properties.judgement import Case, Judgement, all_of, compare, require, within
from hopspec.properties.models import MODELS
from hopspec.properties.problem import Problem
from hopspec.properties.report import print_report
from hopspec.properties.reporting.encoding import as_json
from hopspec.properties.results import Verdict
from hopspec.properties.runner import Options, verify
from hopspec.reference import Enclosed, bounds
from hopspec.types import Capabilities, Exact


def known_to(radius: float) -> Enclosed:
    return Enclosed(np.array([1.0, 2.0]), np.zeros(2), np.full(2, radius))


def test_an_undecided_comparison_is_neither() -> None:
    actual, bound = np.array([1.0, 2.5]), np.array([0.5, 0.5])
    decided = compare("numbers", actual, known_to(0.0), bound)
    assert decided is not None
    assert (decided.holds, decided.undecided) == (True, 0)
    open_ = compare("numbers", actual, known_to(0.25), bound)
    assert open_ is not None
    assert (open_.compared, open_.undecided) == (2, 1)
    broken = compare("numbers", np.array([3.0, 2.5]), known_to(0.25), bound)
    assert broken is not None
    assert (broken.holds, broken.undecided) == (False, 1)
    both = all_of(decided, open_, None)
    assert both is not None
    assert (both.compared, both.undecided) == (4, 1)


@pytest.mark.parametrize("quantity", ["state", "log_normalizer", "energy"])
def test_more_bits_decide_what_the_radius_leaves_open(quantity: str) -> None:
    problem = Problem(np.array([[0.25], [1.5]]), np.array([[1.0], [-1.0], [0.5]]), 1.25)
    exact = getattr(problem.solution, quantity)
    actual = exact.hi + 2.0**-60
    # The bound is the error itself, to all the digits a float64 holds, a little more or less.
    error = np.abs(actual - exact.hi - exact.lo)
    wide = replace(exact, radius=np.full(exact.hi.shape, 1.0))
    for factor, holds in ((1 + 2.0**-40, True), (1 - 2.0**-40, False)):
        judged = compare(quantity, actual, wide, error * factor)
        assert judged is not None
        assert (judged.holds, judged.undecided) == (holds, 0)
        assert judged.compared == exact.hi.size


def test_a_bound_of_zero_can_be_broken_by_less_than_the_radius() -> None:
    third = mpmath.fdiv(1, 3, prec=60)
    exact = Enclosed(
        np.array([1 / 3]),
        np.zeros(1),
        np.array([2.0**-50]),
        lambda bits: [Exact(third, mpmath.mpf(2) ** -bits, bits, False)],
    )
    judged = compare("a third", np.array([1 / 3]), exact, np.zeros(1))
    assert judged is not None
    assert not judged.holds


def test_more_bits_are_asked_for_until_they_decide_or_the_limit_is_reached() -> None:
    def small(bits: int) -> Exact:
        return Exact(mpmath.mpf(2) ** -400, mpmath.mpf(2) ** -bits, bits, False)

    assert decide(0.0, 0.0, small) == (False, 512)
    assert decide(0.0, 0.0, small, limit=512) == (False, 512)
    assert decide(0.0, 0.0, small, limit=511) == (None, 256)
    assert decide(2.0**-400, 2.0**-511, small) == (True, 512)


def test_what_has_no_bound_is_not_compared() -> None:
    actual, expected = np.array([5.0, 1.0, -2.0]), np.array([0.0, 1.0, -2.0])
    bound = np.array([np.inf, 0.5, 0.25])
    judged = within("numbers", actual, expected, bound)
    assert judged == Judgement(0.0, "numbers[1]", "1.0", "1.0", 0.5, 2)
    assert within("numbers", actual, expected, np.full(3, np.inf)) is None
    assert compare("numbers", np.array([1.0, 2.0]), known_to(0.0), np.full(2, np.inf)) is None


def test_one_bound_is_that_of_every_number() -> None:
    actual, expected = np.array([[1.0, 2.0], [3.0, 4.5]]), np.array([[1.0, 2.0], [3.0, 4.0]])
    for bound in (np.array(0.25), np.array([[0.25], [0.25]])):
        judged = within("numbers", actual, expected, bound)
        assert judged == Judgement(2.0, "numbers[1, 1]", "4.5", "4.0", 0.25, 4)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_errors_to_either_side_and_nan_are_errors(sign: float) -> None:
    expected, bound = np.array([2.0, sign * np.inf]), np.array([0.5, 0.5])
    judged = within("numbers", expected + sign * np.array([1.0, 0.0]), expected, bound)
    assert judged is not None
    assert (judged.ratio, judged.what, judged.compared) == (2.0, "numbers[0]", 2)
    lost = within("numbers", np.array([2.0, np.nan]), expected, bound)
    assert lost is not None
    assert (lost.ratio, lost.what) == (math.inf, "numbers[1]")


def test_nothing_is_within_a_negative_bound() -> None:
    actual, expected = np.array([1.0, 2.0]), np.array([1.5, 2.0])
    for number, bound in enumerate((np.array([-0.25, 1.0]), np.array([1.0, -0.25]))):
        judged = within("numbers", actual, expected, bound)
        assert judged is not None
        assert (judged.holds, judged.what) == (False, f"numbers[{number}]")
    zero = within("numbers", actual, actual, np.zeros(2))
    assert zero is not None
    assert zero.holds


def test_a_statement_holds_or_not() -> None:
    assert require("so", True, 1, 1).holds
    assert not require("so", False, 1, 2).holds


def asked(
    problem: Problem, quantity: str, answer: Answer, base: float = math.e, dtype: str = "float32"
) -> tuple[Case, list[Call]]:
    """A case whose every call is answered the same, and what is called."""
    calls: list[Call] = []

    def ask(call: Call) -> Answer:
        calls.append(call)
        return answer

    capabilities = Capabilities(dtypes=(dtype,), log_base=base)
    description = Description("one", (quantity,), capabilities, (), {})
    return Case(problem, dtype, description, MODELS[f"any-{dtype}"], ask), calls


PROBLEM = Problem(np.array([[0.25], [1.5]]), np.array([[1.0], [-1.0], [0.5]]), 1.25)


def test_a_mask_is_part_of_a_bias() -> None:
    bias, keep = np.array([[0.5, 1.0, 2.0]]), np.array([True, False, True])
    answer = Answer((np.zeros((2, 1)),), ("float32",))
    for kept, sent in ((None, [[0.5, 1.0, 2.0]]), (keep, [[0.5, -math.inf, 2.0]])):
        case, calls = asked(PROBLEM.but(bias=bias, keep=kept), "retrieve", answer)
        case.value()
        (call,) = calls
        assert call.arguments["bias"].tolist() == sent
        assert "keep" not in call.arguments


def test_the_same_call_is_made_once() -> None:
    case, calls = asked(PROBLEM, "retrieve", Answer((np.zeros((2, 1)),), ("float32",)))
    case.value()
    case.value()
    assert len(calls) == 1
    case.value(fresh=True)
    case.value(layout="transposed")
    assert len(calls) == 3


@pytest.mark.parametrize(("base", "factor"), [(math.e, 1.0), (2.0, math.log(2.0))])
def test_logarithms_to_another_base_become_natural_ones(base: float, factor: float) -> None:
    answer = Answer((np.array([1.0, 3.0]),), ("float32",))
    case, _ = asked(PROBLEM, "log_normalizer", answer, base)
    assert case.value("log_normalizer").tolist() == [factor, 3 * factor]
    case, _ = asked(PROBLEM, "energy", answer, base)
    assert case.value("energy").tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("problem", "quantity", "attends"),
    [
        (PROBLEM, "retrieve", False),
        (PROBLEM, "attention", True),
        (PROBLEM.but(causal=True), "retrieve", True),
        (PROBLEM.but(bias=np.zeros((1, 3))), "retrieve", True),
    ],
)
def test_no_answer_is_a_verdict_with_what_was_asked(problem: Problem, quantity: str, attends: bool) -> None:
    for answer, kind in (
        (Answer(error="ValueError", message="no"), "raised"),
        (Answer(error=WRONG_DEVICE, message="lies elsewhere"), "device"),
    ):
        case, _ = asked(problem, quantity, answer)
        with pytest.raises(Broken) as broken:
            case.completed(quantity)
        assert broken.value.kind == kind
        assert broken.value.asked == ((problem, None) if attends else None)


def test_an_answer_of_another_shape_is_none() -> None:
    case, _ = asked(PROBLEM, "retrieve", Answer((np.zeros((1, 2)),), ("float32",)))
    with pytest.raises(Broken, match=r"retrieve returned shape \(1, 2\), expected \(2, 1\)"):
        case.value()


def test_a_run_that_decides_nothing_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = Enclosed.error

    def vague(self: Enclosed, actual: object) -> tuple[np.ndarray, np.ndarray]:
        error, slack = exact(self, actual)
        return error, slack + 1e6

    monkeypatch.setattr(Enclosed, "error", vague)
    monkeypatch.setattr("hopspec.properties.decision.PRECISIONS", ())
    monkeypatch.setattr("hopspec.properties.exploration.DRAWS_PER_CASE", 1)
    options = Options(
        ("torch-sdpa",), ("float32",), profile="quick", clauses=("MHN-DOM-6",), in_process=True, shrink=False
    )
    report = verify(options)
    cell = next(c for c in report.cells if c.check == "strides_do_not_matter")
    assert cell.undecided > 0
    assert cell.verdict is Verdict.TOO_FEW
    assert report.exit_status == 1
    assert sum(c["undecided"] for c in as_json(report)["cells"]) >= cell.undecided
    console = Console(width=140, file=io.StringIO())
    with console.capture() as captured:
        print_report(report, console)
    assert "cases undecided" in captured.get()


def test_bounds_know_that_the_centre_of_an_enclosure_is_not_the_number() -> None:
    # exp(-128) is below the reach of the enclosure, whose centre is 0. PyTorch's kernel for strange strides
    # multiplies query and memory by the root of beta first, and so gives:
    actual = np.array([[1.0, 2.572209372642342e-56]])
    problem = Problem(np.array([[1.0, 0.0]]), np.eye(2), 128.0)
    exact = problem.solution
    assert exact.state.hi[0, 1] == 0
    allowed = bounds.update_bound(problem.query, problem.memory, 128.0, exact, MODELS["any-float64"])
    judged = compare("update", actual, exact.state, allowed)
    assert judged is not None
    assert (judged.holds, judged.undecided) == (True, 0)


def test_a_fall_of_the_energy_much_smaller_than_an_ulp_of_the_state() -> None:
    memory = np.ones((31, 1))
    memory[15] = 0.5
    problem = Problem(np.array([[1.0]]), memory, 31.438596725463867)
    description = Description("rounded", ("retrieve",), Capabilities(dtypes=("float64",)), (), {})
    case = Case(
        problem,
        "float64",
        description,
        MODELS["any-float64"],
        lambda _: Answer((problem.solution.state.hi,), ("float64",)),
    )
    judged = update_decreases_energy(case)
    assert judged is not None
    assert judged.holds
