"""Tables as people read them: aligned, every cell plain text, whole where it is to be copied."""

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any, Literal, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from api.audit.links import NUMBERS as ON_PAGES
from projections.forms import plain

WIDE = 500
"""Columns, where no terminal sets them: every row stays on its own line."""

ANY_WIDTH = 1_000_000

NUMBERS = ON_PAGES | {"position", "changed_at", "head", "bytes", "lag", "code"}
"""Columns of numbers, whatever table they are in."""

Verb = TypeVar("Verb", bound=Callable[..., Any])


def _one(_: click.Context, __: click.Parameter, forms: tuple[str, ...]) -> str:
    if len(set(forms)) > 1:
        raise click.UsageError("give either --json or --csv")
    return forms[0] if forms else "table"


_json, _csv = (
    click.option(
        f"--{each}",
        "form",
        flag_value=each,
        multiple=True,
        callback=_one,
        help=f"Print {each.upper()}.",
    )
    for each in ("json", "csv")
)


def form(verb: Verb) -> Verb:
    """Adds --json and --csv, as `form`: "json", "csv", or else "table"."""
    return _json(_csv(verb))


def show(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    numbers: Container[str] = NUMBERS,
) -> None:
    """Prints a table; where it is wider than the console, each row as lines of name and cell.

    `numbers`: the columns that a terminal shows right-justified. Nothing is folded or cut.
    """
    console = Console()
    if not console.is_terminal:
        console.width, numbers = WIDE, ()
    title = plain(title) if title else None
    # as plain text: an id may look like markup
    table = Table(title=Text(title, "table.title") if title else None)
    for name in columns:
        justify: Literal["right", "left"] = "right" if name in numbers else "left"
        table.add_column(_words(name), justify=justify, overflow="fold")
    kept = [[*map(plain, row)] for row in rows]
    for row in kept:
        table.add_row(*map(Text, row))
    natural = console.measure(table, options=console.options.update(max_width=ANY_WIDTH)).maximum
    if natural <= console.width:
        console.print(table)
    else:
        _show_records(console, columns, kept, title)


def _show_records(
    console: Console, columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None
) -> None:
    margin = max(map(len, columns)) + 2
    records = (
        [
            f"{_words(name):<{margin}}{cell}" if cell else _words(name)
            for name, cell in zip(columns, row, strict=True)
        ]
        for row in rows
    )
    for lines in [*([[title]] if title else []), *records]:
        console.print(Text("\n".join([*lines, ""])), soft_wrap=True)


def _words(column: str) -> str:
    return column.replace("_", " ")
