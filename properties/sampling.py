"""What a run keeps of a case besides its verdict, for the figures of a report."""

from __future__ import annotations

import math
from collections.abc import Callable

from hopspec.properties.judgement import Case, Judgement
from hopspec.properties.problem import Problem
from hopspec.properties.results import Cell, Point, bin_of

__all__ = ["MEASURED", "sample"]


# Clauses that bound an error, with the size of what they bound.
MEASURED: dict[str, Callable[[Problem], float]] = {
    "MHN-BND-2": lambda p: p.largest_entry,
    "MHN-BND-3": lambda _: 1.0,
    "MHN-BND-4": lambda p: p.largest_energy,
}


def sample(cell: Cell, case: Case, judgement: Judgement) -> None:
    """Enter a case into the histogram of its cell, and into its points where there is room."""
    cell.ratios[bin_of(judgement.ratio)] += 1
    size_of = MEASURED.get(cell.clause)
    # Where the property did not need the problem's own solution, its numbers are those of another problem.
    if size_of is None or len(cell.points) >= cell.room or "solution" not in vars(case.problem):
        return
    error, p = judgement.ratio * judgement.bound, case.problem
    numbers = (p.beta, p.spread, size_of(p), error, judgement.bound)
    if judgement.bound > 0 and all(map(math.isfinite, numbers)):
        cell.points.append(Point(*p.memory.shape, *(float(f"{x:.3g}") for x in numbers)))
