"""The Triton kernels, run by Triton's interpreter."""

from __future__ import annotations

import importlib
import math
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hopspec.fastpath import _route
from hopspec.fastpath.triton import rule, tiles
from hopspec.fastpath.triton.source import SOURCE, available, load_interpreted
from hopspec.properties import assert_within, retrieval_problem
from hopspec.properties.runner import Options, verify
from hopspec.types import Status

if not available():
    pytest.skip("Triton is not installed: it is for Linux", allow_module_level=True)

sys.path.append(str(Path(__file__).resolve().parent.parent))
catalogue: Any = importlib.import_module("tests.triton_faults.catalogue")
probes: Any = importlib.import_module("tests.triton_faults.probes")
runs: Any = importlib.import_module("tests.triton_faults.run")
interpreted: Any = importlib.import_module("hopspec.fastpath.triton.interpreted")
KERNELS = interpreted.INTERPRETED
DTYPES = (torch.float32, torch.bfloat16, torch.float16)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Infinities arise where faults are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def within(result: Tensor, query: Tensor, memory: Tensor, **options: Any) -> None:
    name = str(query.dtype).removeprefix("torch.")
    model = next(model for model in KERNELS.accuracy if model.storage.name == name)
    assert_within(result, retrieval_problem(query, memory, **options), model)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("queries", "memories", "width", "read_width"),
    [(1, 1, 1, 1), (5, 17, 20, 3), (17, 35, 1, 40), (2, 16, 7, 0)],
)
def test_sizes_that_are_no_powers_of_two(
    dtype: torch.dtype, queries: int, memories: int, width: int, read_width: int
) -> None:
    query, memory = drawn(queries, width, dtype=dtype), drawn(memories, width, dtype=dtype, seed=1)
    within(KERNELS.retrieve(query, memory, beta=0.8), query, memory, beta=0.8)
    values = drawn(memories, read_width, dtype=dtype, seed=2)
    result = KERNELS.retrieve(query, memory, beta=0.8, values=values)
    assert result.shape == (queries, read_width)
    if read_width:
        within(result, query, memory, beta=0.8, values=values)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_to_ask_or_to_remember(dtype: torch.dtype) -> None:
    some, none = torch.ones(3, 2, dtype=dtype), torch.ones(0, 2, dtype=dtype)
    assert torch.equal(KERNELS.retrieve(some, none, beta=1.0), torch.zeros_like(some))
    assert (KERNELS.log_normalizer(some, none, beta=1.0) == -math.inf).all()
    assert KERNELS.retrieve(none, some, beta=1.0).shape == (0, 2)
    assert KERNELS.settle(none, some, beta=1.0).steps.shape == (0,)
    assert (KERNELS.settle(some, none, beta=1.0).status == Status.CONVERGED).all()


def test_bfloat16_is_rounded_bit_for_bit() -> None:
    """Every pattern of the upper bits, with lower bits around the middle, as PyTorch rounds it."""
    upper = torch.arange(1 << 16, dtype=torch.int64) << 16
    lower = torch.tensor([0, 1, 0x4000, 0x7FFF, 0x8000, 0x8001, 0xC000, 0xFFFF])
    bits = (upper[:, None] + lower).flatten()
    numbers = torch.where(bits >= 1 << 31, bits - (1 << 32), bits).to(torch.int32).view(torch.float32)
    kernel = load_interpreted(Path(__file__).with_name("triton_rounding.py")).rounding_kernel
    result = torch.empty(numbers.numel(), dtype=torch.bfloat16)
    back = torch.empty(numbers.numel(), dtype=torch.float32)
    kernel[(1,)](numbers, result, back, numbers.numel())
    expected = numbers.bfloat16()
    same = (result.view(torch.int16) == expected.view(torch.int16)) | (result.isnan() & expected.isnan())
    assert same.all()
    number = ~expected.isnan()
    assert torch.equal(back[number].view(torch.int32), expected[number].float().view(torch.int32))


@pytest.mark.parametrize("dtype", DTYPES)
def test_settling_freezes_each_query_at_its_own_stop(dtype: torch.dtype) -> None:
    query, memory = 2 * drawn(20, 4, dtype=dtype), drawn(19, 4, dtype=dtype, seed=1)
    together = KERNELS.settle(query, memory, beta=0.6)
    assert len(set(together.steps.tolist())) > 2
    for i in (0, 7, 19):
        alone = KERNELS.settle(query[i : i + 1], memory, beta=0.6)
        assert alone.steps[0] == together.steps[i]
        assert torch.equal(alone.state[0], together.state[i])


def test_rows_out_of_range_are_settled_too() -> None:
    memory = torch.tensor([[3e38, 0.0], [-3e38, 1e38]])
    settled = KERNELS.settle(torch.tensor([[1e38, 0.0], [math.nan, 0.0]]), memory, beta=1.0)
    assert torch.equal(settled.state[0], memory[0])
    assert settled.status.tolist() == [Status.CONVERGED, Status.NONFINITE]


