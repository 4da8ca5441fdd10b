"""Implementations that can be called with some shapes only."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hopspec.properties.calls import Call
from hopspec.properties.families import FAMILIES, drawn
from hopspec.properties.forms import attention_capabilities, attention_implementation
from hopspec.properties.reporting.encoding import as_json
from hopspec.properties.reporting.loading import from_json
from hopspec.properties.results import Report, Verdict
from hopspec.properties.runner import Options, verify
from hopspec.properties.shaping import STRUCTURED, Unlisted, admits, check_shape, resized, shaped
from hopspec.types import Capabilities, Implementation

LISTED = ((4, 16, 8), (1, 16, 8), (3, 40, 8))
seen: set[tuple[int, ...]] = set()


def compiled(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """Attention that exists in a few shapes."""
    shape = (q.shape[-2], k.shape[-2], q.shape[-1])
    assert v.shape[-1] == q.shape[-1]
    seen.add(shape)
    if shape not in LISTED:
        raise RuntimeError(f"nothing was compiled for {shape}")
    t = scale * (q @ k.mT)
    if is_causal:
        t = t.masked_fill(~torch.ones(t.shape[-2:], dtype=torch.bool).tril(), -torch.inf)
    if attn_mask is not None:
        t = t.masked_fill(~attn_mask, -torch.inf)
    return torch.softmax(t, -1) @ v


def described(f: Any, shapes: tuple[tuple[int, ...], ...]) -> Implementation[Tensor]:
    return attention_implementation(
        f, f.__name__, capabilities=replace(attention_capabilities(f), shapes=shapes)
    )


def without_first(q: Tensor, k: Tensor, v: Tensor, *, scale: float) -> Tensor:
    """The first key is left out."""
    return torch.softmax(scale * (q @ k[..., 1:, :].mT), -1) @ v[..., 1:, :]


COMPILED = described(compiled, LISTED)
DETERMINISTIC = replace(COMPILED, capabilities=replace(COMPILED.capabilities, deterministic=True))
BROKEN = described(without_first, ((2, 16, 8),))
CLAUSES = (
    "MHN-BND-2",
    "MHN-LAW-1",
    "MHN-LAW-3",
    "MHN-LAW-7",
    "MHN-DOM-2",
    "MHN-DOM-8",
    "MHN-MSK-2",
    "MHN-ATT-3",
)


@pytest.fixture(scope="module")
def report() -> Report:
    seen.clear()
    options = Options(
        ("tests.test_shapes:COMPILED",),
        ("float32", "bfloat16"),
        in_process=True,
        profile="quick",
        clauses=CLAUSES,
    )
    return verify(options)


def test_no_call_of_another_shape_is_made(report: Report) -> None:
    assert seen == set(LISTED)
    assert report.exit_status == 0
    assert report.broken == []


def test_what_the_shapes_allow_is_judged(report: Report) -> None:
    for clause in ("MHN-BND-2", "MHN-LAW-1", "MHN-DOM-2", "MHN-MSK-2", "MHN-ATT-3"):
        assert report.verdict(clause, "compiled", "float32") is Verdict.HOLDS, clause
    # The one other shape with a single query makes this possible.
    assert report.verdict("MHN-DOM-8", "compiled", "float32") is Verdict.HOLDS


def test_what_needs_another_shape_is_not_claimed_with_the_reason(report: Report) -> None:
    for clause, reason in (
        ("MHN-LAW-3", "needs retrieve of shape "),
        ("MHN-LAW-7", "no problem of the family single has one of its shapes"),
    ):
        assert report.verdict(clause, "compiled", "float32") is Verdict.NOT_CLAIMED
        for cell in report.of(clause, "compiled", "float32"):
            assert cell.cases == 0
            assert cell.lacking.startswith(reason)
    (cell,) = report.of("MHN-LAW-3", "compiled", "float32")
    assert "its shapes are 4x16x8, 1x16x8, 3x40x8" in cell.lacking


def test_the_reason_is_in_the_written_report(report: Report) -> None:
    again = from_json(json.loads(json.dumps(as_json(report))))
    for ours, theirs in zip(report.cells, again.cells, strict=True):
        assert (ours.lacking, ours.verdict) == (theirs.lacking, theirs.verdict)


def test_a_fault_shows_in_a_listed_shape() -> None:
    options = Options(
        ("tests.test_shapes:BROKEN",), ("float32",), in_process=True, profile="quick", clauses=("MHN-BND-2",)
    )
    found = verify(options)
    assert found.broken
    failure = found.broken[0].failure
    assert failure is not None
    assert failure.kind == "bound"
    assert failure.problem.memory.shape == (16, 8)


@pytest.mark.parametrize(
    ("shapes", "sizes", "expected"),
    [
        ((), (1, 2, 3, 4), True),
        (((1, 2, 3),), (1, 2, 3, 3), True),
        (((1, 2, 3),), (1, 2, 3, 4), False),
        (((1, 2, 3, 4),), (1, 2, 3, 4), True),
        (((0, 0, 3, 0),), (9, 8, 3, 7), True),
        (((0, 0, 3, 0),), (9, 8, 4, 7), False),
        (((0, 0, 0),), (9, 8, 3, 3), True),
        (((0, 0, 0),), (9, 8, 3, 2), False),
        (((0, 0, 0),), (0, 8, 3, 3), False),
        (((1, 2, 3), (4, 5, 6)), (4, 5, 6, 6), True),
    ],
)
def test_which_sizes_a_shape_stands_for(
    shapes: tuple[tuple[int, ...], ...], sizes: tuple[int, ...], expected: bool
) -> None:
    assert admits(shapes, sizes) is expected


def test_calls_are_looked_at_before_they_are_made() -> None:
    arrays = {"query": np.zeros((2, 3, 4)), "memory": np.zeros((5, 4))}
    check_shape(((3, 5, 4),), Call("retrieve", "float32", arrays))
    with pytest.raises(Unlisted, match=r"retrieve of shape 3x5x4x6, its shapes are 3x5x4"):
        check_shape(((3, 5, 4),), Call("retrieve", "float32", arrays | {"values": np.zeros((5, 6))}))
    with pytest.raises(Unlisted, match=r"its shapes are anyxanyx4"):
        check_shape(
            ((0, 0, 4),), Call("retrieve", "float32", {"query": np.zeros(4), "memory": np.zeros((5, 4))})
        )


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in ("single", *STRUCTURED)])
def test_problems_take_every_shape_and_keep_their_formats(family: str) -> None:
    shapes = ((2, 24, 8), (1, 3, 5, 2), (5, 7, 1))
    for number in range(12):
        p = drawn(family, 0, number)
        q = shaped(p, family, shapes)
        assert q is not None
        read = q.memory if q.values is None else q.values
        assert admits(shapes, (len(q.query), *q.memory.shape, read.shape[1]))
        assert set(p.formats) <= set(q.formats)
        assert len(read) == len(q.memory)
        assert q.kept.shape == (len(q.query), len(q.memory))
        assert np.sign(q.beta) == np.sign(p.beta)
        assert np.isfinite(q.memory).all()
        again = shaped(p, family, shapes)
        assert again is not None
        np.testing.assert_array_equal(again.memory, q.memory)


def test_logits_stay_as_far_apart_as_they_were() -> None:
    close = 0
    for number in range(30):
        p = drawn("general", 0, number)
        q = resized(p, (2, 32, 64, 64))
        close += 0.5 < q.spread / p.spread < 2 if p.spread > 0 else 1
    assert close >= 25


def test_one_memory_stays_one() -> None:
    p = drawn("single", 0, 0)
    assert shaped(p, "single", ((2, 4, 8),)) is None
    alone = shaped(p, "single", ((2, 4, 8), (3, 1, 8), (1, 0, 5)))
    assert alone is not None
    assert alone.memory.shape[0] == 1


def test_bare_attention_reads_values_as_wide_as_keys() -> None:
    shapes = attention_capabilities(compiled).shapes
    assert shapes == ((0, 0, 0),)
    for number in range(6):
        q = shaped(drawn("values", 0, number), "values", shapes)
        assert q is not None
        assert q.values is not None
        assert q.values.shape == q.memory.shape


def test_a_second_call_needs_no_shape_of_twice_as_many_memories() -> None:
    options = Options(
        ("tests.test_shapes:DETERMINISTIC",),
        ("float32",),
        profile="quick",
        clauses=("MHN-DOM-7",),
        in_process=True,
    )
    report = verify(options)
    (name,) = {cell.implementation for cell in report.cells}
    assert report.verdict("MHN-DOM-7", name, "float32") is Verdict.HOLDS


def test_a_list_of_shapes_is_part_of_what_is_claimed() -> None:
    assert Capabilities(shapes=LISTED).shapes == LISTED
