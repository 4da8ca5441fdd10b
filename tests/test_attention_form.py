"""Attention kernels under test: how they are called, what they claim, and what a report says of them."""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from typer.testing import CliRunner

from hopspec.properties.calls import Answer, Call
from hopspec.properties.cli import app
from hopspec.properties.forms import attention_capabilities, attention_implementation, in_form
from hopspec.properties.judgement import Case
from hopspec.properties.models import MODELS
from hopspec.properties.problem import Problem
from hopspec.properties.reporting.encoding import as_json
from hopspec.properties.reporting.loading import from_json
from hopspec.properties.reporting.reproduction import snippet
from hopspec.properties.results import Verdict
from hopspec.properties.runner import Options, verify
from hopspec.properties.session import Session, Unusable, resolve
from hopspec.types import Capabilities, Implementation

SDPA = "attention:torch.nn.functional:scaled_dot_product_attention"
HERE = "attention:tests.test_attention_form"
# What an attention kernel is about, without the families of long problems.
CLAUSES = (
    "MHN-DOM-2",
    "MHN-DOM-7",
    "MHN-UPD-7",
    "MHN-UPD-8",
    "MHN-LAW-1",
    "MHN-LAW-8",
    "MHN-MSK-2",
    "MHN-MSK-4",
    "MHN-ATT-3",
    "MHN-ATT-4",
    "MHN-ATT-5",
    "MHN-ATT-6",
)
NUMPY = Capabilities(dtypes=("float32", "float64"), values=True, masks=True, bias=True, batch=True)


