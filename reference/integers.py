"""Long integers: gmpy2's where it is installed, Python's own otherwise. Either way the values are the same.

gmpy2 multiplies long integers several times faster, but a call costs more: below :data:`LONG` bits Python's
integers win. Nothing outside this package sees gmpy2's type: results are converted back.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

__all__ = ["BACKEND", "LONG", "long_integer"]

LONG = 256
"""From this many bits on :data:`long_integer` is the faster type (measured)."""


def _load() -> Any:
    # The switch is mpmath's own, so that it turns off both at once.
    if "MPMATH_NOGMPY" in os.environ:
        return None
    try:
        return importlib.import_module("gmpy2")
    except ImportError:
        return None


_gmpy2 = _load()

BACKEND = "python" if _gmpy2 is None else "gmpy2"
"""``"gmpy2"``, or ``"python"`` where it is missing or the environment variable ``MPMATH_NOGMPY`` is set."""

long_integer: Any = int if _gmpy2 is None else _gmpy2.mpz
"""The type for integers of at least :data:`LONG` bits."""
