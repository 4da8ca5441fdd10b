"""Figures of a report as SVG that takes its colours from the page."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hopspec.properties.results import ZERO, Cell, Descent, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SERIES", "descent_plot", "scatter_plot", "tightness_plot"]

# Colours that nobody would use, each replaced by a variable of the page, so that it can be light or dark.
COLOURS = {
    "ink": "#010203",
    "muted": "#020304",
    "line": "#030405",
    "error": "#040506",
    "bound": "#050607",
    "third": "#060708",
}
# One for each trajectory of a figure.
SERIES = ("error", "bound", "third")
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    # The same report shall give the same page.
    "svg.hashsalt": "hopspec",
    "font.family": "sans-serif",
    "font.size": 11.0,
    "axes.edgecolor": COLOURS["muted"],
    "axes.labelcolor": COLOURS["ink"],
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"],
    "grid.color": COLOURS["line"],
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "path.simplify": False,
}
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
PANEL = (4.6, 3.0)


def power(x: float, _position: object = None) -> str:
    """A power of ten as text.

    >>> power(1e-7), power(1.0), power(100.0)
    ('10⁻⁷', '1', '100')
    """
    exponent = round(math.log10(x))
    if -2 <= exponent <= 3:
        return f"{10.0**exponent:g}"
    return "10" + str(exponent).translate(SUPERSCRIPTS)


def scatter_plot(points: Sequence[Point], against: str, unit: str) -> str:
    """Error and bound of each case against N or beta, both axes logarithmic; "" if nothing can be drawn.

    The twentieth part of the numbers that is smallest lies on the lower edge.

    Args:
        points: the cases.
        against: ``"n"`` or ``"beta"``.
        unit: what errors are divided by, for the axis.
    """
    drawn = [p for p in points if getattr(p, against) > 0 and p.scale > 0]
    if not drawn:
        return ""
    x = [getattr(p, against) for p in drawn]
    bound = [p.bound / p.scale for p in drawn]
    error = [p.error / p.scale for p in drawn]
    # A few tiny numbers would press all others together.
    above = sorted(y for y in (*bound, *error) if y > 0)
    floor = above[len(above) // 20]
    bound = [max(y, floor) for y in bound]
    error = [max(y, floor) for y in error]

    def draw(axes: Axes) -> None:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.plot(x, bound, "_", color=COLOURS["bound"], markersize=7, markeredgewidth=1.6, label="bound")
        axes.plot(x, error, "o", color=COLOURS["error"], markersize=3, label="error")
        axes.set_xlabel({"n": "N, memories", "beta": "beta, inverse temperature"}[against])
        axes.set_ylabel(f"error / {unit}" if unit else "error")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(power)
            axis.set_minor_locator(_none())
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, handletextpad=0.2)

    return _svg(draw, PANEL)


def tightness_plot(cells: Iterable[Cell]) -> str:
    """One row of bars for each clause: how its cases are distributed over error/bound; "" without cases."""
    rows: dict[str, dict[int, int]] = {}
    for cell in cells:
        row = rows.setdefault(cell.clause, {})
        for place, count in cell.ratios.items():
            row[place] = row.get(place, 0) + count
    rows = {clause: row for clause, row in rows.items() if any(place != ZERO for place in row)}
    if not rows:
        return ""
    from matplotlib.collections import PolyCollection  # noqa: PLC0415

    least = min(place for row in rows.values() for place in row if place != ZERO)
    left, right = min(least, -7) - 1, max(1, *(p for row in rows.values() for p in row))
    zero = left - 2

    def draw(axes: Axes) -> None:
        for broken, colour in ((False, "error"), (True, "bound")):
            bars = []
            for at, row in enumerate(rows.values()):
                total, height = sum(row.values()), max(row.values())
                for place, count in sorted(row.items()):
                    if count and (place > 0) == broken and total:
                        end = zero + 1 if place == ZERO else place
                        top = at - 0.85 * count / height
                        bars.append([(end - 1, at), (end - 1, top), (end, top), (end, at)])
            axes.add_collection(PolyCollection(bars, facecolors=COLOURS[colour], linewidths=0))
        axes.axvline(0, color=COLOURS["ink"], linewidth=1.2)
        axes.set_xlim(zero - 0.5, right + 0.5)
        axes.set_ylim(len(rows) - 0.4, -1.2)
        axes.set_yticks([k - 0.3 for k in range(len(rows))], list(rows))
        axes.tick_params(axis="y", length=0, labelsize=9)
        first, last = math.ceil(left * math.log10(2)), math.floor(right * math.log10(2))
        decades = [d for d in range(first, last + 1) if d >= -2 or (d % 2 == 0 and last - first > 5)]
        decades = [d for d in decades if d / math.log10(2) > zero + 3]
        ticks = [zero + 0.5, *(d / math.log10(2) for d in decades)]
        axes.set_xticks(ticks, ["0", *(power(10.0**d) for d in decades)])
        axes.set_xlabel("error / bound")
        axes.text(0, -1.25, "bound", ha="center", va="bottom", fontsize=9)

    return _svg(draw, (4.8, 0.9 + 0.2 * len(rows)))


def descent_plot(descents: Sequence[Descent]) -> str:
    """Energies above the last exact one against the number of updates; "" if there is nothing to draw."""
    if not descents:
        return ""

    def draw(axes: Axes) -> None:
        axes.set_yscale("log")
        for descent, name in zip(descents, SERIES, strict=False):
            low, colour = descent.exact[-1], COLOURS[name]
            axes.plot(*_above(descent.exact, low), "-", color=colour, linewidth=1.4, label="exact")
            axes.plot(*_above(descent.reached, low), "o", color=colour, markersize=4, label="reached")
            if descent.told:
                hollow = {"markerfacecolor": "none", "markeredgecolor": colour}
                axes.plot(*_above(descent.told, low), "s", markersize=7, label="told", **hollow)  # type: ignore[arg-type]
        axes.set_xlabel("updates")
        axes.set_ylabel("energy above its end")
        axes.yaxis.set_major_formatter(power)
        axes.yaxis.set_minor_locator(_none())
        handles, labels = axes.get_legend_handles_labels()
        first = dict(reversed([*zip(labels, handles, strict=True)]))
        order = [label for label in ("exact", "reached", "told") if label in first]
        axes.legend(
            [first[label] for label in order],
            order,
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=3,
            handletextpad=0.3,
        )

    return _svg(draw, PANEL)


def _above(energies: Sequence[float], low: float) -> tuple[list[int], list[float]]:
    kept = [(k, e - low) for k, e in enumerate(energies) if math.isfinite(e) and e > low]
    return [k for k, _ in kept], [e for _, e in kept]


def _none() -> Any:
    from matplotlib.ticker import NullLocator  # noqa: PLC0415

    return NullLocator()


def _svg(draw: Callable[[Axes], None], size: tuple[float, float]) -> str:
    """The drawing as an SVG element without size, to be given one by the page."""
    from matplotlib import rc_context  # noqa: PLC0415  (only where a page is made)
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    buffer = io.StringIO()
    with rc_context(STYLE):
        width, height = size
        figure = Figure(figsize=size)
        # The solver for layouts takes longer than all the drawing.
        figure.subplots_adjust(0.8 / width, 0.55 / height, 1 - 0.1 / width, 1 - 0.32 / height)
        canvas = FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        canvas.print_svg(buffer, metadata=nothing)  # type: ignore[no-untyped-call]
    return _inline(buffer.getvalue())


def _inline(document: str) -> str:
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    # Patches of figure and axes are white; the page's own ground shall be seen.
    svg = svg.replace("fill: #ffffff", "fill: none")
    # Nothing refers to the identities of groups.
    svg = re.sub(r' id="[A-Za-z][A-Za-z0-9.]*_[0-9]+"', "", svg)
    # A tenth of a point is finer than any screen; text is left as it is.
    svg = re.sub(r'="[^"]*"', lambda attribute: re.sub(r"(\d\.\d)\d+", r"\1", attribute[0]), svg)
    svg = re.sub(r"\n\s*", "\n", svg)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    head, _, rest = svg.partition(">")
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None
    return f'<svg class="plot" {box[0]} aria-hidden="true" focusable="false">{rest}'
