"""Problems of attention: biases, and causal masks of every aspect."""

from __future__ import annotations

import numpy as np

from hopspec.properties.problem import Array, Mask, Problem, round_to
from hopspec.properties.shaping import resized
from hopspec.properties.strategies import GRAINS, between, choose, problem

__all__ = ["BIASES", "biased_problem", "causal_problem"]

BIASES = (
    "noise",
    "distance",
    "per-key",
    "later-tiles",
    "cancelling",
    "steep",
    "holes",
    "first-block-out",
    "empty-row",
)
# Some of the widths of the tiles that kernels work in, and their neighbours.
EDGES = (15, 16, 17, 31, 33, 63, 64, 65, 129)


def biased_problem(rng: np.random.Generator) -> Problem:
    """A problem whose logits have a bias of their own, which often decides who wins."""
    form, level = choose(rng, BIASES), choose(rng, [0.0, 0.0, 0.0, -16.0, -64.0, 500.0])
    reads = choose(rng, [False, True])
    # Enough keys for whole tiles of them to be left out.
    least = 40 if form == "first-block-out" else 1
    base = problem(rng, largest=70, least=least, spreads=("flat", "mild", "mixed", "metastable", "sharp"))
    grain = GRAINS[base.regimes[2]]
    # A common level leaves the weights as they are.
    bias = round_to(_bias(form, base, rng) + level, grain)
    bias[~_takes_part(form, bias.shape, rng)] = -np.inf
    values = None
    if reads:
        values = round_to(rng.standard_normal(base.memory.shape), grain)
    return base.but(bias=bias, values=values, regimes=(*base.regimes, f"bias: {form}", f"level: {level:g}"))


def _bias(form: str, p: Problem, rng: np.random.Generator) -> Array:
    count, n = p.query.shape[0], p.memory.shape[0]
    noise = rng.standard_normal((count, n))
    keys = np.arange(n)
    if form == "distance":
        return np.asarray(-choose(rng, [0.0625, 0.25, 1.0]) * np.abs(keys - np.arange(count)[:, None]))
    if form == "per-key":
        return np.repeat(noise[:1], count, axis=0)
    if form == "later-tiles":
        return np.asarray(np.where(keys >= min(16, n // 2), 3 * noise, 0.0))
    if form == "cancelling":
        logits = p.beta * p.query @ p.memory.T
        return np.asarray(np.clip(noise - logits, -1000.0, 1000.0))
    if form == "steep":
        return np.asarray(choose(rng, [20.0, 100.0]) * noise)
    return np.asarray(choose(rng, [0.5, 1.0, 3.0]) * noise)


def _takes_part(form: str, shape: tuple[int, ...], rng: np.random.Generator) -> Mask:
    count, n = shape
    part = np.ones(shape, dtype=np.bool_)
    if form == "holes":
        part = rng.random(shape) < 0.6
    elif form == "first-block-out":
        part[:, : choose(rng, [16, 32])] = False
    part[:, n - 1 - rng.integers(0, (n + 1) // 2)] = True
    if form == "empty-row":
        part[rng.integers(0, count)] = False
    return part


def causal_problem(rng: np.random.Generator) -> Problem:
    """As many queries as keys, fewer or more, each with a mask and a bias of its own."""
    form, reads = choose(rng, ["square", "square", "wide", "tall"]), choose(rng, [False, True])
    n = choose(rng, EDGES) if between(rng, 0, 9) < 3 else between(rng, 1, 20)
    base = problem(rng, largest=9, spreads=("mild", "mixed", "metastable"))
    count = n if form == "square" else between(rng, 1, n) if form == "wide" else n + between(rng, 1, 5)
    width = min(base.memory.shape[1], 3)
    whole = resized(base, (count, n, width, width))
    bias = round_to(rng.standard_normal((count, n)), GRAINS[base.regimes[2]])
    keep = rng.random((count, n)) < 0.7
    # So that every query keeps a key in either alignment, where any does.
    keep[:, 0] = True
    read = round_to(rng.standard_normal(whole.memory.shape), GRAINS[base.regimes[2]])
    values = read if reads else None
    return whole.but(keep=keep, bias=bias, values=values, regimes=(*base.regimes, f"causal: {form}"))
