"""``hopspec precision``: how many bits retrieve a memory, and whether F_p agrees with the processor."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from hopspec.formats import BFLOAT16, FORMATS
from hopspec.properties.hardware import FORMATS as PROCESSOR
from hopspec.properties.hardware import OPERATIONS, compare_hardware
from hopspec.properties.precision_study import (
    FAMILIES,
    Errors,
    digit_queries,
    errors_by_bits,
    instances,
    share_of,
    studied,
)
from hopspec.properties.reporting.terminal import refusal, wide_console
from hopspec.properties.session import find
from hopspec.types import Implementation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["precision_command"]

DTYPES = ("bfloat16", "float16", "float32", "float64")
# How much less than for retrieval beta is where errors of many weights are to be seen.
BLURRED = 64


def precision_command(
    data: Annotated[
        str | None, typer.Option(help="Retrieve real data in place of drawn ones: digits.")
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="Digits to retrieve, one search each.")] = 8,
    drawn: Annotated[
        int, typer.Option(min=1, help="Instances of every family; a tenth of them of the last.")
    ] = 60,
    error: Annotated[float, typer.Option(min=1e-6, help="Largest error of a pixel.")] = 0.5,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the error against p, and print that of the fast path's dtypes.")
    ] = None,
    hardware: Annotated[
        int | None,
        typer.Option(
            min=24, help="Compare so many operations in F_p with the processor's, and nothing else."
        ),
    ] = None,
) -> None:
    """Search for the bits p that retrieve a memory, and print them beside those of the theorem (MHN-NET-6).

    Exit status: 0 if every p from the theorem's on retrieves and every operation agrees, 1 if not, 2 if it
    could not be done.
    """
    console = wide_console()
    if data not in (None, "digits"):
        raise refusal(f"unknown data {data!r}; expected digits")
    if hardware is not None:
        raise typer.Exit(_compare(console, hardware, seed))
    try:
        held = _digits(console, queries, seed, error) if data == "digits" else _families(console, drawn, seed)
    except ValueError as refused:
        raise refusal(refused) from None
    if plot is not None:
        _draw(console, plot, error, seed)
        console.print(f"plot written to {plot}")
    raise typer.Exit(0 if held else 1)


def _compare(console: Console, count: int, seed: int) -> int:
    table = Table("format", "p", "operation", "by", "operations", "different", box=box.SIMPLE_HEAD)
    cells = [(fmt, operation) for fmt in PROCESSOR for operation in OPERATIONS]
    total = different = 0
    for k, (fmt, operation) in enumerate(cells):
        share = count * (k + 1) // len(cells) - count * k // len(cells)
        library = "torch" if fmt == BFLOAT16 else "numpy"
        found = compare_hardware(fmt, operation, library, share, seed)
        total, different = total + found.total, different + found.different
        table.add_row(
            fmt.name, str(fmt.precision), operation, library, f"{found.total:,}", str(found.different)
        )
        if found.first:
            console.print(f"[red]{found.first}[/]", highlight=False)
    console.print(table)
    console.print(f"{total:,} operations, {different} different", highlight=False)
    return 1 if different else 0


def _digits(console: Console, count: int, seed: int, error: float) -> bool:
    table = Table("query", "Delta / max A", "beta", "theorem", "first p", "every p from", box=box.SIMPLE_HEAD)
    held = True
    for how, query, memory, beta in digit_queries(count, seed, error):
        found = studied(how, query, memory, beta, error)
        if found is None:
            continue
        held &= found.holds
        table.add_row(
            how,
            f"{found.gap:.2g}",
            f"{beta:g}",
            *(_bits(p) for p in (found.theorem, found.first, found.since)),
        )
    console.print(f"bits p that retrieve one of 1797 digits, each pixel within {error:g}")
    console.print(table)
    return held


def _bits(p: int | None) -> str:
    return "-" if p is None else str(p)


def _families(console: Console, drawn: int, seed: int) -> bool:
    table = Table(
        "instances",
        "number",
        "theorem",
        "every p from",
        "theorem less that",
        "violations",
        box=box.SIMPLE_HEAD,
    )
    violations = 0
    for family in FAMILIES:
        found = [
            f
            for f in (studied(family, *each) for each in instances(family, share_of(family, drawn), seed))
            if f is not None
        ]
        wrong = [f for f in found if not f.holds]
        violations += len(wrong)
        gaps = [f.theorem - f.since for f in found if f.since is not None]
        since = [f.since for f in found if f.since is not None]
        table.add_row(
            family,
            str(len(found)),
            _spread([f.theorem for f in found]),
            _spread(since),
            _spread(gaps),
            str(len(wrong)),
        )
    console.print("bits p that retrieve a memory: least, median and most")
    console.print(table)
    return not violations


def _spread(numbers: list[int]) -> str:
    if not numbers:
        return "-"
    return f"{min(numbers)} {statistics.median(numbers):g} {max(numbers)}"


def fastpath(query: NDArray[np.float64], memory: NDArray[np.float64], beta: float, dtype: str) -> Any:
    """The fast path's update in one dtype, as float64."""
    import torch  # noqa: PLC0415

    kernel = find("fastpath")
    assert isinstance(kernel, Implementation)
    own = [torch.tensor(x).to(getattr(torch, dtype)) for x in (query, memory)]
    return kernel.retrieve(*own, beta=beta).double().numpy()


