"""``hopspec bench``."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from hopspec.properties.bench import oracle, pbit
from hopspec.properties.bench.fastpath_command import fastpath_command
from hopspec.properties.bench.record import Run, read, write
from hopspec.properties.bench.table import print_changes, print_run
from hopspec.properties.bench.tightness_command import tightness_command
from hopspec.properties.reporting.files import check_writable
from hopspec.properties.reporting.terminal import Display, refusal, wide_console
from hopspec.reference.integers import BACKEND

__all__ = ["bench_app"]

QUICK_SECONDS = 1.0

bench_app = typer.Typer(no_args_is_help=True, help="Time contenders side by side.")


@bench_app.callback()
def _bench() -> None:
    """Time implementations against each other."""


bench_app.command("fastpath")(fastpath_command)
bench_app.command("tightness")(tightness_command)


@bench_app.command("oracle")
def oracle_command(
    size: Annotated[
        list[str] | None, typer.Option(help="Memories x dimensions, such as 256x64; may be repeated.")
    ] = None,
    bits: Annotated[list[int] | None, typer.Option(min=2, help="Precision; may be repeated.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of every comparison.")] = 25,
    quick: Annotated[
        bool, typer.Option("--quick", help="About a second per comparison, at least 5 rounds.")
    ] = False,
    backends: Annotated[
        str,
        typer.Option(help="Long integers to measure with: gmpy2, python (a process without it), or both."),
    ] = "both",
    json: Annotated[Path | None, typer.Option(help="Write all times to this file.")] = None,
    compare: Annotated[Path | None, typer.Option(help="Compare with the times in this file.")] = None,
) -> None:
    """Time one update of the reference, of plain mpmath and of python-flint's balls, at equal precision.

    Contenders take turns call by call, with the memory made ready beforehand; set-up is listed apart. The
    reference returns every component correctly rounded with a proved radius, arb a radius that grows with
    every operation, mpmath no bound.
    """
    console = wide_console()
    try:
        sizes = [_size(text) for text in size or ("8x4", "64x16", "256x64", "1024x64")]
        wanted = _backends(backends, BACKEND)
        earlier = None if compare is None else read(compare)
        check_writable({"--json": json})
    except ValueError as error:
        raise refusal(error) from None
    precisions = bits or [53, 200, 1000]
    runs: list[Run] = []
    try:
        for backend in wanted:
            if backend == BACKEND:
                with Display() as display:
                    limit = QUICK_SECONDS if quick else None
                    runs.append(oracle.run(sizes, precisions, rounds, limit, display))
            else:
                runs += read_child(sizes, precisions, rounds, quick)
    except ValueError as error:
        raise refusal(error) from None
    for run in runs:
        print_run(run, console)
    if "gmpy2" not in wanted and backends == "both":
        console.print("gmpy2 is not installed, or MPMATH_NOGMPY is set: no second table")
    if any(run.environment["python-flint"] == "not installed" for run in runs):
        console.print("python-flint is not installed: no arb")
    if earlier is not None:
        print_changes(runs, earlier, "long integers", console)
    if json is not None:
        write(runs, json)
        console.print(f"times written to {json}")


@bench_app.command("pbit")
def pbit_command(
    size: Annotated[
        list[str] | None,
        typer.Option(help="Queries x memories x dimensions, such as 64x64x16; may be repeated."),
    ] = None,
    bits: Annotated[list[int] | None, typer.Option(min=2, help="Precision; may be repeated.")] = None,
    rounds: Annotated[int, typer.Option(min=5, help="Rounds of every comparison.")] = 7,
    json: Annotated[Path | None, typer.Option(help="Write all times to this file.")] = None,
) -> None:
    """Time one update in F_p, one number at a time and on arrays, which must agree bit for bit."""
    console = wide_console()
    try:
        sizes = [_triple(text) for text in size or ("64x64x16",)]
        check_writable({"--json": json})
        with Display() as display:
            found = pbit.run(sizes, bits or [11, 24], rounds, display)
    except ValueError as error:
        raise refusal(error) from None
    print_run(found, console)
    if json is not None:
        write([found], json)
        console.print(f"times written to {json}")


def read_child(sizes: list[tuple[int, int]], bits: list[int], rounds: int, quick: bool) -> list[Run]:
    """The runs of another process, in which mpmath and the reference do without gmpy2.

    Raises:
        ValueError: if that process fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "times.json"
        words = ["bench", "oracle", "--backends", "python", "--rounds", str(rounds), "--json", str(path)]
        words += ["--quick"] if quick else []
        words += [word for n, d in sizes for word in ("--size", f"{n}x{d}")]
        words += [word for p in bits for word in ("--bits", str(p))]
        program = "from hopspec.properties.command import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            env={**os.environ, "MPMATH_NOGMPY": "1"},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            raise ValueError(f"the process without gmpy2 ended with exit status {done.returncode}")
        return read(path)


def _size(text: str) -> tuple[int, int]:
    n, cross, d = text.partition("x")
    if not (cross and n.isdecimal() and d.isdecimal() and int(n) and int(d)):
        raise ValueError(f"--size must be memories x dimensions, such as 256x64, got {text!r}")
    return int(n), int(d)


def _triple(text: str) -> tuple[int, int, int]:
    parts = text.split("x")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"--size must be queries x memories x dimensions, such as 64x64x16, got {text!r}")
    count, n, d = map(int, parts)
    return count, n, d


def _backends(asked: str, here: str) -> list[str]:
    if asked not in ("both", "gmpy2", "python"):
        raise ValueError(f"--backends must be gmpy2, python or both, got {asked!r}")
    if asked == "gmpy2" and here != "gmpy2":
        raise ValueError("gmpy2 is not installed, or MPMATH_NOGMPY is set")
    if asked == "both":
        return list(dict.fromkeys((here, "python")))
    return [asked]
