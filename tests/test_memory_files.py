"""Saved memories: bit for bit what they were, or refused."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from hopspec.fastpath import Memory, _storage, retrieve

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def same_bits(tensor: Tensor | None, other: Tensor | None) -> bool:
    if tensor is None or other is None:
        return tensor is other
    integers = INTEGERS[tensor.element_size()]
    return tensor.dtype == other.dtype and torch.equal(
        tensor.contiguous().view(integers), other.contiguous().view(integers)
    )


def arbitrary(dtype: torch.dtype, *shape: int) -> Tensor:
    """Any bits at all: NaN with any payload, infinities, subnormals, both zeros."""
    size = torch.empty(0, dtype=dtype).element_size()
    bits = torch.randint(-(2 ** (8 * size - 1)), 2 ** (8 * size - 1) - 1, shape, dtype=INTEGERS[size])
    return bits.view(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 4), (0, 4), (5, 0), (1, 1), (2, 3, 5, 4), (2, 0, 4)])
def test_every_bit_comes_back(dtype: torch.dtype, shape: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "a memory.safetensors"
    patterns = arbitrary(dtype, *shape)
    for values in (None, patterns, arbitrary(dtype, *shape[:-1], 3), arbitrary(dtype, shape[-2], 2)):
        for keep in (None, torch.rand(shape[-2]) < 0.5, torch.rand(*shape[:-2], 3, shape[-2]) < 0.5):
            memory = Memory(patterns, values=values, keep=keep)
            memory.save(path)
            for name in (path, str(path)):
                loaded = Memory.load(name)
                assert repr(loaded) == repr(memory)
                assert same_bits(loaded.patterns, memory.patterns)
                assert same_bits(loaded.values, memory.values)
                assert same_bits(loaded.keep, memory.keep)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.mT,
        lambda x: x[::2, 1:],
        lambda x: x.expand(3, *x.shape),
        lambda x: x.requires_grad_(),
        torch.nn.Parameter,
    ],
)
def test_views_and_parameters(view: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    patterns = view(torch.randn(6, 6))
    Memory(patterns, values=patterns).save(tmp_path / "m")
    loaded = Memory.load(tmp_path / "m")
    assert torch.equal(loaded.patterns, patterns)
    assert loaded.values is not None
    assert torch.equal(loaded.values, patterns)
    assert not loaded.patterns.requires_grad


def test_what_is_loaded_retrieves_and_leaves_the_file_alone(tmp_path: Path) -> None:
    path, query = tmp_path / "m", torch.randn(2, 4)
    memory = Memory(torch.randn(50, 4), keep=torch.arange(50) % 3 > 0)
    memory.save(path)
    loaded = Memory.load(path)
    content = path.read_bytes()
    # Written over in place, as no library that maps the file would survive.
    with path.open("rb+") as file:
        file.write(bytes(len(content)))
    assert torch.equal(retrieve(query, loaded, beta=1.0), retrieve(query, memory, beta=1.0))
    loaded.patterns.zero_()
    assert path.read_bytes() == bytes(len(content))


def test_the_file_is_a_safetensors_file_that_says_what_it_holds(tmp_path: Path) -> None:
    patterns = torch.randn(3, 2).bfloat16()
    Memory(patterns, keep=torch.tensor([True, False, True])).save(tmp_path / "m")
    assert torch.equal(safetensors.torch.load_file(tmp_path / "m")["patterns"], patterns)
    with safetensors.safe_open(tmp_path / "m", framework="pt") as file:
        metadata = file.metadata()
    assert len(metadata.pop("sha256")) == 64
    assert metadata.pop("hopspec")
    assert metadata == {
        "format": "hopspec-memory",
        "version": "1",
        "patterns": "BF16 [3, 2]",
        "keep": "BOOL [1, 3]",
    }


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    path, refused = tmp_path / "m", Counter[str]()
    Memory(torch.randn(3, 2), keep=torch.tensor([True, False, True])).save(path)
    content = path.read_bytes()
    for position in range(len(content)):
        # One bit, all bits, and a space, which the header is filled up with, to another white space.
        for change in (1 << position % 8, 0xFF, 0x20 ^ 0x09):
            changed = bytearray(content)
            changed[position] ^= change
            path.write_bytes(changed)
            with pytest.raises(ValueError, match="m ") as caught:
                Memory.load(path)
            message = str(caught.value)
            assert message.startswith(f"{path} ")
            refused[message[len(str(path)) + 1 :].partition(" ")[0]] += 1
    assert set(refused) == {"is", "has", "holds"}


def test_every_part_of_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m"
    Memory(torch.randn(3, 2)).save(path)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="is not an intact safetensors file"):
            Memory.load(path)
    for more in (b"\0", b" ", content):
        path.write_bytes(content + more)
        with pytest.raises(ValueError, match="is not an intact safetensors file"):
            Memory.load(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"PK\x03\x04" + bytes(99), b"\n" * 99, b"\xff" * 99, (2).to_bytes(8, "little") + b"{}"],
)
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"is not an intact safetensors file|has format None in its metadata"
    ):
        Memory.load(tmp_path / "m")


def forged(path: Path, tensors: dict[str, Tensor], **changes: str | None) -> None:
    """A file whose digest is right, whatever else is wrong."""
    metadata = {"format": "hopspec-memory", "version": "1", "hopspec": "0"}
    metadata |= {k: _storage._description(_storage._NAMES[t.dtype], t.shape) for k, t in tensors.items()}
    metadata |= {key: value for key, value in changes.items() if value is not None}
    metadata = {
        key: value for key, value in metadata.items() if key not in changes or changes[key] is not None
    }
    if "sha256" not in changes:
        metadata["sha256"] = _storage._digest(metadata, tensors)
    safetensors.torch.save_file(tensors, path, metadata=metadata)


X = torch.arange(6.0).reshape(3, 2)


@pytest.mark.parametrize(
    ("tensors", "changes", "message"),
    [
        ({"patterns": X}, {"version": "2"}, "has version '2' in its metadata, expected '1'"),
        ({"patterns": X}, {"format": "pt"}, "has format 'pt' in its metadata, expected 'hopspec-memory'"),
        ({"patterns": X}, {"hopspec": None}, "has no hopspec in its metadata, only format, patterns"),
        ({"patterns": X}, {"sha256": None}, "has no sha256 in its metadata, only format, hopspec, patterns"),
        ({"patterns": X}, {"sha256": "0" * 64}, "is corrupt: its contents have sha256"),
        ({"values": X}, {}, "holds tensors values, expected patterns and perhaps keep, values"),
        ({}, {}, "holds tensors none, expected patterns"),
        ({"patterns": X, "more": X.clone()}, {}, "holds tensors more, patterns, expected patterns"),
        ({"patterns": X}, {"values": "F32 [3, 2]"}, "holds tensors patterns, but describes patterns, values"),
        (
            {"patterns": X},
            {"patterns": "F32 [2, 3]"},
            r"holds patterns as F32 \[3, 2\], expected F32 \[2, 3\]",
        ),
        ({"patterns": X}, {"patterns": "BF16 [3, 2]"}, r"holds patterns as F32 \[3, 2\], expected BF16"),
        ({"patterns": X, "values": torch.randn(4, 2)}, {}, r"holds no memory: values has shape \(4, 2\)"),
        ({"patterns": X, "values": X.double()}, {}, "holds no memory: values has dtype torch.float64"),
        ({"patterns": X, "keep": X.clone()}, {}, "holds no memory: keep has dtype torch.float32"),
        ({"patterns": X, "keep": torch.ones(1, 4) > 0}, {}, r"holds no memory: keep has shape \(1, 4\)"),
        ({"patterns": X[0].clone()}, {}, r"holds no memory: patterns has shape \(2,\)"),
        ({"patterns": X > 0}, {}, "holds no memory: patterns has dtype torch.bool"),
    ],
)
def test_mismatched_files_are_refused(
    tensors: dict[str, Tensor], changes: dict[str, str | None], message: str, tmp_path: Path
) -> None:
    forged(tmp_path / "m", {"patterns": X})
    assert torch.equal(Memory.load(tmp_path / "m").patterns, X)
    forged(tmp_path / "m", tensors, **changes)
    with pytest.raises(ValueError, match=message) as caught:
        Memory.load(tmp_path / "m")
    assert str(caught.value).startswith(str(tmp_path / "m"))


def test_header_and_data_of_two_files(tmp_path: Path) -> None:
    path = tmp_path / "m"
    contents = []
    for scale in (1.0, 2.0):
        Memory(torch.full((3, 2), scale)).save(path)
        contents.append(path.read_bytes())
    length = 8 + int.from_bytes(contents[0][:8], "little")
    assert "__metadata__" in json.loads(contents[0][8:length])
    path.write_bytes(contents[0][:length] + contents[1][length:])
    with pytest.raises(ValueError, match="is corrupt"):
        Memory.load(path)


def test_a_failed_save_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m"
    Memory(X).save(path)
    content = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for module, name in ((safetensors.torch, "save_file"), (os, "fsync"), (os, "replace")):
        with monkeypatch.context() as failing:
            failing.setattr(module, name, full)
            with pytest.raises(OSError, match="No space left"):
                Memory(2 * X).save(path)
        assert path.read_bytes() == content
        assert os.listdir(tmp_path) == ["m"]


def test_places_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Memory(X).save(tmp_path / "nowhere" / "m")
    with pytest.raises(OSError, match=r"directory|denied"):
        Memory(X).save(tmp_path)
    assert os.listdir(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        Memory.load(tmp_path / "m")
    with pytest.raises(IsADirectoryError):
        Memory.load(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="permissions and links as POSIX has them")
def test_permissions_and_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "m", tmp_path / "link"
    (tmp_path / "ordinary").touch()
    Memory(X).save(path)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "ordinary").stat().st_mode)
    path.chmod(0o640)
    link.symlink_to(path)
    Memory(2 * X).save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert torch.equal(Memory.load(path).patterns, 2 * X)


def test_another_device(tmp_path: Path) -> None:
    Memory(X, values=X, keep=torch.ones(3) > 0).save(tmp_path / "m")
    loaded = Memory.load(tmp_path / "m", device="meta")
    assert loaded.values is not None
    assert loaded.keep is not None
    assert {t.device.type for t in (loaded.patterns, loaded.values, loaded.keep)} == {"meta"}


def test_without_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.delitem(sys.modules, "safetensors.torch")
    for use in (Memory(X).save, Memory.load):
        with pytest.raises(ImportError, match=r"needs safetensors.*pip install 'hopspec\[fast\]'") as caught:
            use(tmp_path / "m")
        assert caught.value.name == "safetensors"
