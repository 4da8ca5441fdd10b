"""Layers and networks as descriptions: weights and how they are applied (clauses MHN-NET-1 to MHN-NET-3)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from hopspec.clauses import implements
from hopspec.reference.networks.fields import Field, Rows

__all__ = ["Dense", "Hopfield", "Layer", "LayerNorm", "Network", "kernel_layer", "random_network"]

M = TypeVar("M")


@dataclass(frozen=True)
class Hopfield:
    r"""A Hopfield layer: ``softmax(beta (R W_Q) (Y W_K)^T) Y W_V``.

    Args:
        query: ``W_Q``, ``[d, k]``.
        key: ``W_K``, ``[y, k]``.
        value: ``W_V``, ``[y, v]``; None for the stored patterns as they are.
        beta: inverse temperature.
        stored: stored patterns ``Y``, ``[N, y]``; None for the states themselves.
        shift: whether the largest logit of a row is subtracted before exponentials are taken.
        feature: a linear feature map, ``[d, f]``, which states and stored patterns pass before ``W_Q`` and
            ``W_K`` (clause MHN-NET-3); None for none.
    """

    query: Rows
    key: Rows
    value: Rows | None = None
    beta: float | Fraction = 1.0
    stored: Rows | None = None
    shift: bool = True
    feature: Rows | None = None

    @implements("MHN-NET-1")
    def apply(self, field: Field[M], state: M) -> M:
        r"""The states ``[L, d]`` after the layer, ``[L, v]``.

        Formula: $D^{-1} A\, Y W_V$ with $A_{ij} = e^{\beta\langle R_i W_Q, Y_j W_K\rangle}$. Clause
        MHN-NET-1, source arXiv 2412.05562.
        """
        stored = state if self.stored is None else field.matrix(self.stored)
        patterns = [state, stored]
        if self.feature is not None:
            feature = field.turned(field.matrix(self.feature))
            patterns = [field.products(x, feature) for x in patterns]
        queries = field.products(patterns[0], field.turned(field.matrix(self.query)))
        keys = field.products(patterns[1], field.turned(field.matrix(self.key)))
        values = stored
        if self.value is not None:
            values = field.products(stored, field.turned(field.matrix(self.value)))
        logits = field.scaled(field.products(queries, keys), self.beta)
        return field.averages(field.weights(logits, self.shift), values)


@dataclass(frozen=True)
class Dense:
    """An affine map, rectified or not: ``R W + b``.

    Args:
        weight: ``[d, k]``.
        bias: ``[k]``.
        rectify: whether negative entries become 0.
    """

    weight: Rows
    bias: Sequence[float | Fraction]
    rectify: bool = True

    def apply(self, field: Field[M], state: M) -> M:
        """The states ``[L, d]`` after the layer, ``[L, k]``."""
        found = field.products(state, field.turned(field.matrix(self.weight)))
        found = field.plus(found, field.matrix([self.bias]))
        return field.rectified(found) if self.rectify else found


@dataclass(frozen=True)
class LayerNorm:
    """Every state less its mean, over the root of its mean square plus ``epsilon``, times a gain plus a bias.

    Args:
        gain: ``[d]``.
        bias: ``[d]``.
        epsilon: positive.
    """

    gain: Sequence[float | Fraction]
    bias: Sequence[float | Fraction]
    epsilon: float | Fraction = Fraction(1, 1 << 16)

    def apply(self, field: Field[M], state: M) -> M:
        """The states ``[L, d]`` after the layer."""
        found = field.standardized(state, self.epsilon)
        found = field.times(found, field.matrix([self.gain]))
        return field.plus(found, field.matrix([self.bias]))


Layer = Hopfield | Dense | LayerNorm


@dataclass(frozen=True)
class Network:
    """Layers, applied one after the other.

    Args:
        layers: in the order in which they are applied.
    """

    layers: tuple[Layer, ...]

    @implements("MHN-NET-2")
    def apply(self, field: Field[M], state: M) -> M:
        r"""The states after all layers.

        Formula: $f_m\circ\mathrm{Hop}_m\circ\dots\circ f_1\circ\mathrm{Hop}_1\circ f_0$. Clause MHN-NET-2,
        source arXiv 2412.05562.
        """
        for layer in self.layers:
            state = layer.apply(field, state)
        return state


@implements("MHN-NET-3")
def kernel_layer(
    feature: Rows,
    weight: Rows,
    *,
    value: Rows | None = None,
    beta: float | Fraction = 1.0,
    stored: Rows | None = None,
    shift: bool = True,
) -> Hopfield:
    r"""A kernelised Hopfield layer with the linear feature map ``phi(x) = x F``, on ``[L, d]``.

    Formula: $A_{ij} = e^{\beta\langle W\phi(R_i), W\phi(Y_j)\rangle}$. Clause MHN-NET-3, source arXiv
    2412.05562. The feature map and ``W`` are applied one after the other, each rounded.

    Args:
        feature: ``F``, ``[d, f]``.
        weight: ``W`` transposed, ``[f, k]``.
        value: ``W_V``, ``[y, v]``; None for the stored patterns as they are.
        beta: inverse temperature.
        stored: stored patterns ``[N, d]``; None for the states themselves.
        shift: as for :class:`Hopfield`.
    """
    return Hopfield(weight, weight, value, beta, stored, shift, feature)


def random_network(depth: int, n: int, width: int, seed: int = 0) -> Network:
    """A network of Hopfield layers, each followed by a rectified and a plain affine map and a LayerNorm.

    Its weights are multiples of 1/16 of unit scale: at four bits or more they are elements of F_p.

    Args:
        depth: number of Hopfield layers.
        n: hidden dimension of the affine maps, of the order of the number of tokens.
        width: dimension of the states.
        seed: of the weights.
    """
    draw = random.Random(seed)

    def matrix(rows: int, columns: int) -> list[list[Fraction]]:
        return [[Fraction(draw.randint(-15, 15), 16) for _ in range(columns)] for _ in range(rows)]

    layers: list[Layer] = []
    for _ in range(depth):
        layers += [
            Hopfield(matrix(width, width), matrix(width, width), matrix(width, width)),
            Dense(matrix(width, n), matrix(1, n)[0]),
            Dense(matrix(n, width), matrix(1, width)[0], rectify=False),
            LayerNorm([Fraction(1)] * width, [Fraction(0)] * width),
        ]
    return Network(tuple(layers))
