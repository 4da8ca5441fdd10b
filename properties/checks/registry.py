"""The registry of properties."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hopspec.clauses import checks
from hopspec.properties.calls import Description
from hopspec.properties.judgement import Case, Judgement
from hopspec.types import AccuracyModel

__all__ = ["CHECKS", "Case", "Check", "Judge", "check"]

Judge = Callable[[Case], Judgement | None]
Applies = Callable[[Description, AccuracyModel], bool]


@dataclass(frozen=True)
class Check:
    """A property: decides one clause on one case.

    Args:
        clause: id of the clause it decides.
        name: its function's name.
        family: name of the problem family it draws from, see :mod:`hopspec.properties.families`.
        quantities: callables the implementation must provide.
        claims: capabilities the implementation must claim.
        judge: gives a judgement, or None where the problem is outside the clause's domain.
        applies: further condition on what the implementation claims.
        dtypes: formats it can be judged in; empty for all.
        size: ``L * N * d`` of the largest problems it draws; 0 where any size will do.
        one_in: it is given one case for every so many that others get, where cases are large.
    """

    clause: str
    name: str
    family: str
    quantities: tuple[str, ...]
    claims: tuple[str, ...]
    judge: Judge
    applies: Applies
    dtypes: tuple[str, ...] = ()
    size: int = 0
    one_in: int = 1

    def unclaimed(self, description: Description, model: AccuracyModel) -> str:
        """What the implementation does not claim of what this property needs; "" if it claims everything."""
        missing = [q for q in self.quantities if q not in description.quantities]
        missing += [c for c in self.claims if not getattr(description.capabilities, c)]
        limit = description.capabilities.max_size
        if not missing and 0 < limit < self.size:
            missing = [f"sizes beyond max_size = {limit}"]
        if not missing and not self.applies(description, model):
            missing = [f"{model.name} claims nothing here"]
        return ", ".join(missing)

    def possible(self, description: Description) -> bool:
        """Whether the property can at least be observed."""
        return all(q in description.quantities for q in self.quantities)


CHECKS: list[Check] = []


def _always(_description: Description, _model: AccuracyModel) -> bool:
    return True


def check(
    clause: str,
    *,
    family: str,
    quantities: tuple[str, ...] = ("retrieve",),
    claims: tuple[str, ...] = (),
    applies: Applies = _always,
    dtypes: tuple[str, ...] = (),
    size: int = 0,
    one_in: int = 1,
) -> Callable[[Judge], Judge]:
    """Register the decorated function as a property of ``clause``.

    Args:
        clause: id, for example ``"MHN-BND-2"``.
        family: which problems it is given.
        quantities: callables the implementation must provide.
        claims: names of :class:`~hopspec.types.Capabilities` fields it must claim.
        applies: further condition on the description and the accuracy model.
        dtypes: formats it can be judged in; empty for all.
        size: ``L * N * d`` of the largest problems it draws; 0 where any size will do.
        one_in: it is given one case for every so many that others get, where cases are large.
    """

    def register(judge: Judge) -> Judge:
        found = Check(
            clause, judge.__name__, family, quantities, claims, judge, applies, dtypes, size, one_in
        )
        CHECKS.append(found)
        return checks(clause)(judge)

    return register
