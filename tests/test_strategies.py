"""Every regime the strategies name does occur, and every problem is what its grain says."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from hopspec.formats import FORMATS
from hopspec.properties import families
from hopspec.properties.checks import CHECKS
from hopspec.properties.digits import CORRUPTIONS, digit_problems
from hopspec.properties.families import FAMILIES, LEVELS
from hopspec.properties.models import JUDGED
from hopspec.properties.problem import Problem, fits, round_to
from hopspec.properties.strategies import GRAINS, KINDS, MASKS, SPREADS


def drawn(family: str, count: int, seed: int = 0) -> list[Problem]:
    return [families.drawn(family, seed, number) for number in range(count)]


def test_every_regime_occurs() -> None:
    found = drawn("general", 700)
    seen = Counter(r for p in found for r in p.regimes)
    for name in (*KINDS, *SPREADS, *GRAINS):
        assert seen[name] >= 3, f"{name} was drawn {seen[name]} times in {len(found)}"


def test_block_edges_and_long_memories_occur() -> None:
    sizes = Counter(p.memory.shape[0] for p in drawn("general", 700))
    for n in (1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 511, 512, 513):
        assert sizes[n] > 0, f"no problem with {n} memories"


def test_weights_are_mixed_in_many_problems() -> None:
    found = drawn("general", 200)
    mixed = sum(bool(((p.solution.weights > 0.05).sum(axis=1) >= 2).any()) for p in found)
    near_ties = sum(bool((np.abs(np.diff(np.sort(p.solution.logits, axis=1))) < 1e-3).any()) for p in found)
    assert mixed > 60
    assert near_ties > 20


@pytest.mark.parametrize(
    ("family", "regimes"),
    [
        ("masked", MASKS),
        ("extreme", ("huge", "huge-query", "huge-memory", "huge-beta", "norm-1e20", "tiny", "cancelling")),
        ("parts", (*LEVELS, "none", "part", "all-but-one-part", "scattered")),
        ("any-beta", ("negative", "zero", "tiny", "small", "large", "negative-large")),
    ],
)
def test_special_regimes_occur(family: str, regimes: tuple[str, ...]) -> None:
    seen = Counter(r for p in drawn(family, 150) for r in p.regimes)
    for name in regimes:
        assert seen[name] > 0, f"{name} was never drawn"


@pytest.mark.parametrize("family", list(FAMILIES))
def test_inputs_are_exact_in_some_dtype(family: str) -> None:
    for problem in drawn(family, 40):
        assert "float64" in problem.formats
        assert np.isfinite(problem.query).all()
        assert np.isfinite(problem.memory).all()


def test_parts_differ_in_every_way() -> None:
    found = drawn("parts", 150)
    sums = [p.solution.log_normalizer.hi for p in found]
    vanishing = [((p.solution.weights < 1e-40) & p.solution.kept).any() for p in found]
    mixed = [((p.solution.weights > 0.05).sum(axis=1) >= 2).any() for p in found]
    assert sum(np.abs(s).max() > 1000 for s in sums) > 5
    assert sum(vanishing) > 10
    assert sum(mixed) > 40


def test_every_check_has_a_family() -> None:
    assert {c.family for c in CHECKS} <= {*FAMILIES, "digits"}
    assert len({c.name for c in CHECKS}) == len(CHECKS)


def test_digits_are_damaged_and_exact_everywhere() -> None:
    found = digit_problems(12, seed=0)
    assert {how for p in found for how in p.regimes} >= set(CORRUPTIONS)
    assert found[0].memory.shape == (1797, 64)
    for problem in found:
        assert set(problem.formats) == set(JUDGED)
        assert problem.memory.min() >= 0
        assert problem.memory.max() <= 16
    cut = found[2].query
    assert not cut[:, 32:].any()
    assert cut[:, :32].any()


@pytest.mark.parametrize("name", JUDGED)
def test_rounding_agrees_with_the_hardware(name: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = np.ldexp(rng.standard_normal(20000), rng.integers(-160 if name != "float16" else -30, 14, 20000))
    if name != "float64":
        # The hardware rounds float64 to the halves twice, by way of float32.
        x = x.astype(np.float32).astype(np.float64)
    expected = torch.from_numpy(x).to(getattr(torch, name)).double().numpy()
    assert np.array_equal(round_to(x, FORMATS[name]), expected)
    assert fits(expected, FORMATS[name])
