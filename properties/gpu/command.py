"""``hopspec gpu``: kernels on a GPU, compiled, predicted, and measured where there is one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hopspec.properties.bench.display import Display, check_writable, wide_console
from hopspec.properties.gpu.chips import TARGETS
from hopspec.properties.gpu.specimen import SPECIMENS

__all__ = ["gpu_app"]

gpu_app = typer.Typer(help="Kernels on a GPU: compiled, predicted, and measured where there is one.")


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
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
    page_file: Annotated[Path | None, typer.Option("--page", help="Write the page to this file.")] = None,
) -> None:
    """Compile the kernels ahead of time and judge what they need; it takes no GPU.

    Compiled kernels stay in Triton's cache. Exit status: 0 if all meet the requirements, 1 if one does not, 2
    if nothing could be compiled.
    """
    from hopspec.properties.gpu.compiling import Choice, resources_of  # noqa: PLC0415
    from hopspec.properties.gpu.requirements import complaints  # noqa: PLC0415
    from hopspec.properties.gpu.resource_page import COLUMNS, page, row, toolchain  # noqa: PLC0415

    console = wide_console()
    choice = Choice(tuple(kernel or ()), tuple(dtype or ()), tuple(width or ()), tuple(target or TARGETS))
    try:
        if unknown := [name for name in choice.targets if name not in TARGETS]:
            raise ValueError(f"--target must be one of {', '.join(TARGETS)}, got {unknown[0]!r}")
        check_writable(json_file)
        with Display() as display:
            found = resources_of(
                choice, specimens, lambda done, total, name: display("compiled", done, total)
            )
        if not found:
            raise ValueError("nothing was compiled: no kernel has this name, dtype and width")
    except ValueError as error:
        console.print(f"[red]{error}[/]", highlight=False)
        raise typer.Exit(2) from None
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
