"""What the terminal shows of all items together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from hopspec.properties.plugin.verdicts import PREFIX
from hopspec.properties.results import Verdict

__all__ = ["summarise"]

_COUNTED = {
    Verdict.HOLDS.value: "hold",
    Verdict.BROKEN.value: "broken",
    Verdict.EXPECTED.value: "broken as expected",
    Verdict.TOO_FEW.value: "given too few cases",
    Verdict.NOT_REACHED.value: "not reached",
    Verdict.NOT_CLAIMED.value: "not claimed",
}


def summarise(reports: Sequence[pytest.TestReport], terminal: pytest.TerminalReporter) -> None:
    """For each implementation and dtype: model, what it behaves like, worst error over bound, verdicts."""
    terminal.section("hopspec")
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    # An item has several reports, each with everything known until then.
    for report in {report.nodeid: report for report in reports}.values():
        found = {k.removeprefix(PREFIX): str(v) for k, v in report.user_properties if k.startswith(PREFIX)}
        test = report.nodeid.rpartition("[")[0]
        groups.setdefault((test, found["implementation"]), []).append(found)
    for (test, name), outlines in groups.items():
        any_ = outlines[0]
        terminal.write_line(f"{test}: {name} (seed {any_['seed']}, {any_['profile']}, {any_['environment']})")
        for dtype in dict.fromkeys(outline["dtype"] for outline in outlines):
            own = [outline for outline in outlines if outline["dtype"] == dtype]
            if own[0]["model"]:
                terminal.write_line(f"  {dtype}: {_line(own)}")


def _line(outlines: Sequence[dict[str, str]]) -> str:
    likes = dict.fromkeys(o["behaves_like"] for o in outlines if "behaves_like" in o)
    parts = [f"judged under {outlines[0]['model']}"]
    parts += [f"behaves like {like}" for like in likes]
    measured = [o for o in outlines if "worst_error_over_bound" in o]
    if measured:
        worst = max(measured, key=lambda o: float(o["worst_error_over_bound"]))
        parts.append(f"worst error/bound {worst['worst_error_over_bound']} in {worst['clause']}")
    counts = Counter(o["verdict"] for o in outlines)
    parts.append(", ".join(f"{counts[v]} {words}" for v, words in _COUNTED.items() if counts[v]))
    return "; ".join(parts)
