"""The least time that work takes on a chip, by its published peaks; predictions, nothing measured.

An update of ``L`` queries by ``N`` memories of ``d`` numbers has to read the memory and the queries and to
write the results, to multiply and add ``2 L N d`` times, and to take ``L N`` exponentials. On a GPU these
keep different units busy: memory, tensor cores (in float32 the lanes for multiplication and addition) and
special-function units. Where all overlap, it takes as long as the busiest of them; where nothing does, as
long as all together:

    max(bytes / bandwidth, operations / products, exponentials / special) <= floor <= their sum.

A kernel works on tiles: queries are rounded up to whole tiles, so are memories, and a chip can only be busy
with as many multiprocessors as there are blocks. Inside a multiprocessor, what is multiplied is read from
shared memory, 128 bytes a clock, again and again; how often depends on the tile:

- With ``mma`` instructions (sm_80) each warp multiplies its own ``r = rows / warps`` queries, at least 16, by
  all of a block, and reads the block twice, for the scores and for the weighted sum: ``4 d / r`` bytes for
  each pair of a query and a memory in half precision. With ``wgmma`` (sm_90) four warps share ``r = 4 rows /
  warps`` queries, at least 64.
- With multiply-adds in float32 a thread that makes ``a x b`` results reads ``a + b`` numbers for ``a b``
  products, at best ``2 / sqrt(a b)`` for each. Of the scores a thread has ``rows * columns / threads``
  results, of the sums ``rows * d / threads``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hopspec.properties.gpu.chips import Chip

__all__ = ["BYTES", "Balance", "Prediction", "Work", "balance", "predict", "shared_bytes", "update"]

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of a number."""


@dataclass(frozen=True)
class Work:
    """What one launch of a kernel has to do.

    Args:
        dtype: of queries and memories.
        moved: bytes read from and written to the memory of the chip.
        operations: of products of matrices, a multiplication and an addition being two.
        exponentials: of base 2.
        blocks: of the launch; how many multiprocessors can be busy.
        shared: bytes read from shared memory; 0 where the tiles are not known.
    """

    dtype: str
    moved: float
    operations: float
    exponentials: float
    blocks: int
    shared: float = 0.0


@dataclass(frozen=True)
class Prediction:
    """The least times of some work on a chip, in seconds.

    Args:
        moving: of its bytes, at the peak of the bandwidth.
        products: of its operations, at the peak of products in its dtype.
        exponentials: of its exponentials, at the peak of the special-function units.
        sharing: of reading shared memory; 0 where the tiles are not known.
    """

    moving: float
    products: float
    exponentials: float
    sharing: float = 0.0

    @property
    def floor(self) -> float:
        """If everything overlaps."""
        return max(self.moving, self.products, self.exponentials, self.sharing)

    @property
    def serial(self) -> float:
        """If nothing overlaps."""
        return self.moving + self.products + self.exponentials + self.sharing

    @property
    def limit(self) -> str:
        """What sets the floor."""
        parts = {
            "memory": self.moving,
            "products": self.products,
            "exponentials": self.exponentials,
            "shared memory": self.sharing,
        }
        return max(parts, key=parts.__getitem__)


