"""The integer exponential and logarithm against python-flint's ball arithmetic."""

import random

import pytest
from flint import arb, ctx, fmpq

from hopspec.reference.exponential import exp_fixed, exps_fixed, log_fixed, log_two


@pytest.fixture(autouse=True)
def precision() -> None:
    ctx.prec = 4000


def ratio(numerator: int, denominator: int = 1) -> arb:
    return arb(fmpq(numerator, denominator))


def test_exponential_is_within_its_bound() -> None:
    rng = random.Random(1)
    worst = 0.0
    for _ in range(4000):
        bits = rng.choice([1, 5, 20, 53, 128, 300, 1000])
        exponent = rng.choice([4, 0, -3, -60, -200, -2000])
        numerator = -rng.getrandbits(rng.randint(1, max(1, bits.bit_length() - exponent + 1)))
        denominator = rng.choice([1, 1, 3, 77])
        power = exp_fixed(numerator, exponent, denominator, bits)
        exact = ratio(2) ** bits * (ratio(numerator, denominator) * ratio(2) ** exponent).exp()
        worst = max(worst, float(abs(ratio(power) - exact).upper()))
    assert worst <= 1
    # The proof promises 0.501 wherever the result is not cut to 0.
    assert worst > 0.4


def test_exponential_of_many_bits_is_within_its_bound() -> None:
    rng = random.Random(4)
    ctx.prec = 20000
    for bits in (2031, 2032, 5000, 16000):
        for _ in range(5):
            numerator = -rng.getrandbits(rng.choice([55, 60, 70]))
            exact = ratio(2) ** bits * (ratio(numerator) * ratio(2) ** -60).exp()
            assert float(abs(ratio(exp_fixed(numerator, -60, 1, bits)) - exact).upper()) <= 0.51


def test_exponential_of_zero_is_exact_and_of_huge_numbers_zero() -> None:
    assert exps_fixed([0, -1], 5000, 1, 100) == [1 << 100, 0]
    assert exp_fixed(-(10**400), 0, 7, 64) == 0
    assert exp_fixed(-1, -5000, 1, 100) in ((1 << 100) - 1, 1 << 100)


def test_exponential_next_to_multiples_of_log_two() -> None:
    bits = 200
    for n in (1, 2, 5, 100):
        near = n * log_two(bits)
        for numerator in (-near - 1, -near, -near + 1):
            exact = ratio(2) ** bits * (ratio(numerator) * ratio(2) ** -bits).exp()
            assert float(abs(ratio(exp_fixed(numerator, -bits, 1, bits)) - exact).upper()) <= 0.51


def test_positive_exponents_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 0"):
        exp_fixed(1, 0, 1, 10)


def test_logarithm_is_within_its_bound() -> None:
    rng = random.Random(2)
    for _ in range(3000):
        bits = rng.choice([1, 5, 20, 53, 128, 300, 1000])
        a = rng.getrandbits(rng.randint(1, 300)) + 1
        b = max(1, a + rng.randint(-2, 2)) if rng.random() < 0.3 else rng.getrandbits(rng.randint(1, 300)) + 1
        exact = ratio(2) ** bits * ratio(a, b).log()
        assert float(abs(ratio(log_fixed(a, b, bits)) - exact).upper()) <= 1


def test_logarithm_of_one_is_exact() -> None:
    assert log_fixed(5, 5, 100) == 0


def test_logarithm_needs_positive_numbers() -> None:
    with pytest.raises(ValueError, match="positive"):
        log_fixed(0, 1, 10)


@pytest.mark.parametrize("bits", [1, 10, 100, 1000, 3000])
def test_log_two_is_within_one(bits: int) -> None:
    assert float(abs(ratio(log_two(bits)) - ratio(2) ** bits * ratio(2).log()).upper()) <= 1