def eager(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """Attention as it is written in ten lines."""
    t = scale * (q @ k.mT)
    if is_causal:
        t = t.masked_fill(~torch.ones(t.shape[-2:], dtype=torch.bool).tril(), -math.inf)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        t = t.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        t = t + attn_mask
    return torch.softmax(t, -1) @ v


def least(q: Tensor, k: Tensor, v: Tensor, *, scale: float) -> Tensor:
    """Attention that takes nothing but a scale."""
    return torch.softmax(scale * (q @ k.mT), -1) @ v


def seeing_the_next(q: Tensor, k: Tensor, v: Tensor, *, scale: float, is_causal: bool = False) -> Tensor:
    """A causal mask that is off by one."""
    mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril(1) if is_causal else None
    return eager(q, k, v, scale=scale, attn_mask=mask)


def without_last(q: Tensor, k: Tensor, v: Tensor, *, scale: float) -> Tensor:
    """The last key is left out."""
    most = max(1, k.shape[-2] - 1)
    return least(q, k[..., :most, :], v[..., :most, :], scale=scale)


def without_scale(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Not an attention kernel."""
    return v


def in_numpy(
    q: NDArray[Any],
    k: NDArray[Any],
    v: NDArray[Any],
    *,
    scale: float,
    attn_mask: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Attention on NumPy arrays."""
    t = np.asarray(scale, dtype=q.dtype) * (q @ k.swapaxes(-1, -2))
    if attn_mask is not None:
        t = np.where(attn_mask, t, -np.inf) if attn_mask.dtype == np.bool_ else t + attn_mask
    with np.errstate(invalid="ignore"):
        p = np.exp(t - t.max(-1, keepdims=True))
        return np.asarray(p / p.sum(-1, keepdims=True) @ v)


IN_NUMPY: Implementation[NDArray[Any]] = attention_implementation(
    in_numpy, "in-numpy", capabilities=NUMPY, to_array=np.ndarray.astype, from_array=np.asarray
)
EAGER_WITH_BIAS: Implementation[Tensor] = attention_implementation(
    eager, "eager", capabilities=replace(attention_capabilities(eager), bias=True, shapes=())
)


def verdicts(target: str, *dtypes: str, clauses: tuple[str, ...] = CLAUSES) -> dict[str, Verdict]:
    """The verdict of every clause, the same in all dtypes."""
    options = Options(
        (target,), dtypes=dtypes, profile="quick", in_process=True, clauses=clauses, shrink=False
    )
    report = verify(options)
    assert not report.unusable
    assert [(c.check, c.dtype, c.failure) for c in report.failures] == []
    (name,) = report.targets
    found = {}
    for clause in clauses:
        said = {report.verdict(clause, name, dtype) for dtype in dtypes}
        assert len(said) == 1, clause
        found[clause] = said.pop()
    return found


def claimed(found: dict[str, Verdict]) -> set[str]:
    return {clause for clause, verdict in found.items() if verdict is Verdict.HOLDS}


@pytest.mark.parametrize("target", [SDPA, f"{HERE}:eager"])
def test_a_whole_kernel_claims_masks_and_causal_calls_by_its_signature(target: str) -> None:
    found = claimed(verdicts(target, "bfloat16" if target == SDPA else "float32"))
    assert found == set(CLAUSES) - {"MHN-MSK-4", "MHN-ATT-4", "MHN-ATT-5", "MHN-ATT-6"}


def test_the_least_kernel_claims_less() -> None:
    found = claimed(verdicts(f"{HERE}:least", "float32"))
    assert found == set(CLAUSES) - {"MHN-MSK-2", "MHN-MSK-4"} - {f"MHN-ATT-{n}" for n in (3, 4, 5, 6)}


@pytest.mark.parametrize("name", ["RIGHT_ATTENTION", "RIGHT_BINARY_ATTENTION"])
def test_the_right_kernels_keep_every_clause_they_claim(name: str) -> None:
    found = verdicts(f"hopspec.properties.faults:{name}", "float32" if "BINARY" in name else "bfloat16")
    lacking: set[str] = set() if name == "RIGHT_BINARY_ATTENTION" else {"MHN-ATT-6"}
    assert claimed(found) == set(CLAUSES) - lacking


def test_numpy_arrays_are_attended_to() -> None:
    found = verdicts("tests.test_attention_form:IN_NUMPY", "float64")
    assert "MHN-ATT-5" in claimed(found)


def test_a_bias_is_claimed_by_a_descriptor() -> None:
    found = verdicts("tests.test_attention_form:EAGER_WITH_BIAS", "float16")
    assert "MHN-ATT-5" in claimed(found)


def test_values_are_read_out_and_leading_dimensions_broadcast() -> None:
    torch.manual_seed(0)
    seen: list[tuple[tuple[int, ...], ...]] = []

    def f(q: Tensor, k: Tensor, v: Tensor, *, scale: float, attn_mask: Tensor | None = None) -> Tensor:
        shapes = [tuple(x.shape) for x in (q, k, v)]
        assert all(x.is_contiguous() for x in (q, k, v))
        seen.append((*shapes, () if attn_mask is None else tuple(attn_mask.shape)))
        return eager(q, k, v, scale=scale, attn_mask=attn_mask)

    mine = attention_implementation(f, "mine")
    query, memory, values = torch.randn(3, 5), torch.randn(7, 5), torch.randn(7, 2)
    expected = torch.softmax(0.5 * query @ memory.T, -1) @ values
    torch.testing.assert_close(mine.retrieve(query, memory, beta=0.5, values=values), expected)
    assert seen.pop() == ((1, 1, 3, 5), (1, 1, 7, 5), (1, 1, 7, 2), ())
    keep = torch.rand(7) < 0.5
    keep[0] = True
    result = mine.retrieve(query.expand(2, 1, 3, 5), memory.expand(4, 7, 5), beta=0.5, keep=keep)
    assert result.shape == (2, 4, 3, 5)
    assert seen.pop() == ((2, 4, 3, 5), (2, 4, 7, 5), (2, 4, 7, 5), (2, 4, 3, 7))
    assert mine.retrieve(query.expand(6, 2, 1, 3, 5), memory, beta=0.5).shape == (6, 2, 1, 3, 5)
    assert seen.pop()[0] == (12, 1, 3, 5)


def test_grouped_heads_are_passed_on_and_enabled() -> None:
    given: dict[str, Any] = {}

    def f(q: Tensor, k: Tensor, v: Tensor, *, scale: float, enable_gqa: bool = False) -> Tensor:
        given.update(k=tuple(k.shape), v=tuple(v.shape), enabled=enable_gqa)
        return torch.zeros(*q.shape[:-1], v.shape[-1])

    mine = attention_implementation(f, "mine")
    attend = mine.attention
    assert attend is not None
    query, memory = torch.zeros(2, 6, 3, 5), torch.zeros(2, 7, 5)
    assert attend(query, memory, beta=1.0, values=torch.zeros(2, 7, 4)).shape == (2, 6, 3, 4)
    assert given == {"k": (2, 2, 7, 5), "v": (2, 2, 7, 4), "enabled": True}
    attend(query, torch.zeros(7, 5), beta=1.0)
    assert given["enabled"] is False


def test_a_pair_gives_log_normalizers() -> None:
    def f(q: Tensor, k: Tensor, v: Tensor, *, scale: float) -> tuple[Tensor, Tensor]:
        t = scale * (q @ k.mT)
        return torch.softmax(t, -1) @ v, torch.logsumexp(t, -1)

    mine = attention_implementation(f, "mine", returns_log_normalizer=True)
    query, memory = torch.ones(3, 2), torch.zeros(4, 2)
    assert mine.log_normalizer is not None
    torch.testing.assert_close(mine.log_normalizer(query, memory, beta=1.0), torch.full((3,), math.log(4)))
    assert mine.retrieve(query, memory, beta=1.0).shape == (3, 2)
    single = attention_implementation(f, "mine")
    with pytest.raises(TypeError, match=r"returned a tuple of 2, expected one array.*returns_log_normalizer"):
        single.retrieve(query, memory, beta=1.0)
    other = attention_implementation(least, "least", returns_log_normalizer=True)
    with pytest.raises(TypeError, match=r"least returned a Tensor, expected a pair"):
        other.retrieve(query, memory, beta=1.0)


def test_a_result_of_the_wrong_shape_is_left_as_it_is() -> None:
    def f(q: Tensor, k: Tensor, v: Tensor, *, scale: float) -> Tensor:
        return eager(q, k, v, scale=scale).transpose(1, 2)

    mine = attention_implementation(f, "mine")
    assert mine.retrieve(torch.ones(3, 2), torch.ones(4, 2), beta=1.0).shape == (1, 3, 1, 2)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (without_scale, r"cannot call f\(q: .*scale.*expected f\(q, k, v, \*, scale"),
        (lambda q, k, v, dropout, *, scale: q, r"missing a required argument: 'dropout'"),
        (3, r"must be callable, got int"),
    ],
)
def test_what_is_no_attention_kernel_is_refused(function: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        attention_implementation(function, "mine")


def test_a_claim_without_its_parameter_is_refused() -> None:
    for claim in ("masks", "bias", "causal"):
        value: Any = "top-left" if claim == "causal" else True
        with pytest.raises(ValueError, match=rf"mine claims {claim}, but has no parameter"):
            attention_implementation(least, "mine", capabilities=replace(Capabilities(), **{claim: value}))


def test_targets_that_are_no_kernels_are_unusable() -> None:
    with pytest.raises(Unusable, match=r"is no attention kernel: cannot call f"):
        resolve(f"{HERE}:without_scale")
    with pytest.raises(Unusable, match="no attribute 'missing'"):
        resolve(f"{HERE}:missing")
    assert resolve("attention:tests.test_attention_form:IN_NUMPY") is IN_NUMPY


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"causal": "top"}, ValueError, r"causal must be 'top-left', 'bottom-right' or '', got 'top'"),
        ({"causal": True}, ValueError, r"causal must be .*got True"),
        ({"log_base": 10}, ValueError, r"log_base must be math\.e or 2, got 10"),
        ({"shapes": ((1, 2),)}, ValueError, r"shapes must hold \(L, N, d\).*got \(1, 2\)"),
        ({"shapes": ((1, 2, -3),)}, ValueError, r"shapes must hold .*got \(1, 2, -3\)"),
        ({"shapes": (1, 2, 3)}, TypeError, r"shapes must hold tuples of ints, got 1"),
        ({"shapes": [(1, 2, 3)]}, TypeError, r"shapes must be a tuple of shapes, got list"),
        ({"dtypes": "float32"}, TypeError, r"dtypes must be a tuple of names, got 'float32'"),
        ({"beta_range": (1.0, 0.0)}, ValueError, r"beta_range must hold the smaller number first"),
        ({"beta_range": 1.0}, TypeError, r"beta_range must be a pair of numbers, got 1\.0"),
    ],
)
def test_malformed_capabilities_are_refused(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        replace(Capabilities(), **changes)


def test_malformed_descriptors_are_refused() -> None:
    model = resolve("torch-eager").accuracy[0]
    for changes, error, message in (
        ({"retrieve": 3}, TypeError, "retrieve must be callable, got int"),
        ({"capabilities": "all"}, TypeError, "capabilities must be a Capabilities, got str"),
        ({"accuracy": [model]}, TypeError, "accuracy must be a tuple of AccuracyModels"),
        ({"accuracy": (model, model)}, ValueError, "accuracy must hold one model per dtype"),
        ({"to_array": np.asarray}, ValueError, "from_array is missing"),
    ):
        with pytest.raises(error, match=message):
            replace(resolve("torch-eager"), **changes)


def test_the_form_is_part_of_the_target() -> None:
    assert in_form("my:f", "attention") == "attention:my:f"
    assert in_form("my:f", "retrieval") == "my:f"
    assert in_form("fault:no-max-subtraction", "attention") == "fault:no-max-subtraction"
    assert in_form("attention:my:f", "attention") == "attention:my:f"
    with pytest.raises(ValueError, match=r"form 'atention' is unknown; expected one of retrieval, attention"):
        in_form("my:f", "atention")


def test_the_command_line_takes_the_form(tmp_path: Path) -> None:
    arguments = ["--profile", "quick", "--dtype", "float32", "--in-process", "--clause", "MHN-ATT-3"]
    target = "tests.test_attention_form:seeing_the_next"
    result = CliRunner().invoke(app, ["verify", "--form", "attention", target, *arguments])
    assert result.exit_code == 1
    assert "seeing_the_next(q, k, " in result.stdout
    wrong = CliRunner().invoke(app, ["verify", "--form", "atention", target, *arguments])
    assert wrong.exit_code == 2
    assert "form 'atention' is unknown; expected one of retrieval, attention" in wrong.stderr


def _numbers(text: str) -> NDArray[np.float64]:
    """The numbers in what a snippet prints."""
    return np.array([float(x) for x in re.findall(r"-?\d+\.\d*(?:e[+-]?\d+)?|nan", text)])


@pytest.mark.parametrize(
    ("target", "clause"),
    [
        (f"{HERE}:seeing_the_next", "MHN-ATT-3"),
        (f"{HERE}:without_last", "MHN-LAW-1"),
        ("fault:bias-times-scale", "MHN-ATT-5"),
        ("fault:heads-interleaved", "MHN-ATT-4"),
        ("fault:mask-ignored-when-causal", "MHN-ATT-3"),
        ("fault:half-binary", "MHN-ATT-6"),
    ],
)
def test_the_snippet_reproduces_the_failure(target: str, clause: str) -> None:
    options = Options((target,), dtypes=("float32",), profile="quick", in_process=True, clauses=(clause,))
    report = verify(options)
    cell = report.broken[0]
    assert cell.failure is not None
    code = snippet(report, cell, cell.failure)
    asks = "is_causal=True" if target.startswith(HERE) else "causal=True"
    assert (asks in code) is (clause == "MHN-ATT-3")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "snippet", "exec"), {})
    if cell.failure.kind == "bound" and clause in ("MHN-ATT-3", "MHN-ATT-4", "MHN-ATT-5"):
        # What it prints first is wrong, what it prints last is right.
        got, exact = (_numbers(text) for text in out.getvalue().rsplit("\n[", 1))
        shown = {name: _numbers(getattr(cell.failure, name)) for name in ("got", "expected")}
        assert not np.allclose(got, exact, rtol=1e-6, atol=0)
        for number in shown["got"]:
            assert np.isclose(got, number, rtol=1e-3, atol=1e-3).any()
        for number in shown["expected"]:
            assert np.isclose(exact, number, rtol=1e-3, atol=1e-3).any() or number == 0


