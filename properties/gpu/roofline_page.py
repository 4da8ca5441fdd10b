"""The page of predictions: what each kernel has to do, and the least time for it on each chip."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hopspec.properties.gpu.chips import CHIPS, Chip
from hopspec.properties.gpu.roofline import BYTES, Work, balance, predict, update

__all__ = ["CASES", "Case", "Cut", "page", "plot"]

DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Cut:
    """How a kernel cuts its work in one dtype: rows, columns and warps of a tile."""

    rows: int
    columns: int
    warps: int


TILES_OF = "hopspec.fastpath.triton.tiles"
"""The module that says which tiles the kernels are shipped with."""

# Of PyTorch's attention only the rows of a tile count here: the memory-efficient kernel, which serves
# float32, takes 64 queries to a block, as the flash kernel of half precision does where it divides the keys.
SDPA_ROWS = {"float32": 64, "bfloat16": 64}


@dataclass(frozen=True)
class Case:
    """Work that is done by our kernels and by PyTorch's attention.

    Args:
        name: what it is called.
        queries: L.
        memories: N.
        width: d.
        steps: for settling, by dtype: the updates each tile of ours goes through on average, and those of a
            loop that ends with the last query; empty for one update.
    """

    name: str
    queries: int
    memories: int
    width: int
    steps: tuple[tuple[str, dict[int, float], int], ...] = ()

    @property
    def size(self) -> str:
        """The sizes in one word."""
        return f"{self.queries}x{self.memories}x{self.width}"


# Steps are those of `hopspec.settle` on a CPU on the workloads of `hopspec bench fastpath --case settle`.
CASES = (
    Case("retrieval", 2048, 16384, 64),
    Case("one query", 1, 262144, 64),
    Case("eight queries", 8, 262144, 64),
    Case(
        "settle, beta 1, noise 0.8",
        2048,
        4096,
        64,
        (
            ("float32", {16: 2.70, 32: 2.92, 64: 3.03}, 4),
            ("bfloat16", {16: 2.48, 32: 2.73, 64: 2.97}, 4),
        ),
    ),
    Case(
        "settle, beta 0.35, noise 1.5",
        2048,
        4096,
        64,
        (
            ("float32", {16: 8.91, 32: 10.86, 64: 12.72}, 18),
            ("bfloat16", {16: 8.94, 32: 11.42, 64: 13.75}, 20),
        ),
    ),
)


def ours(case: Case, dtype: str, chip: Chip) -> Work:
    """The work of our kernel, tiled and divided as it is shipped to occupy the multiprocessors."""
    cut = shipped(case, dtype, chip)
    tiles = -(-case.queries // cut.rows)
    steps = next((own[cut.rows] for name, own, _ in case.steps if name == dtype), 1.0)
    parts = 1 if case.steps else max(1, min(chip.processors // tiles, case.memories // cut.columns // 8))
    return update(
        dtype,
        case.queries,
        case.memories,
        case.width,
        rows=cut.rows,
        columns=cut.columns,
        warps=cut.warps,
        parts=parts,
        steps=steps,
        target=chip.target,
    )


def shipped(case: Case, dtype: str, chip: Chip) -> Cut:
    """The tile that a case is served with on a chip."""
    tiles = importlib.import_module(TILES_OF)
    kernel = "settle" if case.steps else "attend"
    narrow = tiles.narrow_for(kernel, dtype, case.width, case.queries, chip.processors)
    tile = tiles.tile_of(kernel, dtype, case.width, narrow)
    return Cut(tile.rows, tile.block, tile.warps)


def theirs(case: Case, dtype: str, chip: Chip) -> tuple[Work, int]:
    """The work of one call of PyTorch's attention, and how many calls there are.

    Its flash kernel, which serves half precision, is taken to divide the keys as finely as it likes; its
    memory-efficient kernel, which serves float32, not to divide them.
    """
    rows = SDPA_ROWS[dtype]
    tiles = -(-case.queries // rows)
    parts = 1 if dtype == "float32" else max(1, chip.processors // tiles)
    work = update(dtype, case.queries, case.memories, case.width, rows=rows, parts=parts)
    calls = next((loop for name, _, loop in case.steps if name == dtype), 1)
    if case.steps:
        # The test of convergence reads both states again.
        work = replace(work, moved=work.moved + 2 * BYTES[dtype] * case.queries * case.width)
    return work, calls


def page() -> str:
    """The whole page as Markdown."""
    return "\n".join([INTRODUCTION, _peaks(), _crossings(), _tiles(), _predictions(), CLOSING])


def _table(columns: tuple[str, ...], rows: Iterator[tuple[str, ...]], words: int) -> str:
    rule = "|" + "---|" * words + "--:|" * (len(columns) - words)
    lines = ["| " + " | ".join(columns) + " |", rule]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _peaks() -> str:
    columns = (
        "chip",
        "TB/s",
        "half TFLOP/s",
        "float32 TFLOP/s",
        "10^12 exp2/s",
        "shared TB/s",
        "multiprocessors",
    )
    rows = (
        (
            chip.name,
            f"{chip.bandwidth / 1e12:.3g}",
            f"{chip.tensor / 1e12:.3g}",
            f"{chip.simple / 1e12:.3g}",
            f"{chip.exponentials / 1e12:.3g}",
            f"{chip.shared / 1e12:.3g}",
            str(chip.processors),
        )
        for chip in CHIPS.values()
    )
    sources = "; ".join(dict.fromkeys(f"{chip.name}: {chip.source}" for chip in CHIPS.values()))
    return f"{_table(columns, rows, 1)}\n{sources}. {PEAKS}"


def _crossings() -> str:
    columns = ("chip", "dtype", "products from L =", "exponentials from L =", "exponentials up to d =")
    rows = (
        (
            chip.name,
            dtype,
            f"{found.queries_products:.0f}",
            f"{found.queries_exponentials:.0f}",
            f"{found.width:.0f}",
        )
        for chip in CHIPS.values()
        for dtype in DTYPES
        for found in (balance(dtype, 64, chip),)
    )
    return CROSSINGS + _table(columns, rows, 2)


def _tiles() -> str:
    columns = ("chip", "dtype", "tile", "products", "exponentials", "shared memory", "busiest")
    return TILES + _table(columns, _tile_rows(), 3)


def _tile_rows() -> Iterator[tuple[str, ...]]:
    cuts = {
        "float32": (Cut(16, 32, 4), Cut(32, 32, 4), Cut(32, 32, 8), Cut(64, 32, 8)),
        "bfloat16": (Cut(16, 64, 4), Cut(64, 64, 4), Cut(128, 64, 4), Cut(128, 64, 8)),
    }
    for key in ("A100", "H100"):
        chip = CHIPS[key]
        for dtype, several in cuts.items():
            for cut in several:
                work = update(
                    dtype,
                    cut.rows * chip.processors,
                    1 << 20,
                    64,
                    rows=cut.rows,
                    columns=cut.columns,
                    warps=cut.warps,
                    target=chip.target,
                )
                found = predict(work, chip)
                each = 1e12 / (work.exponentials)
                yield (
                    chip.name,
                    dtype,
                    f"{cut.rows}x{cut.columns}, {cut.warps} warps",
                    f"{found.products * each:.2f}",
                    f"{found.exponentials * each:.2f}",
                    f"{found.sharing * each:.2f}",
                    replace(found, moving=0.0).limit,
                )


def _predictions() -> str:
    columns = (
        "work",
        "dtype",
        "chip",
        "MB",
        "GFLOP",
        "10^6 exp2",
        "floor us",
        "set by",
        "with the tile us",
        "set by",
        "SDPA floor us",
        "set by",
        "over ours",
    )
    return PREDICTIONS + _table(columns, _prediction_rows(), 3)


def _prediction_rows() -> Iterator[tuple[str, ...]]:
    for case in CASES:
        for dtype in DTYPES:
            for chip in CHIPS.values():
                work = ours(case, dtype, chip)
                tiled = predict(work, chip)
                floor = replace(tiled, sharing=0.0)
                other, calls = theirs(case, dtype, chip)
                sdpa = predict(other, chip)
                yield (
                    f"{case.name} ({case.size})",
                    dtype,
                    chip.name,
                    f"{work.moved / 1e6:.3g}",
                    f"{work.operations / 1e9:.3g}",
                    f"{work.exponentials / 1e6:.3g}",
                    f"{1e6 * floor.floor:.3g}",
                    floor.limit,
                    f"{1e6 * tiled.floor:.3g} to {1e6 * tiled.serial:.3g}",
                    tiled.limit,
                    f"{1e6 * calls * sdpa.floor:.3g}",
                    sdpa.limit,
                    f"{calls * sdpa.floor / tiled.floor:.2f}",
                )


def plot(path: Path) -> None:
    """Write the rooflines as SVG: operations a second over operations a byte, with the cases in them."""
    import matplotlib as mpl  # noqa: PLC0415  (slow to import)

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    # Text stays text, and two runs write the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "hopspec", "font.size": 9}):
        figure, axes = plt.subplots(1, len(DTYPES), figsize=(9, 3.6), sharey=True, layout="constrained")
        for axis, dtype in zip(axes, DTYPES, strict=True):
            for number, chip in enumerate(CHIPS.values()):
                peak, bend = chip.products(dtype), chip.products(dtype) / chip.bandwidth
                axis.plot(
                    [0.3, bend, 3e4],
                    [0.3 * chip.bandwidth / 1e12, peak / 1e12, peak / 1e12],
                    color=f"C{number}",
                    label=chip.name,
                )
            for case in (CASES[0], CASES[1], CASES[3]):
                work = ours(case, dtype, CHIPS["A100"])
                axis.axvline(work.operations / work.moved, color="0.6", linewidth=0.6)
                axis.text(
                    work.operations / work.moved,
                    0.35,
                    case.name.partition(",")[0],
                    rotation=90,
                    fontsize=7,
                    ha="right",
                )
            axis.set(xscale="log", yscale="log", xlabel="operations per byte", title=dtype, ylim=(0.3, 2e3))
        axes[0].set_ylabel("10^12 operations a second")
        axes[0].legend(fontsize=7, loc="upper left")
        figure.savefig(path, format="svg", metadata={"Date": None})
        plt.close(figure)


INTRODUCTION = """\
# What the kernels can reach on a GPU: predictions

