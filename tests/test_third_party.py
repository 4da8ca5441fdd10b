"""Adapters of implementations that others wrote; those that are not installed are skipped."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hopspec.properties.adapters.__main__ import main
from hopspec.properties.adapters.convention import constants
from hopspec.properties.adapters.kernels import OtherKernelError, running
from hopspec.properties.adapters.page import page
from hopspec.properties.adapters.registry import THIRD_PARTIES, ThirdParty, missing, third_party
from hopspec.properties.adapters.survey import chosen, read_data, summary, write_data
from hopspec.properties.builtin import BUILTIN
from hopspec.properties.cli import app
from hopspec.properties.options import Options
from hopspec.properties.problem import Problem
from hopspec.properties.results import Cell, Failure
from hopspec.properties.runner import verify
from hopspec.properties.session import Unusable, resolve

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = [t.name for t in THIRD_PARTIES]
CALL_SECONDS = 120.0


def the(name: str) -> ThirdParty:
    third = third_party(name)
    assert third is not None
    return third


def test_every_third_party_is_a_builtin_with_an_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    (everything,) = extras["third-party"]
    for third in THIRD_PARTIES:
        assert BUILTIN[third.name] == third.path
        assert third.extra in extras
        assert third.extra == "fast" or third.extra in everything
        required = " ".join(extras[third.extra])
        assert third.distributions[0] in required


def test_at_least_eight_projects() -> None:
    assert len({t.distributions[0] for t in THIRD_PARTIES}) >= 8


@pytest.mark.parametrize("third", [t for t in THIRD_PARTIES if t.extra != "fast"], ids=lambda t: t.name)
def test_a_missing_package_is_named_with_its_extra(
    third: ThirdParty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, third.modules[0], None)
    with pytest.raises(
        Unusable, match=rf"{third.modules[0]}.* not installed: pip install 'hopspec\[{third.extra}\]'"
    ):
        resolve(third.name)


def test_verifying_what_is_missing_ends_with_status_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    result = CliRunner().invoke(app, ["verify", "jax-dpa", "--in-process"])
    assert result.exit_code == 2
    assert "jax-dpa needs jax" in result.output
    assert "hopspec[third-jax]" in result.output
    assert "Traceback" not in result.output


def test_implementations_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    result = CliRunner().invoke(app, ["implementations"])
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.output.splitlines() if line.strip()}
    assert {*BUILTIN} <= {*lines}
    assert torch.__version__ in lines["sdpa-math"]
    assert "hopspec[third-jax]" in lines["jax-dpa"]


@pytest.mark.parametrize("name", ["sdpa-math", "sdpa-flash", "multihead-attention"])
def test_kernels_of_pytorch_hold(name: str) -> None:
    clauses = ("MHN-BND-7", "MHN-DOM-2", "MHN-UPD-8")
    dtypes = ("float32", "bfloat16")
    report = verify(Options((name,), dtypes, profile="quick", examples=4, clauses=clauses, in_process=True))
    assert not report.unusable
    assert not report.broken
    assert sum(c.cases for c in report.cells if not c.unclaimed) >= 8


@pytest.mark.parametrize("third", [t for t in THIRD_PARTIES if t.extra != "fast"], ids=lambda t: t.name)
def test_others_answer_from_a_process_of_their_own(third: ThirdParty) -> None:
    if lacking := missing(third):
        pytest.skip(lacking)
    dtype = "float64" if third.name == "qriton-hopfield-anomaly" else "float32"
    options = Options((third.name,), (dtype,), clauses=("MHN-UPD-8",), examples=4, timeout=CALL_SECONDS)
    report = verify(options)
    assert not report.unusable
    assert not report.broken
    assert any(c.cases for c in report.cells)
    assert report.environments[third.name][third.distributions[0]]


def test_another_kernel_is_an_error() -> None:
    from torch.nn.attention import SDPBackend  # noqa: PLC0415

    from hopspec.properties.adapters.sdpa import forced  # noqa: PLC0415

    q = torch.ones(1, 1, 2, 4)
    flash = "_scaled_dot_product_flash_attention_for_cpu"
    assert forced(SDPBackend.FLASH_ATTENTION, flash)(q, q, q, scale=1.0).shape == q.shape
    with pytest.raises(OtherKernelError, match=f"{flash}, which did not run; what ran: .*_safe_softmax"):
        forced(SDPBackend.MATH, flash)(q, q, q, scale=1.0)
    with pytest.raises(OtherKernelError, match="what ran: nothing"):
        running("mm", len, [])


def test_running_uncompiled_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    flex = importlib.import_module("hopspec.properties.adapters.flex")
    monkeypatch.setattr(flex, "compiled", lambda q, _k, _v, _scale: q)
    q = torch.ones(1, 1, 2, 4)
    with pytest.raises(OtherKernelError, match="nothing was compiled"):
        flex.attention(q, q, q, scale=1.0)


def test_identity_projections_carry_the_scale_exactly_where_they_can() -> None:
    from hopspec.properties.adapters.multihead import layer  # noqa: PLC0415

    multihead = resolve("multihead-attention")
    query, memory = torch.randn(2, 4), torch.randn(3, 4)
    got = multihead.retrieve(query, memory, beta=2.0**18)
    projections = layer(4, torch.float32).in_proj_weight.chunk(3)
    assert torch.equal(projections[0] @ projections[1], 2.0**19 * torch.eye(4))
    assert torch.equal(projections[2], torch.eye(4))
    assert torch.allclose(got, memory[(query @ memory.mT).argmax(1)])


def test_constants_make_the_energy_of_the_specification() -> None:
    from hopspec import reference  # noqa: PLC0415

    memory = np.array([[0.5, -1.0], [2.0, 0.25], [0.0, 1.5]])
    query, beta = np.array([[0.25, 0.75]]), 1.5
    logits = beta * memory @ query[0]
    bare = -np.log(np.exp(logits).sum()) / beta + (query[0] @ query[0]) / 2
    exact = reference.energy(query.tolist(), memory.tolist(), beta=beta, to="float64")[0]
    assert float(bare + constants(memory, beta)) == pytest.approx(exact, rel=1e-14)


def test_the_page_is_what_the_data_say() -> None:
    data = read_data(ROOT / "docs" / "third-party.json")
    assert (ROOT / "docs" / "third-party.md").read_text(encoding="utf-8") == page(data)
    assert [*data["implementations"]] == [name for name in NAMES if name in data["implementations"]]


def test_a_summary_says_what_held_what_broke_and_what_was_observed() -> None:
    clauses = ("MHN-UPD-8", "MHN-MSK-4", "MHN-PRC-4")
    options = Options(("sdpa-math",), ("float32",), clauses=clauses, examples=4, in_process=True)
    report = verify(options)
    found = summary(report, the("sdpa-math"))
    assert found["holds"] == ["MHN-UPD-8"]
    assert found["broken"] == []
    assert {o["clause"] for o in found["observed"]} >= {"MHN-MSK-4", "MHN-PRC-4"}
    assert found["models"] == {"float32": "any-float32"}
    assert {"masks", "values", "causal top-left"} <= {*found["claims"]}


def test_a_call_that_is_refused_does_not_hide_what_another_answered() -> None:
    options = Options(("sdpa-math",), ("float32",), clauses=("MHN-UPD-8",), examples=4, in_process=True)
    report = verify(options)
    problem = Problem(np.ones((2, 2)), np.eye(2), 1.0)
    smaller = Problem(np.ones((1, 1)), np.ones((1, 1)), 1.0)
    differs = Failure(problem, "alone", "bound", "retrieve alone", "other bits", "the same bits")
    # The rest of a message may name files of the machine.
    told = "retrieve raised TypeError: there are no masks"
    refused = Failure(smaller, "masked", "raised", f"{told}\n  in somewhere.py, line 3")
    cells = [
        Cell("MHN-DOM-9", f.check, "sdpa-math", "float32", "batch_invariant", 3, cases=3, broken=b, failure=f)
        for f, b in ((differs, 2), (refused, 3))
    ]
    report.cells += cells
    observed = {o["clause"]: o for o in summary(report, the("sdpa-math"))["observed"]}["MHN-DOM-9"]
    assert (observed["broken"], observed["cases"], observed["refused"]) == (2, 3, False)
    assert observed["what"] == "retrieve alone"
    report.cells.remove(cells[0])
    observed = {o["clause"]: o for o in summary(report, the("sdpa-math"))["observed"]}["MHN-DOM-9"]
    assert (observed["broken"], observed["refused"], observed["what"]) == (3, True, told)


def broken_data() -> dict[str, Any]:
    """Data of one implementation that breaks one clause, as a survey writes them."""
    failure = {
        "clause": "MHN-BND-2",
        "property": "update_within_bound",
        "counts": {"float32": [2, 20], "float64": [0, 20]},
        "dtype": "float32",
        "kind": "bound",
        "shape": "1 query, 1 memory, width 1, beta 1.0",
        "what": "update[0, 0]",
        "got": "31.5",
        "expected": "32.0",
        "bound": 0.25,
        "ratio": 2.0,
        "inputs": {"query": [[0.0]], "memory": [[32.0]], "beta": 1.0},
    }
    observed = {
        "clause": "MHN-MSK-4",
        "lacks": ["empty_rows"],
        "broken": 3,
        "cases": 3,
        "refused": False,
        "what": "update of an empty row",
        "got": "nan",
        "expected": "0",
    }
    of = {
        "versions": {"torch": "0.0"},
        "profile": "quick",
        "environment": {"python": "3.11", "machine": "x86_64"},
        "claims": ["masks"],
        "models": {"float32": "any-float32", "float64": "any-float64"},
        "behaves_like": {"float32": "none of the built-in models", "float64": "wide-float64"},
        "cases": 40,
        "worst_update": None,
        "holds": [],
        "short": ["MHN-UPD-8"],
        "broken": [failure],
        "observed": [observed, observed | {"clause": "MHN-NFI-1", "broken": 0}, observed | {"refused": True}],
    }
    return {"seed": 0, "implementations": {"sdpa-math": of}}


def test_the_page_shows_figures_of_a_counterexample() -> None:
    text = page(broken_data())
    assert "Breaks MHN-BND-2 Error of the update** (`update_within_bound`; float32 2 of 20)" in text
    assert "got `31.5`, expected `32.0`; allowed error 0.25, 2 times the bound." in text
    assert "memory = [[32.0]]" in text
    assert "Behaves like: none of the built-in models in float32, `wide-float64`." in text
    assert "Too few cases for a verdict: MHN-UPD-8" in text
    assert "Held all the same: MHN-NFI-1" in text
    assert "Not judged in this survey: sdpa-flash, multihead-attention" in text
    assert "MHN-MSK-4 Empty rows, 3 of 3: update of an empty row, got `nan`, expected `0`" in text
    assert "Not offered (the call raises): MHN-MSK-4 Empty rows (empty_rows)" in text


def test_what_compiles_for_each_shape_is_verified_alone() -> None:
    groups = chosen(["sdpa-math", "flex-attention", "sdpa-flash"])
    assert [[t.name for t in g] for g in groups] == [["sdpa-math", "sdpa-flash"], ["flex-attention"]]


def test_surveying_what_is_unknown_or_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="no third party is named 'nosuch'; expected some of sdpa-math"):
        chosen(["nosuch"])
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(RuntimeError, match="keras needs keras"):
        chosen(["keras"])


class TestFindings:
    """What the page says of single implementations, each by code that has nothing of this package in it."""

    def test_keras_computes_in_float32_when_asked_for_float64(self) -> None:
        if importlib.util.find_spec("keras") is None:
            pytest.skip("keras is not installed")
        code = """
