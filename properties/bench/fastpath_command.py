"""``hopspec bench fastpath``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hopspec.properties.bench.record import read, write
from hopspec.properties.bench.table import print_changes
from hopspec.properties.reporting.files import check_writable
from hopspec.properties.reporting.terminal import Display, refusal, wide_console
from hopspec.properties.session import Unusable

__all__ = ["fastpath_command"]

QUICK_SECONDS = 1.0


def fastpath_command(
    implementations: Annotated[
        list[str] | None,
        typer.Argument(
            help="package.module:function, or a name that `hopspec implementations` lists; else fastpath."
        ),
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option(help="Measure this case only, or all with this first word; may be repeated."),
    ] = None,
    dtype: Annotated[
        list[str] | None, typer.Option(help="Instead of those each case is about; may be repeated.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of every comparison.")] = 25,
    threads: Annotated[int, typer.Option(min=1, help="Threads of every contender.")] = 2,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="About a second per comparison, at least 5 rounds; no case that takes minutes."
        ),
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write all times to this file.")] = None,
    compare: Annotated[Path | None, typer.Option(help="Compare with the times in this file.")] = None,
) -> None:
    """Time implementations beside PyTorch's scaled_dot_product_attention and eager PyTorch.

    Contenders take turns, without gradients. Speeds are ratios of medians with 95 % bootstrap intervals; the
    targets are those of hopspec's own fast path, and are met where the interval reaches them. The machine's
    own limits are measured first. The exit status does not depend on the targets.
    """
    from hopspec.properties.bench import fastpath  # noqa: PLC0415  (needs PyTorch)
    from hopspec.properties.bench.kernels import Kernel  # noqa: PLC0415
    from hopspec.properties.bench.speed_table import print_speeds  # noqa: PLC0415

    console = wide_console()
    try:
        cases = fastpath.select(case or [])
        if quick and not case:
            cases = [name for name in cases if name not in fastpath.SLOW]
        unknown = [name for name in dtype or [] if name not in fastpath.DTYPES]
        if unknown:
            raise ValueError(f"--dtype must be one of {', '.join(fastpath.DTYPES)}, got {unknown[0]!r}")
        earlier = None if compare is None else read(compare)
        check_writable({"--json": json})
        kernels = [Kernel(name) for name in dict.fromkeys(implementations or ["fastpath"])]
    except (ValueError, Unusable) as error:
        raise refusal(error) from None
    with Display() as display:
        limit = QUICK_SECONDS if quick else None
        found = fastpath.run(kernels, cases, dtype or [], threads, rounds, limit, display)
    print_speeds(found, console)
    if earlier is not None:
        print_changes([found], earlier, "threads", console)
    if json is not None:
        write([found], json)
        console.print(f"times written to {json}")