Written by `hopspec gpu roofline --page docs/gpu-roofline.md`. **Everything on this page is predicted** from
the peaks that NVIDIA publishes and from formulas; nothing was measured. `make gpu` measures, and writes
`docs/gpu-report.md`.

With $L$ queries, $N$ memories and $d$ numbers of $s$ bytes each, an update has to

| | how often | at a rate of |
|---|---|---|
| read memory and queries, write results | $(N + 2L)\\,d\\,s + 4L$ bytes | $W$, the bandwidth |
| multiply and add | $4 L N d$ operations | $P$, in half precision of tensor cores, else of multiply-adds |
| take exponentials of base 2 | $L N$ | $E$, of special-function units |

These keep different units busy, so the least time is between the largest of the three quotients, if all
overlap, and their sum, if nothing does. Starting a kernel takes a few microseconds besides, which nobody
publishes. Maxima, sums and conversions are left out, and so is reading the memory once for each tile of
queries: it comes from the second-level cache, whose bandwidth is published for the A100 only (5120 bytes a
clock, 7.2 TB/s: 22 queries to a tile suffice to keep its tensor cores busy, for half precision, and every
tile shipped for many updates has more).

![rooflines](gpu-roofline.svg)

The bends are where bandwidth gives way to products; vertical lines are the work below, as it is
tiled on an A100.

