"""The 8-bit formats against PyTorch's own conversion, and what a format may not be."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from hopspec.formats import FLOAT8_E4M3FN, FLOAT8_E5M2, FLOAT32, FORMATS, Format, Overflow, format_named
from hopspec.reference import energy, jacobian, log_normalizer, round_ratio, update
from hopspec.reference.target import FormatGoal

torch = pytest.importorskip("torch")
EIGHTS = (FLOAT8_E5M2, FLOAT8_E4M3FN)


def rounded(x: float, fmt: Format) -> Any:
    if math.isinf(x):
        return FormatGoal(fmt).infinite(1 if x > 0 else -1)
    return round_ratio(*x.as_integer_ratio(), fmt)


def by_torch(values: Any, fmt: Format) -> list[float]:
    single = torch.tensor(values, dtype=torch.float32)
    found: list[float] = single.to(getattr(torch, fmt.name)).double().tolist()
    return found


def elements(fmt: Format) -> list[float]:
    """What all 256 bit patterns stand for, NaN and infinities left out, in ascending order."""
    patterns = torch.arange(256, dtype=torch.uint8).view(getattr(torch, fmt.name)).double()
    return sorted(set(patterns[torch.isfinite(patterns)].tolist()))


def near_boundaries(fmt: Format) -> list[float]:
    """The float32s next to all elements and all midpoints of neighbours, and far beyond them."""
    known = elements(fmt)
    step = known[-1] - known[-2]
    points = known + [(a + b) / 2 for a, b in pairwise(known)]
    points += [sign * (known[-1] + k * step / 4) for k in range(12) for sign in (1, -1)]
    start = np.array(points, dtype=np.float32)
    near = [start]
    for end in (np.float32(-np.inf), np.float32(np.inf)):
        moved = start
        for _ in range(3):
            moved = np.nextafter(moved, end)
            near.append(moved)
    found: list[float] = np.concatenate(near).astype(np.float64).tolist()
    return [*found, 1e6, -1e38, math.inf, -math.inf]


def policy(fmt: Format) -> Overflow:
    """What this PyTorch makes of an overflow: it changed from NaN to saturation in release 2.12."""
    (far,) = by_torch([1e6], fmt)
    return "nan" if math.isnan(far) else "infinite" if math.isinf(far) else "saturate"


@pytest.mark.parametrize("fmt", EIGHTS, ids=lambda fmt: fmt.name)
def test_all_256_bit_patterns(fmt: Format) -> None:
    known = elements(fmt)
    assert known[-1] == fmt.largest
    assert known[len(known) // 2 + 1] == 2.0**fmt.least_exponent
    assert [rounded(x, fmt) for x in known] == known
    assert len(known) == (253 if fmt is FLOAT8_E4M3FN else 247)  # both zeros are one


@pytest.mark.parametrize("fmt", EIGHTS, ids=lambda fmt: fmt.name)
def test_rounds_as_torch_does_next_to_every_boundary(fmt: Format) -> None:
    same = replace(fmt, overflow=policy(fmt))
    values = near_boundaries(fmt)
    for x, expected in zip(values, by_torch(values, fmt), strict=True):
        got = rounded(x, same)
        assert got == expected, (x, got, expected)
        if abs(x) <= fmt.largest + (fmt.largest - elements(fmt)[-2]) / 2 and math.isfinite(expected):
            assert rounded(x, fmt) == expected


@pytest.mark.parametrize("fmt", EIGHTS, ids=lambda fmt: fmt.name)
def test_rounds_as_torch_does_at_random(fmt: Format) -> None:
    rng = np.random.default_rng(3)
    scales = rng.integers(fmt.least_exponent - 3, fmt.emax + 2, 4000)
    values = (rng.standard_normal(4000) * 2.0**scales).astype(np.float32).astype(float).tolist()
    same = replace(fmt, overflow=policy(fmt))
    assert [rounded(x, same) for x in values] == by_torch(values, fmt)


def test_overflow_has_three_policies() -> None:
    far = {"infinite": math.inf, "saturate": 448.0}
    for name, expected in far.items():
        fmt = replace(FLOAT8_E4M3FN, overflow=name)  # type: ignore[arg-type]
        assert (round_ratio(465, 1, fmt), round_ratio(-465, 1, fmt)) == (expected, -expected)
        assert round_ratio(464, 1, fmt) == 448.0
    assert math.isnan(round_ratio(465, 1, FLOAT8_E4M3FN))
    assert math.isnan(round_ratio(-1, 1, FLOAT8_E4M3FN, 5000))
    wide = Format("wide", 113, -16382, 16383, "nan")
    assert round_ratio(1, 1, wide, 16384) != round_ratio(1, 1, wide, 16384)


def test_results_in_eight_bits() -> None:
    memory = [[400.0, 1.0], [-400.0, 2.0]]
    # 400 is halfway between 384 and 416, the update of it e**-800 less.
    assert update([1.0, 0.0], memory, beta=1.0, to="float8_e4m3fn") == [384.0, 1.0]
    assert update([1.0, 0.0], [[400.0, 1.0], [-400.0, 2.0], [500.0, 1.0]], beta=0.0, to="float8_e4m3fn") == [
        160.0,
        1.375,
    ]
    assert update([1.0, 0.0], memory, beta=1.0, to="float8_e5m2") == [384.0, 1.0]
    # Beyond the largest element, and decided although NaN compares with nothing.
    assert math.isnan(update([1.0], [[470.0], [469.0]], beta=1.0, to="float8_e4m3fn")[0])
    assert math.isnan(jacobian([0.0], [[90.0], [-90.0], [1.0]], beta=1.0, to="float8_e4m3fn")[0][0])
    # A format without infinities has none for a row that sees nothing.
    assert math.isnan(log_normalizer([1.0], [[1.0]], beta=1.0, keep=[False], to="float8_e4m3fn"))
    assert energy([1.0], [[1.0]], beta=1.0, keep=[False], to="float8_e5m2") == math.inf


def test_a_number_next_to_the_overflow_boundary() -> None:
    # The exact update is 464 -+ e**-1e200: halfway to what is reserved, and one side of it.
    for other, expected in ((0.0, 448.0), (470.0, math.nan)):
        got = update([1.0, 0.0], [[1.0, 464.0], [0.0, other]], beta=1e200, to="float8_e4m3fn")[1]
        assert got == expected or (math.isnan(got) and math.isnan(expected))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"emax": -6},
            ValueError,
            "no room for its exponents: emin must be below emax, got emin=-6, emax=-6",
        ),
        ({"precision": 1}, ValueError, "precision must be at least 2 bits, got 1"),
        ({"precision": 4.0}, TypeError, "precision must be an int, got float 4.0"),
        ({"emin": True}, TypeError, "emin must be an int, got bool True"),
        ({"overflow": "wrap"}, ValueError, "overflow must be 'infinite', 'nan' or 'saturate', got 'wrap'"),
        (
            {"reserved": 8},
            ValueError,
            r"reserved must be .* below 2\*\*\(precision - 1\) = 8, got 8",
        ),
        ({"reserved": -1}, ValueError, "reserved must be at least 0"),
    ],
)
def test_formats_that_cannot_be(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        replace(FLOAT8_E4M3FN, **changes)


def test_a_largest_element_that_is_no_integer() -> None:
    with pytest.raises(ValueError, match="emax must be at least precision - 1 = 23, got 3"):
        _ = replace(FLOAT32, emax=3).largest
    small = Format("small", 8, -6, -2)
    assert [round_ratio(n, 1000, small) for n in (0, 498, 499, -499)] == [
        0.0,
        0.498046875,
        0.498046875,
        -0.498046875,
    ]
    assert round_ratio(1, 2, small) == math.inf


def test_names() -> None:
    assert format_named("float8_e5m2") is FLOAT8_E5M2
    assert [f.name for f in FORMATS.values()] == list(FORMATS)
    with pytest.raises(ValueError, match=r"no format named 'float8'; expected one of .*float8_e4m3fn"):
        format_named("float8")
