"""The reference and an implementation that shares nothing with it agree on every component."""

import math
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hopspec.formats import FLOAT16, FORMATS, Format
from hopspec.reference import campaign, gradients, oracle, second_opinion, update
from hopspec.reference.second_opinion import UndecidedError
from hopspec.reference.target import FormatGoal

COMPONENTS = 5000


def test_no_component_differs() -> None:
    cells = campaign.run(COMPONENTS, seed=1)
    wrong = [mismatch for cell in cells.values() for mismatch in cell.mismatches]
    assert not wrong, wrong[0]
    assert sum(cell.components for cell in cells.values()) >= COMPONENTS
    assert {fmt for fmt, _, _ in cells} == set(FORMATS)
    # Balls leave numbers on a boundary undecided, and little else.
    assert sum(cell.straddling for cell in cells.values()) < COMPONENTS // 100
    assert sum(cell.undecided for cell in cells.values()) == 0


def test_every_kind_is_drawn_and_is_what_its_name_says() -> None:
    rng = np.random.default_rng(0)
    for kind in campaign.KINDS:
        cases = [campaign.draw(rng, kind, (8, 4)) for _ in range(30)]
        for case in cases:
            assert np.isfinite(case.query).all()
            assert np.isfinite(case.memory).all()
        weights = [
            oracle.association(case.query[0], case.memory, beta=abs(case.beta) + 1, to="float32")
            for case in cases
        ]
        if kind in ("saturated", "huge"):
            assert sum(max(w) == 1.0 for w in weights) > 10
        elif kind == "equal-logits":
            assert sum(len(set(w)) == 1 for w in weights) > 5
        elif kind == "duplicates":
            assert all(len(np.unique(case.memory, axis=0)) <= max(1, len(case.memory) // 3) for case in cases)


@pytest.mark.parametrize("quantity", campaign.QUANTITIES)
def test_a_wrong_last_bit_is_seen(monkeypatch: pytest.MonkeyPatch, quantity: str) -> None:
    # The reference's own rounding is spoiled: everything it decides is one unit too large.
    right = FormatGoal.decide

    def wrong(self: Any, *arguments: Any) -> Any:
        x = right(self, *arguments)
        return x if not math.isfinite(x) else x + math.ldexp(1.0, max(math.frexp(x)[1] - 53, -1074))

    monkeypatch.setattr(FormatGoal, "decide", wrong)
    rng = np.random.default_rng(5)
    cell = campaign.Cell()
    for _ in range(4):
        case = campaign.draw(rng, "normal", (8, 4), positive=True)
        campaign.compare(case, quantity, FORMATS["float64"], cell, 1000, rng)
    assert cell.mismatches


# The second column has the mean 257 in either group of equal logits, so the update has it too.
ON_A_MIDPOINT = ([1.0, 0.0], [[1.0, 256.0], [1.0, 258.0], [0.0, 257.0]])


def test_an_exact_result_on_a_boundary_is_left_undecided() -> None:
    with pytest.raises(UndecidedError, match=r"undecided at 4096 bits: between 256.0 and 258.0") as caught:
        second_opinion.update(*ON_A_MIDPOINT, beta=1.0, to="bfloat16")
    assert caught.value.opinion == (256.0, 258.0)
    assert caught.value.bits == 4096
    assert update(*ON_A_MIDPOINT, beta=1.0, to="bfloat16")[1] == 256.0
    found = second_opinion.opinions("update", *ON_A_MIDPOINT, beta=1.0, to="bfloat16")
    assert found[1] == (256.0, 258.0)


def test_masks_values_and_empty_rows() -> None:
    query, memory = [[0.5, 1.0], [1.0, 2.0]], [[1.0, 0.0], [0.5, 1.5], [2.0, -1.0]]
    keep = [[True, False, True], [False, False, False]]
    values, g = [[1.0], [2.0], [3.0]], [[1.0], [0.5]]
    options: dict[str, Any] = {"beta": 0.7, "keep": keep}
    assert second_opinion.update(query, memory, values=values, **options) == update(
        query, memory, values=values, **options
    )
    assert second_opinion.log_normalizer(query, memory, **options)[1] == -math.inf
    assert second_opinion.energy(query, memory, **options) == oracle.energy(query, memory, **options)
    assert second_opinion.gradients(query, memory, g, values=values, **options) == gradients(
        query, memory, g, values=values, **options
    )
    for function in ("association", "lse"):
        theirs, ours = getattr(second_opinion, function), getattr(oracle, function)
        assert theirs(query, memory, **options) == ours(query, memory, **options)


def test_formats_and_overflow() -> None:
    assert math.isnan(second_opinion.update([1.0], [[500.0]], beta=1.0, to="float8_e4m3fn")[0])
    saturating = replace(FORMATS["float8_e4m3fn"], overflow="saturate")
    assert second_opinion.update([1.0], [[-500.0]], beta=1.0, to=saturating) == [-448.0]
    assert second_opinion.update([1.0], [[65520.0]], beta=1.0, to=FLOAT16) == [math.inf]
    assert second_opinion.update([1.0], [[2.0**-25 * 1.001]], beta=1.0, to=FLOAT16) == [2.0**-24]
    with pytest.raises(ValueError, match="to must be a format of float64 numbers, got 'binary128'"):
        second_opinion.update([1.0], [[1.0]], beta=1.0, to=Format("binary128", 113, -16382, 16383))
    with pytest.raises(ValueError, match=r"quantity must be one of update, .*, got 'entropy'"):
        second_opinion.opinions("entropy", [1.0], [[1.0]], beta=1.0)


def test_without_flint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flint", None)
    with pytest.raises(ImportError, match=r"pip install hopspec\[flint\]"):
        second_opinion.update([1.0], [[1.0]], beta=1.0)


def test_the_precision_of_flint_is_given_back() -> None:
    from flint import ctx  # noqa: PLC0415 (its state is what is tested)

    before = ctx.prec
    second_opinion.update([1.0], [[1.0], [0.5]], beta=1.0)
    with pytest.raises(UndecidedError):
        second_opinion.update(*ON_A_MIDPOINT, beta=1.0, to="bfloat16")
    assert ctx.prec == before


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        campaign.main(["--components", "168", "--seed", "2"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert "168 components, 0 mismatches" in text
    assert len(text.splitlines()) == 2 + len(FORMATS) * len(campaign.QUANTITIES) + 1
    with pytest.raises(ValueError, match="components must be at least 168, got 10"):
        campaign.run(10, 0)
