"""Fixed points: Lipschitz constants, certificates, retrieval of stored patterns."""

from __future__ import annotations

import math

import numpy as np

from hopspec.properties.checks.common import EPS64, grown, jacobian, length, lipschitz, update_bound
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement, all_of, within
from hopspec.properties.problem import Array, Problem, round_to


def _nearby(case: Case, size: float) -> Problem:
    """The same problem with each query moved by about ``size``, along the two best memories."""
    p = case.problem
    order = np.argsort(p.solution.logits, axis=1)
    second = order[:, -2] if p.memory.shape[0] > 1 else order[:, -1]
    direction = p.memory[order[:, -1]] - p.memory[second]
    scale = np.maximum(length(direction), 1e-30)[:, None]
    return p.but(query=round_to(p.query + size * direction / scale, case.format))


def _extent(p: Problem) -> Array:
    """``max_i |x_i - T(xi)|`` per query."""
    gaps = p.memory[None, :, :] - p.solution.state.hi[:, None, :]
    return np.asarray(length(gaps).max(axis=1) * (1 + 8 * EPS64))


@check("MHN-FIX-2", family="pairs")
def update_is_lipschitz(case: Case) -> Judgement | None:
    """``|T(xi) - T(y)| <= beta diam(X)**2 / 4 |xi - y|``."""
    p = case.problem
    other = _nearby(case, 0.25 * float(length(p.memory).max()))
    moved = length(case.value() - case.value("retrieve", other, varies=True))
    allowed = lipschitz(p) * length(p.query - other.query) * (1 + 8 * EPS64)
    bound = length(update_bound(case)) + length(update_bound(case, other)) + 8 * EPS64 * length(case.value())
    return within("distance of two updates", np.maximum(moved, allowed), allowed, bound)


@check("MHN-FIX-3", family="pairs")
def jacobian_governs_the_ball(case: Case) -> Judgement | None:
    """``T(xi + h)`` is ``T(xi) + J h`` but for ``lam |h| ((e^{beta R r} - 1) / (beta R r) - 1)``."""
    p = case.problem
    other = _nearby(case, 0.05 / max(p.beta * float(_extent(p).max()), 1e-12))
    step = other.query - p.query
    judged = []
    for row in range(p.query.shape[0]):
        r = float(length(step[row]))
        if r == 0:
            continue
        matrix = jacobian(p, row)
        largest = float(np.linalg.eigvalsh(matrix)[-1]) * (1 + 1e-12)
        rate = p.beta * float(_extent(p)[row]) * r
        if rate > 2:
            continue
        linear = matrix @ step[row]
        allowed = largest * r * (math.expm1(rate) / rate - 1) if rate > 0 else 0.0
        got = case.value("retrieve", other, varies=True)[row] - case.value()[row]
        doubt = length(update_bound(case)[row]) + length(update_bound(case, other)[row])
        doubt = doubt + 64 * EPS64 * (p.memory.shape[0] + 4) * (float(length(p.memory).max()) + largest * r)
        error = length(got - linear)
        judged.append(
            within("T(xi + h) - T(xi) - J h", np.asarray(error), np.asarray(0.0), np.asarray(allowed + doubt))
        )
    return all_of(*judged)


def _banach_radius(delta: float, largest: float, rate: float) -> float | None:
    """The least radius on a geometric grid for which the Banach certificate holds (``rate`` is beta R)."""
    if not largest < 1:
        return None
    r = delta / (1 - largest) * (1 + 1e-9)
    for _ in range(200):
        growth = grown(rate * r)
        if not largest * growth < 1:
            return None
        reach = largest * (growth - 1) / rate if rate > 0 else largest * r
        if delta + reach <= r:
            return r
        r = max(r * 1.02, delta + reach)
    return None


@check("MHN-FIX-4", family="settle")
def certified_ball_keeps_the_iteration(case: Case) -> Judgement | None:
    """Where the Banach certificate holds, repeated updates stay in the certified ball and contract."""
    p = case.problem
    exact = p.solution
    extents = _extent(p)
    balls = []
    for row in range(p.query.shape[0]):
        delta = float(length(p.query[row] - exact.state.hi[row])) * (1 + 8 * EPS64)
        largest = float(np.linalg.eigvalsh(jacobian(p, row))[-1]) * (1 + 1e-9) + 1e-300
        r = _banach_radius(delta, largest, p.beta * float(extents[row]))
        if r:
            balls.append((row, delta, largest, r))
    if not balls:
        return None
    rows = [row for row, *_ in balls]
    state = p.but(query=case.value()[rows])
    once = case.value("retrieve", state, varies=True)
    doubts = length(update_bound(case))[rows] + length(update_bound(case, state))
    judged = []
    for at, (row, delta, largest, r) in enumerate(balls):
        # The computed first update may lie outside the ball by its own error.
        rate = largest * grown(p.beta * float(extents[row]) * (r + float(doubts[at])))
        reach = length(once[at] - p.query[row])
        step = length(once[at] - state.query[at])
        slack = float(doubts[at]) * 2 + 16 * EPS64 * (float(length(p.query[row])) + r)
        judged.append(
            within("distance from the centre", np.maximum(reach, r), np.asarray(r), np.asarray(slack))
        )
        allowed = rate * delta
        judged.append(
            within("second step", np.maximum(step, allowed), np.asarray(allowed), np.asarray(slack))
        )
    return all_of(*judged)


