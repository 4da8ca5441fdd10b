"""Several updates and settling: step counts, stop rule, statuses, termination."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from hopspec.properties.calls import Broken
from hopspec.properties.checks.common import energy_bound, length, lipschitz
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.checks.trajectory import chain
from hopspec.properties.judgement import Judgement, all_of, compare, require, within
from hopspec.properties.problem import Array, Problem
from hopspec.reference.bounds import update_bound_on_ball
from hopspec.types import Status

LONGEST_CHAIN = 6
# Queries of a call in which kernels take those out that have stopped, several times.
MANY = 24
# Relative error of a length summed in float32: (d + 3) / 2 units of 2**-24, below this for the d <= 17 drawn.
RESIDUAL_ROUNDING = 1e-6


def _settled(case: Case, problem: Problem | None = None, **options: float) -> tuple[Array, ...]:
    p = problem or case.problem
    keywords = {"eps": p.eps, "max_steps": p.max_steps, **options}
    fields = case.fields("settle", p, **keywords)
    if len(fields) != 5:
        raise Broken(
            "shape", f"settle returned {len(fields)} fields, expected state, energy, residual, steps, status"
        )
    return fields


def _width(p: Problem) -> float:
    """The largest distance between two memories."""
    return math.sqrt(p.widest)


@check("MHN-UPD-6", family="settle", claims=("steps",))
def steps_are_applications(case: Case) -> Judgement | None:
    """``steps = n`` applies the update n times; 0 returns the query."""
    p = case.problem
    if p.steps == 0:
        same = np.array_equal(case.value(steps=0), p.query)
        return require("state after 0 steps", same, "another state", "the query")
    links = chain(case, p.steps)
    if len(links.states) <= p.steps:
        return None
    error = length(case.value(steps=p.steps) - links.states[p.steps])
    sharp = links.radii[p.steps] < 0.1 * _width(p)
    return within(
        f"state after {p.steps} steps", error, np.zeros_like(error), np.where(sharp, links.radii[-1], np.inf)
    )


@check("MHN-UPD-6", family="settle", claims=("steps", "values"))
def values_are_read_out_last(case: Case) -> Judgement | None:
    """With values of twice the memory, two steps give twice the state: the first step uses the memory."""
    p = case.problem
    double = p.but(values=2 * p.memory)
    if case.dtype not in double.formats:
        return None
    links = chain(case, 2)
    if len(links.states) <= 2:
        return None
    error = length(case.value("retrieve", double, steps=2) - 2 * links.states[2])
    # Doubling the values doubles every rounding error of the read-out, but for the least elements.
    least = 2.0 ** max(case.format.least_exponent, -1022) * p.memory.size
    sharp = links.radii[2] < 0.1 * _width(p)
    bound = np.where(sharp, 2 * links.radii[2] * (1 + 1e-9) + least, np.inf)
    return within("read-out of twice the memory after 2 steps", error, np.zeros_like(error), bound)


@check("MHN-UPD-6", family="masked", claims=("steps", "masks"))
def masked_steps_are_applications(case: Case) -> Judgement | None:
    """The mask holds in every step."""
    p = case.problem
    links = chain(case, 2)
    if len(links.states) <= 2:
        return None
    error = length(case.value(steps=2) - links.states[2])
    bound = np.where(links.radii[2] < 0.1 * _width(p), links.radii[2], np.inf)
    return within("state after 2 masked steps", error, np.zeros_like(error), bound)


@check("MHN-BND-5", family="settle", claims=("steps",))
def trajectory_within_bound(case: Case) -> Judgement | None:
    """After n updates the distance to the exact trajectory is within the accumulated bound."""
    p = case.problem
    steps = max(p.steps, 2)
    exact, radius = p, np.zeros(p.query.shape[0])
    constant = lipschitz(p)
    for _ in range(steps):
        image = exact.solution.state.hi
        if not (radius < _width(p)).all():
            return None
        own = [
            update_bound_on_ball(q, p.memory, p.beta, r, k, case.model, e)
            for q, r, k, e in zip(exact.query, radius.tolist(), p.kept, p.extents, strict=True)
        ]
        # Continuing from the rounded exact state moves every later state by at most this much.
        restart = 4 * p.memory.shape[1] * 2.0**-52 * float(length(p.memory).max())
        radius = constant * radius + np.array(own) + restart
        exact = p.but(query=image)
    error = length(case.value(steps=steps) - exact.query)
    bound = np.where(radius < 0.1 * _width(p), radius, np.inf)
    return within(f"distance to the exact state after {steps} steps", error, np.zeros_like(error), bound)


@check("MHN-SET-1", family="settle", quantities=("retrieve", "settle"))
def stops_at_the_first_small_step(case: Case) -> Judgement | None:
    """The residual is above eps at every step but the last, for each query on its own."""
    p = case.problem
    _, _, _, steps, status = _settled(case)
    counts = np.clip(steps, 1, LONGEST_CHAIN).astype(int)
    links = chain(case, int(counts.max()))
    reached = len(links.states) - 1
    judged = []
    for row, count in enumerate(counts):
        if steps[row] > reached or steps[row] < 1:
            continue
        for k in range(1, count + 1):
            doubt = links.radii[k, row] + links.radii[k - 1, row] + 1e-15 * links.residuals[k, row]
            residual = links.residuals[k, row]
            last = k == count
            small_enough = last and status[row] == Status.CONVERGED
            if small_enough and residual - doubt > p.eps:
                judged.append(
                    require(f"residual of query {row} at its last step {k}", False, residual, f"<= {p.eps}")
                )
            elif not last and residual + doubt <= p.eps:
                judged.append(
                    require(f"steps of query {row}", False, int(steps[row]), f"{k}, its residual <= eps")
                )
            elif abs(residual - p.eps) > doubt:
                judged.append(require(f"steps of query {row}", True, "", ""))
    return all_of(*judged)


@check("MHN-SET-2", family="settle", quantities=("retrieve", "settle"))
def status_says_what_happened(case: Case) -> Judgement | None:
    """Converged exactly if the residual is at most eps; the residual is the length of the last step."""
    p = case.problem
    state, energy, residual, steps, status = _settled(case)
    codes = {int(s) for s in Status}
    known = bool(np.isin(status, list(codes)).all())
    judged: list[Judgement | None] = [require("status codes", known, status.tolist(), sorted(codes))]
    agrees = (status == Status.CONVERGED) == (residual <= p.eps)
    judged.append(
        require("converged", bool(agrees.all()), status.tolist(), f"residual {residual.tolist()} <= {p.eps}")
    )
    counted = bool(((steps >= 1) & (steps <= p.max_steps)).all())
    judged.append(require("steps", counted, steps.tolist(), f"1 to {p.max_steps}"))
    final = p.but(query=state)
    if np.isfinite(state).all() and final.solution.energy is not None:
        judged.append(
            compare("energy of the state", energy, final.solution.energy, energy_bound(case, final))
        )
    counts = steps.astype(int)
    links = chain(case, int(min(counts.max(), LONGEST_CHAIN)))
    for row, count in enumerate(counts):
        if 1 <= count < len(links.states):
            doubt = (
                links.radii[count, row]
                + links.radii[count - 1, row]
                + RESIDUAL_ROUNDING * links.residuals[count, row]
            )
            if doubt < 0.1 * _width(p):
                expected = np.asarray(links.residuals[count, row])
                judged.append(within(f"residual of query {row}", residual[row], expected, np.asarray(doubt)))
    return all_of(*judged)


@check("MHN-SET-3", family="settle", quantities=("retrieve", "settle"))
def state_is_that_of_the_steps(case: Case) -> Judgement | None:
    """The state returned is the update applied as often as ``steps`` says."""
    p = case.problem
    state, _, _, steps, _ = _settled(case)
    counts = steps.astype(int)
    links = chain(case, int(np.clip(counts.max(), 1, LONGEST_CHAIN)))
    judged: list[Judgement | None] = []
    for row, count in enumerate(counts):
        if 0 <= count < len(links.states) and links.radii[count, row] < 0.1 * _width(p):
            error = np.asarray(length(state[row] - links.states[count, row]))
            bound = np.asarray(links.radii[count, row] + 1e-300)
            judged.append(within(f"state of query {row} after {count} steps", error, np.asarray(0.0), bound))
    return all_of(*judged)


@check("MHN-SET-3", family="masked", quantities=("retrieve", "settle"), claims=("masks",))
def masked_state_is_that_of_the_steps(case: Case) -> Judgement | None:
    """The same where memories are masked: the mask holds in every step."""
    p = case.problem
    state, _, _, steps, _ = _settled(case, eps=0.0, max_steps=2)
    if not np.isfinite(state).all():
        return require("state", False, state.tolist(), "finite")
    links = chain(case, 2)
    judged: list[Judgement | None] = []
    for row, count in enumerate(steps.astype(int)):
        if 0 <= count < len(links.states) and links.radii[count, row] < 0.1 * _width(p):
            error = np.asarray(length(state[row] - links.states[count, row]))
            bound = np.asarray(links.radii[count, row] + 1e-300)
            judged.append(within(f"state of query {row} after {count} steps", error, np.asarray(0.0), bound))
    return all_of(*judged)


@check("MHN-SET-4", family="settle", quantities=("retrieve", "settle"))
def batch_mates_do_not_stop_a_query(case: Case) -> Judgement | None:
    """A query alone takes as many steps as in the batch, unless a residual lies within the bound of eps."""
    p = case.problem
    row = p.seed % p.query.shape[0]
    alone = p.but(query=p.query[row : row + 1])
    batch, single = _settled(case), _settled(case, alone)
    count = int(max(batch[3][row], single[3][0]))
    if not 1 <= count <= LONGEST_CHAIN:
        return None
    links = chain(case, count)
    if len(links.states) <= count:
        return None
    doubts = links.radii[1:, row] + links.radii[:-1, row]
    if (np.abs(links.residuals[1:, row] - p.eps) <= doubts).any():
        return None
    same = bool(batch[3][row] == single[3][0])
    judged: list[Judgement | None] = [
        require(f"steps of query {row}", same, int(batch[3][row]), f"{int(single[3][0])} when alone")
    ]
    if same and links.radii[count, row] < 0.1 * _width(p):
        error = np.asarray(length(batch[0][row] - single[0][0]))
        bound = np.asarray(2 * links.radii[count, row] + 1e-300)
        judged.append(within("state", error, np.asarray(0.0), bound))
    return all_of(*judged)


@check("MHN-SET-4", family="settle", quantities=("retrieve", "settle"))
def many_batch_mates_do_not_stop_a_query(case: Case) -> Judgement | None:
    """Nor do two dozen batch-mates, some of them equal to it, that stop sooner and later."""
    return _among_many(case, case.problem)


@check("MHN-SET-4", family="settle", quantities=("retrieve", "settle"), claims=("masks",), one_in=4)
def many_batch_mates_keep_their_masks(case: Case) -> Judgement | None:
    """The same with masks of their own."""
    p = case.problem
    keep = p.rng.random((p.query.shape[0], p.memory.shape[0])) < 0.7
    keep[:, p.seed % p.memory.shape[0]] = True
    return _among_many(case, case.remember("masks of settling", p, lambda: p.but(keep=keep)))


def _among_many(case: Case, few: Problem) -> Judgement | None:
    """State, residual and steps of queries among many are those of the few different ones."""
    count = few.query.shape[0]
    order = few.rng.permutation(np.arange(MANY) % count)
    keep = few.keep if few.keep is None else few.keep[order]
    state, _, residual, steps, _ = _settled(case, few.but(query=few.query[order], keep=keep))
    _, _, _, own, _ = _settled(case, few)
    links = chain(case, int(np.clip(own.max(), 1, LONGEST_CHAIN)), few)
    judged: list[Judgement | None] = []
    for row in range(count):
        last = int(own[row])
        if not 1 <= last < len(links.states) or links.radii[last, row] >= 0.1 * _width(few):
            continue
        doubts = links.radii[1:, row] + links.radii[:-1, row]
        if (np.abs(links.residuals[1:, row] - few.eps) <= doubts)[:last].any():
            continue
        mates = order == row
        judged.append(
            require(f"steps of query {row}", bool((steps[mates] == last).all()), steps[mates].tolist(), last)
        )
        away, near = length(state[mates] - links.states[last, row]), links.radii[last, row] + 1e-300
        judged.append(within(f"state of query {row}", away, np.zeros(away.shape), np.full(away.shape, near)))
        moved = np.full(away.shape, links.residuals[last, row])
        doubt = doubts[last - 1] + RESIDUAL_ROUNDING * moved + 1e-300
        judged.append(within(f"residual of query {row}", residual[mates], moved, doubt))
    return all_of(*judged)


def _really_repeats(case: Case, steps: Array, status: Array) -> list[Judgement | None]:
    """A stalled query's last state must be one of its earlier ones, as far as single updates can tell."""
    told = [
        row for row, code in enumerate(status) if code == Status.STALLED and 1 <= steps[row] <= LONGEST_CHAIN
    ]
    if not told or not case.provides("retrieve"):
        return []
    links = chain(case, int(max(steps[row] for row in told)))
    judged: list[Judgement | None] = []
    for row in told:
        count = int(steps[row])
        if count >= len(links.states):
            continue
        gaps = length(links.states[:count, row] - links.states[count, row])
        doubts = links.radii[:count, row] + links.radii[count, row]
        judged.append(
            require(f"cycle of query {row}", bool((gaps <= doubts).any()), gaps.tolist(), "a repeated state")
        )
    return judged


