"""How a run is divided into shares that processes take in turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hopspec.properties.checks import CHECKS
from hopspec.properties.families import FAMILIES
from hopspec.properties.options import PROFILES, Options
from hopspec.properties.trials import FAMILY, properties_of

__all__ = ["Share", "Stages", "shares_of"]

# Processes take turns: the families that take longest come first, so that all end together.
LONGEST = ("general", "settle", "masked", "saddles")
# Cases of a property in one share.
CASES = 100


class Share(NamedTuple):
    """A share of the problems of one family; it does not depend on how many processes there are.

    Args:
        family: name in :data:`hopspec.properties.families.FAMILIES`.
        seed: seed of its draws.
        number: which of the shares of this family and seed.
        of: how many of those there are.
    """

    family: str
    seed: int
    number: int
    of: int

    @property
    def label(self) -> str:
        """A name no other share of the run has."""
        return f"{self.family} {self.seed} {self.number}"


def shares_of(options: Options) -> list[Share]:
    """Everything a run has to explore: real data first, then what takes longest.

    >>> shares_of(Options(("fastpath",), clauses=("MHN-BND-6",), seeds=2))
    [Share(family='separated', seed=0, number=0, of=1), Share(family='separated', seed=1, number=0, of=1)]
    """
    wanted = {c.family for c in CHECKS if not options.clauses or c.clause in options.clauses}
    digits = ["digits"] if "digits" in wanted and options.data == "digits" else []
    ordered = [*LONGEST, *(f for f in FAMILIES if f not in LONGEST)]
    families = digits + [f for f in ordered if f in wanted]
    of = -(-(options.examples or PROFILES[options.profile].cases) // CASES)
    seeds = range(options.seed, options.seed + options.seeds)
    constructions = [Share(FAMILY, seed, 0, 1) for seed in seeds if any(properties_of(options))]
    return [
        Share(f, seed, number, of) for f in families for seed in seeds for number in range(of)
    ] + constructions


class Stages:
    """Reports the progress of shares as that of their families.

    Args:
        progress: called with a family, how much of it is done and how much there is.
        shares: all shares of the run.
    """

    def __init__(self, progress: Callable[[str, int, int], None], shares: Sequence[Share]) -> None:
        self.progress = progress
        self.families = {share.label: share.family for share in shares}
        self.shares = Counter(share.family for share in shares)
        self.done: Counter[str] = Counter()
        self.last: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take note of what is done of a share, or of any other stage."""
        family = self.families.get(stage, stage)
        self.done[family] += done - self.last.get(stage, 0)
        self.last[stage] = done
        self.progress(family, self.done[family], total * self.shares.get(family, 1))
