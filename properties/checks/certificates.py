"""Fixed-point certificates that an implementation hands out (clause MHN-FIX-10).

A certificate is broken only when the reference refutes it: when no fixed point can be in the ball, or two
are, or the one that is there does not do what is said of it. The reference is slow beside problems of this
size, so it is asked where float64 sees something odd, and on a sample.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from hopspec import reference
from hopspec.properties.calls import Broken
from hopspec.properties.checks.common import EPS64, length, lipschitz
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement, all_of, require
from hopspec.properties.problem import Array, Problem, round_to
from hopspec.reference.context import Real, context
from hopspec.types import Certificate, Proof

# One state in so many is judged by the reference although nothing looks odd.
SAMPLE = 256
BITS = 100
CONTEXT = context(2 * BITS)


class Said(NamedTuple):
    """What a certificate says of one state, in the order of :class:`hopspec.Certificate`."""

    certified: float
    radius: float
    attracts: float
    repels: float
    rate: float
    proof: float


@check("MHN-FIX-10", family="saddles", quantities=("certify",))
def certificates_are_true(case: Case) -> Judgement | None:
    """The ball holds one fixed point, which attracts or repels as is said; a NaN state is not certified."""
    p = case.problem
    states = _states(case)
    bad = np.full_like(states[:1], math.nan)
    asked = p.but(query=np.concatenate([states, bad]))
    fields = case.fields("certify", asked, varies=True)
    if len(fields) != len(Certificate._fields):
        names = ", ".join(Certificate._fields)
        raise Broken("shape", f"certify returned {len(fields)} fields, expected {names}")
    rows = [Said(*(float(field[row]) for field in fields)) for row in range(len(states) + 1)]
    odd = _odd(p, states, rows)
    judged = [_consistent(said) for said in rows]
    judged.append(require("state that is not finite", not rows[-1].certified, "certified", "not certified"))
    for number, (state, said) in enumerate(zip(states, rows, strict=False)):
        if said.certified and (odd[number] or (p.seed + number) % SAMPLE == 0):
            judged.append(_refuted(p, state, said, (0, 200) if odd[number] else (0,)))
            if not judged[-1].holds:
                break
    return all_of(*judged)


def _states(case: Case) -> Array:
    """States at all distances from attracting and repelling fixed points."""
    p = case.problem
    query = p.query[:1]
    late = query
    for _ in range(8):
        late = _update(p, late, jacobians=False)[0]
    means = [p.memory.mean(axis=0), p.memory[:2].mean(axis=0)]
    nearest = _newton(p, np.stack([query[0], *means]))[0]
    states = [query, late, nearest, (query + late) / 2, 0.9 * late + 0.1 * nearest[:1]]
    return round_to(np.concatenate(states), case.format)


def _update(p: Problem, states: Array, *, jacobians: bool = True) -> tuple[Array, Array]:
    """Updates ``[S, d]`` and, unless they are not asked for, Jacobians ``[S, d, d]`` in float64."""
    logits = p.beta * states @ p.memory.T
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights = weights / weights.sum(axis=1, keepdims=True)
    updates = weights @ p.memory
    if not jacobians:
        return updates, updates
    centred = p.memory - updates[:, None, :]
    return updates, p.beta * (centred * weights[:, :, None]).transpose(0, 2, 1) @ centred


def _newton(p: Problem, states: Array) -> tuple[Array, Array]:
    """Where Newton's method leads each state in float64, and the Jacobians there."""
    identity = np.eye(states.shape[1])
    reach = 4 * float(np.abs(p.memory).max()) + 1
    for _ in range(4):
        updates, jacobians = _update(p, states)
        # A little off the diagonal, so that no matrix is singular; the point it leads to is the same.
        steps = np.linalg.solve(identity * (1 + 1e-9) - jacobians, (updates - states)[:, :, None])
        states = (states + steps[:, :, 0]).clip(-reach, reach)
    return states, _update(p, states)[1]


def _odd(p: Problem, states: Array, rows: list[Said]) -> list[bool]:
    """Which certificates float64 finds nothing to confirm."""
    points, jacobians = _newton(p, states)
    away, tops = length(points - states), np.linalg.eigvalsh(jacobians)[:, -1]
    noise = 64 * EPS64 * (1 + float(np.abs(p.memory).max()))
    return [
        bool(
            distance > said.radius + noise
            or (said.attracts and top > 1 - 1e-9)
            or (said.repels and top < 1 + 1e-9)
            or top > said.rate * (1 + 1e-9)
        )
        for distance, top, said in zip(away, tops, rows, strict=False)
    ]


