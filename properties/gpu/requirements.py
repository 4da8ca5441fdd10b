"""What is required of a compiled kernel, and what was measured instead where it does not hold."""

from __future__ import annotations

from dataclasses import dataclass

from hopspec.properties.gpu.chips import target_of
from hopspec.properties.gpu.compiling import Resources

__all__ = ["NO_STACK", "Complaint", "complaints", "may_spill"]

HALF = ("bfloat16", "float16")
NO_STACK = {"bfloat16": 128, "float16": 128, "float32": 64}
"""Up to how many numbers of a memory a kernel must do without the stack."""


@dataclass(frozen=True)
class Complaint:
    """A requirement that a compiled kernel does not meet.

    Args:
        resources: what it needs.
        text: what is wrong, with the figure.
    """

    resources: Resources
    text: str

    def __str__(self) -> str:
        return f"{self.resources.name}: {self.text}"


def may_spill(resources: Resources) -> bool:
    """Whether the width lies beyond those for which the stack must not be used.

    >>> may_spill(Resources("update", "float32", 128, 32, 32, 8, 2, "sm_80"))
    True
    """
    return resources.width > NO_STACK.get(resources.dtype, 0)


def complaints(resources: Resources) -> list[Complaint]:
    """What is wrong with a compiled kernel; nothing if it meets every requirement.

    Required are: that it compiles; that registers suffice, see :data:`NO_STACK`; that a block can have the
    shared memory it asks for; and for a kernel that multiplies matrices, that it does so in tensor cores in
    half precision, that no product in float32 cuts its factors to TF32, and that memories are read ahead
    where there is more than one stage; and where fusing products and sums was ruled out, that nothing is left
    which the assembler may fuse.

    Args:
        resources: what it needs.

    >>> spills = Resources("update", "float32", 64, 64, 64, 4, 1, "sm_80", registers=255, stack=824)
    >>> [complaint.text for complaint in complaints(spills)]
    ['824 bytes of stack, none are allowed']
    """
    if resources.error:
        return [Complaint(resources, f"does not compile: {resources.error}")]
    found = []
    if resources.stack and not may_spill(resources):
        found.append(f"{resources.stack} bytes of stack, none are allowed")
    most = target_of(resources.target).block_shared
    if resources.shared > most:
        found.append(f"{resources.shared} bytes of shared memory, a block can have {most}")
    if resources.multiplies and resources.dtype in HALF and not resources.counts.get("tensor"):
        found.append("no product in tensor cores")
    if resources.dtype == "float32" and resources.counts.get("tf32"):
        found.append("products in TF32")
    if resources.multiplies and resources.stages > 1 and not resources.counts.get("copies"):
        found.append("memories are not read ahead")
    if resources.counts.get("fusible"):
        found.append("products and sums may be fused that must not be")
    return [Complaint(resources, text) for text in found]
