"""The implementation's side of a run: resolves it, converts arrays, calls it, watches its inputs.

Runs in the child process (or in the parent with ``--in-process``). This is the only module that imports
PyTorch, and only for implementations that use it.
"""

from __future__ import annotations

import importlib
import importlib.util
import platform
import sys
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hopspec.properties.adapters.registry import missing, third_party, versions
from hopspec.properties.builtin import BUILTIN, FAULT_PREFIX
from hopspec.properties.calls import WRONG_DEVICE, Answer, Call, Description
from hopspec.properties.forms import ATTENTION_PREFIX, attention_implementation
from hopspec.properties.plugin.registration import claims_of, installed
from hopspec.properties.stories import tell
from hopspec.types import Capabilities, Certificate, Construction, Evaluated, Implementation, Settled

__all__ = ["QUANTITIES", "Session", "Unusable", "find", "resolve"]

# Comparing as integers tells NaN from NaN and zero from minus zero.
INTEGERS = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}
# How the arguments of one call lie where they all lie differently.
MIXED = {
    "query": "offset",
    "memory": "transposed",
    "values": "every-other-row",
    "keep": "every-other-column",
}
QUANTITIES = (
    "retrieve",
    "log_normalizer",
    "energy",
    "evaluate",
    "association",
    "settle",
    "rounded",
    "certify",
    "prepare",
    "attention",
)


class Unusable(Exception):  # noqa: N818  (a verdict on the target)
    """The target names nothing that can be verified."""


def resolve(target: str) -> Implementation[Any]:
    """The kernel that ``target`` names, see :func:`find`.

    Raises:
        Unusable: if it names none; the message says why.
    """
    found = find(target)
    if isinstance(found, Construction):
        raise Unusable(f"{target!r} is a hopspec.Construction; expected a kernel")
    return found


def find(target: str) -> Implementation[Any] | Construction:
    """The kernel or the construction that ``target`` names.

    That is a built-in name, a name that an installed package registers, ``package.module:object`` or
    ``path/to/file.py:object``. A function with claims beside it (see
    :func:`hopspec.properties.plugin.implementation`) is judged by them; any other callable becomes a
    descriptor that claims one update in the floating-point dtypes of PyTorch, or with ``attention:`` in front
    what its signature says of an attention kernel.

    Raises:
        Unusable: if it cannot be imported or is not callable; the message says which and why.
    """
    if target.startswith(FAULT_PREFIX):
        from hopspec.properties.faults import FAULTS  # noqa: PLC0415  (needs PyTorch)

        name = target.removeprefix(FAULT_PREFIX)
        if name in FAULTS:
            return FAULTS[name].fresh()
        from hopspec.properties.faults.constructions import CONSTRUCTION_FAULTS  # noqa: PLC0415

        if name in CONSTRUCTION_FAULTS:
            return CONSTRUCTION_FAULTS[name].fresh()
        raise Unusable(f"no fault named {name!r}; `hopspec faults` lists them")
    attends = target.startswith(ATTENTION_PREFIX)
    path = BUILTIN.get(target, target.removeprefix(ATTENTION_PREFIX))
    if ":" not in path:
        path = _registered(path)
    third = third_party(path)
    if third is not None and (lacking := missing(third)):
        raise Unusable(lacking)
    module_name, _, attribute = path.partition(":")
    try:
        found: Any = _module(module_name)
    except Exception as error:
        raise Unusable(f"cannot import {module_name!r}: {type(error).__name__}: {error}") from error
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise Unusable(f"module {module_name!r} has no attribute {attribute!r}") from None
    if isinstance(found, Implementation | Construction):
        return found
    if attends:
        try:
            return attention_implementation(found, path)
        except TypeError as error:
            raise Unusable(f"{path!r} is no attention kernel: {error}") from error
    if (claims := claims_of(found)) is not None:
        return claims
    if callable(found):
        dtypes = ("float32", "float64", "bfloat16", "float16")
        every = Capabilities(dtypes=dtypes, devices=("cpu", "cuda"))
        return Implementation(name=target, retrieve=found, capabilities=every)
    raise Unusable(f"{target!r} is a {type(found).__name__}; expected a callable or a hopspec.Implementation")


