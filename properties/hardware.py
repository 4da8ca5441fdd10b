"""Arithmetic in F_p against the processor: every operation of IEEE 754, bit for bit (clause MHN-FPN-9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from hopspec.pbit import PBit, PBits
from hopspec.reference.pbit import Arithmetic

__all__ = ["FORMATS", "OPERATIONS", "Count", "as_pbit", "as_pbits", "compare_hardware"]

Floats = NDArray[np.float64]

FORMATS = (FLOAT32, FLOAT16, BFLOAT16, FLOAT64)
OPERATIONS = ("add", "subtract", "multiply", "divide", "sqrt", "floor")
BATCH = 2500


@dataclass(frozen=True)
class Count:
    """How often results agree.

    Args:
        format: name of the format.
        operation: what was computed.
        library: who computed it.
        total: how many results.
        different: how many differ.
        first: the first difference, for a person.
    """

    format: str
    operation: str
    library: str
    total: int
    different: int
    first: str = ""


def as_pbits(fmt: Format) -> PBits:
    """The set F_p of the finite elements of a format.

    >>> as_pbits(FLOAT32)
    PBits(bits=24, least=-149, greatest=104, underflow='gradual')
    """
    return PBits(fmt.precision, fmt.least_exponent, fmt.emax - fmt.precision + 1, "gradual")


def as_pbit(x: float, fmt: PBits) -> PBit:
    """The element that a float64 is; an infinity becomes the largest.

    >>> as_pbit(float("inf"), PBits(4)) == PBits(4).largest, as_pbit(-0.0, PBits(4)) == PBits(4).zero
    (True, True)
    """
    if np.isinf(x):
        m, e = fmt.largest
        return PBit(m if x > 0 else -m, e)
    return Arithmetic(fmt).number(float(x))


def _operands(fmt: Format, rng: np.random.Generator, count: int) -> Floats:
    """Bit patterns of the format drawn evenly, half of them with exponents near each other."""
    p = fmt.precision
    significand = np.ldexp(rng.integers(1 << (p - 1), 1 << p, count).astype(np.float64), 1 - p)
    wide = rng.integers(fmt.least_exponent, fmt.emax + 1, count)
    exponent = np.where(rng.random(count) < 0.5, wide, rng.integers(-p - 1, p + 2, count) // 2)
    exponent = np.minimum(exponent, fmt.emax)
    value = np.ldexp(significand, np.maximum(exponent, fmt.emin))
    # Below the normal numbers, and sometimes zero, some bits are cut off.
    short = np.ldexp(
        np.floor(np.ldexp(significand, p - 1 + np.minimum(exponent - fmt.emin, 0))), fmt.least_exponent
    )
    value = np.where(exponent < fmt.emin, short, value)
    return np.asarray(np.where(rng.random(count) < 0.5, -value, value))


def numpy_results(fmt: Format, operation: str, x: Floats, y: Floats) -> Floats:
    """What NumPy computes in the format, on the processor."""
    kind = {"float16": np.float16, "float32": np.float32, "float64": np.float64}[fmt.name]
    own, function = (x.astype(kind), y.astype(kind)), getattr(np, operation)
    return np.asarray(function(*own[: function.nin]), dtype=np.float64)


def torch_results(fmt: Format, operation: str, x: Floats, y: Floats) -> Floats:
    """What PyTorch computes in the format, on the processor."""
    import torch  # noqa: PLC0415

    own = [torch.tensor(a).to(getattr(torch, fmt.name)) for a in (x, y)]
    names = {"add": "add", "subtract": "sub", "multiply": "mul", "divide": "div"}
    function = getattr(torch, names.get(operation, operation))
    result = function(*own) if operation in names else function(own[0])
    return np.asarray(result.double().numpy())


def ml_dtypes_results(fmt: Format, operation: str, x: Floats, y: Floats) -> Floats:
    """What ml_dtypes computes in the format."""
    import ml_dtypes  # noqa: PLC0415

    own, function = [a.astype(getattr(ml_dtypes, fmt.name)) for a in (x, y)], getattr(np, operation)
    return np.asarray(function(*own[: function.nin])).astype(np.float64)


Results = Callable[[Format, str, Floats, Floats], Floats]


def compare_hardware(fmt: Format, operation: str, library: str, count: int, seed: int = 0) -> Count:
    """Compare ``count`` results of one operation.

    Args:
        fmt: a format of IEEE 754, or bfloat16.
        operation: one of :data:`OPERATIONS`.
        library: ``"numpy"``, ``"torch"`` or ``"ml_dtypes"``.
        count: how many results.
        seed: of the operands.

    >>> compare_hardware(FLOAT16, "divide", "numpy", 200).different
    0
    """
    results: dict[str, Results] = {
        "numpy": numpy_results,
        "torch": torch_results,
        "ml_dtypes": ml_dtypes_results,
    }
    own = as_pbits(fmt)
    exact: Any = getattr(Arithmetic(own), operation)
    rng = np.random.default_rng((seed, OPERATIONS.index(operation), fmt.precision))
    done = different = 0
    first = ""
    while done < count:
        size = min(BATCH, count - done)
        x, y = (_operands(fmt, rng, size) for _ in range(2))
        if operation == "sqrt":
            x = np.abs(x)
        y = np.where(y == 0, 1.0, y)
        with np.errstate(all="ignore"):
            found = results[library](fmt, operation, x, y)
        binary = operation not in ("sqrt", "floor")
        for a, b, right in zip(x.tolist(), y.tolist(), found.tolist(), strict=True):
            operands = [as_pbit(a, own), as_pbit(b, own)] if binary else [as_pbit(a, own)]
            mine = exact(*operands)
            if mine != as_pbit(right, own):
                different += 1
                first = first or f"{operation}({a!r}, {b!r}): {mine}, {library} {right!r}"
        done += size
    return Count(fmt.name, operation, library, count, different, first)
