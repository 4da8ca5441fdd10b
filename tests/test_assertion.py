"""The comparison that tests use in place of a guessed tolerance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mpmath
import numpy as np
import pytest
import torch

import hopspec
from hopspec.properties import Undecided, assert_within, assertion, retrieval_problem
from hopspec.properties.decision import decide
from hopspec.types import Exact

DTYPES = ("float64", "float32", "bfloat16", "float16")


def drawn(dtype: str, seed: int = 0) -> dict[str, Any]:
    rng = torch.Generator().manual_seed(seed)
    shapes = {"query": (3, 8), "memory": (12, 8), "values": (12, 5)}
    return {
        name: torch.randn(shape, generator=rng).to(getattr(torch, dtype)) for name, shape in shapes.items()
    }


@pytest.mark.parametrize("dtype", DTYPES)
def test_right_results_pass_and_slightly_wrong_ones_do_not(dtype: str) -> None:
    inputs = drawn(dtype)
    keep = torch.tensor([True] * 9 + [False] * 3)
    problem = retrieval_problem(**inputs, beta=0.75, keep=keep)
    got = hopspec.retrieve(**inputs, beta=0.75, keep=keep)
    assert_within(got, problem, "flash")
    assert_within(got, problem)
    off = got.clone()
    off[1, 2] += 0.05
    with pytest.raises(
        AssertionError, match=r"MHN-BND-2 under model flash-\w+: 1 of 15 numbers\nworst at \[1, 2\]"
    ):
        assert_within(off, problem, "flash")
    with pytest.raises(AssertionError, match="retrieve breaks"):
        assert_within(hopspec.retrieve(**inputs, beta=0.9, keep=keep), problem, "flash")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("quantity", ["log_normalizer", "energy"])
def test_other_quantities(dtype: str, quantity: str) -> None:
    inputs = drawn(dtype, 1)
    del inputs["values"]
    problem = retrieval_problem(**inputs, beta=0.5)
    got = getattr(hopspec, quantity)(**inputs, beta=0.5)
    assert_within(got, problem, "flash", quantity=quantity, dtype=dtype)
    with pytest.raises(AssertionError, match=f"{quantity} breaks"):
        assert_within(got * 1.01 + 0.01, problem, "flash", quantity=quantity, dtype=dtype)


def test_rows_that_are_not_finite_must_not_be_finite() -> None:
    inputs = drawn("float32")
    inputs["query"][1, 0] = torch.nan
    problem = retrieval_problem(**inputs, beta=1.0)
    got = hopspec.retrieve(**inputs, beta=1.0)
    assert got[1].isnan().all()
    assert_within(got, problem)
    with pytest.raises(AssertionError, match="5 of 15 numbers"):
        assert_within(got.nan_to_num(0.0), problem)
    empty = retrieval_problem(inputs["query"], inputs["memory"], beta=1.0, keep=np.zeros(12, dtype=bool))
    assert_within(np.zeros((3, 8), dtype=np.float32), empty)
    assert_within(np.full(3, -np.inf), empty, quantity="log_normalizer", dtype="float32")
    with pytest.raises(AssertionError, match="3 of 3"):
        assert_within(np.zeros(3), empty, quantity="log_normalizer", dtype="float32")


def test_arguments_are_checked() -> None:
    inputs = drawn("float32")
    with pytest.raises(ValueError, match=r"query must have two dimensions, got shape \[1, 3, 8\]"):
        retrieval_problem(inputs["query"][None], inputs["memory"], beta=1.0)
    with pytest.raises(ValueError, match=r"width d = 8, got shape \[12, 5\]"):
        retrieval_problem(inputs["query"], inputs["values"], beta=1.0)
    with pytest.raises(ValueError, match=r"each of 12 memories, got shape \[3, 8\]"):
        retrieval_problem(inputs["query"], inputs["memory"], beta=1.0, values=inputs["query"])
    with pytest.raises(ValueError, match=r"keep must have shape \[12\] or \[3, 12\], got \[3\]"):
        retrieval_problem(inputs["query"], inputs["memory"], beta=1.0, keep=[True] * 3)
    problem = retrieval_problem(inputs["query"], inputs["memory"], beta=1.0)
    got = hopspec.retrieve(inputs["query"], inputs["memory"], beta=1.0)
    with pytest.raises(ValueError, match=r"actual must have shape \[3, 8\], got \[2, 8\]"):
        assert_within(got[:2], problem)
    with pytest.raises(ValueError, match="quantity 'update' is unknown; expected one of retrieve"):
        assert_within(got, problem, quantity="update")
    with pytest.raises(ValueError, match="model 'flush' is not a model of float32"):
        assert_within(got, problem, "flush")
    with pytest.raises(ValueError, match="dtype 'int64' has no accuracy model"):
        assert_within(got.long(), problem)
    cold = retrieval_problem(inputs["query"], inputs["memory"], beta=-1.0)
    with pytest.raises(ValueError, match=r"positive beta only, got beta = -1\.0"):
        assert_within(np.zeros(3), cold, quantity="energy", dtype="float32")


def test_comparing_nothing_is_an_error() -> None:
    huge = retrieval_problem([[1e38]], [[1e38], [-1e38]], beta=1e38)
    with pytest.raises(ValueError, match="lies outside the domain of MHN-BND-2 under any-float32"):
        assert_within(np.zeros((1, 1), dtype=np.float32), huge)


def test_undecided_is_neither_pass_nor_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def straddling(bits: int) -> Exact:
        return Exact(mpmath.mpf(0.5), mpmath.mpf(2) ** -bits, bits, False)

    assert decide(0.5 + 2.0**-10, 2.0**-10, straddling) == (None, 4096)
    assert decide(0.5 + 2.0**-10, 2.0**-9, straddling) == (True, 256)
    assert decide(0.5 + 2.0**-10, 2.0**-11, straddling) == (False, 256)

    def narrow_later(bits: int) -> Exact:
        half_and_less = mpmath.fsub(0.5, mpmath.mpf(2) ** -300, exact=True)
        return Exact(half_and_less, mpmath.mpf(2) ** -bits, bits, False)

    assert decide(0.5 + 2.0**-10, 2.0**-10, narrow_later) == (False, 512)

    problem = retrieval_problem([[0.0]], [[0.25], [0.75]], beta=1.0)
    state = problem.solution.state
    wide = replace(state, radius=np.full((1, 1), 1e-3))
    uncertain = replace(wide, exactly=lambda bits: [straddling(bits)])
    quantity = assertion._QUANTITIES["retrieve"]._replace(
        exact=lambda _: uncertain, bound=lambda *_: np.full((1, 1), 2.0**-10)
    )
    monkeypatch.setitem(assertion._QUANTITIES, "retrieve", quantity)
    with pytest.raises(
        Undecided, match=r"undecided at 512 bits: 0\.5009765625 at \[0, 0\], allowed error 0\.000977"
    ):
        assert_within(np.array([[0.5 + 2.0**-10]]), problem, limit=512)
    # The exact number is rational, so the real reference decides what the wide radius left open.
    monkeypatch.setitem(assertion._QUANTITIES, "retrieve", quantity._replace(exact=lambda _: wide))
    assert_within(np.array([[0.5 + 2.0**-10]]), problem)
    with pytest.raises(AssertionError, match=r"off by 0\.000977, allowed 0\.000977"):
        assert_within(np.array([[np.nextafter(0.5 + 2.0**-10, 1.0)]]), problem)
