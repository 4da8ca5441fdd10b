"""Kernels with one fault each, as targets: ``tests.triton_faults.planted:NAME``."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from hopspec.fastpath.triton.interpreted import engine_of, implementation
from hopspec.fastpath.triton.launch import Engine
from hopspec.fastpath.triton.source import SOURCE, load_interpreted

from .catalogue import FAULTS, edited

__all__ = ["engine"]


@cache
def _folder() -> Path:
    # The interpreter reads a function's source when it is first called, so the files stay until the end.
    folder = Path(tempfile.mkdtemp(prefix="hopspec-faults-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def engine(name: str) -> Engine:
    """What runs the kernels with this fault."""
    path = _folder() / f"{name}.py"
    path.write_text(edited(SOURCE.read_text(encoding="utf-8"), FAULTS[name]), encoding="utf-8")
    return engine_of(load_interpreted(path))


def __getattr__(name: str) -> Any:
    if name not in FAULTS:
        raise AttributeError(f"no fault is called {name!r}")
    return implementation(name, lambda: engine(name))
