"""How many blocks of a kernel a multiprocessor holds at a time, from what the compiler says it needs."""

from __future__ import annotations

from dataclasses import dataclass

from hopspec.properties.gpu.chips import Target

__all__ = ["Occupancy", "occupancy"]


@dataclass(frozen=True)
class Occupancy:
    """What a multiprocessor holds at a time.

    Args:
        blocks: blocks of the kernel; 0 if it cannot hold one.
        warps: their warps.
        share: these as a share of the most it can hold.
        reason: what allows no more.
    """

    blocks: int
    warps: int
    share: float
    reason: str


def occupancy(target: Target, registers: int, shared: int, warps: int) -> Occupancy:
    """Blocks at a time, by the published limits of the target.

    Registers are given to whole warps, ``registers`` for each of their threads rounded up to the unit of the
    target. A scheduler runs the warps in its own share of the registers, so it holds ``floor(share / need)``
    warps, and a multiprocessor ``floor(partitions * floor(share / need) / warps)`` blocks. Shared memory is
    given to blocks in units, with what the system reserves on top. Warps and blocks have limits of their own.
    The least of the four numbers counts.

    Args:
        target: the instruction set.
        registers: of one thread.
        shared: bytes of one block.
        warps: of one block.

    Raises:
        ValueError: if a number is negative or there is no warp.

    >>> from hopspec.properties.gpu.chips import TARGETS
    >>> occupancy(TARGETS["sm_80"], registers=128, shared=32 << 10, warps=4)
    Occupancy(blocks=4, warps=16, share=0.25, reason='registers')
    """
    if registers < 0 or shared < 0 or warps < 1:
        raise ValueError(
            "registers and shared must be at least 0 and warps at least 1, "
            f"got {registers}, {shared} and {warps}"
        )
    most = {"warps": target.warps // warps, "blocks": target.blocks}
    if registers > target.thread_registers:
        most["registers"] = 0
    elif registers:
        need = _up(registers * target.warp, target.register_unit)
        held = target.partitions * (target.registers // target.partitions // need)
        most["registers"] = held // warps
    if shared > target.block_shared:
        most["shared memory"] = 0
    elif shared or target.shared_reserved:
        most["shared memory"] = target.shared // _up(shared + target.shared_reserved, target.shared_unit)
    reason = min(most, key=most.__getitem__)
    blocks = most[reason]
    return Occupancy(blocks, blocks * warps, blocks * warps / target.warps, reason)


def _up(amount: int, unit: int) -> int:
    return -(-amount // unit) * unit
