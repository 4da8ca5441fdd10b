"""Certificates, rigorous and in float64: every ball holds one fixed point, and what is said of it is so.

The truth comes from Newton's method at 200 bits on the plain definitions, which share no code with either.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import hopspec
from hopspec import reference
from hopspec.reference import definitions
from hopspec.reference.context import context
from hopspec.reference.directed import above, below, exp_above, float_above, growth_above, root_above
from hopspec.reference.exact_product import gram
from hopspec.reference.linearization import spectrum_at, step_at
from hopspec.reference.oracle import views
from hopspec.reference.problem import read_problem
from hopspec.types import Certificate, Proof

Array = NDArray[np.float64]
BITS = 200
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class System:
    """A state, as accurate as its dtype and the kind of system make it, in exact float64 images."""

    state: Array
    memory: Array
    beta: float
    dtype: torch.dtype


def update(x: Array, memory: Array, beta: float) -> Array:
    """One update in plain float64."""
    logits = beta * memory @ x
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum() @ memory)


def descend(x: Array, memory: Array, beta: float, steps: int) -> Array:
    """Repeated updates."""
    for _ in range(steps):
        x = update(x, memory, beta)
    return x


def newton64(x: Array, memory: Array, beta: float) -> Array:
    """A fixed point of any kind near ``x``, or ``x`` where Newton's method leaves the memory."""
    start = x
    for _ in range(30):
        centred = memory - update(x, memory, beta)
        logits = beta * memory @ x
        weights = np.exp(logits - logits.max())
        jacobian = beta * (centred.T * weights / weights.sum()) @ centred
        x = x + np.linalg.lstsq(np.eye(len(x)) - jacobian, update(x, memory, beta) - x, rcond=None)[0]
        if not np.abs(x).max() < 100:
            return start
    return x