def test_a_session_asks_for_a_bias_in_the_dtype_of_the_queries() -> None:
    session = Session(SDPA)
    arrays = {"query": np.eye(2), "memory": np.eye(2), "bias": np.array([[0.0, -np.inf], [1.0, 0.0]])}
    answer = session.answer(Call("attention", "bfloat16", arrays, {"beta": 1.0}))
    assert answer.error == ""
    assert answer.dtypes == ("bfloat16",)
    np.testing.assert_array_equal(answer.arrays[0][0], [1.0, 0.0])


def test_a_failure_with_a_bias_survives_being_written_and_read() -> None:
    options = Options(
        ("fault:bias-times-scale", f"{HERE}:seeing_the_next"),
        dtypes=("float32",),
        profile="quick",
        in_process=True,
        clauses=("MHN-ATT-3", "MHN-ATT-5"),
        shrink=False,
    )
    report = verify(options)
    again = from_json(json.loads(json.dumps(as_json(report))))
    asked = []
    for ours, theirs in zip(report.broken, again.broken, strict=True):
        assert ours.failure is not None
        assert theirs.failure is not None
        assert snippet(report, ours, ours.failure) == snippet(again, theirs, theirs.failure)
        asked.append((ours.failure.problem.bias is not None, ours.failure.problem.causal))
    assert (True, "") in asked
    assert (False, "top-left") in asked


def test_mask_and_bias_are_one_argument() -> None:
    asked: list[Call] = []

    def ask(call: Call) -> Answer:
        asked.append(call)
        return Answer((np.zeros((1, 1)),), ("float32",))

    description = Session(SDPA).describe()
    p = Problem(np.ones((1, 1)), np.ones((2, 1)), 1.0, np.array([True, False]), bias=np.array([[0.5, 2.0]]))
    case = Case(p, "float32", description, MODELS["any-float32"], ask)
    case.answer("attention")
    np.testing.assert_array_equal(asked[0].arguments["bias"], [[0.5, -np.inf]])
    assert "keep" not in asked[0].arguments
    assert "causal" not in asked[0].options
    case.answer("attention", p.but(bias=None, causal="bottom-right"))
    assert asked[1].options["causal"] is True
    assert asked[1].arguments["keep"].tolist() == [True, False]
