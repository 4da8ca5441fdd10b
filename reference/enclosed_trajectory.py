r"""Iterates of the update in real arithmetic, enclosed (clause MHN-UPD-6 without any rounding).

Let $c_k$ be a known vector with $|T^k(\xi) - c_k| \le \rho_k$; $\rho_0 = 0$. The update of $c_k$ is
enclosed as in :mod:`hopspec.reference.linearization`: $|T(c_k) - c_{k+1}| \le \epsilon_k$. By clause
MHN-FIX-3, with $R = \max_i |x_i - T(c_k)|$ and $\lambda = \|J(c_k)\|$,

$$\rho_{k+1} = \min\Bigl(\lambda \frac{e^{\beta R \rho_k} - 1}{\beta R},\; \beta R^2 \rho_k,\; R\Bigr) +
  \epsilon_k .$$

The second term is clause MHN-FIX-2, as no two memories are further apart than $2R$; the third holds because
$T^{k+1}(\xi)$ lies in the convex hull of the memory, within $R$ of $T(c_k)$. Along a sensitive trajectory
$\rho$ grows by $\lambda$ in each step, so the working precision is raised until all radii are small enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from hopspec.clauses import implements
from hopspec.precision import Precision
from hopspec.reference.context import working_bits
from hopspec.reference.directed import above, exact_leaf, growth_above, scaled
from hopspec.reference.linearization import Spectrum, Step, spectrum_at, step_at
from hopspec.reference.oracle import views
from hopspec.reference.problem import Problem, read_problem
from hopspec.reference.row import View
from hopspec.reference.target import BitsGoal
from hopspec.types import Exact

__all__ = ["Enclosure", "enclosed_steps", "enclosed_trajectory"]

# Bits at which the Jacobian is enclosed: float64 eigenvectors do not make use of more.
COARSE = 60


@dataclass(frozen=True, slots=True)
class Enclosure:
    """One enclosed iterate.

    Args:
        problem: the problem with the centre ``c_k`` as its only query.
        radius: ``rho_k``.
        step: the update of the centre.
        spectrum: its Jacobian, where it was needed or asked for.
    """

    problem: Problem
    radius: Fraction
    step: Step
    spectrum: Spectrum | None


@implements("MHN-UPD-6", "MHN-FIX-3")
def enclosed_trajectory(
    query: Any, memory: Any, *, beta: Any, steps: int, keep: Any = None, to: int | Precision = 128
) -> list[Any]:
    """The query and ``steps`` iterates of the update in real arithmetic, each enclosed (clause MHN-UPD-6).

    Unlike :func:`hopspec.reference.trajectory` nothing is rounded between the steps. It is not known how to
    round such an iterate correctly, so every component has a proved radius instead.

    Args:
        query: ``[d]`` or ``[L, d]``: nested sequences, NumPy, or anything with ``tolist()``; taken exactly.
        memory: ``[N, d]``.
        beta: any number of at least 0.
        steps: the number n of updates, at least 0.
        keep: None, or bools that broadcast to ``[L, N]``.
        to: bits b, or a Precision that gives them.

    Returns:
        ``[n + 1, d]`` or ``[n + 1, L, d]`` as nested lists of :class:`hopspec.Exact`. Before a state is
        rounded to b bits its radius is at most ``2**-b`` times its largest component, unless more than
        ``4 b + 4096`` bits would be needed: then it is larger, and as true. 0 from the first update on in
        rows that see nothing (clause MHN-MSK-4), NaN in others whose query or kept memory is not finite.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, ``beta`` is negative or not finite, ``steps`` is negative, or fewer
            than 2 bits are asked for.

    >>> start, _, last = enclosed_trajectory([1.0], [[2.0], [-2.0]], beta=0.5, steps=2, to=80)
    >>> start[0].exact, bool(last[0].radius < 2**-78), round(float(last[0].value), 12)
    (True, True, 1.818503347994)
    """
    if isinstance(steps, bool) or not isinstance(steps, int):
        raise TypeError(f"steps must be an int, got {type(steps).__name__}")
    if steps < 0:
        raise ValueError(f"steps must be at least 0, got {steps}")
    problem = read_problem(query, memory, beta=beta, keep=keep)
    if problem.beta.numerator < 0:
        raise ValueError(f"beta must be at least 0, got {beta}")
    bits = working_bits(to, max(1, problem.memories))
    rows = [_row(problem, view, row, steps, bits) for row, view in views(problem)]
    return rows[0] if problem.single else [list(states) for states in zip(*rows, strict=True)]


def _row(problem: Problem, view: View, row: int, steps: int, bits: int) -> list[list[Exact]]:
    width, goal = problem.query.width, BitsGoal(bits)
    if not view.kept:
        zero = [goal.rational(0)] * width
        return [_leaves(problem, row, Fraction(0), bits), *[zero] * steps]
    if not (problem.query.finite[row] and view.memory_finite):
        return [[goal.undefined()] * width] * (steps + 1)
    working = bits + 64 + len(view.kept).bit_length() + 2 * steps
    while True:
        found: list[list[Exact]] = []
        narrow = True
        for enclosure in enclosed_steps(problem, view, row, working, steps):
            found.append(_leaves(enclosure.problem, 0, enclosure.radius, bits))
            largest = max((abs(enclosure.problem.query.fraction(0, j)) for j in range(width)), default=0)
            narrow = narrow and enclosure.radius <= scaled(Fraction(largest), -bits)
        if narrow or working > 4 * bits + 4096:
            return found
        working = working * 3 // 2


def _leaves(problem: Problem, row: int, radius: Fraction, bits: int) -> list[Exact]:
    if not problem.query.finite[row]:
        return [BitsGoal(bits).undefined()] * problem.query.width
    return [exact_leaf(problem.query.fraction(row, j), radius, bits) for j in range(problem.query.width)]


def enclosed_steps(
    problem: Problem, view: View, row: int, bits: int, steps: int, *, spectra: bool = False
) -> Iterator[Enclosure]:
    """The first ``steps + 1`` iterates of query number ``row`` at ``bits`` bits.

    Args:
        problem: finite, with ``beta >= 0``.
        view: the memories kept, at least one.
        row: which query.
        bits: working precision.
        steps: number of updates.
        spectra: whether to enclose every Jacobian, not only where the radius depends on it.
    """
    local = replace(problem, query=replace(problem.query, rows=[problem.query.rows[row]], finite=[True]))
    radius = Fraction(0)
    for _ in range(steps + 1):
        step = step_at(local, view, 0, bits)
        spectrum = None
        if spectra or radius:
            spectrum = spectrum_at(local, view, step_at(local, view, 0, COARSE))
        yield Enclosure(local, radius, step, spectrum)
        radius = above((_moved(local, radius, spectrum) if radius else radius) + step.error)
        local = replace(local, query=step.state(problem.memory))


def _moved(problem: Problem, radius: Fraction, spectrum: Spectrum | None) -> Fraction:
    """How far the update of a point within ``radius`` of the centre may be from that of the centre."""
    beta = problem.beta.fraction()
    if spectrum is None:
        extent = _extent(problem)
        return min(beta * extent**2 * radius, extent)
    extent = spectrum.extent
    limits = [beta * extent**2 * radius, extent]
    growth = growth_above(beta * extent * radius)
    return min(limits if growth is None else [spectrum.largest * growth * radius, *limits])


def _extent(problem: Problem) -> Fraction:
    """A bound on ``max_i |x_i - T(x)|`` for any ``x``: twice a bound on the length of a memory."""
    memory = problem.memory
    largest = max((abs(entry) for row in memory.rows for entry in row), default=0)
    return Fraction(2 * memory.width * largest) * scaled(Fraction(1, memory.denominator), memory.exponent)
