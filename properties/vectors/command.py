"""``hopspec vectors``: generate test vectors, check answers to them, say what they cover."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from hopspec.properties.reporting.files import check_writable
from hopspec.properties.reporting.terminal import refusal, wide_console

if TYPE_CHECKING:
    from hopspec.properties.vectors.generate import Selection, Suite

__all__ = ["vectors_app"]

vectors_app = typer.Typer(
    no_args_is_help=True,
    help="Test vectors for programs in any language: write them, judge answers, show what they cover.",
)

Formats = Annotated[list[str] | None, typer.Option("--format", help="This format only; may be repeated.")]
Quantities = Annotated[
    list[str] | None, typer.Option("--quantity", help="This quantity only; may be repeated.")
]
Claims = Annotated[
    list[str] | None,
    typer.Option(
        "--claim", help="Vectors that need no more than this (masks, values, ...); may be repeated."
    ),
]
Plain = Annotated[bool, typer.Option("--plain", help="Only vectors that need nothing special.")]
Seed = Annotated[int, typer.Option(help="Seed of the random parts.")]


def _selection(
    formats: list[str] | None, quantities: list[str] | None, claims: list[str] | None, plain: bool
) -> Selection:
    from hopspec.formats import FORMATS  # noqa: PLC0415  (other commands must not wait for this)
    from hopspec.properties.vectors.generate import NEEDS, Selection  # noqa: PLC0415
    from hopspec.properties.vectors.recipe import QUANTITIES  # noqa: PLC0415

    def ordered(given: list[str] | None, known: tuple[str, ...]) -> tuple[str, ...]:
        if not given:
            return known
        return tuple(n for n in known if n in given) + tuple(n for n in given if n not in known)

    if plain and claims:
        raise refusal("--plain and --claim exclude each other")
    try:
        needs = () if plain else ordered(claims, NEEDS)
        return Selection(ordered(formats, tuple(FORMATS)), ordered(quantities, QUANTITIES), needs)
    except ValueError as error:
        raise refusal(error) from None


@vectors_app.command("generate")
def generate_command(
    out: Annotated[
        Path | None,
        typer.Option(help="File, or folder for one file per format; standard output if left out."),
    ] = None,
    fmt: Formats = None,
    quantity: Quantities = None,
    claim: Claims = None,
    plain: Plain = False,
    seed: Seed = 0,
    lines: Annotated[
        bool, typer.Option("--lines", help="JSON lines: a header, then one vector a line.")
    ] = False,
) -> None:
    """Write test vectors. The same seed gives the same bytes.

    A file (--out FILE) or standard output gets one document or, with --lines, JSON lines. A folder
    (--out DIR) gets one document per format.
    """
    from hopspec.properties.vectors.generate import generate  # noqa: PLC0415

    selection = _selection(fmt, quantity, claim, plain)
    suite = generate(seed, selection)
    if out is None:
        with suppress(BrokenPipeError):
            _write(suite, lines)
    elif lines or out.suffix in (".json", ".jsonl"):
        text = "".join(line + "\n" for line in suite.lines()) if lines else suite.document()
        out.write_text(text, encoding="ascii")
    else:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in documents(suite):
            (out / name).write_text(text, encoding="ascii")


def _write(suite: Suite, lines: bool) -> None:
    if not lines:
        sys.stdout.write(suite.document())
        return
    for line in suite.lines():
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def documents(suite: Suite) -> list[tuple[str, str]]:
    """File name and text of one document per format."""
    from hopspec.properties.vectors.generate import Selection  # noqa: PLC0415

    chosen = suite.selection
    parts = [(f, Selection((f,), chosen.quantities, chosen.needs)) for f in chosen.formats]
    return [(f"{name}.json", suite.only(part).document()) for name, part in parts]


@vectors_app.command("check")
def check_command(
    answers: Annotated[
        str, typer.Argument(help="File of answers, JSON or JSON lines; - for standard input.")
    ],
    vectors: Annotated[
        Path | None, typer.Option(help="File of vectors; by default those the answers' header names, or all.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Accuracy model to judge under, or correctly-rounded; the loosest if left out."),
    ] = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="The answers are JSON lines, judged as they come.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write the report to this file.")] = None,
) -> None:
    """Judge the answers of a program.

    Exit status: 0 if every vector has an answer that holds, 1 if an answer is broken, 2 if one is missing,
    malformed or undecided, or the run could not be done.
    """
    from hopspec.properties.vectors.check import Unreadable, check, read_suite  # noqa: PLC0415
    from hopspec.properties.vectors.report import print_outcome, write_json  # noqa: PLC0415

    try:
        check_writable({"--json": json})
        suite = None if vectors is None else read_suite(vectors.read_text(encoding="utf-8"), str(vectors))
        if answers == "-":
            outcome = check(sys.stdin, suite, model=model, only_lines=lines)
        else:
            with Path(answers).open(encoding="utf-8") as source:
                outcome = check(source, suite, model=model, only_lines=lines)
    except (Unreadable, ValueError, OSError) as error:
        raise refusal(error) from None
    console = wide_console()
    print_outcome(outcome, console)
    if json is not None:
        write_json(outcome, json)
        console.print(f"report written to {json}")
    raise typer.Exit(outcome.exit_status)


@vectors_app.command("answer")
def answer_command(
    target: Annotated[
        str, typer.Argument(help="Built-in name or package.module:object, as hopspec verify takes it.")
    ],
) -> None:
    """Answer vectors from standard input (--lines) with an implementation in Python, to standard output.

    Vectors that need what the implementation does not claim are left out.
    """
    from hopspec.properties.session import Session, Unusable  # noqa: PLC0415
    from hopspec.properties.vectors.answering import answer_lines  # noqa: PLC0415

    try:
        session = Session(target)
        with suppress(BrokenPipeError):
            for line in answer_lines(session, sys.stdin):
                sys.stdout.write(line + "\n")
            sys.stdout.flush()
    except (Unusable, ValueError) as error:
        raise refusal(error) from None


@vectors_app.command("faults")
def faults_command(seed: Seed = 0) -> None:
    """Run the planted faults on the vectors for their bug class. Exit status 1 if one of them survives."""
    from hopspec.properties.vectors.generate import Selection, generate  # noqa: PLC0415
    from hopspec.properties.vectors.kills import kill_table  # noqa: PLC0415

    suite = generate(seed, Selection(("float64", "float32", "bfloat16", "float16")))
    table = Table(
        "bug class", "planted fault", "format", "asked", "broken", box=box.SIMPLE_HEAD, pad_edge=False
    )
    kills = list(kill_table(suite.vectors))
    for k in kills:
        count = str(len(k.broken)) if k.broken else "[bold red]survives[/]"
        table.add_row(k.bug_class, k.fault, k.fmt, str(k.asked), count)
    console = wide_console()
    console.print(table)
    raise typer.Exit(0 if all(k.broken for k in kills) else 1)


@vectors_app.command("coverage")
def coverage_command(
    fmt: Formats = None,
    quantity: Quantities = None,
    claim: Claims = None,
    plain: Plain = False,
    seed: Seed = 0,
) -> None:
    """Count vectors by clause, bug class and format. Exit status 1 if one is missing without a reason."""
    from hopspec.clauses import load_clauses  # noqa: PLC0415
    from hopspec.properties.vectors.classes import BUG_CLASSES  # noqa: PLC0415
    from hopspec.properties.vectors.coverage import cover  # noqa: PLC0415
    from hopspec.properties.vectors.generate import generate  # noqa: PLC0415

    suite = generate(seed, _selection(fmt, quantity, claim, plain))
    found, console = cover(suite), wide_console()
    formats = suite.selection.formats
    known = load_clauses()
    by_clause = [
        (f"{c} {known[c].title}", [found.clauses[c, f] or "-" for f in formats])
        for c in known
        if c not in found.without
    ]
    by_class = [
        (b, [found.bug_classes[b, f] or found.lacking.get((b, f), "-") for f in formats]) for b in BUG_CLASSES
    ]
    by_quantity = [(q, [found.quantities[q, f] or "-" for f in formats]) for q in suite.selection.quantities]
    for title, rows in (("clause", by_clause), ("bug class", by_class), ("quantity", by_quantity)):
        table = Table(title, *formats, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for label, counts in rows:
            table.add_row(label, *(str(c) for c in counts))
        console.print(table)
        console.print()
    for clause, why in found.without.items():
        console.print(f"{clause} {why or 'MISSING'}", highlight=False)
    narrowed = bool(fmt or quantity or claim or plain)
    gaps = [] if narrowed else found.gaps
    for gap in gaps:
        console.print(gap, style="red", highlight=False)
    console.print(f"[bold]{len(suite.vectors)} vectors[/]", highlight=False)
    raise typer.Exit(1 if gaps else 0)
