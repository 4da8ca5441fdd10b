"""Circuits: what they compute, their depth, their size, and gates found from their numbers (MHN-CIR)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.properties.judgement import Judgement, all_of, require
from hopspec.properties.trials import Trial, trial
from hopspec.reference.circuits.functions import FUNCTIONS

__all__ = ["layer_bound", "sum_bound"]

Bits = NDArray[np.uint8]
Sizes = dict[str, int]
# Inputs a circuit is evaluated on at once.
BATCH = 64
KINDS = ("NOT", "AND", "OR", "THRESHOLD")


def agreed(t: Trial, function: str, sizes: Sizes, batch: int = BATCH) -> Judgement | None:
    """Evaluate a circuit on drawn inputs, and compare every output with what the function gives."""
    family = FUNCTIONS[function]
    inputs = family.draw(sizes, t.rng, batch)
    expected = family.expected(sizes, inputs)
    got = np.asarray(t.ask("evaluate", function, sizes, inputs))
    what = f"{function} {sizes}"
    if got.shape != expected.shape:
        return require(f"shape of the outputs of {what}", False, got.shape, expected.shape)
    wrong = np.flatnonzero((got != expected).any(axis=1))
    if len(wrong):
        k = wrong[0]
        what = f"{what} on {inputs[k].tolist()}"
        return require(what, False, got[k].astype(int).tolist(), expected[k].tolist())
    return all_of(*(require(what, True, "", "") for _ in got))


def between(t: Trial, low: int, high: int, growth: int = 1) -> int:
    """A size; for small draws a small one."""
    return int(t.rng.integers(low, min(high, low + growth * (1 + t.number // 2)) + 1))


def some_format(t: Trial, most: int) -> Sizes:
    """Sizes of a set F_p whose numbers are not far from 1, and which holds 1."""
    bits = between(t, 2, most)
    reach = between(t, 1, 4, 2)
    return {"bits": bits, "least": 1 - bits - reach, "greatest": 1 - bits + between(t, 0, 4)}


@trial("MHN-CIR-2", "circuits", cases=32)
def sums_of_integers_are_exact(t: Trial) -> Judgement | None:
    """Two or many integers, of any width, are added exactly."""
    if t.number % 4 == 0:
        return agreed(t, "addition", {"width": between(t, 1, 40)})
    sizes = {"numbers": between(t, 1, 24, 2), "width": between(t, 1, 24)}
    return agreed(t, "iterated-sum", sizes)


@trial("MHN-CIR-3", "circuits", cases=36)
def integers_are_multiplied_compared_and_rounded(t: Trial) -> Judgement | None:
    """Products, comparisons and roundings of integers are exact, ties going to even."""
    kind = t.number % 3
    if kind == 0:
        return agreed(t, "product", {"width": between(t, 1, 9)})
    if kind == 1:
        return agreed(t, "comparison", {"width": between(t, 1, 24)})
    return agreed(t, "rounding", {"width": between(t, 2, 16, 2), "bits": between(t, 2, 6)})


@trial("MHN-CIR-4", "circuits", cases=24)
def tables_hold_the_function(t: Trial) -> Judgement | None:
    """The tables of quotients, exponentials and roots give the rounded function."""
    function = ("exp", "sqrt", "divide")[t.number % 3]
    return agreed(t, function, some_format(t, 5), 4 * BATCH)


@trial("MHN-CIR-5", "circuits", cases=40)
def operations_are_those_of_f_p(t: Trial) -> Judgement | None:
    """Sums, differences, products, inner products and maxima of elements are those of the arithmetic."""
    function = ("sum", "multiply", "subtract", "maximum", "dot")[t.number % 5]
    sizes = some_format(t, 5)
    if "terms" in FUNCTIONS[function].sizes:
        sizes["terms"] = between(t, 2, 6)
    return agreed(t, function, sizes)


@trial("MHN-CIR-5", "circuits", cases=16)
def networks_are_evaluated_as_in_f_p(t: Trial) -> Judgement | None:
    """A layer, and two of them, return bit for bit what their evaluation in the arithmetic returns."""
    shape = ((1, 1, 2, 1), (1, 2, 2, 2), (2, 1, 2, 1), (1, 1, 4, 2))[t.number % 4]
    bits = 2 + min(t.number, 1)
    sizes = {"bits": bits, "least": -bits - 3, "greatest": 3 - bits}
    sizes |= dict(zip(("layers", "states", "stored", "d"), shape, strict=True))
    return agreed(t, "network", sizes, 24)


@trial("MHN-CIR-6", "circuits", cases=24)
def depth_is_the_same_for_every_size(t: Trial) -> Judgement | None:
    """The depth at drawn sizes is that at the least sizes."""
    function, least, drawn = drawn_sizes(t)
    depths = [t.ask("measure", function, sizes)["depth"] for sizes in (least, drawn)]
    return require(f"depth of {function} {drawn}", depths[0] == depths[1], depths[1], depths[0])


def drawn_sizes(t: Trial) -> tuple[str, Sizes, Sizes]:
    """A function with the sizes from which on its depth is constant, and with drawn ones."""
    form = {"bits": 3, "least": -5, "greatest": 1}
    wide = {"bits": between(t, 3, 6), "least": -5 - between(t, 0, 8), "greatest": 1}
    kind = t.number % 6
    if kind == 0:
        return "addition", {"width": 2}, {"width": between(t, 3, 64, 9)}
    if kind == 1:
        sizes = {"numbers": between(t, 3, 64, 5), "width": between(t, 2, 16)}
        return "iterated-sum", {"numbers": 2, "width": 2}, sizes
    if kind == 2:
        return "product", {"width": 2}, {"width": between(t, 3, 24, 3)}
    if kind == 3:
        return "sum", {**form, "terms": 2}, {**wide, "terms": between(t, 3, 24, 3)}
    if kind == 4:
        return "maximum", {**form, "terms": 2}, {**wide, "terms": between(t, 3, 24, 3)}
    n = between(t, 3, 5)
    shape = {"layers": 1, "states": 2, "stored": 2, "d": 2}
    return "network", {**form, **shape}, {**form, **shape, "states": n, "stored": n}


def sum_bound(numbers: int, total: int) -> float:
    """Most gates of an iterated sum of so many numbers with ``total`` bits (MHN-CIR-7)."""
    return total**2 / 2 + total * (2 * numbers**2 + 2 * numbers + 5)


def layer_bound(n: int, d: int, bits: int, exponents: int) -> int:
    """Most gates of a layer with at most ``n`` states and ``n`` stored patterns (MHN-CIR-7)."""
    u = bits + exponents + 2
    tables: int = n**2 * (u * 2**bits + 4**bits)
    return 80 * u**3 * n**2 * d * (n + d) + tables


@trial("MHN-CIR-7", "circuits", cases=12)
def size_is_within_the_polynomial(t: Trial) -> Judgement | None:
    """Sums and layers have at most as many gates as the polynomials say."""
    if t.number % 3:
        sizes = {"numbers": between(t, 2, 200, 9), "width": between(t, 1, 60, 3)}
        bound = sum_bound(sizes["numbers"], len(t.ask("measure", "iterated-sum", sizes)["outputs"]))
        size = t.ask("measure", "iterated-sum", sizes)["size"]
        return _within(f"gates of iterated-sum {sizes}", size, bound)
    n, d, bits = between(t, 2, 6), 2, between(t, 2, 5)
    sizes = {"bits": bits, "least": -2 * bits, "greatest": 1, "layers": 1, "states": n, "stored": n, "d": d}
    size = t.ask("measure", "network", sizes)["size"]
    return _within(f"gates of network {sizes}", size, layer_bound(n, d, bits, 2 * bits + 2))


def _within(what: str, size: int, bound: float) -> Judgement:
    return Judgement(size / bound, what, str(size), "", bound, 1)


@trial("MHN-CIR-8", "circuits", cases=32)
def gates_found_from_their_numbers_make_the_circuit(t: Trial) -> Judgement | None:
    """The gates, asked for one by one, make a circuit of the depth, size, kinds and values of the whole."""
    form: Sizes = {"bits": 2, "least": -2, "greatest": -1}
    function, sizes = (
        ("addition", {"width": 4}),
        ("iterated-sum", {"numbers": 3, "width": 2}),
        ("product", {"width": 2}),
        ("exp", form),
        ("comparison", {"width": 3}),
        ("rounding", {"width": 4, "bits": 2}),
        ("divide", form),
        ("sum", {**form, "terms": 2}),
    )[t.number % 8]
    measured = t.ask("measure", function, sizes)
    inputs = t.rng.integers(0, 2, (BATCH, measured["inputs"])).astype(np.uint8)
    expected = np.asarray(t.ask("evaluate", function, sizes, inputs)).astype(np.uint8)
    gates = [t.ask("gate", function, sizes, number) for number in range(measured["size"])]
    return all_of(*_assembled(f"{function} {sizes}", measured, gates, inputs, expected))


def _assembled(
    what: str, measured: Any, gates: list[Any], inputs: Bits, expected: Bits
) -> list[Judgement | None]:
    """Evaluate gates one after the other, and count them."""
    values = [np.zeros(len(inputs), np.int64), *inputs.T.astype(np.int64)]
    depths = [0] * len(values)
    for number, (kind, threshold, connections) in enumerate(gates):
        # An AND needs all of its inputs, an OR and a NOT say what their weights and thresholds must be.
        allowed = {"AND": (len(connections), 1), "OR": (1, 1), "NOT": (0, -1)}.get(kind)
        codes = [code for code, _ in connections]
        if any(not 0 <= code < len(values) for code in codes):
            return [require(f"inputs of gate {number} of {what}", False, codes, f"codes below {len(values)}")]
        if kind not in KINDS or (
            allowed is not None and (threshold, *{w for _, w in connections}) not in {allowed, allowed[:1]}
        ):
            return [require(f"gate {number} of {what}", False, (threshold, connections), f"of kind {kind}")]
        total = sum((w * values[code] for code, w in connections), np.zeros(len(inputs), np.int64))
        values.append((total >= threshold).astype(np.int64))
        depths.append(1 + max((depths[code] for code in codes), default=0))
    outputs = measured["outputs"]
    got = np.stack([values[code] for code in outputs], axis=1)
    counts = Counter(kind for kind, _, _ in gates)
    depth = max(depths[code] for code in outputs)
    kinds = {kind: counts[kind] for kind in KINDS}
    return [
        require(f"values of {what}", bool((got == expected).all()), got.tolist(), expected.tolist()),
        require(f"depth of {what}", depth == measured["depth"], measured["depth"], depth),
        require(f"gates of {what}", kinds == measured["kinds"], measured["kinds"], kinds),
    ]


@trial("MHN-CIR-9", "circuits", cases=12)
def products_of_many_integers_are_exact(t: Trial) -> Judgement | None:
    """Many integers are multiplied exactly through Chinese remainders, at one depth."""
    sizes = {"numbers": between(t, 2, 5), "width": between(t, 2, 6)}
    depth = t.ask("measure", "iterated-product", sizes)["depth"]
    least = t.ask("measure", "iterated-product", {"numbers": 2, "width": 2})["depth"]
    return all_of(
        agreed(t, "iterated-product", sizes),
        require(f"depth of iterated-product {sizes}", depth == least, depth, least),
    )


@trial("MHN-CIR-10", "circuits", cases=16)
def products_of_many_elements_are_rounded_once(t: Trial) -> Judgement | None:
    """Many elements are multiplied exactly and rounded once, at one depth."""
    sizes = some_format(t, 6)
    # Among so many exponents some product is no overflow and no underflow.
    sizes |= {"bits": max(3, sizes["bits"]), "least": sizes["least"] - 2, "terms": between(t, 2, 6)}
    least = {"bits": 3, "least": -5, "greatest": 1, "terms": 2}
    depths = [t.ask("measure", "product-of-elements", of)["depth"] for of in (least, sizes)]
    return all_of(
        agreed(t, "product-of-elements", sizes),
        require(f"depth of product-of-elements {sizes}", depths[0] == depths[1], depths[1], depths[0]),
    )
