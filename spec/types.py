"""Types and Protocols shared by the reference, the fast path and the properties.

Nothing here imports PyTorch: arrays are the type variable ``A`` (``torch.Tensor``, ``numpy.ndarray``, ...).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from hopspec.formats import FLOAT32, Format

__all__ = [
    "AccuracyModel",
    "Capabilities",
    "Certificate",
    "Evaluated",
    "Exact",
    "Implementation",
    "Proof",
    "Settled",
    "Status",
    "Update",
]

A = TypeVar("A")
A_contra = TypeVar("A_contra", contravariant=True)


class Evaluated(NamedTuple, Generic[A]):
    """Result of :func:`hopspec.evaluate`; every field has one entry per query (clause MHN-ENE-7).

    Args:
        state: the update, ``[..., L, d]``, or what was read out of the values, ``[..., L, dv]``.
        log_normalizer: natural logarithm, not divided by beta, ``[..., L]``.
        energy: the energy of the query, a squared length, ``[..., L]``.
    """

    state: A
    log_normalizer: A
    energy: A


class Status(enum.IntEnum):
    """How the iteration of one query ended (clause MHN-SET-2)."""

    CONVERGED = 0
    STALLED = 1
    MAX_STEPS = 2
    NONFINITE = 3


class Settled(NamedTuple, Generic[A]):
    """Result of :func:`hopspec.settle`; every field has one entry per query (clause MHN-SET-2).

    Args:
        state: the last state, ``[..., L, d]``.
        energy: its energy, ``[..., L]``.
        residual: Euclidean length of the last step, ``[..., L]``.
        steps: number of updates applied, ``[..., L]``, integers.
        status: a :class:`Status` code per query, ``[..., L]``, integers.
    """

    state: A
    energy: A
    residual: A
    steps: A
    status: A


class Proof(enum.IntEnum):
    """By which clause a fixed point was certified: none, MHN-FIX-4 (Banach) or MHN-FIX-5 (Newton)."""

    NONE = 0
    BANACH = 1
    NEWTON = 2


class Certificate(NamedTuple, Generic[A]):
    """What is proved about the fixed point near each state, one entry per state ``[..., L]`` (MHN-FIX-10).

    A certificate that says nothing is always true: ``certified`` False, ``radius`` and ``rate`` infinite,
    ``attracts`` and ``repels`` False.

    Args:
        certified: bools, whether exactly one fixed point lies within ``radius`` of the state.
        radius: a bound on the distance of the state from it, in units of the patterns; infinite where not
            certified.
        attracts: bools, whether the fixed point is proved to attract: all eigenvalues of its Jacobian are
            below 1.
        repels: bools, whether it is proved to repel: an eigenvalue of its Jacobian is above 1. Where neither
            is proved, nothing is known.
        rate: where ``attracts``, a number below 1 such that one update of any point within ``radius`` of the
            state reduces its distance from the fixed point to at most ``rate`` times as much; infinite
            elsewhere.
        proof: a :class:`Proof` code, integers.
    """

    certified: A
    radius: A
    attracts: A
    repels: A
    rate: A
    proof: A


@dataclass(frozen=True, slots=True)
class Exact:
    """A real number known to lie in ``[value - radius, value + radius]``.

    Args:
        value: an ``mpmath`` number with at most ``bits`` significant bits.
        radius: a proved bound on the distance to the true number; 0 where ``exact``.
        bits: working precision of ``value``.
        exact: whether ``value`` is the true number itself.
    """

    value: Any
    radius: Any
    bits: int
    exact: bool


@runtime_checkable
class Update(Protocol[A_contra]):
    """The least that can be verified: one update ``f(query[L, d], memory[N, d], *, beta) -> [L, d]``."""

    def __call__(self, query: A_contra, memory: A_contra, /, *, beta: float) -> Any:
        """Return the update of every query, ``[L, d]`` (clause MHN-UPD-3)."""
        ...


@dataclass(frozen=True, slots=True)
class AccuracyModel:
    """The arithmetic an implementation claims, from which its error bounds follow (clause MHN-BND-1).

    Args:
        name: name used by ``--model`` and in reports, for example ``"flash-float32"``.
        storage: format of inputs and outputs.
        accumulation: format in which products are summed and exponentials taken.
        exp_error: relative error of one computed exponential.
        exp_flush: absolute error below which an exponential may be flushed to zero.
        log_error: relative error of one computed logarithm.
        score_roundings: how often a score is rounded to ``storage`` on its way to the exponential: 0, 1 or 2.
        pre_scale: whether query and memory are multiplied by ``sqrt(beta)`` and rounded to ``storage`` first.
        round_weights: whether weights are rounded to ``storage`` before they multiply the memory.
        rounded_denominator: whether the denominator sums the rounded weights.
        normalize_first: whether weights are divided by their sum before they multiply the memory.
        block: keys per block of an online softmax; 0 where the softmax is taken in one piece.
        base2: whether exponentials are taken as ``exp2(t * log2(e))``.
        nearest: whether additions round to nearest (false for truncating tensor cores).
        exp_zero_is_one: whether the computed ``exp(0)`` is exactly 1.
        output: format of log-normalizers and energies.
        merged_from: from how many memories on the memory may be divided into parts whose results, each as
            the other fields say, are merged by their log-normalizers (clause MHN-BND-8); 0 for never.

    Raises:
        TypeError: if ``merged_from`` is no int.
        ValueError: if ``merged_from`` is negative.
    """

    name: str
    storage: Format
    accumulation: Format
    exp_error: float
    exp_flush: float = 0.0
    log_error: float = 0.0
    score_roundings: int = 0
    pre_scale: bool = False
    round_weights: bool = False
    rounded_denominator: bool = False
    normalize_first: bool = False
    block: int = 0
    base2: bool = False
    nearest: bool = True
    exp_zero_is_one: bool = False
    output: Format = FLOAT32
    merged_from: int = 0

    def __post_init__(self) -> None:
        count = self.merged_from
        if isinstance(count, bool) or not isinstance(count, int):
            raise TypeError(f"merged_from must be an int, got {type(count).__name__} {count!r}")
        if count < 0:
            raise ValueError(f"merged_from must be a number of memories, or 0 for never, got {count}")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an implementation claims. A claim is tested; what is not claimed is reported as such.

    Args:
        dtypes: names of formats it accepts, see :data:`hopspec.formats.FORMATS`.
        devices: device types it runs on.
        masks: takes ``keep`` (clauses MHN-MSK).
        values: takes ``values`` (clause MHN-UPD-4).
        steps: takes ``steps`` (clause MHN-UPD-6).
        batch: takes leading dimensions (clause MHN-DOM-2).
        tensor_beta: takes ``beta`` as an array over the leading dimensions.
        beta_range: least and largest ``beta`` it accepts.
        empty_rows: gives the empty-row values of clause MHN-MSK-4.
        nan_isolation: keeps non-finite inputs to the rows clauses MHN-NFI-1 and MHN-NFI-2 name.
        finite_range: finite inputs of any size give finite updates (clause MHN-NFI-3).
        strides: accepts views with any strides (clause MHN-DOM-6).
        deterministic: same inputs, same bits (clause MHN-DOM-7).
        batch_invariant: same bits whatever the other queries of a call (clause MHN-DOM-9).
        errors: raises the errors of clause MHN-DOM-4.
        correctly_rounded: every result is the true one rounded once (clause MHN-PRC-4).
        max_size: largest ``L * N * d`` worth asking of a slow implementation; 0 for no limit.
    """

    dtypes: tuple[str, ...] = ("float32",)
    devices: tuple[str, ...] = ("cpu",)
    masks: bool = False
    values: bool = False
    steps: bool = False
    batch: bool = False
    tensor_beta: bool = False
    beta_range: tuple[float, float] = (0.0, float("inf"))
    empty_rows: bool = False
    nan_isolation: bool = False
    finite_range: bool = False
    strides: bool = False
    deterministic: bool = True
    batch_invariant: bool = False
    errors: bool = False
    correctly_rounded: bool = False
    max_size: int = 0


