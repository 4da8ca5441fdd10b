"""The update and the association (chapter 02)."""

from __future__ import annotations

from torch import Tensor

from hopspec.fastpath._arguments import check_arguments, check_count, check_flag
from hopspec.fastpath._at_once import update_at_once
from hopspec.fastpath._attend import attend, prepare, weigh
from hopspec.fastpath._plain import PlainProblem, plain_problem, update_plain
from hopspec.fastpath._route import route
from hopspec.fastpath.memory import Memory, holds_values


def retrieve(
    query: Tensor,
    memory: Tensor | Memory,
    *,
    beta: float | Tensor,
    values: Tensor | None = None,
    keep: Tensor | None = None,
    steps: int = 1,
    batch_invariant: bool = False,
) -> Tensor:
    r"""Apply the update ``T(xi) = sum_i softmax(beta <x_i, xi>)_i x_i`` to every query (clause MHN-UPD-3).

    With ``steps = n`` the update is applied ``n`` times (clause MHN-UPD-6). With values the first ``n - 1``
    updates use the memory and the last association reads out of the values (clause MHN-UPD-4).

    Args:
        query: state patterns, ``[..., L, d]``; float64, float32, bfloat16 or float16.
        memory: stored patterns, ``[..., N, d]``, or a :class:`Memory`; dtype and device of the query. Leading
            dimensions broadcast as in ``torch.matmul`` (clause MHN-DOM-2).
        beta: inverse temperature, in units of one over a squared length; any finite number, or a tensor that
            broadcasts to the leading dimensions.
        values: what is read out, ``[..., N, dv]``.
        keep: boolean, broadcasts to ``[..., L, N]``; False removes a memory, whatever it holds (clauses
            MHN-MSK-2, MHN-MSK-3).
        steps: number of updates; 0 returns a copy of the query.
        batch_invariant: whether a query's result must have the same bits whatever other queries it is given
            with (clause MHN-DOM-9), for about twice the time; on CPU only.

    Returns:
        ``[..., L, d]``, or ``[..., L, dv]`` with values, in the dtype of the query. A query that keeps no
        memory gives zeros (clause MHN-MSK-4), a NaN or infinity spoils the rows that see it (clauses
        MHN-NFI-1, MHN-NFI-2), and finite inputs of any size give finite results (clause MHN-NFI-3).

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: shapes, dtypes or devices do not fit, beta is not finite, steps is negative, or steps is 0
            with values.
        NotImplementedError: a gradient is wanted where scores leave the range of their type, or
            ``batch_invariant`` elsewhere than on CPU or with a gradient of ``beta``.

    >>> import torch
    >>> retrieve(torch.tensor([[0.9, 0.1]]), torch.eye(2), beta=100.0).round(decimals=3)
    tensor([[1., 0.]])
    >>> retrieve(torch.tensor([[0.5, 0.5]]), torch.eye(2), beta=1.0, keep=torch.tensor([True, False]))
    tensor([[1., 0.]])
    """
    once = values is None and keep is None and type(steps) is int and steps == 1 and batch_invariant is False
    if once and (result := update_at_once(query, memory, beta)) is not None:
        return result
    if values is None and type(steps) is int and steps > 0 and not holds_values(memory):
        plain = plain_problem(query, memory, beta, keep, batch_invariant, unseen=True)
        if plain is not None and (result := _retrieve_plain(plain, query, steps)) is not None:
            return result
    count = check_count("steps", steps, 0)
    check_flag("batch_invariant", batch_invariant)
    arguments = check_arguments(query, memory, beta, keep, values=values, reads_values=True)
    if count == 0:
        if arguments.values is not None:
            raise ValueError("steps is 0 with values: expected at least 1, nothing is read out otherwise")
        return arguments.query.expand(*arguments.lead, *arguments.query.shape[-2:]).clone()
    if served := route(arguments, "attend", batch_invariant=batch_invariant):
        state = served.operands.query
        for step in range(1, count + 1):
            state = served.at(state).attend(read_values=step == count).output
        return arguments.shaped(state, (state.shape[-1],))
    problem = prepare(arguments, batch_invariant=batch_invariant)
    state = problem.rows(arguments.query)
    for step in range(1, count + 1):
        state = attend(problem, state, read_values=step == count).output
    return arguments.shaped(state, (state.shape[-1],))


def _retrieve_plain(problem: PlainProblem, state: Tensor, steps: int) -> Tensor | None:
    new = update_plain(problem, state)
    while (steps := steps - 1) and new is not None:
        new = update_plain(problem, new, certified=problem.hull_is_safe)
    return new


def association(
    query: Tensor, memory: Tensor | Memory, *, beta: float | Tensor, keep: Tensor | None = None
) -> Tensor:
    """Weights ``softmax(beta <x_i, xi>)`` with which each memory takes part (clause MHN-UPD-2).

    Args:
        query: state patterns, ``[..., L, d]``.
        memory: stored patterns, ``[..., N, d]``, or a :class:`Memory`, whose values play no part here.
        beta: inverse temperature, in units of one over a squared length; see :func:`retrieve`.
        keep: boolean, broadcasts to ``[..., L, N]``; removed memories have weight 0.

    Returns:
        ``[..., L, N]`` in the dtype of the query; rows sum to 1 up to rounding, to 0 where nothing is kept
        (clause MHN-MSK-4), and are NaN throughout where the query or a memory it sees is not finite.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: shapes, dtypes or devices do not fit, or beta is not finite.
        NotImplementedError: a gradient is wanted where scores leave the range of their type.

    >>> import torch
    >>> association(torch.zeros(1, 2), torch.eye(2), beta=1.0)
    tensor([[0.5000, 0.5000]])
    """
    arguments = check_arguments(query, memory, beta, keep)
    problem = prepare(arguments)
    weights = weigh(problem, problem.rows(arguments.query)).output
    return arguments.shaped(weights, (weights.shape[-1],))
