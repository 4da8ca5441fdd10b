r"""The definitions, as plainly as they can be written down: one query, any working precision.

Every function takes one query $\xi$ (``[d]``) and the memory $x_1, \ldots, x_N$ (``[N, d]``) as exact
rational numbers, and works with ``mpmath`` numbers of ``bits`` significant bits: every single operation is
rounded to them. The order in every docstring is formula, shapes, clause and source, example. A masked
memory is left out before anything is computed with it, and may hold anything (clause MHN-MSK-2); what takes
part must be finite.

Nothing here is fast or proves an error bound; :mod:`hopspec.reference.oracle` does both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from hopspec.clauses import implements
from hopspec.precision import Precision
from hopspec.reference.context import Real, context, number, vector, working_bits
from hopspec.types import Settled, Status

__all__ = [
    "Gradients",
    "association",
    "capacity_base",
    "capacity_bound",
    "energy",
    "gradients",
    "implicit_gradient",
    "jacobian",
    "kept_memories",
    "kl_divergence",
    "log_normalizer",
    "logits",
    "lse",
    "merge_blocks",
    "read_out",
    "scores",
    "separation",
    "settle",
    "trajectory",
    "update",
    "working_bits",
]

Bits = int | Precision
"""A working precision in bits, or a policy that gives it from the number of memories."""

DEFAULT_BITS = 200


@implements("MHN-MSK-1", "MHN-MSK-2")
def kept_memories(memory: Any, keep: Any = None) -> list[int]:
    r"""Indices of the memories that take part.

    Formula: $\{ i : keep_i \}$, all of them without a mask.

    Args:
        memory: ``[N, d]``, or anything of length N.
        keep: None, or ``[N]`` bools.

    Raises:
        TypeError: if an entry of ``keep`` is not a bool.
        ValueError: if ``keep`` has another length.

    Clause MHN-MSK-1; masked means removed, MHN-MSK-2. A convention of this project.

    >>> kept_memories([[1.0], [2.0], [3.0]], [True, False, True])
    [0, 2]
    """
    if keep is None:
        return list(range(len(memory)))
    flags = keep.tolist() if hasattr(keep, "tolist") else list(keep)
    if not all(isinstance(flag, bool) for flag in flags):
        raise TypeError(f"keep must hold bools, got {flags}")
    if len(flags) != len(memory):
        raise ValueError(f"keep must have length N = {len(memory)}, got {len(flags)}")
    return [i for i, flag in enumerate(flags) if flag]


@implements("MHN-UPD-1")
def scores(query: Any, memory: Any, *, keep: Any = None, bits: Bits = DEFAULT_BITS) -> list[Real]:
    r"""The score of every kept memory.

    Formula: $s_i = \langle x_i, \xi \rangle$.

    Args:
        query: ``[d]``.
        memory: ``[N, d]``.
        keep: None, or ``[N]`` bools.
        bits: working precision.

    Returns:
        One number per kept memory.

    Raises:
        ValueError: if a pattern has another length than the query, or is not finite.

    Clause MHN-UPD-1, source arXiv 2008.02217.

    >>> [int(s) for s in scores([1.0, 2.0], [[3.0, 4.0], [5.0, 6.0]])]
    [11, 17]
    """
    xi, patterns = _patterns(query, memory, keep, bits)
    return [_dot(pattern, xi) for pattern in patterns]


@implements("MHN-UPD-1")
def logits(query: Any, memory: Any, *, beta: Any, keep: Any = None, bits: Bits = DEFAULT_BITS) -> list[Real]:
    r"""The logit of every kept memory.

    Formula: $t_i = \beta s_i$.

    Args:
        query: ``[d]``.
        memory: ``[N, d]``.
        beta: the inverse temperature, any finite number.
        keep: None, or ``[N]`` bools.
        bits: working precision.

    Returns:
        One number per kept memory.

    Clause MHN-UPD-1, source arXiv 2008.02217.

    >>> [int(t) for t in logits([1.0, 2.0], [[3.0, 4.0], [5.0, 6.0]], beta=2)]
    [22, 34]
    """
    b = number(_bits(bits, memory), beta, "beta")
    return [b * score for score in scores(query, memory, keep=keep, bits=bits)]


@implements("MHN-UPD-2")
def association(
    query: Any, memory: Any, *, beta: Any, keep: Any = None, bits: Bits = DEFAULT_BITS
) -> list[Real]:
    r"""The weight of every memory.

    Formula: $p_i = e^{t_i - t_{max}} / \sum_k e^{t_k - t_{max}}$ over the kept memories, 0 for the others.

    Args:
        query: ``[d]``.
        memory: ``[N, d]``.
        beta: the inverse temperature, any finite number.
        keep: None, or ``[N]`` bools.
        bits: working precision.

    Returns:
        ``[N]``, non-negative, of sum 1 where anything is kept.

    Clause MHN-UPD-2, source arXiv 2008.02217.

    >>> [float(p) for p in association([0.0], [[1.0], [2.0], [5.0]], beta=1, keep=[True, True, False])]
    [0.5, 0.5, 0.0]
    """
    ctx = context(_bits(bits, memory))
    weights = [ctx.zero] * len(memory)
    kept = kept_memories(memory, keep)
    if not kept:
        return weights
    exponentials, total = _exponentials(logits(query, memory, beta=beta, keep=keep, bits=bits), ctx)
    for i, exponential in zip(kept, exponentials, strict=True):
        weights[i] = exponential / total
    return weights


@implements("MHN-UPD-4")
def read_out(
    weights: Sequence[Any], values: Any, *, keep: Any = None, bits: Bits = DEFAULT_BITS
) -> list[Real]:
    r"""The weighted mean of the values.

    Formula: $o_j = \sum_i p_i v_{ij}$ over the kept memories; 0 if there are none.

    Args:
        weights: ``[N]``, an association.
        values: ``[N, dv]``.
        keep: None, or ``[N]`` bools.
        bits: working precision.

    Returns:
        ``[dv]``.

    Clause MHN-UPD-4, source arXiv 2008.02217.

    >>> [float(o) for o in read_out([0.25, 0.75], [[0.0, 4.0], [8.0, 4.0]])]
    [6.0, 4.0]
    """
    b = _bits(bits, values)
    total = [context(b).zero] * _width(values)
    for i in kept_memories(values, keep):
        weight = number(b, weights[i], "weights")
        total = [o + weight * v for o, v in zip(total, vector(b, values[i], "values"), strict=True)]
    return total


@implements("MHN-UPD-3", "MHN-UPD-4")
def update(
    query: Any,
    memory: Any,
    *,
    beta: Any,
    keep: Any = None,
    values: Any = None,
    bits: Bits = DEFAULT_BITS,
) -> list[Real]:
    r"""One update of the query.

    Formula: $T(\xi) = \sum_i p_i x_i$, or $\sum_i p_i v_i$ where values are given.

    Args:
        query: ``[d]``.
        memory: ``[N, d]``.
        beta: the inverse temperature, any finite number.
        keep: None, or ``[N]`` bools.
        values: None, or ``[N, dv]``.
        bits: working precision.

    Returns:
        ``[d]`` or ``[dv]``; 0 if nothing is kept (clause MHN-MSK-4).

    Clauses MHN-UPD-3 and MHN-UPD-4, source arXiv 2008.02217.

    >>> print(update([1.0], [[1.0], [-1.0]], beta=1)[0])  # tanh(1)
    0.76159415595576488811945828260479359041276859725793655159681
    """
    weights = association(query, memory, beta=beta, keep=keep, bits=bits)
    state = read_out(weights, memory if values is None else values, keep=keep, bits=bits)
    return state or [context(_bits(bits, memory)).zero] * len(query)


@implements("MHN-UPD-6")
def trajectory(
    query: Any,
    memory: Any,
    *,
    beta: Any,
    steps: int,
    keep: Any = None,
    bits: Bits = DEFAULT_BITS,
) -> list[list[Real]]:
    r"""The query and its iterates.

    Formula: $\xi, T(\xi), \ldots, T^n(\xi)$ for $n$ steps: ``steps`` counts updates, that is softmaxes.

    Args:
        query: ``[d]``.
        memory: ``[N, d]``.
        beta: the inverse temperature, any finite number.
        steps: a number n of updates, at least 0.
        keep: None, or ``[N]`` bools.
        bits: working precision.

    Returns:
        ``[n + 1, d]``.

    Raises:
        ValueError: if ``steps`` is negative.

    Clause MHN-UPD-6. Libraries disagree on whether n steps are n or n + 1 updates.

    >>> [float(state[0]) for state in trajectory([7.0], [[0.0], [2.0]], beta=0, steps=2)]
    [7.0, 1.0, 1.0]
    """
    if steps < 0:
        raise ValueError(f"steps must be at least 0, got {steps}")
    states = [vector(_bits(bits, memory), query, "query")]
    for _ in range(steps):
        states.append(update(states[-1], memory, beta=beta, keep=keep, bits=bits))
    return states


@implements("MHN-LSE-1")
def log_normalizer(
    query: Any, memory: Any, *, beta: Any, keep: Any = None, bits: Bits = DEFAULT_BITS
) -> Real:
    r"""The logarithm of the sum of the exponentiated logits.

    Formula: $\log \sum_i e^{t_i} = t_{max} + \log \sum_i e^{t_i - t_{max}}$, natural, not divided by $\beta$.

    Args:
        query: ``[d]``.
        memory: ``[N, d]``.
        beta: the inverse temperature, any finite number.
        keep: None, or ``[N]`` bools.
        bits: working precision.

    Returns:
        One number; ``-inf`` if nothing is kept.

    Clause MHN-LSE-1, source arXiv 2008.02217.

    >>> print(log_normalizer([0.0], [[1.0], [2.0]], beta=1, bits=60))  # log(2)
    0.69314718055994531
    """
    ctx = context(_bits(bits, memory))
    t = logits(query, memory, beta=beta, keep=keep, bits=bits)
    return max(t) + ctx.log(_exponentials(t, ctx)[1]) if t else ctx.ninf


@implements("MHN-LSE-1")
def lse(query: Any, memory: Any, *, beta: Any, keep: Any = None, bits: Bits = DEFAULT_BITS) -> Real:
    r"""The log-normalizer over beta.

    Formula: $\mathrm{lse}(\beta, s) = \beta^{-1} \log \sum_i e^{\beta s_i}$.

    Args:
        query: ``[d]``.
        memory: ``[N, d]``.
        beta: the inverse temperature, positive.
        keep: None, or ``[N]`` bools.
        bits: working precision.

    Returns:
        One number; ``-inf`` if nothing is kept.

    Raises:
        ValueError: if ``beta`` is not positive.

    Clause MHN-LSE-1, source arXiv 2008.02217.

    >>> float(lse([1.0], [[3.0]], beta=0.5))
    3.0
    """
    b = _positive(_bits(bits, memory), beta)
    return log_normalizer(query, memory, beta=beta, keep=keep, bits=bits) / b


@implements("MHN-LSE-2")
def merge_blocks(
    blocks: Sequence[tuple[Any, Sequence[Any]]], *, bits: int = DEFAULT_BITS
) -> tuple[Real, list[Real]]:
    r"""Join the results of disjoint blocks of memories (online softmax).

    Formula: with log-normalizers $\ell_b$ and updates $o_b$ of the blocks, $\ell = \log \sum_b e^{\ell_b}$
    and $o = \sum_b e^{\ell_b - \ell} o_b$. Blocks with $\ell_b = -\infty$ are empty: skipped.

    Args:
        blocks: pairs of a log-normalizer and an update ``[d]``, at least one pair.
        bits: working precision.

    Returns:
        Log-normalizer and update of the union.

    Raises:
        ValueError: if there are no blocks.

    Clause MHN-LSE-2.

    >>> x, y = ([[1.0], [2.0]], [[5.0]])
    >>> blocks = [(log_normalizer([1.0], m, beta=1), update([1.0], m, beta=1)) for m in (x, y)]
    >>> abs(merge_blocks(blocks)[1][0] - update([1.0], x + y, beta=1)[0]) < 1e-55
    True
    """
    if not blocks:
        raise ValueError("blocks must hold at least one pair, got none")
    ctx = context(working_bits(bits, 1))
    full = [(ctx.convert(normalizer), state) for normalizer, state in blocks if normalizer != ctx.ninf]
    if not full:
        return ctx.ninf, [ctx.zero] * len(blocks[0][1])
    exponentials, total = _exponentials([normalizer for normalizer, _ in full], ctx)
    merged = [ctx.zero] * len(full[0][1])
    for exponential, (_, state) in zip(exponentials, full, strict=True):
        merged = [o + exponential / total * x for o, x in zip(merged, state, strict=True)]
    return max(normalizer for normalizer, _ in full) + ctx.log(total), merged


@implements("MHN-ENE-1")
def energy(query: Any, memory: Any, *, beta: Any, keep: Any = None, bits: Bits = DEFAULT_BITS) -> Real:
    r"""The energy that an update decreases.

    Formula: $E(\xi) = -\mathrm{lse}(\beta, X \xi) + |\xi|^2 / 2 + \beta^{-1} \log N + M^2 / 2$, $M = \max_i
    |x_i|$, with $N$ and $M$ over the kept memories.

    Args:
        query: ``[d]``.
        memory: ``[N, d]``.
        beta: the inverse temperature, positive.
        keep: None, or ``[N]`` bools.
        bits: working precision.

    Returns:
        One number; ``+inf`` if nothing is kept.

    Raises:
        ValueError: if ``beta`` is not positive.

    Clause MHN-ENE-1, source arXiv 2008.02217.

    >>> float(energy([3.0], [[1.0], [1.0]], beta=2))
    2.0
    """
    ctx = context(_bits(bits, memory))
    b = _positive(ctx.prec, beta)
    xi, patterns = _patterns(query, memory, keep, bits)
    if not patterns:
        return ctx.inf
    largest = max(_dot(pattern, pattern) for pattern in patterns)
    log_mean = log_normalizer(query, memory, beta=beta, keep=keep, bits=bits) - ctx.log(len(patterns))
    return _dot(xi, xi) / 2 + largest / 2 - log_mean / b


@implements("MHN-UPD-5")
def jacobian(
    query: Any, memory: Any, *, beta: Any, keep: Any = None, bits: Bits = DEFAULT_BITS
) -> list[list[Real]]:
    r"""The Jacobian of the update.

    Formula: $J = \beta X^T (\mathrm{diag}\, p - p p^T) X = \beta \sum_i p_i (x_i - o)(x_i - o)^T$, $o =
    T(\xi)$.

    Args:
        query: ``[d]``.
        memory: ``[N, d]``.
        beta: the inverse temperature, any finite number.
        keep: None, or ``[N]`` bools.
        bits: working precision.

    Returns:
        ``[d, d]``, symmetric, and positive semidefinite for ``beta >= 0``; 0 if nothing is kept.

    Clause MHN-UPD-5, source arXiv 2008.02217.

    >>> float(jacobian([0.0], [[1.0], [-1.0]], beta=2)[0][0])
    2.0
    """
    ctx = context(_bits(bits, memory))
    b = number(ctx.prec, beta, "beta")
    weights = association(query, memory, beta=beta, keep=keep, bits=bits)
    xi, patterns = _patterns(query, memory, keep, bits)
    centre = update(query, memory, beta=beta, keep=keep, bits=bits)
    result = [[ctx.zero] * len(xi) for _ in xi]
    for i, pattern in zip(kept_memories(memory, keep), patterns, strict=True):
        away = [x - o for x, o in zip(pattern, centre, strict=True)]
        for j, row in enumerate(result):
            result[j] = [r + b * weights[i] * away[j] * a for r, a in zip(row, away, strict=True)]
    return result


@implements("MHN-ENE-3")
def kl_divergence(p: Sequence[Any], q: Sequence[Any], *, bits: int = DEFAULT_BITS) -> Real:
    r"""How far the distribution ``q`` is from ``p``.

    Formula: $\mathrm{KL}(p \| q) = \sum_i p_i \log(p_i / q_i)$, where $0 \log 0 = 0$.

    Args:
        p: ``[N]``, weights of sum 1.
        q: ``[N]``, weights of sum 1.
        bits: working precision.

    Returns:
        One number; ``+inf`` if some ``q_i`` is 0 where ``p_i`` is not.

    Clause MHN-ENE-3, which relates it to energies.

    >>> print(kl_divergence([1, 0], [0.5, 0.5], bits=60))  # log(2)
    0.69314718055994531
    """
    ctx = context(working_bits(bits, 1))
    total = ctx.zero
    for mine, other in zip(vector(ctx.prec, p, "p"), vector(ctx.prec, q, "q"), strict=True):
        if mine:
            total += mine * ctx.log(mine / other) if other else ctx.inf
    return total


@implements("MHN-SET-1")
def settle(
    query: Any,
    memory: Any,
    *,
    beta: Any,
    eps: Any,
    max_steps: int = 1000,
    keep: Any = None,
    bits: Bits = DEFAULT_BITS,
) -> Settled[Any]:
    r"""Update the query until it stops moving.

    Formula: stop after the first update with $|T(\xi_k) - \xi_k|_2 \le \epsilon$; the state returned is
    $T(\xi_k)$.

    Args:
        query: ``[d]``.
        memory: ``[N, d]``.
        beta: the inverse temperature, positive.
        eps: the length of a step that ends the iteration, at least 0.
        max_steps: the most updates to apply, at least 1.
        keep: None, or ``[N]`` bools.
        bits: working precision.

    Returns:
        State ``[d]``, energy, residual (length of the last step, 0 if nothing is kept: MHN-SET-6), number of
        updates, and the status, converged or max_steps.

    Raises:
        ValueError: if ``beta`` is not positive, ``eps`` is negative or ``max_steps < 1``.

    Clause MHN-SET-1, a convention on which libraries disagree.

    >>> result = settle([7.0], [[0.0], [2.0]], beta=1, eps=1e-9)
    >>> int(result.steps), result.status.name, float(result.residual) <= 1e-9
    (9, 'CONVERGED', True)
    """
    ctx = context(_bits(bits, memory))
    _positive(ctx.prec, beta)
    limit = number(ctx.prec, eps, "eps")
    if limit < 0:
        raise ValueError(f"eps must be at least 0, got {eps}")
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {max_steps}")
    state = vector(ctx.prec, query, "query")
    steps, status, residual = 0, Status.MAX_STEPS, ctx.inf
    while steps < max_steps and status is not Status.CONVERGED:
        moved = update(state, memory, beta=beta, keep=keep, bits=bits)
        step = [y - x for y, x in zip(moved, state, strict=True)]
        residual, state, steps = ctx.sqrt(_dot(step, step)), moved, steps + 1
        if not kept_memories(memory, keep):
            residual = ctx.zero  # by convention: the update of an empty row does not depend on the query
        if residual <= limit:
            status = Status.CONVERGED
    return Settled(state, energy(state, memory, beta=beta, keep=keep, bits=bits), residual, steps, status)


@implements("MHN-FIX-8")
def separation(memory: Any, *, keep: Any = None, bits: Bits = DEFAULT_BITS) -> list[Real]:
    r"""How far every pattern stands out among the others.

    Formula: $\Delta_i = \min_{j \ne i} (\langle x_i, x_i \rangle - \langle x_i, x_j \rangle)$ over the kept
    memories.

    Args:
        memory: ``[N, d]``.
        keep: None, or ``[N]`` bools.
        bits: working precision.

    Returns:
        One number per kept memory; ``+inf`` for a memory without others.

    Clauses MHN-FIX-7 and MHN-FIX-8, source arXiv 2008.02217.

    >>> [int(delta) for delta in separation([[2.0, 0.0], [0.0, 1.0]])]
    [4, 1]
    """
    ctx = context(_bits(bits, memory))
    patterns = [vector(ctx.prec, memory[i], "memory") for i in kept_memories(memory, keep)]
    return [
        min((_dot(x, x) - _dot(x, y) for j, y in enumerate(patterns) if j != i), default=ctx.inf)
        for i, x in enumerate(patterns)
    ]


@implements("MHN-FIX-9")
def capacity_base(beta: Any, radius: Any, d: int, failure: Any, *, bits: int = DEFAULT_BITS) -> Real:
    r"""The base c of the capacity bound for random patterns on a sphere.

    Formula: $c = b / W_0(e^{a + \log b})$, $a = \frac{2}{d - 1} (1 + \log(2 \beta K^2 p (d - 1)))$,
    $b = \frac{2 K^2 \beta}{5}$, $W_0$ the Lambert function, for patterns of length $K \sqrt{d - 1}$.

    Args:
        beta: the inverse temperature, positive.
        radius: K, positive.
        d: the dimension, at least 2.
        failure: the probability p that the patterns are not stored, in (0, 1].
        bits: working precision.

    Raises:
        ValueError: if an argument is out of its range.

    Clause MHN-FIX-9. The constants are remembered from arXiv 2008.02217 and not derived here.

    >>> [round(float(capacity_base(1, *case, 0.001)), 4) for case in ((3, 20), (1, 75))]
    [3.1546, 1.3719]
    """
    if d < 2:
        raise ValueError(f"d must be at least 2, got {d}")
    ctx = context(working_bits(bits, 1))
    b, k = _positive(ctx.prec, beta), _positive(ctx.prec, radius, "radius")
    p = _positive(ctx.prec, failure, "failure")
    if p > 1:
        raise ValueError(f"failure must be at most 1, got {failure}")
    first = 2 * (1 + ctx.log(2 * b * k**2 * p * (d - 1))) / (d - 1)
    second = 2 * k**2 * b / 5
    return second / ctx.lambertw(ctx.exp(first + ctx.log(second))).real


@implements("MHN-FIX-9")
def capacity_bound(beta: Any, radius: Any, d: int, failure: Any, *, bits: int = DEFAULT_BITS) -> Real:
    r"""How many random patterns are stored with probability ``1 - failure``, at least.

    Formula: $\sqrt{p}\, c^{(d - 1) / 4}$ with $c$ from :func:`capacity_base` and the same arguments.

    Clause MHN-FIX-9, published for $c \ge (2 / \sqrt{p})^{4 / (d - 1)}$; a bound to evaluate and compare
    with, never an estimate of the capacity.

    >>> print(capacity_bound(1, 3, 20, 0.001, bits=10))
    7.4
    """
    ctx = context(working_bits(bits, 1))
    base = capacity_base(beta, radius, d, failure, bits=bits)
    return ctx.sqrt(number(ctx.prec, failure, "failure")) * base ** (ctx.convert(d - 1) / 4)


class Gradients(NamedTuple):
    """Derivatives of a scalar through one update; shaped like what they are derivatives with respect to.

    Args:
        query: ``[d]``, or ``[L, d]`` for several queries.
        memory: ``[N, d]``, 0 where masked.
        values: ``[N, dv]``, 0 where masked; None if the memory was its own values.
        beta: one number.
    """

    query: list[Real]
    memory: list[list[Real]]
    values: list[list[Real]] | None
    beta: Real


@implements("MHN-GRD-1")
def gradients(
    query: Any,
    memory: Any,
    cotangent: Any,
    *,
    beta: Any,
    keep: Any = None,
    values: Any = None,
    bits: Bits = DEFAULT_BITS,
) -> Gradients:
    r"""Gradients of $\langle g, o \rangle$ for the output $o = \sum_i p_i v_i$ of one update.

    Formula: with $c_i = p_i \langle v_i - o, g \rangle$, $\partial \xi = \beta \sum_i c_i x_i$, $\partial
    x_i = \beta c_i \xi$ (key path), $\partial v_i = p_i g$ (value path), $\partial \beta = \sum_i c_i
    \langle x_i, \xi \rangle$. Without values the memory gets both paths.

    Args:
        query: ``[d]``.
        memory: ``[N, d]``.
        cotangent: g, ``[d]``, or ``[dv]`` with values.
        beta: the inverse temperature, any finite number.
        keep: None, or ``[N]`` bools.
        values: None, or ``[N, dv]``.
        bits: working precision.

    Returns:
        :class:`Gradients`; all 0 if nothing is kept.

    Clause MHN-GRD-1.

    >>> result = gradients([1.0], [[1.0]], [5.0], beta=2)
    >>> float(result.query[0]), float(result.memory[0][0]), float(result.beta)
    (0.0, 5.0, 0.0)
    """
    ctx = context(_bits(bits, memory))
    b = number(ctx.prec, beta, "beta")
    g = vector(ctx.prec, cotangent, "cotangent")
    xi, patterns = _patterns(query, memory, keep, bits)
    weights = association(query, memory, beta=beta, keep=keep, bits=bits)
    out = update(query, memory, beta=beta, keep=keep, values=values, bits=bits)
    by_query, by_beta = [ctx.zero] * len(xi), ctx.zero
    by_key = [[ctx.zero] * len(xi) for _ in weights]
    by_value = [[ctx.zero] * len(g) for _ in weights]
    for i, pattern in zip(kept_memories(memory, keep), patterns, strict=True):
        value = pattern if values is None else vector(ctx.prec, values[i], "values")
        along = weights[i] * _dot([v - o for v, o in zip(value, out, strict=True)], g)
        by_query = [r + b * along * x for r, x in zip(by_query, pattern, strict=True)]
        by_beta += along * _dot(pattern, xi)
        by_key[i] = [b * along * x for x in xi]
        by_value[i] = [weights[i] * x for x in g]
    if values is not None:
        return Gradients(by_query, by_key, by_value, by_beta)
    both = [[k + v for k, v in zip(*rows, strict=True)] for rows in zip(by_key, by_value, strict=True)]
    return Gradients(by_query, both, None, by_beta)


@implements("MHN-GRD-2")
def implicit_gradient(
    state: Any,
    memory: Any,
    cotangent: Any,
    *,
    beta: Any,
    keep: Any = None,
    bits: Bits = DEFAULT_BITS,
) -> Gradients:
    r"""Gradients of $\langle g, \xi^* \rangle$ for a fixed point $\xi^* = T(\xi^*)$, without its trajectory.

    Formula: those of one update at $\xi^*$ with the cotangent $(I - J)^{-1} g$; 0 for the query, which a
    fixed point does not depend on.

    Args:
        state: the fixed point, ``[d]``.
        memory: ``[N, d]``.
        cotangent: g, ``[d]``.
        beta: the inverse temperature, positive.
        keep: None, or ``[N]`` bools.
        bits: working precision.

    Returns:
        :class:`Gradients` with ``values`` None.

    Raises:
        ValueError: if ``beta`` is not positive or ``I - J`` is singular.

    Clause MHN-GRD-2, the implicit function theorem.

    >>> float(implicit_gradient([0.0], [[1.0], [-1.0]], [1.0], beta=0.5).memory[0][0])
    1.0
    """
    ctx = context(_bits(bits, memory))
    _positive(ctx.prec, beta)
    rows = jacobian(state, memory, beta=beta, keep=keep, bits=bits)
    system = ctx.matrix([[(i == j) - x for j, x in enumerate(row)] for i, row in enumerate(rows)])
    try:
        solution = ctx.lu_solve(system, ctx.matrix(vector(ctx.prec, cotangent, "cotangent")))
    except ZeroDivisionError:
        raise ValueError("state must be a fixed point with I - J invertible, got a singular I - J") from None
    found = gradients(state, memory, list(solution), beta=beta, keep=keep, bits=bits)
    return found._replace(query=[ctx.zero] * len(rows))


def _bits(bits: Bits, memory: Any) -> int:
    return working_bits(bits, max(1, len(memory)))


def _positive(bits: int, value: Any, name: str = "beta") -> Real:
    result = number(bits, value, name)
    if result <= 0:
        raise ValueError(f"{name} must be positive, got {value}")
    return result


def _patterns(query: Any, memory: Any, keep: Any, bits: Bits) -> tuple[list[Real], list[list[Real]]]:
    b = _bits(bits, memory)
    xi = vector(b, query, "query")
    patterns = [vector(b, memory[i], "memory") for i in kept_memories(memory, keep)]
    for pattern in patterns:
        if len(pattern) != len(xi):
            raise ValueError(f"memory must have the query's width d = {len(xi)}, got {len(pattern)}")
    return xi, patterns


def _width(values: Any) -> int:
    return len(values[0]) if len(values) else 0


def _dot(x: Sequence[Real], y: Sequence[Real]) -> Real:
    return sum((a * b for a, b in zip(x, y, strict=True)), start=0 * x[0] if x else 0)


def _exponentials(t: Sequence[Real], ctx: Any) -> tuple[list[Real], Real]:
    # Subtracting the maximum changes no weight and keeps exponents small.
    largest = max(t)
    exponentials = [ctx.exp(x - largest) for x in t]
    return exponentials, sum(exponentials[1:], start=exponentials[0])
