"""Sizes, numbers and sequences of calls at which kernels go wrong whatever the entries are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hopspec.properties.calls import Broken
from hopspec.properties.checks.common import (
    association_bound,
    energy_bound,
    log_normalizer_bound,
    update_bound,
    weight_slack,
)
from hopspec.properties.checks.contracts import LAYOUTS
from hopspec.properties.checks.registry import Case, check
from hopspec.properties.judgement import Judgement, all_of, compare, require, within
from hopspec.properties.problem import Array, Mask, Problem, round_to
from hopspec.properties.repeats import distinct
from hopspec.properties.stories import CANNOT_BE_CHANGED

# Up to this many entries L * N * d an implementation must take to be asked for large sizes.
LARGE = 1_100_000
# How wide values are beside the memory.
VALUE_WIDTHS = (1, 1, 1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128, 129)
BLOCKS = (8, 16, 32, 64, 128)
KEPT_COUNTS = (1, 2, 127, 128, 129, 255, 256, 257, 2047, 2048, 2049, 32767, 32768, 32769, 65535, 65536)


@dataclass(frozen=True)
class Thin:
    """A problem with each of its different queries once.

    Args:
        problem: it.
        which: for every query of the whole problem, which one of it it is.
    """

    problem: Problem
    which: NDArray[np.intp]


def _thin(problem: Problem) -> Thin:
    # A mask of one row is that of every query.
    each_its_own = problem.keep is not None and problem.keep.ndim == 2 and len(problem.keep) > 1
    keep = problem.keep if each_its_own else None
    first, which, _ = distinct(problem.query, keep)
    each = {} if keep is None else {"keep": keep[first]}
    return Thin(problem.but(query=problem.query[first], **each), which)


def repeated_update(case: Case, problem: Problem, what: str, layout: str = "contiguous") -> Judgement | None:
    """The update of a problem in which few queries are different."""
    thin = case.remember("thin", problem, partial(_thin, problem))
    got = case.value("retrieve", problem, layout=layout)
    bound = update_bound(case, thin.problem)[thin.which]
    return compare(what, got, thin.problem.solution.state.rows(thin.which), bound)


def _scalars(case: Case, problem: Problem, quantity: str) -> Judgement | None:
    """Its log-normalizers or energies."""
    thin = case.remember("thin", problem, partial(_thin, problem))
    exact = thin.problem.solution
    found, bound = (
        (exact.energy, energy_bound) if quantity == "energy" else (exact.log_normalizer, log_normalizer_bound)
    )
    if found is None:
        return None
    return compare(
        quantity, case.value(quantity, problem), found.rows(thin.which), bound(case, thin.problem)[thin.which]
    )


@check("MHN-BND-2", family="tiles", size=LARGE)
def update_at_tile_edges(case: Case) -> Judgement | None:
    """The update is within its bound where L, N and d are at the edges of tiles."""
    return repeated_update(case, case.problem, "update")


@check("MHN-BND-2", family="long", size=LARGE, one_in=5)
def update_of_many(case: Case) -> Judgement | None:
    """The update is within its bound for thousands of memories."""
    return repeated_update(case, case.problem, "update")


@check("MHN-BND-2", family="many", size=LARGE, one_in=5)
def update_of_many_queries(case: Case) -> Judgement | None:
    """The update is within its bound for each of thousands of queries."""
    return repeated_update(case, case.problem, "update")


@check("MHN-BND-3", family="tiles", quantities=("log_normalizer",), size=LARGE, one_in=2)
def log_normalizer_at_tile_edges(case: Case) -> Judgement | None:
    """The log-normalizer is within its bound at the edges of tiles."""
    return _scalars(case, case.problem, "log_normalizer")


@check("MHN-BND-3", family="long", quantities=("log_normalizer",), size=LARGE, one_in=5)
def log_normalizer_of_many(case: Case) -> Judgement | None:
    """The log-normalizer is within its bound for thousands of memories."""
    return _scalars(case, case.problem, "log_normalizer")


@check("MHN-BND-4", family="tiles", quantities=("energy",), size=LARGE, one_in=2)
def energy_at_tile_edges(case: Case) -> Judgement | None:
    """The energy is within its bound at the edges of tiles."""
    return _scalars(case, case.problem, "energy")


@check("MHN-BND-4", family="long", quantities=("energy",), size=LARGE, one_in=5)
def energy_of_many(case: Case) -> Judgement | None:
    """The energy is within its bound for thousands of memories."""
    return _scalars(case, case.problem, "energy")


@check("MHN-BND-7", family="tiles", quantities=("association",), size=LARGE, one_in=2)
def association_at_tile_edges(case: Case) -> Judgement | None:
    """Every weight is within its bound at the edges of tiles."""
    thin = case.remember("thin", case.problem, partial(_thin, case.problem))
    exact = thin.problem.solution.weights
    bound = association_bound(case, thin.problem) + weight_slack(exact)
    return within("association", case.value("association"), exact[thin.which], bound[thin.which])


@check("MHN-BND-2", family="tiles", claims=("values",), size=LARGE, one_in=2)
def read_out_at_tile_edges(case: Case) -> Judgement | None:
    """Values wider or narrower than the memory, and than tiles, are read out within the bound."""
    return repeated_update(case, case.remember("read", case.problem, partial(_with_values, case)), "read-out")


def _with_values(case: Case) -> Problem:
    p = case.problem
    width = case.value_width(VALUE_WIDTHS[p.seed % len(VALUE_WIDTHS)])
    first, which, _ = distinct(p.memory)
    return p.but(values=round_to(2 * p.rng.standard_normal((len(first), width)), p.grain)[which])


@check("MHN-DOM-6", family="tiles", claims=("strides",), size=LARGE)
def strides_at_tile_edges(case: Case) -> Judgement | None:
    """Views of wide arrays with other strides give a result within the bound."""
    if case.problem.query.shape[1] < 15:
        return None
    layout = ("transposed", *LAYOUTS)[case.problem.seed % 6]
    return repeated_update(case, case.problem, f"update ({layout} views)", layout)


def _blocks(rng: np.random.Generator, n: int) -> Mask:
    """A mask in whole blocks: the first, the last, one in the middle or most of them masked."""
    block = int(rng.choice([b for b in BLOCKS if b < n] or [1]))
    of = np.arange(n) // block
    form = int(rng.choice([0, 1, 2, 2, 3, 3, 4]))
    last = int(of[-1])
    if form == 0:
        keep = of > 0
    elif form == 1:
        keep = of < last
    elif form == 2:
        keep = of != max(last // 2, 1)
    elif form == 3:
        keep = of == int(rng.integers(last + 1))
    else:
        # Blocks whose ends are masked and not what lies between.
        keep = (np.arange(n) % block > 0) & (np.arange(n) % block < block - 1)
    if not keep.any():
        keep[int(rng.integers(n))] = True
    return np.asarray(keep)


MASKS = ("random", "blocks", "a number", "blocks", "causal", "blocks of each")
# Among thousands of memories neither a block nor a third of them makes a difference, one of a few does.
MASKS_OF_MANY = (
    *("few", "random", "few", "blocks", "few"),
    *("few", "a number", "few", "causal", "few"),
)
MANY, FEW = 1030, (1, 2, 17, 129, 257)


def _mask(p: Problem) -> Mask:
    """Masks by blocks, by number, at random, or causal; of the memories, or of each query."""
    rng, count, n = p.rng, p.query.shape[0], p.memory.shape[0]
    forms = MASKS if n < MANY else MASKS_OF_MANY
    form = forms[p.seed % len(forms)]
    if form == "blocks":
        return _blocks(rng, n)
    if form in ("a number", "few"):
        counts = FEW if form == "few" else KEPT_COUNTS
        number = 1 if rng.random() < 0.3 else int(rng.choice([k for k in counts if k <= n]))
        keep = np.zeros(n, dtype=np.bool_)
        keep[rng.permutation(n)[:number]] = True
        return keep
    if form == "random":
        scattered = np.asarray(rng.random(n) < 0.7)
        scattered[int(rng.integers(n))] = True
        return scattered
    # A few different rows, so that few different queries are left.
    rows = [_causal(rng, n) if form == "causal" else _blocks(rng, n) for _ in range(3)]
    return np.asarray(np.stack(rows)[rng.integers(0, 3, count)])


def _causal(rng: np.random.Generator, n: int) -> Mask:
    return np.asarray(np.arange(n) <= int(rng.integers(n)))


def _masked(case: Case) -> Problem:
    p = case.problem
    return case.remember("masked", p, lambda: p.but(keep=_mask(p)))


@check("MHN-MSK-2", family="tiles", claims=("masks",), size=LARGE)
def masks_at_tile_edges(case: Case) -> Judgement | None:
    """Masks by blocks, by number and by query remove what they mask, at the edges of tiles."""
    if case.problem.memory.shape[0] < 13:
        return None
    return _of_masked(case)


@check("MHN-MSK-2", family="long", claims=("masks",), size=LARGE, one_in=5)
def masks_of_many(case: Case) -> Judgement | None:
    """The same for thousands of memories."""
    return _of_masked(case)


def _of_masked(case: Case) -> Judgement | None:
    masked = _masked(case)
    # One of the scalars in every case: all of them would cost twice as much.
    quantity = ("log_normalizer", "energy")[case.problem.seed % 2]
    scalars = _scalars(case, masked, quantity) if case.provides(quantity) else None
    return all_of(repeated_update(case, masked, "update"), scalars)


@check("MHN-DOM-11", family="general")
def earlier_results_stay(case: Case) -> Judgement | None:
    """A later call of the same shapes leaves an earlier result as it was."""
    return _told(case, "kept", _quantities(case), other_query=-case.problem.query)


@check("MHN-DOM-11", family="single", one_in=2)
def results_are_the_callers(case: Case) -> Judgement | None:
    """What is written into the arguments later leaves the result as it was, even where it equals one."""
    other = -case.problem.query
    return _told(case, "own", _quantities(case), other_query=other, other_memory=-case.problem.memory)


@check("MHN-DOM-11", family="general")
def changed_arrays_are_read_again(case: Case) -> Judgement | None:
    """What the same arrays held in an earlier call plays no part."""
    return _told(case, "changed", _quantities(case), other_query=-case.problem.query)


@check("MHN-DOM-11", family="general")
def another_beta_is_used(case: Case) -> Judgement | None:
    """A call on the same arrays with a slightly different beta uses its own."""
    return _told(case, "another beta", _quantities(case))


@check("MHN-DOM-11", family="general")
def one_array_for_both(case: Case) -> Judgement | None:
    """The memory may be asked with itself as the query, or with its first rows, in one array."""
    p = case.problem
    n = p.memory.shape[0]
    if n > 20:
        return None
    count = n if p.seed % 2 else min(n, p.query.shape[0])
    own: Problem = case.remember("own", p, lambda: p.but(query=p.memory[:count]))
    return _told(case, "same", ("retrieve",), own)


def _quantities(case: Case) -> tuple[str, ...]:
    return tuple(q for q in ("retrieve", "log_normalizer", "energy") if case.provides(q))[
        : 1 + case.problem.seed % 3
    ]


def _told(
    case: Case,
    story: str,
    quantities: tuple[str, ...],
    problem: Problem | None = None,
    **arrays: Array,
) -> Judgement | None:
    """A call in a story satisfies the bound that it satisfies alone."""
    p = problem or case.problem
    if arrays:
        # Unless they are given: other memories of the same shape, with the same sum and first entry.
        arrays.setdefault("other_memory", _rearranged(p.memory))
    judged: list[Judgement | None] = []
    for quantity in quantities:
        answer = case.answer(quantity, p, story=story, arrays={**arrays})
        if answer.error == CANNOT_BE_CHANGED:
            judged.append(require("arrays", True, "cannot be changed", "cannot be changed"))
            continue
        if answer.error:
            raise Broken("raised", f"{quantity} raised {answer.error}: {answer.message}")
        got = answer.arrays[0].astype(np.float64)
        exact = p.solution
        found, bound = {
            "retrieve": (exact.state, update_bound),
            "log_normalizer": (exact.log_normalizer, log_normalizer_bound),
            "energy": (exact.energy, energy_bound),
        }[quantity]
        if found is None:
            continue
        if got.shape != found.hi.shape:
            raise Broken("shape", f"{quantity} returned shape {got.shape}, expected {found.hi.shape}")
        judged.append(compare(f"{quantity} ({story})", got, found, bound(case, p)))
    return all_of(*judged)


def _rearranged(memory: Array) -> Array:
    """The same entries with the first in its place and the others in the opposite order."""
    flat = memory.ravel()
    return np.concatenate([flat[:1], flat[:0:-1]]).reshape(memory.shape)


@check("MHN-UPD-8", family="general")
def integer_beta_is_a_number(case: Case) -> Judgement | None:
    """A beta that is an integer gives what the same number as a float gives."""
    p = case.problem
    number = max(1, round(p.beta))
    low, high = case.description.capabilities.beta_range
    if math.log2(number) > 20 or not low <= number <= high:
        return None
    level: Problem = case.remember("integer", p, lambda: p.but(beta=float(number)))
    got = case.value("retrieve", level, fresh=True, beta=number)
    return compare("update", got, level.solution.state, update_bound(case, level))