## The peaks
"""

PEAKS = """\
Exponentials: 16 a clock and multiprocessor, where there are 64 (A100) or 128 multiply-adds in float32; shared
memory: 128 bytes a clock and multiprocessor (CUDA C++ Programming Guide). The clock is the one at which the
published peak of float32 holds.
"""

CROSSINGS = """
## What limits an update, and from where on

For long memories: reading takes longest while there are few queries; from $L = s P / 4W$ on products take
longer, from $L = d s E / W$ on exponentials ($d = 64$ here). Between these two, products exceed exponentials
where $d > P / 4E$.

"""

TILES = """
## The tile that follows

What is multiplied is read from shared memory again and again, 128 bytes a clock and multiprocessor. How often
depends on the tile; figures are picoseconds of the whole chip for each pair of a query and a memory, at $d =
64$.

In half precision on sm_80 each warp reads the whole block, so a warp with 16 queries (64 to a tile, 4 warps)
asks as much of shared memory as of the tensor cores, and one with 32 (128 to a tile, 4 warps) half as much.
On sm_90 four warps share what they read. In float32 a thread has too few results at a time for the
multiply-adds to be the limit: with the tiles that fit into the registers, shared memory is. That is the price
of products that are not TF32.

"""

PREDICTIONS = """
## Predictions

*floor* counts the three units alone, for our kernel as it is tiled and divided; *with the tile* adds shared
memory, the least (all overlap) to the sum (nothing does). *SDPA* is PyTorch's attention at the same shapes,
counted in the same way without shared memory, since its tiles are its own; *over ours* divides that by our
least time with the tile, which favours SDPA. Assumed of it, and not verified: the flash kernel, which serves
half precision, divides the keys among multiprocessors where there are few queries; the memory-efficient
kernel, which serves float32, does not and gives 64 queries to a block. For settling it is called once for
every update, for all queries, until the last of them has stopped; ours keeps a tile of queries on the chip
until the last of its own has.

"""

CLOSING = """\

Read from the table, to be confirmed or refuted by `make gpu`:

- In half precision one update takes the same time by either, as far as these limits tell: both do the same
  work with the same units. What ours adds is the log-normalizer, which SDPA does not return.
- In float32 ours is limited by shared memory, SDPA, if it does not divide the keys, by the multiprocessors
  that it leaves idle: most of all with one query or eight, where a single one would do all the work.
- With few queries all of the chip has to be busy reading. In float32 the products of a tile padded to 16
  queries take longer than that; a kernel without tiles, for a single query, would come closer to the limit of
  the memory.
- Settling gains from queries that have stopped being let go of tile by tile, the more the further apart they
  stop, and loses by small tiles, which it needs to keep all multiprocessors busy: where nearly all queries
  stop after two or three steps, a loop over SDPA in half precision should be as fast or faster on an H100.
"""
