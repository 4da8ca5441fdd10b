"""Python that makes a failing call of an attention kernel, and the exact one."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.properties.forms import ATTENTION_PREFIX
from hopspec.properties.results import Failure

__all__ = ["attention_reproduction"]

NAMES = {"query": "q", "memory": "k", "values": "v"}


def attention_reproduction(failure: Failure, quantity: str, dtype: str, target: str, device: str) -> str:
    """Python that makes the failing call and the exact one, every number exact.

    Args:
        failure: what failed.
        quantity: ``"log_normalizer"``, or anything else for the result.
        dtype: name of the dtype it failed in.
        target: as it was named to the run; with ``attention:`` in front the function is called directly.
        device: device of the inputs.
    """
    direct = target.startswith(ATTENTION_PREFIX)
    arrays = _arguments(failure)
    lead = "[None, None]" if arrays["query"].ndim == 2 else "[None]"
    lines = [f"put = dict(dtype=torch.{dtype}, device={device!r})"]
    for name, array in arrays.items():
        rows = re.sub(r"\b(nan|inf)\b", r"float('\1')", repr(array.tolist()))
        kind = f"device={device!r})" if name == "keep" else "dtype=torch.float64).to(**put)"
        lines.append(f"{NAMES.get(name, name)} = torch.tensor({rows}, {kind}{lead if direct else ''}")
    p = failure.problem
    q, k, v = (NAMES[name] for name in ("query", "memory", "values" if "values" in arrays else "memory"))
    mask = next((name for name in ("bias", "keep") if name in arrays), "")
    exact = f"scale={p.beta!r}" + (f", {mask}={mask}" if mask else "")
    exact += f", causal={p.causal!r}" if p.causal else ""
    logs = quantity == "log_normalizer"
    if direct:
        module, _, path = target.removeprefix(ATTENTION_PREFIX).partition(":")
        start = ["import torch, hopspec.reference", f"from {module} import {path.split('.')[0]}"]
        options = f"scale={p.beta!r}" + (f", attn_mask={mask}" if mask else "")
        options += ", is_causal=True" if p.causal else ""
        call = f"{path}({q}, {k}, {v}, {options})"
    else:
        start = ["import torch, hopspec.reference", "from hopspec.properties.session import resolve"]
        options = f"beta={p.beta!r}" + (f", {mask}={mask}" if mask else "")
        options += ", causal=True" if p.causal else ""
        options += ", values=v" if v == "v" and not logs else ""
        call = f"resolve({target!r}).{quantity if logs else 'attention'}({q}, {k}, {options})"
    name = "attention_log_normalizer" if logs else "attention"
    given = f"{q}, {k}" if logs else f"{q}, {k}, {v}"
    return "\n".join([*start, *lines, f"print({call})", f"print(hopspec.reference.{name}({given}, {exact}))"])


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
