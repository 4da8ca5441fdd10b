"""The test vectors find the planted faults of their bug classes, and nothing in right implementations."""

from __future__ import annotations

import pytest

from hopspec.properties.calls import Answer, Call
from hopspec.properties.faults import FAULTS
from hopspec.properties.session import Session
from hopspec.properties.vectors.answering import concerns, judged
from hopspec.properties.vectors.classes import BUG_CLASSES
from hopspec.properties.vectors.generate import Suite, committed
from hopspec.properties.vectors.judge import Verdict
from hopspec.properties.vectors.kills import Kill, kill_table


@pytest.fixture(scope="module")
def suite() -> Suite:
    """The vectors that come with the package."""
    return committed()


@pytest.fixture(scope="module")
def kills(suite: Suite) -> list[Kill]:
    """Every planted fault on the vectors for its class."""
    return list(kill_table(suite.vectors))


@pytest.mark.parametrize(
    ("target", "least"),
    [
        ("hopspec.properties.faults:RIGHT", 750),
        ("reference", 850),
        ("torch-sdpa", 330),
        ("torch-eager", 500),
        ("fastpath", 1000),
    ],
)
def test_right_implementations_pass(target: str, least: int, suite: Suite) -> None:
    found = list(judged(Session(target), suite.vectors))
    assert len(found) >= least
    wrong = [(v.id, j and j.ratio) for v, j in found if j is None or j.verdict is not Verdict.HOLDS]
    assert wrong == []


def test_every_planted_fault_of_every_class_dies(kills: list[Kill]) -> None:
    assert {k.bug_class for k in kills} == set(BUG_CLASSES)
    assert len(kills) >= 100
    assert [f"{k.fault} survives {k.asked} vectors of {k.bug_class}" for k in kills if not k.broken] == []


def test_no_class_breaks_everything(kills: list[Kill]) -> None:
    # Classes would mean nothing if any vector found any fault.
    assert sum(len(k.broken) < k.asked for k in kills) > len(kills) / 2


def test_only_what_is_claimed_is_asked(suite: Suite) -> None:
    description = Session("torch-sdpa").describe()
    asked = [v for v in suite.vectors if concerns(v, description.capabilities, description.quantities)]
    assert {v.quantity for v in asked} == {"update"}
    assert {need for v in asked for need in v.needs} == {"masks", "values"}


def test_an_implementation_that_raises_is_broken(suite: Suite) -> None:
    class Refusing(Session):
        def answer(self, call: Call) -> Answer:
            return Answer(error="ValueError", message=call.quantity)

    session = Refusing("torch-sdpa")
    mine = [v for v in suite.vectors if v.bug_class == "one-memory" and v.format.name == "float32"]
    assert [j for _, j in judged(session, mine)] == [None] * 2
    assert all(FAULTS[k].kind != "fixed-point" for of in BUG_CLASSES.values() for k in of.faults)
