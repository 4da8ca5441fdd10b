"""Update, log-normalizer and energy of a query in one pass over the memory (clause MHN-ENE-7)."""

from __future__ import annotations

from torch import Tensor

from hopspec.fastpath._arguments import check_arguments, check_flag
from hopspec.fastpath._attend import attend, prepare
from hopspec.fastpath._energy import energy_from, energy_served, evaluate_plain
from hopspec.fastpath._plain import plain_problem
from hopspec.fastpath._route import route
from hopspec.fastpath.memory import Memory, holds_values
from hopspec.types import Evaluated


def evaluate(
    query: Tensor,
    memory: Tensor | Memory,
    *,
    beta: float | Tensor,
    values: Tensor | None = None,
    keep: Tensor | None = None,
    batch_invariant: bool = False,
) -> Evaluated[Tensor]:
    """Update, log-normalizer and energy of every query, in one pass over the memory (clause MHN-ENE-7).

    The kernel that computes the update has the log-normalizer too, and the energy follows from that: one call
    costs hardly more than :func:`hopspec.retrieve` alone. A :class:`Memory` keeps what the energy asks of the
    memory alone, which for a few queries is otherwise as much work as the update.

    Args:
        query: state patterns, ``[..., L, d]``; float64, float32, bfloat16 or float16.
        memory: stored patterns, ``[..., N, d]``, or a :class:`Memory`; dtype and device of the query. Leading
            dimensions broadcast as in ``torch.matmul`` (clause MHN-DOM-2).
        beta: inverse temperature, positive, in units of one over a squared length; a number, or a tensor that
            broadcasts to the leading dimensions.
        values: what the state is read out of, ``[..., N, dv]`` (clause MHN-UPD-4); log-normalizer and energy
            are those of the memory, with or without values.
        keep: boolean, broadcasts to ``[..., L, N]``; False removes a memory, whatever it holds (clauses
            MHN-MSK-2, MHN-MSK-3).
        batch_invariant: whether a query's result must have the same bits whatever other queries it is given
            with (clause MHN-DOM-9), for about twice the time; on CPU only.

    Returns:
        State ``[..., L, d]``, or ``[..., L, dv]`` with values, in the dtype of the query (clause MHN-UPD-3);
        log-normalizer, natural and not divided by beta (clause MHN-LSE-1), and energy, a squared length
        (clause MHN-ENE-1), both ``[..., L]``, float64 for float64 inputs and else float32. The energy is that
        of the query, not of the state. A query that keeps no memory gives zeros, -inf and +inf (clause
        MHN-MSK-4). A NaN or infinity in a query, or in a memory it sees, makes all three NaN, one in a value
        the state alone (clauses MHN-NFI-1, MHN-NFI-2).

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: shapes, dtypes or devices do not fit, or beta is not finite and positive.
        NotImplementedError: a gradient is wanted where scores leave the range of their type, or with
            ``batch_invariant``; or that elsewhere than on CPU.

    >>> import torch
    >>> evaluated = evaluate(torch.tensor([[0.5, 0.5]]), torch.eye(2), beta=1.0)
    >>> evaluated.state
    tensor([[0.5000, 0.5000]])
    >>> evaluated.log_normalizer, evaluated.energy
    (tensor([1.1931]), tensor([0.2500]))
    """
    own = values is None and not holds_values(memory)
    if own and (plain := plain_problem(query, memory, beta, keep, batch_invariant)):
        evaluated = evaluate_plain(plain, query)
        if evaluated is not None:
            return evaluated
    check_flag("batch_invariant", batch_invariant)
    arguments = check_arguments(
        query, memory, beta, keep, values=values, reads_values=True, positive_beta=True
    )
    if served := route(arguments, "attend", batch_invariant=batch_invariant):
        attended = served.attend(read_values=True)
        state, log_normalizer = attended.output, attended.log_normalizer
        energy = energy_served(served, arguments, attended)
    else:
        problem = prepare(arguments, batch_invariant=batch_invariant)
        rows = problem.rows(arguments.query)
        state, log_normalizer = attend(problem, rows, read_values=True, differentiable_log_normalizer=True)
        energy = energy_from(problem, rows, log_normalizer)
    return Evaluated(
        arguments.shaped(state, (state.shape[-1],)),
        arguments.shaped(log_normalizer),
        arguments.shaped(energy),
    )
