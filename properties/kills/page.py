"""The kill matrix as a page, written by ``hopspec kill --page``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from statistics import median

from hopspec.clauses import load_clauses
from hopspec.properties.faults import FAULTS, KINDS
from hopspec.properties.kills.excused import EXCUSED
from hopspec.properties.kills.plan import Pair, dtypes_of
from hopspec.properties.kills.running import MATRIX_CASES, Outcome
from hopspec.properties.kills.summary import first_tiers, totals
from hopspec.properties.kills.tiers import TIERS, clause_of, tier_of

__all__ = ["faults_of_page", "kill_matrix"]

ROW = re.compile(r"^\| `([a-z0-9-]+)` \|", re.MULTILINE)


def faults_of_page(text: str) -> set[str]:
    """Names of the faults that a page has a row for."""
    return set(ROW.findall(text))


def kill_matrix(outcome: Outcome, pairs: list[Pair], seeds: int) -> str:
    """The page: totals, every fault with the clauses that kill it, and what is excused.

    Args:
        outcome: of a run with ``matrix``.
        pairs: what was to be run.
        seeds: with how many seeds.
    """
    parts = [
        _head(seeds),
        _totals(outcome, pairs),
        _tiers(outcome, pairs),
        *(_of_kind(outcome, kind, seeds) for kind in KINDS),
        _excused(outcome),
        _clauses(outcome),
    ]
    return "\n".join(parts)


def _head(seeds: int) -> str:
    first = (
        f"A fault is one small wrong change to a right implementation (`hopspec faults` lists them, "
        f"`hopspec verify fault:NAME` judges one). It is judged in every dtype of its implementation. "
        f"**Killed**: how many of {seeds} runs that stop at the first failure, one run a seed, ended in a "
        f"kill. **First kill**: the property that ended most of them, and the median number of cases judged "
        f"until then. Properties that killed a fault before are tried on it first, so that this number says "
        f"how soon the property sees the fault, not how long a search among all properties takes. "
        f"**Clauses that kill it**: every clause broken with seed 0 in the dtype the fault was planted for, "
        f"among {MATRIX_CASES} cases of each clause, shared among its properties. One failure decides, so "
        f"that a clause is judged no further; the default profile has 100 cases and breaks more. The other "
        f"dtypes run the same code and are left out here."
    )
    return "\n".join(
        [
            "# Kill matrix",
            "",
            "Every planted fault, and the clauses that convict it. Written by `hopspec kill --page`; "
            "do not edit.",
            "",
            first,
            "",
        ]
    )


def _totals(outcome: Outcome, pairs: list[Pair]) -> str:
    lines = [
        "## Totals",
        "",
        "| dtype | faults judged | killed with every seed | cannot be seen | survivors | runs | kills |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {t.dtype or 'all'} | {t.judged} | {t.killed} | {t.excused} | {t.survivors} "
        f"| {t.runs} | {t.kills} |"
        for t in totals(outcome, pairs)
    ]
    return "\n".join([*lines, ""])


def _tiers(outcome: Outcome, pairs: list[Pair]) -> str:
    by_dtype = first_tiers(outcome, pairs)
    lines = [
        "Runs ended by each tier:",
        "",
        "| tier | " + " | ".join(by_dtype) + " | how it convicts |",
        "|---|" + "---:|" * len(by_dtype) + "---|",
    ]
    lines += [
        f"| {tier} | " + " | ".join(str(c[tier]) for c in by_dtype.values()) + f" | {what} |"
        for tier, what in TIERS.items()
    ]
    return "\n".join([*lines, ""])


def _of_kind(outcome: Outcome, kind: str, seeds: int) -> str:
    lines = [
        f"## {kind.capitalize()}",
        "",
        "| fault | what is wrong | dtype | killed | first kill (clause, tier, cases) "
        "| clauses that kill it |",
        "|---|---|---|---:|---|---|",
    ]
    for fault in FAULTS.values():
        if fault.kind == kind:
            lines += _rows(outcome, fault.name, fault.what, seeds)
    return "\n".join([*lines, ""])


def _rows(outcome: Outcome, name: str, what: str, seeds: int) -> Iterator[str]:
    own = FAULTS[name].dtype
    for dtype in sorted(dtypes_of(FAULTS[name]), key=lambda d: d != own):
        pair = Pair(name, dtype)
        clauses = _broken(outcome, pair)
        yield f"| `{name}` | {what} | {dtype} | {_killed(outcome, pair, seeds)} | {clauses} |"


def _broken(outcome: Outcome, pair: Pair) -> str:
    found = outcome.measured.get((pair, "matrix"))
    if found is None:
        return ""
    order = {id_: k for k, id_ in enumerate(load_clauses())}
    clauses = sorted({clause_of(check) for check in found.broken}, key=order.__getitem__)
    return " ".join(c.removeprefix("MHN-") for c in clauses)


def _killed(outcome: Outcome, pair: Pair, seeds: int) -> str:
    if pair in EXCUSED:
        return "- | cannot be seen, see below"
    runs = [outcome.kills[pair, s] for s in range(seeds) if (pair, s) in outcome.kills]
    kills = [k for k in runs if k.killed]
    if not kills:
        return f"0/{len(runs)} |"
    check, _ = Counter(k.check for k in kills).most_common(1)[0]
    cases = median(k.cases for k in kills if k.check == check)
    where = f"{clause_of(check)} `{check}`, {tier_of(check)}, {cases:g}"
    return f"{len(kills)}/{len(runs)} | {where}"


def _excused(outcome: Outcome) -> str:
    lines = [
        "## What cannot be seen",
        "",
        "Measured with the quick profile, seed 0: calls made, calls whose answer differs in any bit from "
        "that of the right implementation, cases judged, and the largest error over bound among them.",
        "",
        "| fault | dtype | calls | differing | cases | error/bound | why |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for pair, excuse in EXCUSED.items():
        found = outcome.measured.get((pair, "excused"))
        numbers = (
            "| | | |"
            if found is None
            else f"| {found.calls} | {found.differing} | {found.cases} | {found.worst:.2f} |"
        )
        lines.append(f"| {pair.fault} | {pair.dtype} {numbers} {excuse.reason} |")
    return "\n".join([*lines, ""])


def _clauses(outcome: Outcome) -> str:
    clauses = load_clauses()
    kills: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    judged = 0
    for (_, kind), found in outcome.measured.items():
        if kind == "matrix":
            judged += 1
            broken = {clause_of(check) for check in found.broken}
            kills.update(broken)
            if len(broken) == 1:
                alone.update(broken)
    lines = [
        "## Clauses",
        "",
        f"How many faults each clause kills among {MATRIX_CASES} cases, in the dtype the fault was planted "
        f"for, and how many of them no other clause kills; of {judged} faults, as many as were judged by "
        "every clause.",
        "",
        "| clause | title | faults killed | killed by it alone |",
        "|---|---|---:|---:|",
    ]
    lines += [
        f"| {id_} | {clauses[id_].title} | {kills[id_]} | {alone[id_]} |" for id_ in clauses if kills[id_]
    ]
    return "\n".join([*lines, ""])
