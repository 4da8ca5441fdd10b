"""Types and Protocols shared by the reference, the fast path and the properties.

Nothing here imports PyTorch: arrays are the type variable ``A`` (``torch.Tensor``, ``numpy.ndarray``, ...).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

from hopspec.formats import FLOAT32, Format
from hopspec.pbit import PBit, PBits

__all__ = [
    "AccuracyModel",
    "Capabilities",
    "Certificate",
    "ChainOfThought",
    "CircuitCompiler",
    "Construction",
    "Evaluated",
    "Exact",
    "Implementation",
    "PBitArithmetic",
    "Proof",
    "Settled",
    "Status",
    "Summation",
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
class Summation:
    """In which order a sum is formed, as far as its rounding errors depend on it (clause MHN-BND-9).

    The terms are divided into chunks, and those of a chunk among running sums, which are then combined. The
    default says nothing: any order of summation.

    Args:
        lanes: number of running sums of a chunk; none gets more than its even share of the terms, rounded up.
        extra: how many additions a running sum passes through while those of a chunk are combined.
        chunk: terms of a chunk; 0 where all terms are one.
        halving: whether the sums of chunks are added in pairs, then pairs of pairs, rather than one after the
            other.

    Raises:
        TypeError: if a number is no int.
        ValueError: if one is negative, ``lanes`` is 0, or there is halving without chunks.

    >>> Summation(chunk=1, halving=True)  # a balanced binary tree
    Summation(lanes=1, extra=0, chunk=1, halving=True)
    >>> Summation(lanes=16, extra=4)  # a vector register of 16 running sums, then a tree
    Summation(lanes=16, extra=4, chunk=0, halving=False)
    """

    lanes: int = 1
    extra: int = 0
    chunk: int = 0
    halving: bool = False

    def __post_init__(self) -> None:
        for name, least in (("lanes", 1), ("extra", 0), ("chunk", 0)):
            _check_count(name, getattr(self, name), least)
        if self.halving and not self.chunk:
            raise ValueError("halving is of chunks: chunk must be at least 1, got 0")


def _check_count(name: str, value: object, least: int = 0) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {type(value).__name__} {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


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
        nearest: whether operations round to nearest (false for truncating tensor cores).
        exp_zero_is_one: whether the computed ``exp(0)`` is exactly 1.
        output: format of log-normalizers and energies.
        merged_from: from how many memories on the memory may be divided into parts whose results, each as
            the other fields say, are merged by their log-normalizers (clause MHN-BND-8); 0 for never.
        score_bits: to how many bits the factors of a score are rounded before they are multiplied, 11 for
            TF32; 0 for not at all.
        read_bits: the same for weights and memories where they multiply each other.
        score_sum: order in which the products of a score are added.
        weighted_sum: order in which the weighted memories are added.
        weight_sum: order in which the weights are added.

    Raises:
        TypeError: if ``merged_from`` or a number of bits is no int.
        ValueError: if one of them is negative.
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
    score_bits: int = 0
    read_bits: int = 0
    score_sum: Summation = Summation()
    weighted_sum: Summation = Summation()
    weight_sum: Summation = Summation()

    def __post_init__(self) -> None:
        for name in ("merged_from", "score_bits", "read_bits"):
            _check_count(name, getattr(self, name))

    def __hash__(self) -> int:
        # Models serve as keys, and a hash of all fields would take longer than what is looked up.
        return hash(self.name)


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
        causal: takes ``causal=True`` in attention, and which query sees which key where ``L != N``:
            ``"top-left"`` as ``is_causal`` of PyTorch, ``"bottom-right"`` as flash-attention from 2.1 on
            (clause MHN-ATT-2); "" where not claimed.
        grouped: takes query heads that share key heads in attention (clause MHN-ATT-4).
        bias: takes a ``bias`` that is added to the logits in attention (clause MHN-ATT-5).
        log_base: base of the logarithm ``log_normalizer`` returns: e or 2 (clause MHN-ATT-6).
        shapes: the shapes ``(L, N, d)``, where values are as wide as memories, or ``(L, N, d, dv)`` it can be
            called with, apart from leading dimensions; 0 stands for any positive number. Empty for every
            shape. No call of another shape is made.

    Raises:
        TypeError: if a field has the wrong type.
        ValueError: if ``causal``, ``log_base``, ``beta_range`` or one of ``shapes`` is malformed.
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
    causal: Literal["", "top-left", "bottom-right"] = ""
    grouped: bool = False
    bias: bool = False
    log_base: float = math.e
    shapes: tuple[tuple[int, ...], ...] = ()

    @property
    def binary_logarithms(self) -> bool:
        """Whether ``log_base`` is 2."""
        return self.log_base == 2

    def __post_init__(self) -> None:
        for name in ("dtypes", "devices"):
            names = getattr(self, name)
            if not isinstance(names, tuple) or not all(isinstance(n, str) for n in names):
                raise TypeError(f"{name} must be a tuple of names, got {names!r}")
        if self.causal not in ("", "top-left", "bottom-right"):
            raise ValueError(f"causal must be 'top-left', 'bottom-right' or '', got {self.causal!r}")
        if self.log_base not in (math.e, 2):
            raise ValueError(f"log_base must be math.e or 2, got {self.log_base!r}")
        if not isinstance(self.beta_range, tuple) or len(self.beta_range) != 2:
            raise TypeError(f"beta_range must be a pair of numbers, got {self.beta_range!r}")
        low, high = self.beta_range
        if not low <= high:
            raise ValueError(f"beta_range must hold the smaller number first, got {self.beta_range!r}")
        if not isinstance(self.shapes, tuple):
            raise TypeError(f"shapes must be a tuple of shapes, got {type(self.shapes).__name__}")
        for shape in self.shapes:
            if not isinstance(shape, tuple) or not all(type(n) is int for n in shape):
                raise TypeError(f"shapes must hold tuples of ints, got {shape!r}")
            if len(shape) not in (3, 4) or min(shape) < 0:
                raise ValueError(f"shapes must hold (L, N, d) or (L, N, d, dv), 0 for any, got {shape!r}")


@dataclass(frozen=True, slots=True)
class Implementation(Generic[A]):
    """A frozen description of an implementation under test and of what it claims.

    Every callable takes ``(query, memory, *, beta)`` and, where the capability is claimed, ``keep``,
    ``values`` and ``steps``. A callable left out is a quantity not claimed. An attention kernel
    ``f(q, k, v, *, scale)`` is described by :func:`hopspec.properties.forms.attention_implementation`.

    Args:
        name: name in reports.
        retrieve: the update, ``[..., L, d]``.
        log_normalizer: ``[..., L]``, logarithm to the base ``capabilities.log_base``, not divided by beta;
            also takes ``bias`` and ``causal`` where ``attention`` does.
        energy: ``[..., L]``.
        association: the weights, ``[..., L, N]``.
        settle: also takes ``eps`` and ``max_steps``; returns a :class:`Settled`.
        certify: takes a state in place of the query; returns a :class:`Certificate`.
        evaluate: update, log-normalizer and energy in one call; returns an :class:`Evaluated`.
        rounded: the update with every operation rounded to ``bits`` bits; takes ``bits``.
        prepare: takes ``(memory, *, values, keep)``; returns what every callable takes in place of the memory
            (clause MHN-DOM-10).
        attention: the read-out as attention kernels offer it (clause MHN-ATT-1), ``[..., L, dv]``: takes,
            where the capability is claimed, ``bias`` ``[..., L, N]``, ``causal=True``, and query and memory
            ``[..., H, L, d]`` and ``[..., G, N, d]`` with H a multiple of G.
        capabilities: what is claimed.
        accuracy: one model per dtype; a dtype without one is judged under the loosest built-in model.
        to_array: from a NumPy array and a dtype name to the implementation's array type; None for PyTorch.
        from_array: back to a NumPy array; None for PyTorch.

    Raises:
        TypeError: if a field has the wrong type.
        ValueError: if two models are given for one dtype, or one of ``to_array`` and ``from_array`` without
            the other.
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
    attention: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if not callable(self.retrieve):
            raise TypeError(f"retrieve must be callable, got {type(self.retrieve).__name__}")
        if not isinstance(self.capabilities, Capabilities):
            raise TypeError(f"capabilities must be a Capabilities, got {type(self.capabilities).__name__}")
        if not isinstance(self.accuracy, tuple) or not all(
            isinstance(m, AccuracyModel) for m in self.accuracy
        ):
            raise TypeError(f"accuracy must be a tuple of AccuracyModels, got {self.accuracy!r}")
        storages = [m.storage.name for m in self.accuracy]
        twice = [name for name in storages if storages.count(name) > 1]
        if twice:
            raise ValueError(f"accuracy must hold one model per dtype, got several for {twice[0]}")
        if (self.to_array is None) != (self.from_array is None):
            lacking = "to_array" if self.to_array is None else "from_array"
            raise ValueError(f"to_array and from_array go together, but {lacking} is missing")


