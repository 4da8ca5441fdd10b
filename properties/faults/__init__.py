"""Deliberately wrong implementations: the yardstick of the properties.

Every fault is one small edit of a right implementation: :class:`~hopspec.properties.faults.kernel.Kernel` in
PyTorch, or the reference where rounding is the subject. ``hopspec verify fault:NAME`` judges one.
"""

from hopspec.properties.faults import (
    attention,
    batches,
    calls,
    certificates,
    claims,
    contracts,
    energies,
    evaluation,
    forward,
    masks,
    merging,
    nonfinite,
    precision,
    prepared,
    settling,
    sizes,
    statistics,
)
from hopspec.properties.faults.attention import Attending, AttendingTwo
from hopspec.properties.faults.batches import BatchInvariant
from hopspec.properties.faults.kernel import Kernel
from hopspec.properties.faults.merging import Merging
from hopspec.properties.faults.registry import FAULTS, KINDS, Fault

__all__ = [
    "FAULTS",
    "KINDS",
    "RIGHT",
    "RIGHT_ATTENTION",
    "RIGHT_BATCH_INVARIANT",
    "RIGHT_BINARY_ATTENTION",
    "RIGHT_MERGING",
    "Fault",
    "attention",
    "batches",
    "calls",
    "certificates",
    "claims",
    "contracts",
    "energies",
    "evaluation",
    "forward",
    "masks",
    "merging",
    "nonfinite",
    "precision",
    "prepared",
    "settling",
    "sizes",
    "statistics",
]

RIGHT = Kernel().implementation("right-kernel")
RIGHT_BATCH_INVARIANT = BatchInvariant().implementation("right-batch-invariant")
RIGHT_MERGING = Merging().implementation("right-merging")
RIGHT_ATTENTION = Attending().implementation("right-attention")
RIGHT_BINARY_ATTENTION = AttendingTwo().implementation("right-binary-attention")
