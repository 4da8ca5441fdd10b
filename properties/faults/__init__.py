"""Deliberately wrong implementations."""

from hopspec.properties.faults.kernel import Kernel

FAULTS: dict[str, object] = {}
RIGHT = Kernel().implementation("right-kernel")
