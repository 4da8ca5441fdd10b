"""Implementations that compute exactly the arithmetic of an accuracy model, one rounding after the other.

They are slow, and there to be judged: under its own model an implementation of this module must pass, and
under a tighter one it must fail. Arrays are float64 images throughout; with products and sums of numbers of
at most 24 bits, rounding the float64 result once more is rounding the exact one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.formats import FLOAT32, FLOAT64, Format
from hopspec.properties.problem import Array, round_to
from hopspec.types import AccuracyModel, Capabilities, Implementation, Summation

__all__ = ["Simulation", "simulated"]

# Parts of a memory, where parts are merged.
PARTS = 3
LOG2_E = 1 / math.log(2)


def _bits(x: Array, bits: int, nearest: bool) -> Array:
    """``x`` with ``bits`` significant bits, rounded to nearest or cut off."""
    mantissa, exponent = np.frexp(x)
    scaled = np.ldexp(mantissa, bits)
    return np.asarray(np.ldexp(np.rint(scaled) if nearest else np.trunc(scaled), exponent - bits))


@dataclass(frozen=True)
class Simulation:
    """The arithmetic of ``model``.

    Args:
        model: what is computed.
        seed: of the errors of the exponentials, each of which is as large as the model allows.
    """

    model: AccuracyModel
    seed: int = 0

    # Rounding

    def narrow(self, x: Any) -> Array:
        """To the accumulation format, in the model's way of rounding."""
        given, fmt = np.asarray(x, dtype=np.float64), self.model.accumulation
        if not self.model.nearest:
            return _bits(given, fmt.precision, False)
        if fmt is FLOAT64:
            return given
        if fmt is FLOAT32:
            with np.errstate(over="ignore"):
                return given.astype(np.float32).astype(np.float64)
        return round_to(given, fmt)

    def stored(self, x: Array, fmt: Format | None = None) -> Array:
        """To storage, to nearest."""
        return round_to(x, fmt or self.model.storage)

    def factor(self, x: Array, bits: int) -> Array:
        """To so many bits, if any."""
        return _bits(x, bits, self.model.nearest) if bits else x

    # Sums

    def add(self, a: Array, b: Array) -> Array:
        """One addition; where it does not round to nearest, the addends are aligned and cut off first."""
        if self.model.nearest:
            return self.narrow(a + b)
        _, exponent = np.frexp(np.maximum(np.abs(a), np.abs(b)))
        unit = exponent - self.model.accumulation.precision
        whole = np.trunc(np.ldexp(a, -unit)) + np.trunc(np.ldexp(b, -unit))
        return self.narrow(np.ldexp(whole, unit))

    def in_turn(self, terms: Array) -> Array:
        """Sum over the first axis, one after the other."""
        if self.model.nearest and self.model.accumulation in (FLOAT32, FLOAT64):
            kind = np.float32 if self.model.accumulation is FLOAT32 else np.float64
            running = np.add.accumulate(terms.astype(kind), axis=0)
            return np.asarray(running[-1], dtype=np.float64)
        total: Array = terms[0]
        for term in terms[1:]:
            total = self.add(total, term)
        return total

    def total(self, terms: Array, order: Summation) -> Array:
        """Sum over the first axis in the order stated (clause MHN-BND-9)."""
        if len(terms) == 0:
            return np.zeros(terms.shape[1:])
        if order.chunk and len(terms) > order.chunk:
            inner = Summation(order.lanes, order.extra)
            cuts = range(0, len(terms), order.chunk)
            sums = np.array([self.total(terms[start : start + order.chunk], inner) for start in cuts])
            return self.halved(sums) if order.halving else self.in_turn(sums)
        lanes = min(order.lanes, len(terms))
        running = np.array([self.in_turn(terms[lane::lanes]) for lane in range(lanes)])
        return self.halved(running)

    def halved(self, terms: Array) -> Array:
        """Sum over the first axis in pairs, pairs of pairs, and so on."""
        while len(terms) > 1:
            pairs = len(terms) // 2 * 2
            sums = self.add(terms[0:pairs:2], terms[1:pairs:2])
            terms = np.concatenate((sums, terms[pairs:]))
        return np.asarray(terms[0])

    # Steps of an update

    def exp(self, y: Array) -> Array:
        """Exponentials (of base 2 with ``base2``), each off by about as much as the model allows."""
        of = self.model
        exact = np.exp2(y) if of.base2 else np.exp(y)
        room = max(of.exp_error - 3 * of.accumulation.unit_roundoff * (1 if of.nearest else 2), 0.0)
        leading = np.ldexp(np.frexp(y)[0], 24).astype(np.int64)
        up = (leading * 2654435761 + self.seed * 40503) >> 9 & 1 == 1
        found = self.narrow(exact * np.where(up, 1 + room, 1 - room))
        found = np.where(exact <= of.exp_flush, 0.0, found)
        return np.where(y == 0, 1.0, found) if of.exp_zero_is_one else np.asarray(found)

    def logits(self, query: Array, memory: Array, beta: float) -> Array:
        """Computed logits, ``[N, L]``, in units of log 2 with ``base2``."""
        of, b = self.model, float(self.narrow(beta))
        if of.pre_scale:
            scale = self.narrow(math.sqrt(abs(beta)))
            query = self.stored(self.narrow(query * scale)) * math.copysign(1.0, beta)
            memory = self.stored(self.narrow(memory * scale))
        left, right = self.factor(memory, of.score_bits), self.factor(query, of.score_bits)
        products = self.narrow(left.T[:, :, None] * right.T[:, None, :])
        t = self.total(products, of.score_sum)
        if of.score_roundings:
            t = self.stored(t)
        if not of.pre_scale:
            t = self.narrow(t * b)
        if of.score_roundings > 1:
            t = self.stored(t)
        return self.narrow(t * self.narrow(LOG2_E)) if of.base2 else t

    def pieces(self, n: int) -> list[slice]:
        """The blocks of an online softmax."""
        width = self.model.block or max(n, 1)
        return [slice(start, min(start + width, n)) for start in range(0, n, width)]

    def part(self, t: Array, values: Array) -> tuple[Array, Array, Array]:
        """Result of the memories with logits ``t`` ``[N, L]``, their maximum and their denominator."""
        of = self.model
        top = np.full(t.shape[1:], -np.inf)
        weighted, plain = np.zeros((t.shape[1], values.shape[1])), np.zeros(t.shape[1])
        read = self.factor(values, of.read_bits)
        kept: list[Array] = []
        for rows in self.pieces(len(t)):
            before, top = top, np.maximum(top, t[rows].max(axis=0))
            weights = self.exp(self.narrow(t[rows] - top))
            rescaled = before > -np.inf
            change = np.where(rescaled, self.exp(self.narrow(np.where(rescaled, before, top) - top)), 0.0)
            in_sum = self.stored(weights) if of.round_weights and of.rounded_denominator else weights
            plain = self.narrow(plain * change)
            plain = self.onto(plain, in_sum, of.weight_sum)
            if of.normalize_first:
                kept = [*(self.narrow(w * change) for w in kept), weights]
                continue
            weighted = self.narrow(weighted * change[:, None])
            weighted = self.onto(weighted, self.terms(weights, read[rows]), of.weighted_sum)
        if of.normalize_first:
            shares = self.narrow(np.concatenate(kept) / plain)
            return self.stored(self.total(self.terms(shares, read), of.weighted_sum)), top, plain
        return self.stored(self.narrow(weighted / plain[:, None])), top, plain

    def onto(self, total: Array, terms: Array, order: Summation) -> Array:
        """What has been added up so far, and one more block."""
        return self.total(np.concatenate((total[None], terms)) if total.any() else terms, order)

    def terms(self, weights: Array, values: Array) -> Array:
        """Weights times values, ``[N, L, dv]``."""
        of = self.model
        if of.round_weights:
            weights = self.stored(weights)
        weights = self.factor(weights, of.read_bits)
        return self.narrow(weights[:, :, None] * values[:, None, :])

    def logarithm(self, top: Array, total: Array) -> Array:
        """Log-normalizer from a maximum and a denominator, rounded to output."""
        of = self.model
        factor = self.narrow(math.log(2)) if of.base2 else 1.0
        log = self.narrow(np.log2(total) if of.base2 else np.log(total))
        found = self.add(self.narrow(top * factor), self.narrow(log * factor))
        return self.stored(found, of.output)

    def update(self, query: Array, memory: Array, *, beta: float, values: Array | None = None) -> Array:
        """One update, ``[L, dv]``."""
        return self.both(query, memory, beta, values)[0]

    def log_normalizer(self, query: Array, memory: Array, *, beta: float) -> Array:
        """Log-normalizers, ``[L]``."""
        return self.both(query, memory, beta, None)[1]

    def both(self, query: Array, memory: Array, beta: float, values: Array | None) -> tuple[Array, Array]:
        """Update and log-normalizer."""
        of, source = self.model, memory if values is None else values
        t = self.logits(query, memory, beta)
        if not 0 < of.merged_from <= len(t):
            state, top, total = self.part(t, source)
            return state, self.logarithm(top, total)
        cuts = [rows for rows in np.array_split(np.arange(len(t)), PARTS) if len(rows)]
        parts = [self.part(t[rows], source[rows]) for rows in cuts]
        states = np.array([state for state, _, _ in parts])
        logs = np.array([self.logarithm(top, total) for _, top, total in parts])
        peak = logs.max(axis=0)
        shift = self.narrow(logs - peak)
        shares = self.exp(self.narrow(shift * LOG2_E) if of.base2 else shift)
        total = self.in_turn(shares)
        merged = self.in_turn(self.narrow(shares[:, :, None] * states))
        log = self.stored(self.add(peak, self.narrow(np.log(total))), of.output)
        return self.stored(self.narrow(merged / total[:, None])), log


def simulated(model: AccuracyModel, arithmetic: AccuracyModel | None = None) -> Implementation[NDArray[Any]]:
    """An implementation that claims ``model`` and computes the arithmetic of another, by default of the same.

    Args:
        model: the claim.
        arithmetic: what is computed.

    >>> from hopspec.properties.models import MODELS
    >>> ours = simulated(MODELS["tree-float32"])
    >>> ours.retrieve(np.eye(2), np.eye(2), beta=0.0)
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    of = Simulation(arithmetic or model)
    name = f"simulated-{of.model.name}"
    return Implementation(
        name=name if of.model == model else f"{name}-as-{model.name}",
        retrieve=of.update,
        log_normalizer=of.log_normalizer,
        capabilities=Capabilities(dtypes=(model.storage.name,), values=True),
        accuracy=(model,),
        to_array=_as_array,
        from_array=np.asarray,
    )


def _as_array(array: NDArray[Any], _dtype: str) -> NDArray[Any]:
    return np.array(array)
