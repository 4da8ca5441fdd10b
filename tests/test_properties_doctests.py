"""Examples in the docstrings of the properties run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from importlib.util import find_spec
from pathlib import Path

import pytest

import hopspec.properties


def _has_examples(name: str) -> bool:
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return ">>> " in Path(spec.origin).read_text(encoding="utf-8")


# By their sources, for adapters need what they adapt.
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(hopspec.properties.__path__, "hopspec.properties.")
    if _has_examples(module.name)
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