def system(seed: int, largest: int = 64) -> System:
    """Attracting points, saddles, symmetric and shifted memories, near bifurcations, in four dtypes."""
    rng = np.random.default_rng(seed)
    kind = ("drawn", "symmetric", "pair", "bifurcation", "shifted", "saddle")[seed % 6]
    n = int(rng.choice([k for k in (4, 5, 8, 16, 32, 64) if k <= largest]))
    d = int(rng.choice([k for k in (1, 2, 3, 4, 8, 16) if 4 * k <= largest]))
    beta = float(2.0 ** rng.uniform(-3.3, 4))
    memory = rng.standard_normal((n, d)) / (math.sqrt(d) if rng.random() < 0.5 else 1)
    if kind == "symmetric":
        memory[n // 2 :] = -memory[: n - n // 2]
    elif kind == "pair":
        memory = memory[:2]
    elif kind == "bifurcation":
        # The Jacobian at 0 is beta |a|**2: as near to 1 as 1e-9, on either side.
        memory = np.stack([memory[0], -memory[0]])
    elif kind == "shifted":
        memory = memory + 10 * rng.standard_normal(d)
    dtype = DTYPES[int(rng.integers(4))]
    memory = torch.tensor(memory).to(dtype).double().numpy()
    if kind == "bifurcation":
        away = rng.choice([-1, 1]) * 10.0 ** rng.uniform(-9, -1)
        beta = float((1 + away) / np.square(memory[0]).sum())
    x = memory[: int(rng.integers(1, 4))].mean(axis=0)
    if kind in ("symmetric", "bifurcation"):
        x = np.zeros(d)
    elif kind in ("pair", "saddle"):
        x = newton64(x, memory, beta)
    else:
        x = descend(x, memory, beta, int(rng.choice([3, 10, 100, 1000])))
    x = x + rng.choice([0, 0, 1e-7, 1e-4, 1e-2]) * rng.standard_normal(d)
    return System(torch.tensor(x).to(dtype).double().numpy(), memory, beta, dtype)


@cache
def truth(seed: int, largest: int) -> tuple[list[Any], Array] | None:
    """The fixed point that Newton's method finds at 200 bits, and the eigenvalues of its Jacobian."""
    of, ctx = system(seed, largest), context(BITS)
    x = [ctx.mpf(float(entry)) for entry in of.state]
    for _ in range(40):
        jacobian = definitions.jacobian(x, of.memory, beta=of.beta, bits=BITS)
        residual = [
            a - b for a, b in zip(x, definitions.update(x, of.memory, beta=of.beta, bits=BITS), strict=True)
        ]
        matrix = ctx.matrix([[int(j == k) - e for k, e in enumerate(row)] for j, row in enumerate(jacobian)])
        try:
            step = ctx.lu_solve(matrix, ctx.matrix(residual))
        except ZeroDivisionError:
            return None
        x = [a - s for a, s in zip(x, step, strict=True)]
        if max(map(abs, step)) < ctx.ldexp(1, -170):
            return x, np.linalg.eigvalsh(np.array([[float(e) for e in row] for row in jacobian]))
    return None


def distance(state: Array, point: list[Any]) -> Any:
    """Euclidean distance at 200 bits."""
    ctx = context(BITS)
    return ctx.sqrt(sum((ctx.mpf(float(a)) - b) ** 2 for a, b in zip(state, point, strict=True)))


def rigorous(of: System) -> Certificate[Any]:
    """The reference's certificate."""
    return reference.certify(of.state, of.memory, beta=of.beta)


def fast(of: System) -> Certificate[Any]:
    """The float64 certificate as plain numbers."""
    given = (torch.tensor(a).to(of.dtype) for a in (of.state[None], of.memory))
    return Certificate(*(field.item() for field in hopspec.certify(*given, beta=of.beta)))


CERTIFIERS = pytest.mark.parametrize("certify", [rigorous, fast])


@CERTIFIERS
def test_the_fixed_point_lies_in_the_ball_and_is_what_is_said(
    certify: Callable[[System], Certificate[Any]],
) -> None:
    certified = attracting = repelling = 0
    for seed in range(150):
        of = system(seed, 16)
        found = certify(of)
        if not found.certified:
            assert found == Certificate(False, math.inf, False, False, math.inf, Proof.NONE)
            continue
        known = truth(seed, 16)
        assert known is not None, seed
        point, eigenvalues = known
        assert distance(of.state, point) <= found.radius, seed
        assert not (found.attracts and eigenvalues[-1] > 1 + 1e-13), seed
        assert not (found.repels and eigenvalues[-1] < 1 - 1e-13), seed
        assert found.rate >= eigenvalues[-1] * (1 - 1e-13), seed
        assert (found.rate < 1) == found.attracts
        certified, attracting, repelling = (
            certified + 1,
            attracting + found.attracts,
            repelling + found.repels,
        )
    # The systems are what they are meant to be, and nearly every one that can be certified is decided.
    assert certified >= 110
    assert repelling >= 10
    assert attracting + repelling >= certified - 2


def test_fast_agrees_with_rigorous_on_larger_systems() -> None:
    ratios = []
    for seed in range(150):
        of = system(seed)
        exact, quick = rigorous(of), fast(of)
        if quick.certified:
            # Two balls about one state that hold one fixed point each: the rigorous radius is at least the
            # distance, and the quick one must not be so small as to contradict the next best enclosure.
            assert exact.certified, seed
            assert not (quick.attracts and exact.repels), seed
            assert not (quick.repels and exact.attracts), seed
            ratios.append(quick.radius / exact.radius if exact.radius > 1e-100 else 1.0)
            point = reference.fixed_point(of.state, of.memory, beta=of.beta, to=120, max_steps=0)
            if point.certified:
                leaves = [leaf.value for leaf in point.state]
                assert distance(of.state, leaves) <= quick.radius + 1e-30, seed
    assert np.median(ratios) < 1.01
    assert len(ratios) > 110


def test_half_of_the_radii_are_within_a_factor_of_two_of_the_distance() -> None:
    ratios = []
    for seed in range(150):
        of, known = system(seed, 16), truth(seed, 16)
        if of.dtype == torch.float32 and known is not None and (quick := fast(of)).certified:
            away = float(distance(of.state, known[0]))
            if away > 0:
                ratios.append(quick.radius / away)
    assert len(ratios) > 15
    assert np.median(ratios) <= 2


@CERTIFIERS
def test_in_one_dimension_the_ball_holds_exactly_one_sign_change(
    certify: Callable[[System], Certificate[Any]],
) -> None:
    certified = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        memory = rng.standard_normal((int(rng.integers(2, 7)), 1))
        beta = float(2.0 ** rng.uniform(0, 5))
        state = rng.uniform(memory.min(), memory.max(), 1)
        # Far from converged: the larger a ball, the more a wrong inequality shows.
        state = descend(state, memory, beta, int(rng.integers(0, 4)))
        found = certify(System(state, memory, beta, torch.float64))
        # Below, float64 cannot tell where the sign changes.
        if not found.certified or found.radius < 1e-9:
            continue
        certified += 1
        grid = np.linspace(state[0] - found.radius, state[0] + found.radius, 20001)
        logits = beta * grid[:, None] * memory[:, 0]
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        gap = grid - weights @ memory[:, 0] / weights.sum(axis=1)
        changes = np.flatnonzero(np.diff(np.sign(gap)))
        assert len(changes) == 1, seed
        first = changes[0]
        # Between two points of the grid the gap is straight enough.
        root = grid[first] + (grid[1] - grid[0]) * gap[first] / (gap[first] - gap[first + 1])
        if found.attracts:
            inside = np.abs(grid - root) > 1e-3 * found.radius
            moved = np.abs(grid - gap - root)[inside] / np.abs(grid - root)[inside]
            assert moved.max() <= found.rate + 2e-3, seed
    assert certified > 120


@CERTIFIERS
def test_no_ball_where_two_fixed_points_merge(certify: Callable[[System], Certificate[Any]]) -> None:
    pair = np.array([[2.0], [-2.0]])
    assert not certify(System(np.zeros(1), pair, 0.25, torch.float64)).certified
    for away, kind in ((-1e-6, "attracts"), (1e-6, "repels")):
        found = certify(System(np.zeros(1), pair, 0.25 * (1 + away), torch.float64))
        assert found.certified
        assert getattr(found, kind)


def test_memories_far_from_the_origin_cost_nothing() -> None:
    rng = np.random.default_rng(5)
    memory = torch.tensor(rng.standard_normal((16, 4)) + 1000).float().double().numpy()
    for pattern in memory:
        state = descend(pattern, memory, 2.0, 50).astype(np.float32).astype(np.float64)
        of = System(state, memory, 2.0, torch.float64)
        assert fast(of).certified
        assert fast(of).radius < 1.1 * rigorous(of).radius + 1e-11


def test_states_may_be_any_exact_numbers() -> None:
    ctx = context(300)
    root = ctx.findroot(lambda x: x - 2 * ctx.tanh(2 * x), 1.99)
    found = reference.certify([root], [[2], [-2]], beta=1)
    assert found.attracts
    assert 0 < found.radius < 1e-85
    third = reference.certify([[Fraction(1, 3)]], [[Fraction(1, 3)]] * 2, beta=Fraction(1, 7))
    assert (third.certified, third.radius, third.attracts) == ([True], [0.0], [True])


@pytest.mark.parametrize("scale", [2.0**-300, 2.0**-60, 2.0**60, 2.0**300])
def test_scaling_scales_the_radius(scale: float) -> None:
    of = system(6, 16)
    before = rigorous(of)
    after = rigorous(System(of.state * scale, of.memory * scale, of.beta / scale**2, torch.float64))
    assert after.certified == before.certified
    assert after.radius == pytest.approx(before.radius * scale, rel=1e-6)
    quick = fast(System(of.state * scale, of.memory * scale, of.beta / scale**2, torch.float64))
    assert not quick.certified or quick.radius >= after.radius * (1 - 1e-5)


# With few bits the errors of the weights and of the centre are large; with many, 60 of them are used.
@pytest.mark.parametrize("bits", [8, 20, 60, 300])
@pytest.mark.parametrize("seed", range(6))
def test_step_and_spectrum_are_enclosed(seed: int, bits: int) -> None:
    of, ctx = system(seed, 8), context(BITS)
    rng = np.random.default_rng(seed)
    keep = rng.random(len(of.memory)) < 0.8
    keep[0] = True
    state = [Fraction(float(x)) / 3 for x in of.state]
    memory = [[Fraction(float(x)) / 5 for x in row] for row in of.memory]
    problem = read_problem([state], memory, beta=Fraction(of.beta) / 7, keep=[keep])
    ((row, view),) = views(problem)
    step = step_at(problem, view, row, bits)
    spectrum = spectrum_at(problem, view, step)
    assert spectrum is not None
    exact = definitions.update(state, memory, beta=Fraction(of.beta) / 7, keep=keep, bits=BITS)

    def real(x: Fraction) -> Any:
        return ctx.mpf(x.numerator) / x.denominator

    residual = [real(x) - o for x, o in zip(state, exact, strict=True)]
    assert ctx.norm(residual) <= real(step.length)
    computed = [real(x - entry * step.unit) for x, entry in zip(state, step.centre, strict=True)]
    assert ctx.norm([a - b for a, b in zip(computed, residual, strict=True)]) <= real(step.error) + ctx.ldexp(
        1, -180
    )
    jacobian = ctx.matrix(
        definitions.jacobian(state, memory, beta=Fraction(of.beta) / 7, keep=keep, bits=BITS)
    )
    top = max(ctx.eigsy(jacobian, eigvals_only=True))
    assert real(spectrum.least) <= top <= real(spectrum.largest)
    if bits >= 60:
        assert spectrum.largest - spectrum.least <= spectrum.largest * Fraction(1, 10**12) + Fraction(
            1, 10**25
        )
    kept = [[real(x) for x in pattern] for pattern, k in zip(memory, keep, strict=True) if k]
    extents = [ctx.norm([a - b for a, b in zip(pattern, exact, strict=True)]) for pattern in kept]
    assert max(extents) <= real(spectrum.extent)
    inverse = spectrum.inverse()
    if inverse is None:
        assert min(abs(1 - value) for value in spectrum.values) < 2**-40
        return
    vectors = ctx.matrix([[ctx.ldexp(entry, -52) for entry in vector] for vector in inverse.vectors]).T
    dense = vectors * ctx.diag([real(d) for d in inverse.factors]) * vectors.T
    identity = ctx.eye(len(state))
    defect = identity - dense * (identity - jacobian)
    assert ctx.svd_r(defect, compute_uv=False)[0] <= real(inverse.defect)
    assert ctx.svd_r(dense, compute_uv=False)[0] <= real(inverse.norm)
    assert ctx.norm(dense * ctx.matrix(residual)) <= real(inverse.shift(step))
    integers = [int(v) for v in rng.integers(-(2**40), 2**40, len(state))]
    moved = dense * ctx.matrix(integers)
    assert all(0 <= m - got <= 1 for m, got in zip(moved, inverse.apply(integers), strict=True))


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (3, 5, 2), (16, 16, 16), (300, 7, 12), (1024, 3, 9), (5000, 2, 2)]
)
def test_integer_products_are_exact(shape: tuple[int, int, int]) -> None:
    n, p, q = shape
    rng = np.random.default_rng(n)
    extreme = np.array([2**62 - 1, -(2**62) + 1, 0, 1, -1, 2**31, -(2**42)])
    for draw in (rng.integers(-(2**62) + 1, 2**62, (2, n, p * q)), rng.choice(extreme, (2, n, p * q))):
        left, right = draw[0][:, :p], draw[1][:, :q]
        expected = left.astype(object).T @ right.astype(object)
        assert gram(left, right) == expected.tolist()


@pytest.mark.parametrize("seed", range(40))
def test_directed_functions_err_on_their_side(seed: int) -> None:
    rng, ctx = np.random.default_rng(seed), context(400)
    x = Fraction(int(rng.integers(1, 2**62)), int(rng.integers(1, 2**62))) * Fraction(2) ** int(
        rng.integers(-90, 6)
    )
    real = ctx.mpf(x.numerator) / x.denominator

    def back(number: Fraction | None) -> Any:
        assert number is not None
        return ctx.mpf(number.numerator) / number.denominator

    assert below(x) <= x <= above(x) <= x * (1 + Fraction(1, 2**61))
    assert above(x, 53) == float_above(above(x, 53))
    assert real <= float_above(x) <= real * (1 + ctx.ldexp(1, -52))
    assert ctx.sqrt(real) <= back(root_above(x)) <= ctx.sqrt(real) * (1 + ctx.ldexp(1, -58))
    if x <= 60:
        slack = ctx.exp(real) + (real**2 if x <= Fraction(1, 64) else 0) / 100
        assert ctx.exp(real) <= back(exp_above(x)) <= slack * (1 + ctx.ldexp(1, -50))
        growth = ctx.expm1(real) / real
        assert growth <= back(growth_above(x)) <= growth * (1 + ctx.mpf(1) / 10000)


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """States of three heads, settled, and their memories."""
    generator = torch.Generator().manual_seed(seed)
    memory = torch.randn(2, 3, 12, 5, generator=generator)
    return hopspec.settle(memory[:, :, :4], memory, beta=2.0).state, memory


