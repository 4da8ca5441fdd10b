"""Conformance tests as a test module declares them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Conformance", "conformance"]


@dataclass(frozen=True, eq=False)
class Conformance:
    """What :func:`conformance` returns; pytest collects it as one item for each clause and dtype.

    Args:
        implementation: a callable, a :class:`hopspec.Implementation`, or how the command line names one.
        settings: what was given, see :func:`conformance`; an option of the command line takes precedence.
        line: where it was made, counted from 1.
    """

    implementation: Any
    settings: dict[str, Any]
    line: int


def conformance(
    implementation: Callable[..., Any] | str | Any,
    *,
    form: Literal["retrieval", "attention"] | None = None,
    dtypes: Iterable[str] = (),
    model: str | None = None,
    profile: Literal["quick", "default", "thorough"] | None = None,
    examples: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    timeout: float | None = None,
    expected: str | os.PathLike[str] | None = None,
) -> Conformance:
    """Let pytest judge an implementation against the exact reference, one item for each clause and dtype.

    Assign the result to a name of a test module; that name begins the id of every item, for example
    ``test_kernel.py::test_conformance[MHN-BND-2-float32]``. The implementation runs in a process of its own,
    which imports the test module if that is what defines it.

    Args:
        implementation: a callable ``f(query[L, d], memory[N, d], *, beta) -> [L, d]``, or for the attention
            form ``f(q, k, v, *, scale)``; a :class:`hopspec.Implementation`, which claims more; or a text as
            ``hopspec verify`` takes it, which is then not imported here.
        form: how a plain callable is called; retrieval, unless ``attention`` is asked for.
        dtypes: names of the dtypes to judge; all that are claimed if empty.
        model: accuracy model in place of those claimed.
        profile: how much is done; quick unless something else is asked for.
        examples: cases per property and dtype, in place of the profile's.
        seed: seed of every draw; 0 if not given.
        device: device the implementation runs on; the CPU if not given.
        timeout: seconds one call may take; 20 if not given.
        expected: a file of expected failures, relative to the test module.

    Raises:
        TypeError: if the implementation is none, or ``dtypes`` is a single text.

    >>> def f(query, memory, *, beta): ...
    >>> conformance(f, dtypes=["float32"]).settings
    {'dtypes': ('float32',)}
    """
    if isinstance(dtypes, str):
        raise TypeError(f"dtypes must be several names, got the text {dtypes!r}; expected [{dtypes!r}]")
    if not (callable(implementation) or isinstance(implementation, str)):
        # Not for everyone who collects tests: these types take a while to import.
        from hopspec.types import Implementation  # noqa: PLC0415

        if not isinstance(implementation, Implementation):
            raise TypeError(
                "implementation must be a callable, a hopspec.Implementation or a text as `hopspec verify` "
                f"takes it, got {type(implementation).__name__}"
            )
    given = {
        "form": form,
        "dtypes": tuple(dtypes) or None,
        "model": model,
        "profile": profile,
        "examples": examples,
        "seed": seed,
        "device": device,
        "timeout": timeout,
        "expected": None if expected is None else os.fspath(expected),
    }
    settings = {name: value for name, value in given.items() if value is not None}
    return Conformance(implementation, settings, sys._getframe(1).f_lineno)
