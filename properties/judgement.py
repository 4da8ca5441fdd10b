"""What a property says of one case, and the case it looks at."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hopspec.formats import FORMATS, Format
from hopspec.properties.calls import WRONG_DEVICE, Answer, Broken, Call, Description, expected_shape
from hopspec.properties.decision import settle
from hopspec.properties.problem import Array, Problem
from hopspec.properties.shaping import admits
from hopspec.reference import Enclosed
from hopspec.types import AccuracyModel

__all__ = ["Case", "Judgement", "all_of", "compare", "require", "within"]


R = TypeVar("R")


@dataclass(frozen=True)
class Judgement:
    """The worst comparison of one case.

    Args:
        ratio: error over bound; the clause is broken where it exceeds 1.
        what: the quantity and index compared.
        got: the implementation's number.
        expected: the number the clause gives.
        bound: the largest error the clause allows.
        compared: how many numbers were compared; a judgement with none counts for nothing.
        undecided: how many of them the exact value cannot be computed well enough to judge.
        problem: the problem that was asked, where it is not the case's.
        arrays: the arguments of the call, where they are not those of the problem.
    """

    ratio: float
    what: str
    got: str
    expected: str
    bound: float
    compared: int
    undecided: int = 0
    problem: Problem | None = None
    arrays: dict[str, NDArray[Any]] | None = None

    @property
    def holds(self) -> bool:
        """Whether the clause held in this case."""
        return self.ratio <= 1.0


def compare(what: str, actual: Array, exact: Enclosed, bound: Array) -> Judgement | None:
    """Judge numbers against an enclosure; where its radius leaves one open, by more bits of the exact one.

    Components whose bound is infinite are outside the clause's domain; None if there is nothing else.
    """
    error, slack = exact.error(actual)
    least = np.maximum(error - slack, 0.0)
    open_ = np.isfinite(bound) & (least <= bound) & (error + slack > bound)
    undecided = 0
    if open_.any():
        allowed = np.broadcast_to(bound, least.shape)
        wrong, unknown = settle(actual, exact, allowed, open_)
        undecided = int(unknown.sum())
        least = np.where(wrong, np.nextafter(allowed, np.inf), least)
    judgement = _worst(what, actual, exact.hi, least, bound)
    return judgement and replace(judgement, undecided=undecided)


def within(what: str, actual: Array, expected: Array, bound: Array) -> Judgement | None:
    """Judge ``|actual - expected| <= bound`` elementwise in float64; equal infinities agree."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.where(actual == expected, 0.0, np.abs(actual - expected))
    return _worst(what, actual, expected, np.where(np.isnan(error), np.inf, error), bound)


def _worst(what: str, actual: Array, expected: Array, error: Array, bound: Array) -> Judgement | None:
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        ratio = np.where(error == 0, 0.0, error / bound)
        # Nothing is within less than nothing: a bound that came out negative must not pass for one.
        ratio = np.where(bound < 0, np.inf, ratio)
    inside = _spread(np.isfinite(bound), ratio.shape)
    count = int(np.count_nonzero(inside))
    if count == 0:
        return None
    ratio = np.where(inside, np.where(np.isnan(ratio), np.inf, ratio), -1.0)
    at = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    index = "" if ratio.ndim == 0 else str([int(i) for i in at])
    got, right, allowed = (float(_spread(a, ratio.shape)[at]) for a in (actual, expected, bound))
    return Judgement(float(ratio[at]), f"{what}{index}", repr(got), repr(right), allowed, count)


