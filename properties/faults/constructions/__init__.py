"""Deliberately wrong constructions, each one small edit of a right one."""

from hopspec.properties.faults.constructions import circuits, networks, numbers, words
from hopspec.properties.faults.constructions.registry import CONSTRUCTION_FAULTS, ConstructionFault, misbuild

__all__ = ["CONSTRUCTION_FAULTS", "ConstructionFault", "circuits", "misbuild", "networks", "numbers", "words"]
