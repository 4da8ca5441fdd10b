"""Exact semantics of modern Hopfield networks.

``update``, ``association``, ``log_normalizer``, ``lse`` and ``energy`` are correctly rounded to any binary
format, ``trajectory`` and ``settle`` round after every step, and ``solve`` encloses everything a verdict
needs. The definitions they obey are in :mod:`hopspec.reference.definitions`. PyTorch is not needed, and
inputs are taken exactly.
"""

from hopspec.reference import definitions
from hopspec.reference.context import working_bits
from hopspec.reference.iteration import settle, trajectory
from hopspec.reference.oracle import association, energy, log_normalizer, lse, update
from hopspec.reference.rounding import round_ratio
from hopspec.reference.solution import Enclosed, Solution, solve
from hopspec.reference.target import Target
from hopspec.reference.truncated import rounded_update

__all__ = [
    "Enclosed",
    "Solution",
    "Target",
    "association",
    "definitions",
    "energy",
    "log_normalizer",
    "lse",
    "round_ratio",
    "rounded_update",
    "settle",
    "solve",
    "trajectory",
    "update",
    "working_bits",
]
