"""Circuits for layers and networks, their files, and the sizes that are refused."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from circuit_samples import assert_uniform, operations

from hopspec.pbit import PBits
from hopspec.reference import circuits
from hopspec.reference.circuits import TooLargeError, build, load, measure
from hopspec.reference.circuits.integers import carry_lookahead
from hopspec.reference.circuits.layers import layer, network
from hopspec.reference.circuits.problems import draw, evaluated


@pytest.mark.parametrize(
    ("fmt", "layers", "states", "stored", "d"),
    [
        (PBits(3, -6, 1), 1, 2, 2, 1),
        (PBits(4, -9, 2), 2, 1, 2, 2),
        (PBits(4, -9, 2), 1, 2, 5, 3),
        (PBits(5, -9, 6, "zero"), 1, 2, 3, 2),
        (PBits(4, -5, 1, "least"), 1, 2, 3, 2),
    ],
    ids=str,
)
def test_a_network_is_evaluated_as_in_the_reference(
    fmt: PBits, layers: int, states: int, stored: int, d: int
) -> None:
    rng = np.random.default_rng(stored)
    shape = (layers, states, stored, d)
    inputs = np.array([draw(fmt, *shape, rng) for _ in range(64)])
    outputs = build(network(fmt, *shape)).evaluate(inputs)
    assert (outputs == [evaluated(row, fmt, *shape) for row in inputs]).all()
    assert len({row.tobytes() for row in outputs}) > 16


def test_the_depth_of_a_layer_is_the_same_for_every_n() -> None:
    fmt = PBits(3, -6, 1)
    assert {measure(layer(fmt, n, n, 2)).depth for n in (2, 3, 4, 5, 8, 16, 31)} == {165}
    assert {measure(network(fmt, 2, n, n, 2)).depth for n in (2, 5, 9)} == {329}
    assert {measure(layer(PBits(p, -p, p), 3, 3, d)).depth for p in (3, 4, 6) for d in (2, 5)} == {165}


def test_a_layer_is_measured_as_it_is_built_and_found_gate_by_gate() -> None:
    block = layer(PBits(2, -2, 1), 2, 2, 1)
    circuit, measured = build(block), measure(block)
    assert (measured.depth, measured.gates) == (circuit.depth(), circuit.size)
    assert (measured.wires, measured.kinds) == (circuit.wires(), circuit.count())
    assert_uniform(block, circuit)


def test_gates_of_a_large_layer_are_found_without_building_it() -> None:
    block = layer(PBits(6, -19, 12), 1000, 1000, 4)
    assert block.size > 1 << 30
    rng = np.random.default_rng(0)
    counts = [operations(block, int(g)) for g in rng.integers(0, block.size, 40)]
    assert max(counts) <= 400


def test_sizes_that_would_not_fit_are_refused_with_the_predicted_size() -> None:
    block = layer(PBits(3, -6, 1), 8, 8, 2)
    with pytest.raises(TooLargeError, match=rf"has {block.size:,} gates .* more than the 1,000,000 allowed"):
        build(block, most_bytes=1_000_000)


def test_building_takes_no_more_memory_than_predicted() -> None:
    block = layer(PBits(3, -6, 1), 4, 4, 2)
    predicted = measure(block).bytes
    tracemalloc.start()
    try:
        build(block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Descriptions are made while they are used, and smaller arrays come and go.
    assert 0.5 * predicted < peak < 1.2 * predicted


def test_a_circuit_is_written_and_read(tmp_path: Path) -> None:
    circuit = build(carry_lookahead(4))
    circuit.save(tmp_path / "adder.npz")
    again = load(tmp_path / "adder.npz")
    inputs = np.random.default_rng(1).integers(0, 2, (100, 8))
    assert (again.evaluate(inputs) == circuit.evaluate(inputs)).all()
    assert again.depth() == 5


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("kind", lambda a: np.where(a == 1, 2, a), "gate 0 is not of the kind"),
        ("wire", lambda a: a + 30, "wire must hold codes from 0"),
        ("wire", lambda a: np.where(np.arange(len(a)) == 0, a.max(), a), "lower steps"),
        ("row", lambda a: a - 1, "row must hold numbers from 0"),
        ("start", lambda a: a + 1, "start must rise from 0"),
    ],
)
def test_what_is_no_circuit_is_not_read(tmp_path: Path, name: str, change: object, message: str) -> None:
    path = tmp_path / "adder.npz"
    build(carry_lookahead(3)).save(path)
    with np.load(path) as there:
        arrays = {key: there[key] for key in there.files}
    assert callable(change)
    np.savez(path, **{**arrays, name: change(arrays[name])})
    with pytest.raises(ValueError, match=message):
        load(path)
    np.savez(path, **{key: value for key, value in arrays.items() if key != name})
    with pytest.raises(ValueError, match=f"{name} missing"):
        load(path)


def test_inputs_of_a_wrong_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"inputs must have shape \[cases, 6\], got \(5, 7\)"):
        build(carry_lookahead(3)).evaluate(np.zeros((5, 7)))


@pytest.mark.parametrize("name", sorted(m.name for m in pkgutil.iter_modules(circuits.__path__)))
def test_examples_run(name: str) -> None:
    module = importlib.import_module(f"hopspec.reference.circuits.{name}")
    assert doctest.testmod(module).failed == 0
