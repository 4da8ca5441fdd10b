"""``assert_within``: the comparison of a test, with a proved tolerance in place of ``rtol`` and ``atol``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hopspec.properties.decision import PRECISIONS, settle
from hopspec.properties.models import loosest, model_named
from hopspec.properties.problem import Array, Problem
from hopspec.reference import Enclosed, bounds
from hopspec.types import AccuracyModel

__all__ = ["Undecided", "assert_within", "retrieval_problem"]


class Undecided(ArithmeticError):  # noqa: N818  (neither a pass nor a failure)
    """The exact answer is not known well enough to say whether an error is within its bound."""


def _perturbation(p: Problem, model: AccuracyModel) -> bounds.Perturbation:
    return bounds.perturbation(p.query, p.memory, p.beta, p.solution, model, p.bias)


class _Quantity(NamedTuple):
    clause: str
    exact: Callable[[Problem], Enclosed | None]
    bound: Callable[[Problem, AccuracyModel], Array]


_QUANTITIES = {
    "retrieve": _Quantity(
        "MHN-BND-2",
        lambda p: p.solution.state,
        lambda p, m: bounds.update_bound(
            p.query, p.memory, p.beta, p.solution, m, p.values, _perturbation(p, m)
        ),
    ),
    "log_normalizer": _Quantity(
        "MHN-BND-3",
        lambda p: p.solution.log_normalizer,
        lambda p, m: bounds.log_normalizer_bound(
            p.query, p.memory, p.beta, p.solution, m, _perturbation(p, m)
        ),
    ),
    "energy": _Quantity(
        "MHN-BND-4",
        lambda p: p.solution.energy,
        lambda p, m: bounds.energy_bound(p.query, p.memory, p.beta, p.solution, m),
    ),
}


def retrieval_problem(
    query: Any, memory: Any, *, beta: float, keep: Any = None, values: Any = None, bias: Any = None
) -> Problem:
    """The inputs of one retrieval, or of one head of attention, for :func:`assert_within`.

    Args:
        query: state patterns, ``[L, d]``: PyTorch tensors on any device, NumPy arrays, or nested lists.
        memory: stored patterns, ``[N, d]``.
        beta: inverse temperature, any finite number.
        keep: True where a memory takes part, ``[N]`` or ``[L, N]``; None keeps all (clause MHN-MSK-1).
        values: what is read out, ``[N, dv]``; None reads the memory (clause MHN-UPD-4).
        bias: what is added to the logits, ``[L, N]``, ``-inf`` where a memory takes no part (clause
            MHN-ATT-1).

    Raises:
        ValueError: if shapes do not fit together; leading dimensions are compared one matrix at a time.

    >>> retrieval_problem([[1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], beta=2.0).memory.shape
    (2, 2)
    """
    arrays = {"query": _image(query), "memory": _image(memory)}
    if values is not None:
        arrays["values"] = _image(values)
    for name, array in arrays.items():
        if array.ndim != 2:
            raise ValueError(f"{name} must have two dimensions, got shape {list(array.shape)}")
    q, x = arrays["query"], arrays["memory"]
    if q.shape[1] != x.shape[1]:
        raise ValueError(f"memory must have the query's width d = {q.shape[1]}, got shape {list(x.shape)}")
    if values is not None and arrays["values"].shape[0] != x.shape[0]:
        raise ValueError(
            f"values must have one row for each of {x.shape[0]} memories, got shape "
            f"{list(arrays['values'].shape)}"
        )
    mask = None if keep is None else np.asarray(_plain(keep), dtype=np.bool_)
    if mask is not None and mask.shape not in ((x.shape[0],), (q.shape[0], x.shape[0])):
        raise ValueError(
            f"keep must have shape [{x.shape[0]}] or {[q.shape[0], x.shape[0]]}, got {list(mask.shape)}"
        )
    added = None if bias is None else _image(bias)
    if added is not None and added.shape != (q.shape[0], x.shape[0]):
        raise ValueError(f"bias must have shape {[q.shape[0], x.shape[0]]}, got {list(added.shape)}")
    return Problem(q, x, float(beta), mask, arrays.get("values"), bias=added)


def assert_within(
    actual: Any,
    problem: Problem,
    model: AccuracyModel | str | None = None,
    *,
    quantity: str = "retrieve",
    dtype: str | None = None,
    limit: int = PRECISIONS[-1],
) -> None:
    """Raise unless every number is within the proved bound of the exact one (clauses MHN-BND-2 to MHN-BND-4).

    To be used in place of ``torch.testing.assert_close`` where an expected value was computed by another
    kernel and the tolerance was guessed. A number fails only if its error, less the radius within which the
    exact number is known, exceeds the bound; where the radius leaves that open, more bits are computed.

    Args:
        actual: what the implementation returned, ``[L, dv]``, or ``[L]`` for the other quantities.
        problem: the inputs, as :func:`retrieval_problem` takes them. They must be the numbers the
            implementation was given, after any rounding to its dtype.
        model: the arithmetic claimed: a model, its name (``"flash"``, ``"flash-float32"``), or None for the
            loosest built-in model of the dtype.
        quantity: ``"retrieve"``, ``"log_normalizer"`` or ``"energy"``.
        dtype: name of the format of the inputs; None for that of ``actual``.
        limit: the most bits to compute where a comparison is undecided.

    Raises:
        AssertionError: if a number is off by more than its bound; the message gives the worst one.
        Undecided: if ``limit`` bits do not tell.
        ValueError: if shapes, dtype, model or quantity do not fit, or no number lies in the bound's domain,
            so that nothing would have been compared.

    >>> problem = retrieval_problem([[1.0, 0.0]], [[1.0, 0.0], [-1.0, 0.0]], beta=1.0)
    >>> assert_within(np.float32([[0.7615942, 0.0]]), problem, "flash")
    >>> assert_within(np.float32([[0.7615, 0.0]]), problem, "flash")
    Traceback (most recent call last):
        ...
    AssertionError: retrieve breaks clause MHN-BND-2 under model flash-float32: 1 of 2 numbers
    worst at [0, 0]: got 0.7615, exact 0.7615942, off by 9.42e-05, allowed 8.01e-07, 117 times too much
    """
    if quantity not in _QUANTITIES:
        raise ValueError(f"quantity {quantity!r} is unknown; expected one of {', '.join(_QUANTITIES)}")
    of = _QUANTITIES[quantity]
    name = dtype or _dtype_name(actual)
    if not isinstance(model, AccuracyModel):
        model = loosest(name) if model is None else model_named(model, name)
    exact = of.exact(problem)
    if exact is None and problem.bias is not None:
        raise ValueError(f"{quantity} is not defined for attention with a bias")
    if exact is None:
        raise ValueError(f"{quantity} is defined for positive beta only, got beta = {problem.beta}")
    got = _image(actual)
    if got.shape != exact.hi.shape:
        raise ValueError(f"actual must have shape {list(exact.hi.shape)}, got {list(got.shape)}")
    bound = of.bound(problem, model)
    error, slack = exact.error(got)
    # Infinities and NaN are right or wrong whatever the model; elsewhere an infinite bound promises nothing.
    inside = np.isfinite(bound) | ~np.isfinite(exact.hi)
    if not inside.any():
        raise ValueError(
            f"nothing to compare: the problem lies outside the domain of {of.clause} under {model.name}"
        )
    allowed = np.where(np.isfinite(exact.hi), bound, 0.0)
    wrong = inside & (error - slack > allowed)
    more, unknown = settle(got, exact, allowed, inside & ~wrong & (error + slack > allowed), limit)
    wrong = wrong | more
    if wrong.any():
        raise AssertionError(_message(quantity, of, model, got, exact, error, allowed, wrong))
    if unknown.any():
        at = tuple(np.argwhere(unknown)[0])
        raise Undecided(
            f"undecided at {limit} bits: {float(got[at])!r} at {[int(k) for k in at]}, "
            f"allowed error {allowed[at]:.3g}"
        )


def _message(
    quantity: str,
    of: _Quantity,
    model: AccuracyModel,
    got: Array,
    exact: Enclosed,
    error: Array,
    allowed: Array,
    wrong: Any,
) -> str:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(wrong, error / allowed, -1.0)
    at = np.unravel_index(int(np.argmax(np.where(np.isnan(ratio), np.inf, ratio))), ratio.shape)
    index = [int(i) for i in at]
    digits = 9 if model.storage.precision > 24 else 7
    return (
        f"{quantity} breaks clause {of.clause} under model {model.name}: {int(wrong.sum())} of {got.size} "
        f"numbers\nworst at {index}: got {got[at]:.{digits}g}, exact {exact.hi[at]:.{digits}g}, "
        f"off by {error[at]:.3g}, allowed {allowed[at]:.3g}, {ratio[at]:.3g} times too much"
    )


def _plain(array: Any) -> Any:
    """A tensor of any library as something NumPy takes."""
    return array.detach().cpu() if hasattr(array, "detach") else array


def _image(array: Any) -> Array:
    plain = _plain(array)
    # NumPy has no bfloat16; float64 holds every number of every narrower format.
    return np.asarray(plain.double() if hasattr(plain, "double") else plain, dtype=np.float64)


def _dtype_name(array: Any) -> str:
    if not hasattr(array, "dtype"):
        return "float64"
    return str(array.dtype).removeprefix("torch.")
