"""Look for every fault planted in the Triton sources: ``python -m tests.triton_faults.run [NAME...]``.

Each is judged by the properties of its clause alone, in the type it is planted for, or by a probe. With
``--page`` the table of ``docs/gpu-kernels.md`` is written anew.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from triton.runtime.errors import InterpreterError

from hopspec.properties.runner import Options, verify

from . import planted
from .catalogue import FAULTS
from .probes import PROBES, Probe

__all__ = ["Verdict", "judged"]

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "gpu-kernels.md"


class Verdict(NamedTuple):
    """What a run said of one fault.

    Args:
        found_by: the property that it broke; "" if it survived.
        cases: judged until then.
        seconds: of processor time of this process.
    """

    found_by: str
    cases: int
    seconds: float


def judged(name: str, seed: int = 0) -> Verdict:
    """Judge kernels with a fault by the properties of one clause, or by a probe, in this process.

    Raises:
        RuntimeError: if they break otherwise than by a wrong number: then the fault is not the one meant.
    """
    began = time.process_time()
    fault = FAULTS[name]
    if fault.by in PROBES:
        found = _probed(name, PROBES[fault.by][1])
        return Verdict(fault.by if found else "", 1, time.process_time() - began)
    options = Options(
        (f"tests.triton_faults.planted:{name}",),
        dtypes=(fault.dtype,),
        clauses=(fault.by,),
        profile="interpreter",
        seed=seed,
        in_process=True,
        shrink=False,
        first=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        report = verify(options)
    if report.unusable:
        raise RuntimeError(f"{name}: {report.unusable}")
    broken = next((cell for cell in report.cells if cell.broken), None)
    failure = None if broken is None else broken.failure
    if failure is not None and failure.kind != "bound":
        raise RuntimeError(f"{name} gives no wrong number but {failure.kind}: {failure.what}")
    return Verdict(
        "" if broken is None else broken.check,
        sum(cell.cases for cell in report.cells),
        time.process_time() - began,
    )


def _probed(name: str, probe: Probe) -> bool:
    try:
        probe(getattr(planted, name))
    except AssertionError:
        return True
    except InterpreterError as error:
        # The interpreter looks for integers that are too large.
        return "overflow" in str(error)
    return False


def verdicts(report: dict[str, Any]) -> list[str]:
    """A table of claimed clauses: cases and largest error over bound in each type, from a JSON report."""
    dtypes = ("float32", "bfloat16", "float16")
    claimed = [cell for cell in report["cells"] if not cell["unclaimed"]]
    found: dict[str, dict[str, tuple[int, float, int]]] = {}
    for cell in claimed:
        found.setdefault(cell["clause"], dict.fromkeys(dtypes, (0, 0.0, 0)))
        cases, worst, broken = found[cell["clause"]][cell["dtype"]]
        numbers = cases + cell["cases"], max(worst, cell["worst_ratio"]), broken + cell["broken"]
        found[cell["clause"]][cell["dtype"]] = numbers
    rows = ["| clause | " + " | ".join(dtypes) + " |", "|---|---|---|---|"]
    for clause, by in sorted(found.items()):
        said = ("broken" if broken else f"{cases}, {worst:.2f}" for cases, worst, broken in by.values())
        rows.append(f"| {clause} | " + " | ".join(said) + " |")
    return rows


def write(name: str, rows: Sequence[str]) -> None:
    """Put a table into the page, between the marks of this name."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    PAGE.write_text(before + begin + "\n".join(rows) + "\n" + end + rest.partition(end)[2], encoding="utf-8")


def main(words: list[str]) -> int:
    """Judge faults, print the table, and say how many survived."""
    parser = argparse.ArgumentParser(prog="tests.triton_faults.run", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *FAULTS], metavar="NAME", help="faults; default all")
    parser.add_argument("--seeds", type=int, default=6, help="seeds to try, from 0 on, until one finds it")
    parser.add_argument("--page", action="store_true", help="write the table into docs/gpu-kernels.md")
    parser.add_argument(
        "--verdicts", type=Path, help="write the verdicts of this JSON report there, and no more"
    )
    asked = parser.parse_args(words)
    if asked.verdicts:
        write("verdicts", verdicts(json.loads(asked.verdicts.read_text(encoding="utf-8"))))
        return 0
    rows, survivors = [], 0
    for name in asked.names or FAULTS:
        fault = FAULTS[name]
        for seed in range(asked.seeds):
            verdict = judged(name, seed)
            if verdict.found_by:
                break
        survivors += not verdict.found_by
        clause = PROBES[fault.by][0] if fault.by in PROBES else fault.by
        seen = f"probe `{fault.by}`" if fault.by in PROBES else f"`{verdict.found_by}`, {seed}"
        found = seen if verdict.found_by else "**survives**"
        rows.append(f"| `{name}` | {fault.what} | {fault.dtype} | {clause} | {found} |")
        print(rows[-1], f"{verdict.cases} cases, {verdict.seconds:.1f} s", flush=True)
    if asked.page:
        head = ["| fault | what is wrong | type | clause | found by, seed |", "|---|---|---|---|---|"]
        write("faults", [*head, *rows])
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
