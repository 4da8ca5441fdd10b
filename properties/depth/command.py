"""``hopspec depth``."""

from __future__ import annotations

import json as jsons
import time
from pathlib import Path
from typing import Annotated

import typer

from hopspec.properties.bench.table import plain_table
from hopspec.properties.reporting.files import check_writable
from hopspec.properties.reporting.terminal import Display, refusal, wide_console

__all__ = ["depth_command"]


def depth_command(
    seed: Annotated[int, typer.Option(help="Seed of instances and weights.")] = 0,
    width: Annotated[list[int] | None, typer.Option(min=2, help="A width; may be repeated.")] = None,
    layers: Annotated[int, typer.Option(min=1, help="Depth of every network.")] = 2,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of training, of every network of both problems.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write all accuracies to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw them to this SVG file.")] = None,
) -> None:
    """Train networks of constant depth on connectivity and on S5, and show how accuracy falls with size.

    An illustration of chapter 19 and no proof: training may miss weights that would do better.
    """
    from hopspec.properties.depth.experiment import Plan, run  # noqa: PLC0415  (needs PyTorch)

    console = wide_console()
    try:
        check_writable({"--json": json, "--plot": plot})
    except ValueError as error:
        raise refusal(error) from None
    usual = Plan()
    plan = Plan(
        widths=tuple(sorted(set(width))) if width else usual.widths,
        layers=layers,
        graph_steps=steps or usual.graph_steps,
        word_steps=steps or usual.word_steps,
        seed=seed,
    )
    begun = time.perf_counter()
    with Display() as display:
        outcome = run(plan, display)
    console.print(
        f"seed {seed}, {layers} layers, {plan.graph_steps:,} and {plan.word_steps:,} steps of {plan.batch} "
        f"instances, tested on {plan.tested:,}, torch {outcome.versions['torch']}, "
        f"{time.perf_counter() - begun:.0f} s",
        highlight=False,
    )
    for task in ("connectivity", "S5"):
        found = [a for a in outcome.accuracies if a.task == task]
        table = plain_table(f"{task}, right answers; guessing gives {100 * found[0].chance:.1f} %", "width")
        for size in sorted({a.size for a in found}):
            table.add_column(f"n = {size}", justify="right")
        for wide in plan.widths:
            table.add_row(str(wide), *(f"{100 * a.share:.1f} %" for a in found if a.width == wide))
        console.print(table)
    if json is not None:
        json.write_text(jsons.dumps(outcome.as_record(), indent=1) + "\n", encoding="utf-8")
        console.print(f"accuracies written to {json}")
    if plot is not None:
        from hopspec.properties.depth.drawing import draw  # noqa: PLC0415  (imports matplotlib)

        draw(outcome, plot)
        console.print(f"plot written to {plot}")
