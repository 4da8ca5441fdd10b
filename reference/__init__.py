"""Exact semantics of modern Hopfield networks."""

from hopspec.reference.solution import Enclosed, Solution, solve

__all__ = ["Enclosed", "Solution", "solve"]
