"""Every kernel of this folder, and every fault planted in one."""

from __future__ import annotations

from . import flash, half, heads, lanes, plain, scratch
from .variants import Variants

__all__ = ["KERNELS", "PLANTED", "target"]

KERNELS: dict[str, Variants] = {
    module.__name__.rpartition(".")[2]: module.KERNELS
    for module in (flash, scratch, lanes, half, plain, heads)
}

PLANTED: tuple[tuple[str, str], ...] = tuple(
    (kernel, fault) for kernel, variants in KERNELS.items() for fault in variants.faults
)


def target(kernel: str, fault: str = "right") -> str:
    """What the command line takes for a fault, or for the right kernel.

    >>> target("flash", "key_tail_of_one")
    'tests.unseen.flash:KERNELS.key_tail_of_one'
    """
    return f"tests.unseen.{kernel}:KERNELS.{fault}"
