"""Correct rounding and precision truncation."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from hopspec.formats import Format
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement, all_of, compare, require
from hopspec.properties.problem import Array, Problem, round_to
from hopspec.reference import bounds


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
        return Judgement(
            float("inf"), f"update{index}", repr(float(got[at])), repr(float(nearest[at])), 0.0, got.size
        )
    return judged


def _means(fmt: Format) -> list[list[float]]:
    """Numbers of ``fmt`` whose mean decides a tie, an almost-tie or a gradual underflow."""
    ulp = math.ldexp(1.0, 1 - fmt.precision)
    least = math.ldexp(1.0, fmt.least_exponent)
    above = math.ldexp(1.0, max(fmt.least_exponent, -60))
    normal = math.ldexp(1.0, fmt.emin)
    return [
        [1.0, 1.0 + ulp],
        [1.0 + ulp, 1.0 + 2 * ulp],
        [1.0, 1.0 + ulp, above, 0.0],
        [1.0, 1.0 + ulp, -above, 0.0],
        [least, 2 * least],
        [least, 0.0],
        [3 * least, 0.0],
        [normal, normal + least],
        [normal + least, normal + 2 * least],
        [normal, normal + 2 * least],
    ]


def _nearest(x: Fraction, fmt: Format) -> float:
    """The element of ``fmt`` nearest to ``x``, ties to even, by rational arithmetic alone."""
    exponent = math.frexp(float(x))[1] - 1
    unit = Fraction(2) ** max(exponent - fmt.precision + 1, fmt.least_exponent)
    return float(round(x / unit) * unit)


@check("MHN-PRC-4", family="single", claims=("correctly_rounded",))
def means_are_correctly_rounded(case: Case) -> Judgement | None:
    """Exact means that lie midway between two elements, next to midway, or below the normal range."""
    sign = (1.0, -1.0)[case.problem.seed % 2]
    judged = []
    for means in _means(case.format):
        memory = sign * np.array(means)[:, None]
        local = Problem(np.zeros((1, 1)), memory, 1.0)
        got = float(case.value("retrieve", local, varies=True)[0, 0])
        expected = _nearest(sum(map(Fraction, memory[:, 0].tolist()), Fraction()) / len(means), case.format)
        judged.append(require(f"mean of {memory[:, 0].tolist()}", got == expected, got, expected))
    return all_of(*judged)


@check("MHN-PRC-3", family="precision", quantities=("rounded",), dtypes=("float64",))
def truncated_update_within_bound(case: Case) -> Judgement | None:
    """With every operation rounded to p bits the update errs by at most MHN-BND-2 with ``u = 2**-p``."""
    p = case.problem
    bits = p.steps
    bound = bounds.truncation_bound(p.query, p.memory, p.beta, p.solution, bits)
    # The result comes back as a float64.
    bound = bound + 2.0**-53 * np.abs(p.solution.state.hi) * (bits > 53)
    return compare(f"update in {bits} bits", case.value("rounded", bits=bits), p.solution.state, bound)