@check("MHN-SET-5", family="settle", quantities=("settle",))
def settling_ends(case: Case) -> Judgement | None:
    """With eps = 0 a query ends on equality, on a cycle (stalled) or at max_steps, and says which."""
    limit = 32
    state, _, residual, steps, status = _settled(case, eps=0.0, max_steps=limit)
    judged: list[Judgement | None] = [
        require("state", bool(np.isfinite(state).all()), state.tolist(), "finite")
    ]
    for row in range(len(steps)):
        code, count = int(status[row]), int(steps[row])
        right = {
            int(Status.CONVERGED): residual[row] == 0 and count <= limit,
            int(Status.STALLED): residual[row] > 0 and count <= limit,
            int(Status.MAX_STEPS): residual[row] > 0 and count == limit,
        }.get(code, False)
        said = f"status {code}, {count} steps, residual {residual[row]}"
        judged.append(require(f"end of query {row}", bool(right), said, "a status that fits"))
    judged.extend(_really_repeats(case, steps, status))
    short = _settled(case, max_steps=1)
    capped = bool((short[3] == 1).all())
    judged.append(require("steps with max_steps = 1", capped, short[3].tolist(), 1))
    left = bool(((short[4] == Status.CONVERGED) | (short[4] == Status.MAX_STEPS)).all())
    judged.append(require("status with max_steps = 1", left, short[4].tolist(), "converged or max_steps"))
    return all_of(*judged)


@check("MHN-SET-6", family="settle", quantities=("settle",), claims=("masks", "nan_isolation"))
def empty_and_bad_rows_settle(case: Case) -> Judgement | None:
    """An empty row converges after one step; a row that is not finite says so; the others are untouched."""
    p = case.problem
    count, n = p.query.shape[0], p.memory.shape[0]
    if count < 3:
        return None
    keep = np.ones((count, n), dtype=np.bool_)
    keep[0] = False
    query = p.query.copy()
    query[1, p.seed % query.shape[1]] = np.nan
    other = p.but(query=query, keep=keep)
    # What happens to a row shows in the first steps.
    state, _, _, steps, status = _settled(case, other, max_steps=min(p.max_steps, 3))
    judged = [
        require("state of the empty row", bool((state[0] == 0).all()), state[0].tolist(), 0),
        require(
            "status of the empty row", status[0] == Status.CONVERGED, int(status[0]), int(Status.CONVERGED)
        ),
        require("steps of the empty row", steps[0] == 1, int(steps[0]), 1),
        require(
            "status of the NaN row", status[1] == Status.NONFINITE, int(status[1]), int(Status.NONFINITE)
        ),
    ]
    finite = bool(np.isfinite(state[2:]).all() and (status[2:] != Status.NONFINITE).all())
    judged.append(require("the other rows", finite, status[2:].tolist(), "finite states"))
    return all_of(*judged)