def _consistent(said: Said) -> Judgement:
    """What has to go together in every certificate."""
    fits = (
        math.isfinite(said.radius) == bool(said.certified)
        and said.radius >= 0
        and bool(said.certified) >= bool(said.attracts or said.repels)
        and not (said.attracts and said.repels)
        and (0 <= said.rate < 1) == bool(said.attracts)
        and (said.rate == math.inf) != bool(said.attracts)
        and (said.proof == Proof.NONE) != bool(said.certified)
    )
    return require("fields of a certificate", fits, said, "fields that go together")


def _refuted(p: Problem, state: Array, said: Said, lengths: tuple[int, ...]) -> Judgement:
    """Judge a certificate by fixed points the reference encloses, following the iteration that far."""
    claim = f"{said} of state {state.tolist()}"
    own = reference.certify(state, p.memory, beta=p.beta)
    inside: list[tuple[list[Real], Real, reference.FixedPoint]] = []
    for steps in lengths:
        found = reference.fixed_point(state, p.memory, beta=p.beta, to=BITS, max_steps=steps)
        if not found.certified:
            continue
        centre = [leaf.value for leaf in found.state]
        doubt = sum(CONTEXT.convert(leaf.radius) for leaf in found.state)
        away = _distance(centre, state)
        only = own.certified and said.radius <= own.radius and away + doubt <= own.radius
        if only and away - doubt > said.radius:
            return require(f"distance {float(away):.6g} of the only fixed point near", False, claim, "less")
        new = all(_distance(centre, other) > doubt + more for other, more, _ in inside)
        if new and away + doubt <= said.radius:
            inside.append((centre, doubt, found))
    if len(inside) > 1:
        return require("fixed points in the ball", False, claim, "one, not two")
    if inside:
        return _judged(p, inside[0][0], inside[0][2], said, claim)
    return require(
        "fixed points in the ball", not _surely_moves(p, state, said.radius), claim, "one, not none"
    )


def _judged(p: Problem, centre: list[Real], found: reference.FixedPoint, said: Said, claim: str) -> Judgement:
    """Judge what is said of the fixed point that the ball is about."""
    jacobian = CONTEXT.matrix(reference.definitions.jacobian(centre, p.memory, beta=p.beta, bits=2 * BITS))
    plain = np.array(jacobian.tolist(), dtype=np.float64)
    vector = CONTEXT.matrix(np.linalg.eigh(plain)[1][:, -1].tolist())
    # A Rayleigh quotient is no larger than the largest eigenvalue, whatever the vector.
    least = (vector.T * jacobian * vector)[0] / (vector.T * vector)[0]
    # The point is known to 100 bits, and so is its Jacobian.
    slow = said.attracts and least > said.rate * (1 + CONTEXT.ldexp(1, BITS // -2))
    wrong = slow or (said.attracts and found.repels) or (said.repels and found.attracts)
    kind = "repels" if found.repels else "attracts" if found.attracts else "is undecided"
    return require(
        f"fixed point that {kind}, with an eigenvalue {float(least):.6g}", not wrong, claim, "the same"
    )


def _distance(point: list[Real], other: Array | list[Real]) -> Real:
    pairs = zip(point, other, strict=True)
    return CONTEXT.norm([CONTEXT.convert(a) - CONTEXT.convert(b) for a, b in pairs])


def _surely_moves(p: Problem, state: Array, radius: float) -> bool:
    """Whether no state within ``radius`` can be a fixed point.

    ``y - T(y)`` differs from ``x - T(x)`` by at most ``max(1, L - 1) |y - x|``, since the eigenvalues of the
    Jacobians lie between 0 and the Lipschitz constant ``L``.
    """
    moved = reference.update(state, p.memory, beta=p.beta, to=BITS)
    doubt = sum(CONTEXT.convert(leaf.radius) for leaf in moved)
    step = _distance([leaf.value for leaf in moved], state) - doubt
    return bool(step > max(1.0, lipschitz(p) - 1) * radius * (1 + 1e-12))
