"""What the makers publish about the chips: peaks, and the limits that decide how many blocks run at a time.

Peaks of NVIDIA's chips are those of the SXM modules, without sparsity. Sources: the data sheets "NVIDIA A100
Tensor Core GPU" (80 GB), "NVIDIA H100 Tensor Core GPU" and "NVIDIA H200 Tensor Core GPU", the architecture
white papers "NVIDIA A100 Tensor Core GPU Architecture" and "NVIDIA H100 Tensor Core GPU Architecture", and
the CUDA C++ Programming Guide, "Compute Capabilities" and "Arithmetic Instructions". Those of AMD's are from
"AMD CDNA 3 Architecture" and the "AMD Instinct MI300 ISA Reference Guide".
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CHIPS", "TARGETS", "Chip", "Target", "target_of"]


@dataclass(frozen=True)
class Target:
    """An instruction set that kernels are compiled for, and what a multiprocessor of it can hold.

    Args:
        name: as the compilers call it.
        backend: ``"cuda"`` or ``"hip"``.
        arch: the number or name that the compiler takes.
        warp: threads of a warp.
        registers: 32-bit registers of a multiprocessor.
        thread_registers: the most one thread can have.
        register_unit: registers are given to a warp in multiples of so many.
        partitions: schedulers of a multiprocessor, each with its share of registers and warps.
        warps: the most warps at a time.
        blocks: the most blocks at a time.
        shared: bytes of shared memory of a multiprocessor.
        block_shared: the most of it that one block can have.
        shared_unit: it is given in multiples of so many bytes.
        shared_reserved: bytes of it that the system keeps for each block.
        source: where the limits are published.
    """

    name: str
    backend: str
    arch: int | str
    warp: int
    registers: int
    thread_registers: int
    register_unit: int
    partitions: int
    warps: int
    blocks: int
    shared: int
    block_shared: int
    shared_unit: int
    shared_reserved: int
    source: str


_GUIDE = "CUDA C++ Programming Guide, Compute Capabilities"

TARGETS: dict[str, Target] = {
    "sm_80": Target(
        name="sm_80",
        backend="cuda",
        arch=80,
        warp=32,
        registers=1 << 16,
        thread_registers=255,
        register_unit=256,
        partitions=4,
        warps=64,
        blocks=32,
        shared=164 << 10,
        block_shared=163 << 10,
        shared_unit=128,
        shared_reserved=1 << 10,
        source=_GUIDE,
    ),
    "sm_90": Target(
        name="sm_90",
        backend="cuda",
        arch=90,
        warp=32,
        registers=1 << 16,
        thread_registers=255,
        register_unit=256,
        partitions=4,
        warps=64,
        blocks=32,
        shared=228 << 10,
        block_shared=227 << 10,
        shared_unit=128,
        shared_reserved=1 << 10,
        source=_GUIDE,
    ),
    "gfx942": Target(
        name="gfx942",
        backend="hip",
        arch="gfx942",
        warp=64,
        # 4 SIMD units with 512 registers for each of 64 lanes, vector and accumulation registers together.
        registers=4 * 512 * 64,
        thread_registers=512,
        register_unit=8 * 64,
        partitions=4,
        warps=32,
        blocks=32,
        shared=64 << 10,
        block_shared=64 << 10,
        shared_unit=512,
        shared_reserved=0,
        source="AMD CDNA 3 Architecture",
    ),
}


def target_of(name: str) -> Target:
    """The target of that name.

    Raises:
        ValueError: if there is none; the message lists the names.

    >>> target_of("sm_90").block_shared
    232448
    """
    if name not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}, got {name!r}")
    return TARGETS[name]


@dataclass(frozen=True)
class Chip:
    """A chip and its published peaks; rates are per second.

    Args:
        name: of the module.
        target: its instruction set, a key of :data:`TARGETS`.
        processors: multiprocessors.
        bandwidth: bytes from and to its memory.
        tensor: operations of the tensor cores on half precision, a multiplication and an addition being two.
        simple: operations in float32 outside of tensor cores, likewise.
        lanes: float32 multiply-adds that one multiprocessor starts in a clock.
        special: exponentials of base 2 that one multiprocessor starts in a clock.
        source: where the peaks are published.
    """

    name: str
    target: str
    processors: int
    bandwidth: float
    tensor: float
    simple: float
    lanes: int
    special: int
    source: str

    @property
    def clock(self) -> float:
        """The clock at which the peak of float32 holds.

        >>> round(CHIPS["A100"].clock / 1e6)
        1411
        """
        return self.simple / (2 * self.processors * self.lanes)

    @property
    def exponentials(self) -> float:
        """Exponentials of base 2 a second: ``special`` of them for every ``lanes`` multiply-adds.

        >>> f"{CHIPS['H100'].exponentials:.3g}"
        '4.19e+12'
        """
        return self.simple / 2 * self.special / self.lanes

    @property
    def shared(self) -> float:
        """Bytes read from shared memory a second: each multiprocessor has 32 banks of 4 bytes a clock.

        >>> f"{CHIPS['A100'].shared:.3g}"
        '1.95e+13'
        """
        return 128 * self.processors * self.clock

    def products(self, dtype: str) -> float:
        """Peak of products of matrices in a dtype, on tensor cores for half precision; float32 without TF32.

        Raises:
            ValueError: for another dtype.

        >>> CHIPS["A100"].products("float32") < CHIPS["A100"].products("bfloat16")
        True
        """
        if dtype not in ("float32", "bfloat16", "float16"):
            raise ValueError(f"dtype must be float32, bfloat16 or float16, got {dtype!r}")
        return self.simple if dtype == "float32" else self.tensor


CHIPS: dict[str, Chip] = {
    "A100": Chip(
        name="A100 SXM 80 GB",
        target="sm_80",
        processors=108,
        bandwidth=2039e9,
        tensor=312e12,
        simple=19.5e12,
        lanes=64,
        special=16,
        source="NVIDIA A100 data sheet",
    ),
    "H100": Chip(
        name="H100 SXM 80 GB",
        target="sm_90",
        processors=132,
        bandwidth=3.35e12,
        tensor=989.5e12,
        simple=67e12,
        lanes=128,
        special=16,
        source="NVIDIA H100 data sheet, which gives 1,979 teraFLOPS with sparsity in half precision",
    ),
    "H200": Chip(
        name="H200 SXM 141 GB",
        target="sm_90",
        processors=132,
        bandwidth=4.8e12,
        tensor=989.5e12,
        simple=67e12,
        lanes=128,
        special=16,
        source="NVIDIA H200 data sheet, which gives 1,979 teraFLOPS with sparsity in half precision",
    ),
}
