"""``hopspec implementations``: the names that ``hopspec verify`` knows."""

from __future__ import annotations

import importlib.util

from rich.console import Console
from rich.table import Table

from hopspec.properties.adapters.registry import THIRD_PARTIES, missing, versions
from hopspec.properties.builtin import BUILTIN
from hopspec.properties.plugin.registration import installed

__all__ = ["show_implementations"]

# What is not a third party, in a line each.
OWN = {
    "fastpath": "this package's fast path",
    "fastpath-merged": "the same, few queries on a divided memory",
    "fastpath-batch-invariant": "the same with bits that do not depend on the batch",
    "reference": "the exact reference, rounded once",
    "torch-sdpa": "scaled_dot_product_attention of PyTorch, whichever kernel it chooses",
    "torch-eager": "two matrix products around torch.softmax",
    "torch-tree": "the same by sums in pairs, pairs of pairs and so on",
    "pbit-reference": "arithmetic in F_p on Python integers",
    "pbit-arrays": "the same on NumPy arrays",
}


def show_implementations(console: Console) -> None:
    """Print name, what it is, and whether it is installed or which extra installs it."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("name", "what", "installed"):
        table.add_column(heading, no_wrap=heading == "name", overflow="fold")
    torch = "yes" if importlib.util.find_spec("torch") is not None else "needs hopspec\\[fast]"
    third = {t.name: t for t in THIRD_PARTIES}
    for name in BUILTIN:
        if name in third:
            lacking = missing(third[name])
            there = f"needs hopspec\\[{third[name].extra}]" if lacking else _installed(versions(third[name]))
            table.add_row(name, third[name].what, there)
        else:
            table.add_row(name, OWN.get(name, BUILTIN[name]), "yes" if name == "reference" else torch)
    for other in installed().values():
        table.add_row(other.name, other.target, other.distribution)
    console.print(table, highlight=False)


def _installed(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())
