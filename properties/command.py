"""Entry point of the ``hopspec`` command."""

from __future__ import annotations

import importlib.util
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, or say which extra it needs."""
    missing = [n for n in ("typer", "rich", "hypothesis", "torch") if importlib.util.find_spec(n) is None]
    if missing:
        need = ", ".join(missing)
        print(f"hopspec: the command line needs {need}: pip install 'hopspec[verify]'", file=sys.stderr)
        sys.exit(2)
    if sys.argv[1:2] == ["verify"] and not {"--help", "--in-process"} & {*sys.argv}:
        from hopspec.properties.nursery import start_early  # noqa: PLC0415

        # It takes as long to import PyTorch there as all the rest takes here.
        start_early()
    from hopspec.properties.cli import app  # noqa: PLC0415  (only now known to be importable)
    from hopspec.properties.collecting import collect_rarely  # noqa: PLC0415

    collect_rarely()
    app()