def test_parts_and_the_whole_agree_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    query, memory = drawn(5, 6), 2 * drawn(90, 6, seed=1)
    started: list[str] = []
    start = interpreted.Engine.start

    def noted(self: Any, name: str, *rest: Any, **options: Any) -> None:
        started.append(name)
        start(self, name, *rest, **options)

    monkeypatch.setattr(interpreted.Engine, "start", noted)
    for processors, expected in ((1, 2), (3, 3), (100, 3)):
        monkeypatch.setattr(interpreted, "_PROCESSORS", processors)
        started.clear()
        within(KERNELS.retrieve(query, memory, beta=0.5), query, memory, beta=0.5)
        assert len(started) == expected


def test_calls_the_kernels_do_not_serve() -> None:
    engine = interpreted.engine_of(None)
    query, memory = torch.ones(2, 3), torch.ones(4, 3)
    with _route.forced(engine):
        for other in (
            {"query": query.double(), "memory": memory.double()},
            {"query": torch.ones(2, 257), "memory": torch.ones(4, 257)},
            {"query": query.clone().requires_grad_(), "memory": memory},
            {"query": query, "memory": memory, "batch_invariant": True},
        ):
            assert interpreted.DESCRIPTOR.retrieve(**other, beta=1.0).isfinite().all()
        with pytest.raises(AttributeError):
            interpreted.DESCRIPTOR.retrieve(query, memory, beta=1.0)


def test_nothing_is_imported_before_it_is_needed() -> None:
    script = (
        "import sys, torch, hopspec.fastpath, hopspec.fastpath.triton.descriptor\n"
        "import hopspec.fastpath.triton.interpreted\n"
        "hopspec.fastpath.retrieve(torch.ones(1, 1), torch.ones(1, 1), beta=1.0)\n"
        "assert 'triton' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_what_was_recorded_decides(tmp_path: Path) -> None:
    kind = rule.Kind("a GPU", "attend", "float16", "few", 64)
    record = tmp_path / "winners.json"
    record.write_text('{"winners": []}')
    assert rule.winner_of(kind, record) == "triton"
    entry = ", ".join(f'"{name}": "{value}"' for name, value in kind._asdict().items() if name != "width")
    other = tmp_path / "other.json"
    other.write_text(f'{{"winners": [{{{entry}, "width": 64, "winner": "torch"}}]}}')
    assert rule.winner_of(kind, other) == "torch"
    assert rule.winner_of(kind._replace(width=128), other) == "triton"


@pytest.mark.parametrize("dtype", sorted(tiles.BLOCKS))
@pytest.mark.parametrize("kernel", ["attend", "settle"])
def test_every_width_has_a_tile(kernel: str, dtype: str) -> None:
    for width in range(tiles.MOST_WIDTH + 1):
        tile = tiles.tile_of(kernel, dtype, tiles.padded(width))
        assert tile.block == tiles.BLOCKS[dtype]
        assert tile.rows >= 16


@pytest.mark.parametrize("name", [*catalogue.FAULTS])
def test_every_fault_has_its_place_in_the_source(name: str) -> None:
    source = SOURCE.read_text(encoding="utf-8")
    text = catalogue.edited(source, catalogue.FAULTS[name])
    assert text != source
    compile(text, name, "exec")


def test_a_fault_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="occurs 0 times"):
        catalogue.edited("", catalogue.FAULTS["neither_rescaled"])


@pytest.mark.parametrize("probe", [*probes.PROBES])
def test_right_kernels_pass_every_probe(probe: str) -> None:
    probes.PROBES[probe][1](KERNELS)


PROBED = [name for name, fault in catalogue.FAULTS.items() if fault.by in probes.PROBES]


@pytest.mark.parametrize("name", sorted({*catalogue.SAMPLE, *PROBED}))
def test_faults_are_found(name: str) -> None:
    """A sample of what properties find, and all that probes do; ``tests.triton_faults.run`` runs all."""
    assert any(runs.judged(name, seed).found_by for seed in range(6))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_right_kernels_keep_what_they_claim(dtype: str) -> None:
    options = Options(
        ("triton-interpreted",),
        dtypes=(dtype,),
        clauses=("MHN-BND-2", "MHN-MSK-2", "MHN-NFI-3"),
        profile="interpreter",
        examples=5,
        in_process=True,
        shrink=False,
    )
    report = verify(options)
    assert report.exit_status == 0, report
    cases = Counter[str]()
    for cell in report.cells:
        if not cell.unclaimed:
            cases[cell.clause] += cell.cases
    assert min(cases[clause] for clause in options.clauses) >= 7