def _newton(p: Problem, row: int) -> Array | None:
    """A fixed point near query ``row`` by Newton's method in float64."""
    x = p.query[row]
    for _ in range(30):
        update, matrix = _linearized(p, x)
        system = np.eye(len(x)) - matrix
        if abs(np.linalg.det(system)) < 1e-8:
            return None
        step = np.linalg.solve(system, x - update)
        x = np.asarray(x - step, dtype=np.float64)
        if not np.isfinite(x).all() or length(x) > 4 * length(p.memory).max() + 1:
            return None
        if length(step) <= 1e-14 * (1 + float(length(x))):
            return x
    return None


def _linearized(p: Problem, state: Array) -> tuple[Array, Array]:
    """Update and Jacobian of one state in float64, good enough to look for fixed points."""
    logits = p.beta * (p.memory @ state)
    weights = np.exp(logits - logits.max())
    weights = weights / weights.sum()
    update = weights @ p.memory
    centred = p.memory - update
    return update, p.beta * (centred.T * weights) @ centred


@check("MHN-FIX-5", family="saddles")
def certified_fixed_point_is_one(case: Case) -> Judgement | None:
    """Where the Newton certificate holds, the update moves the centre no further than the ball allows."""
    p = case.problem
    found = _newton(p, 0)
    if found is None:
        return None
    centre = round_to(found[None, :], case.format)
    local = p.but(query=centre)
    matrix = jacobian(local, 0)
    largest = float(np.linalg.eigvalsh(matrix)[-1])
    inverse = np.linalg.inv(np.eye(len(matrix)) - matrix)
    norm = float(np.linalg.norm(inverse, 2)) * (1 + 1e-9)
    residual = centre[0] - local.solution.state.hi[0]
    eta = float(length(inverse @ residual)) * (1 + 1e-9) + 1e-15 * norm * float(length(centre[0]))
    rate = p.beta * float(_extent(local)[0])
    r = 2 * eta + 1e-300
    kappa = 1e-12 * norm + norm * largest * math.expm1(min(rate * r, 700))
    if not (kappa < 0.5 and eta + kappa * r <= r):
        return None
    # The fixed point lies within r, so |x - T(x)| <= (1 + lam e^{beta R r}) r.
    allowed = (1 + largest * grown(rate * r)) * r
    got = length(case.value("retrieve", local, varies=True)[0] - centre[0])
    doubt = length(update_bound(case, local)[0]) + 8 * EPS64 * float(length(centre[0]))
    return within("step at the fixed point", np.maximum(got, allowed), np.asarray(allowed), np.asarray(doubt))


@check("MHN-FIX-7", family="separated")
def retrieval_error(case: Case) -> Judgement | None:
    """``|T(xi) - x_i| <= 2 (N - 1) M exp(-beta (Delta_i - 2 |xi - x_i| M))``."""
    p = case.problem
    n = p.memory.shape[0]
    if n < 2:
        return None
    gram = p.memory @ p.memory.T
    largest = float(length(p.memory).max()) * (1 + 8 * EPS64)
    nearest = np.argmin(length(p.query[:, None, :] - p.memory[None, :, :]), axis=1)
    separation = np.array([(gram[i, i] - np.delete(gram[i], i)).min() for i in nearest])
    separation = separation - 32 * p.memory.shape[1] * EPS64 * largest**2
    away = length(p.query - p.memory[nearest])
    exponent = p.beta * (separation - 2 * away * largest)
    error = length(case.value() - p.memory[nearest])
    with np.errstate(over="ignore"):
        allowed = 2 * (n - 1) * largest * np.exp(-exponent) * (1 + 1e-9)
    allowed = np.where(allowed < 2 * largest, allowed, np.inf)
    return within(
        "distance to the stored pattern", error, np.zeros_like(error), allowed + length(update_bound(case))
    )


@check("MHN-FIX-8", family="separated")
def well_separated_memory_attracts(case: Case) -> Judgement | None:
    """A well separated memory's ball of radius ``1 / (beta N M)`` is mapped into itself."""
    p = case.problem
    n, d = p.memory.shape
    if n < 3:
        return None
    gram = p.memory @ p.memory.T
    largest = float(length(p.memory).max())
    radius: float = 1 / (p.beta * n * largest)
    needed = 2 / (p.beta * n) + math.log(2 * (n - 1) * n * p.beta * largest**2) / p.beta
    rows = [i for i in range(n) if (gram[i, i] - np.delete(gram[i], i)).min() > needed * (1 + 1e-9)]
    if not rows:
        return None
    i = rows[p.seed % len(rows)]
    direction = p.rng.standard_normal((d,))
    start = round_to(p.memory[i] + 0.7 * radius * direction / length(direction), case.format)
    if float(length(start - p.memory[i])) > radius:
        start = p.memory[i]
    local = p.but(query=start[None, :])
    error = length(case.value("retrieve", local, varies=True)[0] - p.memory[i])
    doubt = length(update_bound(case, local)[0]) + 8 * EPS64 * largest
    return within("distance to the memory", np.maximum(error, radius), np.asarray(radius), np.asarray(doubt))
