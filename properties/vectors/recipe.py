"""Recipes: how the inputs of a vector are constructed for its bug class, in any format."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hopspec.formats import FLOAT32, Format
from hopspec.properties.problem import Array, Mask, Problem, round_to
from hopspec.properties.vectors.classes import BUG_CLASSES, QUANTITIES

__all__ = ["QUANTITIES", "RECIPES", "Draw", "Recipe", "nothing_lacking", "recipe", "result_format"]


def result_format(fmt: Format, quantity: str) -> Format:
    """The format of a result for inputs of ``fmt`` (clause MHN-DOM-3).

    >>> from hopspec.formats import BFLOAT16
    >>> result_format(BFLOAT16, "energy").name
    'float32'
    """
    scalar = quantity in ("log_normalizer", "energy")
    return FLOAT32 if scalar and fmt.precision < FLOAT32.precision else fmt


class Draw:
    """Where a recipe takes its numbers from: the same ones in every format, then rounded to it.

    Only ``random.Random.random`` is used, whose stream Python guarantees, and exact or correctly rounded
    operations on it, so that a seed gives the same bits everywhere.

    Args:
        seed: other seeds give other numbers.
        name: name of the recipe.
        fmt: format of all inputs.
    """

    def __init__(self, seed: int, name: str, fmt: Format) -> None:
        self.format = fmt
        self._random = random.Random(f"{seed}:{name}")

    def uniform(self, *shape: int) -> Array:
        """Numbers in ``[0, 1)``."""
        count = int(np.prod(shape))
        return np.array([self._random.random() for _ in range(count)]).reshape(shape)

    def normal(self, *shape: int) -> Array:
        """Numbers about as large as normal ones, at most 3.5: the centred sum of four uniform ones."""
        parts = self.uniform(4, *shape)
        return np.asarray((parts[0] + parts[1] + parts[2] + parts[3] - 2.0) * 1.75)

    def whole(self, low: int, high: int, *shape: int) -> Array:
        """Integers from ``low`` to ``high``, both included."""
        return np.asarray(np.floor(low + (high - low + 1) * self.uniform(*shape)))

    def problem(
        self,
        query: Array | Sequence[Sequence[float]],
        memory: Array | Sequence[Sequence[float]],
        beta: float,
        *,
        keep: Mask | Sequence[Sequence[bool]] | None = None,
        values: Array | None = None,
    ) -> Problem:
        """The problem with every finite entry rounded to the format."""
        return Problem(
            self.round(query),
            self.round(memory),
            beta,
            keep=None if keep is None else np.array(keep, dtype=np.bool_),
            values=None if values is None else self.round(values),
        )

    def round(self, x: Array | Sequence[Sequence[float]]) -> Array:
        """Finite entries rounded to the format, the others as they are."""
        wide = np.array(x, dtype=np.float64)
        finite = np.isfinite(wide)
        return np.where(finite, round_to(np.where(finite, wide, 0.0), self.format), wide)


Build = Callable[[Draw], Problem]


@dataclass(frozen=True)
class Recipe:
    """How to make one vector per quantity and format.

    Args:
        name: last part of the vectors' ids.
        bug_class: name in :data:`~hopspec.properties.vectors.classes.BUG_CLASSES`.
        comment: what is special about the inputs, for a person; plain ASCII without quotes.
        quantities: which of :data:`QUANTITIES` are asked for.
        clauses: clauses the inputs are about, besides those of the quantity.
        build: makes the problem.
        lacking: says why there is no such vector in a format, or "".
        extreme: whether the vector needs the claim ``finite_range``.
    """

    name: str
    bug_class: str
    comment: str
    quantities: tuple[str, ...]
    clauses: tuple[str, ...]
    build: Build
    lacking: Callable[[Format], str]
    extreme: bool


RECIPES: dict[str, Recipe] = {}


def nothing_lacking(_fmt: Format) -> str:
    """The construction works in every format."""
    return ""


def recipe(
    name: str,
    bug_class: str,
    comment: str,
    quantities: tuple[str, ...] = QUANTITIES,
    *,
    clauses: tuple[str, ...] = (),
    lacking: Callable[[Format], str] = nothing_lacking,
    extreme: bool = False,
) -> Callable[[Build], Build]:
    """Register a function that makes a problem from a :class:`Draw`; the arguments are those of Recipe.

    Raises:
        ValueError: if the name is taken, the class or a quantity unknown, or the comment not plain.
    """

    def register(build: Build) -> Build:
        if name in RECIPES or bug_class not in BUG_CLASSES:
            raise ValueError(f"recipe {name!r} needs a name of its own and a bug class, got {bug_class!r}")
        if set(quantities) - set(BUG_CLASSES[bug_class].quantities):
            raise ValueError(f"recipe {name!r} asks for what {bug_class} does not show in")
        if not comment.isascii() or set(comment) & set('"\\'):
            raise ValueError(f"the comment of recipe {name!r} must be ASCII without quotes and backslashes")
        RECIPES[name] = Recipe(name, bug_class, comment, quantities, clauses, build, lacking, extreme)
        return build

    return register
