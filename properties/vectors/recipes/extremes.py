"""The ends of a format: subnormal numbers, norms whose squares overflow, huge beta."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from hopspec.formats import Format
from hopspec.properties.problem import Problem
from hopspec.properties.vectors.recipe import Draw, recipe, result_format

RANGE = ("MHN-NFI-3",)
PATTERNS = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [-1, 1, 1, -1]], dtype=np.float64)


def _subnormal(draw: Draw, n: int) -> Problem:
    fmt = draw.format
    steps = draw.whole(1, min(1 << (fmt.precision - 1), 1 << 20) - 1, n, 3)
    return draw.problem(draw.normal(1, 3), steps * math.ldexp(1.0, fmt.least_exponent), 1.0)


for _n in (1, 3):
    recipe(f"subnormal-{_n}", "subnormals", f"memory of {_n}, every entry subnormal", ("update",))(
        partial(_subnormal, n=_n)
    )


@recipe(
    "subnormal-query",
    "subnormals",
    "a subnormal query and a beta that makes up for it",
    ("update", "log_normalizer"),
)
def subnormal_query(draw: Draw) -> Problem:
    """Scores as small as the format goes, logits of order 1."""
    fmt = draw.format
    least = max(fmt.least_exponent, -118)
    query = draw.whole(1, 3, 1, 3) * math.ldexp(1.0, least)
    return draw.problem(query, draw.normal(4, 3), math.ldexp(1.0, -1 - least))


def _patterns(draw: Draw, exponent: int) -> Problem:
    signs = PATTERNS * (1 + draw.uniform(4, 4) / 2)
    memory = draw.round(signs) * math.ldexp(1.0, exponent)
    return draw.problem(memory[2:3], memory, 1.0)


@recipe(
    "norms-1e20",
    "overflow",
    "query and memory of norm about 1e20, or as near to it as the format allows: scores overflow",
    ("update",),
    clauses=RANGE,
    extreme=True,
)
def norms_1e20(draw: Draw) -> Problem:
    """The best memory comes back."""
    return _patterns(draw, min(draw.format.emax - 1, 66))


@recipe(
    "norms-near-the-largest",
    "overflow",
    "query and memory next to the largest number of the format",
    ("update",),
    clauses=RANGE,
    extreme=True,
)
def norms_near_the_largest(draw: Draw) -> Problem:
    """The best memory comes back."""
    return _patterns(draw, draw.format.emax - 1)


@recipe(
    "beta-2-to-the-500",
    "overflow",
    "beta = 2**500: the logits overflow in every format but float64",
    ("update",),
    clauses=(*RANGE, "MHN-UPD-8", "MHN-LAW-9"),
    extreme=True,
)
def beta_beyond(draw: Draw) -> Problem:
    """The best memory comes back."""
    base = _patterns(draw, 0)
    return base.but(beta=2.0**500)


@recipe(
    "mean-of-the-largest",
    "overflow",
    "beta = 0 and memories of one sign next to the largest number: their sum overflows, their mean does not",
    ("update",),
    clauses=(*RANGE, "MHN-LAW-8"),
    extreme=True,
)
def mean_of_the_largest(draw: Draw) -> Problem:
    """The mean is a number."""
    memory = (1 + draw.uniform(6, 2) / 2) * math.ldexp(1.0, draw.format.emax)
    return draw.problem([[1.0, 1.0]], memory, 0.0)


def _fits(fmt: Format) -> str:
    fits = 2 * fmt.emax + 8 < result_format(fmt, "energy").emax
    return "energies of this format's inputs fit into float32" if fits else ""


@recipe(
    "energy-overflows",
    "energy-overflow",
    "norms whose squares overflow: the energy is beyond its type, its terms cancel if they overflow first",
    ("energy",),
    clauses=("MHN-ENE-6",),
    lacking=_fits,
    extreme=True,
)
def energy_overflows(draw: Draw) -> Problem:
    """+inf, not NaN."""
    size = math.ldexp(1.0, result_format(draw.format, "energy").emax // 2 + 3)
    memory = np.array([[1.0, 0.5], [0.5, -0.25]])
    return draw.problem(np.array([[3.0, 1.0], [-2.0, 1.5]]) * size, memory * size, 1.0)
