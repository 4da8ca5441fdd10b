"""A prepared, frozen memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn

import torch
from torch import Tensor

from hopspec.fastpath._checks import check_keep, check_pattern_tensor, check_values
from hopspec.fastpath._plain_memory import PlainMemory, plain_memory
from hopspec.fastpath._storage import load_tensors, save_tensors
from hopspec.fastpath._stored import Stored, lasting
from hopspec.fastpath._visible import Prepared

__all__ = ["Memory"]


def holds_values(memory: object) -> bool:
    """Whether ``memory`` is a :class:`Memory` with values, so that there is something else to read out."""
    return isinstance(memory, Memory) and memory.values is not None


class Memory:
    """Stored patterns prepared once and used many times (clause MHN-DOM-10).

    Every function of this package takes a ``Memory`` in place of the memory tensor, with the same results to
    the last bit. What a call would otherwise compute of the memory alone is computed once: largest entries
    and squared lengths of the patterns, what the mask leaves of them, and copies of them where the kernels
    ask for another layout. What not every function needs is computed when one first does.

    The tensors are referred to, not copied, and must not be changed afterwards. Every use of a memory whose
    tensors were changed in place is refused. Changes that PyTorch keeps no count of, as through ``data`` or
    an array that shares the numbers, go unnoticed; tensors made in inference mode, of whose changes none is
    counted, are therefore copied.

    A memory is saved with :meth:`save`. It can also be copied and pickled, and thereby saved with
    ``torch.save``, if it is loaded with ``weights_only=False``. A module that is to have it in its
    ``state_dict`` registers the tensors as buffers and makes a ``Memory`` of them.

    Args:
        patterns: stored patterns, ``[..., N, d]``.
        values: what :func:`retrieve` reads out instead of the patterns, ``[..., N, dv]``; the other functions
            ignore them.
        keep: which memories take part, a boolean mask broadcastable to ``[..., L, N]``; True takes part
            (clause MHN-MSK-1).

    Raises:
        TypeError: if an argument is not a tensor or has a dtype that is not supported.
        ValueError: if ranks, shapes, dtypes or devices do not fit together.
        AttributeError: on an attempt to change an attribute.

    >>> import torch
    >>> memory = Memory(torch.eye(3))
    >>> memory
    Memory(patterns=[3, 3], dtype=torch.float32)
    >>> memory.magnitudes
    tensor([1., 1., 1.])
    """

    __slots__ = ("_plain", "_prepared", "_prepared_values", "_prints", "keep", "patterns", "values")

    patterns: Tensor
    values: Tensor | None
    keep: Tensor | None
    _prepared: Prepared
    _prepared_values: Prepared | None
    _plain: PlainMemory | None
    _prints: tuple[object, ...]

    def __init__(self, patterns: Tensor, *, values: Tensor | None = None, keep: Tensor | None = None) -> None:
        checked = _counting(check_pattern_tensor("patterns", patterns))
        checked_values = None if values is None else _counting(check_values(values, checked))
        checked_keep = None
        if keep is not None:
            check_keep(keep, checked)
            keep = _counting(keep)
            checked_keep = check_keep(keep, checked)
        prepared = Prepared(Stored(checked.detach()), checked_keep)
        fields: dict[str, object] = {
            "patterns": checked,
            "values": checked_values,
            "keep": checked_keep,
            "_prepared": prepared,
            "_prepared_values": None
            if checked_values is None
            else Prepared(Stored(checked_values.detach()), checked_keep),
            "_plain": plain_memory(checked, prepared, keep),
            "_prints": _prints(checked, checked_values, checked_keep),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def magnitudes(self) -> Tensor:
        """Largest absolute entry of each pattern, ``[..., N]`` in their dtype; NaN where there is one.

        Leading dimensions that hold or repeat a single matrix are missing.
        """
        return self._prepared.stored.magnitudes

    def prepared(self) -> Prepared:
        """The patterns and what was computed of them; without the latter where a gradient of it is wanted."""
        return _live(self.patterns, self._prepared, self.keep)

    def prepared_values(self) -> Prepared | None:
        """The same for the values, or None where there are none."""
        if self.values is None or self._prepared_values is None:
            return None
        return _live(self.values, self._prepared_values, self.keep)

    @property
    def plain(self) -> PlainMemory | None:
        """The patterns as the short route takes them, or None if it does not: see :func:`plain_memory`.

        Raises:
            ValueError: if a tensor was modified in place since this memory was prepared.
        """
        if self._plain is None or (self.patterns.requires_grad and torch.is_grad_enabled()):
            return None
        self.check_unchanged()
        return self._plain

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Memory is read-only: cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"Memory is read-only: cannot delete {name!r}")

    def __repr__(self) -> str:
        parts = [f"patterns={list(self.patterns.shape)}"]
        if self.values is not None:
            parts.append(f"values={list(self.values.shape)}")
        if self.keep is not None:
            parts.append(f"keep={list(self.keep.shape)}")
        return f"Memory({', '.join(parts)}, dtype={self.patterns.dtype})"

    def __reduce__(self) -> tuple[Callable[..., Memory], tuple[Tensor | None, ...]]:
        self.check_unchanged()
        return _remade, (self.patterns, self.values, self.keep)

    def to(self, device: torch.device | str) -> Memory:
        """Return this memory on another device, or itself where it is there already.

        Args:
            device: where its tensors are wanted. Their dtype stays: rounding would make another memory.

        Raises:
            ValueError: if a tensor was modified in place since this memory was prepared.

        >>> memory = Memory(torch.eye(2))
        >>> memory.to("cpu") is memory
        True
        """
        self.check_unchanged()
        patterns = self.patterns.to(device)
        if patterns is self.patterns:
            return self
        values, keep = (t if t is None else t.to(device) for t in (self.values, self.keep))
        return _remade(patterns, values, keep)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write this memory to a file in the safetensors format, in place of what may be there.

        The file holds patterns, values and mask, bit for bit, and a digest of them. Either it is written
        completely or what was there before remains. Gradients and devices are not recorded.

        Args:
            path: name of the file.

        Raises:
            ImportError: if safetensors is not installed.
            OSError: if the file cannot be written.
            ValueError: if a tensor was modified in place since this memory was prepared.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Memory(torch.eye(2)).save(f"{folder}/eye.safetensors")
        ...     Memory.load(f"{folder}/eye.safetensors")
        Memory(patterns=[2, 2], dtype=torch.float32)
        """
        self.check_unchanged()
        tensors = {"patterns": self.patterns, "values": self.values, "keep": self.keep}
        save_tensors(path, {name: tensor for name, tensor in tensors.items() if tensor is not None})

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: torch.device | str = "cpu") -> Memory:
        """Read a memory that :meth:`save` wrote, and prepare it anew.

        Args:
            path: name of the file.
            device: where its tensors are wanted.

        Raises:
            ImportError: if safetensors is not installed.
            OSError: if the file cannot be read.
            ValueError: if the file is not what :meth:`save` wrote, to the last bit: another kind of file, one
                of an unknown version, a part of one, or one that was changed. Nothing in it is executed.
        """
        tensors = load_tensors(path, required=frozenset({"patterns"}), optional=frozenset({"values", "keep"}))
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        try:
            return _remade(tensors["patterns"], tensors.get("values"), tensors.get("keep"))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no memory: {error}") from error

    def check_unchanged(self) -> None:
        """Raise if a tensor was modified in place since this memory was prepared.

        Raises:
            ValueError: what was computed at preparation would no longer describe the tensors.
        """
        if _prints(self.patterns, self.values, self.keep) != self._prints:
            raise ValueError("memory was modified in place after it was prepared; build a new Memory")


def _remade(patterns: Tensor, values: Tensor | None, keep: Tensor | None) -> Memory:
    return Memory(patterns, values=values, keep=keep)


def _counting(tensor: Tensor) -> Tensor:
    """``tensor``, or a copy with a count of its changes if it has none."""
    if not tensor.is_inference():
        return tensor
    with lasting():
        return tensor.clone()


def _live(tensor: Tensor, prepared: Prepared, keep: Tensor | None) -> Prepared:
    if tensor.requires_grad and torch.is_grad_enabled():
        return Prepared(Stored(tensor, prepared.stored.magnitudes), keep)
    return prepared


def _prints(patterns: Tensor, values: Tensor | None, keep: Tensor | None) -> tuple[object, ...]:
    """What tells of a change: the version of a tensor, and where it lies, for assignments to ``data``."""
    return (
        patterns._version,
        patterns.data_ptr(),
        values is None or (values._version, values.data_ptr()),
        keep is None or (keep._version, keep.data_ptr()),
    )