def _draw(console: Console, path: Path, error: float, seed: int) -> None:
    how, query, memory, beta = next(iter(digit_queries(1, seed, error)))
    dtypes = {name: FORMATS[name].precision for name in DTYPES}
    table = Table("beta", "dtype", "p", "fast path", "F_p", "bound in F_p", box=box.SIMPLE_HEAD)
    drawn = []
    for inverse in (beta, beta / BLURRED):
        found = errors_by_bits(query, memory, inverse, error, fastpath, dtypes)
        drawn.append((f"beta = {inverse:g}", found))
        for name, (p, own) in found.formats.items():
            at = found.bits.index(p)
            numbers = (own, found.errors[at], found.bounds[at])
            table.add_row(f"{inverse:g}", name, str(p), *(f"{x:.2g}" for x in numbers))
    title = f"one of 1797 digits, {how}"
    console.print(f"largest error of a pixel of an update, {title}", highlight=False)
    console.print(table)
    plot_errors(drawn, title, path)


def plot_errors(drawn: Sequence[tuple[str, Errors]], title: str, path: Path) -> None:
    """Draw errors against bits, side by side, into a file whose suffix says how.

    Args:
        drawn: titles, and what is drawn under them.
        title: of the figure.
        path: a file that does not lie in a missing folder.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  (half a second)

    figure = Figure(figsize=(5.6 * len(drawn), 4.2), layout="constrained")
    for axes, (name, found) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn, strict=True):
        _plot_one(axes, found)
        axes.set_title(name, fontsize=10)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path)


def _plot_one(axes: Axes, found: Errors) -> None:
    axes.set_yscale("log")
    # Errors of 0 lie on the lower edge.
    least = min(e for e in (*found.errors, *(e for _, e in found.formats.values()), 1.0) if e > 0) / 4
    axes.plot(found.bits, [max(e, least) for e in found.errors], ".-", label="error in F_p")
    shown = [(p, b) for p, b in zip(found.bits, found.bounds, strict=True) if np.isfinite(b)]
    axes.plot([p for p, _ in shown], [b for _, b in shown], "--", label="bound in F_p")
    for marker, (name, (p, own)) in zip("osD^", found.formats.items(), strict=False):
        axes.plot(p, max(own, least), marker, markersize=8, label=f"fast path, {name}: {own:.1g}")
    if found.theorem is not None:
        axes.axvline(found.theorem, color="gray", linewidth=1, label=f"p of the theorem: {found.theorem}")
    axes.set_xlabel("bits p")
    axes.set_ylabel("largest error of an entry")
    axes.legend(fontsize=8)