import os
os.environ["KERAS_BACKEND"] = "torch"
import keras, torch
layer = keras.layers.Attention(dtype="float64")
memory = torch.tensor([[[1.0]]], dtype=torch.float64)
print(layer.compute_dtype, layer([memory, memory]).dtype)
"""
        assert printed(code) == "float64 torch.float32"

    def test_jax_takes_the_softmax_in_float32_and_does_not_compile_halves_of_every_shape(self) -> None:
        if importlib.util.find_spec("jax") is None:
            pytest.skip("jax is not installed")
        code = """
import jax, jax.numpy as jnp
jax.config.update("jax_enable_x64", True)
q = jnp.ones((1, 1, 1, 1), dtype="float64")
k = jnp.array([[[[0.0]], [[1.0]]]], dtype="float64")
out = float(jax.nn.dot_product_attention(q, k, k, scale=1.0)[0, 0, 0, 0])
print(abs(out - 1 / (1 + jnp.exp(-1.0))) > 1e-9)
for dtype in ("float16", "bfloat16"):
    try:
        jax.jit(lambda x: jax.nn.dot_product_attention(x, x, x))(q.astype(dtype))
    except Exception as error:
        print("not supported" in str(error))
"""
        assert printed(code) == "True True True"

    def test_onnx_runtime_reads_a_scale_of_zero_as_none_given(self) -> None:
        if importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("onnx") is None:
            pytest.skip("onnxruntime or onnx is not installed")
        code = """
