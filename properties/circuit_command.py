"""``hopspec circuit``: threshold circuits of networks over F_p, and of what they are made of."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from hopspec.properties.circuit_sweep import EXPONENTS, least_exponent, print_sweep, sizes_of
from hopspec.properties.reporting.terminal import refusal, wide_console
from hopspec.reference.circuits import Block, Circuit, Kind, Measure, TooLargeError, build, measure
from hopspec.reference.circuits.functions import FUNCTIONS

__all__ = ["circuit_command"]

# Inputs above which comparing on every one takes long.
MOST_INPUTS = 1 << 21
# Gates above which nothing can be seen in a drawing.
MOST_DRAWN = 1500
GIBIBYTE = 1 << 30


def circuit_command(
    layers: Annotated[int, typer.Option(min=1, help="Layers of the network.")] = 1,
    n: Annotated[int, typer.Option(min=1, help="States, stored patterns, or numbers.")] = 8,
    states: Annotated[int | None, typer.Option(min=1, help="States, if not as many as --n.")] = None,
    d: Annotated[int, typer.Option(min=1, help="Length of a pattern.")] = 2,
    bits: Annotated[int, typer.Option(min=2, help="p, or the width of integers.")] = 6,
    least: Annotated[int | None, typer.Option(help="Least exponent; by default 1 - p - 20.")] = None,
    greatest: Annotated[int | None, typer.Option(help="Largest exponent; by default 31 more.")] = None,
    function: Annotated[str, typer.Option(help="network, or one of its parts.")] = "network",
    cases: Annotated[int, typer.Option(min=1, help="Inputs on which it is compared.")] = 64,
    seed: Annotated[int, typer.Option(help="Seed of the inputs.")] = 0,
    memory: Annotated[float, typer.Option(min=0, help="Most memory for the circuit, in GiB.")] = 2.0,
    every: Annotated[bool, typer.Option("--every", help="Compare on every input there is.")] = False,
    predict: Annotated[bool, typer.Option("--predict", help="Print depth and size only.")] = False,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Depth and size for n from 2 to --n, and for p from 3 to --bits.")
    ] = False,
    draw: Annotated[Path | None, typer.Option(help="Draw it: a .dot, .svg, .png or .pdf file.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write it to an .npz file.")] = None,
) -> None:
    """Compile a threshold circuit, print depth, size and gates by kind, and check it against F_p.

    The circuit must return, bit for bit, what the evaluation in F_p returns (clause MHN-CIR-5). Depth and
    size are found without building it, and a circuit that would not fit into memory is refused with its size.
    Exit status: 0 if all outputs agree, 1 if not, 2 if the circuit is refused.
    """
    console = wide_console()
    try:
        if function not in FUNCTIONS:
            raise ValueError(f"--function must be one of {', '.join(FUNCTIONS)}, got {function!r}")
        lowest = least_exponent(bits) if least is None else least
        highest = lowest + EXPONENTS - 1 if greatest is None else greatest
        sizes = sizes_of(function, layers=layers, n=n, d=d, bits=bits, least=lowest, greatest=highest)
        if states is not None and "states" in sizes:
            sizes["states"] = states
        if sweep:
            print_sweep(console, function, layers=layers, n=n, d=d, bits=bits)
            return
        block = FUNCTIONS[function].block(sizes)
        predicted = measure(block)
        _print_sizes(console, function, sizes, block, predicted)
        if predict:
            return
        if draw is not None and predicted.gates > MOST_DRAWN:
            raise ValueError(f"--draw takes circuits of at most {MOST_DRAWN} gates, got {predicted.gates:,}")
        begun = time.process_time()
        circuit = build(block, most_bytes=int(memory * GIBIBYTE))
    except (ValueError, TypeError, TooLargeError) as error:
        raise refusal(error) from None
    console.print(f"built in {time.process_time() - begun:.1f} s of processor time", highlight=False)
    _confirm(console, circuit, predicted)
    if save is not None:
        circuit.save(save)
        console.print(f"written to {save}", highlight=False)
    if draw is not None:
        from hopspec.properties.circuit_drawing import draw_circuit  # noqa: PLC0415  (loads matplotlib)

        draw_circuit(circuit, draw)
        console.print(f"drawn in {draw}", highlight=False)
    agrees = _agrees_everywhere if every else partial(_agrees, cases=cases, seed=seed)
    if not agrees(console, circuit, function, sizes):
        raise typer.Exit(1)


def _print_sizes(
    console: Console, function: str, sizes: Mapping[str, int], block: Block, predicted: Measure
) -> None:
    console.print(f"{function}: " + ", ".join(f"{k} = {v}" for k, v in sizes.items()), highlight=False)
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    rows = [
        ("depth", predicted.depth),
        ("gates", predicted.gates),
        *((f"  {kind.name}", predicted.kinds[kind]) for kind in Kind),
        ("wires", predicted.wires),
        ("inputs", block.inputs),
        ("outputs", block.outputs),
        ("largest weight", predicted.largest_weight),
        ("largest fan-in", predicted.largest_fan_in),
        ("bytes to build it", predicted.bytes),
    ]
    for name, value in rows:
        table.add_row(name, f"{value:,}")
    console.print(table, highlight=False)


def _confirm(console: Console, circuit: Circuit, predicted: Measure) -> None:
    """Count the built circuit again."""
    counted = (circuit.depth(), circuit.size, circuit.wires(), circuit.count())
    same = counted == (predicted.depth, predicted.gates, predicted.wires, dict(predicted.kinds))
    console.print(
        f"counted gate by gate: {'the same' if same else f'NOT the same, {counted}'}", highlight=False
    )
    if not same:
        raise typer.Exit(1)


def _agrees_everywhere(console: Console, circuit: Circuit, function: str, sizes: Mapping[str, int]) -> bool:
    """Compare the circuit with the evaluation in F_p on every input there is."""
    family = FUNCTIONS[function]
    number, pieces = family.every(sizes)
    if number > MOST_INPUTS:
        raise refusal(f"--every takes at most {MOST_INPUTS:,} inputs, got {number:,}")
    seen = wrong = 0
    for inputs in pieces:
        seen += len(inputs)
        wrong += int((circuit.evaluate(inputs) != family.expected(sizes, inputs)).any(axis=1).sum())
    console.print(
        f"[red]{wrong:,} of all {seen:,} outputs differ from the evaluation in F_p[/]"
        if wrong
        else f"the outputs on all {seen:,} inputs are those of the reference bit for bit",
        highlight=False,
    )
    return not wrong


def _agrees(
    console: Console, circuit: Circuit, function: str, sizes: Mapping[str, int], cases: int, seed: int
) -> bool:
    """Compare the circuit with the evaluation in F_p on drawn inputs."""
    family = FUNCTIONS[function]
    inputs = family.draw(sizes, np.random.default_rng(seed), cases)
    begun = time.process_time()
    outputs = circuit.evaluate(inputs)
    spent = time.process_time() - begun
    expected = family.expected(sizes, inputs)
    wrong = np.flatnonzero((outputs != expected).any(axis=1))
    rate = circuit.size * cases / max(spent, 1e-9) / 1e6
    console.print(
        f"evaluated on {cases} inputs at once in {spent:.2f} s of processor time, {rate:.0f} million gates/s",
        highlight=False,
    )
    different = len(np.unique(expected, axis=0))
    if len(wrong):
        console.print(
            f"[red]{len(wrong)} of {cases} outputs differ from the evaluation in F_p[/]", highlight=False
        )
        console.print(f"first on the bits {inputs[wrong[0]].tolist()}", highlight=False)
        return False
    console.print(
        f"all {cases} outputs, {different} of them different, are those of the reference bit for bit",
        highlight=False,
    )
    return True
