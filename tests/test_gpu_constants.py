"""What is found out about exponentials and sums, on functions whose arithmetic is known."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
import torch

from hopspec.properties.gpu.exponentials import U32, exact_error, sweep
from hopspec.properties.gpu.summation import (
    Tree,
    depth,
    precision,
    scale_of,
    terms_at_once,
    tree_of,
)

Array = npt.NDArray[np.float64]
F32 = np.float32


def in_order(terms: Array) -> float:
    """One after the other."""
    total = F32(0)
    for term in terms.astype(F32):
        total += term
    return float(total)


def halving(terms: Array) -> float:
    """A balanced tree."""
    if len(terms) == 1:
        return float(terms[0])
    middle = len(terms) // 2
    return float(F32(halving(terms[:middle])) + F32(halving(terms[middle:])))


def blocks(terms: Array) -> float:
    """Blocks of four, each summed from zero in a tree, and then one after the other."""
    return in_order(np.array([halving(terms[k : k + 4]) for k in range(0, len(terms), 4)]))


def fused(terms: Array) -> float:
    """Four terms and the sum so far, added at once to 26 bits of the largest, as tensor cores do."""
    total = 0.0
    for k in range(0, len(terms), 4):
        several = [total, *terms[k : k + 4].tolist()]
        unit = 2.0 ** (np.frexp(max(map(abs, several)))[1] - 24)
        total = sum(float(np.trunc(x / unit)) * unit for x in several)
    return total


def backwards(terms: Array) -> float:
    """From the last to the first."""
    return in_order(terms[::-1])


def dot(add: Callable[[Array], float], factor: Callable[[Array], Array] = lambda x: x) -> object:
    """The products of factors, exact, summed by ``add``."""
    return lambda left, right: np.array([add(factor(row) * factor(right)) for row in left])


def sequential(numbers: list[int]) -> Tree:
    tree: Tree = numbers[0]
    for number in numbers[1:]:
        tree = (tree, number)
    return tree


@pytest.mark.parametrize(
    ("add", "tree", "additions", "at_once"),
    [
        (in_order, sequential([*range(8)]), 7, 2),
        (backwards, (0, (1, (2, (3, (4, (5, (6, 7))))))), 7, 2),
        (halving, (((0, 1), (2, 3)), ((4, 5), (6, 7))), 3, 2),
        (blocks, (((0, 1), (2, 3)), ((4, 5), (6, 7))), 3, 2),
        (fused, ((0, 1, 2, 3), 4, 5, 6, 7), 2, 5),
    ],
)
def test_trees_are_found(add: Callable[[Array], float], tree: Tree, additions: int, at_once: int) -> None:
    found = tree_of(dot(add), 8, scale_of("float32"))  # type: ignore[arg-type]
    assert found == tree
    assert (depth(found), terms_at_once(found)) == (additions, at_once)


def test_blocks_differ_from_a_tree_where_there_are_more() -> None:
    found = tree_of(dot(blocks), 16, scale_of("float32"))  # type: ignore[arg-type]
    assert depth(found) == 5
    assert depth(tree_of(dot(halving), 16, scale_of("float32"))) == 4  # type: ignore[arg-type]


def test_what_is_no_tree_is_refused() -> None:
    random = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"no sums of a tree|expected 0 to"):
        tree_of(lambda left, _: random.integers(0, 7, len(left)).astype(float), 8, scale_of("float32"))
    with pytest.raises(ValueError, match=r"left 0\.5 ones"):
        tree_of(lambda left, _: np.full(len(left), 0.5), 8, scale_of("float32"))
    with pytest.raises(ValueError, match="terms must be 1 to 32, got 64"):
        tree_of(dot(in_order), 64, scale_of("float16"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dtype must be one of"):
        scale_of("float8")


def tf32(numbers: Array) -> Array:
    bits = numbers.astype(F32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(F32).astype(np.float64)


def products_rounded(terms: Array) -> float:
    return in_order(terms.astype(F32).astype(np.float64))


def test_precision_is_found() -> None:
    single, half = scale_of("float32"), scale_of("float16")
    found = precision(dot(products_rounded), 8, single)  # type: ignore[arg-type]
    assert (found.factor_bits, found.exact_products, found.rounding) == (24, False, "to nearest")
    found = precision(dot(in_order, tf32), 8, single)  # type: ignore[arg-type]
    assert (found.factor_bits, found.exact_products, found.rounding) == (11, True, "to nearest")
    found = precision(dot(in_order), 8, half)  # type: ignore[arg-type]
    assert (found.factor_bits, found.exact_products, found.rounding) == (11, True, "to nearest")
    found = precision(dot(fused), 8, half)  # type: ignore[arg-type]
    assert found.rounding == "cut off"
    found = precision(dot(lambda terms: float(terms.sum())), 8, half)  # type: ignore[arg-type]
    assert found.rounding == "not rounded"
    with pytest.raises(ValueError, match="terms must be at least 4"):
        precision(dot(in_order), 3, half)  # type: ignore[arg-type]


def test_the_error_of_an_exponential_is_exact() -> None:
    with mpmath.workprec(300):
        for argument in (-1e-7, -0.3, -20.25, -100.0):
            for base in (0, 2):
                true = mpmath.exp(argument) if base == 0 else mpmath.mpf(2) ** argument
                value = float(true) * (1 + 2.0**-20)
                expected = float(abs(mpmath.mpf(value) - true) / true)
                assert exact_error(argument, value, base) == pytest.approx(expected, rel=1e-12)
    assert exact_error(-1.0, float("inf"), 2) == float("inf")


@pytest.mark.parametrize("base", [0, 2])
def test_exponentials_are_swept(base: int) -> None:
    function = torch.exp2 if base == 2 else torch.exp
    seen: list[tuple[int, int]] = []
    found = sweep("torch", function, "cpu", base=base, stride=40009, progress=lambda *n: seen.append(n))
    assert seen[-1] == (found.points, found.points)
    assert found.points > 25_000
    assert 0.5 < found.error < 4
    assert found.comparison < 2.0**-20
    assert found.one


@pytest.mark.parametrize(
    ("wrong", "seen"),
    [
        (lambda x: torch.exp2(x) * (1 + 2.0**-18), "error"),
        (lambda x: torch.where(x < -120, 0.0, torch.exp2(x)), "flushed"),
        (lambda x: torch.where(x == 0, 1 - U32, torch.exp2(x)), "one"),
        (lambda x: torch.where((x < -3) & (x > -3.1), 0.14, torch.exp2(x)), "monotone"),
        (lambda x: torch.where(x < -60, float("nan"), torch.exp2(x)), "nan"),
    ],
)
def test_a_wrong_exponential_is_seen(wrong: Callable[[torch.Tensor], torch.Tensor], seen: str) -> None:
    right = sweep("right", torch.exp2, "cpu", stride=400009)
    found = sweep("wrong", wrong, "cpu", stride=400009)
    changed = {
        "error": found.error > 60,
        "flushed": found.flushed > 1e-37,
        "one": not found.one,
        "monotone": not found.monotone,
        "nan": found.error == float("inf"),
    }
    assert changed[seen]
    assert right.error < 4
    assert right.flushed < 2.0**-126
    assert right.one
    assert right.monotone


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="base must be 0 or 2"):
        sweep("ten", torch.exp, "cpu", base=10)
