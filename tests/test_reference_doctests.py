"""Every example in the documentation of the reference runs."""

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import hopspec.reference

MODULES = sorted(module.name for module in pkgutil.iter_modules(hopspec.reference.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    module = importlib.import_module(f"hopspec.reference.{name}")
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_public_names_exist_and_are_documented() -> None:
    for name in hopspec.reference.__all__:
        assert getattr(hopspec.reference, name).__doc__, name


def test_works_without_torch_and_leaves_the_global_context_alone() -> None:
    program = """
import sys
sys.modules["torch"] = None
import mpmath
before = (mpmath.mp.prec, mpmath.iv.prec)
import hopspec.reference as reference
assert reference.update([1.0], [[1.0], [-1.0]], beta=1.0) == [0.7615941559557649]
reference.definitions.update([1.0], [[1.0]], beta=1.0, bits=999)
reference.energy([1.0], [[1.0], [2.0]], beta=1.0, to=500)
assert (mpmath.mp.prec, mpmath.iv.prec) == before
assert not any(name.startswith(("torch.", "hopspec.fastpath", "hopspec.properties")) for name in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
