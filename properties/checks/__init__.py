"""The properties, each bound to the clause it decides. Importing this package registers all of them."""

from hopspec.properties.checks import (
    bounds,
    certificates,
    contracts,
    edges,
    energy,
    fixed_points,
    laws,
    masks,
    precision,
    settling,
    shapes,
)
from hopspec.properties.checks.registry import CHECKS, Check, check

__all__ = [
    "CHECKS",
    "Check",
    "bounds",
    "certificates",
    "check",
    "contracts",
    "edges",
    "energy",
    "fixed_points",
    "laws",
    "masks",
    "precision",
    "settling",
    "shapes",
]