@dataclass(frozen=True, slots=True)
class Implementation(Generic[A]):
    """A frozen description of an implementation under test and of what it claims.

    Every callable takes ``(query, memory, *, beta)`` and, where the capability is claimed, ``keep``,
    ``values`` and ``steps``. A callable left out is a quantity not claimed.

    Args:
        name: name in reports.
        retrieve: the update, ``[..., L, d]``.
        log_normalizer: ``[..., L]``, natural logarithm, not divided by beta.
        energy: ``[..., L]``.
        association: the weights, ``[..., L, N]``.
        settle: also takes ``eps`` and ``max_steps``; returns a :class:`Settled`.
        certify: takes a state in place of the query; returns a :class:`Certificate`.
        evaluate: update, log-normalizer and energy in one call; returns an :class:`Evaluated`.
        rounded: the update with every operation rounded to ``bits`` bits; takes ``bits``.
        prepare: takes ``(memory, *, values, keep)``; returns what every callable takes in place of the memory
            (clause MHN-DOM-10).
        capabilities: what is claimed.
        accuracy: one model per dtype; a dtype without one is judged under the loosest built-in model.
        to_array: from a NumPy array and a dtype name to the implementation's array type; None for PyTorch.
        from_array: back to a NumPy array; None for PyTorch.
    """

    name: str
    retrieve: Callable[..., Any]
    log_normalizer: Callable[..., Any] | None = None
    energy: Callable[..., Any] | None = None
    association: Callable[..., Any] | None = None
    settle: Callable[..., Any] | None = None
    certify: Callable[..., Any] | None = None
    evaluate: Callable[..., Any] | None = None
    rounded: Callable[..., Any] | None = None
    prepare: Callable[..., Any] | None = None
    capabilities: Capabilities = field(default_factory=Capabilities)
    accuracy: tuple[AccuracyModel, ...] = ()
    to_array: Callable[[Any, str], Any] | None = None
    from_array: Callable[[Any], Any] | None = None
