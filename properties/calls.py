"""What is asked of an implementation and what it answers, as plain data that crosses a process boundary."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.types import AccuracyModel, Capabilities

__all__ = ["WRONG_DEVICE", "Answer", "Broken", "Call", "Description", "expected_shape", "packed", "unpacked"]

WRONG_DEVICE = "WrongDevice"

# What NumPy pickles an array as takes longer to write and read than all else in a message.
_Flat = tuple[str, tuple[int, ...], bytes]

# What Connection.send and recv do, at half the cost of a round trip: plain data needs none of their reducers.
packed: Callable[[object], bytes] = partial(pickle.dumps, protocol=pickle.HIGHEST_PROTOCOL)
unpacked: Callable[[bytes], Any] = pickle.loads


@dataclass(frozen=True)
class Call:
    """One call: arrays are exact float64 images of ``dtype``, possibly with leading dimensions.

    Args:
        quantity: name of the callable in the descriptor, for example ``"retrieve"``.
        dtype: dtype the inputs are converted to.
        arguments: array arguments by name, ``query`` and ``memory`` among them.
        options: the other keyword arguments.
        layout: how the arrays lie in memory, see :mod:`hopspec.properties.session`.
        prepared: whether memory, values and mask are prepared first (clause MHN-DOM-10). Two more arguments
            are then possible: ``earlier``, queries asked of the prepared memory before, and ``changed``, what
            is written into the memory in between.
        story: what happens around the call, see :mod:`hopspec.properties.stories`; "" for nothing.
        varies: whether other dtypes are asked something else, so that this call does not foretell theirs.
    """

    quantity: str
    dtype: str
    arguments: dict[str, NDArray[Any]]
    options: dict[str, Any] = field(default_factory=dict)
    layout: str = "contiguous"
    prepared: bool = False
    varies: bool = False
    story: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = {name: _flat(array) for name, array in self.arguments.items()}
        manner = self.options, self.layout, self.prepared, self.varies, self.story
        return _call, (self.quantity, self.dtype, arguments, *manner)

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for calls that ask the same, bit for bit."""
        arrays = ((name, a.shape, a.dtype.str, a.tobytes()) for name, a in self.arguments.items())
        manner = self.layout, self.prepared, self.story
        return self.quantity, self.dtype, *manner, *arrays, *self.options.items()


@dataclass(frozen=True)
class Answer:
    """What came back: arrays as float64 (or bool/int) images with the dtype and device they had.

    Args:
        arrays: one array, or one per field of an ``Evaluated``, a ``Settled`` or a ``Certificate``.
        dtypes: their dtype names.
        mutated: names of arguments that were modified.
        error: the exception's type name, :data:`WRONG_DEVICE`, or "" if there is a result.
        message: its text.
        result: plain data, where a construction answered.
    """

    arrays: tuple[NDArray[Any], ...] = ()
    dtypes: tuple[str, ...] = ()
    mutated: tuple[str, ...] = ()
    error: str = ""
    message: str = ""
    result: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        rest = self.dtypes, self.mutated, self.error, self.message, self.result
        return _answer, (tuple(map(_flat, self.arrays)), *rest)


def _flat(array: NDArray[Any]) -> _Flat | NDArray[Any]:
    """An array of numbers as plain data; what else may stand for one stays as it is."""
    if type(array) is not np.ndarray or array.dtype.kind not in "biuf":
        return array
    return array.dtype.str, array.shape, array.tobytes()


def _array(flat: _Flat | NDArray[Any]) -> NDArray[Any]:
    if not isinstance(flat, tuple):
        return flat
    dtype, shape, data = flat
    # Of bytes it would be an array that cannot be written to.
    return np.frombuffer(bytearray(data), dtype).reshape(shape)


def _call(quantity: str, dtype: str, arguments: dict[str, _Flat | NDArray[Any]], *manner: Any) -> Call:
    return Call(quantity, dtype, {name: _array(flat) for name, flat in arguments.items()}, *manner)


def _answer(arrays: tuple[_Flat | NDArray[Any], ...], *rest: Any) -> Answer:
    return Answer(tuple(map(_array, arrays)), *rest)


@dataclass(frozen=True)
class Description:
    """What an implementation says of itself, and where it runs.

    Args:
        name: name in reports.
        quantities: the callables it provides.
        capabilities: what it claims.
        accuracy: its accuracy models.
        environment: what its arithmetic depends on.
        constructed: fields of a :class:`~hopspec.types.Construction` it offers; empty for a kernel.
    """

    name: str
    quantities: tuple[str, ...]
    capabilities: Capabilities
    accuracy: tuple[AccuracyModel, ...]
    environment: dict[str, str]
    constructed: tuple[str, ...] = ()


class Broken(Exception):  # noqa: N818  (a verdict on the implementation, not an error of ours)
    """The implementation did not give a usable answer.

    Args:
        kind: ``raised``, ``shape``, ``device``, ``crashed``, ``hung``, ``stopped`` or ``unlisted``.
        message: what happened, for a person.
        asked: the problem and the arrays of a call of attention.
    """

    def __init__(self, kind: str, message: str, asked: tuple[Any, Any] | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.asked = asked


def expected_shape(call: Call) -> tuple[int, ...]:
    """Shape the clauses give the first array of the answer (clause MHN-DOM-2)."""
    query, memory = call.arguments["query"], call.arguments["memory"]
    lead = np.broadcast_shapes(query.shape[:-2], memory.shape[:-2])
    for name, drop in (("values", 2), ("keep", 2), ("bias", 2)):
        if name in call.arguments:
            lead = np.broadcast_shapes(lead, call.arguments[name].shape[:-drop])
    if "beta" in call.arguments:
        lead = np.broadcast_shapes(lead, call.arguments["beta"].shape)
    rows = (*lead, query.shape[-2])
    if call.quantity in ("retrieve", "evaluate", "settle", "rounded", "attention"):
        source = call.arguments.get("values", memory)
        return (*rows, source.shape[-1])
    if call.quantity == "association":
        return (*rows, memory.shape[-2])
    return rows
