"""Exact semantics of modern Hopfield networks.

``update``, ``association``, ``log_normalizer``, ``lse`` and ``energy`` are correctly rounded to any binary
format, and so are ``jacobian`` and ``gradients``; ``trajectory`` and ``settle`` round after every step, and
``solve`` encloses everything a verdict needs. ``certify``, ``fixed_point`` and ``enclosed_trajectory``
prove where the exact iteration leads. The definitions they obey are in
:mod:`hopspec.reference.definitions`. PyTorch is not needed, and inputs are taken exactly. ``solve_large``
is ``solve`` for the sizes kernels run at, in seconds. :mod:`hopspec.reference.hardness` draws instances of
problems that no network of constant depth is expected to solve, and :mod:`hopspec.reference.thought` solves
one of them by chain of thought.
"""

from hopspec.reference import definitions, hardness, networks, pbit, thought
from hopspec.reference.attention_form import attention, attention_log_normalizer, causal_mask
from hopspec.reference.certificate import certify
from hopspec.reference.context import working_bits
from hopspec.reference.definitions import Gradients
from hopspec.reference.derivatives import gradients, jacobian
from hopspec.reference.enclosed_trajectory import enclosed_trajectory
from hopspec.reference.fixed_point import FixedPoint, fixed_point
from hopspec.reference.implicit import implicit_gradient
from hopspec.reference.iteration import settle, trajectory
from hopspec.reference.oracle import association, energy, log_normalizer, lse, update
from hopspec.reference.packing import Prepared, prepare
from hopspec.reference.production import solve_large
from hopspec.reference.rounding import round_ratio
from hopspec.reference.solution import Enclosed, Solution, solve
from hopspec.reference.target import Target
from hopspec.reference.truncated import rounded_update

__all__ = [
    "Enclosed",
    "FixedPoint",
    "Gradients",
    "Prepared",
    "Solution",
    "Target",
    "association",
    "attention",
    "attention_log_normalizer",
    "causal_mask",
    "certify",
    "definitions",
    "enclosed_trajectory",
    "energy",
    "fixed_point",
    "gradients",
    "hardness",
    "implicit_gradient",
    "jacobian",
    "log_normalizer",
    "lse",
    "networks",
    "pbit",
    "prepare",
    "round_ratio",
    "rounded_update",
    "settle",
    "solve",
    "solve_large",
    "thought",
    "trajectory",
    "update",
    "working_bits",
]
