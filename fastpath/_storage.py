"""Named tensors in a file that either comes back bit for bit or is refused.

The file is in the safetensors format. Its metadata says what it is, which tensors it holds, and a digest of
all that and of every byte of the tensors. It is written beside its final place and moved there when complete,
so a failure on the way leaves what was there before.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hopspec import __version__

_FORMAT, _VERSION = "hopspec-memory", "1"
_DIGEST = "sha256"
# Bytes; the format allows no more.
_LONGEST_HEADER = 100_000_000
_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.bool: "BOOL",
}


def save_tensors(path: str | os.PathLike[str], tensors: Mapping[str, Tensor]) -> None:
    """Write tensors of the dtypes above to ``path``, in place of what may be there.

    Raises:
        ImportError: if safetensors is not installed.
        OSError: if the file cannot be written.
    """
    safetensors = _safetensors()
    stored: dict[str, Tensor] = {}
    seen = set()
    for name, tensor in tensors.items():
        dense = tensor.detach().cpu().contiguous()
        # The format has no place for tensors that share their bytes.
        stored[name] = dense.clone() if dense.untyped_storage().data_ptr() in seen else dense
        seen.add(dense.untyped_storage().data_ptr())
    metadata = {"format": _FORMAT, "version": _VERSION, "hopspec": __version__}
    metadata |= {name: _description(_NAMES[t.dtype], t.shape) for name, t in stored.items()}
    metadata[_DIGEST] = _digest(metadata, stored)
    # Links are followed, as they would be by writing to the file.
    target = Path(os.path.realpath(path))
    draft = target.with_name(f".hopspec-{secrets.token_hex(8)}")
    draft.touch(exist_ok=False)
    mode = stat.S_IMODE((target if target.exists() else draft).stat().st_mode)
    try:
        safetensors.torch.save_file(stored, draft, metadata=metadata)
        # The library lets nobody but the owner read what it writes.
        draft.chmod(mode)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def load_tensors(
    path: str | os.PathLike[str], *, required: frozenset[str], optional: frozenset[str]
) -> dict[str, Tensor]:
    """Read what :func:`save_tensors` wrote, onto the CPU.

    Args:
        path: the file.
        required: names of tensors that it has to hold.
        optional: names of tensors that it may hold besides.

    Raises:
        ImportError: if safetensors is not installed.
        OSError: if the file cannot be read.
        ValueError: if it is anything but what was once written.
    """
    safetensors = _safetensors()
    # Opened here too, because the library does not pass on what the system has against it.
    with Path(path).open("rb") as raw:
        head = raw.read(8)
        header = raw.read(min(int.from_bytes(head, "little"), _LONGEST_HEADER))
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = _check_metadata(path, file.metadata())
            names = set(file.keys())
            described = set(metadata) - {"format", "version", "hopspec", _DIGEST}
            if names != described:
                raise ValueError(f"{path} holds tensors {_list(names)}, but describes {_list(described)}")
            if not required <= names <= required | optional:
                also = f" and perhaps {_list(optional)}" if optional else ""
                raise ValueError(f"{path} holds tensors {_list(names)}, expected {_list(required)}{also}")
            for name in names:
                stored = file.get_slice(name)
                found = _description(stored.get_dtype(), stored.get_shape())
                if found != metadata[name]:
                    raise ValueError(f"{path} holds {name} as {found}, expected {metadata[name]}")
            tensors = {name: _copy(file.get_tensor(name)) for name in names}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is not an intact safetensors file: {error}") from error
    if any(space in header for space in (b"\t", b"\n", b"\r")):
        raise ValueError(f"{path} is corrupt: its header is broken into lines, expected it in one as written")
    digest = _digest(metadata, tensors)
    if digest != metadata[_DIGEST]:
        raise ValueError(
            f"{path} is corrupt: its contents have {_DIGEST} {digest}, expected {metadata[_DIGEST]}"
        )
    return tensors


def _check_metadata(path: str | os.PathLike[str], metadata: dict[str, str] | None) -> dict[str, str]:
    metadata = metadata or {}
    for key, expected in (("format", _FORMAT), ("version", _VERSION)):
        if metadata.get(key) != expected:
            raise ValueError(f"{path} has {key} {metadata.get(key)!r} in its metadata, expected {expected!r}")
    for key in ("hopspec", _DIGEST):
        if key not in metadata:
            raise ValueError(f"{path} has no {key} in its metadata, only {_list(set(metadata))}")
    return metadata


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1).view(torch.uint8)


def _copy(mapped: Tensor) -> Tensor:
    """A copy, byte for byte: what happens to the file later must not reach it."""
    # A copy of booleans would have 1 for every byte but 0.
    return _bytes(mapped).clone().view(mapped.dtype).reshape(mapped.shape)


def _digest(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the metadata, in which dtypes and shapes are, and of the tensors' bytes."""
    described = {key: value for key, value in metadata.items() if key != _DIGEST}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(_bytes(tensors[name]).numpy().data)
    return digest.hexdigest()


def _description(dtype: str, shape: tuple[int, ...] | list[int]) -> str:
    return f"{dtype} {list(shape)}"


def _list(names: set[str] | frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _safetensors() -> Any:
    try:
        importlib.import_module("safetensors.torch")
        return importlib.import_module("safetensors")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "safetensors":
            raise
        raise ImportError(
            "saving and loading a Memory needs safetensors, which is not installed; "
            "run: pip install 'hopspec[fast]'",
            name="safetensors",
        ) from error
