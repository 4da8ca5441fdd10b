"""Rounding to formats against the conversions of NumPy and the bit patterns themselves."""

import math
import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from hopspec.formats import BFLOAT16, FLOAT8_E5M2, FLOAT16, FLOAT32, FLOAT64, Format
from hopspec.precision import Precision
from hopspec.reference import round_ratio, working_bits
from hopspec.reference.rounding import inside_float64, round_bits, settled_significand, significand
from hopspec.reference.target import FormatGoal, square_root


def random_floats(count: int, seed: int) -> list[float]:
    """Every float64 bit pattern is as likely as any other, but for infinities and NaN."""
    bits = np.random.default_rng(seed).integers(0, 2**64, size=count, dtype=np.uint64)
    return [x for x in bits.view(np.float64).tolist() if math.isfinite(x)]


@pytest.mark.parametrize(("fmt", "dtype"), [(FLOAT32, np.float32), (FLOAT16, np.float16)])
def test_rounds_float64_as_numpy_does(fmt: Format, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    near = (
        rng.standard_normal(3000) * 2.0 ** rng.integers(fmt.least_exponent - 3, fmt.emax + 2, 3000)
    ).tolist()
    for x in near + random_floats(500, 2):
        with np.errstate(all="ignore"):
            expected = float(np.float64(x).astype(dtype))
        numerator, denominator = x.as_integer_ratio()
        assert round_ratio(numerator, denominator, fmt) == expected


def test_rounds_ratios_as_python_divides() -> None:
    rng = np.random.default_rng(3)
    for a, b in rng.integers(-(2**62), 2**62, size=(2000, 2)).tolist():
        if b > 0:
            assert round_ratio(a, b, FLOAT64) == a / b


def test_rounds_ties_to_even_bfloat16_patterns() -> None:
    # A bfloat16 is the upper half of a float32: neighbours are consecutive integers there.
    patterns = np.arange(0, 0x7F80, 7, dtype=np.uint32)
    values = (patterns << 16).view(np.float32).astype(np.float64).tolist()
    above = ((patterns + 1) << 16).view(np.float32).astype(np.float64).tolist()
    for pattern, low, high in zip(patterns.tolist(), values, above, strict=True):
        if math.isinf(high):
            continue
        middle = Fraction(low) + (Fraction(high) - Fraction(low)) / 2
        assert round_ratio(middle.numerator, middle.denominator, BFLOAT16) == (high if pattern % 2 else low)
        for side, expected in ((-1, low), (1, high)):
            nudged = middle + side * Fraction(high) / 2**80
            assert round_ratio(nudged.numerator, nudged.denominator, BFLOAT16) == expected


@pytest.mark.parametrize("fmt", [FLOAT64, FLOAT32, BFLOAT16, FLOAT16, FLOAT8_E5M2])
def test_ends_of_the_range(fmt: Format) -> None:
    half_ulp = 1 << (fmt.emax - fmt.precision)
    assert round_ratio(fmt.largest + half_ulp - 1, 1, fmt) == fmt.largest
    assert round_ratio(fmt.largest + half_ulp, 1, fmt) == math.inf
    assert round_ratio(-fmt.largest - half_ulp, 1, fmt) == -math.inf
    assert round_ratio(1, 1, fmt, fmt.least_exponent - 1) == 0.0
    assert round_ratio(3, 1, fmt, fmt.least_exponent - 2) == 2.0**fmt.least_exponent
    assert math.copysign(1.0, round_ratio(-1, 1, fmt, -5000)) == 1.0  # zero has no sign


def test_exponent_is_a_power_of_two_to_multiply_by() -> None:
    for exponent in (-3000, -40, 0, 7, 900):
        expected = Fraction(5, 7) * Fraction(2) ** exponent
        assert round_ratio(5, 7, FLOAT32, exponent) == round_ratio(
            expected.numerator, expected.denominator, FLOAT32
        )


def test_wider_formats_give_mpmath_numbers() -> None:
    wide = Format("binary128", 113, -16382, 16383)
    assert not inside_float64(wide)
    assert round_ratio(1, 3, wide)._mpf_ == (0, ((1 << 114) - 1) // 3, -114, 113)
    assert round_ratio(1, 1, wide, 16384) == math.inf
    assert round_ratio(-1, 1, wide, 16384) == -math.inf
    assert round_ratio(1, 1, wide, -17000) == 0


def test_custom_format_holds_few_numbers() -> None:
    tiny = Format("tiny", 2, -1, 1)
    found = {round_ratio(n, 64, tiny) for n in range(0, 64 * 4)}
    assert found == {0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, math.inf}


def test_bits_are_unlimited_in_exponent() -> None:
    assert round_bits(7, 1, 2, 100000)._mpf_ == (0, 1, 100003, 1)
    m, e = significand(-(2**70) - 1, 3, -5, 53, None)
    assert Fraction(m) * Fraction(2) ** e == Fraction((-(2**70) - 1) / 3 / 2**5)


def test_a_carry_keeps_the_significand_short() -> None:
    assert significand(15, 1, 0, 3, None) == (4, 2)


def test_denominator_must_be_positive() -> None:
    with pytest.raises(ValueError, match="denominator must be positive, got 0"):
        round_ratio(1, 0, FLOAT64)


def test_square_root_is_correctly_rounded() -> None:
    for x in np.random.default_rng(5).random(2000).tolist():
        assert square_root(Fraction(x), FormatGoal(FLOAT64)) == math.sqrt(x)
        scaled = Fraction(x) * Fraction(2) ** -2000
        root = square_root(scaled, FormatGoal(FLOAT64))
        assert root == math.ldexp(math.sqrt(x), -1000)
    assert square_root(Fraction(9, 4), FormatGoal(BFLOAT16)) == 1.5
    assert square_root(Fraction(0), FormatGoal(FLOAT32)) == 0.0


def test_working_bits_follow_the_policy() -> None:
    assert working_bits(53, 10) == 53
    assert working_bits(Precision.fixed(100), 10) == 100
    assert working_bits(Precision.logarithmic(3), 8) == 9
    assert working_bits(Precision.polynomial(1.5), 100) == 1000
    with pytest.raises(ValueError, match="bits must be at least 2, got 1"):
        working_bits(1, 10)
    with pytest.raises(TypeError, match="bits must be an int or a Precision, got float"):
        working_bits(2.5, 10)  # type: ignore[arg-type]


def test_a_settled_significand_is_that_of_the_whole_enclosure() -> None:
    draw = random.Random(3)
    settled = 0
    for _ in range(3000):
        precision, exponent = draw.randrange(2, 12), draw.randrange(-5, 6)
        denominator = draw.randrange(1, 1 << draw.randrange(1, 14))
        numerator = draw.choice((1, -1)) * draw.randrange(1, 1 << draw.randrange(2, 24))
        error = draw.choice((0, 0, 1, abs(numerator) >> 6, abs(numerator) >> 12))
        size = Fraction(abs(numerator), denominator) * Fraction(2) ** exponent
        e = size.numerator.bit_length() - size.denominator.bit_length() - precision
        e += 1 if size / Fraction(2) ** e >= 2**precision else 0
        scaled, doubt = size / Fraction(2) ** e, size / Fraction(2) ** e * error / abs(numerator)
        whole = math.floor(scaled)
        part = scaled - whole
        found = settled_significand(numerator, denominator, exponent, error, precision)
        if abs(part - Fraction(1, 2)) <= doubt or whole == 2 ** (precision - 1):
            assert found is None
            continue
        settled += 1
        up = part > Fraction(1, 2)
        assert found is not None
        m, at, away, unit = found
        assert (m, at) == (math.copysign(1, numerator) * (whole + up), e)
        assert Fraction(away, unit) == (1 - part if up else part) + doubt
    assert settled > 1000


@pytest.mark.parametrize(
    ("fmt", "inside"),
    [
        (Format("float64", 53, -1022, 1023), True),
        (Format("one bit more", 54, -1021, 1023), False),
        (Format("one binade more", 53, -1022, 1024), False),
        (Format("one binade less at the bottom", 53, -1021, 1023), True),
        (Format("one subnormal bit more", 53, -1023, 1023), False),
    ],
    ids=lambda x: x.name if isinstance(x, Format) else None,
)
def test_inside_float64_to_the_bit(fmt: Format, inside: bool) -> None:
    assert inside_float64(fmt) is inside
