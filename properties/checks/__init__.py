"""The properties, each bound to the clause it decides. Importing this package registers all of them."""

from hopspec.properties.checks import (
    batches,
    bounds,
    certificates,
    contracts,
    edges,
    energy,
    evaluation,
    fixed_points,
    laws,
    masks,
    merging,
    precision,
    prepared,
    settling,
    shapes,
)
from hopspec.properties.checks.registry import CHECKS, Check, check

__all__ = [
    "CHECKS",
    "Check",
    "batches",
    "bounds",
    "certificates",
    "check",
    "contracts",
    "edges",
    "energy",
    "evaluation",
    "fixed_points",
    "laws",
    "masks",
    "merging",
    "precision",
    "prepared",
    "settling",
    "shapes",
]
