"""Errors at the boundary, and the prepared memory."""

import doctest
import re
from collections.abc import Callable
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hopspec import fastpath
from hopspec.fastpath import (
    Memory,
    _energy,
    _evaluate,
    _retrieve,
    _settle,
    association,
    energy,
    evaluate,
    log_normalizer,
    retrieve,
    settle,
)
from hopspec.types import Implementation

Q = torch.zeros(3, 4)
X = torch.arange(20.0).reshape(5, 4)
FUNCTIONS: tuple[Callable[..., Any], ...] = (retrieve, association, log_normalizer, energy, evaluate, settle)

BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"query": [[1.0]]}, TypeError, "query must be a torch.Tensor, got list"),
    ({"query": torch.zeros(4)}, ValueError, r"query has shape \(4,\), expected at least two"),
    (
        {"query": torch.zeros(3, 4, dtype=torch.int64)},
        TypeError,
        "query has dtype torch.int64, expected one of",
    ),
    ({"query": torch.zeros(3, 4, dtype=torch.complex64)}, TypeError, "query has dtype torch.complex64"),
    (
        {"query": torch.zeros(3, 4).double()},
        ValueError,
        "query has dtype torch.float64, expected torch.float32",
    ),
    ({"query": torch.zeros(3, 4, device="meta")}, ValueError, "query is on device meta, expected cpu"),
    ({"query": torch.zeros(3, 5)}, ValueError, r"query has shape \(3, 5\), expected \[..., L, 4\]"),
    ({"query": torch.zeros(2, 3, 4), "memory": torch.zeros(3, 5, 4)}, ValueError, "do not broadcast"),
    ({"memory": np.zeros((5, 4))}, TypeError, "memory must be a torch.Tensor, got ndarray"),
    ({"memory": torch.zeros(4)}, ValueError, "memory has shape"),
    ({"keep": [True]}, TypeError, "keep must be a torch.Tensor"),
    ({"keep": torch.ones(5)}, TypeError, "keep has dtype torch.float32, expected torch.bool"),
    ({"keep": torch.ones(4, dtype=torch.bool)}, ValueError, r"keep has shape \(4,\), not broadcastable"),
    ({"keep": torch.ones(2, 5, dtype=torch.bool)}, ValueError, r"keep has shape \(2, 5\), not broadcastable"),
    ({"keep": torch.ones(2, 3, 5, dtype=torch.bool)}, ValueError, r"not broadcastable to \(3, 5\)"),
    ({"keep": torch.ones(5, dtype=torch.bool, device="meta")}, ValueError, "keep is on device meta"),
    ({"beta": "1"}, TypeError, "beta must be a real number or a tensor, got '1'"),
    ({"beta": True}, TypeError, "beta must be a real number"),
    ({"beta": None}, TypeError, "beta must be a real number"),
    ({"beta": 1j}, TypeError, "beta must be a real number"),
    ({"beta": float("nan")}, ValueError, "beta must be finite, got nan"),
    ({"beta": float("-inf")}, ValueError, "beta must be finite, got -inf"),
    ({"beta": 10**400}, ValueError, "beta must be finite"),
    (
        {"beta": torch.tensor([1.0, float("nan")]), "query": torch.zeros(2, 3, 4)},
        ValueError,
        "beta must be finite",
    ),
    ({"beta": torch.ones(2)}, ValueError, r"beta has shape \(2,\), not broadcastable to \(\)"),
    ({"beta": torch.ones((), dtype=torch.bool)}, TypeError, "beta has dtype torch.bool"),
    (
        {"beta": torch.ones(1, device="meta"), "query": torch.zeros(1, 3, 4)},
        ValueError,
        "beta is on device meta",
    ),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD, ids=[m for _, _, m in BAD])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_bad_arguments_are_named(
    function: Callable[..., Any], change: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {"query": Q, "memory": X, "beta": 1.0} | change
    query, memory = arguments.pop("query"), arguments.pop("memory")
    with pytest.raises(error, match=message):
        function(query, memory, **arguments)


@pytest.mark.parametrize("function", [energy, evaluate, settle])
@pytest.mark.parametrize("beta", [0.0, -1.0, torch.tensor(0.0), torch.tensor([1.0, -1.0])])
def test_beta_must_be_positive_for_energy_and_fixed_points(
    function: Callable[..., Any], beta: float | Tensor
) -> None:
    query = Q.expand(2, 3, 4) if isinstance(beta, Tensor) and beta.dim() else Q
    with pytest.raises(ValueError, match="beta must be positive"):
        function(query, X, beta=beta)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"steps": -1}, ValueError, "steps must be at least 0, got -1"),
        ({"steps": 1.0}, TypeError, "steps must be an integer, got 1.0"),
        ({"steps": True}, TypeError, "steps must be an integer"),
        ({"steps": 0, "values": X}, ValueError, "steps is 0 with values"),
        ({"values": torch.zeros(4, 4)}, ValueError, r"values has shape \(4, 4\), expected \[..., 5, dv\]"),
        ({"values": X.double()}, ValueError, "values has dtype torch.float64, expected torch.float32"),
        ({"values": [1]}, TypeError, "values must be a torch.Tensor"),
        ({"values": torch.zeros(5)}, ValueError, "values has shape"),
    ],
)
def test_bad_arguments_of_retrieve(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        retrieve(Q, X, beta=1.0, **change)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"eps": -1e-9}, ValueError, "eps must be at least 0, got -1e-09"),
        ({"eps": float("nan")}, ValueError, "eps must be at least 0, got nan"),
        ({"eps": "1"}, TypeError, "eps must be a real number or None, got '1'"),
        ({"max_steps": 0}, ValueError, "max_steps must be at least 1, got 0"),
        ({"max_steps": 2.5}, TypeError, "max_steps must be an integer, got 2.5"),
        ({"method": "newton"}, ValueError, "method must be one of picard, got 'newton'"),
    ],
)
def test_bad_arguments_of_settle(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        settle(Q, X, beta=1.0, **change)


@pytest.mark.parametrize("beta", [2, Fraction(2), np.float64(2), np.float32(2), np.int64(2), torch.tensor(2)])
def test_any_real_number_is_a_beta(beta: Any) -> None:
    assert torch.equal(retrieve(X[:2], X, beta=beta), retrieve(X[:2], X, beta=2.0))


def test_a_mask_may_be_a_single_number() -> None:
    assert torch.equal(retrieve(X, X, beta=0.1, keep=torch.tensor(True)), retrieve(X, X, beta=0.1))
    assert torch.equal(retrieve(X, X, beta=0.1, keep=torch.tensor([False])), torch.zeros_like(X))


def test_a_memory_is_frozen() -> None:
    memory = Memory(X, values=X, keep=torch.ones(5, dtype=torch.bool))
    assert repr(memory) == "Memory(patterns=[5, 4], values=[5, 4], keep=[1, 5], dtype=torch.float32)"
    with pytest.raises(AttributeError, match="read-only: cannot set 'patterns'"):
        memory.patterns = X
    with pytest.raises(AttributeError, match="read-only: cannot delete 'keep'"):
        del memory.keep
    with pytest.raises(AttributeError):
        memory.other = 1


def test_a_changed_memory_is_refused() -> None:
    patterns = X.clone()
    memory = Memory(patterns)
    retrieve(Q, memory, beta=1.0)
    patterns[0, 0] = 1e30
    with pytest.raises(ValueError, match="modified in place"):
        retrieve(Q, memory, beta=1.0)
    with torch.inference_mode():
        inference = Memory(X.clone())
    assert torch.equal(retrieve(Q, inference, beta=1.0), retrieve(Q, X, beta=1.0))


def test_bad_memories() -> None:
    with pytest.raises(TypeError, match="patterns must be a"):
        Memory([[1.0]])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=re.escape("values has shape (3, 4)")):
        Memory(X, values=Q)
    with pytest.raises(TypeError, match="keep has dtype"):
        Memory(X, keep=torch.ones(5))
    with pytest.raises(ValueError, match="memory holds values already"):
        retrieve(Q, Memory(X, values=X), beta=1.0, values=X)
    with pytest.raises(ValueError, match="steps is 0 with values"):
        retrieve(Q, Memory(X, values=X), beta=1.0, steps=0)
    with pytest.raises(ValueError, match="not broadcastable"):
        retrieve(Q, Memory(X, keep=torch.ones(2, 5, dtype=torch.bool)), beta=1.0)


@pytest.mark.parametrize("module", [_energy, _evaluate, _retrieve, _settle, fastpath.memory])
def test_examples_run(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_the_descriptor_claims_what_there_is() -> None:
    descriptor = fastpath.DESCRIPTOR
    assert isinstance(descriptor, Implementation)
    assert descriptor.retrieve is retrieve
    assert {model.storage.name for model in descriptor.accuracy} == set(descriptor.capabilities.dtypes)
    assert set(fastpath.__all__) <= set(dir(fastpath))