import numpy as np, onnxruntime
from onnx import TensorProto, helper
def run(op, domain, shape, **attributes):
    node = helper.make_node(op, ["q", "k", "v"], ["out"], domain=domain, **attributes)
    ins = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "qkv"]
    outs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)]
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(helper.make_graph([node], "g", ins, outs), opset_imports=opsets, ir_version=11)
    x = np.array([0.0, 1.0], dtype=np.float32).reshape(shape)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"q": x, "k": x, "v": x})[0].ravel()
none = run("MultiHeadAttention", "com.microsoft", (1, 2, 1), num_heads=1)
zero = run("MultiHeadAttention", "com.microsoft", (1, 2, 1), num_heads=1, scale=0.0)
print(np.array_equal(none, zero), zero[1] > 0.7)
try:
    run("Attention", "", (1, 1, 2, 1), scale=0.0)
except Exception as error:
    print("scale must be greater than 0" in str(error))
"""
        assert printed(code) == "True True True"

    def test_mhn_ai_agent_memory_has_no_zero_steps(self) -> None:
        network = pytest.importorskip("hopfield_memory.network")
        made = network.ModernHopfieldNetwork(2, adaptive_beta=False)
        made.store(np.array([1.0, 0.0]))
        with pytest.raises(UnboundLocalError):
            made.retrieve(np.array([1.0, 0.0]), num_steps=0)

    def test_x_transformers_takes_the_softmax_in_float32(self) -> None:
        if importlib.util.find_spec("x_transformers") is None:
            pytest.skip("x-transformers is not installed")
        code = """
import math, torch
from x_transformers.attend import Attend
q = torch.ones(1, 1, 1, 1, dtype=torch.float64)
k = torch.tensor([[[[0.0], [1.0]]]], dtype=torch.float64)
out = float(Attend(scale=1.0)(q, k, k)[0])
print(abs(out - 1 / (1 + math.exp(-1))) > 1e-9)
"""
        assert printed(code) == "True"


def printed(code: str) -> str:
    """What a program prints, in one line; third parties warn when they are imported."""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=CALL_SECONDS)
    assert result.returncode == 0, result.stderr
    return " ".join(result.stdout.split())


def test_a_page_has_one_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tmp_path / "data.json", tmp_path / "page.md"
    write_data({"seed": 3, "implementations": {}}, data)
    files = ["--data", str(data), "--page", str(out)]
    assert main([*files, "--only-page"]) == 0
    assert "seed 3" in out.read_text(encoding="utf-8")
    assert main(["sdpa-math", *files]) == 2
    assert f"--seed must be that of {data}, 3, got 0" in capsys.readouterr().err
