r"""Rigorous fixed-point certificates (clauses MHN-FIX-4, MHN-FIX-5 and MHN-FIX-10).

Everything the two clauses ask for is enclosed in rational arithmetic by
:mod:`hopspec.reference.linearization`. A radius is then proposed by float64 and checked: the proposal may be
anything, what is returned has passed the inequalities of the clause in exact arithmetic.

*What else follows.* On the ball $J \preceq e^{\beta R r} J(x)$ and $J \succeq \frac{2}{1 + e^{2 \beta R r}}
J(x)$ (clause MHN-FIX-3), and the fixed point lies in it. So if $\lambda e^{\beta R r} < 1$ it attracts, and
every update of a point of the ball brings it nearer by that factor, since the segment from the point to the
fixed point lies in the ball. If the largest eigenvalue of $J(x)$ times $\frac{2}{1 + e^{2 \beta R r}}$
exceeds 1, the fixed point repels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from hopspec.clauses import implements
from hopspec.reference.directed import above, exp_above, float_above, growth_above, root_above
from hopspec.reference.linearization import Spectrum, Step, spectrum_at, step_at
from hopspec.reference.oracle import views
from hopspec.reference.problem import Problem, read_problem
from hopspec.reference.row import View
from hopspec.types import Certificate, Proof

__all__ = [
    "Ball",
    "banach_ball",
    "certify",
    "certify_row",
    "linearized",
    "newton_ball",
    "nothing",
    "smaller_ball",
]

# A proposed radius is widened by this much, so that rounding does not fail a check that holds with room.
_ROOM = 1 + 2.0**-20
# Below it float64 has fewer than 53 bits, and a radius that passed its check may not be one.
_LEAST_RADIUS = Fraction(2) ** -1022


@dataclass(frozen=True, slots=True)
class Ball:
    """A certified ball: what :class:`hopspec.Certificate` says of one state, in rationals."""

    radius: Fraction
    attracts: bool
    repels: bool
    rate: Fraction | None
    proof: Proof

    def certificate(self) -> Certificate[Any]:
        """The same in plain numbers; the radius must be a float64, because it is what was checked."""
        rate = math.inf if self.rate is None else float_above(self.rate)
        return Certificate(True, float(self.radius), self.attracts, self.repels, rate, int(self.proof))


def nothing() -> Certificate[Any]:
    """The certificate that says nothing."""
    return Certificate(False, math.inf, False, False, math.inf, int(Proof.NONE))


@implements("MHN-FIX-4", "MHN-FIX-5", "MHN-FIX-10")
def certify(state: Any, memory: Any, *, beta: Any, keep: Any = None) -> Certificate[Any]:
    """Prove that exactly one fixed point lies near each state, and whether it attracts (clause MHN-FIX-10).

    Both forms of the certificate are tried, MHN-FIX-4 (Banach) and MHN-FIX-5 (Newton), and the smaller of
    the two balls is returned. All inequalities are checked in rational arithmetic.

    Args:
        state: ``[d]`` or ``[L, d]``: nested sequences, NumPy, or anything with ``tolist()``; taken exactly.
        memory: ``[N, d]``.
        beta: any positive number.
        keep: None, or bools that broadcast to ``[L, N]``.

    Returns:
        A :class:`hopspec.Certificate` of plain numbers for a state ``[d]``, else of lists of L; radii and
        rates are float64, rounded upwards. Not certified where no ball is found, or where the state or a
        kept memory is not finite. Where nothing is kept the update is 0 everywhere (clause MHN-MSK-4).

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, or ``beta`` is not positive and finite.

    >>> near = certify([[1.9986], [0.0]], [[2.0], [-2.0]], beta=1.0)
    >>> near.certified, near.attracts, near.repels, near.radius[0] < 1e-4
    ([True, True], [True, False], [False, True], True)
    """
    problem = read_problem(state, memory, beta=beta, keep=keep, positive_beta=True)
    results = [certify_row(problem, view, row) for row, view in views(problem)]
    if problem.single:
        return results[0]
    return Certificate(*([getattr(result, name) for result in results] for name in Certificate._fields))


def certify_row(problem: Problem, view: View, row: int) -> Certificate[Any]:
    """The certificate of query number ``row``."""
    if not problem.query.finite[row] or not view.memory_finite:
        return nothing()
    if not view.kept:
        away = sum(problem.query.fraction(row, j) ** 2 for j in range(problem.query.width))
        radius = float_above(root_above(Fraction(away)))
        return Certificate(True, radius, True, False, 0.0, int(Proof.BANACH))
    step, spectrum = linearized(problem, view, row)
    found = smaller_ball(problem, step, spectrum)
    if found is not None and 0 < found.radius < _LEAST_RADIUS:
        found = smaller_ball(problem, step, spectrum, _LEAST_RADIUS)
    return nothing() if found is None or found.radius >= 2**1023 else found.certificate()


def smaller_ball(
    problem: Problem, step: Step, spectrum: Spectrum | None, reach: Fraction = Fraction(0)
) -> Ball | None:
    """The smaller of the two certified balls about a state that have radius ``reach`` at least, or None."""
    if spectrum is None:
        return None
    balls = [form(problem, step, spectrum, reach) for form in (banach_ball, newton_ball)]
    return min((ball for ball in balls if ball is not None), key=lambda ball: ball.radius, default=None)


def linearized(problem: Problem, view: View, row: int) -> tuple[Step, Spectrum | None]:
    """Update and Jacobian at query number ``row``, the update as exactly as a certificate can make use of."""
    bits = coarse = 60
    step = first = step_at(problem, view, row, bits)
    digits = max((abs(entry).bit_length() for entry in problem.query.rows[row]), default=0)
    # A state that is the fixed point to the last bit may have any number of them agree.
    while step.error * 1024 > step.length and bits < 4 * (digits + coarse):
        bits *= 2
        step = step_at(problem, view, row, bits)
    return step, spectrum_at(problem, view, first)


def banach_ball(
    problem: Problem, step: Step, spectrum: Spectrum, reach: Fraction = Fraction(0)
) -> Ball | None:
    """The ball of clause MHN-FIX-4 about a state, of radius ``reach`` at least; None if there is none."""
    largest, slope = spectrum.largest, above(problem.beta.fraction() * spectrum.extent)
    if not largest < 1:
        return None
    if not step.length and not reach:
        return _described(Fraction(0), slope, spectrum, Proof.BANACH)
    rate, weight = _float(slope * step.length), min(float(largest), math.nextafter(1.0, 0.0))

    def excess(g: float) -> tuple[float, float]:
        # How much g exceeds 1 + lam (e**(rate g) - 1) / rate, and the derivative of that in g.
        grown = _expm1(rate * g)
        return g - 1 - weight * (grown / rate if rate else g), 1 - weight * (grown + 1)

    radius = max(_proposal(excess, step.length, 1 / (1 - weight)), reach)
    growth, power = growth_above(slope * radius), exp_above(slope * radius)
    if growth is None or power is None:
        return None
    if step.length + largest * growth * radius <= radius and largest * power < 1:
        return _described(radius, slope, spectrum, Proof.BANACH)
    return None


def newton_ball(
    problem: Problem, step: Step, spectrum: Spectrum, reach: Fraction = Fraction(0)
) -> Ball | None:
    """The ball of clause MHN-FIX-5 about a state, of radius ``reach`` at least; None if there is none."""
    inverse = spectrum.inverse()
    if inverse is None or not inverse.defect < 1:
        return None
    slope = above(problem.beta.fraction() * spectrum.extent)
    shift = inverse.shift(step)
    if not shift and not reach:
        return _described(Fraction(0), slope, spectrum, Proof.NEWTON)
    bend = inverse.norm * spectrum.largest
    rate, weight = _float(slope * shift), _float(bend)
    defect = min(float(inverse.defect), math.nextafter(1.0, 0.0))

    def excess(g: float) -> tuple[float, float]:
        grown = _expm1(rate * g)
        value = g - 1 - (defect + weight * grown) * g
        return value, 1 - defect - weight * (grown + rate * g * (grown + 1))

    radius = max(_proposal(excess, shift, 1 / (1 - defect)), reach)
    power = exp_above(slope * radius)
    if power is None:
        return None
    kappa = inverse.defect + bend * (power - 1)
    if kappa < 1 and shift + kappa * radius <= radius:
        return _described(radius, slope, spectrum, Proof.NEWTON)
    return None


def _described(radius: Fraction, slope: Fraction, spectrum: Spectrum, proof: Proof) -> Ball:
    """What follows from a ball, see the module's description."""
    power, square = exp_above(slope * radius), exp_above(2 * slope * radius)
    rate = None if power is None else above(spectrum.largest * power)
    attracts = rate is not None and float_above(rate) < 1
    repels = square is not None and 2 * spectrum.least > 1 + square
    return Ball(radius, attracts, repels, rate if attracts else None, proof)


def _proposal(excess: Callable[[float], tuple[float, float]], unit: Fraction, start: float) -> Fraction:
    """``unit`` times the least zero of a concave function, somewhat widened.

    Newton's method from the left of the zero stays there and converges. It stops where the function does not
    rise, having no zero.
    """
    g = start
    for _ in range(60):
        value, slope = excess(g)
        if not (value < 0 and slope > 0):
            break
        change = -value / slope
        g += change
        if change <= 1e-9 * g:
            break
    return above(Fraction(g if math.isfinite(g) else 1.0) * Fraction(_ROOM) * unit, 53)


def _expm1(x: float) -> float:
    return math.expm1(x) if x < 700 else math.inf


def _float(number: Fraction) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf
