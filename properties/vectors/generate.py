"""The vectors: every recipe in every format, with the exact answers and the allowed errors."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_UP, Context
from importlib import resources
from typing import Any

import numpy as np

import hopspec
from hopspec.clauses import load_clauses
from hopspec.formats import FORMATS, Format
from hopspec.properties.models import standard_models
from hopspec.properties.problem import Problem
from hopspec.properties.vectors import recipes
from hopspec.properties.vectors.allowed import allowed_errors
from hopspec.properties.vectors.answer import correctly_rounded, double_double
from hopspec.properties.vectors.classes import BUG_CLASSES
from hopspec.properties.vectors.codec import pack, pack_one
from hopspec.properties.vectors.recipe import QUANTITIES, RECIPES, Draw, Recipe, result_format
from hopspec.properties.vectors.vector import Vector, compact

__all__ = [
    "NEEDS",
    "SCHEMA_VERSION",
    "SEED",
    "Selection",
    "Suite",
    "clauses_digest",
    "committed",
    "generate",
]

assert recipes.__all__, "importing the recipes registers them"

SCHEMA_VERSION = 1
# Seed of the vectors that come with the package.
SEED = 0
# What a vector may need, besides its quantity: fields of hopspec.types.Capabilities, and negative beta.
NEEDS = ("masks", "values", "empty_rows", "nan_isolation", "finite_range", "negative_beta")

_CLAUSES = {
    "update": ("MHN-UPD-3", "MHN-BND-2"),
    "log_normalizer": ("MHN-LSE-1", "MHN-BND-3"),
    "energy": ("MHN-ENE-1", "MHN-BND-4"),
    "association": ("MHN-UPD-2", "MHN-BND-7"),
}
# Clauses that speak of some quantities only; a recipe may ask for others as well.
_ONLY = {
    "MHN-BND-6": ("update",),
    "MHN-DOM-8": ("update",),
    "MHN-LSE-2": ("update", "log_normalizer"),
    "MHN-UPD-8": ("update", "log_normalizer", "association"),
    "MHN-LAW-9": ("update", "log_normalizer"),
}
_NOTES = (
    "Every number is a bit pattern in hexadecimal digits, most significant first; arrays are row after row.",
    "The exact answer lies within radius of hi + lo. An error of at most allowed is permitted by the model.",
    "Where expected is NaN, any NaN is right; where it is infinite, that infinity. Both zeros are equal.",
)


@dataclass(frozen=True)
class Selection:
    """Which vectors are meant.

    Args:
        formats: names of formats.
        quantities: what may be asked.
        needs: what may be needed.
    """

    formats: tuple[str, ...] = tuple(FORMATS)
    quantities: tuple[str, ...] = QUANTITIES
    needs: tuple[str, ...] = NEEDS

    def __post_init__(self) -> None:
        for what, given, known in (
            ("format", self.formats, tuple(FORMATS)),
            ("quantity", self.quantities, QUANTITIES),
            ("claim", self.needs, NEEDS),
        ):
            for name in given:
                if name not in known:
                    raise ValueError(f"unknown {what} {name!r}; expected one of {', '.join(known)}")

    def __contains__(self, vector: Vector) -> bool:
        return (
            vector.format.name in self.formats
            and vector.quantity in self.quantities
            and set(vector.needs) <= set(self.needs)
        )


def clauses_digest(ids: Iterable[str]) -> str:
    """SHA-256 of the texts of clauses, as the lock records them.

    Args:
        ids: the clauses that the vectors name.
    """
    known = load_clauses()
    text = "".join(f"{i} {known[i].digest}\n" for i in sorted(set(ids)))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Suite:
    """Vectors and the header that says which they are.

    Args:
        seed: what they were generated from.
        selection: which of them are meant.
        vectors: the vectors.
    """

    seed: int
    selection: Selection
    vectors: tuple[Vector, ...]

    @property
    def header(self) -> dict[str, Any]:
        """The header, as the schema describes it."""
        return {
            "hopspec_vectors": SCHEMA_VERSION,
            "generator": f"hopspec {hopspec.__version__}",
            "seed": self.seed,
            "clauses": clauses_digest(c for v in self.vectors for c in v.clauses),
            "count": len(self.vectors),
            "digest": self.digest,
            "formats": list(self.selection.formats),
            "quantities": list(self.selection.quantities),
            "needs": list(self.selection.needs),
        }

    @property
    def digest(self) -> str:
        """SHA-256 of all vector lines."""
        return hashlib.sha256("".join(v.line + "\n" for v in self.vectors).encode()).hexdigest()

    def only(self, selection: Selection) -> Suite:
        """The vectors of a narrower selection."""
        return Suite(self.seed, selection, tuple(v for v in self.vectors if v in selection))

    def lines(self) -> Iterator[str]:
        """The header and the vectors, one JSON object a line."""
        yield compact(self.header)
        for vector in self.vectors:
            yield vector.line

    def document(self) -> str:
        """The whole as one JSON document, one vector a line."""
        head = {
            "header": self.header,
            "notes": list(_NOTES),
            "bug_classes": {name: of.what for name, of in BUG_CLASSES.items()},
        }
        opened = json.dumps(head, indent=1)[:-2]
        body = ",\n".join(v.line for v in self.vectors)
        return f'{opened},\n "vectors": [\n{body}\n ]\n}}\n'

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Suite:
        """Read what :meth:`document` wrote."""
        header = document["header"]
        names = (tuple(header[key]) for key in ("formats", "quantities", "needs"))
        return cls(header["seed"], Selection(*names), tuple(Vector(v) for v in document["vectors"]))


def _needs(recipe: Recipe, problem: Problem) -> list[str]:
    arrays = [problem.query, problem.memory] + ([] if problem.values is None else [problem.values])
    keep = np.ones((1, problem.memory.shape[0]), dtype=np.bool_) if problem.keep is None else problem.keep
    there = {
        "masks": problem.keep is not None,
        "values": problem.values is not None,
        "empty_rows": not keep.any(axis=1).all(),
        "nan_isolation": not all(np.isfinite(a).all() for a in arrays),
        "finite_range": recipe.extreme,
        "negative_beta": problem.beta < 0,
    }
    return [name for name in NEEDS if there[name]]


def _clauses(recipe: Recipe, problem: Problem, quantity: str) -> list[str]:
    first, bound = _CLAUSES[quantity]
    if quantity == "update" and problem.values is not None:
        first = "MHN-UPD-4"
    typed = ("MHN-DOM-3",) if quantity in ("log_normalizer", "energy") else ()
    about = tuple(c for c in recipe.clauses if quantity in _ONLY.get(c, QUANTITIES))
    return list(dict.fromkeys((first, *about, *typed, bound)))


def _decimal(x: float) -> str:
    """Two digits for a person, rounded up."""
    if x == 0 or not math.isfinite(x):
        return "unbounded" if x else "0"
    return f"{Context(prec=2, rounding=ROUND_UP).create_decimal_from_float(x):.1e}"


def _allowed(recipe: Recipe, problem: Problem, quantity: str, fmt: Format, expected: Sequence[float]) -> Any:
    found = {}
    finite = np.isfinite(expected)
    for model in standard_models(fmt.name):
        # What is not a number must be met exactly, whatever the arithmetic.
        bound = np.where(finite, allowed_errors(problem, quantity, model, recipe), 0.0)
        found[model.name] = {"bits": pack(bound), "largest": _decimal(float(bound.max(initial=0.0)))}
    return found


def _vector(recipe: Recipe, problem: Problem, quantity: str, fmt: Format) -> Vector:
    result = result_format(fmt, quantity)
    expected = correctly_rounded(problem, quantity, result)
    enclosed = double_double(problem, quantity)
    (queries, width), memories = problem.query.shape, problem.memory.shape[0]
    record: dict[str, Any] = {
        "id": f"{fmt.name}/{quantity}/{recipe.name}",
        "comment": recipe.comment,
        "bug_class": recipe.bug_class,
        "clauses": _clauses(recipe, problem, quantity),
        "needs": _needs(recipe, problem),
        "quantity": quantity,
        "format": fmt.name,
        "result_format": result.name,
        "queries": queries,
        "memories": memories,
        "width": width,
        "value_width": width if problem.values is None else problem.values.shape[1],
        "beta": pack_one(problem.beta),
        "query": pack(problem.query.ravel(), fmt),
        "memory": pack(problem.memory.ravel(), fmt),
    }
    if problem.values is not None:
        record["values"] = pack(problem.values.ravel(), fmt)
    if problem.keep is not None:
        record["keep"] = "".join("01"[int(k)] for k in problem.keep.ravel())
    record["expected"] = pack(expected, result)
    record["enclosure"] = {
        name: pack(t[i] for t in enclosed) for i, name in enumerate(("hi", "lo", "radius"))
    }
    record["allowed"] = _allowed(recipe, problem, quantity, fmt, expected)
    return Vector(record)


def _of_format(seed: int, fmt: Format, selection: Selection) -> Iterator[Vector]:
    for recipe in RECIPES.values():
        if recipe.lacking(fmt):
            continue
        problem = recipe.build(Draw(seed, recipe.name, fmt))
        for quantity in recipe.quantities:
            # Only an update reads out values, and an energy needs a positive beta.
            asked = problem if quantity == "update" else problem.but(values=None)
            if quantity == "energy" and problem.beta <= 0:
                continue
            if quantity in selection.quantities and set(_needs(recipe, asked)) <= set(selection.needs):
                yield _vector(recipe, asked, quantity, fmt)


def generate(seed: int = SEED, selection: Selection | None = None) -> Suite:
    """Make the vectors of a seed; the same seed gives the same bytes.

    Args:
        seed: other seeds give other numbers in the same constructions.
        selection: which vectors; all of them by default.

    >>> suite = generate(0, Selection(("float32",), ("log_normalizer",), ()))
    >>> suite.vectors[0].id
    'float32/log_normalizer/growing-sum'
    """
    chosen = selection or Selection()
    found = (v for name in chosen.formats for v in _of_format(seed, FORMATS[name], chosen))
    return Suite(seed, chosen, tuple(found))


def committed(selection: Selection | None = None) -> Suite:
    """The vectors that come with the package, of :data:`SEED`.

    Args:
        selection: which of them; all by default.
    """
    chosen = selection or Selection()
    folder = resources.files("hopspec.properties.vectors") / "data"
    vectors: list[Vector] = []
    for name in chosen.formats:
        document = json.loads((folder / f"{name}.json").read_text(encoding="ascii"))
        vectors += (v for v in Suite.from_document(document).vectors if v in chosen)
    return Suite(SEED, chosen, tuple(vectors))
