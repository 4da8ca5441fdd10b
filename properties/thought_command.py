"""``hopspec word``: the word problem of S5, solved by chain of thought in F_p."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hopspec.pbit import PBits
from hopspec.properties.reporting.terminal import refusal, wide_console
from hopspec.reference.hardness.words import Permutation, Word, uniform_word
from hopspec.reference.pbit import Arithmetic
from hopspec.reference.pbit.arrays import MOST_BITS
from hopspec.reference.thought import WordNetwork, least_bits, think
from hopspec.reference.thought.arrays import ArrayMachine
from hopspec.reference.thought.running import Machine, PlainMachine

__all__ = ["independent_product", "word_command"]


def word_command(
    length: Annotated[int, typer.Option(min=1, help="Letters of the word.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the letters, uniform among the 120.")] = 0,
    digits: Annotated[int, typer.Option(min=1, help="Digits of a position.")] = 1,
    bits: Annotated[
        int | None, typer.Option(min=2, help="p; by default the least that is enough for every word.")
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Number by number on Python integers; slow.")
    ] = False,
) -> None:
    """Multiply a random word of S5 by a network with written-down weights and a chain of thought, in F_p.

    One layer, run once for each letter on all it has read and written so far (clause MHN-COT-3). It runs on
    arrays of integers, bit for bit what the definition gives, where p is at most 29. The expected product is
    sympy's. Exit status: 0 if the network finds it, 1 if not, 2 if the run could not be done.
    """
    console = wide_console()
    try:
        network = WordNetwork(length, digits, least_bits(length, digits) if bits is None else bits)
        word = uniform_word(length, seed)
        machine = _machine(network, plain or network.bits > MOST_BITS)
    except ValueError as error:
        raise refusal(error) from None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} letters"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    begun, used = time.perf_counter(), time.process_time()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("thinking", total=length)
        thought = think(
            word,
            network=network,
            machine=machine,
            progress=lambda done: progress.update(task, completed=done),
        )
    seconds, used = time.perf_counter() - begun, time.process_time() - used
    expected = independent_product(word)
    right = thought.product == expected
    if thought.product is None:
        found = f"none: the output after letter {len(thought.answers) + 1} is no permutation matrix"
    else:
        found = _shown(thought.product)
    rows = {
        "word": f"{length:,} letters of S5, seed {seed}",
        "positions": f"{digits} digit{'s' * (digits > 1)} to the base {network.base:,}",
        "p": f"{network.bits} bits; {least_bits(length, digits)} are enough for every word of this length",
        "network": f"1 layer, width {51 + 2 * digits}, beta 2**{network.bits}, at most {2 * length:,} tokens",
        "found": found,
        "expected": f"{_shown(expected)}, by sympy",
        "time": f"{seconds:.1f} s, {used:.1f} s of them on the processor",
        "verdict": "[green]right[/]" if right else "[bold red]wrong[/]",
    }
    for name, text in rows.items():
        console.print(f"{name:10} {text}", highlight=False)
    raise typer.Exit(0 if right else 1)


def independent_product(word: Word) -> Permutation:
    """The product of the letters, by sympy, which acts from the left as well.

    >>> independent_product(((1, 0, 2, 3, 4), (0, 2, 1, 3, 4)))
    (2, 0, 1, 3, 4)
    """
    from sympy.combinatorics import Permutation as Sympy  # noqa: PLC0415  (takes long to import)

    product = Sympy(list(range(len(word[0]))))
    for letter in word:
        product = product * Sympy(list(letter))
    return tuple(product.array_form)


def _machine(network: WordNetwork, plain: bool) -> Machine:
    if plain:
        return PlainMachine(network, Arithmetic(PBits(network.bits)))
    return ArrayMachine(network, 2 * network.length)


def _shown(permutation: Permutation) -> str:
    return " ".join(map(str, permutation))
