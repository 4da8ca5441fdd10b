"""One clause in one dtype as an item of pytest."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import Any

import pytest
from _pytest.outcomes import Failed

from hopspec.properties.expectations import expect
from hopspec.properties.plugin.plans import Plan
from hopspec.properties.plugin.verdicts import broken, observed, outline, too_few
from hopspec.properties.results import Report, Verdict
from hopspec.properties.subject import not_claimed

__all__ = ["BrokenClause", "ClauseItem", "Complaint", "CouldNotVerify", "WrongExpectation", "items_of"]


class BrokenClause(Failed):
    """A claimed clause does not hold."""

    # As pytest's own outcomes do, so that the summary shows the bare name.
    __module__ = "builtins"


class CouldNotVerify(Failed):
    """The implementation could not be judged, or too little of it."""

    __module__ = "builtins"


class WrongExpectation(Failed):
    """The file of expected failures says something that is not so."""

    __module__ = "builtins"


class ClauseItem(pytest.Item):
    """Passes if the implementation keeps a clause in a dtype.

    Args:
        plan: how it is judged.
        clause: id of the clause.
        dtype: name of the dtype.
    """

    def __init__(self, *, plan: Plan, clause: str, dtype: str, **given: Any) -> None:
        super().__init__(**given)
        self.plan, self.clause, self.dtype = plan, clause, dtype
        self.failure: Failed | None = None
        self.add_marker(pytest.mark.hopspec)

    def reportinfo(self) -> tuple[PathLike[str] | str, int | None, str]:
        """Where the implementation was asked for."""
        return self.path, self.plan.line or 0, self.name

    def look(self, report: Report) -> None:
        """Decide what will come of this item, from what was explored for it.

        Raises:
            CouldNotVerify: if the implementation was not reached.
        """
        if not report.models:
            self._nothing(report)
            return
        (name,) = report.models
        at = self.clause, name, self.dtype
        cells = report.of(*at)
        unmet = [
            u for u in expect(report, self.plan.expectations) if (u.clause, u.implementation, u.dtype) == at
        ]
        verdict = report.verdict(*at)
        self.user_properties += outline(report, *at)
        # Of a pass where a failure was expected, pytest itself tells.
        wrong = [str(u) for u in unmet if not u.passes]
        if verdict is Verdict.NOT_REACHED:
            raise CouldNotVerify(f"{name}: {report.unusable[name]}", pytrace=False)
        if not cells:
            self._skip(not_claimed([self.dtype]))
        elif verdict in (Verdict.BROKEN, Verdict.EXPECTED):
            self.failure = BrokenClause("\n".join([broken(report, cells), *wrong]), pytrace=False)
        elif verdict is Verdict.TOO_FEW:
            self.failure = CouldNotVerify(too_few(cells), pytrace=False)
        elif wrong:
            self.failure = WrongExpectation("\n".join(wrong), pytrace=False)
        elif verdict is Verdict.NOT_CLAIMED:
            self._skip(observed(cells))
        covering = [
            e for e in self.plan.expectations if e.covers(self.clause, self.dtype, (name, *self.plan.names))
        ]
        if covering and not wrong and verdict in (Verdict.EXPECTED, Verdict.HOLDS):
            reason = f"{covering[0].reason} ({covering[0].where}, until {covering[0].expires})"
            self.add_marker(pytest.mark.xfail(reason=reason, strict=True, raises=BrokenClause))

    def _nothing(self, report: Report) -> None:
        """The implementation could not be started."""
        reason = "; ".join(report.unusable.values())
        if reason == not_claimed(report.settings["dtypes"]):
            self._skip(reason)
        else:
            raise CouldNotVerify(reason, pytrace=False)

    def _skip(self, reason: str) -> None:
        # A mark and no exception: the report then names the test module, not this one.
        self.add_marker(pytest.mark.skip(reason=reason))

    def runtest(self) -> None:
        """Report what was decided."""
        if self.failure is not None:
            raise self.failure


class Complaint(pytest.Item):
    """Fails: an entry of a file of expected failures speaks of nothing that was collected."""

    def __init__(self, *, message: str, **given: Any) -> None:
        super().__init__(**given)
        self.message = message
        self.add_marker(pytest.mark.hopspec)

    def runtest(self) -> None:
        """Say so."""
        raise WrongExpectation(self.message, pytrace=False)


def items_of(parent: pytest.Collector, name: str, plan: Plan) -> Iterator[ClauseItem]:
    """One item for each clause and dtype."""
    for clause, dtype in plan.pairs:
        full = f"{name}[{clause}-{dtype}]"
        # As text, or pytest 9.2 would not take the brackets for parameters, and not find what failed last.
        nodeid = f"{parent.nodeid}::{full}"
        yield ClauseItem.from_parent(parent, name=full, nodeid=nodeid, plan=plan, clause=clause, dtype=dtype)
