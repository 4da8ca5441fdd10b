"""Correct rounding and precision truncation."""

from __future__ import annotations

import numpy as np

from hopspec.formats import Format
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement, compare
from hopspec.properties.problem import Array, round_to
from hopspec.reference import bounds
from hopspec.types import AccuracyModel


def half_ulp(case: Case, values: Array) -> Array:
    """Half the spacing of the case's format at each value."""
    fmt = case.format
    _, exponent = np.frexp(values)
    return np.asarray(np.ldexp(0.5, np.maximum(exponent - fmt.precision, max(fmt.least_exponent, -1073))))


@check("MHN-PRC-4", family="general", claims=("correctly_rounded",))
def update_is_correctly_rounded(case: Case) -> Judgement | None:
    """Every component is the nearest element of the format, a tie going to the even one."""
    got = case.value()
    exact = case.problem.solution.state
    nearest = round_to(exact.hi, case.format)
    # A tie can only be told from the exact number: with lo = 0 and radius 0, hi is that number.
    decided = (exact.radius == 0) & (exact.lo == 0)
    bound = np.where(decided & (np.abs(nearest) < float(case.format.largest)), 0.0, half_ulp(case, got))
    target = np.where(decided, nearest, got)
    error = np.abs(got - target)
    judged = compare("update", got, exact, half_ulp(case, got))
    wrong = bool((error > bound).any())
    if wrong:
        at = np.unravel_index(int(np.argmax(error > bound)), error.shape)
        index = str([int(i) for i in at])
        return Judgement(float("inf"), f"update{index}", repr(got[at]), repr(nearest[at]), 0.0, got.size)
    return judged


@check("MHN-PRC-3", family="precision", quantities=("rounded",), dtypes=("float64",))
def truncated_update_within_bound(case: Case) -> Judgement | None:
    """With every operation rounded to p bits the update errs by at most MHN-BND-2 with ``u = 2**-p``."""
    p = case.problem
    bits = p.steps
    fmt = Format(f"{bits} bits", bits, -1000, 1000)
    u = fmt.unit_roundoff
    model = AccuracyModel(fmt.name, fmt, fmt, exp_error=2 * u, normalize_first=False, output=fmt)
    bound = bounds.update_bound(p.query, p.memory, p.beta, p.solution, model)
    return compare(f"update in {bits} bits", case.value("rounded", bits=bits), p.solution.state, bound)
