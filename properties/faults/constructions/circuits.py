"""Wrong circuits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hopspec.properties.faults.constructions.registry import misbuild
from hopspec.reference.circuits.blocks import INPUT, ZERO, Block, Copies, Gates, Kind, Wire
from hopspec.reference.circuits.compiler import ReferenceCompiler
from hopspec.reference.circuits.functions import format_of
from hopspec.reference.circuits.integers import block_width, iterated_sum
from hopspec.reference.circuits.layers import layer
from hopspec.reference.circuits.remainders import iterated_product, moduli

Sizes = Mapping[str, int]


def with_stage(block: Block, at: int, /, **changes: Any) -> Block:
    """A block in which one stage is another."""
    stages = list(block.stages)
    stages[at] = replace(stages[at], **changes)
    return Block(block.name, block.inputs, block.outputs, tuple(stages), block.output)


def within(block: Block, at: int, inner: Block) -> Block:
    """A block that copies another block in one of its stages."""
    return with_stage(block, at, block=inner)


def inner_block(block: Block, at: int) -> Block:
    """The block a stage copies."""
    stage = block.stages[at]
    assert isinstance(stage, Copies)
    return stage.block


@misbuild("sums_of_integers_are_exact")
class CarryWiredToItsNeighbor(ReferenceCompiler):
    """The gate that propagates a carry past a bit is that of the bit before."""

    def block(self, function: str, sizes: Sizes) -> Block:
        """One connection of the chain of carries is wrong."""
        right = super().block(function, sizes)
        if function != "addition":
            return right
        chain = right.stages[2]
        assert isinstance(chain, Gates)

        def wired(row: int, j: int) -> Wire:
            wire = chain.wire(row, j)
            return Wire(wire.stage, wire.number - 1) if j == 1 else wire

        return with_stage(right, 2, wire=wired)


@misbuild("depth_is_the_same_for_every_size")
class RippleCarry(ReferenceCompiler):
    """Carries go from bit to bit, so that the depth grows with the width."""

    def block(self, function: str, sizes: Sizes) -> Block:
        """An adder whose every carry waits for the one before."""
        if function != "addition":
            return super().block(function, sizes)
        width = sizes["width"]

        def parts(k: int) -> tuple[Wire, ...]:
            return (Wire(INPUT, k), Wire(INPUT, width + k), Wire(k - 1, 0) if k else ZERO)

        def carry(k: int) -> Gates:
            return Gates(Kind.THRESHOLD, 1, lambda _: 3, lambda _, j: parts(k)[j], threshold=lambda _, __: 2)

        total = Gates(
            Kind.THRESHOLD,
            width,
            lambda _: 4,
            lambda k, j: parts(k)[j] if j < 3 else Wire(k, 0),
            lambda _, j: -2 if j == 3 else 1,
            threshold=lambda _, __: 1,
        )
        stages = (*(carry(k) for k in range(width)), total)
        return Block("ripple-carry adder", 2 * width, width, stages, lambda k: Wire(width, k))


@misbuild("sums_of_integers_are_exact")
class ThresholdOffByOne(ReferenceCompiler):
    """The sums of blocks are compared with numbers one too large."""

    def block(self, function: str, sizes: Sizes) -> Block:
        """Thresholds of the first stage of the table of block sums are raised."""
        right = super().block(function, sizes)
        if function != "iterated-sum":
            return right
        table = inner_block(right, 0)
        return within(right, 0, with_stage(table, 0, threshold=lambda _, c: c + 2))


@misbuild("sums_of_integers_are_exact")
class NarrowBlocks(ReferenceCompiler):
    """Blocks of columns are one bit narrower than the number of terms asks for."""

    def block(self, function: str, sizes: Sizes) -> Block:
        """The carries of a block then need more columns than the next block has."""
        right = super().block(function, sizes)
        if function != "iterated-sum":
            return right
        numbers, width = sizes["numbers"], sizes["width"]
        narrow = max(1, block_width(numbers) - 1)
        return iterated_sum(numbers, width, right.outputs, columns=narrow)


@misbuild("integers_are_multiplied_compared_and_rounded")
class StickyBitDropped(ReferenceCompiler):
    """What is below the guard bit is forgotten, so that every number above a midpoint counts as a tie."""

    def block(self, function: str, sizes: Sizes) -> Block:
        """The gates that look at the bits below see none."""
        right = super().block(function, sizes)
        if function != "rounding":
            return right
        rest = right.stages[2]
        assert isinstance(rest, Gates)
        return with_stage(right, 2, wire=lambda k, j: ZERO if j else rest.wire(k, j))


@misbuild("integers_are_multiplied_compared_and_rounded")
class ProductOfShiftedRows(ReferenceCompiler):
    """The last row of a product is shifted by one bit too few."""

    def block(self, function: str, sizes: Sizes) -> Block:
        """The rows are numbered from 0, the last one twice."""
        right = super().block(function, sizes)
        if function != "product":
            return right
        rows = right.stages[1]
        assert isinstance(rows, Copies)
        last, total = sizes["width"] - 1, right.outputs

        def wired(copy: int, x: int) -> Wire:
            number, k = divmod(x, total)
            return (
                rows.wire(copy, x + 1)
                if number == last and last > 0 and k + 1 < total
                else rows.wire(copy, x)
            )

        return with_stage(right, 1, wire=wired)


@misbuild("tables_hold_the_function")
class TableOneEntryOff(ReferenceCompiler):
    """Tables return the entry before the one asked for."""

    def block(self, function: str, sizes: Sizes) -> Block:
        """The first stage of a table reaches each value one late."""
        right = super().block(function, sizes)
        if function not in ("exp", "sqrt"):
            return right
        return with_stage(right, 0, threshold=lambda _, c: c + 2)


@misbuild("operations_are_those_of_f_p")
class SignsForgotten(ReferenceCompiler):
    """Negative terms of a sum are complemented, but the one that completes the complement is not added."""

    def block(self, function: str, sizes: Sizes) -> Block:
        """The column of signs of the lowest block is not connected."""
        right = super().block(function, sizes)
        if function != "sum":
            return right
        added = inner_block(right, 1)
        blocks = added.stages[0]
        assert isinstance(blocks, Copies)
        extra = blocks.block.inputs - sizes["terms"]
        unsigned = with_stage(added, 0, wire=lambda b, x: ZERO if x >= extra else blocks.wire(b, x))
        return within(right, 1, unsigned)


@misbuild("networks_are_evaluated_as_in_f_p")
class KeysAreReadOut(ReferenceCompiler):
    """The read-out takes the projected keys in place of the values."""

    def block(self, function: str, sizes: Sizes) -> Block:
        """The inner products with the weights read the stage of the keys."""
        right = super().block(function, sizes)
        if function != "network":
            return right
        inner = layer(format_of(sizes), sizes["states"], sizes["stored"], sizes["d"])
        at = len(inner.stages) - 2
        out = inner.stages[at]
        assert isinstance(out, Copies)

        def wired(c: int, k: int) -> Wire:
            wire = out.wire(c, k)
            return Wire(1, wire.number) if wire.stage == 2 else wire

        return within(right, sizes["layers"] - 1, with_stage(inner, at, wire=wired))


@misbuild("size_is_within_the_polynomial")
class OneGateForEveryInput(ReferenceCompiler):
    """A sum is a table of all inputs: exponentially many gates."""

    def measure(self, function: str, sizes: Sizes) -> dict[str, Any]:
        """The gates of a table with one entry for each value of all the bits."""
        found = super().measure(function, sizes)
        if function == "iterated-sum":
            found["size"] = 2 ** found["inputs"] + len(found["outputs"])
        return found


@misbuild("gates_found_from_their_numbers_make_the_circuit")
class ConnectionsOneCopyOff(ReferenceCompiler):
    """Asked for a gate, it names connections of the gate before."""

    def gate(self, function: str, sizes: Sizes, number: int) -> tuple[str, int, list[tuple[int, int]]]:
        """Kind and threshold are right."""
        kind, threshold, connections = super().gate(function, sizes, number)
        before = super().gate(function, sizes, max(0, number - 1))
        return kind, threshold, before[2] if before[0] == kind else connections


@misbuild("products_of_many_integers_are_exact")
class OnePrimeTooFew(ReferenceCompiler):
    """The product of the primes is smaller than the largest product of the numbers."""

    def block(self, function: str, sizes: Sizes) -> Block:
        """Large products lose a multiple of the primes' product."""
        right = super().block(function, sizes)
        if function != "iterated-product":
            return right
        primes = moduli(sizes["numbers"] * sizes["width"])
        return iterated_product(sizes["numbers"], sizes["width"], primes[:-1])


