"""Implementations that come with hopspec, by import path so that none is imported before it is asked for."""

from __future__ import annotations

__all__ = ["BUILTIN", "FAULT_PREFIX"]

BUILTIN: dict[str, str] = {
    "fastpath": "hopspec.fastpath.descriptor:DESCRIPTOR",
    "fastpath-merged": "hopspec.fastpath.descriptor:MERGED",
    "fastpath-batch-invariant": "hopspec.fastpath.descriptor:BATCH_INVARIANT",
    "reference": "hopspec.properties.peers:REFERENCE",
    "torch-sdpa": "hopspec.properties.peers:TORCH_SDPA",
    "torch-eager": "hopspec.properties.peers:TORCH_EAGER",
}
FAULT_PREFIX = "fault:"