def _registered(name: str) -> str:
    """Where the implementation is that an installed package registers under a name."""
    try:
        others = installed()
    except ValueError as error:
        raise Unusable(str(error)) from error
    if name not in others:
        near = get_close_matches(name, [*BUILTIN, *others], 1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise Unusable(
            f"{name!r} is neither a built-in nor a registered name ({meant}`hopspec implementations` lists "
            "them), nor of the form package.module:object or file.py:object"
        )
    return others[name].target


def _module(name: str) -> ModuleType:
    """A module by its name, or by the path of its file, as part of the package that file is in."""
    path = Path(name).resolve()
    root, parts = path.parent, [path.stem]
    while name.endswith(".py") and (root / "__init__.py").exists():
        root, parts = root.parent, [root.name, *parts]
    for folder in (Path.cwd(), root) if len(parts) > 1 else (Path.cwd(),):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    if not name.endswith(".py"):
        return importlib.import_module(name)
    if len(parts) > 1:
        return importlib.import_module(".".join(parts))
    # A file may have the name of a module that is wanted under it.
    alone = path.stem if path.stem not in sys.modules else str(path)
    spec = importlib.util.spec_from_file_location(alone, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickle look their module up by its name.
    sys.modules[alone] = module
    spec.loader.exec_module(module)
    return module


class Session:
    """Answers :class:`Call` objects with one implementation.

    Args:
        target: as :func:`resolve` takes it.
        device: device the arrays are put on, for example ``"cpu"`` or ``"cuda"``.
        found: what ``target`` names, where that is known.
    """

    def __init__(self, target: str, device: str = "cpu", found: Implementation[Any] | None = None) -> None:
        self.target = BUILTIN.get(target, target)
        self.implementation = resolve(target) if found is None else found
        self.device = device
        self.uses_torch = self.implementation.to_array is None
        if self.uses_torch:
            import torch  # noqa: PLC0415

            torch.set_num_threads(1)
            self.torch = torch
            try:
                torch.empty(0, device=device)
            except Exception as error:
                reason = str(error).splitlines()[0]
                raise Unusable(f"device {device!r} cannot be used: {reason}") from error

    def describe(self) -> Description:
        """What the implementation claims, and the environment its arithmetic depends on."""
        of = self.implementation
        environment = {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "device": self.device,
        }
        if self.uses_torch:
            # Pickled as it is, it would make the other side import PyTorch.
            environment["torch"] = str(self.torch.__version__)
            environment["cpu_capability"] = self.torch.backends.cpu.get_cpu_capability()
        third = third_party(self.target)
        if third is not None:
            environment |= versions(third)
        quantities = tuple(q for q in QUANTITIES if getattr(of, q) is not None)
        return Description(of.name, quantities, of.capabilities, of.accuracy, environment)

    def answer(self, call: Call) -> Answer:
        """Make one call; an exception of the implementation becomes part of the answer."""
        function = getattr(self.implementation, call.quantity)
        arguments = {name: self._put(array, call, name) for name, array in call.arguments.items()}
        before = {name: self._bits(array) for name, array in arguments.items()}
        beta = arguments.get("beta", call.options.get("beta"))
        keywords = {k: v for k, v in call.options.items() if k != "beta"}
        keywords |= {k: v for k, v in arguments.items() if k not in ("query", "memory", "beta")}
        self._poison(call)
        try:
            if call.prepared:
                result = self._of_prepared(function, arguments, keywords | {"beta": beta})
            elif call.story:
                result = tell(call.story, function, arguments, keywords | {"beta": beta})
            else:
                result = function(arguments["query"], arguments["memory"], beta=beta, **keywords)
            answer = self._take(result)
        except Exception as error:
            answer = Answer(error=type(error).__name__, message=str(error))
        mutated = tuple(name for name, array in arguments.items() if self._bits(array) != before[name])
        return replace(answer, mutated=mutated) if mutated else answer

    def _of_prepared(
        self, function: Callable[..., Any], arguments: dict[str, Any], keywords: dict[str, Any]
    ) -> Any:
        """One call of a prepared memory, see :class:`Call`."""
        assert self.implementation.prepare is not None
        own = {name: keywords.pop(name) for name in ("values", "keep") if name in keywords}
        earlier, changed = keywords.pop("earlier", None), keywords.pop("changed", None)
        prepared = self.implementation.prepare(arguments["memory"], **own)
        if earlier is not None:
            function(earlier, prepared, **keywords)
        if changed is not None:
            arguments["memory"][...] = changed
        return function(arguments["query"], prepared, **keywords)

    def _put(self, array: NDArray[Any], call: Call, name: str) -> Any:
        # A large array may come as the name of a file.
        array = np.asarray(array)
        if self.implementation.to_array is not None:
            return self.implementation.to_array(array, "bool" if array.dtype == np.bool_ else call.dtype)
        if array.dtype == np.bool_:
            dtype = self.torch.bool
        else:
            wide = name == "beta" and call.dtype != "float64"
            dtype = self.torch.float32 if wide else getattr(self.torch, call.dtype)
        # Twice as fast as torch.tensor; it warns of arrays that cannot be written to.
        given = array if array.flags.writeable else array.copy()
        tensor = self.torch.from_numpy(given).to(self.device, dtype, copy=True)
        if tensor.ndim < 2 or call.layout == "contiguous":
            return tensor
        return self._relay(tensor, MIXED[name] if call.layout == "mixed" and name in MIXED else call.layout)

    def _relay(self, tensor: Any, layout: str) -> Any:
        """The same numbers with other strides; the gaps hold NaN so that a kernel ignoring strides shows."""
        if layout == "transposed":
            return tensor.transpose(-1, -2).contiguous().transpose(-1, -2)
        shape = list(tensor.shape)
        filler: Any = tensor.dtype == self.torch.bool or float("nan")
        if layout == "every-other-row":
            shape[-2] *= 2
            buffer = self.torch.full(shape, filler, dtype=tensor.dtype, device=tensor.device)
            view = buffer[..., ::2, :]
        elif layout == "every-other-column":
            shape[-1] *= 2
            buffer = self.torch.full(shape, filler, dtype=tensor.dtype, device=tensor.device)
            view = buffer[..., ::2]
        elif layout == "offset":
            shape[-1] += 3
            buffer = self.torch.full(shape, filler, dtype=tensor.dtype, device=tensor.device)
            view = buffer[..., 3:]
        else:
            raise ValueError(f"unknown layout {layout!r}")
        view.copy_(tensor)
        return view

    def _poison(self, call: Call) -> None:
        """Leave NaN in freshly freed blocks, so that an output element never written shows."""
        if not self.uses_torch:
            return
        shape = call.arguments["query"].shape
        dtype = getattr(self.torch, call.dtype)
        blocks = [self.torch.full(shape, float("nan"), dtype=dtype, device=self.device) for _ in range(2)]
        del blocks

    def _bits(self, array: Any) -> object:
        """What tells an array from one with other bits, NaN from NaN and zero from minus zero."""
        if self.implementation.from_array is not None:
            own = np.asarray(self.implementation.from_array(array))
        else:
            integers = array.view(getattr(self.torch, INTEGERS[array.element_size()]))
            own = integers.cpu().numpy()
        return own.shape, own.tobytes()

    def _take(self, result: Any) -> Answer:
        parts = tuple(result) if isinstance(result, Evaluated | Settled | Certificate) else (result,)
        if self.implementation.from_array is not None:
            own = [np.asarray(self.implementation.from_array(p)) for p in parts]
            # Formats that NumPy lacks come as extension types, which the other side may not know.
            arrays = tuple(a if a.dtype.kind in "biu" else a.astype(np.float64) for a in own)
            return Answer(arrays, tuple(str(a.dtype) for a in own))
        for part in parts:
            if not isinstance(part, self.torch.Tensor):
                return Answer(error="TypeError", message=f"returned {type(part).__name__}, expected a Tensor")
        elsewhere = [p.device for p in parts if p.device.type != self.torch.device(self.device).type]
        if elsewhere:
            return Answer(error=WRONG_DEVICE, message=f"returned on {elsewhere[0]}, expected {self.device}")
        names = tuple(str(p.dtype).removeprefix("torch.") for p in parts)
        plain = [p.detach().cpu() for p in parts]
        arrays = tuple((p.double() if p.is_floating_point() else p).contiguous().numpy() for p in plain)
        return Answer(arrays, names)