@misbuild("products_of_many_elements_are_rounded_once")
class CarryLeftOutOfTheExponent(ReferenceCompiler):
    """A product of elements whose significand is rounded up to a power of two keeps the lower exponent."""

    def block(self, function: str, sizes: Sizes) -> Block:
        """The last of the numbers that make the exponent is not connected."""
        right = super().block(function, sizes)
        if function != "product-of-elements":
            return right
        exponents = right.stages[4]
        assert isinstance(exponents, Copies)
        last = exponents.block.inputs // (sizes["terms"] + 2) * (sizes["terms"] + 1)
        return with_stage(right, 4, wire=lambda c, x: ZERO if x == last else exponents.wire(c, x))


@misbuild("products_of_many_elements_are_rounded_once")
class ProductCutBeforeRounding(ReferenceCompiler):
    """What is below the guard digit of a product of elements is cut off before it is rounded."""

    def block(self, function: str, sizes: Sizes) -> Block:
        """The last digits of the product of the significands are not connected."""
        right = super().block(function, sizes)
        if function != "product-of-elements":
            return right
        rounded = right.stages[2]
        assert isinstance(rounded, Copies)
        places = sizes["terms"] * sizes["bits"]
        # The shortest product of significands has its leading one at the place ``terms (bits - 1)``.
        lost = places - sizes["terms"] - sizes["bits"]

        def wired(copy: int, k: int) -> Wire:
            return ZERO if k < lost else rounded.wire(copy, k)

        return with_stage(right, 2, wire=wired)
