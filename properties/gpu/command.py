"""``hopspec gpu``: kernels on a GPU, compiled, predicted, and measured where there is one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from hopspec.properties.gpu.chips import TARGETS
from hopspec.properties.gpu.specimen import SPECIMENS
from hopspec.properties.gpu.stages import STAGES
from hopspec.properties.reporting.files import check_writable
from hopspec.properties.reporting.terminal import Display, refusal, wide_console

__all__ = ["gpu_app"]

NO_GPU = "no GPU that PyTorch can use: nothing to measure (--rehearse runs every stage on the CPU)"

gpu_app = typer.Typer(help="Kernels on a GPU: compiled, predicted, and measured where there is one.")


@gpu_app.callback(invoke_without_command=True)
def gpu_command(
    context: typer.Context,
    device: Annotated[str, typer.Option(help="Device to measure.")] = "cuda",
    folder: Annotated[
        Path | None, typer.Option(help="Where results are kept, so that an interrupted run goes on.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help=f"Only this stage: {', '.join(STAGES)}; may be repeated.")
    ] = None,
    again: Annotated[
        list[str] | None, typer.Option(help="Run this stage even if it is done; may be repeated.")
    ] = None,
    page_file: Annotated[
        Path | None, typer.Option("--page", help="Write the report to this file, and its data beside it.")
    ] = None,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Run every stage on the CPU, at sizes that mean nothing.")
    ] = False,
) -> None:
    """Do all there is to do on a GPU: verify, measure constants, tune, time, and report.

    A stage that fails does not keep the others from running; what is done is kept, and the same command goes
    on. Exit status: 0 if every stage ran and nothing was found broken, or there is no GPU; 1 if something is
    broken or failed; 2 for wrong arguments.
    """
    if context.invoked_subcommand is not None:
        return
    from hopspec.properties.gpu.extent import FULL, TOY  # noqa: PLC0415
    from hopspec.properties.gpu.report import report  # noqa: PLC0415
    from hopspec.properties.gpu.running import Done, run_all  # noqa: PLC0415

    console = wide_console()
    for stage in [*(only or ()), *(again or ())]:
        if stage not in STAGES:
            raise refusal(f"stage must be one of {', '.join(STAGES)}, got {stage!r}")
    name = "CPU" if rehearse else _gpu(device)
    if not name:
        console.print(NO_GPU, highlight=False)
        raise typer.Exit(0)

    def told(done: Done, kept: bool) -> None:
        state = f"[red]failed[/]: {escape(done.reason)}" if done.reason else "kept" if kept else "done"
        console.print(f"{done.name}: {state}, {done.seconds:.1f} s", highlight=False)

    # What was found on a GPU must not be replaced by a rehearsal.
    kept_in = folder or Path("hopspec-gpu") / ("rehearsal" if rehearse else "")
    with Display() as display:
        found = run_all(
            "cpu" if rehearse else device,
            name,
            TOY if rehearse else FULL,
            kept_in,
            display,
            only=only or (),
            again=again or (),
            told=told,
        )
    text = report(found, rehearsal=rehearse)
    path = page_file or kept_in / "report.md"
    path.write_text(text, encoding="utf-8")
    data = [asdict(done) for done in found]
    path.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    console.print(f"report written to {path}")
    raise typer.Exit(1 if any(_bad(done.result) or done.reason for done in found) else 0)


def _gpu(device: str) -> str:
    """Name of the device, empty if there is no GPU."""
    import torch  # noqa: PLC0415

    return torch.cuda.get_device_name(device) if torch.cuda.is_available() else ""


def _bad(result: dict[str, Any]) -> bool:
    """Whether a stage found something broken."""
    return bool(result.get("failed") or result.get("complaints") or result.get("exit_status"))


@gpu_app.command("resources")
def resources_command(
    kernel: Annotated[list[str] | None, typer.Option(help="Only this kernel; may be repeated.")] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="Only in this dtype; may be repeated.")] = None,
    width: Annotated[list[int] | None, typer.Option(help="Only for this d; may be repeated.")] = None,
    target: Annotated[
        list[str] | None, typer.Option(help=f"Only for this target: {', '.join(TARGETS)}; may be repeated.")
    ] = None,
    specimens: Annotated[
        str, typer.Option(help="Function that lists the kernels, package.module:function.")
    ] = SPECIMENS,
    also: Annotated[
        list[Path] | None, typer.Option(help="Put the figures in this file on the page too; may be repeated.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
    page_file: Annotated[Path | None, typer.Option("--page", help="Write the page to this file.")] = None,
) -> None:
    """Compile the kernels ahead of time and judge what they need; it takes no GPU.

    Compiled kernels stay in Triton's cache. Exit status: 0 if all meet the requirements, 1 if one does not, 2
    if nothing could be compiled.
    """
    from hopspec.properties.gpu.compiling import Choice, read_resources, resources_of  # noqa: PLC0415
    from hopspec.properties.gpu.requirements import complaints  # noqa: PLC0415
    from hopspec.properties.gpu.resource_page import COLUMNS, page, row, toolchain  # noqa: PLC0415

    console = wide_console()
    choice = Choice(tuple(kernel or ()), tuple(dtype or ()), tuple(width or ()), tuple(target or TARGETS))
    try:
        if unknown := [name for name in choice.targets if name not in TARGETS]:
            raise ValueError(f"--target must be one of {', '.join(TARGETS)}, got {unknown[0]!r}")
        check_writable({"--json": json_file})
        with Display() as display:
            found = resources_of(
                choice, specimens, lambda done, total, name: display("compiled", done, total)
            )
        found = [*(one for path in also or () for one in read_resources(path)), *found]
        found = list({one.name: one for one in found}.values())
        if not found:
            raise ValueError("nothing was compiled: no kernel has this name, dtype and width")
    except ValueError as error:
        raise refusal(error) from None
    from hopspec.properties.bench.table import plain_table  # noqa: PLC0415

    for name in dict.fromkeys(r.target for r in found):
        table = plain_table(name, *COLUMNS)
        for one in found:
            if one.target == name:
                table.add_row(*row(one))
        console.print(table)
    wrong = [str(complaint) for one in found for complaint in complaints(one)]
    for text in wrong:
        console.print(f"[bold red]{text}[/]", highlight=False)
    console.print(f"{len(found)} kernels compiled, {len(wrong)} requirements not met")
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n", encoding="utf-8")
    if page_file is not None:
        page_file.write_text(page(found, toolchain()), encoding="utf-8")
        console.print(f"page written to {page_file}")
    raise typer.Exit(1 if wrong else 0)


@gpu_app.command("roofline")
def roofline_command(
    page_file: Annotated[
        Path | None, typer.Option("--page", help="Write the page to this file, and its plot beside it.")
    ] = None,
) -> None:
    """Predict what limits each kernel on each chip; it takes no GPU, and nothing is measured."""
    from hopspec.properties.gpu.roofline_page import page, plot  # noqa: PLC0415

    if page_file is None:
        typer.echo(page())
    else:
        page_file.write_text(page(), encoding="utf-8")
        plot(page_file.with_suffix(".svg"))
        typer.echo(f"page written to {page_file}")
