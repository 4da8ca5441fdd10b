"""Arithmetic in F_p, the p-bit floating-point numbers, on Python integers (clauses MHN-FPN)."""

from hopspec.pbit import PBit, PBits
from hopspec.reference.pbit.arithmetic import Arithmetic
from hopspec.reference.pbit.elements import elements
from hopspec.reference.pbit.published import PublishedArithmetic, QuarterArithmetic

__all__ = ["Arithmetic", "PBit", "PBits", "PublishedArithmetic", "QuarterArithmetic", "elements"]
