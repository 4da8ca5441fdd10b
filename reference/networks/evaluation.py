"""Networks evaluated wholly in F_p, one number at a time or on arrays, and exactly (clause MHN-NET-2)."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol, TypeVar

from hopspec.pbit import PBit, PBits
from hopspec.precision import Precision
from hopspec.reference.context import working_bits
from hopspec.reference.networks.fields import ArrayField, Field, PBitField, Rows, ScalarField
from hopspec.reference.networks.intervals import Interval, Intervals, Undecided
from hopspec.reference.networks.layers import Dense, Hopfield, Network
from hopspec.reference.pbit import Arithmetic
from hopspec.reference.pbit.arrays import Arrays, PBitArray

__all__ = ["evaluate", "evaluate_arrays", "evaluate_exactly", "format_for", "predicted_bytes"]

MOST_WORKING_BITS = 1 << 14
# Of a number of F_p in a Python list: the pair, two integers and a place, without their digits.
_BYTES_PER_NUMBER = 136

M = TypeVar("M")


class Applicable(Protocol):
    """A layer or a network."""

    def apply(self, field: Field[M], state: M) -> M:
        """The states after it."""
        ...


def format_for(policy: int | Precision, n: int) -> PBits:
    """The set F_p with the bits that a policy gives to ``n`` tokens (clause MHN-PRC-2).

    >>> format_for(Precision.logarithmic(2), 64).bits, format_for(Precision.polynomial(1), 64).bits
    (12, 64)
    """
    return PBits(working_bits(policy, n))


def predicted_bytes(network: Applicable, state: Rows, format: PBits) -> int:
    """Bytes that the largest matrices of :func:`evaluate` take: two of the widest kind, and those they make.

    >>> from hopspec.reference.networks import random_network
    >>> predicted_bytes(random_network(1, 8, 2), [[0, 0]] * 8, PBits(30)) < 100_000
    True
    """
    layers = network.layers if isinstance(network, Network) else (network,)
    widest = max((x for layer in layers for x in _widths(layer, len(state))), default=1)
    return (
        3 * len(state) * widest * (_BYTES_PER_NUMBER + format.bits // 7 + format.greatest.bit_length() // 7)
    )


def _widths(layer: Applicable, count: int) -> tuple[int, ...]:
    if isinstance(layer, Hopfield):
        return (count if layer.stored is None else len(layer.stored), len(layer.query[0]), len(layer.query))
    return (len(layer.bias),) if isinstance(layer, Dense) else (1,)


def evaluate(
    network: Applicable, state: Rows, format: PBits, *, most_bytes: int = 1 << 33
) -> list[list[PBit]]:
    """The states after a network, every operation rounded to F_p, inputs and weights included.

    Args:
        network: a layer or a :class:`~hopspec.reference.networks.Network`.
        state: ``[L, d]``.
        format: the set F_p.
        most_bytes: memory the evaluation may take.

    Raises:
        ValueError: if it would take more; the message says how much.

    >>> from hopspec.reference.networks import Hopfield
    >>> one = [[1.0]]
    >>> layer = Hopfield(one, one, stored=[[1.0], [-1.0]])
    >>> float(evaluate(layer, one, PBits(4))[0][0])
    0.75
    """
    predicted = predicted_bytes(network, state, format)
    if predicted > most_bytes:
        raise ValueError(f"the evaluation would take {predicted:,} bytes of memory, more than {most_bytes:,}")
    field = PBitField(Arithmetic(format))
    return network.apply(field, field.matrix(state))


def evaluate_arrays(network: Applicable, state: Rows, format: PBits) -> PBitArray:
    """:func:`evaluate` on NumPy arrays, bit for bit the same, with at most 29 bits."""
    field = ArrayField(Arrays(format))
    return network.apply(field, field.matrix(state))


def evaluate_exactly(network: Applicable, state: Rows, *, radius: Fraction) -> list[list[Interval]]:
    """Enclosures of the states after a network over the real numbers.

    Args:
        network: a layer or a :class:`~hopspec.reference.networks.Network`.
        state: ``[L, d]``.
        radius: largest distance of the true number from the middle of an enclosure.

    Raises:
        ArithmeticError: if 16,384 bits do not suffice: a divisor may be zero.

    >>> from hopspec.reference.networks import Hopfield
    >>> one = [[1.0]]
    >>> layer = Hopfield(one, one, stored=[[1.0], [-1.0]])
    >>> float(evaluate_exactly(layer, one, radius=Fraction(1, 10**12))[0][0].middle)  # tanh(1)
    0.7615941559557649
    """
    bits = 64
    while bits <= MOST_WORKING_BITS:
        of = Intervals(bits)
        field = ScalarField(of)
        try:
            found = network.apply(field, field.matrix(state))
        except Undecided:
            found = []
        if found and all(of.within(entry, radius) for row in found for entry in row):
            return found
        bits *= 2
    raise ArithmeticError(f"{MOST_WORKING_BITS} bits do not enclose the states within {float(radius):.3g}")
