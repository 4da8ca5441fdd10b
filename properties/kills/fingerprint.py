"""Which code a recorded result belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

__all__ = ["code_of", "fault_code"]

# What decides a verdict: the specification's types, the reference, the properties; of the faults, the kernels
# they change. What displays, compares or packs results decides nothing.
DECIDES = ("hopspec", "hopspec.reference", "hopspec.properties", "hopspec.properties.checks")
KERNELS = ("hopspec.properties.faults.kernel", "hopspec.properties.faults.registry")


def _folder(package: str) -> Path:
    found = find_spec(package)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def _file(module: str) -> Path:
    found = find_spec(module)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin)


def _digest(paths: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        whole.update(path.name.encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:16]


@lru_cache(maxsize=1)
def code_of() -> str:
    """Fingerprint of everything that decides a verdict on a given implementation."""
    files = [path for package in DECIDES for path in sorted(_folder(package).glob("*.py"))]
    return _digest([*files, *(_file(module) for module in KERNELS)])


@lru_cache(maxsize=256)
def fault_code(module: str) -> str:
    """The same of a fault defined in ``module``."""
    return f"{code_of()}-{_digest([_file(module)])}"
