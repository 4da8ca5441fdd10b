"""Drawings of small circuits: depth from left to right, one color for each kind of gate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hopspec.reference.circuits import Circuit, Kind

__all__ = ["draw_circuit", "to_dot"]

_COLORS = {Kind.NOT: "#b2456e", Kind.AND: "#3b6fb6", Kind.OR: "#3f8f5b", Kind.THRESHOLD: "#c98a1b"}
_INPUT = "#555555"


def to_dot(circuit: Circuit) -> str:
    """The circuit in the DOT language of Graphviz; weights other than 1 are written at the connections.

    >>> from hopspec.reference.circuits import build
    >>> from hopspec.reference.circuits.integers import leading_one
    >>> print(to_dot(build(leading_one(1))))
    digraph circuit {
      rankdir=LR;
      w1 [label="x0", shape=plaintext];
      w2 [label=">= 1"];
      w1 -> w2;
      w2 -> out0;
      out0 [label="y0", shape=plaintext];
    }
    """
    lines = ["digraph circuit {", "  rankdir=LR;"]
    lines += [f'  w{1 + i} [label="x{i}", shape=plaintext];' for i in range(circuit.inputs)]
    edges = []
    for number in range(circuit.size):
        kind, threshold, connections = circuit.gate(number)
        code = 1 + circuit.inputs + number
        label = kind.name if kind != Kind.THRESHOLD else f">= {threshold}"
        lines.append(f'  w{code} [label="{label}"];')
        for source, weight in connections:
            shown = "" if weight == 1 or kind != Kind.THRESHOLD else f' [label="{weight}"]'
            edges.append(f"  w{source} -> w{code}{shown};")
    if any(edge.startswith("  w0 ") for edge in edges):
        lines.insert(2, '  w0 [label="0", shape=plaintext];')
    lines += edges
    for place, code in enumerate(circuit.outputs.tolist()):
        lines += [f"  w{code} -> out{place};", f'  out{place} [label="y{place}", shape=plaintext];']
    return "\n".join([*lines, "}"])


def draw_circuit(circuit: Circuit, path: Path) -> None:
    """Draw a circuit into a file.

    Args:
        circuit: a small one.
        path: ends in ``.dot`` for Graphviz' language, or in what matplotlib writes, like ``.svg``.
    """
    if path.suffix == ".dot":
        path.write_text(to_dot(circuit) + "\n")
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  (slow to load)
    from matplotlib.collections import LineCollection  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    places = _places(circuit)
    depth, most = places.max(axis=0)
    figure = Figure(figsize=(1.5 + 1.1 * depth, min(16.0, max(3.0, 0.16 * most))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    target = np.repeat(np.arange(len(circuit.step)), np.diff(circuit.start))
    # A row is drawn at its first gate: those that share it see the same sum.
    first = np.full(len(circuit.step), -1)
    first[circuit.row[::-1]] = 1 + circuit.inputs + np.arange(circuit.size)[::-1]
    there = (circuit.weight != 0) & (circuit.wire != 0)
    lines = np.stack([places[circuit.wire[there]], places[first[target[there]]]], axis=1)
    colors = np.where(circuit.weight[there] < 0, "#c05050", "#9a9a9a")
    axes.add_collection(LineCollection(list(lines), colors=list(colors), linewidths=0.4, zorder=1))
    inputs = places[1 : 1 + circuit.inputs]
    axes.scatter(inputs[:, 0], inputs[:, 1], s=14, color=_INPUT, label=f"{len(inputs)} inputs", zorder=2)
    for kind, color in _COLORS.items():
        mine = places[1 + circuit.inputs :][circuit.kind == kind]
        if len(mine):
            axes.scatter(
                mine[:, 0], mine[:, 1], s=14, color=color, label=f"{len(mine)} {kind.name}", zorder=2
            )
    outputs = places[circuit.outputs]
    axes.scatter(
        outputs[:, 0],
        outputs[:, 1],
        s=60,
        facecolors="none",
        edgecolors="black",
        label=f"{len(outputs)} outputs",
        zorder=3,
    )
    axes.set_xlabel("depth")
    axes.set_yticks([])
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside upper center", ncols=6, frameon=False, fontsize="small")
    figure.savefig(path)


def _places(circuit: Circuit) -> NDArray[np.float64]:
    """[wires, 2] Depth, and a height near that of what a gate is connected to; no two gates share a place."""
    depth = circuit.depths()
    height = np.zeros(len(depth))
    height[1 : 1 + circuit.inputs] = np.arange(circuit.inputs)
    most = float(max(np.bincount(depth).max(), circuit.inputs))
    for level in range(1, int(depth.max()) + 1):
        gates = np.flatnonzero(depth == level)
        wanted = []
        for code in gates:
            row = circuit.row[code - 1 - circuit.inputs]
            sources = circuit.wire[circuit.start[row] : circuit.start[row + 1]]
            wanted.append(height[sources].mean())
        order = gates[np.argsort(wanted, kind="stable")]
        height[order] = (np.arange(len(order)) + 0.5) * most / len(order)
    inputs = slice(1, 1 + circuit.inputs)
    height[inputs] = (np.arange(circuit.inputs) + 0.5) * most / max(1, circuit.inputs)
    return np.stack([depth.astype(float), height], axis=1)
