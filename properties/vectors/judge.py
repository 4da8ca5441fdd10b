"""Whether an answer to a vector is right: holds, broken, or undecided."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hopspec.properties.decision import PRECISIONS, decide
from hopspec.properties.models import loosest, standard_models
from hopspec.properties.problem import Array
from hopspec.properties.vectors.answer import exactly
from hopspec.properties.vectors.codec import pack_one
from hopspec.properties.vectors.vector import Vector
from hopspec.reference import Enclosed

__all__ = ["CORRECTLY_ROUNDED", "Judgement", "Verdict", "judge", "model_for"]

# Takes the place of an accuracy model: every component must be the exact one rounded once.
CORRECTLY_ROUNDED = "correctly-rounded"
# Bits known of the answer from the vector itself.
VECTOR_BITS = 106


class Verdict(enum.Enum):
    """What can be said of an answer."""

    HOLDS = "holds"
    BROKEN = "broken"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Judgement:
    """The verdict on one answer and its worst component.

    Args:
        vector: the vector answered.
        model: accuracy model, :data:`CORRECTLY_ROUNDED`, or "" where there is none for the format.
        verdict: whether the errors are allowed.
        ratio: error over allowed error of the worst component; infinite where nothing but one value is right.
        index: index of that component.
        got: its bit pattern.
        expected: the bit pattern of the exact number rounded once.
        error: distance from the exact number.
        bound: the allowed error.
        bits: bits of the exact answer that the verdict rests on.
        equal: components equal to the exact ones rounded once.
        reason: why it is undecided, or "".
    """

    vector: Vector
    model: str
    verdict: Verdict
    ratio: float
    index: tuple[int, ...]
    got: str
    expected: str
    error: float
    bound: float
    bits: int
    equal: int
    reason: str = ""


def model_for(vector: Vector, name: str | None) -> str:
    """The model a vector is judged under: the loosest by default, "" where its format has none.

    Raises:
        ValueError: if the format has models, and the vectors state nothing for one called ``name``.
    """
    if name == CORRECTLY_ROUNDED:
        return CORRECTLY_ROUNDED
    if not vector.models:
        return ""
    dtype = vector.format.name
    if name is None:
        return loosest(dtype).name
    known = [m.name for m in standard_models(dtype)]
    for candidate in (name, f"{name}-{dtype}"):
        if candidate in known:
            return candidate
    raise ValueError(
        f"model {name!r} is not a model of {dtype} vectors; expected one of {', '.join(known)}, "
        "or a prefix of one"
    )


def _same(actual: Array, expected: Array) -> NDArray[np.bool_]:
    return np.asarray((actual == expected) | (np.isnan(actual) & np.isnan(expected)))


def judge(vector: Vector, actual: Array, model: str, *, limit: int = PRECISIONS[-1]) -> Judgement:
    """Judge an answer.

    A component is right if its distance from the exact number is at most the allowed error. Where the
    double-double of the vector leaves that open, the reference is asked for more bits.

    Args:
        vector: what was asked.
        actual: the answer, flat.
        model: as :func:`model_for` gives it. Without a model only an answer equal to the exact one rounded
            once is known to be right, and only one that is not finite where that is, known to be wrong.
        limit: the most bits the reference may be asked for.

    Raises:
        ValueError: if the number of components is another one.
    """
    expected = vector.expected
    if actual.shape != expected.shape:
        raise ValueError(f"expected {expected.size} numbers, got {actual.size}")
    same = _same(actual, expected)
    # Infinite for a NaN or an infinity that should be a number, and the other way round.
    error, slack = Enclosed(*vector.enclosure).error(actual)
    if model == CORRECTLY_ROUNDED:
        bound, slack = np.zeros(error.shape), np.zeros(error.shape)
        error = np.where(same, 0.0, np.maximum(error, 2.0**-1074))
    elif model:
        bound = vector.allowed(model)
    else:
        bound = np.where(np.isfinite(actual) & np.isfinite(expected), np.inf, 0.0)
    # The exact number rounded once is right under every model.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.where(same | (error == 0) | np.isinf(bound), 0.0, error / bound)
        open_ = ~same & np.isfinite(error) & (error + slack > bound) & (error - slack <= bound)
        wrong = ~same & (error - slack > bound)
    bits, unclear = VECTOR_BITS, []
    for i in np.flatnonzero(open_):
        right, used = decide(
            float(actual[i]),
            float(bound[i]),
            lambda bits, i=i: exactly(vector.problem, vector.quantity, bits)[int(i)],  # type: ignore[misc]
            limit,
        )
        bits = max(bits, used)
        if right is None:
            unclear.append(int(i))
        else:
            wrong[i] = not right
            ratio[i] = min(ratio[i], 1.0) if right else max(ratio[i], math.nextafter(1.0, 2.0))
    reason = ""
    if wrong.any():
        verdict = Verdict.BROKEN
    elif unclear:
        verdict, reason = Verdict.UNDECIDED, f"undecided at {bits} bits"
    elif not model and not same.all():
        verdict, reason = Verdict.UNDECIDED, f"no accuracy model of {vector.format.name}"
    elif not same.all() and np.isinf(bound).all():
        verdict, reason = Verdict.UNDECIDED, f"{model} promises nothing for these inputs"
    else:
        verdict = Verdict.HOLDS
    return _judgement(vector, actual, model, verdict, ratio, error, bound, bits, same, reason)


def _judgement(
    vector: Vector,
    actual: Array,
    model: str,
    verdict: Verdict,
    ratio: Array,
    error: Array,
    bound: Array,
    bits: int,
    same: NDArray[np.bool_],
    reason: str,
) -> Judgement:
    if not actual.size:
        return Judgement(vector, model, verdict, 0.0, (), "", "", 0.0, 0.0, bits, 0, reason)
    at = int(np.argmax(ratio)) if ratio.any() else int(np.argmin(same))
    index = tuple(int(i) for i in np.unravel_index(at, vector.shape))
    return Judgement(
        vector,
        model,
        verdict,
        float(ratio[at]),
        index,
        pack_one(float(actual[at]), vector.result_format),
        pack_one(float(vector.expected[at]), vector.result_format),
        float(error[at]),
        float(bound[at]),
        bits,
        int(same.sum()),
        reason,
    )