class PBitArithmetic(Protocol):
    """Arithmetic in F_p, many results at a time (clause MHN-FPN-6)."""

    def supports(self, format: PBits) -> bool:
        """Whether the operations are offered for this set of numbers."""
        ...

    def operate(self, operation: str, format: PBits, operands: Sequence[Sequence[Any]]) -> list[PBit]:
        """The results of one operation.

        Args:
            operation: ``"add"``, ``"subtract"``, ``"multiply"``, ``"divide"``, ``"floor"``, ``"sqrt"``,
                ``"exp"``, ``"sum"``, ``"product"`` or ``"dot"``.
            format: the set F_p.
            operands: one sequence per operand, each with one entry per result: a :class:`~hopspec.pbit.PBit`,
                or for sums, products and dot products a sequence of them.
        """
        ...

    def update(
        self, format: PBits, query: Sequence[Sequence[float]], memory: Sequence[Sequence[float]], beta: float
    ) -> list[list[PBit]]:
        """One update of ``[L, d]`` over a memory ``[N, d]``, wholly in F_p, with shift (MHN-NET-4)."""
        ...


class CircuitCompiler(Protocol):
    """Threshold circuits for functions over F_p (clauses MHN-CIR)."""

    def measure(self, function: str, sizes: Mapping[str, int]) -> Mapping[str, Any]:
        """Depth, numbers of inputs and outputs, and gates by kind of a circuit."""
        ...

    def evaluate(self, function: str, sizes: Mapping[str, int], inputs: Any) -> Any:
        """The outputs ``[count, outputs]`` for ``inputs`` ``[count, inputs]``, arrays of bools."""
        ...

    def gate(self, function: str, sizes: Mapping[str, int], number: int) -> tuple[Any, ...]:
        """Kind, weights, threshold and inputs of one gate, from the numbers alone."""
        ...