def fields_close(ours: Certificate[torch.Tensor], theirs: Certificate[torch.Tensor]) -> bool:
    """Whether two certificates agree but for rounding."""
    same = all(torch.equal(getattr(ours, f), getattr(theirs, f)) for f in ("certified", "attracts", "repels"))
    return same and torch.allclose(ours.radius, theirs.radius, rtol=1e-6, atol=0, equal_nan=False)


def test_a_batch_is_its_parts() -> None:
    state, memory = batch(0)
    keep = torch.rand(2, 3, 4, 12, generator=torch.Generator().manual_seed(1)) < 0.7
    beta = torch.tensor([1.0, 2.0, 4.0])
    whole = hopspec.certify(state, memory, beta=beta, keep=keep)
    assert whole.radius.shape == (2, 3, 4)
    assert (whole.radius.dtype, whole.certified.dtype, whole.proof.dtype) == (
        torch.float64,
        torch.bool,
        torch.int64,
    )
    assert bool(whole.certified.any())
    for i in range(2):
        for h in range(3):
            part = hopspec.certify(state[i, h], memory[i, h], beta=float(beta[h]), keep=keep[i, h])
            assert fields_close(Certificate(*(f[i, h] for f in whole)), part)
            for row in range(4):
                exact = reference.certify(
                    state[i, h, row], memory[i, h], beta=float(beta[h]), keep=keep[i, h, row].tolist()
                )
                assert whole.attracts[i, h, row] == exact.attracts
                assert whole.radius[i, h, row].item() <= 1.1 * exact.radius
    shared = hopspec.certify(state, memory[0, 0], beta=beta, keep=keep[0, 0])
    assert fields_close(
        shared, hopspec.certify(state, memory[0, 0].expand(2, 3, 12, 5), beta=beta, keep=keep[0, 0])
    )
    heads = hopspec.certify(state[0, 0], memory[0, 0].expand(3, 12, 5), beta=beta)
    assert heads.radius.shape == (3, 4)
    alone = hopspec.certify(state[0, 0], memory[0, 0].expand(3, 12, 5), beta=2.0)
    assert fields_close(Certificate(*(field[1] for field in heads)), Certificate(*(f[1] for f in alone)))
    prepared = hopspec.Memory(memory, keep=keep)
    assert fields_close(whole, hopspec.certify(state, prepared, beta=beta))
    assert fields_close(whole, hopspec.certify(state.mT.contiguous().mT, memory, beta=beta, keep=keep))


