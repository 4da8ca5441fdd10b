"""``hopspec spec``: the clauses and what each is tied to."""

from __future__ import annotations

import typer

__all__ = ["spec_app"]

spec_app = typer.Typer(help="Show the specification and what ties it together.")
