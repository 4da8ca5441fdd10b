"""Prepared memories: the same bits as tensors, work done once, changes noticed, gradients as ever."""

from __future__ import annotations

import copy
import io
import pickle
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from hopspec.fastpath import (
    Memory,
    _rescue,
    _stored,
    _visible,
    association,
    certify,
    energy,
    evaluate,
    log_normalizer,
    retrieve,
    settle,
)
from hopspec.fastpath._stored import Stored

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "retrieve": retrieve,
    "two steps": lambda *args, **options: retrieve(*args, steps=2, **options),
    "association": association,
    "log_normalizer": log_normalizer,
    "energy": energy,
    "evaluate": evaluate,
    "settle": lambda *args, **options: settle(*args, max_steps=5, **options),
    "certify": certify,
}
READ_VALUES = ("retrieve", "two steps", "evaluate")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small problems wait longer for a second thread than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Drawn(NamedTuple):
    query: Tensor
    patterns: Tensor
    values: Tensor | None
    keep: Tensor | None
    beta: float | Tensor


def draw(seed: int) -> Drawn:
    """A problem of any structure: shapes, strides, masks, dtypes, and numbers of any size or none."""
    choose = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    dtype = choose.choice(DTYPES)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    lead = choose.choice([(), (), (), (1,), (3,), (2, 1), (2, 3)])
    n, d, length = choose.choice([0, 1, 2, 5, 9, 40]), choose.choice([1, 2, 5]), choose.choice([0, 1, 2, 4])
    own = choose.choice([lead, (1,) * len(lead), ()])
    query, patterns = normal(*choose.choice([lead, ()]), length, d), normal(*own, n, d)
    size = choose.choice(["ordinary"] * 4 + ["tiny", "huge", "huge-query", "nan", "inf"])
    largest = float(torch.finfo(dtype).max)
    if size == "tiny":
        patterns *= float(torch.finfo(dtype).tiny) * 4
    if size in ("huge", "huge-query"):
        query *= largest / 16
    if size == "huge":
        patterns *= largest / 16
    if size in ("nan", "inf") and n:
        patterns[..., choose.randrange(n), 0] = float(size)
    values = normal(*choose.choice([own, ()]), n, choose.choice([1, 3, d])) if choose.random() < 0.5 else None
    keep = None
    if choose.random() < 0.6:
        shape = choose.choice([(n,), (1, n), (length, n), (*lead, length, n), (*lead, 1, n), ()])
        keep = torch.rand(shape, generator=generator) < choose.choice([0.7, 0.7, 0.1])
    query, patterns = query.to(dtype), patterns.to(dtype)
    values = None if values is None else values.to(dtype)
    if choose.random() < 0.3:
        patterns = patterns.mT.contiguous().mT
    if choose.random() < 0.3:
        patterns = patterns.expand(*lead, *patterns.shape[-2:])
    beta: float | Tensor = choose.choice([0.01, 1.0, 7.5])
    if lead and choose.random() < 0.3:
        beta = torch.rand(lead, generator=generator) + 0.5
    return Drawn(query, patterns, values, keep, beta)


def parts(result: Any) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else tuple(result)


def same(result: Any, other: Any) -> bool:
    """Whether two results have the same bits, NaN for NaN."""
    return all(
        torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())
        for a, b in zip(parts(result), parts(other), strict=True)
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_memory_gives_the_bits_of_the_tensor(name: str) -> None:
    function, compared = FUNCTIONS[name], 0
    for seed in range(40 if name == "certify" else 150):
        query, patterns, values, keep, beta = draw(seed)
        options: dict[str, Any] = {"beta": beta}
        memory = Memory(patterns, values=values, keep=keep)
        if values is not None and name in READ_VALUES:
            options["values"] = values
        try:
            expected = function(query, patterns, keep=keep, **options)
        except ValueError:
            # A mask or a beta with leading dimensions of their own.
            with pytest.raises(ValueError, match="broadcast"):
                function(query, memory, beta=beta)
            continue
        for _ in range(2):
            assert same(function(query, memory, beta=beta), expected), seed
        with torch.inference_mode():
            assert same(function(query, memory, beta=beta), expected), seed
        if keep is not None:
            again = function(query, Memory(patterns, values=values), beta=beta, keep=keep)
            assert same(again, expected), seed
        compared += 1
    assert compared > 30


