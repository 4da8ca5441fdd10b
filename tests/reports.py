"""A small report with everything in it, for the tests of what is made of reports."""

from __future__ import annotations

from functools import cache

from hopspec.properties.results import Report
from hopspec.properties.runner import Options, verify

RIGHT = "hopspec.properties.faults:RIGHT"
WRONG = "fault:beta-twice"
CLAUSES = ("MHN-BND-2", "MHN-BND-4", "MHN-DOM-5", "MHN-MSK-2", "MHN-SET-2")
SETTINGS = {"dtypes": ("float32", "float16"), "clauses": CLAUSES, "examples": 6, "profile": "quick"}


def small(*targets: str, **options: object) -> Report:
    """A run that takes a second or two."""
    return verify(Options(targets=targets, **{**SETTINGS, "in_process": True, **options}))  # type: ignore[arg-type]


@cache
def mixed() -> Report:
    """A right kernel, a wrong one, one that claims little and one that does not exist; not to be changed."""
    return small(RIGHT, WRONG, "bad_kernels:right", "no_such_module:f", descents=2)
