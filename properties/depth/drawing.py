"""The plot of an outcome, as SVG."""

from __future__ import annotations

from pathlib import Path

from hopspec.properties.depth.experiment import Outcome, Task

__all__ = ["draw"]

TITLES: dict[Task, tuple[str, str]] = {
    "connectivity": ("one cycle or two", "vertices"),
    "S5": ("product of permutations of S5", "letters"),
}


def draw(outcome: Outcome, path: Path) -> None:
    """Write accuracy against size, one line for each width, to an SVG file.

    Args:
        outcome: what was measured.
        path: the file.
    """
    from matplotlib import rc_context  # noqa: PLC0415  (takes long to import)
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with rc_context({"svg.hashsalt": "hopspec", "svg.fonttype": "none"}):
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        for axes, (task, (title, unit)) in zip(figure.subplots(1, 2), TITLES.items(), strict=True):
            found = [a for a in outcome.accuracies if a.task == task]
            for width in outcome.plan.widths:
                line = [(a.size, a.share) for a in found if a.width == width]
                axes.plot(*zip(*line, strict=True), marker="o", markersize=3, label=f"width {width}")
            for chance in {a.chance for a in found}:
                axes.axhline(chance, color="grey", linestyle=":", linewidth=1, label="guessing")
            sizes = sorted({a.size for a in found})
            if task == "S5":
                axes.plot(sizes, [1] * len(sizes), color="black", label="written down, chain of thought")
            axes.set_xlabel(unit)
            axes.set_ylabel("right answers")
            axes.set_title(f"{title}, {outcome.plan.layers} layers")
            axes.set_xticks(sizes)
            axes.set_ylim(-0.03, 1.05)
            axes.legend(fontsize="small")
        canvas = FigureCanvasSVG(figure)
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        canvas.print_svg(str(path), metadata=nothing)  # type: ignore[no-untyped-call]