class ChainOfThought(Protocol):
    """A network over F_p that multiplies permutations of S5 step by step (clauses MHN-COT).

    Permutations are given by their numbers, 0 to 119, in lexicographic order.
    """

    def run(self, word: Sequence[int], digits: int = 1, bits: int | None = None) -> Sequence[int]:
        """The products of the first one, two, three and so on letters, as far as they are permutations.

        Args:
            word: the letters.
            digits: of a position, see clause MHN-COT-3.
            bits: p; None for the least that is enough for every word of this length.
        """
        ...

    def heard(
        self, length: int, digits: int, bits: int, position: int, among: Sequence[int]
    ) -> Sequence[int]:
        """Positions in ``among`` whose letters have a weight that is not 0 for the answer at ``position``.

        Args:
            length: of the longest word.
            digits: of a position.
            bits: p.
            position: of the answer that asks.
            among: positions of letters.
        """
        ...


@dataclass(frozen=True, slots=True)
class Construction:
    """What is under test besides kernels: arithmetic, circuits and networks that are written down.

    Args:
        name: name in reports.
        arithmetic: p-bit arithmetic.
        circuits: a compiler of threshold circuits.
        chain: a network with chain of thought.

    Raises:
        ValueError: if nothing is given.
    """

    name: str
    arithmetic: PBitArithmetic | None = None
    circuits: CircuitCompiler | None = None
    chain: ChainOfThought | None = None

    def __post_init__(self) -> None:
        if self.arithmetic is None and self.circuits is None and self.chain is None:
            raise ValueError(f"construction {self.name!r} must offer something, got nothing")
