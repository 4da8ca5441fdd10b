"""Networks of modern Hopfield layers over F_p and over the real numbers (clauses MHN-NET)."""

from hopspec.reference.networks.evaluation import evaluate, evaluate_arrays, evaluate_exactly, format_for
from hopspec.reference.networks.layers import (
    Dense,
    Hopfield,
    LayerNorm,
    Network,
    kernel_layer,
    random_network,
)
from hopspec.reference.networks.retrieval import (
    Separation,
    retrieval_bits,
    retrieve_bits,
    separation,
    smallest_bits,
)
from hopspec.reference.networks.truncation import pbit_bound

__all__ = [
    "Dense",
    "Hopfield",
    "LayerNorm",
    "Network",
    "Separation",
    "evaluate",
    "evaluate_arrays",
    "evaluate_exactly",
    "format_for",
    "kernel_layer",
    "pbit_bound",
    "random_network",
    "retrieval_bits",
    "retrieve_bits",
    "separation",
    "smallest_bits",
]
