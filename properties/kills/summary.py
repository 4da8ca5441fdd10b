"""What a kill run found, in numbers: the same for the terminal and for the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from hopspec.properties.kills.excused import EXCUSED
from hopspec.properties.kills.plan import Pair
from hopspec.properties.kills.running import Outcome
from hopspec.properties.kills.tiers import tier_of

__all__ = ["DtypeTotal", "first_tiers", "totals"]


@dataclass(frozen=True)
class DtypeTotal:
    """How the faults judged in one dtype fared.

    Args:
        dtype: name of the format; "" for all together.
        judged: faults judged in it.
        killed: those killed with every seed that was run.
        excused: those that cannot be seen in it.
        survivors: those that survived at least one seed without an excuse.
        runs: runs, one per fault and seed.
        kills: runs that ended in a kill.
    """

    dtype: str
    judged: int
    killed: int
    excused: int
    survivors: int
    runs: int
    kills: int


def totals(outcome: Outcome, pairs: Iterable[Pair]) -> list[DtypeTotal]:
    """One row per dtype, and one for all."""
    judged = list(pairs)
    dtypes = list(dict.fromkeys(p.dtype for p in judged))
    rows = [_total(outcome, d, [p for p in judged if p.dtype == d]) for d in dtypes]
    return [*rows, _total(outcome, "", judged)]


def _total(outcome: Outcome, dtype: str, pairs: list[Pair]) -> DtypeTotal:
    wanted = set(pairs)
    runs = {(p, s): k for (p, s), k in outcome.kills.items() if p in wanted and p not in EXCUSED}
    survived = {p for (p, _), k in runs.items() if not k.killed}
    seen = {p for p, _ in runs}
    excused = sum(p in EXCUSED for p in pairs)
    kills = sum(k.killed for k in runs.values())
    return DtypeTotal(dtype, len(pairs), len(seen - survived), excused, len(survived), len(runs), kills)


def first_tiers(outcome: Outcome, pairs: Iterable[Pair]) -> dict[str, Counter[str]]:
    """Per dtype, how many runs each tier ended."""
    found: dict[str, Counter[str]] = {}
    wanted = set(pairs)
    for (pair, _), kill in outcome.kills.items():
        if kill.killed and pair in wanted and pair not in EXCUSED:
            found.setdefault(pair.dtype, Counter())[tier_of(kill.check)] += 1
    return found
