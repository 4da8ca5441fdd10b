"""Answers at production sizes against the certified oracle and the proved bounds."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hopspec.formats import Format
from hopspec.properties.problem import Array
from hopspec.properties.production_problem import REGIMES, ProblemAtSize
from hopspec.properties.production_results import SizeCell, SizeFailure
from hopspec.reference import Enclosed, bounds, solve_large
from hopspec.types import AccuracyModel

__all__ = ["Truth"]


class Truth:
    """The exact answer to some rows of a problem, and what it says of an implementation's.

    Args:
        problem: the problem.
        rows: which queries.
    """

    def __init__(self, problem: ProblemAtSize, rows: NDArray[np.int64]) -> None:
        self.problem, self.rows = problem, rows
        self.query = problem.query[rows].astype(np.float64)
        self.memory = problem.memory.astype(np.float64)
        self.values = None if problem.values is None else problem.values.astype(np.float64)
        self.exact = solve_large(
            self.query, self.memory, beta=problem.beta, keep=problem.keep, values=self.values
        )

    @property
    def relative_radius(self) -> float:
        """Largest radius of an update, relative to the largest value."""
        source = self.memory if self.values is None else self.values
        return float(self.exact.state.radius.max()) / float(np.abs(source).max())

    def _bound(self, quantity: str, model: AccuracyModel) -> tuple[Enclosed, Array]:
        beta, exact = self.problem.beta, self.exact
        given = (self.query, self.memory, beta, exact, model)
        moved = bounds.perturbation(*given)
        if quantity == "retrieve":
            return exact.state, bounds.update_bound(*given, self.values, moved)
        if quantity == "log_normalizer":
            return exact.log_normalizer, bounds.log_normalizer_bound(*given, moved)
        assert exact.energy is not None
        return exact.energy, bounds.energy_bound(*given, moved)

    def judge(self, cell: SizeCell, answer: Array, model: AccuracyModel) -> None:
        """Compare the rows that have been solved."""
        truth, bound = self._bound(cell.quantity, model)
        got = answer[self.rows]
        error, slack = truth.error(got)
        least, most = np.maximum(error - slack, 0.0), error + slack
        inside, known = np.isfinite(bound), np.isfinite(truth.radius)
        judged = inside & known
        cell.queries = len(self.rows)
        cell.compared = int(judged.sum())
        cell.outside = int((known & ~inside).sum())
        cell.undecided = int((~known | (inside & (least <= bound) & (most > bound))).sum())
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(judged & (least > 0), least / bound, 0.0)
        cell.worst = float(ratio[ratio <= 1].max(initial=0.0))
        cell.looseness = _looseness(bound, error, got, model.output if got.ndim == 1 else model.storage)
        cell.broken = int((ratio > 1).reshape(len(ratio), -1).any(axis=1).sum())
        if cell.broken:
            at = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
            row = int(self.rows[at[0]])
            cell.failure = SizeFailure(
                "bound",
                f"{cell.quantity}{[row, *(int(k) for k in at[1:])]}",
                row,
                repr(float(got[at])),
                repr(float(truth.hi[at])),
                float(bound[at]),
                REGIMES[self.problem.regimes[row]],
            )


def _looseness(bound: Array, error: Array, got: Array, fmt: Format) -> float:
    """Median over queries of the largest bound over the largest error, or over half a last place."""
    rows = len(bound)
    finite = np.where(np.isfinite(bound), bound, 0.0).reshape(rows, -1).max(axis=1)
    least = np.abs(got).reshape(rows, -1).max(axis=1) * fmt.unit_roundoff
    largest = np.maximum(error.reshape(rows, -1).max(axis=1), least)
    sound = np.isfinite(largest) & (largest > 0)
    return float(np.median(finite[sound] / largest[sound])) if sound.any() else math.nan
