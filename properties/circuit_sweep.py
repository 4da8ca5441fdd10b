"""Depth and size of circuits for many sizes, and the exponents with which the size grows."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table

from hopspec.reference.circuits import Measure, measure
from hopspec.reference.circuits.functions import FUNCTIONS

__all__ = ["EXPONENTS", "growth", "least_exponent", "print_sweep", "sizes_of"]

EXPONENTS = 32
"""Exponents of the sets F_p where nothing else is said."""


def least_exponent(bits: int) -> int:
    """The least exponent where nothing else is said: numbers from 2**-20 to 2**12 are in the set."""
    return 1 - bits - 20


def sizes_of(
    function: str, *, layers: int, n: int, d: int, bits: int, least: int, greatest: int
) -> dict[str, int]:
    """The sizes of a function, from what the command line calls them.

    >>> sizes_of("iterated-sum", layers=1, n=8, d=2, bits=6, least=0, greatest=0)
    {'numbers': 8, 'width': 6}
    """
    known = {
        "layers": layers,
        **dict.fromkeys(("states", "stored", "numbers", "terms", "hidden"), n),
        "d": d,
        "width": 2 * bits if function == "rounding" else bits,
        "bits": bits,
        "least": least,
        "greatest": greatest,
    }
    return {name: known[name] for name in FUNCTIONS[function].sizes}


def growth(sizes: list[int], counts: list[int]) -> float:
    """The exponent of the power of ``sizes`` that fits ``counts`` best, by least squares of logarithms.

    >>> round(growth([2, 4, 8], [12, 48, 192]), 3)
    2.0
    """
    return float(np.polyfit(np.log(sizes), np.log(counts), 1)[0])


def print_sweep(console: Console, function: str, *, layers: int, n: int, d: int, bits: int) -> None:
    """Print depth and size for n = 2, 4, 8 and so on at the given p, and for p = 3, 4 and so on at n = 8."""

    def measured(numbers: int, width: int) -> Measure:
        low = least_exponent(width)
        family = FUNCTIONS[function]
        return measure(
            family.block(
                sizes_of(
                    function,
                    layers=layers,
                    n=numbers,
                    d=d,
                    bits=width,
                    least=low,
                    greatest=low + EXPONENTS - 1,
                )
            )
        )

    by_n = [2**k for k in range(1, n.bit_length()) if 2**k <= n]
    by_bits = list(range(3, bits + 1))
    for title, swept, found in (
        (f"{function}, {layers} layers, d = {d}, p = {bits}: n", by_n, [measured(k, bits) for k in by_n]),
        (f"{function}, {layers} layers, d = {d}, n = 8: p", by_bits, [measured(8, p) for p in by_bits]),
    ):
        table = Table(title=title)
        for name in ("", "depth", "gates", "wires", "largest weight"):
            table.add_column(name, justify="right")
        for size, one in zip(swept, found, strict=True):
            table.add_row(*(f"{x:,}" for x in (size, one.depth, one.gates, one.wires, one.largest_weight)))
        console.print(table, highlight=False)
        if len(swept) >= 3:
            last = slice(-3, None)
            powers = [growth(swept[last], [getattr(m, k) for m in found[last]]) for k in ("gates", "wires")]
            console.print(
                f"the last three grow like powers {powers[0]:.2f} (gates) and {powers[1]:.2f} (wires)",
                highlight=False,
            )
