"""Inputs become the rational numbers they are, or an error that names the argument."""

import math
import random
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

from hopspec.reference import solve, update
from hopspec.reference.dyadic import exact_matrix, exact_number, keep_mask


def entries(value: Any) -> list[list[Fraction]]:
    matrix, _ = exact_matrix(value, "query")
    return [[matrix.fraction(i, j) for j in range(matrix.width)] for i in range(len(matrix.rows))]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_every_float_is_taken_exactly(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    exponents = rng.integers(int(info.minexp) - 5, int(info.maxexp) - 2, size=(20, 5))
    array = (rng.standard_normal((20, 5)) * 2.0**exponents).astype(dtype)
    array[0, 0], array[1, 1], array[2, 2] = 0.0, info.max, info.smallest_subnormal
    expected = [[Fraction(float(x)) for x in row] for row in array]
    assert entries(array) == expected
    assert entries(array.astype(np.float64).tolist()) == expected
    assert entries([list(row) for row in array]) == expected


def test_narrow_ranges_use_the_fast_path_and_agree() -> None:
    array = np.random.default_rng(1).integers(-9, 9, size=(6, 4)).astype(np.float32)
    assert entries(array) == [[Fraction(int(x)) for x in row] for row in array]
    assert entries(np.zeros((2, 3))) == [[Fraction(0)] * 3] * 2


def test_mixed_numbers_share_one_denominator() -> None:
    mixed = [[1, Fraction(1, 3)], [mpmath.mpf(0.75), np.int64(-7)], [np.longdouble(0.5), Fraction(5, 14)]]
    assert entries(mixed) == [
        [Fraction(1), Fraction(1, 3)],
        [Fraction(3, 4), Fraction(-7)],
        [Fraction(1, 2), Fraction(5, 14)],
    ]


def test_fractions_that_are_not_dyadic_give_right_results() -> None:
    third = Fraction(1, 3)
    assert update([1], [[third]], beta=third) == [1 / 3]
    exact = solve([[third]], [[Fraction(3, 7)], [third]], beta=Fraction(2, 5)).state.hi[0, 0]
    p = 1 / (1 + math.exp((1 / 3 - 3 / 7) * (1 / 3) * 0.4))
    assert exact == pytest.approx(p * 3 / 7 + (1 - p) / 3, rel=1e-15)


def test_integers_beyond_float64_are_exact() -> None:
    assert entries([[2**2000 + 1]]) == [[Fraction(2**2000 + 1)]]


def test_numbers() -> None:
    cases: list[tuple[Any, Fraction]] = [
        (3, Fraction(3)),
        (True, Fraction(1)),
        (0.1, Fraction(0.1)),
        (Fraction(-2, 9), Fraction(-2, 9)),
        (-mpmath.mpf(0.3), Fraction(-0.3)),
        (np.float32(0.1), Fraction(float(np.float32(0.1)))),
        (np.int8(-3), Fraction(-3)),
        (np.array(0.25), Fraction(1, 4)),
    ]
    for value, expected in cases:
        number = exact_number(value, "beta")
        assert number is not None
        assert number.fraction() == expected
    for value in (math.inf, -math.inf, math.nan, np.float32("nan"), mpmath.inf, np.longdouble("inf")):
        assert exact_number(value, "beta") is None


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"query": [["a", 1.0]]}, TypeError, "query must hold real numbers, got str 'a'"),
        ({"query": [[1j, 1.0]]}, TypeError, "query must hold real numbers, got complex"),
        ({"query": 3.0}, TypeError, "query must be an array"),
        ({"query": [[[1.0, 2.0]]]}, ValueError, r"query must have shape \[d\] or \[rows, d\]"),
        ({"query": np.zeros((1, 1, 2))}, ValueError, r"query must have shape .* got \[1, 1, 2\]"),
        ({"query": [[1.0, 2.0], [1.0]]}, ValueError, "query must have rows of one length 2, got 1 at row 1"),
        ({"query": [[1.0]]}, ValueError, "memory must have the query's width d = 1, got 2"),
        ({"memory": [1.0, 2.0]}, ValueError, r"memory must have shape \[N, d\], got \[2\]"),
        ({"values": [[1.0]]}, ValueError, r"values must have shape \[N, dv\] with N = 2, got \[1, 1\]"),
        ({"values": [1.0, 2.0]}, ValueError, "values must have shape"),
        ({"keep": [1, 0]}, TypeError, "keep must hold bools, got int64"),
        ({"keep": [True]}, None, ""),
        ({"keep": [True, False, True]}, ValueError, r"keep must broadcast to \[L, N\] = \[1, 2\], got \[3\]"),
        ({"keep": np.ones((1, 1, 2), dtype=bool)}, ValueError, "keep must broadcast"),
        ({"beta": math.nan}, ValueError, "beta must be finite, got nan"),
        ({"beta": math.inf}, ValueError, "beta must be finite, got inf"),
        ({"beta": "1"}, TypeError, "beta must hold real numbers, got str '1'"),
        ({"beta": [1.0]}, TypeError, "beta must hold real numbers, got list"),
    ],
)
def test_errors_name_the_argument(arguments: dict[str, Any], error: Any, message: str) -> None:
    call: dict[str, Any] = {"query": [[1.0, 2.0]], "memory": [[1.0, 2.0], [3.0, 4.0]], "beta": 1.0}
    call.update(arguments)
    if error is None:
        solve(**call)
        return
    with pytest.raises(error, match=message):
        solve(**call)
    with pytest.raises(error, match=message):
        update(**call)


def test_keep_broadcasts() -> None:
    assert keep_mask([[True], [False]], 2, 3).tolist() == [[True] * 3, [False] * 3]
    assert keep_mask(None, 0, 2).shape == (0, 2)
    assert keep_mask([], 2, 0).shape == (2, 0)


def test_inputs_are_not_modified() -> None:
    rng = np.random.default_rng(3)
    query, memory, keep = rng.standard_normal((2, 3)), rng.standard_normal((4, 3)), rng.random((2, 4)) < 0.5
    copies = query.copy(), memory.copy(), keep.copy()
    memory.flags.writeable = query.flags.writeable = keep.flags.writeable = False
    solve(query, memory, beta=1.0, keep=keep)
    update(query, memory, beta=1.0, keep=keep)
    for array, copy in zip((query, memory, keep), copies, strict=True):
        assert np.array_equal(array, copy)


def test_rows_may_be_anything_with_tolist() -> None:
    class Rows:
        def __init__(self, rows: list[list[float]]) -> None:
            self.rows = rows

        def tolist(self) -> list[list[float]]:
            return self.rows

    rng = random.Random(4)
    rows = [[rng.gauss(0, 1) for _ in range(3)] for _ in range(4)]
    assert update(Rows(rows), Rows(rows), beta=1) == update(rows, rows, beta=1)
