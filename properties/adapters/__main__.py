"""``python -m hopspec.properties.adapters``: survey the third parties, or write their page again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hopspec.properties.adapters.page import page
from hopspec.properties.adapters.registry import THIRD_PARTIES
from hopspec.properties.adapters.survey import chosen, read_data, survey, write_data
from hopspec.properties.options import PROFILES

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the data after each group and the page at the end; exit status 2 if one could not be verified."""
    parser = argparse.ArgumentParser(prog="python -m hopspec.properties.adapters", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="these alone; what is known of the rest stays"
    )
    parser.add_argument("--data", type=Path, required=True, help="JSON file with what was found")
    parser.add_argument("--page", type=Path, required=True, help="Markdown file that is made of it")
    parser.add_argument("--profile", choices=[*PROFILES], default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only-page", action="store_true", help="survey nothing")
    given = parser.parse_args(arguments)
    status = 0
    try:
        found = known(given.data, given.seed, given.names)
        for group in [] if given.only_page else chosen(given.names):
            print("verifying", ", ".join(t.name for t in group), flush=True)
            summaries, unusable = survey(group, given.profile, given.seed)
            found |= summaries
            for name, reason in unusable.items():
                print(f"{name} could not be verified: {reason}", file=sys.stderr)
                status = 2
            ordered = {t.name: found[t.name] for t in THIRD_PARTIES if t.name in found}
            write_data({"seed": given.seed, "implementations": ordered}, given.data)
    except (RuntimeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    given.page.write_text(page(read_data(given.data)), encoding="utf-8")
    return status


def known(data: Path, seed: int, names: Sequence[str]) -> dict[str, Any]:
    """What an earlier survey with this seed has found, by implementation.

    Args:
        data: where it wrote that.
        seed: the seed now.
        names: what is surveyed again; empty for everything.

    Raises:
        ValueError: if the rest is of another seed, for the page names one.
    """
    if not data.exists():
        return {}
    earlier = read_data(data)
    if earlier["seed"] != seed:
        if names:
            raise ValueError(f"--seed must be that of {data}, {earlier['seed']}, got {seed}")
        return {}
    found: dict[str, Any] = earlier["implementations"]
    return found


if __name__ == "__main__":
    sys.exit(main())
