"""Circuits for networks with affine maps and LayerNorms between their Hopfield layers."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from hopspec.pbit import PBits
from hopspec.reference.circuits import build, measure
from hopspec.reference.circuits.compiling import compiled, dense, inputs_of, layer_norm
from hopspec.reference.circuits.encoding import encode
from hopspec.reference.networks import Dense, Hopfield, LayerNorm, Network, evaluate, random_network

FMT = PBits(4, -20, 4)
SIXTEENTH = Fraction(1, 16)


def drawn_states(rng: np.random.Generator, states: int, d: int) -> list[list[Fraction]]:
    return [[int(x) * SIXTEENTH for x in row] for row in rng.integers(-30, 31, (states, d))]


@pytest.mark.parametrize(("layers", "hidden", "states", "d"), [(1, 2, 2, 2), (2, 3, 1, 2), (1, 2, 2, 3)])
def test_a_full_network_is_evaluated_as_in_the_reference(
    layers: int, hidden: int, states: int, d: int
) -> None:
    rng = np.random.default_rng(d)
    circuit = build(compiled(random_network(layers, hidden, d), states, d, FMT))
    inputs, expected = [], []
    for seed in range(40):
        network, state = random_network(layers, hidden, d, seed), drawn_states(rng, states, d)
        inputs.append(inputs_of(network, state, FMT))
        expected.append(encode([x for row in evaluate(network, state, FMT) for x in row], FMT).ravel())
    assert (circuit.evaluate(np.array(inputs)) == np.array(expected)).all()
    assert len({row.tobytes() for row in expected}) > 8


def test_stored_patterns_of_a_layer_are_inputs() -> None:
    rng = np.random.default_rng(0)
    query, key, value = (drawn_states(rng, 2, 2) for _ in range(3))
    network = Network((Hopfield(query, key, value, 2.0, drawn_states(rng, 3, 2)), Dense(query, [1, -1])))
    state = drawn_states(rng, 2, 2)
    wanted = encode([x for row in evaluate(network, state, FMT) for x in row], FMT).ravel()
    circuit = build(compiled(network, 2, 2, FMT))
    assert (circuit.evaluate(inputs_of(network, state, FMT)[None]) == wanted).all()


def test_the_depth_of_full_networks_is_the_same_for_every_n() -> None:
    def depth(layers: int, n: int, states: int) -> int:
        return measure(compiled(random_network(layers, n, 2), states, 2, FMT)).depth

    assert {depth(1, n, n) for n in (2, 3, 7)} == {438}
    assert depth(2, 3, 2) == 2 * 438
    assert {measure(dense(FMT, 2, d, 3, rectify=True)).depth for d in (2, 3, 9)} == {59}
    assert {measure(layer_norm(FMT, 2, d, Fraction(1, 1 << 16))).depth for d in (2, 3, 9)} == {157}


def test_layers_without_a_circuit_are_refused() -> None:
    one = [[1, 0], [0, 1]]
    right = Hopfield(one, one, one)
    for wrong in (replace(right, value=None), replace(right, shift=False), replace(right, value=[[1], [1]])):
        with pytest.raises(ValueError, match="must have square matrices, a value matrix and a shift"):
            compiled(Network((LayerNorm([1, 1], [0, 0]), wrong)), 1, 2, FMT)
