r"""The same results from ball arithmetic that this project did not write: python-flint's ``arb``.

An error in the reference would make every verdict wrong, and its own tests share its ideas. This module
shares neither code nor method with it: inputs become ``fmpq`` rationals and balls, sums, products and
exponentials are flint's, every derivative is written as its clause states it, and the two ends of a ball are
rounded to a format by a few lines here. Precision is doubled until both ends round alike.

Balls cannot tell a number on a rounding boundary, or closer to one than the precision resolves, from its
neighbours: such a number raises :class:`UndecidedError`, which tells the two elements between which it lies.

``python -m hopspec.reference.second_opinion --components 100000`` compares both at random
(:mod:`hopspec.reference.campaign`). It needs python-flint: ``pip install hopspec[flint]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hopspec.formats import Format, format_named
from hopspec.reference.definitions import Gradients

__all__ = [
    "Opinion",
    "UndecidedError",
    "association",
    "energy",
    "gradients",
    "jacobian",
    "log_normalizer",
    "lse",
    "opinions",
    "update",
]

# Bits of precision at which a number is given up.
LIMIT = 4096

Ball = Any
"""An ``arb``; python-flint has no type annotations that mypy could use here."""

Opinion = tuple[float, float]
"""The roundings of both ends of a ball, equal if it decides."""


class UndecidedError(ArithmeticError):
    """A ball still straddles a rounding boundary.

    Args:
        opinion: the neighbouring elements between which the number lies.
        bits: the precision at which that is so.
    """

    def __init__(self, opinion: Opinion, bits: int) -> None:
        super().__init__(f"undecided at {bits} bits: between {opinion[0]!r} and {opinion[1]!r}")
        self.opinion = opinion
        self.bits = bits


def update(
    query: Any,
    memory: Any,
    *,
    beta: Any,
    keep: Any = None,
    values: Any = None,
    to: str | Format = "float64",
    limit: int = LIMIT,
) -> list[Any]:
    """The update (clauses MHN-UPD-3 and MHN-UPD-4), by ball arithmetic.

    Args:
        query: ``[d]`` or ``[L, d]``, nested sequences or anything with ``tolist()``; all of it finite.
        memory: ``[N, d]``.
        beta: any finite float.
        keep: None, or ``[N]`` or ``[L, N]`` bools.
        values: None, or ``[N, dv]``.
        to: a format of float64 numbers, or its name.
        limit: bits of precision at which to give up.

    Returns:
        As :func:`hopspec.reference.update`.

    Raises:
        ImportError: if python-flint is not installed.
        UndecidedError: if a number is not separated from a rounding boundary within ``limit`` bits.

    >>> update([1.0, 0.0], [[1.0, 0.0], [-1.0, 0.0]], beta=1.0)  # tanh(1)
    [0.7615941559557649, 0.0]
    """
    found = opinions("update", query, memory, beta=beta, keep=keep, values=values, to=to, limit=limit)
    return _agreed(found, limit)  # type: ignore[no-any-return]


def association(
    query: Any, memory: Any, *, beta: Any, keep: Any = None, to: str | Format = "float64", limit: int = LIMIT
) -> list[Any]:
    """The association (clause MHN-UPD-2), by ball arithmetic; arguments as for :func:`update`.

    >>> association([1.0], [[1.0], [1.0]], beta=3.0)
    [0.5, 0.5]
    """
    found = opinions("association", query, memory, beta=beta, keep=keep, to=to, limit=limit)
    return _agreed(found, limit)  # type: ignore[no-any-return]


def log_normalizer(
    query: Any, memory: Any, *, beta: Any, keep: Any = None, to: str | Format = "float64", limit: int = LIMIT
) -> Any:
    """The log-normalizer (clause MHN-LSE-1), by ball arithmetic; arguments as for :func:`update`.

    >>> log_normalizer([1.0], [[1.0], [1.0]], beta=0.0)
    0.6931471805599453
    """
    found = opinions("log_normalizer", query, memory, beta=beta, keep=keep, to=to, limit=limit)
    return _agreed(found, limit)


def lse(
    query: Any, memory: Any, *, beta: Any, keep: Any = None, to: str | Format = "float64", limit: int = LIMIT
) -> Any:
    """The log-normalizer over a positive beta (clause MHN-LSE-1); arguments as for :func:`update`.

    >>> lse([1.0], [[3.0]], beta=0.5)
    3.0
    """
    return _agreed(opinions("lse", query, memory, beta=beta, keep=keep, to=to, limit=limit), limit)


def energy(
    query: Any, memory: Any, *, beta: Any, keep: Any = None, to: str | Format = "float64", limit: int = LIMIT
) -> Any:
    """The energy (clause MHN-ENE-1) for a positive beta; arguments as for :func:`update`.

    >>> energy([3.0], [[1.0], [1.0]], beta=2.0)
    2.0
    """
    return _agreed(opinions("energy", query, memory, beta=beta, keep=keep, to=to, limit=limit), limit)


def jacobian(
    query: Any, memory: Any, *, beta: Any, keep: Any = None, to: str | Format = "float64", limit: int = LIMIT
) -> list[Any]:
    """The Jacobian (clause MHN-UPD-5), by ball arithmetic; arguments as for :func:`update`.

    >>> jacobian([0.0], [[1.0], [-1.0]], beta=2.0)
    [[2.0]]
    """
    found = opinions("jacobian", query, memory, beta=beta, keep=keep, to=to, limit=limit)
    return _agreed(found, limit)  # type: ignore[no-any-return]


def gradients(
    query: Any,
    memory: Any,
    cotangent: Any,
    *,
    beta: Any,
    values: Any = None,
    keep: Any = None,
    to: str | Format = "float64",
    limit: int = LIMIT,
) -> Gradients:
    """The gradients (clause MHN-GRD-1), by ball arithmetic; arguments as for :func:`update`.

    >>> gradients([1.0], [[1.0]], [5.0], beta=2.0)
    Gradients(query=[0.0], memory=[[5.0]], values=None, beta=0.0)
    """
    found = opinions(
        "gradients", query, memory, cotangent, beta=beta, values=values, keep=keep, to=to, limit=limit
    )
    by_query, by_memory, by_value, by_beta = found
    return Gradients(
        _agreed(by_query, limit),
        _agreed(by_memory, limit),
        None if by_value is None else _agreed(by_value, limit),
        _agreed(by_beta, limit),
    )


def opinions(
    quantity: str,
    query: Any,
    memory: Any,
    cotangent: Any = None,
    *,
    beta: Any,
    keep: Any = None,
    values: Any = None,
    to: str | Format = "float64",
    limit: int = LIMIT,
) -> Any:
    """The named quantity with an :data:`Opinion` in place of every number.

    Raises:
        ImportError: if python-flint is not installed.
        ValueError: if there is no such quantity, or the format holds numbers that are no float64s.

    >>> opinions("lse", [1.0], [[3.0]], beta=0.5)
    (3.0, 3.0)
    """
    fmt = format_named(to) if isinstance(to, str) else to
    if fmt.precision > 53 or fmt.emax > 1023 or fmt.least_exponent < -1074:
        raise ValueError(f"to must be a format of float64 numbers, got {fmt.name!r}")
    if quantity not in _QUANTITIES:
        raise ValueError(f"quantity must be one of {', '.join(_QUANTITIES)}, got {quantity!r}")
    bits = 64 + fmt.precision
    while True:
        with _precision(bits):
            problem = _read(query, memory, cotangent, beta, keep, values)
            found = _each(_QUANTITIES[quantity](problem), lambda ball: _round(ball, fmt))
        if bits >= limit or all(low == high for low, high in _flat(found)):
            return _each(found, lambda opinion: _overflow(opinion, fmt))
        bits = min(2 * bits, limit)


def _agreed(found: Any, limit: int) -> Any:
    def only(opinion: Opinion) -> float:
        low, high = opinion
        if low == high or (math.isnan(low) and math.isnan(high)):
            return low
        raise UndecidedError(opinion, limit)

    return _each(found, only)


@contextmanager
def _precision(bits: int) -> Iterator[None]:
    try:
        from flint import ctx  # noqa: PLC0415 (optional)
    except ImportError:
        raise ImportError(
            "a second opinion needs python-flint, which is not installed: pip install hopspec[flint]"
        ) from None
    before = ctx.prec
    ctx.prec = bits
    try:
        yield
    finally:
        ctx.prec = before


@dataclass(frozen=True, slots=True)
class _Row:
    """One query as rationals, with balls for its weights."""

    kept: list[int]
    query: list[Any]
    memory: list[list[Any]]
    values: list[list[Any]]
    cotangent: list[Any]
    scores: list[Any]
    largest: Any
    weights: list[Ball]
    total: Ball


@dataclass(frozen=True, slots=True)
class _Problem:
    rows: list[_Row]
    memories: int
    width: int
    value_width: int
    beta: Any
    both: bool
    single: bool


def _read(query: Any, memory: Any, cotangent: Any, beta: Any, keep: Any, values: Any) -> _Problem:
    from flint import arb  # noqa: PLC0415 (optional)

    queries, patterns = _plain(query), _plain(memory)
    single = not queries or not isinstance(queries[0], list)
    cotangents = None if cotangent is None else _plain(cotangent)
    if single:
        queries = [queries]
        cotangents = None if cotangents is None else [cotangents]
    read_out = patterns if values is None else _plain(values)
    flags: list[Any] = [True] * len(patterns) if keep is None else _plain(keep)
    inverse = _rational(beta)
    # Masked memories may hold what is no rational number.
    seen_at_all = {i for row in (flags if _rows(flags) else [flags]) for i, flag in enumerate(row) if flag}
    memories = {i: [_rational(x) for x in patterns[i]] for i in seen_at_all}
    outputs = memories if values is None else {i: [_rational(x) for x in read_out[i]] for i in seen_at_all}
    rows = []
    for number, state in enumerate(queries):
        seen = flags[number] if _rows(flags) else flags
        kept = [i for i, flag in enumerate(seen) if flag]
        xi = [_rational(x) for x in state]
        mine = [memories[i] for i in kept]
        scores = [_dot(pattern, xi) for pattern in mine]
        logits = [inverse * score for score in scores]
        largest = max(logits, default=None)
        weights = [arb(t - largest).exp() for t in logits]
        rows.append(
            _Row(
                kept,
                xi,
                mine,
                [outputs[i] for i in kept],
                [] if cotangents is None else [_rational(x) for x in cotangents[number]],
                scores,
                largest,
                weights,
                sum(weights, arb(0)),
            )
        )
    value_width = len(read_out[0]) if read_out else 0
    width = len(queries[0]) if queries else 0
    return _Problem(rows, len(patterns), width, value_width, inverse, values is None, single)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else [_plain(x) if _nested(x) else x for x in value]


def _rows(flags: list[Any]) -> bool:
    return bool(flags) and isinstance(flags[0], list)


def _nested(value: Any) -> bool:
    return hasattr(value, "__len__")


def _rational(value: Any) -> Any:
    from flint import fmpq  # noqa: PLC0415 (optional)

    return fmpq(*value.as_integer_ratio())


def _dot(x: list[Any], y: list[Any]) -> Any:
    from flint import fmpq  # noqa: PLC0415 (optional)

    return sum((a * b for a, b in zip(x, y, strict=True)), fmpq(0))


def _ball(value: Any) -> Ball:
    from flint import arb  # noqa: PLC0415 (optional)

    return arb(value)


def _mean(row: _Row, j: int) -> Ball:
    """``o_j``."""
    products = (w * value[j] for w, value in zip(row.weights, row.values, strict=True))
    return sum(products, _ball(0)) / row.total


def _updates(problem: _Problem) -> list[list[Ball]]:
    return [
        [_mean(row, j) if row.kept else _ball(0) for j in range(problem.value_width)] for row in problem.rows
    ]


def _associations(problem: _Problem) -> list[list[Ball]]:
    found = [[_ball(0)] * problem.memories for _ in problem.rows]
    for row, result in zip(problem.rows, found, strict=True):
        for i, weight in zip(row.kept, row.weights, strict=True):
            result[i] = weight / row.total
    return found


def _log_normalizers(problem: _Problem) -> list[Ball]:
    return [_ball(row.largest) + row.total.log() if row.kept else _ball("-inf") for row in problem.rows]


def _lses(problem: _Problem) -> list[Ball]:
    return [ball / _ball(problem.beta) for ball in _log_normalizers(problem)]


def _energies(problem: _Problem) -> list[Ball]:
    found = []
    for row in problem.rows:
        if not row.kept:
            found.append(_ball("inf"))
            continue
        squares = _dot(row.query, row.query) + max(_dot(pattern, pattern) for pattern in row.memory)
        # All that is rational in one sum: the energy is the small difference of large numbers.
        rest = squares / 2 - max(_times(problem.beta, row.scores)) / problem.beta
        found.append(_ball(rest) - (row.total / len(row.kept)).log() / problem.beta)
    return found


def _times(factor: Any, numbers: list[Any]) -> list[Any]:
    return [factor * x for x in numbers]


def _jacobians(problem: _Problem) -> list[list[list[Ball]]]:
    found = []
    for row in problem.rows:
        result = [[_ball(0)] * problem.width for _ in range(problem.width)]
        if row.kept:
            centre = [_mean(row, j) for j in range(problem.width)]
            for weight, pattern in zip(row.weights, row.memory, strict=True):
                away = [x - o for x, o in zip(pattern, centre, strict=True)]
                factor = problem.beta * weight / row.total
                for j, a in enumerate(away):
                    result[j] = [r + factor * a * b for r, b in zip(result[j], away, strict=True)]
        found.append(result)
    return found


def _gradients(problem: _Problem) -> list[Any]:
    by_query = []
    by_memory = [[_ball(0)] * problem.width for _ in range(problem.memories)]
    # Where the memory is its own value, both paths add to one matrix.
    by_value = by_memory if problem.both else [[_ball(0)] * problem.value_width for _ in by_memory]
    by_beta = _ball(0)
    for row in problem.rows:
        mine = [_ball(0)] * problem.width
        if row.kept:
            centre = [_mean(row, j) for j in range(problem.value_width)]
            along = _dot_balls(row.cotangent, centre)
            for k, i in enumerate(row.kept):
                share = row.weights[k] / row.total
                slope = share * (_dot(row.values[k], row.cotangent) - along)
                mine = [m + problem.beta * slope * x for m, x in zip(mine, row.memory[k], strict=True)]
                by_beta += slope * row.scores[k]
                keys = [problem.beta * slope * x for x in row.query]
                by_memory[i] = [m + x for m, x in zip(by_memory[i], keys, strict=True)]
                by_value[i] = [m + share * g for m, g in zip(by_value[i], row.cotangent, strict=True)]
        by_query.append(mine)
    return [by_query, by_memory, None if problem.both else by_value, by_beta]


def _dot_balls(x: list[Any], y: list[Ball]) -> Ball:
    return sum((a * b for a, b in zip(x, y, strict=True)), _ball(0))


def _per_query(function: Callable[[_Problem], list[Any]]) -> Callable[[_Problem], Any]:
    def found(problem: _Problem) -> Any:
        results = function(problem)
        return results[0] if problem.single else results

    return found


def _all_gradients(problem: _Problem) -> list[Any]:
    by_query, *others = _gradients(problem)
    return [by_query[0] if problem.single else by_query, *others]


_QUANTITIES: dict[str, Callable[[_Problem], Any]] = {
    "update": _per_query(_updates),
    "association": _per_query(_associations),
    "log_normalizer": _per_query(_log_normalizers),
    "lse": _per_query(_lses),
    "energy": _per_query(_energies),
    "jacobian": _per_query(_jacobians),
    "gradients": _all_gradients,
}


def _each(found: Any, function: Callable[[Any], Any]) -> Any:
    """``function`` of everything in nested lists; None stays."""
    if isinstance(found, list):
        return [_each(entry, function) for entry in found]
    return None if found is None else function(found)


def _flat(found: Any) -> Iterator[Any]:
    if isinstance(found, list):
        for entry in found:
            yield from _flat(entry)
    elif found is not None:
        yield found


def _round(ball: Ball, fmt: Format) -> Opinion:
    if not ball.is_finite():
        # Nothing but an empty row is infinite; any other ball without ends says nothing.
        return (math.inf, math.inf) if ball > 0 else (-math.inf, -math.inf if ball < 0 else math.inf)
    low, high = (end.man_exp() for end in (ball.lower(), ball.upper()))
    return _nearest(int(low[0]), int(low[1]), fmt), _nearest(int(high[0]), int(high[1]), fmt)


def _nearest(mantissa: int, exponent: int, fmt: Format) -> float:
    """The element nearest to ``mantissa * 2**exponent``, an infinity on overflow in any format."""
    size, sign = abs(mantissa), -1.0 if mantissa < 0 else 1.0
    if not size:
        return 0.0
    leading = size.bit_length() - 1 + exponent
    if leading > fmt.emax:
        return sign * math.inf
    if leading < fmt.least_exponent - 1:
        return 0.0
    last = max(leading - fmt.precision + 1, fmt.least_exponent)
    if last <= exponent:
        units = size << (exponent - last)
    else:
        # Half-units, with a last bit for whatever is below them.
        halves, below = divmod(size, 1 << (last - exponent - 1))
        units, half = divmod(halves, 2)
        units += half and (below > 0 or units % 2)
    if units << (last - fmt.least_exponent) > fmt.largest_significand << (
        fmt.emax - fmt.precision + 1 - fmt.least_exponent
    ):
        return sign * math.inf
    return sign * math.ldexp(units, last) if units else 0.0


def _overflow(opinion: Opinion, fmt: Format) -> Opinion:
    """What the format has in place of infinities."""
    if fmt.overflow == "infinite":
        return opinion
    largest = math.ldexp(fmt.largest_significand, fmt.emax - fmt.precision + 1)
    low, high = (
        x if not math.isinf(x) else math.nan if fmt.overflow == "nan" else math.copysign(largest, x)
        for x in opinion
    )
    return low, high


if __name__ == "__main__":
    from hopspec.reference.campaign import main

    main()
