"""Systematic errors too small for a bound, seen in hundreds of queries (chapter 15)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from hopspec.properties.calls import Description
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.crowds import MOST
from hopspec.properties.judgement import Judgement, require
from hopspec.properties.problem import Problem
from hopspec.reference.crowd import Crowd
from hopspec.reference.tendencies import Allowance, Plan, Tendency, allowance, tendencies
from hopspec.types import AccuracyModel

# Against float64 nothing can be said of float64.
DTYPES = ("float32", "bfloat16", "float16")
NAMES = {
    "retrieve": "update",
    "association": "association",
    "log_normalizer": "log-normalizer",
    "energy": "energy",
}


@dataclass
class _Planned:
    """What follows from a problem alone, for every dtype and implementation asks for it again."""

    problem: Problem | None = None
    plans: dict[str, Plan] = field(default_factory=dict)

    def of(self, problem: Problem, quantity: str) -> Plan:
        if self.problem is not problem:
            crowd = Crowd(problem.query, problem.memory, problem.beta)
            self.problem, self.plans = problem, {name: Plan(name, crowd) for name in NAMES}
        return self.plans[quantity]


_PLANNED = _Planned()


def _any_shape(description: Description, _model: AccuracyModel) -> bool:
    of = description.capabilities
    return not of.shapes and (not of.max_size or of.max_size >= MOST)


def sentence(found: Tendency) -> str:
    """A tendency in words, with its standard error.

    >>> from hopspec.reference.crowd import directions_of
    >>> sentence(Tendency(directions_of("retrieve")[0], -0.00101, 0.00004, 0.0003, 1.2, 0.5))
    'beta looks 0.101 % too small, +- 0.004 %'
    """
    text = found.direction.above if found.coefficient >= 0 else found.direction.below
    return f"{text.format(f'{100 * abs(found.coefficient):.3g} %')}, +- {100 * found.deviation:.2g} %"


def _judge(case: Case, quantity: str) -> Judgement | None:
    p = case.problem
    if p.keep is not None or p.values is not None or not p.beta > 0:
        return None
    plan = _PLANNED.of(p, quantity)
    may: Allowance | None = case.remember("allowance", p, lambda: allowance(plan.crowd, case.model))
    if may is None:
        return None
    computed = case.value(quantity)
    if quantity == "log_normalizer":
        computed = computed * math.log(case.description.capabilities.log_base)
    subject = f"{NAMES[quantity]} of {np.count_nonzero(may.taken)} queries"
    if not np.isfinite(computed).all():
        return require(subject, False, "a number that is not finite", "finite numbers")
    found = tendencies(plan, may, computed)
    if not found:
        return None
    # Related directions fail together: what fits best is most likely what is wrong.
    failed = [t for t in found if t.ratio > 1]
    shown = max(failed, key=lambda t: t.explained) if failed else max(found, key=lambda t: t.ratio)
    return Judgement(
        shown.ratio,
        f"{subject}: {sentence(shown)}",
        f"{shown.coefficient:+.3g}",
        f"0 but for {shown.allowed:.2g} that the model allows and chance",
        abs(shown.coefficient) / shown.ratio if shown.ratio else math.inf,
        len(found),
    )


@check("MHN-STA-2", family="crowd", applies=_any_shape, dtypes=DTYPES)
def update_has_no_tendency(case: Case) -> Judgement | None:
    """The update of hundreds of queries errs in no direction by more than rounding explains."""
    return _judge(case, "retrieve")


@check("MHN-STA-2", family="crowd", quantities=("association",), applies=_any_shape, dtypes=DTYPES)
def association_has_no_tendency(case: Case) -> Judgement | None:
    """The same of the association."""
    return _judge(case, "association")


@check("MHN-STA-3", family="crowd", quantities=("log_normalizer",), applies=_any_shape, dtypes=DTYPES)
def log_normalizer_has_no_tendency(case: Case) -> Judgement | None:
    """The same of the log-normalizer."""
    return _judge(case, "log_normalizer")


@check("MHN-STA-3", family="crowd", quantities=("energy",), applies=_any_shape, dtypes=DTYPES)
def energy_has_no_tendency(case: Case) -> Judgement | None:
    """The same of the energy."""
    return _judge(case, "energy")
