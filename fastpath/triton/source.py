"""The kernels of :mod:`hopspec.fastpath.triton.kernels`, compiled or interpreted."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["SOURCE", "available", "compiled", "interpreted", "load_interpreted"]

SOURCE = Path(__file__).with_name("kernels.py")


@cache
def available() -> bool:
    """Whether Triton is installed.

    >>> available() in (True, False)
    True
    """
    return importlib.util.find_spec("triton") is not None


@cache
def compiled() -> ModuleType:
    """The kernels, each compiled for the GPU when it is first started there.

    Raises:
        ImportError: if Triton is not installed.
        RuntimeError: if ``TRITON_INTERPRET`` is set, under which Triton compiles nothing.
    """
    if _knobs().interpret:
        raise RuntimeError("TRITON_INTERPRET is set: Triton would interpret the kernels, expected it unset")
    return importlib.import_module("hopspec.fastpath.triton.kernels")


@cache
def interpreted() -> ModuleType:
    """The same kernels as run by Triton's interpreter, on tensors of the CPU.

    Raises:
        ImportError: if Triton is not installed.
    """
    return load_interpreted(SOURCE)


def load_interpreted(path: Path) -> ModuleType:
    """The module at ``path``, with every function that Triton decorates in it interpreted.

    Triton looks at ``TRITON_INTERPRET`` where a function is decorated, so that one process can hold both
    forms.

    Args:
        path: a file, which must stay: the interpreter reads the source of a function when it is first called.

    Raises:
        ImportError: if Triton is not installed.
    """
    knobs = _knobs()
    name = f"{__name__.rpartition('.')[0]}._interpreted_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = knobs.interpret
    knobs.interpret = True
    try:
        spec.loader.exec_module(module)
    finally:
        knobs.interpret = before
    return module


def _knobs() -> Any:
    return importlib.import_module("triton").knobs.runtime