def _spread(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """``array`` in a shape it has in most cases, for ``np.broadcast_to`` takes longer than all the rest."""
    return array if array.shape == shape else np.broadcast_to(array, shape)


def require(what: str, condition: bool, got: Any, expected: Any) -> Judgement:
    """Judge a yes-or-no statement."""
    return Judgement(0.0 if condition else math.inf, what, str(got), str(expected), 0.0, 1)


def all_of(*judgements: Judgement | None) -> Judgement | None:
    """The worst of several judgements, their comparisons counted together."""
    there = [j for j in judgements if j is not None]
    if not there:
        return None
    worst = max(there, key=lambda j: j.ratio)
    total = sum(j.compared for j in there)
    undecided = sum(j.undecided for j in there)
    return replace(worst, compared=total, undecided=undecided)


@dataclass
class Case:
    """One problem, one dtype, one implementation: what a property is given.

    Args:
        problem: the inputs.
        dtype: name of the format the implementation computes in.
        description: what the implementation claims.
        model: the accuracy model it is judged under.
        ask: sends a call to the implementation.
        answers: what it has answered so far.
        bounds: the bounds computed so far.
        links: states of single updates and their radii, see :mod:`hopspec.properties.checks.trajectory`.
        held: problems these are about, kept so that no other takes their identity.
    """

    problem: Problem
    dtype: str
    description: Description
    model: AccuracyModel
    ask: Callable[[Call], Answer]
    answers: dict[Any, Answer] = field(default_factory=dict)
    bounds: dict[Any, Any] = field(default_factory=dict)
    links: dict[int, tuple[list[Array], list[Array]]] = field(default_factory=dict)
    held: list[Problem] = field(default_factory=list)

    @property
    def format(self) -> Format:
        """The format of ``dtype``."""
        return FORMATS[self.dtype]

    def provides(self, quantity: str) -> bool:
        """Whether the implementation has this callable."""
        return quantity in self.description.quantities

    def value_width(self, wanted: int) -> int:
        """The width of values to ask for: that of the memory where no others can be read out."""
        (count, _), (n, d) = self.problem.query.shape, self.problem.memory.shape
        return wanted if admits(self.description.capabilities.shapes, (count, n, d, wanted)) else d

    def answer(
        self,
        quantity: str = "retrieve",
        problem: Problem | None = None,
        *,
        fresh: bool = False,
        layout: str = "contiguous",
        prepared: bool = False,
        story: str = "",
        arrays: dict[str, NDArray[Any]] | None = None,
        varies: bool = False,
        **options: Any,
    ) -> Answer:
        """Call on ``problem`` (by default the case's own); the same call is made once unless ``fresh``.

        ``varies`` says that its arrays are made for this dtype; it saves time only. A log-normalizer to
        another base becomes a natural one.
        """
        p = problem or self.problem
        arguments: dict[str, NDArray[Any]] = {"query": p.query, "memory": p.memory}
        if p.bias is not None:
            arguments["bias"] = p.bias if p.keep is None else np.where(p.keep, p.bias, -np.inf)
        elif p.keep is not None:
            arguments["keep"] = p.keep
        if p.values is not None:
            arguments["values"] = p.values
        arguments |= arrays or {}
        options = {"beta": p.beta, **({"causal": True} if p.causal else {}), **options}
        key = (id(p), quantity, layout, prepared, tuple(sorted(options.items())))
        if not fresh and arrays is None and key in self.answers:
            return self.answers[key]
        answer = self.ask(Call(quantity, self.dtype, arguments, options, layout, prepared, varies, story))
        base = self.description.capabilities.log_base
        if quantity == "log_normalizer" and base != math.e:
            answer = replace(answer, arrays=tuple(a * math.log(base) for a in answer.arrays))
        if arrays is None:
            self.answers[key] = answer
            self.held.append(p)
        return answer

    def remember(self, what: str, problem: Problem, compute: Callable[[], R]) -> R:
        """Something that follows from ``problem`` and the case's model, computed once."""
        key = (what, id(self.model), id(problem))
        if key not in self.bounds:
            self.bounds[key] = compute()
            self.held.append(problem)
        result: R = self.bounds[key]
        return result

    def completed(self, quantity: str = "retrieve", problem: Problem | None = None, **options: Any) -> Answer:
        """A call that must give a result.

        Raises:
            Broken: if it raised, or the result lies on another device.
        """
        answer = self.answer(quantity, problem, **options)
        p = problem or self.problem
        attends = quantity == "attention" or p.causal or p.bias is not None
        asked = (p, options.get("arrays")) if attends else None
        if answer.error == WRONG_DEVICE:
            raise Broken("device", f"{quantity} {answer.message}", asked)
        if answer.error:
            raise Broken("raised", f"{quantity} raised {answer.error}: {answer.message}", asked)
        return answer

    def value(self, quantity: str = "retrieve", problem: Problem | None = None, **options: Any) -> Array:
        """The array a call gives.

        Raises:
            Broken: if it raised, or the result has not the shape of the clauses.
        """
        return self.fields(quantity, problem, **options)[0]

    def fields(self, quantity: str, problem: Problem | None = None, **options: Any) -> tuple[Array, ...]:
        """All arrays a call gives, checked for shape."""
        answer = self.completed(quantity, problem, **options)
        p = problem or self.problem
        arguments: dict[str, NDArray[Any]] = {"query": p.query, "memory": p.memory}
        if p.values is not None:
            arguments["values"] = p.values
        arguments |= options.get("arrays") or {}
        shape = expected_shape(Call(quantity, self.dtype, arguments))
        if answer.arrays[0].shape != shape:
            raise Broken("shape", f"{quantity} returned shape {answer.arrays[0].shape}, expected {shape}")
        return tuple(np.asarray(a, dtype=np.float64) for a in answer.arrays)