def test_many_states_are_taken_in_pieces() -> None:
    generator = torch.Generator().manual_seed(3)
    memory = torch.randn(1200, 12, generator=generator)
    state = hopspec.settle(memory[:75], memory, beta=0.3).state
    whole = hopspec.certify(state, memory, beta=0.3)
    parts = [hopspec.certify(one, memory, beta=0.3) for one in state.reshape(15, 5, 12)]
    assert fields_close(whole, Certificate(*(torch.cat(fields) for fields in zip(*parts, strict=True))))
    heads = hopspec.certify(
        state.reshape(25, 3, 12), memory.expand(25, 1200, 12), beta=torch.linspace(0.2, 0.4, 25)
    )
    assert bool(heads.certified.any())
    alone = hopspec.certify(state[3:6], memory, beta=float(torch.linspace(0.2, 0.4, 25)[1]))
    assert fields_close(Certificate(*(field[1] for field in heads)), alone)


def test_rows_without_a_certificate() -> None:
    memory = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [math.nan, 0.0]])
    state = torch.tensor([[1.9986, 0.0], [math.inf, 0.0], [3.0, 4.0], [1.9986, 0.0]])
    keep = torch.tensor([[True, True, False], [True, True, False], [False, False, False], [True, True, True]])
    quick = hopspec.certify(state, memory, beta=1.0, keep=keep)
    exact = reference.certify(state, memory, beta=1.0, keep=keep)
    for found in (quick, exact):
        assert [bool(c) for c in found.certified] == [True, False, True, False]
        assert [bool(a) for a in found.attracts] == [True, False, True, False]
        # The update of an empty row is 0 everywhere.
        assert 5 <= float(found.radius[2]) < 5 + 1e-9
        assert float(found.rate[2]) == 0
    nothing = hopspec.certify(torch.ones(2, 3), torch.ones(0, 3), beta=1.0)
    assert nothing.certified.tolist() == [True, True]
    assert hopspec.certify(torch.ones(2, 0), torch.ones(4, 0), beta=1.0).radius.tolist() == [0, 0]
    assert hopspec.certify(torch.ones(0, 3), torch.ones(4, 3), beta=1.0).radius.shape == (0,)
    assert reference.certify([[], []], [[], []], beta=1).certified == [True, True]
    huge = hopspec.certify(
        torch.full((1, 2), 1e308, dtype=torch.float64),
        torch.full((3, 2), -1e308, dtype=torch.float64),
        beta=1e300,
    )
    assert not bool(huge.certified.any())


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan, math.inf])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ValueError, match="beta must be"):
        hopspec.certify(torch.ones(1, 2), torch.ones(3, 2), beta=beta)
    with pytest.raises(ValueError, match="beta must be"):
        reference.certify([1.0, 1.0], [[1.0, 1.0]], beta=beta)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(TypeError, match=r"state must be a torch\.Tensor"):
        hopspec.certify([[1.0]], torch.ones(3, 1), beta=1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="state has shape"):
        hopspec.certify(torch.ones(1, 2), torch.ones(3, 3), beta=1.0)
    with pytest.raises(ValueError, match="state has dtype"):
        hopspec.certify(torch.ones(1, 2).double(), torch.ones(3, 2), beta=1.0)


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1e300])
@pytest.mark.parametrize("beta", [1e-300, 1.0, 1e300])
def test_numbers_at_the_ends_of_the_range(size: float, beta: float) -> None:
    memory = np.array([[size, size / 2], [-size, size], [size / 4, -size]])
    for state in (memory[0], memory.mean(axis=0), np.zeros(2)):
        exact = reference.certify(state, memory, beta=beta)
        quick = fast(System(state, memory, beta, torch.float64))
        for found in (exact, quick):
            assert found.radius >= 0
            assert bool(found.certified) == math.isfinite(found.radius)
        assert exact.certified or not quick.certified
        enclosed = reference.fixed_point(state, memory, beta=beta, to=53, max_steps=3)
        assert len(enclosed.state) == 2
