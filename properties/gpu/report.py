"""The report on a GPU, made of what the stages found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hopspec.properties.bench.measure import median, ratio
from hopspec.properties.gpu.chips import CHIPS, Chip
from hopspec.properties.gpu.compiling import Resources
from hopspec.properties.gpu.resource_page import COLUMNS, row
from hopspec.properties.gpu.roofline import BYTES, predict, update
from hopspec.properties.gpu.running import Done
from hopspec.properties.models import EXPONENTIALS

__all__ = ["report"]

Rows = Iterable[Sequence[str]]


def report(found: Sequence[Done], *, rehearsal: bool = False) -> str:
    """The whole report as Markdown.

    Args:
        found: the stages, see :func:`hopspec.properties.gpu.running.run_all`.
        rehearsal: whether figures mean nothing.
    """
    parts = [REHEARSAL if rehearsal else INTRODUCTION]
    failed = [done for done in found if done.reason]
    if failed:
        parts.append("**Failed:**\n\n" + "\n".join(f"- {done.name}: {done.reason}" for done in failed) + "\n")
    chip = _chip(found)
    for stage, (title, written) in SECTIONS.items():
        results = [done for done in found if done.stage == stage and not done.reason]
        if results:
            parts.append(f"## {title}\n\n{written(results, chip)}")
    seconds = sum(done.seconds for done in found)
    parts.append(f"The stages took {seconds / 60:.1f} minutes together.\n")
    return "\n".join(parts)


def _chip(found: Sequence[Done]) -> Chip | None:
    name = next(
        (done.result["name"] for done in found if done.stage == "environment" and not done.reason), ""
    )
    return next((chip for key, chip in CHIPS.items() if key in name), None)


def _table(columns: Sequence[str], rows: Rows, words: int = 1) -> str:
    rule = "|" + "---|" * words + "--:|" * (len(columns) - words)
    lines = ["| " + " | ".join(columns) + " |", rule]
    return "\n".join([*lines, *("| " + " | ".join(cells) + " |" for cells in rows)]) + "\n"


def _list(texts: Iterable[str]) -> str:
    return "".join(f"- {text}\n" for text in texts)


def _environment(found: Sequence[Done], chip: Chip | None) -> str:
    return _table(("", ""), found[0].result.items(), 2)


def _resources(found: Sequence[Done], chip: Chip | None) -> str:
    result = found[0].result
    table = _table(COLUMNS, (row(Resources(**one)) for one in result["kernels"]), 2)
    wrong = _list(result["complaints"])
    return table + ("\nRequirements not met:\n\n" + wrong if wrong else "\nAll requirements are met.\n")


def _exponentials(found: Sequence[Done], chip: Chip | None) -> str:
    columns = (
        "function",
        "arguments",
        "largest error, u",
        "at",
        "becomes 0 up to",
        "exp(0) is 1",
        "monotone",
    )
    rows = (
        (
            one["name"],
            f"{one['points']:,}" + ("" if one["stride"] == 1 else f", every {one['stride']}th"),
            f"{one['error']:.4g}",
            f"{one['worst']:.9g}",
            f"{one['flushed']:.3g}",
            "yes" if one["one"] else "**no**",
            "yes" if one["monotone"] else "**no**",
        )
        for one in found[0].result["exponentials"]
    )
    claimed = EXPONENTIALS["ex2.approx"]
    over = [
        f"**{one['name']} errs by more than the models allow** or flushes more: {one['error']:.4g} u"
        for one in found[0].result["exponentials"]
        if one["error"] > claimed.error / 2.0**-24 or one["flushed"] > claimed.flush
    ]
    return (
        "The unit is u = 2^-24. Errors are exact where they are largest. Models of kernels on a GPU allow "
        f"{claimed.error / 2.0**-24:g} u and let at most {claimed.flush:.2g} become 0.\n\n"
        + _table(columns, rows)
        + ("\n" + _list(over) if over else "")
    )


def _sums(found: Sequence[Done], chip: Chip | None) -> str:
    columns = (
        "sum",
        "dtype",
        "terms",
        "additions of a term",
        "terms at once",
        "factor bits",
        "additions round",
    )
    rows = (
        (
            one["name"],
            one["dtype"],
            str(one["terms"]),
            str(one.get("additions", "-")),
            str(one.get("at_once", "-")),
            str(one.get("factor_bits", "-")),
            one.get("rounding", "-"),
        )
        for one in found[0].result["sums"]
    )
    return _table(columns, rows, 2) + "\n" + _list(found[0].result["notes"])


def _verify(found: Sequence[Done], chip: Chip | None) -> str:
    columns = (
        "implementation",
        "dtype",
        "verdict",
        "properties",
        "cases",
        "judged under",
        "behaves like",
        "worst",
    )
    rows = []
    broken = []
    for done in found:
        target, dtype = done.what.split()
        result = done.result
        claim: dict[str, Any] = next((claims.get(dtype, {}) for claims in result["claims"].values()), {})
        verdict = "holds" if not result["failed"] and result["exit_status"] == 0 else "**broken**"
        if result["unusable"]:
            verdict = ", ".join(result["unusable"].values())
        figures = (str(result["properties"]), str(result["cases"]))
        model = (str(claim.get("model", "-")), str(claim.get("behaves_like", "-")))
        worst = claim.get("worst", "-")
        rows.append((target, dtype, verdict, *figures, *model, worst if worst == "-" else f"{worst:.3g}"))
        for cell in result["failed"]:
            what = (cell["failure"] or {}).get("what", "")
            broken.append(f"{target} {dtype}: {cell['clause']}, {cell['property']}: {cell['verdict']} {what}")
    return _table(columns, rows, 3) + ("\n" + _list(broken) if broken else "")


def _tune(found: Sequence[Done], chip: Chip | None) -> str:
    result = found[0].result
    columns = ("work", "fastest tile", "ms", "shipped tile ms", "PyTorch ms")
    rows = []
    for one in result["times"]:
        tiles = {name: ms for name, ms in one["ms"].items() if name != "torch"}
        best = min(tiles, key=tiles.__getitem__)
        first = next(iter(tiles.values()))
        torch_ms = one["ms"].get("torch")
        last = "-" if torch_ms is None else f"{torch_ms:.4g}"
        rows.append((one["work"], best, f"{tiles[best]:.4g}", f"{first:.4g}", last))
    return _table(columns, rows, 2) + "\n" + _list(result["notes"])


def _bench(found: Sequence[Done], chip: Chip | None) -> str:
    result = found[0].result
    columns = (
        "work",
        "size",
        "dtype",
        "contender",
        "median ms",
        "speed relative to",
        "ratio",
        "limit / median",
    )
    rows = []
    for one in result["comparisons"]:
        times = {timed["name"]: timed["seconds"] for timed in one["timed"]}
        asked = {r["contender"]: r["yardstick"] for r in one["relations"]}
        for name, seconds in times.items():
            cells = ["", ""]
            if name in asked:
                speed = ratio(times[asked[name]], seconds)
                cells = [asked[name], f"{speed.value:.2f} [{speed.low:.2f}, {speed.high:.2f}]"]
            place = (one["kind"], one["size"], one["precision"], name)
            rows.append((*place, f"{1e3 * median(seconds):.4g}", *cells, _share(one, median(seconds), chip)))
    text = "Medians over rounds in which contenders take turns, ratios with 95 % bootstrap intervals."
    if chip is not None:
        text += f" The limit is the one of `docs/gpu-roofline.md` for {chip.name}, without tiles."
    return text + "\n\n" + _table(columns, rows, 4) + "\n" + _list(result["notes"])


def _share(comparison: dict[str, Any], seconds: float, chip: Chip | None) -> str:
    """The least time that the published peaks allow as a share of the one measured; for updates only."""
    if chip is None or comparison["kind"] != "update" or comparison["precision"] not in BYTES:
        return ""
    queries, memories, width = map(int, comparison["size"].split("x"))
    work = update(comparison["precision"], queries, memories, width)
    whole = predict(work, chip)
    # Blocks are the kernel's own affair here: every multiprocessor counts.
    busy = work.blocks / (-(-work.blocks // chip.processors) * chip.processors)
    least = max(whole.moving, whole.products * busy, whole.exponentials * busy)
    return f"{least / seconds:.0%}"


SECTIONS: dict[str, tuple[str, Callable[[Sequence[Done], Chip | None], str]]] = {
    "environment": ("Machine", _environment),
    "verify": ("Verdicts", _verify),
    "exponentials": ("Exponentials", _exponentials),
    "sums": ("Sums", _sums),
    "tune": ("Tiles", _tune),
    "bench": ("Times", _bench),
    "resources": ("What the kernels are compiled to", _resources),
}

INTRODUCTION = """\
# Report on a GPU

Written by `make gpu`; the same figures and more are in the JSON file beside it.
"""

REHEARSAL = """\
# A rehearsal of the report on a GPU

Written by `hopspec gpu --rehearse`: every stage ran on a CPU, at sizes at which figures mean nothing.
"""
