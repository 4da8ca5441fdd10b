"""The fast path: retrieval, energy and fixed points through PyTorch's own kernels."""

from hopspec.fastpath._certify import certify as certify
from hopspec.fastpath._energy import energy as energy
from hopspec.fastpath._energy import log_normalizer as log_normalizer
from hopspec.fastpath._evaluate import evaluate as evaluate
from hopspec.fastpath._retrieve import association as association
from hopspec.fastpath._retrieve import retrieve as retrieve
from hopspec.fastpath._settle import settle as settle
from hopspec.fastpath.descriptor import DESCRIPTOR as DESCRIPTOR
from hopspec.fastpath.memory import Memory as Memory

__all__ = [
    "DESCRIPTOR",
    "Memory",
    "association",
    "certify",
    "energy",
    "evaluate",
    "log_normalizer",
    "retrieve",
    "settle",
]
