"""Python that makes a failing call and the exact one, every number exact."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.clauses import load_clauses
from hopspec.properties.forms import ATTENTION_PREFIX
from hopspec.properties.results import Cell, Failure, Report
from hopspec.properties.trials import TRIALS

__all__ = ["Made", "announced", "reproduction", "snippet"]

REFERENCES = {
    "retrieve": ("update",),
    "log_normalizer": ("log_normalizer",),
    "energy": ("energy",),
    "association": ("association",),
    "evaluate": ("update", "log_normalizer", "energy"),
    "settle": ("settle",),
    "certify": ("certify",),
}
# What an attention kernel calls the arguments of retrieval.
NAMES = {"query": "q", "memory": "k", "values": "v"}
# Numbers of a problem up to which its snippet is shown.
READABLE = 64


@dataclass(frozen=True)
class Made:
    """How a snippet makes the arrays an implementation takes.

    Args:
        target: as it was named to the run.
        dtype: name of the dtype.
        device: device the tensors are put on.
        torch: whether they are PyTorch's; else the implementation makes them of NumPy's.
    """

    target: str
    dtype: str
    device: str = "cpu"
    torch: bool = True

    @property
    def put(self) -> str:
        """The line that tells the arrays' dtype, and where they are."""
        if self.torch:
            return f"put = dict(dtype=torch.{self.dtype}, device={self.device!r})"
        return f"put = resolve({self.target!r}).to_array"

    @property
    def beginning(self) -> list[str]:
        """The lines before the arrays, for a call by way of the implementation's descriptor."""
        library = "torch" if self.torch else "numpy as np"
        return [
            f"import {library}, hopspec.reference",
            "from hopspec.properties.session import resolve",
            self.put,
        ]

    def line(self, name: str, array: NDArray[Any]) -> str:
        """The line that makes an array; the ``repr`` of a float gives it back exactly."""
        rows = re.sub(r"\b(nan|inf)\b", r"float('\1')", repr(array.tolist()))
        logical = array.dtype == np.bool_
        if not self.torch:
            return f"{name} = put(np.array({rows}), {'bool' if logical else self.dtype!r})"
        if logical:
            return f"{name} = torch.tensor({rows}, device={self.device!r})"
        return f"{name} = torch.tensor({rows}, dtype=torch.float64).to(**put)"


def snippet(report: Report, cell: Cell, failure: Failure) -> str:
    """Python that shows a failure; "" where the inputs are too many to be read."""
    p = failure.problem
    if p.query.size + p.memory.size > READABLE:
        return ""
    name = cell.implementation
    torch = "torch" in report.environments[name]
    made = Made(report.targets[name], cell.dtype, report.settings["device"], torch)
    return reproduction(cell, failure, made)


def announced(cell: Cell) -> str:
    """What a snippet does: it makes the failing call, or one of those that a property compares."""
    direct = cell.check in TRIALS or load_clauses()[cell.clause].kind == "BOUND"
    return "to reproduce:" if direct else "the inputs, and a call with them:"


def reproduction(cell: Cell, failure: Failure, made: Made) -> str:
    """Python that makes the call of a failing problem and the exact one, every number exact."""
    p = failure.problem
    if failure.check in TRIALS:
        call = f"repeat({made.target!r}, {failure.check!r}, seed={p.seed}, number={p.steps})"
        return f"from hopspec.properties.trials import repeat\nprint({call})"
    wanted = load_clauses()[cell.clause].quantities
    if "attention" in wanted or made.target.startswith(ATTENTION_PREFIX):
        return _attention(failure, wanted[0] if wanted else "", made)
    quantity = next((q for q in wanted if q in REFERENCES), "retrieve")
    lines = [*made.beginning, made.line("query", p.query), made.line("memory", p.memory)]
    extra = f"beta={p.beta!r}"
    if p.keep is not None:
        lines.append(made.line("keep", p.keep))
        extra += ", keep=keep"
    if quantity == "settle":
        extra += f", eps={p.eps!r}, max_steps={p.max_steps}"
    reading = ""
    if p.values is not None:
        lines.append(made.line("values", p.values))
        reading = ", values=values"
    lines.append(f"print(resolve({made.target!r}).{quantity}(query, memory, {extra}{reading}))")
    for name in REFERENCES[quantity]:
        taken = reading if name == "update" else ""
        lines.append(f"print(hopspec.reference.{name}(query, memory, {extra}{taken}))")
    return "\n".join(lines)


def _attention(failure: Failure, quantity: str, made: Made) -> str:
    """The same of an attention kernel.

    Args:
        failure: what failed.
        quantity: ``"log_normalizer"``, or anything else for the result.
        made: how arrays are made; a target with ``attention:`` in front is called directly.
    """
    direct = made.target.startswith(ATTENTION_PREFIX)
    arrays = _arguments(failure)
    lead = ("[None, None]" if arrays["query"].ndim == 2 else "[None]") if direct else ""
    lines = [made.line(NAMES.get(name, name), array) + lead for name, array in arrays.items()]
    p = failure.problem
    q, k, v = (NAMES[name] for name in ("query", "memory", "values" if "values" in arrays else "memory"))
    mask = next((name for name in ("bias", "keep") if name in arrays), "")
    exact = f"scale={p.beta!r}" + (f", {mask}={mask}" if mask else "")
    exact += f", causal={p.causal!r}" if p.causal else ""
    logs = quantity == "log_normalizer"
    if direct:
        module, _, path = made.target.removeprefix(ATTENTION_PREFIX).partition(":")
        lines = [
            "import torch, hopspec.reference",
            f"from {module} import {path.split('.')[0]}",
            made.put,
            *lines,
        ]
        options = f"scale={p.beta!r}" + (f", attn_mask={mask}" if mask else "")
        options += ", is_causal=True" if p.causal else ""
        call = f"{path}({q}, {k}, {v}, {options})"
    else:
        lines = [*made.beginning, *lines]
        options = f"beta={p.beta!r}" + (f", {mask}={mask}" if mask else "")
        options += ", causal=True" if p.causal else ""
        options += ", values=v" if v == "v" and not logs else ""
        call = f"resolve({made.target!r}).{quantity if logs else 'attention'}({q}, {k}, {options})"
    name = "attention_log_normalizer" if logs else "attention"
    given = f"{q}, {k}" if logs else f"{q}, {k}, {v}"
    return "\n".join([*lines, f"print({call})", f"print(hopspec.reference.{name}({given}, {exact}))"])


def _arguments(failure: Failure) -> dict[str, NDArray[Any]]:
    """The arrays of the failing call, a mask with a row for each query."""
    p = failure.problem
    arrays: dict[str, NDArray[Any]] = {"query": p.query, "memory": p.memory}
    if p.values is not None:
        arrays["values"] = p.values
    if p.bias is not None:
        arrays["bias"] = p.bias if p.keep is None else np.where(p.keep, p.bias, -np.inf)
    elif p.keep is not None:
        arrays["keep"] = np.broadcast_to(p.keep, (len(p.query), len(p.memory)))
    return arrays | (failure.arrays or {})