def test_both_masks_take_part() -> None:
    for seed in range(100):
        query, patterns, _, keep, beta = draw(seed)
        other = torch.rand(query.shape[-2], patterns.shape[-2]) < 0.7
        if keep is None or keep.dim() > 2:
            continue
        memory = Memory(patterns, keep=keep)
        for name in ("retrieve", "energy", "settle"):
            got = FUNCTIONS[name](query, memory, beta=beta, keep=other)
            assert same(got, FUNCTIONS[name](query, patterns, beta=beta, keep=keep & other)), (seed, name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_query_may_have_a_mask_of_its_own(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    patterns = torch.randn(30, 4, generator=generator, dtype=dtype)
    query = torch.randn(12, 4, generator=generator, dtype=dtype)
    keep = torch.rand(12, 30, generator=generator) < 0.5
    keep[:, 0] = True
    for beta in (0.3, 3.0):
        expected = settle(query, patterns, beta=beta, keep=keep)
        assert same(settle(query, Memory(patterns, keep=keep), beta=beta), expected)


def counted(monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> list[int]:
    """Sizes of what a function is given from now on."""
    original, calls = getattr(module, name), []

    def counting(rows: Any, *args: Any) -> Any:
        size = rows.rows if isinstance(rows, Stored) else rows
        calls.append(size.numel())
        return original(rows, *args)

    monkeypatch.setattr(module, name, counting)
    return calls


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("lead", [(), (2,)])
def test_what_depends_on_the_memory_alone_is_computed_once(
    masked: bool, lead: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    patterns, values = torch.randn(*lead, 50, 4).mT.contiguous().mT, torch.randn(*lead, 50, 7)
    keep = torch.arange(50) % 5 > 0 if masked else None
    memory = Memory(patterns, values=values, keep=keep)
    query = torch.randn(*lead, 3, 4)

    def ask_everything() -> None:
        for function in (retrieve, association, log_normalizer, energy, evaluate, settle):
            function(query, memory, beta=1.0)
        # Far out of reach, so that it is rescued.
        energy(1e30 * query, memory, beta=1e30)

    ask_everything()
    queries = 3 * 4 * 2
    watched = [
        counted(monkeypatch, module, name)
        for module, name in (
            (_stored, "half_squares"),
            (_stored, "row_magnitudes"),
            (_stored, "scaled_half_squares"),
            (_stored, "pack"),
            (_visible, "_visible"),
            (_visible, "_canonical_mask"),
        )
    ]
    ask_everything()
    assert all(size <= queries for calls in watched for size in calls)
    # The same calls of tensors are seen.
    energy(1e30 * query, patterns, beta=1e30, keep=keep)
    retrieve(query, patterns, beta=1.0, values=values, keep=keep)
    seen = [any(size > queries for size in calls) for calls in watched]
    assert seen == [True, True, True, True, True, masked]


def test_float64_without_large_or_small_entries_needs_no_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(torch.randn(50, 4, dtype=torch.float64))
    query = 1e300 * torch.randn(2, 4, dtype=torch.float64)
    expected = energy(query, memory, beta=1e10)
    calls = counted(monkeypatch, _rescue, "_bands")
    assert same(energy(query, memory, beta=1e10), expected)
    assert set(calls) == {query.numel()}


@pytest.mark.parametrize("entry", [0.0, 1e-300, 1e300, 2.0**350, 2.0**-350, float("nan")])
def test_ordinary_entries(entry: float) -> None:
    rows = torch.ones(3000, 100, dtype=torch.float64)
    rows[2999, 99] = entry
    assert Stored(rows).ordinary == (entry in (0.0, 2.0**-350))
    assert Stored(rows.float()).ordinary == (entry < 1e38)


def test_half_squares_in_pieces() -> None:
    rows = torch.randn(2, 5000, 100)
    stored = Stored(rows)
    expected = rows.double().square().sum(-1) / 2
    torch.testing.assert_close(stored.half_squares, expected, rtol=1e-14, atol=0)
    assert torch.equal(stored.half_farthest, stored.half_squares.amax(-1))
    scaled = stored.scaled_half_squares
    torch.testing.assert_close(torch.ldexp(*scaled)[..., 0], expected, rtol=1e-14, atol=0)
    assert Stored(torch.empty(0, 4)).half_farthest == 0


def asked(function: Callable[..., Any], query: Tensor, memory: Memory) -> Any:
    return function(query, memory, beta=1.0)


@pytest.mark.parametrize("name", ["patterns", "values", "keep"])
@pytest.mark.parametrize("how", ["in place", "data"])
def test_a_changed_tensor_is_noticed_by_every_use(name: str, how: str) -> None:
    tensors = {
        "patterns": torch.randn(6, 4),
        "values": torch.randn(6, 4),
        "keep": torch.ones(6, dtype=torch.bool),
    }
    memory = Memory(**tensors)
    plain = Memory(torch.randn(6, 4))
    query = torch.randn(2, 4)
    for function in FUNCTIONS.values():
        function(query, memory, beta=1.0)
        function(query, plain, beta=1.0)
    changed = tensors[name]
    if how == "in place":
        changed[0] = 0
        plain.patterns[0] = 0
    else:
        target = memory.keep if name == "keep" and memory.keep is not None else changed
        target.data = target.clone()
        plain.patterns.data = plain.patterns.clone()
    uses: list[Callable[[Memory], Any]] = [partial(asked, f, query) for f in FUNCTIONS.values()]
    uses += [copy.copy, copy.deepcopy, pickle.dumps, lambda m: m.to("cpu"), lambda m: m.save("nowhere")]
    for use in uses:
        for refused in (memory, plain):
            with pytest.raises(ValueError, match="modified in place after it was prepared"):
                use(refused)


def test_tensors_of_inference_mode_are_copied() -> None:
    with torch.inference_mode():
        patterns, values = torch.randn(6, 4), torch.randn(6, 4)
        keep = torch.arange(6) > 0
        memory = Memory(patterns, values=values, keep=keep)
        query = torch.randn(2, 4)
        expected = retrieve(query, patterns, beta=1.0, values=values, keep=keep)
        for tensor in (patterns, values, keep):
            tensor.zero_()
        assert same(retrieve(query, memory, beta=1.0), expected)
    assert memory.keep is not None
    assert not memory.patterns.is_inference()
    assert not memory.keep.is_inference()
    memory.patterns.zero_()
    with pytest.raises(ValueError, match="modified in place"):
        retrieve(torch.randn(2, 4), memory, beta=1.0)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_do_not_depend_on_earlier_calls(mode: Callable[[], Any], masked: bool) -> None:
    patterns = torch.randn(9, 4, dtype=torch.float64, requires_grad=True)
    values = torch.randn(9, 6, dtype=torch.float64, requires_grad=True)
    query = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    keep = torch.arange(9) > 2 if masked else None
    memory = Memory(patterns, values=values, keep=keep)
    with mode():
        for function in FUNCTIONS.values():
            function(query.detach(), memory, beta=1.0)
    wanted = (query, patterns, values)
    for _ in range(2):
        got = retrieve(query, memory, beta=1.0).square().sum() + energy(query, memory, beta=1.0).sum()
        expected = retrieve(query, patterns, beta=1.0, values=values, keep=keep).square().sum()
        expected = expected + energy(query, patterns, beta=1.0, keep=keep).sum()
        for a, b in zip(torch.autograd.grad(got, wanted), torch.autograd.grad(expected, wanted), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_gradients_of_queries_with_memories_first_used_in_inference_mode() -> None:
    memory = Memory(torch.randn(9, 4).mT.contiguous().mT, values=torch.randn(9, 2), keep=torch.arange(9) > 2)
    query = torch.randn(3, 4)
    with torch.inference_mode():
        for function in FUNCTIONS.values():
            function(query, memory, beta=1.0)
    query.requires_grad_()
    for name in ("retrieve", "log_normalizer", "energy"):
        (gradient,) = torch.autograd.grad(FUNCTIONS[name](query, memory, beta=1.0).sum(), query)
        assert gradient.abs().sum() > 0


def test_gradients_wanted_later() -> None:
    patterns = torch.randn(9, 4)
    memory = Memory(patterns)
    query = torch.randn(3, 4)
    energy(query, memory, beta=1.0)
    patterns.requires_grad_()
    (got,) = torch.autograd.grad(energy(query, memory, beta=1.0).sum(), patterns)
    (expected,) = torch.autograd.grad(energy(query, patterns, beta=1.0).sum(), patterns)
    assert torch.equal(got, expected)


def test_copies() -> None:
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randn(2, 6, 4, generator=generator)
    memory = Memory(patterns, values=torch.randn(6, 3, generator=generator), keep=torch.arange(6) > 0)
    query = torch.randn(2, 4, generator=generator)
    stream = io.BytesIO()
    torch.save(memory, stream)
    stream.seek(0)
    copies = {
        "copy": copy.copy(memory),
        "deepcopy": copy.deepcopy(memory),
        "pickle": pickle.loads(pickle.dumps(memory)),
        "torch.save": torch.load(stream, weights_only=False),
        "to": memory.to("cpu"),
    }
    assert copies["to"] is memory
    assert copies["copy"].patterns is patterns
    patterns.zero_()
    for name in ("deepcopy", "pickle", "torch.save"):
        other = copies[name]
        assert repr(other) == repr(memory)
        assert retrieve(query, other, beta=1.0).shape == (2, 2, 3)
        assert other.patterns.abs().sum() > 0


def test_another_device() -> None:
    memory = Memory(torch.randn(6, 4), values=torch.randn(6, 3), keep=torch.arange(6) > 0)
    moved = memory.to("meta")
    assert moved.patterns.device.type == "meta"
    assert moved.values is not None
    assert moved.values.device.type == "meta"
    with pytest.raises(ValueError, match="query is on device cpu, expected meta"):
        retrieve(torch.randn(2, 4), moved, beta=1.0)


def test_magnitudes() -> None:
    patterns = torch.tensor([[1.0, -3.0], [0.0, float("nan")]])
    assert same(Memory(patterns).magnitudes, torch.tensor([3.0, float("nan")]))
    assert Memory(patterns.expand(5, 2, 2)).magnitudes.shape == (2,)
    assert Memory(torch.randn(3, 2, 2)).magnitudes.shape == (3, 2)
    assert Memory(patterns.half()).magnitudes.dtype == torch.float16
