"""Deliberately wrong implementations."""

FAULTS: dict[str, object] = {}
