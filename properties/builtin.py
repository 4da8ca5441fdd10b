"""Implementations that come with hopspec, by import path so that none is imported before it is asked for."""

from __future__ import annotations

from hopspec.properties.adapters.registry import THIRD_PARTIES

__all__ = ["BUILTIN", "FAULT_PREFIX"]

BUILTIN: dict[str, str] = {
    "fastpath": "hopspec.fastpath.descriptor:DESCRIPTOR",
    "fastpath-merged": "hopspec.fastpath.descriptor:MERGED",
    "fastpath-batch-invariant": "hopspec.fastpath.descriptor:BATCH_INVARIANT",
    "fastpath-cuda": "hopspec.fastpath.triton.descriptor:CUDA",
    "triton": "hopspec.fastpath.triton.descriptor:TRITON",
    "triton-interpreted": "hopspec.fastpath.triton.interpreted:INTERPRETED",
    "reference": "hopspec.properties.peers:REFERENCE",
    "torch-sdpa": "hopspec.properties.peers:TORCH_SDPA",
    "torch-eager": "hopspec.properties.peers:TORCH_EAGER",
    "torch-tree": "hopspec.properties.peers:TORCH_TREE",
    "circuits": "hopspec.reference.circuits.compiler:CIRCUITS",
    "pbit-reference": "hopspec.properties.pbit_peers:REFERENCE",
    "chain-of-thought": "hopspec.reference.thought.construction:CHAIN",
    "pbit-arrays": "hopspec.properties.pbit_peers:ARRAYS",
} | {third.name: third.path for third in THIRD_PARTIES}
FAULT_PREFIX = "fault:"
