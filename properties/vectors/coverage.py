"""What the vectors cover: every numeric clause and every bug class, in every format."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hopspec.clauses import load_clauses
from hopspec.formats import FORMATS
from hopspec.properties.vectors.classes import BUG_CLASSES
from hopspec.properties.vectors.generate import Suite
from hopspec.properties.vectors.recipe import RECIPES

__all__ = ["CLAUSES_WITHOUT_VECTORS", "Coverage", "cover", "reason_without"]

_TWO = "relates the results of two problems; the vectors of both judge each by itself"
_STEPS = "speaks of several steps, which have no correctly rounded answer"
_CALLS = "is a matter of calls, storage or shapes, not of numbers"
# Clauses, and families that have no result of one update, that no vector is about, and why.
CLAUSES_WITHOUT_VECTORS: dict[str, str] = {
    **dict.fromkeys((f"MHN-DOM-{i}" for i in (1, 2, 4, 5, 6, 7, 9, 10, 11)), _CALLS),
    "MHN-UPD-1": "has no result of its own: logits show in the association",
    "MHN-UPD-5": "the Jacobian is not a result of an implementation",
    "MHN-UPD-6": _STEPS,
    "MHN-ENE-2": "follows from the error of the energy",
    **dict.fromkeys(("MHN-ENE-3", "MHN-ENE-4", "MHN-ENE-5"), _TWO),
    "MHN-ENE-7": "gives three results in one call; the vectors judge each by itself",
    "MHN-FIX": _STEPS,
    "MHN-SET": _STEPS,
    "MHN-GRD": "gradients have no accuracy model, so no error can be allowed",
    "MHN-BND-1": "defines what the other bounds are about",
    "MHN-BND-5": _STEPS,
    "MHN-BND-8": "is about models that merge parts, for which the vectors state no errors",
    "MHN-BND-9": "is about models that state an order of summation, for which the vectors state no errors",
    "MHN-PRC-2": "is about working precision, not about a format",
    "MHN-PRC-3": "is about working precision, not about a format",
    "MHN-PRC-5": "is about derivatives",
    **dict.fromkeys(("MHN-LAW-1", "MHN-LAW-2", "MHN-LAW-4", "MHN-LAW-5", "MHN-LAW-6"), _TWO),
    "MHN-STA": "is about hundreds of queries at once",
    "MHN-ATT": "is about what attention kernels have besides; a vector is one retrieval",
    **dict.fromkeys(
        ("MHN-FPN", "MHN-NET", "MHN-CIR", "MHN-COT"), "is about p-bit floats, no format of vectors"
    ),
    "MHN-BIG": "is about the exact answer at sizes no file should hold",
}


def reason_without(clause: str) -> str:
    """Why no vector is about a clause, "" if nothing says so.

    >>> reason_without("MHN-ENE-4")
    'relates the results of two problems; the vectors of both judge each by itself'
    """
    return CLAUSES_WITHOUT_VECTORS.get(clause) or CLAUSES_WITHOUT_VECTORS.get(clause.rpartition("-")[0], "")


@dataclass(frozen=True)
class Coverage:
    """How many vectors there are.

    Args:
        clauses: by clause and format.
        bug_classes: by bug class and format.
        combinations: by clause, bug class and format.
        quantities: by quantity and format.
        asked: by bug class, quantity and format.
        lacking: why a bug class has none in a format, where a construction says so.
        without: why a clause has none; "" if nothing says so.
    """

    clauses: Counter[tuple[str, str]]
    bug_classes: Counter[tuple[str, str]]
    combinations: Counter[tuple[str, str, str]]
    quantities: Counter[tuple[str, str]]
    asked: Counter[tuple[str, str, str]]
    lacking: dict[tuple[str, str], str]
    without: dict[str, str]

    @property
    def gaps(self) -> list[str]:
        """What is not covered without a reason."""
        formats = list(dict.fromkeys(f for _, f in self.quantities))
        gaps = [f"clause {c} has no vector" for c, why in self.without.items() if not why]
        for clause, fmt in ((c, f) for c in load_clauses() if c not in self.without for f in formats):
            others = {self.lacking.get((b, fmt), "") for c, b, _ in self.combinations if c == clause}
            if not self.clauses[clause, fmt] and "" in others:
                gaps.append(f"clause {clause} has no {fmt} vector")
        gaps += [
            f"bug class {name} has no {fmt} vector that asks for {quantity}"
            for name, of in BUG_CLASSES.items()
            for quantity in of.quantities
            for fmt in formats
            if not self.asked[name, quantity, fmt] and not self.lacking.get((name, fmt))
        ]
        return gaps


def cover(suite: Suite) -> Coverage:
    """Count vectors.

    Args:
        suite: the vectors.
    """
    vectors = suite.vectors
    clauses = Counter((c, v.format.name) for v in vectors for c in v.clauses)
    lacking = {
        (r.bug_class, name): r.lacking(FORMATS[name])
        for r in RECIPES.values()
        for name in suite.selection.formats
        if r.lacking(FORMATS[name])
    }
    named = {c for c, _ in clauses}
    return Coverage(
        clauses=clauses,
        bug_classes=Counter((v.bug_class, v.format.name) for v in vectors),
        combinations=Counter((c, v.bug_class, v.format.name) for v in vectors for c in v.clauses),
        quantities=Counter((v.quantity, v.format.name) for v in vectors),
        asked=Counter((v.bug_class, v.quantity, v.format.name) for v in vectors),
        lacking=lacking,
        without={c: reason_without(c) for c in load_clauses() if c not in named},
    )
