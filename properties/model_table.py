"""The built-in accuracy models and what each says, as a table."""

from __future__ import annotations

from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from hopspec.formats import FLOAT32, FLOAT64
from hopspec.properties.models import EXPONENTIALS, JUDGED, MODELS, loosest, models_of
from hopspec.properties.reporting.terminal import refusal, wide_console
from hopspec.types import AccuracyModel, Summation

__all__ = ["COLUMNS", "markdown", "models_command", "said"]

COLUMNS = ("model", "exponentials", "scores", "weights", "sums", "blocks and parts")
EXP_COLUMNS = ("exponentials", "relative error", "at most this becomes 0", "exp(0)", "who says so")


def said(model: AccuracyModel) -> tuple[str, ...]:
    """One row: what a model says, in the order of :data:`COLUMNS`.

    >>> said(MODELS["tree-float32"])[4]
    'float32, halving'
    """
    return (model.name, _exponentials(model), _scores(model), _weights(model), _sums(model), _pieces(model))


def _exponentials(model: AccuracyModel) -> str:
    u = model.accumulation.unit_roundoff
    size = f"{model.exp_error / u:.3g} u" if model.exp_error < 1e3 * u else f"{model.exp_error:.2g}"
    base = ", base 2" if model.base2 else ""
    return f"{size}{base}" + ("" if model.exp_zero_is_one else ", exp(0) near 1")


def _scores(model: AccuracyModel) -> str:
    parts = ["scaled inputs stored"] if model.pre_scale else []
    if model.score_bits:
        parts.append(f"factors of {model.score_bits} bits")
    if model.score_roundings:
        parts.append(f"rounded {model.score_roundings} times")
    return ", ".join(parts) or "not rounded"


def _weights(model: AccuracyModel) -> str:
    parts = ["divided first"] if model.normalize_first else []
    if model.round_weights:
        which = "both sums" if model.rounded_denominator else "numerator only"
        parts.append(f"rounded, {which}")
    if model.read_bits:
        parts.append(f"factors of {model.read_bits} bits")
    return ", ".join(parts) or "not rounded"


def _order(order: Summation) -> str:
    if order == Summation():
        return "any order"
    if order == Summation(chunk=1, halving=True):
        return "halving"
    words = [f"{order.lanes} lanes + {order.extra}"] if order.lanes > 1 or order.extra else []
    words += [f"chunks of {order.chunk}"] if order.chunk else []
    return ", ".join([*words, "halving"] if order.halving else words)


def _sums(model: AccuracyModel) -> str:
    orders = (model.score_sum, model.weighted_sum, model.weight_sum)
    words = [_order(order) for order in orders]
    order = words[0] if len({*words}) == 1 else "; ".join(words)
    return f"{model.accumulation.name}, {order}" + ("" if model.nearest else ", cut off")


def _pieces(model: AccuracyModel) -> str:
    parts = [f"blocks of {model.block} or more"] if model.block else []
    parts += [f"parts from {model.merged_from} memories on"] if model.merged_from else []
    return ", ".join(parts) or "one piece"


def _exponential_rows() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, of in EXPONENTIALS.items():
        u = (FLOAT64 if name == "double" else FLOAT32).unit_roundoff
        error = f"{of.error / u:.3g} u" if of.error < 1e3 * u else f"{of.error:.2g}"
        flush = f"{of.flush:.2g}" if of.flush else "none"
        rows.append((name, error, flush, "1" if of.zero_is_one else "near 1", of.source))
    return rows


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def show_models(console: Console, dtypes: tuple[str, ...]) -> None:
    """Print the models of some dtypes and the exponentials they allow for."""
    for dtype in dtypes:
        rows = [said(m) for m in models_of(dtype)]
        console.print(_table(f"{dtype}; without a claim: {loosest(dtype).name}", COLUMNS, rows))
        console.print()
    console.print(_table("exponentials; u is the unit roundoff", EXP_COLUMNS, _exponential_rows()))


def markdown() -> str:
    """The models of every dtype, then the exponentials, as Markdown tables."""
    every = [said(m) for m in MODELS.values()]
    blocks = [(COLUMNS, every), (EXP_COLUMNS, _exponential_rows())]
    tables = []
    for columns, rows in blocks:
        lines = [columns, ("---",) * len(columns), *rows]
        tables.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
    return "\n\n".join(tables)


def models_command(
    dtype: Annotated[
        list[str] | None, typer.Option(help="Models of this dtype only; may be repeated.")
    ] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
) -> None:
    """List the built-in accuracy models, which verify takes as --model, and what each says.

    A model is the arithmetic an implementation claims; its error bounds are proved from it (MHN-BND-1).
    """
    console = wide_console()
    unknown = [d for d in dtype or [] if d not in JUDGED]
    if unknown:
        raise refusal(f"unknown dtype {unknown[0]!r}; expected one of {', '.join(JUDGED)}")
    if as_markdown:
        typer.echo(markdown())
    else:
        show_models(console, tuple(dtype or JUDGED))