def update(
    dtype: str,
    queries: int,
    memories: int,
    width: int,
    *,
    rows: int = 1,
    columns: int = 1,
    warps: int = 0,
    parts: int = 1,
    steps: float = 1.0,
    target: str = "sm_80",
) -> Work:
    """The work of one update with its log-normalizers, or of several that keep queries on the chip.

    Args:
        dtype: of queries and memories.
        queries: L.
        memories: N.
        width: d.
        rows: queries of a tile.
        columns: memories of a tile.
        warps: of a block; 0 where the tiles are not known, and shared memory is left out.
        parts: parts the memory is divided into, each with blocks of its own that leave ``d + 2`` numbers of
            float32 for each query, to be read again where they are merged.
        steps: updates of a tile of queries, on average.
        target: a key of :data:`hopspec.properties.gpu.chips.TARGETS`.

    Raises:
        ValueError: if a size is less than 1.

    >>> work = update("float16", 2048, 16384, 64)
    >>> work.operations == 4 * 2048 * 16384 * 64, work.exponentials == 2048 * 16384
    (True, True)
    >>> work.moved == 2 * 64 * (16384 + 2 * 2048) + 4 * 2048
    True
    """
    least = min(queries, memories, width, rows, columns, parts)
    if least < 1:
        raise ValueError(f"sizes must be at least 1, got {least}")
    tiles = math.ceil(queries / rows)
    part = columns * math.ceil(memories / columns / parts)
    pairs = tiles * rows * part * parts * steps
    numbers = (memories + 2 * queries) * width
    partial = 2 * 4 * parts * queries * (width + 2) if parts > 1 else 0
    return Work(
        dtype=dtype,
        moved=BYTES[dtype] * numbers + 4 * queries + partial,
        operations=4 * pairs * width,
        exponentials=pairs,
        blocks=tiles * parts,
        shared=shared_bytes(dtype, width, rows, columns, warps, target) * pairs if warps else 0.0,
    )


def shared_bytes(dtype: str, width: int, rows: int, columns: int, warps: int, target: str) -> float:
    """Bytes that a tile reads from shared memory for each pair of a query and a memory, at least.

    >>> shared_bytes("float16", 64, rows=64, columns=64, warps=4, target="sm_80")
    16.0
    >>> shared_bytes("float16", 64, rows=128, columns=64, warps=4, target="sm_80")
    8.0
    """
    if dtype == "float32":
        threads = 32 * warps
        scores, sums = rows * columns / threads, rows * width / threads
        return 4 * width * (2 / math.sqrt(scores) + 2 / math.sqrt(sums))
    # Without 64 queries to share, sm_90 takes the instructions of sm_80.
    together, least = (4, 64) if target == "sm_90" and rows >= 64 else (1, 16)
    return 2 * width * BYTES[dtype] / max(least, rows * together / warps)


def predict(work: Work, chip: Chip) -> Prediction:
    """The least times of some work on a chip.

    Units of a multiprocessor that has no block stand idle; all of the bandwidth is counted, whoever asks for
    it.

    >>> from hopspec.properties.gpu.chips import CHIPS
    >>> predict(update("float16", 2048, 16384, 64, rows=64), CHIPS["A100"]).limit
    'products'
    """
    # The last round of blocks leaves multiprocessors idle.
    rounds = math.ceil(work.blocks / chip.processors)
    share = work.blocks / (rounds * chip.processors)
    return Prediction(
        moving=work.moved / chip.bandwidth,
        products=work.operations / (chip.products(work.dtype) * share),
        exponentials=work.exponentials / (chip.exponentials * share),
        sharing=work.shared / (chip.shared * share),
    )


@dataclass(frozen=True)
class Balance:
    """Where one limit gives way to another, for long memories.

    Args:
        queries_products: from so many queries on products take longer than reading the memory.
        queries_exponentials: from so many queries on exponentials do.
        width: up to so many numbers of a memory exponentials take longer than products.
    """

    queries_products: float
    queries_exponentials: float
    width: float


def balance(dtype: str, width: int, chip: Chip) -> Balance:
    """Where the limits of an update meet: ``4 L N d / P``, ``L N / E`` and ``N d s / W`` are equal in pairs.

    >>> from hopspec.properties.gpu.chips import CHIPS
    >>> round(balance("float16", 64, CHIPS["H100"]).width)
    59
    """
    size, bandwidth, products = BYTES[dtype], chip.bandwidth, chip.products(dtype)
    return Balance(
        queries_products=size * products / (4 * bandwidth),
        queries_exponentials=width * size * chip.exponentials / bandwidth,
        width=products / (4 * chip.exponentials),
    )
