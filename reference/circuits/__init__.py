"""Threshold circuits that compute in F_p what the reference computes (clauses MHN-CIR)."""

from hopspec.reference.circuits.blocks import Block, Copies, Gate, Gates, Kind, Wire
from hopspec.reference.circuits.flat import Circuit, TooLargeError, build, load
from hopspec.reference.circuits.measuring import Measure, measure

__all__ = [
    "Block",
    "Circuit",
    "Copies",
    "Gate",
    "Gates",
    "Kind",
    "Measure",
    "TooLargeError",
    "Wire",
    "build",
    "load",
    "measure",
]