def _anywhere(case: Case) -> tuple[float, Array]:
    """How long a state may be, and how far an update of one may be from the exact one, ``[L]``."""
    p = case.problem
    # It is a query, or a state in the convex hull.
    reach = max(float(length(p.query).max()), float(length(p.memory).max())) * 1.01
    ball = np.zeros(p.query.shape[1]), p.memory, p.beta, reach
    own = {e: update_bound_on_ball(*ball, k, case.model, e) for e, k in zip(p.extents, p.kept, strict=True)}
    return reach, np.array([own[e] for e in p.extents])


@check("MHN-FIX-1", family="settle", quantities=("settle",))
def converged_states_are_stationary(case: Case) -> Judgement | None:
    """A converged state is a stationary point of the energy up to eps: ``|y - T(y)| <= L residual + b``."""
    p = case.problem
    state, _, residual, steps, status = _settled(case)
    if not np.isfinite(state).all():
        return None
    reach, own = case.remember("anywhere", p, partial(_anywhere, case))
    allowed = lipschitz(p) * (residual * (1 + RESIDUAL_ROUNDING) + own) + own
    done = (status == Status.CONVERGED) & (allowed < 0.5 * _width(p)) & (steps >= 1)
    if not done.any():
        return None
    gradient = length(state - p.but(query=state).solution.state.hi)
    bound = np.where(done, allowed + 1e-15 * reach, np.inf)
    return within("gradient of E at the converged state", gradient, np.zeros_like(gradient), bound)


@check("MHN-FIX-6", family="settle", quantities=("settle",))
def steps_are_bounded_by_the_energy(case: Case) -> Judgement | None:
    """With eps above twice the rounding error, at most ``ceil(2 E_0 / (eps (eps - 2 b)))`` steps."""
    p = case.problem
    energy = p.solution.energy
    if energy is None:
        return None
    _, own = case.remember("anywhere", p, partial(_anywhere, case))
    inside = p.eps > 2 * own
    if not inside.any():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        allowed = np.maximum(1, np.ceil(2 * energy.hi * (1 + 1e-12) / (p.eps * (p.eps - 2 * own))))
    limit = int(min(np.where(inside, allowed, 0).max(), 400))
    inside &= allowed <= limit
    if not inside.any():
        return None
    _, _, _, steps, status = _settled(case, max_steps=max(limit, 1))
    ended = bool((status[inside] == Status.CONVERGED).all())
    counted = within("steps", np.maximum(steps, allowed), allowed, np.where(inside, 0.0, math.inf))
    return all_of(counted, require("status", ended, status[inside].tolist(), "converged"))
