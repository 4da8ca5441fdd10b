"""Packed products, short conversions and early rounding give the integers of the plain formulation."""

import importlib.util
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from operator import mul
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hopspec.properties.families import FAMILIES, LARGE, problems
from hopspec.properties.problem import Problem
from hopspec.reference import (
    association,
    definitions,
    dyadic,
    energy,
    log_normalizer,
    packing,
    prepare,
    settle,
    solve,
    trajectory,
    update,
)
from hopspec.reference.packing import Packed
from hopspec.reference.problem import read_problem
from hopspec.reference.rounding import round_bits, settled_significand, significand
from hopspec.reference.row import Row, view_of

# A crowd is hundreds of queries, and the reference takes one at a time.
DRAWN = st.sampled_from(sorted(set(FAMILIES) - {"crowd", "tiles", *LARGE})).flatmap(problems)


@pytest.fixture(autouse=True)
def always_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small matrices are not worth packing; here they are packed all the same."""
    monkeypatch.setattr(packing, "_SMALL", -1)


def matrices(seed: int, count: int) -> Iterator[tuple[list[list[int]], int, random.Random]]:
    """Integer matrices with entries of 1 to 300 bits of either sign, empty ones among them."""
    rng = random.Random(seed)
    for _ in range(count):
        n, d, bits = rng.randint(0, 9), rng.randint(0, 9), rng.choice([1, 8, 31, 62, 63, 64, 65, 300])
        edge = [-(1 << bits), (1 << bits) - 1, 0]
        rows = [
            [
                rng.choice(edge) if rng.random() < 0.2 else rng.randint(-(1 << bits), 1 << bits)
                for _ in range(d)
            ]
            for _ in range(n)
        ]
        yield rows, d, rng


def test_products_are_the_plain_ones() -> None:
    for rows, width, rng in matrices(seed=1, count=400):
        packed = Packed(rows, width)
        packed._small = rng.random() < 0.2
        size = rng.choice([1, 30, 64, 500])
        for _ in range(3):
            vector = [rng.choice([-1, 1]) * rng.getrandbits(size) for _ in range(width)]
            assert packed.times(vector) == [sum(map(mul, row, vector)) for row in rows]
            which = [i for i in range(len(rows)) if rng.random() < 0.8]
            weights = [rng.getrandbits(rng.choice([1, size])) for _ in which]
            expected = [
                sum(w * rows[i][j] for w, i in zip(weights, which, strict=True)) for j in range(width)
            ]
            assert packed.combine(weights, which) == expected


def test_the_largest_entries_fit_their_slots() -> None:
    # Every slot holds the largest number of either sign that its width was chosen for.
    for bits in (1, 7, 8, 9, 55, 56, 57, 63, 64, 71, 72):
        for n in (1, 2, 3, 8):
            for sign in (-1, 1):
                rows = [[sign * ((1 << bits) - 1)] * 3] * n
                packed = Packed(rows, 3)
                for weight_bits in (1, 8, 64, 65):
                    weights = [(1 << weight_bits) - 1] * n
                    assert packed.combine(weights, range(n)) == [sum(weights) * rows[0][0]] * 3
                    vector = [-((1 << weight_bits) - 1)] * 3
                    assert packed.times(vector) == [3 * vector[0] * rows[0][0]] * n


def test_no_more_packings_are_kept_than_said() -> None:
    packed = Packed([[1, 2], [3, 4]], 2)
    for bits in range(0, 4000, 100):
        assert packed.times([1 << bits, 1]) == [(1 << bits) + 2, (3 << bits) + 4]
    assert len(packed._packed_columns) == packing._REMEMBERED


def everything(problem: Problem, memory: Any, values: Any) -> list[Any]:
    """What the reference says about a problem, in a form that compares bit for bit."""
    call: dict[str, Any] = {"beta": problem.beta, "keep": problem.keep}
    solution = solve(problem.query, memory, values=values, **call)
    found: list[Any] = [
        update(problem.query, memory, values=values, to=to, **call) for to in ("float64", "bfloat16", 120)
    ]
    found += [association(problem.query, memory, **call), log_normalizer(problem.query, memory, **call)]
    if problem.beta > 0:
        found.append(energy(problem.query, memory, **call))
    arrays = [solution.logits, solution.weights, solution.magnitudes]
    for enclosed in (solution.state, solution.log_normalizer, solution.energy):
        arrays += [] if enclosed is None else [enclosed.hi, enclosed.lo, enclosed.radius]
    return [*map(repr, found), *(array.tobytes() for array in arrays)]


@settings(max_examples=150)
@given(problem=DRAWN)
def test_prepared_problems_give_the_same(problem: Problem) -> None:
    values = None if problem.values is None else prepare(problem.values)
    prepared = everything(problem, prepare(problem.memory), values)
    assert prepared == everything(problem, problem.memory, problem.values)


@settings(max_examples=150)
@given(problem=DRAWN)
def test_rows_hold_the_same_integers(problem: Problem) -> None:
    call: dict[str, Any] = {"beta": problem.beta, "keep": problem.keep, "values": problem.values}
    plain = read_problem(problem.query, problem.memory, **call)
    if problem.values is not None:
        call["values"] = prepare(problem.values)
    packed = read_problem(problem.query, prepare(problem.memory), **call)
    assert packed.packed_memory is not None
    assert packed.packed_values is not None
    for i in range(plain.queries):
        view = view_of(plain, i)
        if not (view.kept and view.memory_finite and plain.query.finite[i]):
            continue
        one, other = Row(plain, view, i), Row(packed, view_of(packed, i), i)
        assert one.numerators == other.numerators
        for bits in (64, 300):
            weighted = one.weigh(bits)
            assert weighted == other.weigh(bits)
            assert one.update(weighted) == other.update(weighted)


def test_edge_cases_prepared() -> None:
    third = Fraction(1, 3)
    cases: list[tuple[Any, Any, Any, dict[str, Any]]] = [
        ([0.3], [[0.1]], 7.0, {}),
        ([third], [[Fraction(3, 7)], [third]], Fraction(2, 5), {}),
        ([1e300, -5e-324], [[5e-324, 1e300], [1e-300, 2.0]], 1e-300, {}),
        ([1.0], [[1.0]] * 5 + [[2.0]] * 3, 1.0, {}),
        ([], [[], []], 1.0, {}),
        ([1.0, 2.0], np.zeros((0, 2)), 1.0, {}),
        ([1.0, 2.0], [], 1.0, {}),
        ([1.0], [[np.nan], [2.0], [3.0]], 1.0, {"keep": [False, True, True]}),
        ([1.0], [[np.nan], [2.0]], 1.0, {}),
        ([1.0], [[1.0], [2.0]], 1.0, {"values": [[third, np.inf, 4.0], [2.0, 1.0, 4.0]]}),
        ([1.0], [[2**300 + 1], [-(2**200)]], Fraction(1, 2**310), {}),
    ]
    for query, memory, beta, more in cases:
        prepared = dict(more, values=prepare(more["values"])) if "values" in more else more
        for to in ("float64", 90):
            plain = update(query, memory, beta=beta, to=to, **more)
            assert repr(update(query, prepare(memory), beta=beta, to=to, **prepared)) == repr(plain)


def test_iterates_prepared() -> None:
    rng = np.random.default_rng(3)
    query, memory = rng.standard_normal((2, 3)), rng.standard_normal((5, 3))
    prepared = prepare(memory)
    assert prepare(prepared) is prepared
    steps = [query]
    for _ in range(3):
        steps.append(np.array(update(steps[-1], memory, beta=2.0)))
    assert np.array_equal(trajectory(query, prepared, beta=2.0, steps=3), steps)
    assert update(query, memory, beta=2.0, steps=3) == steps[-1].tolist()
    result = settle(query, prepared, beta=2.0, eps=1e-6)
    for state, start, count in zip(result.state, query, result.steps, strict=True):
        assert state == update(start, memory, beta=2.0, steps=count)


def test_prepare_refuses_what_is_no_matrix() -> None:
    with pytest.raises(ValueError, match=r"matrix must have shape \[N, d\], got \[2\]"):
        prepare([1.0, 2.0])
    with pytest.raises(TypeError, match="matrix must hold real numbers, got str 'a'"):
        prepare([["a"]])
    with pytest.raises(ValueError, match="memory must have the query's width d = 1, got 2"):
        update([1.0], prepare([[1.0, 2.0]]), beta=1.0)
    with pytest.raises(ValueError, match=r"values must have shape \[N, dv\] with N = 1, got \[2, 1\]"):
        update([1.0], [[1.0]], beta=1.0, values=prepare([[1.0], [2.0]]))


@settings(max_examples=60)
@given(
    problem=st.sampled_from(["general", "values", "masked", "separated", "pairs", "any-beta"]).flatmap(
        problems
    )
)
def test_rounded_definitions_are_the_same_bits(problem: Problem) -> None:
    # Logits are below 2**12 here, so 700 bits leave far more than 500 right; only exact results may be ties.
    memory = prepare(problem.memory)
    leaves = update(
        problem.query, memory, beta=problem.beta, keep=problem.keep, values=problem.values, to=100
    )
    mask = None if problem.keep is None else np.broadcast_to(problem.keep, (len(leaves), len(problem.memory)))
    for i, row in enumerate(leaves):
        keep = None if mask is None else mask[i]
        if not np.isfinite(problem.query[i]).all() or not np.isfinite(problem.memory).all():
            continue
        states = definitions.update(
            problem.query[i], problem.memory, beta=problem.beta, keep=keep, values=problem.values, bits=700
        )
        if keep is not None and not keep.any():
            continue
        for leaf, state in zip(row, states, strict=True):
            sign, mantissa, exponent, _ = state._mpf_
            rounded = round_bits(-int(mantissa) if sign else int(mantissa), 1, 100, int(exponent))
            if leaf.exact:
                assert abs(rounded - leaf.value) <= abs(leaf.value) * 2.0**-100
            else:
                assert rounded == leaf.value


def test_few_floats_and_many_become_the_same_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    for case in range(300):
        n, d = int(rng.integers(0, 5)), int(rng.integers(0, 5))
        spread = (0, 3, 30, 300, 1000)[case % 5]
        array = rng.standard_normal((n, d)) * 2.0 ** rng.integers(-spread, spread + 1, (n, d))
        array[rng.random((n, d)) < 0.2] = 0.0
        array = array.astype(np.float32 if case % 2 and spread < 30 else np.float64)
        if case % 7 == 0 and array.size:
            array.flat[0] = np.nan
        found = []
        for few in (-1, 10**6):
            monkeypatch.setattr(dyadic, "_FEW", few)
            found += [dyadic.exact_matrix(array, "query"), dyadic.exact_matrix(array.tolist(), "query")]
        assert found[0] == found[2]
        # An empty list does not tell its width.
        assert not n or found[0] == found[1] == found[3]


def test_settled_significands_hold_for_the_whole_enclosure() -> None:
    rng = random.Random(7)
    settled = 0
    for _ in range(4000):
        precision = rng.choice([2, 3, 11, 53])
        denominator = rng.getrandbits(rng.choice([1, 5, 80])) | 1
        numerator = rng.getrandbits(rng.choice([1, 4, 90, 200])) * rng.choice([-1, 1])
        if rng.random() < 0.3:
            numerator = denominator * (1 << rng.randint(0, 60)) + rng.randint(-2, 2)
        eighths = abs(numerator) * rng.randint(0, 8) >> (precision + 2)  # of the last place, about
        error = rng.choice([0, 1, eighths, abs(numerator) >> rng.choice([12, 60])])
        exponent = rng.randint(-9, 9)
        found = settled_significand(numerator, denominator, exponent, error, precision)
        if found is None:
            continue
        settled += 1
        m, e, away, unit = found
        value = Fraction(m) * Fraction(2) ** e
        ends = [
            Fraction(end, denominator) * Fraction(2) ** exponent
            for end in (numerator - error, numerator + error)
        ]
        for end in ends:
            other, power = significand(end.numerator, end.denominator, 0, precision, None)
            assert other * Fraction(2) ** power == value
        assert max(abs(end - value) for end in ends) == Fraction(away, unit) * Fraction(2) ** e
    assert settled > 1500


PROGRAM = """
import sys
import numpy as np
from hopspec.reference import energy, prepare, solve, update
from hopspec.reference.exponential import exps_fixed, log_fixed
from hopspec.reference.integers import BACKEND
print(BACKEND, file=sys.stderr)
rng = np.random.default_rng(0)
numerators = [-int(x * 2.0**60) for x in rng.exponential(20, 40)]
for bits in (64, 240, 300, 1000, 5000):
    print(exps_fixed(numerators, -60, 1, bits), log_fixed(10, 7, bits))
query, memory = rng.standard_normal((2, 5)), rng.standard_normal((30, 5))
for to in ("float64", 400, 1500):
    print(update(query, prepare(memory), beta=1.5, to=to), energy(query, memory, beta=1.5, to=to))
print(solve(query, prepare(memory), beta=0.3).state)
"""


@pytest.mark.skipif(importlib.util.find_spec("gmpy2") is None, reason="gmpy2 is not installed")
def test_gmpy2_changes_nothing_but_the_time() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "MPMATH_NOGMPY"}
    outputs = []
    for more, backend in (({}, "gmpy2"), ({"MPMATH_NOGMPY": "1"}, "python")):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**environment, **more},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr.strip() == backend
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    assert "mpz" not in outputs[0]
