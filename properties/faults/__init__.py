"""Deliberately wrong implementations: the yardstick of the properties.

Every fault is one small edit of a right implementation: :class:`~hopspec.properties.faults.kernel.Kernel` in
PyTorch, or the reference where rounding is the subject. ``hopspec verify fault:NAME`` judges one.
"""

from hopspec.properties.faults import (
    certificates,
    contracts,
    energies,
    forward,
    masks,
    nonfinite,
    precision,
    settling,
)
from hopspec.properties.faults.kernel import Kernel
from hopspec.properties.faults.registry import FAULTS, KINDS, Fault

__all__ = [
    "FAULTS",
    "KINDS",
    "RIGHT",
    "Fault",
    "certificates",
    "contracts",
    "energies",
    "forward",
    "masks",
    "nonfinite",
    "precision",
    "settling",
]

RIGHT = Kernel().implementation("right-kernel")
